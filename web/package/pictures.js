// Pictures into tensors, and tensors onto canvases, on the device: nothing is read back.

const shader = /* wgsl */ `
struct Picture {
  size: vec2u,          // height and width of the tensor
  channels: u32,
  range: f32,
  mean: vec4f,
  deviation: vec4f,
  start: vec2f,         // the part of the picture that is taken, from 0 to 1
  extent: vec2f,
}

@group(0) @binding(0) var<uniform> picture: Picture;
@group(0) @binding(1) var colours: texture_2d<f32>;
@group(0) @binding(2) var smooth_sampler: sampler;
@group(0) @binding(3) var<storage, read_write> tensor: array<f32>;

@compute @workgroup_size(8, 8)
fn load(@builtin(global_invocation_id) at: vec3u) {
  let size = picture.size.yx;
  if any(at.xy >= size) { return; }
  let place = picture.start + (vec2f(at.xy) + 0.5) / vec2f(size) * picture.extent;
  var colour = textureSampleLevel(colours, smooth_sampler, place, 0.0);
  if picture.channels == 1u { colour = vec4f(dot(colour.rgb, vec3f(0.299, 0.587, 0.114))); }
  let values = (colour * picture.range - picture.mean) / picture.deviation;
  for (var channel = 0u; channel < picture.channels; channel++) {
    tensor[(channel * size.y + at.y) * size.x + at.x] = values[channel];
  }
}

@group(0) @binding(4) var<storage, read> values: array<f32>;

@vertex
fn cover(@builtin(vertex_index) index: u32) -> @builtin(position) vec4f {
  // One triangle that is larger than the canvas.
  return vec4f(f32(index & 1u) * 4.0 - 1.0, f32(index >> 1u) * 4.0 - 1.0, 0.0, 1.0);
}

@fragment
fn draw(@builtin(position) position: vec4f) -> @location(0) vec4f {
  let size = picture.size.yx;
  let at = min(vec2u((position.xy - picture.start) / picture.extent * vec2f(size)), size - 1u);
  var colour = vec4f(0.0, 0.0, 0.0, 1.0);
  for (var channel = 0u; channel < picture.channels; channel++) {
    let value = values[(channel * size.y + at.y) * size.x + at.x];
    colour[channel] = (value * picture.deviation[channel] + picture.mean[channel]) / picture.range;
  }
  if picture.channels == 1u { colour = vec4f(colour.rrr, 1.0); }
  return colour;
}
`;

/** A number for every channel, as four numbers. */
const four = (value) => (typeof value === "number" ? [value, value, value, value] : [...value, 1, 1, 1, 1].slice(0, 4));

/** What both directions have: a tensor of one picture, and how its values and a picture's colours belong together. */
class Pictures {
  constructor(context, tensor, { mean = 0, std = 1, range = 1 } = {}) {
    const [batch, channels, height, width] = tensor.shape;
    if (batch !== 1 || ![1, 3, 4].includes(channels)) {
      throw new RangeError(`tensor has shape ${[...tensor.shape]}; a picture has batch 1 and 1, 3 or 4 channels`);
    }
    for (const [name, value] of Object.entries({ mean, std })) {
      if (![1, channels].includes([value].flat().length) || [value].flat().some((one) => !Number.isFinite(one))) {
        throw new RangeError(`${name} is ${value}; it must be one number or one for each of ${channels} channels`);
      }
    }
    if (!(range > 0)) throw new RangeError(`range is ${range}; it must be a positive number`);
    Object.assign(this, { device: context.device, tensor, size: { height, width } });
    this.module = this.device.createShaderModule({ code: shader });
    this.uniform = this.device.createBuffer({ size: 64, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
    const words = new ArrayBuffer(64);
    new Uint32Array(words).set([height, width, channels]);
    new Float32Array(words).set([range, ...four(mean), ...four(std)], 3);
    this.device.queue.writeBuffer(this.uniform, 0, words);
  }

  /** Where the picture lies: its start and its extent. */
  place(numbers) {
    if (numbers.every((number, index) => number === this.placed?.[index])) return;
    this.placed = numbers;
    this.device.queue.writeBuffer(this.uniform, 48, Float32Array.from(numbers));
  }

  submit(record) {
    const encoder = this.device.createCommandEncoder();
    record(encoder);
    this.device.queue.submit([encoder.finish()]);
  }
}

/** Puts pictures into a tensor. Each value is (colour · range − mean) ÷ std, colours being from 0 to 1. */
export class PictureInput extends Pictures {
  constructor(context, tensor, options = {}) {
    super(context, tensor, options);
    this.fit = options.fit ?? "cover";
    if (!["cover", "stretch"].includes(this.fit)) throw new RangeError(`fit is ${this.fit}; it must be cover or stretch`);
    this.pipeline = this.device.createComputePipeline({ layout: "auto", compute: { module: this.module, entryPoint: "load" } });
    this.sampler = this.device.createSampler({ magFilter: "linear", minFilter: "linear" });
  }

  /** The bindings for a texture, kept while it stays the same. */
  bindings(texture) {
    if (this.bound?.texture !== texture) {
      const resources = [{ buffer: this.uniform }, texture.createView(), this.sampler, { buffer: this.tensor.buffer }];
      const group = this.device.createBindGroup({
        layout: this.pipeline.getBindGroupLayout(0),
        entries: resources.map((resource, binding) => ({ binding, resource })),
      });
      this.bound = { texture, group };
    }
    return this.bound.group;
  }

  /** A texture of ours with a picture in it. */
  upload(source) {
    const width = source.displayWidth ?? source.videoWidth ?? source.naturalWidth ?? source.width;
    const height = source.displayHeight ?? source.videoHeight ?? source.naturalHeight ?? source.height;
    if (!(width > 0 && height > 0)) throw new RangeError("source has no size: it must be a picture that is there");
    if (this.texture?.width !== width || this.texture?.height !== height) {
      this.texture?.destroy();
      const usage = GPUTextureUsage.TEXTURE_BINDING | GPUTextureUsage.COPY_DST | GPUTextureUsage.RENDER_ATTACHMENT;
      this.texture = this.device.createTexture({ size: [width, height], format: "rgba8unorm", usage });
    }
    this.device.queue.copyExternalImageToTexture({ source }, { texture: this.texture }, [width, height]);
    return this.texture;
  }

  /** Takes a texture of the same device, a VideoFrame, video, canvas, ImageBitmap, ImageData or img element. */
  load(source) {
    const texture = source instanceof GPUTexture ? source : this.upload(source);
    const { width, height } = texture;
    // The largest part in the middle that has the tensor's proportions, or all of it.
    const scale = Math.min(width / this.size.width, height / this.size.height);
    const extent = this.fit === "stretch" ? [1, 1] : [(scale * this.size.width) / width, (scale * this.size.height) / height];
    this.place([(1 - extent[0]) / 2, (1 - extent[1]) / 2, ...extent]);
    const group = this.bindings(texture);
    this.submit((encoder) => {
      const pass = encoder.beginComputePass();
      pass.setPipeline(this.pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(Math.ceil(this.size.width / 8), Math.ceil(this.size.height / 8));
      pass.end();
    });
    return texture;
  }

  /** Frees the memory that it took on the device. */
  destroy() {
    this.texture?.destroy();
    this.uniform.destroy();
  }
}

/** Draws a tensor on a canvas or into a texture. Each colour is (value · std + mean) ÷ range. */
export class PictureOutput extends Pictures {
  /** `target` is a canvas, or the format of the textures that will be drawn into. */
  constructor(context, tensor, target, options = {}) {
    super(context, tensor, options);
    const isFormat = typeof target === "string";
    const format = isFormat ? target : navigator.gpu.getPreferredCanvasFormat();
    if (!isFormat) {
      this.canvas = target.getContext("webgpu");
      this.canvas.configure({ device: this.device, format });
    }
    this.pipeline = this.device.createRenderPipeline({
      layout: "auto", vertex: { module: this.module }, fragment: { module: this.module, targets: [{ format }] },
    });
    const resources = [[0, this.uniform], [4, tensor.buffer]];
    this.group = this.device.createBindGroup({
      layout: this.pipeline.getBindGroupLayout(0),
      entries: resources.map(([binding, buffer]) => ({ binding, resource: { buffer } })),
    });
  }

  /** Draws on the canvas, or into a texture, as large as that is. */
  draw(texture = this.canvas?.getCurrentTexture()) {
    if (!texture) throw new RangeError("texture is missing: there is no canvas");
    this.place([0, 0, texture.width, texture.height]);
    this.submit((encoder) => {
      const pass = encoder.beginRenderPass({ colorAttachments: [{ view: texture.createView(), loadOp: "clear", storeOp: "store" }] });
      pass.setPipeline(this.pipeline);
      pass.setBindGroup(0, this.group);
      pass.draw(3);
      pass.end();
    });
  }

  /** Frees the memory that it took on the device. */
  destroy() {
    this.uniform.destroy();
  }
}
