// The live picture: texture in, canvas out, the library's kernels between, nothing read back.
import { takeDropped } from "./drop.js";
import { Context, Conv2d, Tensor } from "./sepconv.js";

/** Height and width of every map; `picture.wgsl` has the same. */
const size = 256;

/** 3 × 3 filters in rows, and what is added so that negative results show. */
const filters = [
  { taps: [1, 2, 1, 2, 4, 2, 1, 2, 1].map((tap) => tap / 16), bias: 0 },
  { taps: [-1, 0, 1, -2, 0, 2, -1, 0, 1].map((tap) => tap / 4), bias: 0.5 },
  { taps: [-1, -2, -1, 0, 0, 0, 1, 2, 1].map((tap) => tap / 4), bias: 0.5 },
  { taps: [0, -1, 0, -1, 5, -1, 0, -1, 0], bias: 0 },
];

/** Each mix takes one factor per filter, times how much of red, green and blue the eye sees. */
const luminance = [0.3, 0.59, 0.11];
const mixes = [
  { factors: [1, 0, 0, 0], bias: 0 },
  { factors: [0, 1, 0, 0], bias: 0 },
  { factors: [0, 0, 1, 0], bias: 0 },
  { factors: [0, 0, 0, 1], bias: 0 },
  { factors: [0, 1, 1, 0], bias: -0.5 },
];

/** The two layers that a separable one is, on a device, from a texture to a canvas. */
class Pipeline {
  static async open(canvas) {
    const shader = await (await fetch("picture.wgsl")).text();
    return new Pipeline(await Context.create(), shader, canvas);
  }

  constructor(context, code, canvas) {
    this.context = context;
    this.device = context.device;
    const depthwise = new Conv2d(3, 12, 3, { groups: 3, padding: 1, paddingMode: "replicate" });
    const pointwise = new Conv2d(12, mixes.length, 1);
    const shape = [1, 3, size, size];
    const depthwisePlan = depthwise.plan(context, shape);
    const pointwisePlan = pointwise.plan(context, depthwisePlan.outputShape);
    const channels = new Tensor(context, shape);
    const filtered = new Tensor(context, depthwisePlan.outputShape);
    const mixed = new Tensor(context, pointwisePlan.outputShape);
    this.filterWeight = new Tensor(context, [12, 1, 3, 3], new Float32Array(12 * 9));
    const filterBias = new Tensor(context, [12], Float32Array.from({ length: 12 }, (_, i) => filters[i % 4].bias));
    const mixWeight = new Tensor(context, [mixes.length, 12, 1, 1],
      Float32Array.from(mixes.flatMap(({ factors }) => luminance.flatMap((part) => factors.map((factor) => part * factor)))));
    const mixBias = new Tensor(context, [mixes.length], Float32Array.from(mixes, ({ bias }) => bias));
    this.packedFilters = depthwisePlan.weights({ weight: this.filterWeight, bias: filterBias });
    this.layers = [
      depthwisePlan.bind({ input: channels, weights: this.packedFilters, output: filtered }),
      pointwisePlan.bind({ input: filtered, weight: mixWeight, bias: mixBias, output: mixed }),
    ];

    const module = this.device.createShaderModule({ code });
    this.load = this.device.createComputePipeline({ layout: "auto", compute: { module, entryPoint: "load" } });
    this.sampler = this.device.createSampler({ magFilter: "linear", minFilter: "linear" });
    this.planes = channels.buffer;
    const format = navigator.gpu.getPreferredCanvasFormat();
    this.draw = this.device.createRenderPipeline({
      layout: "auto", vertex: { module }, fragment: { module, targets: [{ format }] },
    });
    this.maps = this.device.createBindGroup({
      layout: this.draw.getBindGroupLayout(0),
      entries: [channels, filtered, mixed].map(({ buffer }, binding) => ({ binding, resource: { buffer } })),
    });
    this.target = canvas.getContext("webgpu");
    this.target.configure({ device: this.device, format });
  }

  setFilters(all) {
    this.filterWeight.write(Float32Array.from([0, 1, 2].flatMap(() => all.flatMap(({ taps }) => taps))));
    this.packedFilters.pack();
  }

  /** A texture of the source's size, kept while that stays the same. */
  textureFor(width, height) {
    if (this.texture?.width !== width || this.texture?.height !== height) {
      this.texture?.destroy();
      const usage = GPUTextureUsage.TEXTURE_BINDING | GPUTextureUsage.COPY_DST | GPUTextureUsage.RENDER_ATTACHMENT;
      this.texture = this.device.createTexture({ size: [width, height], format: "rgba8unorm", usage });
      this.source = this.device.createBindGroup({
        layout: this.load.getBindGroupLayout(0),
        entries: [this.texture.createView(), this.sampler, { buffer: this.planes }]
          .map((resource, binding) => ({ binding, resource })),
      });
    }
    return this.texture;
  }

  /** Runs it all on a picture or on the camera's present one. */
  run(source) {
    const [width, height] = [source.videoWidth ?? source.width, source.videoHeight ?? source.height];
    const texture = this.textureFor(width, height);
    this.device.queue.copyExternalImageToTexture({ source }, { texture }, [width, height]);
    this.submit((encoder) => {
      const pass = encoder.beginComputePass();
      pass.setPipeline(this.load);
      pass.setBindGroup(0, this.source);
      pass.dispatchWorkgroups(size / 8, size / 8);
      pass.end();
    });
    for (const layer of this.layers) layer.run();
    this.submit((encoder) => {
      const view = this.target.getCurrentTexture().createView();
      const pass = encoder.beginRenderPass({ colorAttachments: [{ view, loadOp: "clear", storeOp: "store" }] });
      pass.setPipeline(this.draw);
      pass.setBindGroup(0, this.maps);
      pass.draw(3);
      pass.end();
    });
  }

  submit(record) {
    const encoder = this.device.createCommandEncoder();
    record(encoder);
    this.device.queue.submit([encoder.finish()]);
  }
}

const status = (text, trouble = false) => {
  const element = document.querySelector("#picture-status");
  element.textContent = text;
  element.classList.toggle("trouble", trouble);
};

/** How often a lost device is started again, each time after a longer break. */
const mostLosses = 5;

/** At most so many pixels a side are uploaded: the maps have no more. */
async function still(blob) {
  const whole = await createImageBitmap(blob);
  const scale = size / Math.min(whole.width, whole.height);
  if (scale >= 1) return whole;
  const [resizeWidth, resizeHeight] = [whole.width, whole.height].map((length) => Math.max(1, Math.round(length * scale)));
  return createImageBitmap(whole, { resizeWidth, resizeHeight, resizeQuality: "high" });
}

/** Wires the section, and starts again whenever the device is lost; `opened` hears of every new context. */
export async function picture(opened) {
  const canvas = document.querySelector("#maps");
  const camera = document.querySelector("#camera");
  let source = await still(await (await fetch("astronaut.jpg")).blob());
  let pipeline;
  let losses = 0;

  const start = async () => {
    pipeline = await Pipeline.open(canvas);
    const { context } = pipeline;
    context.device.lost.then(({ message }) => restart(message));
    try {
      pipeline.setFilters(filters);
      pipeline.run(source);
      await context.wait();
    } catch (error) {
      // A device that was lost meanwhile is started again by its own promise.
      if (context.lost) return;
      throw error;
    }
    opened(context);
    if (losses) status("The device was lost; the page has started again on a new one.");
  };

  const restart = async (reason) => {
    pipeline = undefined;
    losses += 1;
    const lost = `The device was lost (${reason || "the browser gives no reason"})`;
    if (losses > mostLosses) {
      status(`${lost}, for the ${losses}th time. Reload the page to try once more.`, true);
      return;
    }
    status(`${lost}; starting again …`, true);
    await new Promise((resolve) => setTimeout(resolve, 250 * losses));
    await start().catch((error) => status(`${lost} and does not open again: ${error.message}.`, true));
  };

  const draw = ({ filtersChanged = false } = {}) => {
    try {
      if (filtersChanged) pipeline?.setFilters(filters);
      pipeline?.run(source);
    } catch (error) {
      // A lost device's own promise starts again.
      if (!pipeline?.context.lost) status(error.message, true);
    }
  };

  const taps = document.querySelector("#taps");
  const own = filters.at(-1);
  own.taps.forEach((tap, index) => {
    const label = `row ${Math.floor(index / 3) + 1}, column ${(index % 3) + 1}`;
    const input = Object.assign(document.createElement("input"), { type: "number", step: 0.25, value: tap, ariaLabel: label });
    input.addEventListener("input", () => {
      own.taps[index] = Number(input.value) || 0;
      draw({ filtersChanged: true });
    });
    taps.append(input);
  });

  const stopCamera = () => {
    source.srcObject?.getTracks().forEach((track) => track.stop());
    camera.setAttribute("aria-pressed", "false");
    camera.textContent = "Use the camera";
  };
  const show = async (file) => {
    if (!file) return;
    try {
      const chosen = await still(file);
      stopCamera();
      source = chosen;
      status("");
      draw();
    } catch {
      status(`${file.name || "That"} is not a picture that this browser can read.`, true);
    }
  };
  document.querySelector("#file").addEventListener("change", ({ target }) => show(target.files[0]));
  takeDropped(canvas, show);
  camera.addEventListener("click", async () => {
    if (source.srcObject) {
      const last = await createImageBitmap(source);
      stopCamera();
      source = last;
      return;
    }
    try {
      const video = document.createElement("video");
      video.muted = true;
      video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { width: 320, height: 320 } });
      await video.play();
      source = video;
      camera.setAttribute("aria-pressed", "true");
      camera.textContent = "Stop the camera";
      const next = () => {
        if (source !== video) return;
        draw();
        requestAnimationFrame(next);
      };
      next();
    } catch (error) {
      status(`The camera cannot be used: ${error.message}`, true);
    }
  });

  await start();
}
