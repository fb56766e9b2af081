// Whole networks through the JavaScript API.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { open } from "./browser.mjs";

let chromium;
before(async () => {
  chromium = await open();
  chromium.page.setDefaultTimeout(0);
});
after(() => chromium.close());

const call = (name, argument) => chromium.page.evaluate(
  ([name, argument]) => import("/web/tests/networks.js").then((functions) => functions[name](argument)), [name, argument],
);

test("five networks give what another engine gives", async (t) => {
  const cases = await call("cases");
  if (!cases) {
    t.skip("the networks do not lie beside the repository");
    chromium.errors.length = 0;
    return;
  }
  assert.equal(cases.length, 5);
  for (const one of cases) {
    const { ratios, told, inPlace, outputs, seconds } = await call("run", one);
    t.diagnostic(`${one.model}: ${JSON.stringify(ratios)} of ${one.allowed}; ${told.length} pipelines in ${seconds.toFixed(1)} s`);
    assert.deepEqual(Object.keys(ratios), outputs);
    for (const [name, ratio] of Object.entries(ratios)) assert.ok(ratio <= one.allowed, `${one.model} ${name}: ${ratio}`);
    assert.deepEqual(told, told.map((_, index) => [index + 1, told.length]));
    assert.equal(inPlace, 0, "every pipeline is compiled in the background");
  }
  assert.deepEqual(chromium.errors, []);
});

test("a plan says what it is; folded, tuned and with other outputs it is right", async (t) => {
  const parts = await call("parts");
  const none = { depthwise: 0, pointwise: 0, normal: 0, other: 0 };
  assert.deepEqual(parts.layers, [{ ...none, depthwise: 2304, pointwise: 1024 }, { ...none, normal: 9216 }]);
  assert.deepEqual(parts.folded, [{ ...none, normal: 9216 }, { ...none, normal: 9216 }]);
  assert.deepEqual(parts.parameters, [60, 148]);
  const port = (name) => [{ name, shape: [1, 4, 8, 8], tensorShape: [1, 4, 8, 8] }];
  assert.deepEqual(parts.ports, [port("x"), port("y"), port("n")]);
  assert.equal(parts.bytes[0], 4 * 208);
  assert.ok(parts.bytes[1] >= 1024 && parts.steps >= 2, JSON.stringify(parts));
  for (const name of ["foldedRatio", "tunedRatio", "otherWeights"]) assert.ok(parts[name] < 1e-6, `${name}: ${parts[name]}`);
  const [empty, full, again] = parts.tables;
  assert.match(empty, /^sepconv tuning table\n/);
  assert.ok(full.split("\n").length > empty.split("\n").length, full);
  assert.equal(again, full);
  assert.equal(parts.told[0], parts.told[1]);
  t.diagnostic(full.split("\n").slice(6).join("; "));
  assert.deepEqual(chromium.errors, []);
});

test("a caller's own device and buffers", async () => {
  const own = await call("ownDevice");
  assert.ok(own.same && own.buffer);
  assert.ok(own.ratio === 0, `${own.ratio}`);
  assert.match(own.refused, /the device refused an earlier call/);
  assert.equal(own.heard, 1, "the caller's handler still hears of it");
  assert.deepEqual(own.own, [], "the browser's objects are as they were");
  assert.match(own.lost, /the device was lost/);
  const expected = {
    noDevice: /RangeError: device must be a GPUDevice/,
    noBuffer: /RangeError: buffer must be a GPUBuffer/,
    pastEnd: /RangeError: tensor .*1028/,
    misaligned: /RangeError: tensor .*2.*4/,
    usage: /RangeError: tensor .*STORAGE/,
  };
  for (const [name, pattern] of Object.entries(expected)) assert.match(own.words[name], pattern);
  chromium.errors.length = 0;
});

test("what is wrong with a network is refused by name", async () => {
  const words = await call("refusals");
  const expected = {
    noBytes: /RangeError: bytes must be an ArrayBuffer or a Uint8Array/,
    noModel: /RangeError: /,
    cutOff: /RangeError: /,
    name: /RangeError: .*picture.*x/,
    sizes: /RangeError: .*convolution|RangeError: .*n/,
    fraction: /RangeError: x is "1,4,8,1.5": it must be a whole number/,
    shapes: /RangeError: shapes must be an object/,
    progress: /RangeError: progress must be a function/,
    output: /RangeError: .*z.*y/,
    bindName: /RangeError: inputs has "z"; it may have x/,
    bindKey: /RangeError: operands has "input"; it may have inputs, outputs, weights/,
    bindKind: /RangeError: x must be a Tensor/,
    bindShape: /RangeError: .*x.*\[1, 4, 8, 8\]/,
    tensorName: /RangeError: name is "z"; it must be an output: y/,
    table: /RangeError: /,
    channels: /RangeError: tensor has shape 1,2,8,8; a picture has batch 1 and 1, 3 or 4 channels/,
    mean: /RangeError: mean is 1,2; it must be one number or one for each of 3 channels/,
    fit: /RangeError: fit is contain; it must be cover or stretch/,
    noSize: /RangeError: source has no size/,
  };
  for (const [name, pattern] of Object.entries(expected)) assert.match(words[name], pattern, name);
});

test("pictures of every sort become tensors, and tensors pictures", async () => {
  const { loaded, stretch, row, canvas } = await call("pictures");
  const close = (a, b, within) => a.length === b.length && a.every((value, index) => Math.abs(value - b[index]) <= within);
  // The middle of the picture, its left half red and its right half blue: (colour − mean) ÷ std, channel by channel.
  const plane = (left, right) => new Array(4).fill([left, left, right, right]).flat();
  const expected = [...plane(1, -1), ...plane(0, 0), ...plane(0, 0.5)];
  assert.deepEqual(Object.keys(loaded), ["texture", "canvas", "image", "ImageData", "ImageBitmap", "VideoFrame"]);
  for (const [name, values] of Object.entries(loaded)) {
    // A video frame's colours may be stored as brightness and two differences.
    assert.ok(close(values, expected, name === "VideoFrame" ? 0.05 : 0.01), `${name}: ${values}`);
  }
  assert.ok(close(stretch, [...plane(255, 0), ...plane(0, 0), ...plane(0, 255)], 1), `${stretch}`);
  const pixel = (channel) => [0, 1, 2].map((one) => (one === channel ? 255 : 0)).concat(255);
  const wanted = [0, 0, 1, 1, 2, 2, 3, 3].flatMap(pixel);
  assert.deepEqual(row, wanted);
  assert.deepEqual(canvas, wanted);
  assert.deepEqual(chromium.errors, []);
});

test("a network runs in a worker", async () => {
  assert.equal(await call("inWorker"), 0);
  assert.deepEqual(chromium.errors, []);
});
