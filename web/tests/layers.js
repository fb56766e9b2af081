// Layers of every kind, described as in a shapes file.
import init, { Context, Layer, Tensor } from "/package/sepconv.js";
import { thrown } from "./common.js";
import { numbers } from "./kernels.js";

let opened;
const open = async () => {
  await init();
  return (opened ??= await Context.create());
};

const count = (shape) => shape.reduce((a, b) => a * b);

/** The output of a layer for values by name, over an output that was poisoned. */
async function run(context, layer, values, way) {
  const tensors = Object.fromEntries(layer.given.map(({ name, shape }) => [name, new Tensor(context, shape, values[name])]));
  const output = new Tensor(context, layer.outputShape, new Float32Array(count(layer.outputShape)).fill(NaN));
  layer.plan(context, way).bind({ ...tensors, output }).run();
  const result = await output.read();
  for (const tensor of [...Object.values(tensors), output]) tensor.buffer.destroy();
  return result;
}

/** The layers of real networks that are kept with the command, and one of each kind of convolution. */
export async function everyKind() {
  const context = await open();
  const described = await (await fetch("/benches/other_layers.json")).json();
  described.push(
    { kind: "conv", n: 2, c: 6, h: 9, w: 8, oc: 4, k: [3, 1], s: [2, 1], p: "same", g: 2, activation: "relu", residual: true },
    { kind: "conv", n: 2, c: 6, h: 4, w: 6, oc: 8, k: 1, input_scale: true, activation: "relu6", residual: "after-activation" },
    { kind: "conv", n: 2, c: 6, h: 5, w: 6, oc: 8, k: 3, p: 1, g: 2, input_scale: true },
    { kind: "binary", operation: "mul", n: 2, c: 3, h: 4, w: 5, axes: "nc", residual: true },
    { kind: "sep", c: 6, h: 9, w: 8, oc: 5, k: 3, p: 1, m: 2, bias: false },
  );
  const [runs, failures] = [{}, []];
  for (const description of described) {
    const layer = new Layer(description);
    const values = Object.fromEntries(layer.given.map(({ name, shape }, seed) => [name, numbers(count(shape), seed + 1)]));
    const ways = layer.ways(context).filter(({ variant }) => variant === 0);
    for (const way of ways) {
      const what = `${description.id ?? description.kind}, ${way.kernel}`;
      const result = await run(context, layer, values, way);
      const error = layer.largestError(values, result);
      if (!(error <= 1)) failures.push(`${what}: ${error} times the bound`);
      runs[way.kernel] = (runs[way.kernel] ?? 0) + 1;
      if (way !== ways[0]) continue;
      result[result.length - 1] += 0.5;
      if (layer.largestError(values, result) <= 1) failures.push(`${what}: a wrong value passed`);
    }
  }
  return { runs, failures, kinds: [...new Set(described.map(({ kind }) => kind))] };
}

/** What becomes of each of these layers without any image: nothing, or an error in words. */
export async function withoutImages() {
  const context = await open();
  const described = await (await fetch("/benches/other_layers.json")).json();
  const results = [];
  for (const description of described) {
    const nothing = async () => run(context, new Layer({ ...description, n: 0 }), {});
    const words = await nothing().then((result) => `${result.length} values`, (error) => `${error.name}: ${error.message}`);
    results.push(`${description.id}: ${words}`);
  }
  return results;
}

/** Layers so small that their results can be written down. */
export async function byHand() {
  const context = await open();
  const of = async (description, values) => [...await run(context, new Layer(description), values)];
  const upTo = (length) => Float32Array.from({ length }, (_, index) => index);
  return {
    transposed: await of({ kind: "transpose", c: 2, h: 1, w: 4, order: "nhwc" }, { input: upTo(8) }),
    shares: await of({ kind: "softmax", c: 1, h: 2, w: 2, axes: "w" }, { input: new Float32Array([0, Math.log(3), 5, 5]) }),
    scaled: await of({ kind: "binary", operation: "mul", c: 2, h: 2, w: 2, axes: "c" }, { input: upTo(8), other: new Float32Array([2, 10]) }),
    normal: await of({ kind: "layer_norm", c: 1, h: 2, w: 2, axes: "w" }, {
      input: new Float32Array([-1, 1, 50, 60]), scale: new Float32Array([3, 3]), bias: new Float32Array([10, 10]),
    }),
  };
}

/** What descriptions and their tensors are refused for, in which words. */
export async function refusals() {
  const context = await open();
  const words = (description) => thrown(() => new Layer(description));
  const planes = { c: 1, h: 2, w: 2 };
  const tensor = new Tensor(context, [1, 1, 1, 4]);
  const output = new Tensor(context, [1, 1, 1, 4]);
  const [sum, norm, gelu] = [
    { kind: "binary" }, { kind: "layer_norm" }, { kind: "unary", activation: "gelu" },
  ].map((kind) => new Layer({ ...planes, ...kind }));
  const input = new Tensor(context, norm.given[0].shape);
  return {
    nothing: words("softmax"),
    noKind: words({ ...planes }),
    kind: words({ ...planes, kind: "shuffle" }),
    missing: words({ kind: "softmax", h: 2, w: 2 }),
    fraction: words({ ...planes, kind: "softmax", h: 1.5 }),
    elsewhere: words({ ...planes, kind: "softmax", k: 3 }),
    misspelt: words({ ...planes, kind: "softmax", axis: "c" }),
    word: words({ ...planes, kind: "reduce", reduction: "median" }),
    flag: words({ ...planes, kind: "conv", oc: 1, k: 1, bias: 1 }),
    sizes: words({ kind: "conv", c: 3, h: 8, w: 8, oc: 4, k: 3, g: 2 }),
    tooLarge: thrown(() => new Layer({ kind: "unary", c: 1, h: 60000, w: 60000 }).plan(context)),
    noOther: thrown(() => sum.plan(context).bind({ input: tensor, output })),
    noScale: thrown(() => norm.plan(context).bind({ input, output })),
    unexpected: thrown(() => gelu.plan(context).weights({ scale: tensor })),
    values: thrown(() => gelu.largestError({ input: new Float32Array(3) }, new Float32Array(4))),
    noValues: thrown(() => gelu.largestError({}, new Float32Array(4))),
    valuesName: thrown(() => gelu.largestError({ input: new Float32Array(4), weight: new Float32Array(4) }, new Float32Array(4))),
  };
}
