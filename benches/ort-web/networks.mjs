// Times whole networks against onnxruntime-web's WebGPU provider and LiteRT.js in headless Chromium: see README.md.
import { readFileSync, writeFileSync } from "node:fs";
import { open } from "../../web/tests/browser.mjs";

const here = new URL(".", import.meta.url);
const wanted = process.argv.slice(2);
const { page, browser, errors, close } = await open({ path: "/web/tests/blank.html" });
page.setDefaultTimeout(0);
const cases = await page.evaluate(async () => (await fetch("/networks/cases.json")).json());
const rows = [];
for (const one of cases.filter(({ model }) => wanted.length === 0 || wanted.some((name) => model.includes(name)))) {
  const row = await page.evaluate(
    (one) => import("/benches/ort-web/networks.js").then(({ compareNetwork }) => compareNetwork(one, 3000)), one,
  );
  rows.push(row);
  const [ours, theirs] = [row.sepconv_ms, row.ort_ms].map((ms) => ms.toFixed(1).padStart(8));
  const first = [row.own_first_ms, row.ort_first_ms].map((ms) => (ms / 1e3).toFixed(1)).join(" and ");
  console.log(`${row.id.padEnd(20)} sepconv ${ours} ms, onnxruntime-web ${theirs} ms, ${row.ratio.toFixed(2)} times as fast; first results after ${first} s (differs by ${row.difference_over_largest.toExponential(1)})`);
  if (row.litert_ms) console.log(`${"".padEnd(20)} LiteRT.js ${row.litert_ms.toFixed(1).padStart(6)} ms, sepconv ${row.litert_ratio.toFixed(2)} times as fast; its first result after ${(row.litert_first_ms / 1e3).toFixed(1)} s (differs by ${row.litert_difference.toExponential(1)})`);
}
const adapter = await page.evaluate(async () => {
  const { info } = await navigator.gpu.requestAdapter();
  return `${info.vendor} ${info.architecture}`;
});
const [version, litert] = ["onnxruntime-web", "@litertjs/core"].map((name) => JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, here))).version);
const mean = Math.exp(rows.reduce((sum, row) => sum + Math.log(row.ratio), 0) / rows.length);
console.log(`geometric mean over ${rows.length} networks: ${mean.toFixed(2)} times as fast as onnxruntime-web ${version}, ${adapter}, Chromium ${browser.version()}`);
// LiteRT.js logs as errors what is none.
const wrong = errors.filter((text) => !/^(INFO|WARNING|I\d{4} )/.test(text));
if (wrong.length) console.log(wrong.slice(0, 5));
if (wanted.length === 0) {
  const result = { onnxruntime_web: version, litertjs: litert, adapter, chromium: browser.version(), geometric_mean: mean, rows };
  writeFileSync(new URL("networks.json", here), `${JSON.stringify(result, null, 1)}\n`);
}
await close();
