// LiteRT.js on WebGPU, for those networks that a package has as .tflite: MediaPipe's two.
const modules = "/benches/ort-web/node_modules";

const files = {
  selfie_segmentation: "selfie_segmentation/selfie_segmentation.tflite",
  blazeface_short: "face_detection/face_detection_short_range.tflite",
};

let loading;
/** The library, which imports another by a name that only a map knows. */
const library = () => (loading ??= (async () => {
  const imports = { "@litertjs/wasm-utils": `${modules}/@litertjs/wasm-utils/dist/index.js` };
  document.head.append(Object.assign(document.createElement("script"), { type: "importmap", textContent: JSON.stringify({ imports }) }));
  const litert = await import(`${modules}/@litertjs/core/dist/index.js`);
  await litert.loadLiteRt(`${modules}/@litertjs/core/wasm/`);
  return litert;
})());

/** The values of one picture with its channels last. */
function channelsLast({ shape: [, channels, height, width], values }) {
  const plane = height * width;
  return Float32Array.from(values, (_, index) => values[(index % channels) * plane + Math.floor(index / channels)]);
}

/** Whether there is a file of this network for it. */
export const hasFile = (id) => id in files;

/** A network of one picture, its input and outputs on LiteRT's device. Its outputs have one channel or none, so that their order is ONNX's. */
export async function litert(id, [[, picture]]) {
  const { Tensor, getWebGpuDevice, loadAndCompile } = await library();
  const model = await loadAndCompile(`${modules}/@mediapipe/${files[id]}`, { accelerator: "webgpu" });
  const [, channels, height, width] = picture.shape;
  const input = await new Tensor(channelsLast(picture), [1, height, width, channels]).moveTo("webgpu");
  const places = Object.fromEntries(model.getOutputDetails().map(({ name }, index) => [name, index]));
  return {
    run: async () => (await model.run(input)).forEach((tensor) => tensor.delete()),
    wait: () => getWebGpuDevice().queue.onSubmittedWorkDone(),
    read: async (name) => (await model.run(input))[places[name]].data(),
    free: () => [input, model].forEach((held) => held.delete()),
  };
}
