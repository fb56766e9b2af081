// The page's section of whole networks, clicked through as a visitor would.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { open, root, webgpu } from "./browser.mjs";
import { keepDevices, keepScene, leastContrast, text, unlabelled, visit } from "./visit.mjs";

const status = (page) => text(page, "#network-status");

/** Waits until the section has drawn what was asked for. */
const done = (page) => page.waitForFunction(() => /^Done: /.test(document.querySelector("#network-status").textContent) || document.querySelector("#network-status.trouble"), undefined, { timeout: 300_000 });

/** The scene's colours at these places, each from 0 to 1. */
const colours = (page, places) => page.evaluate(async (places) => {
  const image = await createImageBitmap(await (await fetch(window.scene)).blob());
  const copy = new OffscreenCanvas(512, 512).getContext("2d");
  copy.drawImage(image, 0, 0);
  return places.map(([x, y]) => [...copy.getImageData(512 * x, 512 * y, 1, 1).data].slice(0, 3));
}, places);
const distance = (a, b) => Math.max(...a.map((value, index) => Math.abs(value - b[index])));
/** Keeps what the scene looks like, to be looked at, where SCREENSHOTS names a folder. */
const keepPicture = async (page, name) => {
  if (!process.env.SCREENSHOTS) return;
  const data = await page.evaluate(() => window.scene);
  writeFileSync(join(process.env.SCREENSHOTS, `${name}.png`), Buffer.from(data.split(",")[1], "base64"));
};

/** What makes Chromium's camera see the astronaut. */
const filmed = (t) => {
  const folder = mkdtempSync(join(tmpdir(), "sepconv-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const film = join(folder, "astronaut.mjpeg");
  const picture = readFileSync(join(root, "assets/astronaut.jpg"));
  writeFileSync(film, Buffer.concat([picture, picture]));
  return [...webgpu, "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", `--use-file-for-fake-video-capture=${film}`];
};

/** Where the astronaut's face is, and where only the background is. */
const face = [0.44, 0.22];
const behind = [0.92, 0.06];

test("pictures: another background, faces, normal layers, a file of one's own", async (t) => {
  const { page, errors, close } = await visit({ script: keepScene });
  t.after(close);
  page.setDefaultTimeout(300_000);
  const original = await page.evaluate(async ([face, behind]) => {
    const image = await createImageBitmap(await (await fetch("astronaut.jpg")).blob());
    const copy = new OffscreenCanvas(512, 512).getContext("2d");
    copy.drawImage(image, 0, 0);
    return [face, behind].map(([x, y]) => [...copy.getImageData(512 * x, 512 * y, 1, 1).data].slice(0, 3));
  }, [face, behind]);

  let start = Date.now();
  await page.click("#network-run");
  await done(page);
  t.diagnostic(`a person: ${(Date.now() - start) / 1e3} s; ${await text(page, "#network-parts")} ms`);
  await keepPicture(page, "person");
  const person = await colours(page, [face, behind]);
  assert.ok(distance(person[0], original[0]) < 20, `the person stays: ${person[0]}, ${original[0]}`);
  assert.ok(distance(person[1], original[1]) > 40, `the background goes: ${person[1]}, ${original[1]}`);
  assert.match(await text(page, "#network-parameters"), /^106,\d\d\d$/);
  assert.match(await text(page, "#network-memory"), /MB of weights, [\d.]+ MB between layers/);
  assert.match(await text(page, "#network-parts"), /picture in [\d.,]+, network [\d.,]+, drawing [\d.,]+/);
  const shares = async () => {
    const numbers = [];
    for (const kind of ["depthwise", "pointwise", "normal", "other"]) numbers.push(parseFloat(await text(page, `#share-${kind}-text`)));
    return numbers;
  };
  const before = await shares();
  assert.ok(Math.abs(before.reduce((a, b) => a + b) - 100) < 0.5 && before[0] > 5 && before[1] > 40, `${before}`);

  start = Date.now();
  await page.check("[value=faces]");
  await done(page);
  t.diagnostic(`faces: ${(Date.now() - start) / 1e3} s; ${await text(page, "#network-parts")} ms`);
  await keepPicture(page, "faces");
  assert.match(await status(page), /^Done: blazeface_short\.onnx\. 1 face\. $/);
  const small = Number((await text(page, "#network-parameters")).replaceAll(",", ""));

  start = Date.now();
  await page.check("#folded");
  await done(page);
  t.diagnostic(`faces, folded: ${(Date.now() - start) / 1e3} s; ${await text(page, "#network-parts")} ms`);
  assert.match(await status(page), /1 face\. $/);
  const after = await shares();
  assert.ok(after[0] === 0 && after[2] > 50, `${after}`);
  assert.ok(Number((await text(page, "#network-parameters")).replaceAll(",", "")) > 4 * small);
  await page.uncheck("#folded");

  await page.setInputFiles("#network-file", {
    name: "words.txt", mimeType: "text/plain", buffer: Buffer.from("words"),
  });
  await page.waitForFunction(() => /^words.txt is neither a picture/.test(document.querySelector("#network-status").textContent));
  await page.setInputFiles("#network-file", { name: "broken.onnx", mimeType: "application/octet-stream", buffer: Buffer.from("words") });
  await page.waitForFunction(() => document.querySelector("#network-status.trouble") && !/words/.test(document.querySelector("#network-status").textContent));
  await page.setInputFiles("#network-file", {
    name: "mine.onnx", mimeType: "application/octet-stream", buffer: readFileSync(join(root, "assets/selfie_segmentation.onnx")),
  });
  await page.waitForFunction(() => /^Done: mine\.onnx/.test(document.querySelector("#network-status").textContent));
  await keepPicture(page, "own");
  const [inside, outside] = await colours(page, [face, behind]);
  assert.ok(inside[0] > 200 && outside[0] < 50, `the mask itself is drawn: ${inside}, ${outside}`);
  assert.deepEqual(errors, []);
});

test("the camera, live: 300 frames take no more memory, and a lost device starts again", async (t) => {
  const film = filmed(t);
  /** Counts what is made on the device. */
  const count = () => {
    window.made = 0;
    for (const name of ["createBuffer", "createTexture", "createBindGroup", "createComputePipeline"]) {
      const method = GPUDevice.prototype[name];
      GPUDevice.prototype[name] = function (...parameters) {
        window.made += 1;
        return method.apply(this, parameters);
      };
    }
  };
  const { page, errors, close } = await visit({
    args: film,
    script: `(${keepDevices})(); (${count})(); (${keepScene})();`,
  });
  t.after(close);
  page.setDefaultTimeout(300_000);
  await page.check("[value=faces]");
  await page.click("#network-camera");
  const frames = () => page.evaluate(() => Number(document.querySelector("#scene").dataset.frames ?? 0));
  const until = (wanted, timeout) => page.waitForFunction((wanted) => Number(document.querySelector("#scene").dataset.frames ?? 0) >= wanted, wanted, { timeout });
  await until(20);
  await page.waitForFunction(() => /^Running\. 1 face\. $/.test(document.querySelector("#network-status").textContent));
  await keepPicture(page, "camera");
  const session = await page.context().newCDPSession(page);
  const heap = async () => {
    await session.send("HeapProfiler.collectGarbage");
    const { metrics } = await session.send("Performance.getMetrics");
    return metrics.find(({ name }) => name === "JSHeapUsedSize").value;
  };
  await session.send("Performance.enable");
  const first = await frames();
  const [memory, made] = [await heap(), await page.evaluate(() => window.made)];
  const start = Date.now();
  await until(first + 300, 1_200_000);
  const seconds = (Date.now() - start) / 1e3;
  const [more, madeMore] = [(await heap()) - memory, (await page.evaluate(() => window.made)) - made];
  t.diagnostic(`300 frames in ${seconds.toFixed(1)} s; ${more} bytes more of JavaScript, ${madeMore} objects made on the device`);
  assert.ok(more < 200_000, `${more} bytes more after 300 frames`);
  // Once a second the faces are counted, in a buffer that is freed.
  assert.ok(madeMore <= seconds + 2, `${madeMore} objects made in ${seconds} s`);

  await page.evaluate(() => window.devices.at(-1).destroy());
  await page.waitForFunction(() => window.devices.length === 2);
  const lostAt = await frames();
  await until(lostAt + 3);
  assert.equal(await page.getAttribute("#network-camera", "aria-pressed"), "true");
  await page.click("#network-camera");
  await page.waitForFunction(() => /^Done: blazeface/.test(document.querySelector("#network-status").textContent));
  assert.deepEqual(errors, []);
});

for (const colorScheme of ["light", "dark"]) {
  test(`${colorScheme}, on a phone: the network's figures fit, are labelled and have contrast`, async (t) => {
    const { page, errors, close } = await visit({ context: { viewport: { width: 320, height: 640 }, colorScheme } });
    t.after(close);
    page.setDefaultTimeout(300_000);
    await page.check("[value=faces]");
    await page.focus("#network-run");
    await page.keyboard.press("Enter");
    await done(page);
    const widths = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(widths[0] <= widths[1], `${widths[0]} pixels wide on a screen of ${widths[1]}`);
    const worst = await page.evaluate(leastContrast);
    assert.ok(worst.ratio >= 4.5, `${JSON.stringify(worst)}`);
    assert.deepEqual(await page.evaluate(unlabelled), []);
    if (process.env.SCREENSHOTS) {
      await (await page.$("[aria-labelledby=network-title]")).screenshot({ path: join(process.env.SCREENSHOTS, `phone-${colorScheme}.png`) });
    }
    assert.deepEqual(errors, []);
  });
}

test("the README's example of a network draws a mask of what the camera sees", async (t) => {
  const { page, errors, close } = await open({ args: filmed(t) });
  t.after(close);
  page.setDefaultTimeout(300_000);
  const [inside, outside] = await page.evaluate(() => import("/web/tests/readme.js").then(({ network }) => network()));
  assert.ok(inside > 200 && outside < 50, `${inside}, ${outside}`);
  assert.deepEqual(errors, []);
});
