/** `[batch, channels, height, width]` */
export type Shape = ArrayLike<number>;

/** One number for both axes, or `[height, width]`. */
export type Size = number | [number, number];

/** Rows and columns around the input: all alike, `[height, width]`, `[top, left, bottom, right]`, or in words. */
export type Padding = number | [number, number] | [number, number, number, number] | "same" | "same-lower" | "valid";

/** Applied to each output; `leaky-relu=SLOPE`, `elu=SCALE` and `clamp=LOW,HIGH` carry their numbers. */
export type Activation =
  | "none" | "relu" | "relu6" | "silu" | "hardswish" | "leaky-relu" | `leaky-relu=${number}`
  | "sigmoid" | "tanh" | "hardsigmoid" | "elu" | `elu=${number}` | "gelu" | "softplus" | "mish"
  | `clamp=${number},${number}`;

/** What both kinds of convolution take, with PyTorch's defaults. */
export interface LayerOptions {
  /** Step of the window; default 1. */
  stride?: Size;
  /** Default 0. */
  padding?: Padding;
  /** Distance between filter taps; default 1. */
  dilation?: Size;
  /** What stands in the padding; default `zeros`. */
  paddingMode?: "zeros" | "reflect" | "replicate" | "circular";
  /** Applied to each output; default `none`. */
  activation?: Activation;
  /** Whether a number per output channel is added; default true. */
  bias?: boolean;
  /** Whether a tensor of the output's shape is added: true before the activation, or behind it; default false. */
  residual?: boolean | "after-activation";
}

export interface Conv2dOptions extends LayerOptions {
  /** Groups of channels that are convolved apart from each other; default 1. */
  groups?: number;
  /** Whether each input channel of each image is multiplied by a number first, `[batch, inChannels, 1, 1]`; default false. */
  inputScale?: boolean;
  /** `exact` does without kernels whose rounding errors may pass a sum's bound; default `fast`. */
  rounding?: "fast" | "exact";
}

export interface SeparableConv2dOptions extends LayerOptions {
  /** Filters per input channel; default 1. */
  depthMultiplier?: number;
  /** Applied between the two parts; default `none`. */
  depthwiseActivation?: Activation;
  /** Default: what `bias` is. */
  depthwiseBias?: boolean;
  /** Default: what `bias` is. */
  pointwiseBias?: boolean;
}

export interface MaxPool2dOptions {
  /** Step of the window; default the window's size. */
  stride?: Size;
  /** Default 0; what stands in it is never the largest value. */
  padding?: Padding;
  /** Distance between the values of a window; default 1. */
  dilation?: Size;
}

/** Numbers of 32 bits, or of 16. */
export type DType = "f32" | "f16";

/** A picture or several: how many, their channels, height and width. */
export interface Planes {
  /** Default 1. */
  n?: number;
  c: number;
  h: number;
  w: number;
}

/** A window that is moved over planes: its size, step, padding and distance between taps. */
export interface Window {
  k: Size;
  /** Default 1; of a pool what `k` is. */
  s?: Size;
  /** Default 0. */
  p?: Padding;
  /** Default 1. */
  d?: Size;
}

/** What convolutions have: output channels, groups (default 1), and whether there is a bias (default true). */
export interface Channels {
  oc: number;
  g?: number;
  bias?: boolean;
}

/** What a result passes through last; default `none`. */
export interface Activated {
  activation?: Activation;
}

/** Any letters of `nchw`, each once. */
export type Axes = string;

/**
 * A layer of any kind with the sizes of what it is given, as in a shapes file of the command `sepconv`, whose `bench --help`
 * explains the words. `id` is yours.
 */
export type LayerDescription = { id?: string } & (
  | { kind: "conv"; residual?: boolean | "after-activation"; input_scale?: boolean; rounding?: "fast" | "exact" } & Planes & Window & Channels & Activated
  | { kind: "sep"; oc: number; bias?: boolean; residual?: boolean | "after-activation"; m?: number } & Planes & Window & Activated
  | { kind: "conv_transpose"; output_padding?: Size } & Planes & Window & Channels & Activated
  | { kind: "max_pool" | "average_pool" } & Planes & Window
  | {
      kind: "resize"; size: Size; residual?: boolean; mode?: "linear" | "nearest" | "cubic";
      coordinates?: "half_pixel" | "pytorch_half_pixel" | "align_corners" | "asymmetric";
    } & Planes
  /** `n` products of `rows` × `depth` and `depth` × `columns`. */
  | { kind: "matmul"; n?: number; rows: number; depth: number; columns: number } & Activated
  /** Two fully connected layers: `c` features, `hidden` ones between them, `oc` features. */
  | { kind: "perceptron"; n?: number; c: number; hidden: number; oc: number; bias?: boolean; hidden_activation?: Activation } & Activated
  /** Along neighbouring axes, by default `hw`. */
  | {
      kind: "reduce"; axes?: Axes;
      reduction?: "mean" | "sum" | "max" | "min" | "product" | "sum_of_squares" | "sum_of_absolutes";
    } & Planes & Activated
  /** Along neighbouring axes, by default `c`. */
  | { kind: "softmax"; axes?: Axes } & Planes
  /** As many groups as channels, the default, are an instance norm. */
  | { kind: "group_norm"; g?: number } & Planes & Activated
  /** Along the last axes, by default `chw`. */
  | { kind: "layer_norm"; axes?: Axes } & Planes & Activated
  /** `axes` are those that the second tensor has; the others it has once. Default `nchw`. */
  | { kind: "binary"; operation?: "add" | "sub" | "mul" | "div" | "pow" | "min" | "max" | "prelu"; axes?: Axes; residual?: boolean } & Planes & Activated
  | { kind: "unary" } & Planes & Activated
  /** `order` is another order of `nchw`, such as `nhwc`. */
  | { kind: "transpose"; order: string } & Planes
);

/** A tensor that a layer is bound to: what `plan.bind` calls it, and its shape. */
export interface Given {
  name: string;
  shape: number[];
}

/** One way to compute a layer: a kernel by its name, and which of its variants, from 0, the best guess. */
export interface Way {
  kernel: string;
  variant?: number;
}

/** The weight and bias of a `Conv2d`. */
export interface Conv2dParameters {
  weight: Tensor;
  bias?: Tensor;
}

/** The weights and biases of a `SeparableConv2d`. */
export interface SeparableConv2dParameters {
  depthwiseWeight: Tensor;
  depthwiseBias?: Tensor;
  pointwiseWeight: Tensor;
  pointwiseBias?: Tensor;
}

/** What a norm multiplies its rows by, and what it adds. */
export interface NormParameters {
  scale: Tensor;
  bias: Tensor;
}

/** The weights and biases of both layers of a perceptron. */
export interface PerceptronParameters {
  hiddenWeight: Tensor;
  hiddenBias?: Tensor;
  weight: Tensor;
  bias?: Tensor;
}

/** The weights and biases of a layer; most kinds have none. */
export type LayerParameters =
  Conv2dParameters | SeparableConv2dParameters | PerceptronParameters | NormParameters | { bias?: Tensor };

/** The tensors of one run. The output needs a buffer that none of the others is in. */
export interface RunTensors {
  input: Tensor;
  residual?: Tensor;
  /** What each input channel of each image is multiplied by. */
  inputScale?: Tensor;
  /** The second tensor of a layer that computes with two. */
  other?: Tensor;
  output: Tensor;
}

/** What a layer is bound to: the tensors of a run, and either what `plan.weights` returned or weights and biases one by one. */
export type Operands = RunTensors & ({ weights?: Weights } | LayerParameters);

/** The tensors of a `Conv2d` as numbers in memory, for `largestError`. */
export interface Values {
  input: Float32Array;
  weight: Float32Array;
  bias?: Float32Array;
  residual?: Float32Array;
  inputScale?: Float32Array;
}

/** Those of a `SeparableConv2d`. */
export interface SeparableValues {
  input: Float32Array;
  depthwiseWeight: Float32Array;
  depthwiseBias?: Float32Array;
  pointwiseWeight: Float32Array;
  pointwiseBias?: Float32Array;
  residual?: Float32Array;
}

/** That of a `MaxPool2d`. */
export interface PoolValues {
  input: Float32Array;
}

/** An input or an output of a network. */
export interface Port {
  name: string;
  /** Its sizes in the file: as many as it has axes. */
  shape: number[];
  /** The four sizes of the tensor to bind. */
  tensorShape: number[];
}

/** A layer of a planned network. */
export interface NetworkLayer {
  /** The name of the file's node that it began as; others may have become part of it. */
  name: string;
  /** The kernel that computes it, or several with ` + ` between them. */
  kernel: string;
  /** How many dispatches it takes. */
  steps: number;
  parameters: number;
  /** By kind of convolution; those of other layers are operations. */
  multiplyAdds: { depthwise: number; pointwise: number; normal: number; other: number };
}

/** What a network is bound to, by name. What is not given is made. */
export interface NetworkOperands {
  inputs?: Record<string, Tensor>;
  outputs?: Record<string, Tensor>;
  weights?: Weights;
}
