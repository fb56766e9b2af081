// The section that measures: its buttons, its progress, its table, its download. The work is the worker's.
import { plot } from "./plot.js";

const find = (selector) => document.querySelector(selector);

/** The layers to measure, as a shapes file has them. */
async function chosen({ in: c, out: oc, kernel: k, stride: s, size, groups: g, layers }) {
  if (layers === "networks") return (await fetch("shapes.json")).json();
  const layer = { n: 1, c, h: size, w: size, oc, k, s, p: Math.floor(k / 2), d: 1 };
  return [{ id: "normal", kind: "conv", g, ...layer }, { id: "separable", kind: "sep", ...layer }];
}

const digits = (value, most = 2) => value.toLocaleString("en", { maximumFractionDigits: most, minimumFractionDigits: most });

function tableRow(row) {
  const cells = [
    row.kernel, digits(row.median_ms, 3), `${digits(row.p10_ms, 3)} – ${digits(row.p90_ms, 3)}`, row.clock,
    digits(row.gflop_s), digits(row.gb_s), digits(row.roofline_percent, 1), digits(row.error_over_bound),
  ];
  const element = document.createElement("tr");
  element.append(Object.assign(document.createElement("th"), { scope: "row", textContent: row.id }));
  element.append(...cells.map((text) => Object.assign(document.createElement("td"), { textContent: text })));
  return element;
}

/** What the two forms of one layer come to. */
function verdict(rows) {
  const [normal, separable] = ["normal", "separable"].map((id) => rows.find((row) => row.id === id));
  if (!normal || !separable) return "";
  // Times by two clocks cannot be compared.
  const clock = normal.gpu_ms && separable.gpu_ms ? "gpu_ms" : "wall_ms";
  const ratio = normal[clock] / separable[clock];
  const saved = (normal.gflop_s * normal.median_ms) / (separable.gflop_s * separable.median_ms);
  const times = ratio >= 1 ? `${digits(ratio)} times as fast` : `slower, by a factor of ${digits(1 / ratio)}`;
  const by = clock === "gpu_ms" ? "GPU timestamps" : "the wall clock";
  return `On this device the separable form is ${times}, by ${by}; it takes ${digits(saved)} times fewer multiply-adds.`;
}

/** Wires the section to the settings. */
export function measureSection(settings, changed) {
  let worker;
  let result;
  const status = (text, trouble = false) => {
    find("#measure-status").textContent = text;
    find("#measure-status").classList.toggle("trouble", trouble);
  };
  const end = (text, trouble) => {
    worker?.terminate();
    worker = undefined;
    find("#cancel").hidden = true;
    find("#progress").hidden = true;
    find("#measure").disabled = false;
    find("#download").hidden = !result?.rows.length;
    status(text, trouble);
  };
  const start = async () => {
    const layers = await chosen(settings);
    result = { rows: [] };
    find("#results").hidden = true;
    find("#results tbody").replaceChildren();
    find("#verdict").textContent = "";
    find("#download").hidden = true;
    find("#cancel").hidden = false;
    find("#measure").disabled = true;
    Object.assign(find("#progress"), { hidden: false, max: layers.length + 1, value: 0 });
    worker = new Worker("measure-worker.js", { type: "module" });
    worker.addEventListener("error", ({ message }) => end(`The measurement could not start: ${message}`, true));
    worker.addEventListener("message", ({ data }) => {
      if (data.kind === "step") {
        find("#progress").value = data.done;
        status(`Measuring: ${data.text} …`);
      } else if (data.kind === "device") {
        Object.assign(result, data.device);
      } else if (data.kind === "row") {
        result.rows.push(data.row);
        find("#results tbody").append(tableRow(data.row));
        find("#results").hidden = false;
        plot(find("#roofline"), result, result.rows);
      } else if (data.kind === "failed") {
        end(`The measurement stopped: ${data.text}. Measure again to start on a new device.`, true);
      } else {
        find("#verdict").textContent = verdict(result.rows);
        const software = result.software ? " This adapter is a processor that runs shaders in software, not a GPU." : "";
        end(`Done. Limits, measured: ${digits(result.copy_gb_s)} GB/s copied, ${digits(result.fma_gflop_s, 1)} GFLOP/s multiplied and added.${software}`);
      }
    });
    worker.postMessage(layers);
  };
  find("#measure").addEventListener("click", () => start().catch((error) => end(error.message, true)));
  find("#cancel").addEventListener("click", () => end("Cancelled."));
  find("#download").addEventListener("click", () => {
    const text = JSON.stringify({ settings, ...result }, null, 1);
    const link = Object.assign(document.createElement("a"), {
      href: URL.createObjectURL(new Blob([text], { type: "application/json" })), download: "sepconv.json",
    });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  for (const radio of document.querySelectorAll("[name=layers]")) {
    radio.checked = radio.value === settings.layers;
    radio.addEventListener("change", () => {
      settings.layers = radio.value;
      changed();
    });
  }
}
