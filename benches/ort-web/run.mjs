// Times sepconv against onnxruntime-web's WebGPU provider in headless Chromium: see README.md.
import { readFileSync, writeFileSync } from "node:fs";
import { open } from "../../web/tests/browser.mjs";

const here = new URL(".", import.meta.url);
const shapes = JSON.parse(readFileSync(new URL("shapes.json", here)));
const wanted = process.argv.slice(2);
const { page, browser, errors, close } = await open({ path: "/web/tests/blank.html" });
page.setDefaultTimeout(0);
const rows = [];
for (const shape of shapes.filter(({ id }) => wanted.length === 0 || wanted.includes(id))) {
  const row = await page.evaluate(
    (shape) => import("/benches/ort-web/compare.js").then(({ compare }) => compare(shape, 1500)), shape,
  );
  rows.push(row);
  const [ours, theirs] = [row.sepconv_ms, row.ort_ms].map((ms) => ms.toFixed(2).padStart(9));
  console.log(`${row.id.padEnd(20)} sepconv ${ours} ms, onnxruntime-web ${theirs} ms, ${row.ratio.toFixed(2)} times as fast (${row.kernel}, differs by ${row.largest_difference.toExponential(1)})`);
}
const adapter = await page.evaluate(async () => {
  const { info } = await navigator.gpu.requestAdapter();
  return `${info.vendor} ${info.architecture}`;
});
const version = JSON.parse(readFileSync(new URL("node_modules/onnxruntime-web/package.json", here))).version;
const mean = Math.exp(rows.reduce((sum, row) => sum + Math.log(row.ratio), 0) / rows.length);
console.log(`geometric mean over ${rows.length} layers: ${mean.toFixed(2)} times as fast as onnxruntime-web ${version}, ${adapter}, Chromium ${browser.version()}`);
if (errors.length) console.log(errors.slice(0, 5));
if (wanted.length === 0) {
  const result = { onnxruntime_web: version, adapter, chromium: browser.version(), geometric_mean: mean, rows };
  writeFileSync(new URL("result.json", here), `${JSON.stringify(result, null, 1)}\n`);
}
await close();
