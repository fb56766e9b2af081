// Puts the page together. Without WebGPU the calculator still works.
import init from "./sepconv.js";
import { animate } from "./animation.js";
import { calculator } from "./calculator.js";
import { measureSection } from "./measure.js";
import { networkSection } from "./network.js";
import { picture } from "./picture.js";
import { fromHash, toHash } from "./settings.js";

const device = document.querySelector("#device");

function trouble(text) {
  device.textContent = text;
  device.classList.add("trouble");
  for (const element of document.querySelectorAll("#measure, #camera, #file, [aria-labelledby=network-title] :is(input, button)")) element.disabled = true;
}

function opened({ device: { adapterInfo: { vendor, architecture, description, isFallbackAdapter } } }) {
  const name = description || [vendor, architecture].filter(Boolean).join(" ") || "an adapter that the browser does not name";
  device.textContent = `This device: ${name}${isFallbackAdapter ? ", a processor that runs shaders in software, not a GPU" : ""}.`;
}

const settings = fromHash(location.hash);
try {
  await init();
  let redraw;
  const changed = () => {
    history.replaceState(null, "", toHash(settings));
    document.querySelector("#link").href = toHash(settings);
    redraw?.();
  };
  measureSection(settings, changed);
  calculator(settings, changed);
  redraw = animate(settings);
  redraw();
} catch (error) {
  trouble(`This page needs WebAssembly, and the browser did not start it: ${error.message}`);
  throw error;
}
if (!navigator.gpu) {
  trouble("This browser has no WebGPU, so nothing can run on your GPU here; the costs below are right all the same. "
    + "Chrome, Edge, Safari 26 and Firefox have it, on pages served by https or from localhost.");
} else {
  const useDevice = networkSection();
  await picture((context) => {
    opened(context);
    useDevice(context);
  }).catch((error) =>
    trouble(`WebGPU is there but does not open a device: ${error.message}. The costs below are right all the same.`));
}
