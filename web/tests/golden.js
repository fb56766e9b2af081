// The golden cases through the JavaScript API, in the browser; `tests/common/golden.rs` is their Rust side.
import init, { Context, Conv2d, SeparableConv2d, Tensor, kernels } from "/package/sepconv.js";
import { parse } from "./common.js";

/** What is wrong with a result, if anything: the manifest's tight tolerance, or exact where the case is. */
export function compare(manifest, tensors, name, actual) {
  const expected = tensors[name].values;
  if (actual.length !== expected.length) return `${name} has ${actual.length} values, not ${expected.length}`;
  const tight = name === "intermediate" ? manifest.tolerance_tight_intermediate : manifest.tolerance_tight;
  const tolerance = manifest.exact ? 0 : tight;
  if (!(tolerance >= 0)) return `${name} has no tolerance`;
  const close = (a, b) => Number.isFinite(b) ? Math.abs(a - b) <= tolerance : Object.is(a, b);
  const flushed = manifest.ftz_sensitive ? tensors.output_ftz.values : undefined;
  const wrong = expected.findIndex((value, i) => !close(actual[i], value) && !(flushed && close(actual[i], flushed[i])));
  return wrong < 0 ? undefined : `${name}[${wrong}] is ${actual[wrong]}, not ${expected[wrong]} within ${tolerance}`;
}

/** Runs a bound layer into an output of NaNs and reads it. */
async function run(context, plan, operands) {
  const count = plan.outputShape.reduce((a, b) => a * b);
  const output = new Tensor(context, plan.outputShape, new Float32Array(count).fill(NaN));
  plan.bind({ ...operands, output }).run();
  return output.read();
}

/** Each kernel's best variant: compiling each takes a software device up to seconds. */
const bestWays = (layer, context, shape) => layer.ways(context, shape).filter((way) => way.variant === 0);

export async function golden() {
  await init();
  const context = await Context.create();
  const { cases, count } = await (await fetch("/tests/torch/cases.json")).json();
  const failures = [];
  const runs = {};
  const check = (manifest, tensors, name, kernel, actual) => {
    runs[kernel] = (runs[kernel] ?? 0) + 1;
    const wrong = compare(manifest, tensors, name, actual);
    if (wrong) failures.push(`${manifest.name}, ${kernel}: ${wrong}`);
    // The comparison must be able to fail.
    const broken = actual.slice();
    broken[broken.length - 1] = Number.isNaN(broken.at(-1)) ? 0 : NaN;
    if (!compare(manifest, tensors, name, broken)) failures.push(`${manifest.name}: a wrong value passed`);
  };
  for (const manifest of cases) {
    const tensors = parse(await (await fetch(`/tests/torch/${manifest.file}`)).arrayBuffer());
    const upload = (name) => tensors[name] && new Tensor(context, tensors[name].shape, tensors[name].values);
    const shape = tensors.input.shape;
    const { stride, padding, dilation, groups, padding_mode: paddingMode } = manifest.attributes;
    const options = { stride, padding, dilation, paddingMode };
    const everyKernel = async (layer, operands, name) => {
      for (const way of bestWays(layer, context, shape)) {
        check(manifest, tensors, name, way.kernel, await run(context, layer.plan(context, shape, way), operands));
      }
    };
    if (manifest.kind === "separable") {
      const [filters, , height, width] = tensors.dw_weight.shape;
      const [input, depthwiseWeight, depthwiseBias, pointwiseWeight, pointwiseBias] =
        ["input", "dw_weight", "dw_bias", "pw_weight", "pw_bias"].map(upload);
      const layer = new SeparableConv2d(shape[1], tensors.pw_weight.shape[0], [height, width], {
        ...options, depthMultiplier: filters / shape[1], depthwiseBias: !!depthwiseBias, pointwiseBias: !!pointwiseBias,
      });
      const operands = { input, depthwiseWeight, depthwiseBias, pointwiseWeight, pointwiseBias };
      for (const way of bestWays(layer, context, shape)) {
        check(manifest, tensors, "output", way.kernel, await run(context, layer.plan(context, shape, way), operands));
      }
      const half = new Conv2d(shape[1], filters, [height, width], { ...options, groups: shape[1], bias: !!depthwiseBias });
      await everyKernel(half, { input, weight: depthwiseWeight, bias: depthwiseBias }, "intermediate");
    } else {
      const [out, , height, width] = tensors.weight.shape;
      const bias = upload("bias");
      const layer = new Conv2d(shape[1], out, [height, width], { ...options, groups, bias: !!bias });
      await everyKernel(layer, { input: upload("input"), weight: upload("weight"), bias }, "output");
    }
  }
  return { cases: cases.length, count, runs, failures, kernels: kernels().map((kernel) => kernel.name) };
}
