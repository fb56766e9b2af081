// Five whole networks, sepconv, onnxruntime-web and LiteRT.js turn by turn on the same inputs. Runs in the page: see networks.mjs.
import * as ort from "/benches/ort-web/node_modules/onnxruntime-web/dist/ort.webgpu.bundle.min.mjs";
import init, { Context, Network } from "/package/sepconv.js";
import { parse } from "/web/tests/common.js";
import { hasFile, litert } from "./litert.js";
import { restated } from "./onnx.js";
import { median, once } from "./turns.js";

const get = async (path) => (await fetch(path)).arrayBuffer();

/** sepconv's, its tensors on its device. */
async function ours(context, bytes, inputs) {
  const network = Network.fromOnnx(bytes);
  const plan = await network.plan(context, Object.fromEntries(inputs.map(([name, { shape }]) => [name, shape])));
  const bound = plan.bind();
  for (const [name, { values }] of inputs) bound.input(name).write(values);
  return {
    run: async () => bound.run(), wait: () => context.device.queue.onSubmittedWorkDone(),
    read: (name) => bound.output(name).read(), outputs: network.outputNames, steps: plan.steps,
  };
}

/** onnxruntime-web's, inputs and outputs in buffers on its device. */
async function theirs(bytes, inputs) {
  // Its file may declare another shape, and that engine goes by the file.
  const declared = restated(new Uint8Array(bytes), Object.fromEntries(inputs.map(([name, { shape }]) => [name, shape])));
  const session = await ort.InferenceSession.create(declared, {
    executionProviders: ["webgpu"], preferredOutputLocation: "gpu-buffer",
  });
  const device = await ort.env.webgpu.device;
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  const feeds = {};
  for (const [name, { shape, values }] of inputs) {
    const buffer = device.createBuffer({ size: Math.ceil(values.byteLength / 16) * 16, usage });
    device.queue.writeBuffer(buffer, 0, values);
    feeds[name] = ort.Tensor.fromGpuBuffer(buffer, { dataType: "float32", dims: shape });
  }
  return {
    run: async () => Object.values(await session.run(feeds)).forEach((tensor) => tensor.dispose()),
    wait: () => device.queue.onSubmittedWorkDone(),
    read: async (name) => (await session.run(feeds))[name].getData(true),
    free: () => session.release(),
  };
}

/** The milliseconds until a first result is there. */
async function timed(make) {
  const start = performance.now();
  const made = await make();
  await once(made);
  return [made, performance.now() - start];
}

/** The largest difference between two engines' results over the largest value, of the worst output. */
async function difference(own, peer) {
  let worst = 0;
  for (const name of own.outputs) {
    const [a, b] = [await own.read(name), await peer.read(name)];
    const most = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    worst = Math.max(worst, a.length === b.length ? most(a.map((value, i) => value - b[i])) / most(b) : NaN);
  }
  return worst;
}

export async function compareNetwork({ model, golden }, milliseconds) {
  await init();
  globalThis.context ??= await Context.create();
  ort.env.wasm.numThreads = 1;
  const id = model.replace(/^models\/|\.onnx$/g, "");
  const bytes = await get(`/networks/${model}`);
  const tensors = parse(await get(`/networks/${golden}`));
  const inputs = Object.entries(tensors).filter(([name]) => name.startsWith("input:")).map(([name, tensor]) => [name.slice(6), tensor]);
  const [own, own_first_ms] = await timed(() => ours(globalThis.context, bytes, inputs));
  const [peer, ort_first_ms] = await timed(() => theirs(bytes, inputs));
  const [other, litert_first_ms] = hasFile(id) ? await timed(() => litert(id, inputs)) : [];
  const engines = [own, peer, other].filter(Boolean);
  for (const one of engines) await once(one);
  const times = new Map(engines.map((engine) => [engine, []]));
  const start = performance.now();
  const runs = times.get(own);
  // Turn by turn, so that whatever else the machine does falls on all.
  while (runs.length < 5 || (performance.now() - start < milliseconds && runs.length < 100)) {
    for (const engine of engines) times.get(engine).push(await once(engine));
  }
  const differences = [];
  for (const engine of engines.slice(1)) differences.push(await difference(own, engine));
  for (const engine of engines.slice(1)) await engine.free();
  const [sepconv_ms, ort_ms, litert_ms] = engines.map((engine) => median(times.get(engine)));
  return {
    id, shape: inputs[0][1].shape, steps: own.steps, sepconv_ms, ort_ms, runs: runs.length, own_first_ms, ort_first_ms,
    difference_over_largest: differences[0], ratio: ort_ms / sepconv_ms,
    ...(other && { litert_ms, litert_first_ms, litert_difference: differences[1], litert_ratio: litert_ms / sepconv_ms }),
  };
}
