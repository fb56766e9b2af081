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

/** Those of the layers that `sweep` has none of: `everyKind` runs them. */
const otherKinds = ["pixel_shuffle", "transposed", "resize", "binary", "rearrange", "matmul", "perceptron", "reduce", "softmax", "normalise", "unary"];

/** Each kernel ran, but for those that need subgroups: wgpu gives a browser's device none. */
function everyKernelRan(runs, kernels) {
  const expected = kernels.filter((kernel) => !kernel.startsWith("subgroup_") && !otherKinds.includes(kernel));
  assert.deepEqual(Object.keys(runs).sort(), expected.sort());
}

test("every golden case with every kernel", async (t) => {
  const { cases, count, runs, failures, kernels } = await call("golden", "golden");
  t.diagnostic(`${cases} cases; runs: ${JSON.stringify(runs)}`);
  assert.deepEqual(failures, []);
  assert.deepEqual([cases, count], [130, 130]);
  // None of them is a max pool or has the 16 channels that Winograd's method takes; some of the next test's are.
  everyKernelRan(runs, kernels.filter((kernel) => kernel !== "pool" && !kernel.startsWith("winograd")));
  assert.deepEqual(chromium.errors, []);
});

test("every kernel against the reference, with a GPU's tiles and a software device's", async (t) => {
  const { runs, failures, kernels } = await call("kernels", "sweep");
  t.diagnostic(`layers run: ${JSON.stringify(runs)}`);
  assert.deepEqual(failures, []);
  everyKernelRan(runs, kernels);
  assert.deepEqual(chromium.errors, []);
});

test("a layer of every kind, described, against the reference, with every kernel that computes it", async (t) => {
  const { runs, kinds, failures } = await call("layers", "everyKind");
  t.diagnostic(`layers run: ${JSON.stringify(runs)}`);
  assert.deepEqual(failures, []);
  assert.deepEqual(otherKinds.filter((kernel) => !runs[kernel]), []);
  assert.ok(kinds.length === 15, `${kinds}`);
  assert.deepEqual(chromium.errors, []);
});

test("what a description says is what is computed", async () => {
  const { transposed, shares, scaled, normal } = await call("layers", "byHand");
  assert.deepEqual(transposed, [0, 4, 1, 5, 2, 6, 3, 7]);
  shares.forEach((share, index) => assert.ok(Math.abs(share - [0.25, 0.75, 0.5, 0.5][index]) < 1e-6, `${shares}`));
  assert.deepEqual(scaled, [0, 2, 4, 6, 40, 50, 60, 70]);
  normal.forEach((value, index) => assert.ok(Math.abs(value - [7, 13, 7, 13][index]) < 1e-3, `${normal}`));
});

test("a layer of any kind without an image gives nothing, or says that it cannot be", async (t) => {
  const results = await call("layers", "withoutImages");
  t.diagnostic(results.join("; "));
  for (const result of results) assert.match(result, /: (0 values|RangeError: .*)$/);
});

test("what is wrong with a description is refused by name", async () => {
  const words = await call("layers", "refusals");
  const expected = {
    nothing: /RangeError: description must be an object/,
    noKind: /RangeError: kind is missing; it must be "conv", "sep", /,
    kind: /RangeError: kind is "shuffle": it must be "conv", "sep", /,
    missing: /RangeError: c is missing; it must be a whole number/,
    fraction: /RangeError: h is "1.5": it must be a whole number/,
    elsewhere: /RangeError: k is "3"; a softmax has none/,
    misspelt: /RangeError: "axis" is no key of a softmax; its keys are id, kind, n, c, h, w, axes/,
    word: /RangeError: reduction is "median": it must be "mean", /,
    flag: /RangeError: bias is "1": it must be true or false/,
    sizes: /RangeError: in_channels is 3; it must be a multiple of groups/,
    tooLarge: /RangeError: input needs 14400000000 bytes|RangeError: .*too large/,
    noOther: /RangeError: other is missing/,
    noScale: /RangeError: scale is missing/,
    unexpected: /RangeError: scale was given/,
    values: /RangeError: input has 3 values; its shape \[1, 1, 2, 2\] takes 4/,
    noValues: /RangeError: input is missing; it must be a Float32Array/,
    valuesName: /RangeError: values has "weight"; it may have input/,
  };
  for (const [name, pattern] of Object.entries(expected)) assert.match(words[name], pattern, name);
});

test("weights are packed once for two bindings, and again when they have changed", async () => {
  const { bytes, shared, stale, repacked, unlike, none } = await call("kernels", "sharedWeights");
  assert.ok(bytes.every((count) => count > 0), `${bytes}`);
  assert.ok(shared.every((error) => error <= 1), `${shared}`);
  assert.ok(stale <= 1, `${stale}: new values are read once they are packed, not before`);
  assert.ok(repacked.every((error) => error <= 1), `${repacked}`);
  assert.ok(unlike > 1, `${unlike}: the two sets of weights make different results`);
  assert.deepEqual(none, [0, 0]);
  assert.deepEqual(chromium.errors, []);
});

test("a batch of 0 gives an empty result", async () => {
  const outputs = await call("kernels", "emptyBatch");
  assert.ok(outputs.length > 5);
  for (const { way, shape, length, error } of outputs) {
    assert.deepEqual({ batch: shape[0], length, error }, { batch: 0, length: 0, error: 0 }, way);
  }
  assert.deepEqual(chromium.errors, []);
});

test("what is wrong is refused by name", async () => {
  const words = await call("api", "refusals");
  const expected = {
    negative: /RangeError: inChannels is "-1": it must be a whole number/,
    fraction: /RangeError: outChannels is "1.5": it must be a whole number/,
    notANumber: /RangeError: kernelSize is "NaN"/,
    misspelt: /RangeError: options has "paddings"; it may have stride, padding,/,
    activation: /RangeError: activation is "cube": it must be none, relu/,
    groups: /RangeError: in_channels is 3; it must be a multiple of groups/,
    shape: /RangeError: inputShape is "1,3,8": it has 3 sizes; it must have 4/,
    kernel: /RangeError: kernel is "winograd9"; it must be one of/,
    values: /RangeError: tensor has 5 values/,
    missing: /RangeError: bias is missing/,
    notATensor: /RangeError: bias must be a Tensor/,
    weightsAsTensor: /RangeError: input must be a Tensor/,
    tensorAsWeights: /RangeError: weights must be Weights/,
    noInput: /RangeError: input is missing; it must be a Tensor/,
    noWeights: /RangeError: \w+ is missing; this layer was built with one/,
    both: /RangeError: bias and weights are both given/,
    half: /RangeError: a layer takes weight, or else both depthwiseWeight and pointwiseWeight/,
    otherKind: /RangeError: depthwise weight was given; this layer was built without one/,
    otherLayout: /RangeError: the weights are packed for another layout than pool reads/,
    unexpected: /RangeError: weight was given; this layer was built without one/,
    poolOption: /RangeError: options has "groups"; it may have stride, padding, dilation/,
    written: /RangeError: tensor has 5 values/,
    dtype: /RangeError: dtype is "f64": it must be f32 or f16/,
    tooLarge: /RangeError: tensor needs 14400000000 bytes/,
  };
  for (const [name, pattern] of Object.entries(expected)) assert.match(words[name], pattern);
  assert.equal(words.survives, 256);
  assert.equal(words.weightsStay, "nothing");
});

test("tensors are of 16 bits where the device has them, and refused where not", async (t) => {
  const { types, refused, values } = await call("api", "half");
  if (refused) {
    t.diagnostic("this device has no shader-f16");
    assert.deepEqual(types, ["f32", "f32"]);
    assert.match(refused, /RangeError: dtype is f16; .* so it must be f32/);
  } else {
    assert.deepEqual({ types, values }, { types: ["f32", "f32", "f16"], values: [2048] });
  }
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

test("the README's examples print what they say", async () => {
  assert.deepEqual(await call("readme", "examples"), [13.5, 27, 13.5]);
});
