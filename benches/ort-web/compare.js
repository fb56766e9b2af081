// sepconv and onnxruntime-web side by side in one page, on the same layers with the same numbers.
import init, { Context, Conv2d, SeparableConv2d, Tensor } from "/package/sepconv.js";
import * as ort from "./node_modules/onnxruntime-web/dist/ort.webgpu.bundle.min.mjs";
import { model } from "./onnx.js";
import { median, once } from "./turns.js";

const count = (shape) => shape.reduce((a, b) => a * b);
const random = (shape) => ({ shape, values: Float32Array.from({ length: count(shape) }, () => 2 * Math.random() - 1) });

/** sepconv's layer: what runs it once, what waits for it, and its output. */
function ours(context, { kind, n, c, h, w, oc, k, s, p, d, g = 1 }) {
  const options = { stride: s, padding: p, dilation: d };
  const x = random([n, c, h, w]);
  const layer = kind === "sep" ? new SeparableConv2d(c, oc, k, options) : new Conv2d(c, oc, k, { ...options, groups: g });
  const plan = layer.plan(context, x.shape);
  const geometry = layer.geometry(x.shape);
  const names = kind === "sep" ? ["depthwise", "pointwise"] : [""];
  const parts = names.map((name) => {
    const part = name ? geometry[name] : geometry;
    return { weight: random(part.weightShape), bias: random(part.biasShape) };
  });
  const upload = ({ shape, values }) => new Tensor(context, shape, values);
  const output = new Tensor(context, plan.outputShape);
  const operands = kind === "sep"
    ? {
      depthwiseWeight: upload(parts[0].weight), depthwiseBias: upload(parts[0].bias),
      pointwiseWeight: upload(parts[1].weight), pointwiseBias: upload(parts[1].bias),
    }
    : { weight: upload(parts[0].weight), bias: upload(parts[0].bias) };
  const bound = plan.bind({ input: upload(x), ...operands, output });
  const convolutions = kind === "sep"
    ? [
      { input: "x", output: "m", ...parts[0], stride: s, padding: p, dilation: d, groups: c },
      { input: "m", output: "y", ...parts[1], stride: 1, padding: 0, dilation: 1, groups: 1 },
    ]
    : [{ input: "x", output: "y", ...parts[0], stride: s, padding: p, dilation: d, groups: g }];
  return {
    kernel: plan.kernel, x, bytes: model(convolutions, x.shape, plan.outputShape),
    run: async () => bound.run(), wait: () => context.device.queue.onSubmittedWorkDone(), read: () => output.read(),
    free: () => [...Object.values(operands), output].forEach((tensor) => tensor.buffer.destroy()),
  };
}

/** onnxruntime-web's, input and output in buffers on its device. */
async function theirs({ x, bytes }) {
  const session = await ort.InferenceSession.create(bytes, {
    executionProviders: ["webgpu"], preferredOutputLocation: "gpu-buffer",
  });
  const device = await ort.env.webgpu.device;
  const size = Math.ceil(x.values.byteLength / 16) * 16;
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  const buffer = device.createBuffer({ size, usage });
  device.queue.writeBuffer(buffer, 0, x.values);
  const input = ort.Tensor.fromGpuBuffer(buffer, { dataType: "float32", dims: x.shape });
  return {
    run: async () => (await session.run({ x: input })).y.dispose(),
    wait: () => device.queue.onSubmittedWorkDone(),
    read: async () => (await session.run({ x: input })).y.getData(true),
    free: async () => {
      await session.release();
      buffer.destroy();
    },
  };
}

export async function compare(shape, milliseconds) {
  await init();
  globalThis.context ??= await Context.create();
  ort.env.wasm.numThreads = 1;
  const own = ours(globalThis.context, shape);
  const peer = await theirs(own);
  await own.run();
  const [a, b] = [await own.read(), await peer.read()];
  let difference = a.length === b.length ? 0 : NaN;
  a.forEach((value, i) => { difference = Math.max(difference, Math.abs(value - b[i])); });
  for (const one of [own, peer]) await once(one);
  const times = { own: [], peer: [] };
  const start = performance.now();
  // Turn by turn, so that whatever else the machine does falls on both.
  while (times.own.length < 5 || (performance.now() - start < milliseconds && times.own.length < 100)) {
    times.own.push(await once(own));
    times.peer.push(await once(peer));
  }
  const runs = times.own.length;
  const result = {
    id: shape.id, kernel: own.kernel, sepconv_ms: median(times.own), ort_ms: median(times.peer), runs,
    largest_difference: difference,
  };
  own.free();
  await peer.free();
  return { ...result, ratio: result.ort_ms / result.sepconv_ms };
}
