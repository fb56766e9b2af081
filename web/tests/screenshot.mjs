// Keeps what the page looks like in docs/figures/page.jpg, to be looked at: node screenshot.mjs
import { join } from "node:path";
import { open, root } from "./browser.mjs";

const { page, close } = await open({ path: "/page/", context: { viewport: { width: 1200, height: 800 }, reducedMotion: "reduce" } });
await page.click("#measure");
await page.waitForFunction(() => /^(Done|The measurement)/.test(document.querySelector("#measure-status").textContent));
// Headless Chromium's own picture leaves a WebGPU canvas black on SwiftShader, so an image of it stands in its place.
await page.evaluate(async () => {
  const canvas = document.querySelector("#maps");
  document.querySelector("#taps input").dispatchEvent(new Event("input"));
  const image = Object.assign(new Image(), { src: canvas.toDataURL("image/jpeg", 0.8) });
  image.style.width = "100%";
  await image.decode();
  canvas.replaceWith(image);
});
await page.screenshot({ path: join(root, "docs/figures/page.jpg"), fullPage: true, type: "jpeg", quality: 80 });
await close();
