// Keeps what the page looks like in docs/figures/page.jpg, to be looked at: node screenshot.mjs
import { join } from "node:path";
import { open, root } from "./browser.mjs";
import { keepScene } from "./visit.mjs";

const { page, close } = await open({
  path: "/page/", context: { viewport: { width: 1200, height: 800 }, reducedMotion: "reduce" }, script: keepScene,
});
page.setDefaultTimeout(300_000);
await page.waitForFunction(() => /^This device/.test(document.querySelector("#device").textContent));
await page.click("#network-run");
await page.waitForFunction(() => /^Done/.test(document.querySelector("#network-status").textContent));
await page.click("#measure");
await page.waitForFunction(() => /^(Done|The measurement)/.test(document.querySelector("#measure-status").textContent));
// Headless Chromium's own picture leaves a WebGPU canvas black on SwiftShader, so an image of it stands in its place.
await page.evaluate(async () => {
  const maps = document.querySelector("#maps");
  document.querySelector("#taps input").dispatchEvent(new Event("input"));
  for (const [canvas, src] of [[maps, maps.toDataURL("image/jpeg", 0.8)], [document.querySelector("#scene"), window.scene]]) {
    const image = Object.assign(new Image(), { src });
    image.style.width = "100%";
    await image.decode();
    canvas.replaceWith(image);
  }
});
await page.screenshot({ path: join(root, "docs/figures/page.jpg"), fullPage: true, type: "jpeg", quality: 80 });
await close();
