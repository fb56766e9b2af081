// What loops over a constant cost where a driver does not unroll them: one 1 × 1 layer with a tile of 4 channels × 4 pixels, its
// sums in an array within a loop, and in variables. In headless Chromium on SwiftShader: node benches/networks/loops.mjs
import { open } from "../../web/tests/browser.mjs";

const [inputs, outputs, fours] = [28, 32, 1024];
const shader = (body) => `
@group(0) @binding(0) var<storage, read> input: array<vec4f>;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<vec4f>;
@compute @workgroup_size(8, 4) fn main(@builtin(global_invocation_id) at: vec3u) {
  let first = at.y * 4;
  ${body}
}`;
const four = (line) => [0, 1, 2, 3].map(line).join("\n");
const shaders = {
  "in a loop": shader(`
    var sums: array<vec4f, 4>;
    for (var c = 0u; c < ${inputs}; c++) {
      let values = input[c * ${fours} + at.x];
      for (var t = 0u; t < 4; t++) { sums[t] = fma(vec4f(weight[(first + t) * ${inputs} + c]), values, sums[t]); }
    }
    for (var t = 0u; t < 4; t++) { output[(first + t) * ${fours} + at.x] = sums[t]; }`),
  "written out": shader(`
    ${four((t) => `var sum${t}: vec4f;`)}
    for (var c = 0u; c < ${inputs}; c++) {
      let values = input[c * ${fours} + at.x];
      ${four((t) => `sum${t} = fma(vec4f(weight[(first + ${t}) * ${inputs} + c]), values, sum${t});`)}
    }
    ${four((t) => `output[(first + ${t}) * ${fours} + at.x] = sum${t};`)}`),
};

const { page, close } = await open();
page.setDefaultTimeout(0);
const times = await page.evaluate(async ([shaders, sizes, grid]) => {
  const device = await (await navigator.gpu.requestAdapter()).requestDevice();
  const buffers = sizes.map((size) => device.createBuffer({ size, usage: GPUBufferUsage.STORAGE }));
  const runs = Object.entries(shaders).map(([name, code]) => {
    const pipeline = device.createComputePipeline({ layout: "auto", compute: { module: device.createShaderModule({ code }) } });
    const entries = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }));
    return { name, pipeline, group: device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }), times: [] };
  });
  // In turn, so that whatever else the machine does falls on both.
  for (let turn = 0; turn < 31; turn += 1) {
    for (const { pipeline, group, times } of runs) {
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(...grid);
      pass.end();
      const start = performance.now();
      device.queue.submit([encoder.finish()]);
      await device.queue.onSubmittedWorkDone();
      times.push(performance.now() - start);
    }
  }
  return runs.map(({ name, times }) => [name, times.sort((a, b) => a - b)]);
}, [shaders, [16 * inputs * fours, 4 * inputs * outputs, 16 * outputs * fours], [fours / 8, outputs / 16]]);
for (const [name, list] of times) console.log(`${name}: median ${list[15].toFixed(1)} ms, smallest ${list[0].toFixed(1)} ms`);
await close();
