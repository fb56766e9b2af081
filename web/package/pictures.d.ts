import type { Context, Tensor } from "./sepconv.js";

/** How a tensor's values and a picture's colours belong together: value = (colour · range − mean) ÷ std. */
export interface PictureOptions {
  /** What is subtracted, one number or one for each channel; default 0. */
  mean?: number | number[];
  /** What it is divided by, one number or one for each channel; default 1. */
  std?: number | number[];
  /** The largest colour: 1 or 255; default 1. */
  range?: number;
}

export interface PictureInputOptions extends PictureOptions {
  /** `cover`, the default, takes the largest part in the middle that has the tensor's proportions; `stretch` takes all. */
  fit?: "cover" | "stretch";
}

/** Puts pictures into a tensor of 1, 3 or 4 channels, without reading anything back. */
export class PictureInput {
  constructor(context: Context, tensor: Tensor, options?: PictureInputOptions);
  /** Takes a picture; or a texture of `context.device`, which must be one that shaders may sample. Returns the texture. */
  load(source: GPUTexture | VideoFrame | HTMLVideoElement | HTMLCanvasElement | OffscreenCanvas | ImageBitmap | ImageData | HTMLImageElement): GPUTexture;
  destroy(): void;
}

/** Draws a tensor of 1, 3 or 4 channels on a canvas or into a texture, without reading anything back. */
export class PictureOutput {
  /** `target` is a canvas, or the format of the textures that will be drawn into. */
  constructor(context: Context, tensor: Tensor, target: HTMLCanvasElement | OffscreenCanvas | GPUTextureFormat, options?: PictureOptions);
  /** Without a texture it draws on the canvas. */
  draw(texture?: GPUTexture): void;
  destroy(): void;
}
