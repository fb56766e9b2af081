// How long the page takes from navigation to results, cold and warm, and how large it is: node startup.mjs
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { open, root } from "./browser.mjs";

const folder = join(root, "web/target/page");
const sizes = readdirSync(folder).map((name) => {
  const bytes = readFileSync(join(folder, name));
  return { name, bytes: bytes.length, gzip: gzipSync(bytes).length };
});
for (const { name, bytes, gzip } of sizes.filter(({ name }) => /wasm|onnx|sepconv/.test(name))) console.log(`${name}: ${bytes} bytes, ${gzip} with gzip`);
console.log(`all of the page: ${sizes.reduce((sum, { gzip }) => sum + gzip, 0)} bytes with gzip`);

/** Seconds since the navigation began at which a condition of the page holds. */
const since = async (page, condition) => {
  await page.waitForFunction(condition, undefined, { timeout: 600_000, polling: 20 });
  return (await page.evaluate(() => performance.now())) / 1e3;
};
const { page, errors, close } = await open({ path: "/web/tests/blank.html" });
const address = new URL("/page/", page.url()).href;
for (const what of ["cold", "warm", "warm"]) {
  await page.goto("about:blank");
  await page.goto(address);
  const first = await since(page, () => document.querySelector("#device")?.textContent.startsWith("This device"));
  const asked = (await page.evaluate(() => performance.now())) / 1e3;
  await page.click("#network-run");
  const network = await since(page, () => /^Done|trouble/.test(document.querySelector("#network-status").textContent));
  console.log(`${what}: the first layer's result ${first.toFixed(2)} s after navigation; the network's ${(network - asked).toFixed(2)} s after it was asked for`);
}
if (errors.length) console.log(errors);
await close();
