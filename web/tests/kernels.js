// Every way to compute a layer against the reference in f64, with a GPU's tiles and a software device's.
import init, { Context, Conv2d, MaxPool2d, SeparableConv2d, Tensor, kernels } from "/package/sepconv.js";

/** `[in, out, kernel, options, input shape]`: each axis its own number, edges of every tile, all modes. */
const layers = [
  [9, 33, 3, { padding: 1, activation: "relu" }, [1, 9, 17, 19]],
  [5, 7, [3, 2], { stride: [2, 1], padding: [1, 0, 2, 3], dilation: [1, 2] }, [2, 5, 13, 11]],
  [3, 4, 3, { padding: 1 }, [1, 3, 64, 64]],
  [1, 1, 1, {}, [1, 1, 1, 1]],
  [8, 31, [1, 5], { padding: [0, 2], activation: "silu", bias: false }, [3, 8, 9, 16]],
  [6, 12, 3, { groups: 3, padding: "same", stride: 2 }, [2, 6, 15, 14]],
  [32, 64, 1, { activation: "relu6" }, [1, 32, 13, 13]],
  [17, 5, 1, { stride: 2, bias: false }, [2, 17, 9, 9]],
  [16, 16, 1, { groups: 4, activation: "hardswish" }, [1, 16, 8, 8]],
  [8, 8, 3, { groups: 8, padding: 1 }, [2, 8, 33, 31]],
  [8, 24, [5, 3], { groups: 8, padding: "same-lower", stride: 3 }, [1, 8, 20, 22]],
  [4, 4, 3, { groups: 4, padding: 4, dilation: [3, 2], activation: "leaky-relu=0.1" }, [1, 4, 12, 14]],
  [2, 6, 3, { groups: 2, padding: 2, activation: "clamp=-0.75,1.5" }, [1, 2, 7, 9]],
  [8, 8, 3, { groups: 8, padding: 1, residual: true }, [2, 8, 9, 16]],
  [4, 8, 5, { groups: 4, padding: 2, activation: "relu6" }, [1, 4, 11, 12]],
  [17, 20, 3, { padding: 1, residual: true, activation: "relu" }, [2, 17, 9, 8]],
  [32, 36, 3, { padding: [2, 1, 0, 2], paddingMode: "reflect", groups: 2 }, [1, 32, 6, 5]],
  ...["zeros", "reflect", "replicate", "circular"].flatMap((paddingMode) => [
    [3, 5, 3, { padding: [2, 1, 0, 2], paddingMode, residual: true }, [1, 3, 6, 5]],
    [3, 3, 3, { padding: [2, 1, 0, 2], paddingMode, groups: 3 }, [1, 3, 6, 5]],
  ]),
];

const separables = [
  [3, 4, 3, { padding: 1 }, [1, 3, 64, 64]],
  [5, 9, [3, 5], { padding: "same", stride: [2, 1], depthMultiplier: 2 }, [2, 5, 17, 15]],
  [16, 33, 3, { padding: 1, depthwiseActivation: "relu", activation: "relu6", depthwiseBias: false }, [1, 16, 14, 14]],
  [6, 8, 3, { padding: 1, residual: true, activation: "relu" }, [2, 6, 9, 7]],
];

/** `[kernel, options, input shape]`: even and odd windows, over the edge, with gaps between them and in them. */
const pools = [
  [2, {}, [1, 3, 8, 8]],
  [3, { stride: 2, padding: 1 }, [2, 5, 13, 11]],
  [2, { stride: 3 }, [2, 4, 11, 10]],
  [[3, 2], { stride: 1, padding: [1, 0, 2, 3], dilation: [2, 3] }, [1, 4, 12, 14]],
  [2, { stride: 1, padding: [3, 3, 1, 1] }, [1, 2, 5, 6]],
  [3, { stride: 2, padding: "same-lower" }, [1, 7, 10, 9]],
  [1, {}, [1, 1, 1, 1]],
];

/** So many of each list are run in every variant, the others in the best: compiling one takes up to seconds. */
const inEveryVariant = 2;

/** Numbers from -1 to 1 that are the same in every run. */
export function numbers(count, state) {
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

const count = (shape) => shape.reduce((a, b) => a * b);

export async function sweep() {
  await init();
  const context = await Context.create();
  const failures = [];
  const runs = {};
  let seed = 0;
  const values = (shape) => numbers(count(shape), ++seed);
  const check = async (where, layer, shape, data, index) => {
    const given = Object.entries(data).filter(([, entry]) => entry);
    const operands = Object.fromEntries(given.map(([name, entry]) => [name, new Tensor(where, entry.shape, entry.values)]));
    const memory = Object.fromEntries(given.map(([name, entry]) => [name, entry.values]));
    for (const way of layer.ways(where, shape).filter(({ variant }) => variant === 0 || index < inEveryVariant)) {
      const plan = layer.plan(where, shape, way);
      for (let run = 0; run < 3; run += 1) {
        const output = new Tensor(where, plan.outputShape, new Float32Array(count(plan.outputShape)).fill(NaN));
        plan.bind({ ...operands, output }).run();
        const result = await output.read();
        const error = layer.largestError(shape, memory, result);
        const what = `${way.kernel} ${way.variant}, software ${where.software}, ${shape}, run ${run}`;
        if (!(error <= 1)) failures.push(`${what}: ${error} times the bound`);
        if (run > 0) continue;
        result[result.length - 1] += 0.5;
        if (layer.largestError(shape, memory, result) <= 1) failures.push(`${what}: a wrong value passed`);
      }
      runs[way.kernel] = (runs[way.kernel] ?? 0) + 1;
    }
  };
  const entry = (shape) => ({ shape, values: values(shape) });
  for (const where of [context.withSoftware(false), context.withSoftware(true)]) {
    for (const [index, [input, output, size, options, shape]] of layers.entries()) {
      const layer = new Conv2d(input, output, size, options);
      const g = layer.geometry(shape);
      const data = {
        input: entry(g.inputShape), weight: entry(g.weightShape),
        bias: options.bias === false ? undefined : entry(g.biasShape),
        residual: options.residual ? entry(g.outputShape) : undefined,
      };
      await check(where, layer, shape, data, index);
    }
    for (const [index, [input, output, size, options, shape]] of separables.entries()) {
      const layer = new SeparableConv2d(input, output, size, options);
      const { depthwise, pointwise } = layer.geometry(shape);
      const data = {
        input: entry(shape), depthwiseWeight: entry(depthwise.weightShape),
        depthwiseBias: options.depthwiseBias === false ? undefined : entry(depthwise.biasShape),
        pointwiseWeight: entry(pointwise.weightShape), pointwiseBias: entry(pointwise.biasShape),
        residual: options.residual ? entry(pointwise.outputShape) : undefined,
      };
      await check(where, layer, shape, data, index);
    }
    for (const [index, [size, options, shape]] of pools.entries()) {
      await check(where, new MaxPool2d(size, options), shape, { input: entry(shape) }, index);
    }
  }
  return { runs, failures, kernels: kernels().map((kernel) => kernel.name) };
}

/** The largest errors of a layer whose kernel packs its weights, bound to two sets of tensors before these change. */
export async function sharedWeights() {
  await init();
  const context = await Context.create();
  const shape = [1, 16, 12, 10];
  const layer = new Conv2d(16, 16, 3, { padding: 1 });
  const plan = layer.plan(context, shape, { kernel: "winograd" });
  const { weightShape, biasShape } = layer.geometry(shape);
  const [first, second] = [1, 2].map((seed) => numbers(count(weightShape), seed));
  const bias = numbers(16, 3);
  const weight = new Tensor(context, weightShape, first);
  const weights = plan.weights({ weight, bias: new Tensor(context, biasShape, bias) });
  const inputs = [4, 5].map((seed) => numbers(count(shape), seed));
  const outputs = inputs.map(() => new Tensor(context, plan.outputShape));
  const bounds = inputs.map((values, index) =>
    plan.bind({ weights, input: new Tensor(context, shape, values), output: outputs[index] }));
  const error = async (index, values) => {
    outputs[index].write(new Float32Array(count(plan.outputShape)).fill(NaN));
    bounds[index].run();
    return layer.largestError(shape, { input: inputs[index], weight: values, bias }, await outputs[index].read());
  };
  const shared = [await error(0, first), await error(1, first)];
  weight.write(second);
  const stale = await error(0, first);
  weights.pack();
  const repacked = [await error(0, second), await error(1, second)];
  const unpacked = layer.plan(context, shape, { kernel: "direct" });
  return {
    shared, stale, repacked, unlike: await error(0, first), bytes: [plan.packedWeightBytes, plan.workspaceBytes],
    none: [unpacked.packedWeightBytes, unpacked.workspaceBytes],
  };
}

/** What each way to compute a layer makes of no image at all. */
export async function emptyBatch() {
  await init();
  const context = await Context.create();
  const shape = [0, 16, 8, 8];
  const convolution = new Conv2d(16, 16, 3, { padding: 1 });
  const separable = new SeparableConv2d(16, 16, 3, { padding: 1 });
  const { depthwise, pointwise } = separable.geometry(shape);
  const { weightShape, biasShape } = convolution.geometry(shape);
  const results = [];
  for (const [layer, shapes] of [
    [convolution, { input: shape, weight: weightShape, bias: biasShape }],
    [separable, {
      input: shape, depthwiseWeight: depthwise.weightShape, depthwiseBias: depthwise.biasShape,
      pointwiseWeight: pointwise.weightShape, pointwiseBias: pointwise.biasShape,
    }],
    [new MaxPool2d(2), { input: shape }],
  ]) {
    const values = Object.fromEntries(Object.entries(shapes).map(([name, of]) => [name, new Float32Array(count(of))]));
    const tensors = Object.fromEntries(Object.entries(shapes).map(([name, of]) => [name, new Tensor(context, of, values[name])]));
    for (const way of layer.ways(context, shape).filter(({ variant }) => variant === 0)) {
      const plan = layer.plan(context, shape, way);
      const output = new Tensor(context, plan.outputShape);
      plan.bind({ ...tensors, output }).run();
      const result = await output.read();
      const error = layer.largestError(shape, values, result);
      results.push({ way: way.kernel, shape: [...plan.outputShape], length: result.length, error });
    }
  }
  return results;
}
