// Opening the page, and what is looked for in it.
import { open } from "./browser.mjs";

/** Opens the page and waits until it has said what device there is. */
export async function visit(options = {}) {
  const chromium = await open({ path: "/page/", ...options });
  await chromium.page.waitForFunction(() => document.querySelector("#device").textContent !== "Starting …");
  return chromium;
}

export const text = (page, selector) => page.textContent(selector);

/** Keeps every device that the page opens, so that a test can lose one. */
export const keepDevices = () => {
  const { requestDevice } = GPUAdapter.prototype;
  window.devices = [];
  GPUAdapter.prototype.requestDevice = async function (...parameters) {
    const device = await requestDevice.apply(this, parameters);
    window.devices.push(device);
    return device;
  };
};

/** The least contrast between text and what lies behind it (WCAG 2.2, 1.4.3), over every element with text of its own. */
export function leastContrast() {
  const channels = (colour) => colour.match(/[\d.]+/g).map(Number);
  const luminance = (colour) => {
    const [r, g, b] = channels(colour).map((value) => value / 255).map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (channels(colour)[3] !== 0) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const worst = { ratio: Infinity };
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
    if (!own || element.disabled || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const [a, b] = [luminance(element.namespaceURI.endsWith("svg") ? style.fill : style.color), luminance(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < worst.ratio) Object.assign(worst, { ratio, text: element.textContent.slice(0, 40) });
  }
  return worst;
}

/** The elements that nothing names. */
export function unlabelled() {
  return [...document.querySelectorAll("input, button, canvas, svg, progress, a")]
    .filter((element) => !element.closest("label") && !element.ariaLabel && !element.textContent.trim()).map((element) => element.outerHTML);
}

/** Keeps what the scene looks like from the task that draws it, unless `keepsScene` is false: a canvas can be read only then. */
export const keepScene = () => {
  window.keepsScene = true;
  const { getCurrentTexture } = GPUCanvasContext.prototype;
  GPUCanvasContext.prototype.getCurrentTexture = function () {
    if (this.canvas.id === "scene" && window.keepsScene) {
      queueMicrotask(() => { window.scene = this.canvas.toDataURL(); });
    }
    return getCurrentTexture.call(this);
  };
};
