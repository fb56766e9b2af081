// Whole networks through the JavaScript API, in the browser.
import init, { Context, Network, Tensor } from "/package/sepconv.js";
import { PictureInput, PictureOutput } from "/package/pictures.js";
import { model } from "/benches/ort-web/onnx.js";
import { parse, thrown } from "./common.js";

const bytesOf = async (path) => {
  const response = await fetch(path);
  return response.ok ? response.arrayBuffer() : undefined;
};

let opened;
const open = async () => {
  await init();
  return (opened ??= await Context.create());
};

const poison = (tensor) => tensor.write(new Float32Array(tensor.shape.reduce((a, b) => a * b)).fill(NaN));

/** The largest difference over the largest value; infinite if an output is not there. */
function ratio(actual, expected) {
  if (actual.length !== expected.length || actual.some((value) => !Number.isFinite(value))) return Infinity;
  const most = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return most(actual.map((value, index) => value - expected[index])) / most(expected);
}

/** The networks that lie beside the repository, if they do: for each, how far its outputs are from another engine's. */
export async function cases() {
  const list = await bytesOf("/networks/cases.json");
  return list && JSON.parse(new TextDecoder().decode(list)).map(({ model, golden, order_of_sums }) => ({
    model, golden, allowed: Math.max(1e-4, 20 * order_of_sums),
  }));
}

export async function run({ model, golden }) {
  const context = await open();
  const start = performance.now();
  const network = Network.fromOnnx(await bytesOf(`/networks/${model}`));
  const tensors = parse(await bytesOf(`/networks/${golden}`));
  const inputs = network.inputNames.map((name) => [name, tensors[`input:${name}`]]);
  // Nothing may be compiled in place.
  const { createComputePipeline } = GPUDevice.prototype;
  let inPlace = 0;
  GPUDevice.prototype.createComputePipeline = function (...parameters) {
    inPlace += 1;
    return createComputePipeline.apply(this, parameters);
  };
  const told = [];
  const shapes = Object.fromEntries(inputs.map(([name, { shape }]) => [name, shape]));
  const plan = await network.plan(context, shapes, (done, of) => told.push([done, of]));
  GPUDevice.prototype.createComputePipeline = createComputePipeline;
  const seconds = (performance.now() - start) / 1e3;
  const bound = plan.bind();
  for (const [name, { values }] of inputs) bound.input(name).write(values);
  const ratios = {};
  // What is right only the first time is wrong.
  for (let turn = 0; turn < 2; turn += 1) {
    for (const { name } of plan.outputs) poison(bound.output(name));
    bound.run();
    for (const { name } of plan.outputs) {
      ratios[name] = Math.max(ratios[name] ?? 0, ratio(await bound.output(name).read(), tensors[`output:${name}`].values));
    }
  }
  return { ratios, told, inPlace, outputs: network.outputNames, seconds };
}

/** A model of a depthwise and a pointwise layer, and one that is normal; inputs and outputs are 4 × 8 × 8. */
function small() {
  const values = (count, seed) => Float32Array.from({ length: count }, (_, i) => ((i * 7 + seed) % 17) / 8 - 1);
  const layer = (input, output, shape, groups) => ({
    input, output, stride: 1, padding: shape[2] >> 1, dilation: 1, groups,
    weight: { shape, values: values(shape.reduce((a, b) => a * b), groups) }, bias: { values: values(shape[0], 3) },
  });
  const layers = [layer("x", "m", [4, 1, 3, 3], 4), layer("m", "n", [4, 4, 1, 1], 1), layer("n", "y", [4, 4, 3, 3], 1)];
  return { bytes: model(layers, [1, 4, 8, 8], [1, 4, 8, 8]), input: values(256, 5) };
}

const result = async (bound, input) => {
  bound.input().write(input);
  poison(bound.output());
  bound.run();
  return bound.output().read();
};

/** Folding, other outputs, tuning, and what a plan says of itself. */
export async function parts() {
  const context = await open();
  const { bytes, input } = small();
  const network = Network.fromOnnx(bytes);
  const plan = await network.plan(context);
  const expected = await result(plan.bind(), input);
  const folded = await network.folded().plan(context);
  const inside = await network.withOutputs(["n"]).plan(context);
  let told;
  const tuned = await network.tune(context, undefined, (done, of) => { told = [done, of]; });
  const again = context.withTuning(tuned.tuning);
  const layers = ({ layers }) => layers.map(({ multiplyAdds }) => multiplyAdds);
  return {
    layers: layers(plan), folded: layers(folded), parameters: plan.layers.map(({ parameters }) => parameters),
    ports: [plan.inputs, plan.outputs, inside.outputs],
    bytes: [plan.weightBytes, plan.workspaceBytes], steps: plan.steps,
    foldedRatio: ratio(await result(folded.bind(), input), expected),
    tunedRatio: ratio(await result((await network.plan(again)).bind(), input), expected),
    otherWeights: ratio(await result(plan.bind({ weights: plan.weights() }), input), expected),
    told, tables: [context.tuning, tuned.tuning, again.tuning],
  };
}

/** A device and buffers of the caller's own. */
export async function ownDevice() {
  await init();
  const adapter = await navigator.gpu.requestAdapter();
  const device = await adapter.requestDevice();
  let heard = 0;
  device.onuncapturederror = () => { heard += 1; };
  const context = await Context.fromDevice(device);
  const { bytes, input } = small();
  const plan = await Network.fromOnnx(bytes).plan(context);
  const expected = await result(plan.bind(), input);
  // The input starts in the middle of the buffer.
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  const [from, to] = [2048, 1024].map((size) => device.createBuffer({ size, usage }));
  device.queue.writeBuffer(from, 512, input);
  const tensors = [Tensor.fromBuffer(context, [1, 4, 8, 8], from, 512), Tensor.fromBuffer(context, [1, 4, 8, 8], to)];
  plan.bind({ inputs: { x: tensors[0] }, outputs: { y: tensors[1] } }).run();
  const copy = device.createBuffer({ size: 1024, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
  const encoder = device.createCommandEncoder();
  encoder.copyBufferToBuffer(to, 0, copy, 0, 1024);
  device.queue.submit([encoder.finish()]);
  await copy.mapAsync(GPUMapMode.READ);
  const actual = new Float32Array(copy.getMappedRange().slice());
  device.createBuffer({ size: 4, usage: 0 });
  const refused = await context.wait().then(() => "nothing", (error) => error.message);
  const own = [navigator.gpu, device].flatMap((object) => Object.getOwnPropertyNames(object));
  const words = {
    noDevice: await Context.fromDevice({}).then(() => "nothing", (error) => `${error.name}: ${error.message}`),
    noBuffer: thrown(() => Tensor.fromBuffer(context, [1, 4, 8, 8], 7)),
    pastEnd: thrown(() => Tensor.fromBuffer(context, [1, 4, 8, 8], to, 4)),
    misaligned: thrown(() => Tensor.fromBuffer(context, [1, 4, 8, 8], from, 2)),
    usage: thrown(() => Tensor.fromBuffer(context, [1, 4, 8, 8], copy)),
  };
  device.destroy();
  await device.lost;
  const lost = await tensors[1].read().then(() => "nothing", (error) => error.message);
  return {
    same: context.device === device, buffer: tensors[1].buffer === to, ratio: ratio(actual, expected), refused, heard, own, words, lost,
  };
}

/** What networks refuse, in which words. */
export async function refusals() {
  const context = await open();
  const { bytes } = small();
  const network = Network.fromOnnx(bytes);
  const plan = await network.plan(context);
  const late = (promise) => promise.then(() => "nothing", (error) => `${error.name}: ${error.message}`);
  const tensor = new Tensor(context, [1, 4, 8, 7]);
  return {
    noBytes: thrown(() => Network.fromOnnx("model.onnx")),
    noModel: thrown(() => Network.fromOnnx(new Uint8Array([1, 2, 3]))),
    cutOff: thrown(() => Network.fromOnnx(bytes.slice(0, bytes.length - 9))),
    name: await late(network.plan(context, { picture: [1, 4, 8, 8] })),
    sizes: await late(network.plan(context, { x: [1, 3, 8, 8] })),
    fraction: await late(network.plan(context, { x: [1, 4, 8, 1.5] })),
    shapes: await late(network.plan(context, 7)),
    progress: await late(network.plan(context, {}, 7)),
    output: thrown(() => network.withOutputs(["z"])),
    bindName: thrown(() => plan.bind({ inputs: { z: tensor } })),
    bindKey: thrown(() => plan.bind({ input: tensor })),
    bindKind: thrown(() => plan.bind({ inputs: { x: 7 } })),
    bindShape: thrown(() => plan.bind({ inputs: { x: tensor } })),
    tensorName: thrown(() => plan.bind().output("z")),
    table: thrown(() => context.withTuning("no table")),
    channels: thrown(() => new PictureInput(context, new Tensor(context, [1, 2, 8, 8]))),
    mean: thrown(() => new PictureInput(context, new Tensor(context, [1, 3, 8, 8]), { mean: [1, 2] })),
    fit: thrown(() => new PictureInput(context, new Tensor(context, [1, 3, 8, 8]), { fit: "contain" })),
    noSize: thrown(() => new PictureInput(context, new Tensor(context, [1, 3, 8, 8])).load(new Image())),
  };
}

/** A picture of 8 × 4 whose left half is red and right half blue, in every form, put into a tensor of 4 × 4. */
export async function pictures() {
  const context = await open();
  const { device } = context;
  const canvas = new OffscreenCanvas(8, 4);
  const two = canvas.getContext("2d");
  for (const [colour, x] of [["#ff0000", 0], ["#0000ff", 4]]) {
    two.fillStyle = colour;
    two.fillRect(x, 0, 4, 4);
  }
  const texture = device.createTexture({
    size: [8, 4], format: "rgba8unorm",
    usage: GPUTextureUsage.TEXTURE_BINDING | GPUTextureUsage.COPY_DST | GPUTextureUsage.RENDER_ATTACHMENT,
  });
  device.queue.copyExternalImageToTexture({ source: canvas }, { texture }, [8, 4]);
  const image = new Image();
  image.src = URL.createObjectURL(await canvas.convertToBlob());
  await image.decode();
  const sources = {
    texture, canvas, image, ImageData: two.getImageData(0, 0, 8, 4), ImageBitmap: await createImageBitmap(canvas),
    VideoFrame: new VideoFrame(canvas, { timestamp: 0 }),
  };
  const tensor = new Tensor(context, [1, 3, 4, 4]);
  const loaded = {};
  for (const [name, source] of Object.entries(sources)) {
    const input = new PictureInput(context, tensor, { mean: [0.5, 0, 0], std: [0.5, 1, 2], range: 1 });
    input.load(source);
    loaded[name] = [...await tensor.read()];
    input.destroy();
  }
  const stretched = new PictureInput(context, tensor, { fit: "stretch", range: 255 });
  stretched.load(canvas);
  const stretch = [...await tensor.read()];

  // And back: a column of each colour, onto a texture and a canvas of twice the size.
  const values = Float32Array.from({ length: 48 }, (_, i) => (Math.floor(i / 16) === i % 4 ? 255 : 0));
  tensor.write(values);
  const target = device.createTexture({
    size: [8, 8], format: "rgba8unorm", usage: GPUTextureUsage.RENDER_ATTACHMENT | GPUTextureUsage.COPY_SRC,
  });
  new PictureOutput(context, tensor, "rgba8unorm", { range: 255 }).draw(target);
  const copy = device.createBuffer({ size: 8 * 256, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
  const encoder = device.createCommandEncoder();
  encoder.copyTextureToBuffer({ texture: target }, { buffer: copy, bytesPerRow: 256 }, [8, 8]);
  device.queue.submit([encoder.finish()]);
  await copy.mapAsync(GPUMapMode.READ);
  const row = [...new Uint8Array(copy.getMappedRange(), 3 * 256, 32)];
  const shown = Object.assign(document.createElement("canvas"), { width: 8, height: 8 });
  new PictureOutput(context, tensor, shown, { range: 255 }).draw();
  // A canvas can be read only in the task that drew it.
  const drawn = shown.toDataURL();
  two.drawImage(await createImageBitmap(await (await fetch(drawn)).blob()), 0, 0);
  return { loaded, stretch, row, canvas: [...two.getImageData(0, 3, 8, 1).data] };
}

/** A network in a worker. */
export async function inWorker() {
  const { bytes, input } = small();
  const context = await open();
  const expected = await result((await Network.fromOnnx(bytes).plan(context)).bind(), input);
  const worker = new Worker("/web/tests/network-worker.js", { type: "module" });
  worker.postMessage({ bytes, input });
  const actual = await new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => reject(new Error(message));
  });
  worker.terminate();
  return typeof actual === "string" ? actual : ratio(actual, expected);
}
