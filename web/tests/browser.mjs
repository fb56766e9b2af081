// A headless Chromium whose WebGPU runs on SwiftShader, and a server of this repository's files for it.
import { createReadStream } from "node:fs";
import { createServer } from "node:http";
import { dirname, extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

export const root = join(dirname(fileURLToPath(import.meta.url)), "../..");

const types = {
  ".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript",
  ".json": "application/json", ".wasm": "application/wasm", ".jpg": "image/jpeg",
};

/** Serves the repository; `/page` and `/package` are what `build.sh` built, `/networks` is the folder beside it. */
async function serve() {
  const server = createServer((request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, "http://localhost").pathname));
    const built = /^\/(page|package)\//.test(path);
    // Networks may lie beside the repository.
    const folder = built ? "web/target" : path.startsWith("/networks/") ? "../shared" : "";
    const file = join(root, folder, path.endsWith("/") ? path + "index.html" : path);
    const stream = createReadStream(file);
    stream.on("error", () => response.writeHead(404).end());
    stream.on("open", () => {
      response.writeHead(200, { "content-type": types[extname(file)] ?? "application/octet-stream" });
      stream.pipe(response);
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

// All on SwiftShader: with another Vulkan for the canvas the GPU process ends itself.
export const webgpu = [
  "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--use-angle=swiftshader", "--enable-features=Vulkan",
  "--use-vulkan=swiftshader", "--disable-vulkan-surface",
];

/** Opens a page of the repository; a message on its console that is an error ends up in `errors`; `script` runs before the page's own. */
export async function open({ path = "/web/tests/blank.html", args = webgpu, context: options = {}, script } = {}) {
  const server = await serve();
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-component-update", ...args],
  });
  const page = await (await browser.newContext(options)).newPage();
  page.setDefaultTimeout(120_000);
  if (script) await page.addInitScript(script);
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  await page.goto(`http://127.0.0.1:${server.address().port}${path}`);
  const close = async () => {
    await browser.close();
    server.close();
  };
  return { page, browser, errors, close };
}
