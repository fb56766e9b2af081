// The page's section of whole networks, clicked through as a visitor would.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { open, root, webgpu } from "./browser.mjs";
import {
  behind, colours, distance, done, drop, face, filmed, frames, keepPicture, status, twoLayers, until,
} from "./scene.mjs";
import { keepDevices, keepScene, leastContrast, text, unlabelled, visit } from "./visit.mjs";

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
    name: "mine.onnx", mimeType: "application/octet-stream", buffer: readFileSync(join(root, "assets/selfie_segmentation.onnx")),
  });
  await page.waitForFunction(() => /^Done: mine\.onnx/.test(document.querySelector("#network-status").textContent));
  await keepPicture(page, "own");
  const [inside, outside] = await colours(page, [face, behind]);
  assert.ok(inside[0] > 200 && outside[0] < 50, `the mask itself is drawn: ${inside}, ${outside}`);
  assert.deepEqual(errors, []);
});

test("the camera, live: 300 frames take no more memory, what cannot run stops nothing, and a lost device starts again", async (t) => {
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
    args: filmed(t),
    script: `(${keepDevices})(); (${count})(); (${keepScene})();`,
  });
  t.after(close);
  page.setDefaultTimeout(300_000);
  const session = await page.context().newCDPSession(page);
  await session.send("Performance.enable");
  const heap = async () => {
    // More than once: what is finalised after one collection goes with the next.
    for (let collection = 0; collection < 3; collection += 1) {
      await session.send("HeapProfiler.collectGarbage");
      await page.waitForTimeout(100);
    }
    const { metrics } = await session.send("Performance.getMetrics");
    return metrics.find(({ name }) => name === "JSHeapUsedSize").value;
  };
  const made = () => page.evaluate(() => window.made);
  /** So many frames, the bytes and the objects on the device that they left behind, and how long they took. */
  const after = async (wanted) => {
    const [before, first, start] = [await heap(), await made(), Date.now()];
    await until(page, (await frames(page)) + wanted, 300_000);
    const seconds = (Date.now() - start) / 1e3;
    const [bytes, objects] = [(await heap()) - before, (await made()) - first];
    t.diagnostic(`${wanted} frames in ${seconds.toFixed(1)} s; ${bytes} bytes more of JavaScript, ${objects} objects made on the device`);
    return { bytes, objects, seconds };
  };

  // Most of a frame's time is the network's here, so that a small one runs for the 300 frames.
  await page.setInputFiles("#network-file", { name: "small.onnx", mimeType: "application/octet-stream", buffer: twoLayers() });
  await done(page);
  await page.click("#network-camera");
  await until(page, 20);
  await page.evaluate(() => { window.keepsScene = false; });
  // What is made once, such as compiled code, makes the heap larger once. A leak does it again.
  let small = await after(300);
  if (small.bytes >= 200_000) small = await after(300);
  assert.ok(small.bytes < 200_000, `${small.bytes} bytes more after 300 frames`);
  assert.equal(small.objects, 0);
  await page.evaluate(() => { window.keepsScene = true; });

  await page.check("[value=faces]");
  await page.waitForFunction(() => /^Running\. 1 face\. $/.test(document.querySelector("#network-status").textContent));
  await keepPicture(page, "camera");
  const faces = await after(30);
  // Once a second the faces are counted, in a buffer that is freed.
  assert.ok(faces.objects <= faces.seconds + 2, `${faces.objects} objects made in ${faces.seconds} s`);

  await drop(page, "broken.onnx", Buffer.from("words"));
  await page.waitForFunction(() => document.querySelector("#network-status.trouble"));
  const words = await status(page);
  await until(page, (await frames(page)) + 5);
  assert.equal(await status(page), words, "the reason stays to be read while the camera goes on");
  await page.check("[value=faces]");
  await page.waitForFunction(() => /^Running\. 1 face\. $/.test(document.querySelector("#network-status").textContent));

  await page.evaluate(() => window.devices.at(-1).destroy());
  await page.waitForFunction(() => window.devices.length === 2);
  await until(page, (await frames(page)) + 3);
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

test("files that are dropped: a picture, a network, a broken one, one with operators that are not there", async (t) => {
  const { page, errors, close } = await visit({ script: keepScene });
  t.after(close);
  page.setDefaultTimeout(300_000);
  const dropped = async (name, bytes, words) => {
    assert.deepEqual(await drop(page, name, bytes), { shown: true, taken: true, over: true }, name);
    await page.waitForFunction((words) => new RegExp(words).test(document.querySelector("#network-status").textContent), words);
    return page.evaluate(() => document.querySelector("#network-status").classList.contains("trouble"));
  };
  assert.equal(await dropped("mine.onnx", twoLayers(), "^Done: mine\\.onnx"), false);
  const [astronaut] = await colours(page, [[0.44, 0.85]]);
  assert.ok(astronaut[0] > astronaut[2] + 50, `her suit is orange: ${astronaut}`);
  const red = Buffer.from("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC", "base64");
  const before = await frames(page);
  await drop(page, "red.png", red);
  await until(page, before + 1);
  assert.deepEqual(await colours(page, [face, behind]), [[255, 0, 0], [255, 0, 0]]);
  assert.equal(await dropped("words.txt", Buffer.from("words"), "^words\\.txt is neither a picture .* nor an \\.onnx file"), true);
  assert.equal(await dropped("broken.onnx", Buffer.from("words"), "model"), true);
  assert.equal(await dropped("half.onnx", twoLayers().subarray(0, 200), "model"), true);
  assert.equal(await dropped("odd.onnx", twoLayers(["Cone", "Conk"]), "Cone.*Conk"), true);
  t.diagnostic(await status(page));
  await page.check("[value=faces]");
  await page.waitForFunction(() => /^Done: blazeface_short\.onnx\. 0 faces\. $/.test(document.querySelector("#network-status").textContent));
  assert.equal(await dropped("again.onnx", twoLayers(), "^Done: again\\.onnx"), false);
  assert.deepEqual(errors, []);
});

test("a refused camera is said, and the page goes on", async (t) => {
  const { page, errors, close } = await visit({ args: [...webgpu, "--use-fake-device-for-media-stream", "--deny-permission-prompts"] });
  t.after(close);
  page.setDefaultTimeout(300_000);
  for (const [button, words] of [["#network-camera", "#network-status"], ["#camera", "#picture-status"]]) {
    await page.click(button);
    await page.waitForFunction((words) => document.querySelector(`${words}.trouble`), words);
    assert.match(await text(page, words), /^The camera cannot be used: Permission denied/);
    assert.equal(await page.getAttribute(button, "aria-pressed"), "false");
  }
  await page.check("[value=faces]");
  await page.click("#network-run");
  await page.waitForFunction(() => /^Done: blazeface_short\.onnx\. 1 face\. $/.test(document.querySelector("#network-status").textContent));
  assert.deepEqual(errors, []);
});

test("a device that is lost while a network is compiled, and after it has run", async (t) => {
  const { page, errors, close } = await visit({ script: keepDevices });
  t.after(close);
  page.setDefaultTimeout(300_000);
  await page.check("[value=faces]");
  await page.click("#network-run");
  await page.waitForFunction(() => /^Compiling/.test(document.querySelector("#network-status").textContent));
  for (const devices of [2, 3]) {
    await page.evaluate(() => window.devices.at(-1).destroy());
    await page.waitForFunction((devices) => window.devices.length === devices && /^Reading|^Compiling/.test(document.querySelector("#network-status").textContent), devices);
    await done(page);
    assert.match(await status(page), /^Done: blazeface_short\.onnx\. 1 face\. $/);
  }
  assert.deepEqual(errors, []);
});

test("the README's example of a network draws a mask of what the camera sees", async (t) => {
  const { page, errors, close } = await open({ args: filmed(t) });
  t.after(close);
  page.setDefaultTimeout(300_000);
  const [inside, outside] = await page.evaluate(() => import("/web/tests/readme.js").then(({ network }) => network()));
  assert.ok(inside > 200 && outside < 50, `${inside}, ${outside}`);
  assert.deepEqual(errors, []);
});
