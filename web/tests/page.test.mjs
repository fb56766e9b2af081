// The page, clicked through as a visitor would.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { root } from "./browser.mjs";
import { keepDevices, leastContrast, text, unlabelled, visit } from "./visit.mjs";

/** The pixels of one tile of the maps, drawn anew: a canvas can be read only in the task that drew it. */
const tile = (page, column, row) => page.evaluate(async ([column, row]) => {
  document.querySelector("#taps input").dispatchEvent(new Event("input"));
  const drawn = document.querySelector("#maps").toDataURL();
  const image = await createImageBitmap(await (await fetch(drawn)).blob());
  const copy = new OffscreenCanvas(256, 256).getContext("2d");
  copy.drawImage(image, column * 256, row * 256, 256, 256, 0, 0, 256, 256);
  return [...copy.getImageData(0, 0, 256, 256).data];
}, [column, row]);

const difference = (a, b) => a.reduce((sum, value, i) => sum + Math.abs(value - b[i]), 0) / a.length;
/** How far the darkest and the lightest value of the red channel are apart. */
const spread = (pixels) => {
  const reds = pixels.filter((_, i) => i % 4 === 0).sort((a, b) => a - b);
  return reds.at(-1) - reds[0];
};

test("the main path: costs, the picture, measuring, the download and the link", async (t) => {
  const { page, errors, close } = await visit();
  t.after(close);
  const foreign = [];
  const origin = new URL(page.url()).origin;
  page.on("request", (request) => {
    if (!/^(blob|data):/.test(request.url()) && new URL(request.url()).origin !== origin) foreign.push(request.url());
  });

  assert.match(await text(page, "#device"), /swiftshader, a processor that runs shaders in software, not a GPU/);
  const cost = async () => (await page.locator("#cost tbody tr").allTextContents())[0];
  assert.equal(await cost(), "parameters112462.43");
  assert.match(await text(page, "#normal-sum"), /4 × 27 = 108/);
  assert.match(await text(page, "#separable-sum"), /3 × 9 \+ 4 × 3 = 39/);

  await page.focus("#slider-out");
  await page.keyboard.press("ArrowRight");
  assert.equal(await cost(), "parameters168543.11");
  assert.equal(new URL(page.url()).hash, "#in=3&out=6&kernel=3&stride=1&size=64&groups=1&layers=this");
  await page.focus("#slider-groups");
  await page.keyboard.press("ArrowRight");
  assert.equal(await cost(), "parameters60541.11");

  const channel = await tile(page, 0, 0);
  const sharpened = await tile(page, 4, 0);
  assert.ok(spread(channel) > 200, "the picture is drawn");
  assert.ok(difference(channel, sharpened) > 2, "the fourth filter sharpens");
  for (const [index, tap] of [0, 0, 0, 0, 1, 0, 0, 0, 0].entries()) {
    await page.locator("#taps input").nth(index).fill(String(tap));
  }
  assert.ok(difference(channel, await tile(page, 4, 0)) < 0.01, "a filter of one tap changes nothing");

  await page.setInputFiles("#file", {
    name: "red.png", mimeType: "image/png",
    buffer: Buffer.from("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC", "base64"),
  });
  await page.waitForFunction(() => document.querySelector("#picture-status").textContent === "");
  await page.waitForTimeout(300);
  assert.equal((await tile(page, 0, 0))[0], 255, "a red picture's red channel");
  assert.equal((await tile(page, 0, 1))[1], 0, "a red picture's green channel");
  await page.setInputFiles("#file", { name: "words.txt", mimeType: "image/png", buffer: Buffer.from("words") });
  await page.waitForFunction(() => /words.txt is not a picture/.test(document.querySelector("#picture-status").textContent));

  await page.click("#measure");
  await page.waitForFunction(() => document.querySelector("#progress").value > 0);
  await page.focus("#slider-groups");
  await page.keyboard.press("ArrowLeft");
  assert.equal(await cost(), "parameters168543.11", "the page can be used meanwhile");
  await page.waitForFunction(() => /^(Done|The measurement)/.test(document.querySelector("#measure-status").textContent));
  assert.match(await text(page, "#measure-status"), /^Done\. Limits, measured: [\d.,]+ GB\/s copied/);
  assert.equal(await page.locator("#results tbody tr").count(), 2);
  assert.equal(await page.locator("#roofline circle").count(), 2);
  assert.match(await text(page, "#verdict"), /^On this device the separable form is /);

  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#download")]);
  const result = JSON.parse(readFileSync(await download.path(), "utf8"));
  assert.equal(result.software, true);
  for (const row of result.rows) {
    assert.ok(row.median_ms > 0 && row.gflop_s > 0 && row.roofline_percent > 0 && row.error_over_bound <= 1, JSON.stringify(row));
    assert.ok(["GPU timestamps", "wall clock"].includes(row.clock));
  }
  t.diagnostic(result.rows.map((row) => `${row.id}: ${row.median_ms.toFixed(3)} ms, ${row.clock}`).join("; "));

  const link = await page.getAttribute("#link", "href");
  await page.goto("about:blank");
  await page.goto(`${origin}/page/${link}`);
  await page.waitForFunction(() => document.querySelector("#cost tbody tr"));
  assert.equal(await cost(), "parameters168543.11");
  assert.deepEqual(foreign, [], "nothing is asked of another server");
  assert.deepEqual(errors, []);
});

test("measuring can be cancelled", async (t) => {
  const { page, errors, close } = await visit();
  t.after(close);
  await page.check("[value=networks]");
  await page.click("#measure");
  await page.waitForFunction(() => document.querySelectorAll("#results tbody tr").length > 0);
  await page.click("#cancel");
  assert.equal(await text(page, "#measure-status"), "Cancelled.");
  assert.ok(await page.isEnabled("#measure"));
  const rows = await page.locator("#results tbody tr").count();
  await page.waitForTimeout(1500);
  assert.equal(await page.locator("#results tbody tr").count(), rows, "nothing is measured after that");
  assert.deepEqual(errors, []);
});

for (const [what, options, script, words] of [
  ["no WebGPU", {}, () => Object.defineProperty(Navigator.prototype, "gpu", { get: () => undefined }), /^This browser has no WebGPU/],
  ["WebGPU without an adapter", { args: ["--disable-gpu", "--disable-software-rasterizer"] }, undefined, /^WebGPU is there but does not open a device: no adapter|^This browser has no WebGPU/],
]) {
  test(`${what}: the page says so, and the costs still work`, async (t) => {
    const { page, close } = await visit({ ...options, script });
    t.after(close);
    assert.match(await text(page, "#device"), words);
    for (const control of ["#measure", "#camera", "#file", "#network-run", "#network-camera", "#network-file", "#folded", "[value=person]", "[value=faces]"]) {
      assert.ok(await page.isDisabled(control), control);
    }
    assert.ok(await page.isHidden("#network-figures"));
    assert.match(await text(page, "#cost tbody"), /parameters11246/);
    await page.focus("#slider-kernel");
    await page.keyboard.press("ArrowRight");
    assert.match(await text(page, "#cost tbody"), /parameters30494/);
  });
}

test("a lost device is said, and the page starts again on a new one", async (t) => {
  const { page, errors, close } = await visit({ script: keepDevices });
  t.after(close);
  await page.evaluate(() => window.devices[0].destroy());
  await page.waitForFunction(() => /started again on a new one/.test(document.querySelector("#picture-status").textContent));
  assert.equal(await page.evaluate(() => window.devices.length), 2);
  assert.ok(spread(await tile(page, 0, 0)) > 200, "the picture is drawn again");
  for (let loss = 0; loss < 5; loss += 1) {
    const count = await page.evaluate(() => window.devices.length);
    await page.evaluate(() => window.devices.at(-1).destroy());
    if (loss < 4) await page.waitForFunction((count) => window.devices.length > count, count);
  }
  await page.waitForFunction(() => /for the 6th time\. Reload the page/.test(document.querySelector("#picture-status").textContent));
  assert.deepEqual(errors, []);
});

test("a device that is lost while measuring ends the measurement in words", async (t) => {
  const { page, close } = await visit();
  t.after(close);
  await page.route("**/measure-worker.js", async (route) => {
    const response = await route.fetch();
    const body = (await response.text()).replace("const roofline = ", "context.device.destroy(); const roofline = ");
    await route.fulfill({ response, body });
  });
  await page.click("#measure");
  await page.waitForFunction(() => /^The measurement stopped: the device was lost/.test(document.querySelector("#measure-status").textContent));
  assert.ok(await page.isEnabled("#measure"));
});

for (const colorScheme of ["light", "dark"]) {
  test(`${colorScheme}, on a phone: nothing overflows, everything is labelled, text has contrast`, async (t) => {
    const { page, errors, close } = await visit({ context: { viewport: { width: 320, height: 640 }, colorScheme } });
    t.after(close);
    await page.click("#measure");
    await page.waitForFunction(() => /^(Done|The measurement)/.test(document.querySelector("#measure-status").textContent));
    const widths = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(widths[0] <= widths[1], `${widths[0]} pixels wide on a screen of ${widths[1]}`);
    const worst = await page.evaluate(leastContrast);
    assert.ok(worst.ratio >= 4.5, `${JSON.stringify(worst)}`);
    t.diagnostic(`the least contrast is ${worst.ratio.toFixed(2)}`);
    const background = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    assert.equal(background === "rgb(255, 255, 255)", colorScheme === "light");
    assert.ok(await page.title());
    assert.ok(await page.getAttribute("html", "lang"));
    assert.deepEqual(await page.evaluate(unlabelled), []);
    assert.deepEqual(errors, []);
  });
}

test("by keyboard alone: every control that is on can be reached, and shows where the focus is", async (t) => {
  const { page, close } = await visit();
  t.after(close);
  const wanted = new Set(await page.evaluate(() => [...document.querySelectorAll("input, button, a")]
    .filter((element) => !element.disabled && element.checkVisibility() && !(element.type === "radio" && !element.checked))
    .map((element, index) => (element.dataset.index = index).toString())));
  assert.ok(wanted.size > 15);
  for (let press = 0; press < 60 && wanted.size > 0; press += 1) {
    await page.keyboard.press("Tab");
    const focus = await page.evaluate(() => {
      const element = document.activeElement;
      const ring = getComputedStyle(element.closest(".button") ?? element).outlineStyle;
      return { index: element.dataset.index, ring };
    });
    if (focus.index !== undefined) assert.notEqual(focus.ring, "none");
    wanted.delete(focus.index);
  }
  assert.deepEqual([...wanted], []);
});

test("all of it, models included, is under 1.5 MiB compressed", (t) => {
  const folder = join(root, "web/target/page");
  const bytes = readdirSync(folder).map((name) => gzipSync(readFileSync(join(folder, name))).length).reduce((a, b) => a + b);
  t.diagnostic(`${bytes} bytes with gzip`);
  assert.ok(bytes < 1.5 * (1 << 20));
});
