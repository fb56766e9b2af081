// What is drawn of a network's results. `scene.wgsl` does it, from the network's own outputs.
import { PictureInput, PictureOutput } from "./pictures.js";

/** What the page's own networks do: their file, their input's colours, and what draws their results. */
export const tasks = {
  person: { file: "selfie_segmentation.onnx", colours: {}, outputs: ["activation_10"], bindings: [2], fragment: "person" },
  faces: { file: "blazeface_short.onnx", colours: { mean: 0.5, std: 0.5 }, outputs: ["regressors", "classificators"], bindings: [3, 4], fragment: "boxes" },
};

/** As many bytes as `Faces` has in `scene.wgsl`. */
const facesBytes = 16 + 16 * 64;

/** A bound network between a picture and a canvas. */
export class Scene {
  constructor(context, shader, canvas, task, bound) {
    this.device = context.device;
    this.bound = bound;
    this.input = new PictureInput(context, bound.input(), task.colours);
    this.target = canvas.getContext("webgpu");
    const format = navigator.gpu.getPreferredCanvasFormat();
    this.target.configure({ device: this.device, format });
    const module = this.device.createShaderModule({ code: shader });
    this.pipeline = this.device.createRenderPipeline({
      layout: "auto", vertex: { module }, fragment: { module, entryPoint: task.fragment, targets: [{ format }] },
    });
    this.sampler = this.device.createSampler({ magFilter: "linear", minFilter: "linear" });
    const results = task.outputs.map((name, index) => ({ binding: task.bindings[index], resource: { buffer: bound.output(name).buffer } }));
    if (task.fragment === "boxes") {
      this.find = this.device.createComputePipeline({ layout: "auto", compute: { module, entryPoint: "find" } });
      const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
      this.faces = this.device.createBuffer({ size: facesBytes, usage });
      this.finding = this.device.createBindGroup({
        layout: this.find.getBindGroupLayout(0),
        entries: [...results, { binding: 5, resource: { buffer: this.faces } }],
      });
      this.results = [{ binding: 6, resource: { buffer: this.faces } }];
    } else {
      this.results = results;
    }
  }

  /** The three parts of a frame, each submitted by itself. */
  load(source) {
    const texture = this.input.load(source);
    if (this.drawn?.texture === texture) return;
    const resources = [texture.createView(), this.sampler].map((resource, binding) => ({ binding, resource }));
    const group = this.device.createBindGroup({ layout: this.pipeline.getBindGroupLayout(0), entries: [...resources, ...this.results] });
    this.drawn = { texture, group };
  }

  run() {
    this.bound.run();
  }

  draw() {
    const encoder = this.device.createCommandEncoder();
    if (this.find) {
      encoder.clearBuffer(this.faces);
      const pass = encoder.beginComputePass();
      pass.setPipeline(this.find);
      pass.setBindGroup(0, this.finding);
      pass.dispatchWorkgroups(896 / 64);
      pass.end();
    }
    const view = this.target.getCurrentTexture().createView();
    const pass = encoder.beginRenderPass({ colorAttachments: [{ view, loadOp: "clear", storeOp: "store" }] });
    pass.setPipeline(this.pipeline);
    pass.setBindGroup(0, this.drawn.group);
    pass.draw(3);
    pass.end();
    this.device.queue.submit([encoder.finish()]);
  }

  /** How many faces the last frame had, or undefined where none are looked for. */
  async count() {
    if (!this.faces) return undefined;
    const copy = this.device.createBuffer({ size: 4, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    const encoder = this.device.createCommandEncoder();
    encoder.copyBufferToBuffer(this.faces, 0, copy, 0, 4);
    this.device.queue.submit([encoder.finish()]);
    await copy.mapAsync(GPUMapMode.READ);
    const [count] = new Uint32Array(copy.getMappedRange());
    copy.destroy();
    return count;
  }
}

/** A network that the page does not know: its picture goes in, and an output that is a picture is drawn. */
export class OwnScene {
  constructor(context, canvas, plan, bound) {
    this.bound = bound;
    this.input = new PictureInput(context, bound.input());
    const isPicture = ({ tensorShape: [batch, channels, height, width] }) =>
      batch === 1 && [1, 3, 4].includes(channels) && height > 7 && width > 7;
    const drawn = plan.outputs.find(isPicture);
    this.output = drawn && new PictureOutput(context, bound.output(drawn.name), canvas);
  }

  load(source) {
    this.input.load(source);
  }

  run() {
    this.bound.run();
  }

  draw() {
    this.output?.draw();
  }

  async count() {
    return undefined;
  }
}
