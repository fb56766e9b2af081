// The library through its JavaScript API, its shaders compiled by the browser.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { open } from "./browser.mjs";

let chromium;
before(async () => { chromium = await open(); });
after(() => chromium.close());

/** What a function of a module of the page returns. */
const call = (module, name) => chromium.page.evaluate(
  ([module, name]) => import(`/web/tests/${module}.js`).then((functions) => functions[name]()), [module, name],
);

/** Each kernel ran, but for those that need subgroups: wgpu gives a browser's device none. */
function everyKernelRan(runs, kernels) {
  const expected = kernels.filter((kernel) => !kernel.startsWith("subgroup_"));
  assert.deepEqual(Object.keys(runs).sort(), [...expected, "chained"].sort());
}

test("every golden case with every kernel", async (t) => {
  const { cases, count, runs, failures, kernels } = await call("golden", "golden");
  t.diagnostic(`${cases} cases; runs: ${JSON.stringify(runs)}`);
  assert.deepEqual(failures, []);
  assert.deepEqual([cases, count], [130, 130]);
  // None of them has the 16 channels that this takes; those of the next test have.
  everyKernelRan(runs, kernels.filter((kernel) => kernel !== "winograd"));
  assert.deepEqual(chromium.errors, []);
});

test("every kernel against the reference, with a GPU's tiles and a software device's", async (t) => {
  const { runs, failures, kernels } = await call("kernels", "sweep");
  t.diagnostic(`layers run: ${JSON.stringify(runs)}`);
  assert.deepEqual(failures, []);
  everyKernelRan(runs, kernels);
  assert.deepEqual(chromium.errors, []);
});

test("what is wrong is refused by name", async () => {
  const words = await call("api", "refusals");
  const expected = {
    negative: /RangeError: inChannels is "-1": it must be a whole number/,
    fraction: /RangeError: outChannels is "1.5": it must be a whole number/,
    notANumber: /RangeError: kernelSize is "NaN"/,
    misspelt: /RangeError: options has "paddings"; it may have stride, padding,/,
    activation: /RangeError: activation is "tanh": it must be none, relu/,
    groups: /RangeError: in_channels is 3; it must be a multiple of groups/,
    shape: /RangeError: inputShape is "1,3,8": it has 3 sizes; it must have 4/,
    kernel: /RangeError: kernel is "winograd9"; it must be one of/,
    values: /RangeError: tensor has 5 values/,
    missing: /RangeError: bias is missing/,
    notATensor: /RangeError: bias must be a Tensor/,
    tooLarge: /RangeError: tensor needs 14400000000 bytes/,
  };
  for (const [name, pattern] of Object.entries(expected)) assert.match(words[name], pattern);
  assert.equal(words.survives, 256);
});

test("what the device refuses late is the next call's error", async () => {
  const { refused, after } = await call("api", "lateErrors");
  assert.match(refused, /the device refused an earlier call/);
  assert.equal(after, "fine");
});

test("a lost device is an error of every call, and a new context works", async () => {
  const { read, next, lost, values } = await call("api", "loss");
  assert.match(read, /the device was lost/);
  assert.match(next, /the device was lost/);
  assert.ok(lost);
  assert.deepEqual(values, [1, 2, 3, 4]);
});

test("the README's example prints what it says", async () => {
  assert.deepEqual(await call("readme", "example"), [13.5]);
});
