// What the JavaScript API refuses, and what it says of a device that refuses or is gone.
import init, { Context, Conv2d, MaxPool2d, Tensor } from "/package/sepconv.js";
import { thrown } from "./common.js";

export async function refusals() {
  await init();
  const context = await Context.create();
  const layer = new Conv2d(3, 4, 3, { padding: 1 });
  const input = new Tensor(context, [1, 3, 8, 8]);
  const weight = new Tensor(context, [4, 3, 3, 3]);
  const plan = layer.plan(context, [1, 3, 8, 8]);
  const output = new Tensor(context, plan.outputShape);
  const bias = new Tensor(context, [4]);
  const weights = plan.weights({ weight, bias });
  const pool = new MaxPool2d(2).plan(context, [1, 3, 8, 8]);
  return {
    negative: thrown(() => new Conv2d(-1, 4, 3)),
    fraction: thrown(() => new Conv2d(3, 1.5, 3)),
    notANumber: thrown(() => new Conv2d(3, 4, NaN)),
    misspelt: thrown(() => new Conv2d(3, 4, 3, { paddings: 1 })),
    activation: thrown(() => new Conv2d(3, 4, 3, { activation: "cube" })),
    groups: thrown(() => new Conv2d(3, 4, 3, { groups: 2 }).geometry([1, 3, 8, 8])),
    shape: thrown(() => layer.geometry([1, 3, 8])),
    kernel: thrown(() => layer.plan(context, [1, 3, 8, 8], { kernel: "winograd9" })),
    values: thrown(() => new Tensor(context, [1, 3, 8, 8], new Float32Array(5))),
    missing: thrown(() => plan.bind({ input, weight, output })),
    notATensor: thrown(() => plan.bind({ input, weight, bias: 7, output })),
    weightsAsTensor: thrown(() => plan.bind({ input: weights, weights, output })),
    tensorAsWeights: thrown(() => plan.bind({ input, weights: weight, output })),
    noInput: thrown(() => plan.bind({ weights, output })),
    noWeights: thrown(() => plan.bind({ input, output })),
    both: thrown(() => plan.bind({ input, weights, bias, output })),
    half: thrown(() => plan.bind({ input, depthwiseWeight: weight, output })),
    otherKind: thrown(() => plan.weights({ depthwiseWeight: weight, pointwiseWeight: weight })),
    otherLayout: thrown(() => pool.bind({ input, weights, output: new Tensor(context, pool.outputShape) })),
    unexpected: thrown(() => pool.bind({ input, weight, output: new Tensor(context, pool.outputShape) })),
    poolOption: thrown(() => new MaxPool2d(2, { groups: 3 })),
    written: thrown(() => input.write(new Float32Array(5))),
    // What was refused has not taken them from their owner.
    weightsStay: thrown(() => plan.bind({ input, weights, output }).run()),
    dtype: thrown(() => context.withDtype("f64")),
    tooLarge: thrown(() => new Tensor(context, [60000, 60000, 1, 1])),
    survives: (await output.read()).length,
  };
}

/** What a context with tensors of 16 bits computes of 2049, which is not one of their numbers; or why there is none. */
export async function half() {
  await init();
  const context = await Context.create();
  const types = [context.dtype, context.withDtype("f32").dtype];
  if (!context.device.features.has("shader-f16")) return { types, refused: thrown(() => context.withDtype("f16")) };
  const half = context.withDtype("f16");
  const [input, output] = [new Tensor(half, [1, 1, 1, 1], new Float32Array([2049])), new Tensor(half, [1, 1, 1, 1])];
  new MaxPool2d(1).plan(half, [1, 1, 1, 1]).bind({ input, output }).run();
  return { types: [...types, half.dtype], values: [...await output.read()] };
}

export async function lateErrors() {
  await init();
  const context = await Context.create();
  context.device.createBuffer({ size: 4, usage: 0 });
  const refused = await context.wait().then(() => "nothing", (error) => error.message);
  const after = await context.wait().then(() => "fine", (error) => error.message);
  return { refused, after };
}

export async function loss() {
  await init();
  const context = await Context.create();
  const tensor = new Tensor(context, [1, 1, 2, 2]);
  context.device.destroy();
  const read = await tensor.read().then(() => "nothing", (error) => error.message);
  const next = thrown(() => new Tensor(context, [1, 1, 2, 2]));
  const again = await Context.create();
  const values = await new Tensor(again, [4], new Float32Array([1, 2, 3, 4])).read();
  return { read, next, lost: context.lost, values: [...values] };
}
