// Checks and times layers, in a worker so that the page never waits. It is sent a list of shapes, answers with messages
// of a `kind`, and is cancelled by being ended.
import init, { Context, Conv2d, Roofline, SeparableConv2d, Tensor, measure } from "./sepconv.js";
import { separableBytes } from "./calculator.js";

/** For how long each layer is timed, in milliseconds. */
const budget = 800;

const count = (shape) => shape.reduce((a, b) => a * b);
const random = (shape) => Float32Array.from({ length: count(shape) }, () => 2 * Math.random() - 1);

/** A layer of a shapes file, its costs, and random values for its tensors. */
function described({ kind, n = 1, c, h, w, oc, k, s = 1, p = 0, d = 1, g = 1 }) {
  const shape = [n, c, h, w];
  const options = { stride: s, padding: p, dilation: d };
  if (kind === "sep") {
    const layer = new SeparableConv2d(c, oc, k, options);
    const geometry = layer.geometry(shape);
    const { depthwise, pointwise } = geometry;
    return {
      layer, shape,
      shapes: {
        input: shape, depthwiseWeight: depthwise.weightShape, depthwiseBias: depthwise.biasShape,
        pointwiseWeight: pointwise.weightShape, pointwiseBias: pointwise.biasShape,
      },
      bytes: separableBytes(geometry), multiplyAdds: depthwise.multiplyAdds + pointwise.multiplyAdds,
    };
  }
  const layer = new Conv2d(c, oc, k, { ...options, groups: g });
  const geometry = layer.geometry(shape);
  return {
    layer, shape,
    shapes: { input: shape, weight: geometry.weightShape, bias: geometry.biasShape },
    bytes: geometry.bytes, multiplyAdds: geometry.multiplyAdds,
  };
}

async function time(context, roofline, description) {
  const { layer, shape, shapes, bytes, multiplyAdds } = described(description);
  const values = Object.fromEntries(Object.entries(shapes).map(([name, of]) => [name, random(of)]));
  const plan = layer.plan(context, shape);
  const tensors = Object.fromEntries(
    Object.entries(values).map(([name, data]) => [name, new Tensor(context, shapes[name], data)]),
  );
  tensors.output = new Tensor(context, plan.outputShape, new Float32Array(count(plan.outputShape)).fill(NaN));
  const bound = plan.bind(tensors);
  bound.run();
  const error = layer.largestError(shape, values, await tensors.output.read());
  if (!(error <= 1)) throw new Error(`${description.id} is wrong: its largest error is ${error} times the bound`);
  const { wall, device } = await measure(context, bound, budget);
  for (const tensor of Object.values(tensors)) tensor.buffer.destroy();
  const best = device ?? wall;
  const seconds = best.median / 1e3;
  const floor = Math.max(bytes / roofline.bytesPerSecond, (2 * multiplyAdds) / roofline.operationsPerSecond);
  return {
    id: description.id, kernel: plan.kernel,
    median_ms: best.median, p10_ms: best.p10, p90_ms: best.p90, wall_ms: wall.median, gpu_ms: device?.median ?? null,
    clock: device ? "GPU timestamps" : "wall clock",
    gflop_s: (2 * multiplyAdds) / seconds / 1e9, gb_s: bytes / seconds / 1e9,
    flop_per_byte: (2 * multiplyAdds) / bytes, roofline_percent: (100 * floor) / seconds, error_over_bound: error,
  };
}

addEventListener("message", async ({ data: layers }) => {
  try {
    postMessage({ kind: "step", done: 0, text: "opening the device" });
    await init();
    const context = await Context.create();
    postMessage({ kind: "step", done: 0, text: "what the device can do at most" });
    const roofline = await Roofline.measure(context);
    const { vendor, architecture, description } = context.device.adapterInfo;
    postMessage({
      kind: "device",
      device: {
        adapter: [vendor, architecture, description].filter(Boolean).join(" "), software: context.software,
        copy_gb_s: roofline.bytesPerSecond / 1e9, fma_gflop_s: roofline.operationsPerSecond / 1e9,
      },
    });
    for (const [index, layer] of layers.entries()) {
      postMessage({ kind: "step", done: index + 1, text: layer.id });
      postMessage({ kind: "row", row: await time(context, roofline, layer) });
    }
    postMessage({ kind: "end" });
  } catch (error) {
    postMessage({ kind: "failed", text: error.message });
  }
});
