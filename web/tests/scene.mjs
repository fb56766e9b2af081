// The page's section of whole networks: what it is given, and what it shows.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { model } from "../../benches/ort-web/onnx.js";
import { root, webgpu } from "./browser.mjs";
import { text } from "./visit.mjs";

export const status = (page) => text(page, "#network-status");

/** Waits until the section has drawn what was asked for. */
export const done = (page) => page.waitForFunction(() => /^Done: /.test(document.querySelector("#network-status").textContent) || document.querySelector("#network-status.trouble"), undefined, { timeout: 300_000 });

/** The scene's colours at these places, each from 0 to 1. */
export const colours = (page, places) => page.evaluate(async (places) => {
  const image = await createImageBitmap(await (await fetch(window.scene)).blob());
  const copy = new OffscreenCanvas(512, 512).getContext("2d");
  copy.drawImage(image, 0, 0);
  return places.map(([x, y]) => [...copy.getImageData(512 * x, 512 * y, 1, 1).data].slice(0, 3));
}, places);
export const distance = (a, b) => Math.max(...a.map((value, index) => Math.abs(value - b[index])));
/** Keeps what the scene looks like, to be looked at, where SCREENSHOTS names a folder. */
export const keepPicture = async (page, name) => {
  if (!process.env.SCREENSHOTS) return;
  const data = await page.evaluate(() => window.scene);
  writeFileSync(join(process.env.SCREENSHOTS, `${name}.png`), Buffer.from(data.split(",")[1], "base64"));
};

/** What makes Chromium's camera see the astronaut. */
export const filmed = (t) => {
  const folder = mkdtempSync(join(tmpdir(), "sepconv-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const film = join(folder, "astronaut.mjpeg");
  const picture = readFileSync(join(root, "assets/astronaut.jpg"));
  writeFileSync(film, Buffer.concat([picture, picture]));
  return [...webgpu, "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", `--use-file-for-fake-video-capture=${film}`];
};

/** Where the astronaut's face is, and where only the background is. */
export const face = [0.44, 0.22];
export const behind = [0.92, 0.06];

/** How many frames the section has drawn so far. */
export const frames = (page) => page.evaluate(() => Number(document.querySelector("#scene").dataset.frames ?? 0));
/** Waits until it has drawn so many. */
export const until = (page, wanted, timeout) => page.waitForFunction(
  (wanted) => Number(document.querySelector("#scene").dataset.frames ?? 0) >= wanted, wanted, { timeout },
);

/** Drops a file on the picture, as a visitor's mouse would. */
export const drop = (page, name, bytes) => page.evaluate(([name, bytes]) => {
  const files = new DataTransfer();
  files.items.add(new File([Uint8Array.from(bytes)], name));
  const scene = document.querySelector("#scene");
  const send = (kind) => scene.dispatchEvent(new DragEvent(kind, { dataTransfer: files, cancelable: true }));
  send("dragover");
  const shown = scene.classList.contains("dropping");
  const taken = !send("drop");
  return { shown, taken, over: !scene.classList.contains("dropping") };
}, [name, [...bytes]]);

/** A model whose two layers of a weight each swap a picture's red and its blue, and swap them back; with another word for each `Conv`. */
export function twoLayers(operators = ["Conv", "Conv"]) {
  const values = Float32Array.from([0, 0, 1, 0, 1, 0, 1, 0, 0]);
  const layer = (input, output) => ({
    input, output, stride: 1, padding: 0, dilation: 1, groups: 1,
    weight: { shape: [3, 3, 1, 1], values }, bias: { values: new Float32Array(3) },
  });
  const bytes = Buffer.from(model([layer("x", "m"), layer("m", "y")], [1, 3, 64, 64], [1, 3, 64, 64]));
  let at = 0;
  for (const operator of operators) {
    at = bytes.indexOf("\x04Conv", at) + 1;
    bytes.write(operator, at);
  }
  return bytes;
}
