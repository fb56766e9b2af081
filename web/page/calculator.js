// The sliders and the table of costs. The numbers are the library's own.
import { Conv2d, SeparableConv2d } from "./sepconv.js";
import { groupings, sliders } from "./settings.js";

/** The two layers that the settings describe, with half a kernel of padding, and their input's shape. */
export function layersOf({ in: input, out, kernel, stride, size, groups }) {
  const options = { stride, padding: Math.floor(kernel / 2) };
  return {
    shape: [1, input, size, size],
    normal: new Conv2d(input, out, kernel, { ...options, groups }),
    separable: new SeparableConv2d(input, out, kernel, options),
  };
}

/** The bytes of a separable layer's input, parameters and output: not of the tensor between its two parts. */
export function separableBytes({ depthwise, pointwise }) {
  return depthwise.bytes + pointwise.bytes - 8 * depthwise.outputShape.reduce((a, b) => a * b);
}

/** Parameters, multiply-adds and bytes of both forms. */
function costs(settings) {
  const { shape, normal, separable } = layersOf(settings);
  const whole = normal.geometry(shape);
  const { depthwise, pointwise } = separable.geometry(shape);
  return [
    ["parameters", whole.parameters, depthwise.parameters + pointwise.parameters],
    ["multiply-adds", whole.multiplyAdds, depthwise.multiplyAdds + pointwise.multiplyAdds],
    ["least bytes", whole.bytes, separableBytes({ depthwise, pointwise })],
  ];
}

const number = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });

/** Fills the form with sliders and the table with what they mean; `changed` hears of every change. */
export function calculator(settings, changed) {
  const form = document.querySelector("#layer");
  const body = document.querySelector("#cost tbody");
  const shown = {};
  for (const [name, { label }] of Object.entries(sliders)) {
    const input = Object.assign(document.createElement("input"), { type: "range", id: `slider-${name}`, min: 0, step: 1 });
    const output = Object.assign(document.createElement("output"), { htmlFor: input.id });
    const element = document.createElement("label");
    element.append(label, input, output);
    form.append(element);
    shown[name] = { input, output };
    input.addEventListener("input", () => {
      settings[name] = valuesOf(name)[input.value];
      if (!groupings(settings).includes(settings.groups)) settings.groups = 1;
      update();
    });
  }
  const valuesOf = (name) => (name === "groups" ? groupings(settings) : sliders[name].values);
  function update() {
    for (const [name, { input, output }] of Object.entries(shown)) {
      const values = valuesOf(name);
      input.max = values.length - 1;
      input.value = values.indexOf(settings[name]);
      input.disabled = values.length === 1;
      output.value = settings[name];
      input.setAttribute("aria-valuetext", settings[name]);
    }
    body.replaceChildren(...costs(settings).map(([label, normal, separable]) => {
      const row = document.createElement("tr");
      const head = Object.assign(document.createElement("th"), { scope: "row", textContent: label });
      const cell = (text) => Object.assign(document.createElement("td"), { textContent: text });
      row.append(head, cell(number.format(normal)), cell(number.format(separable)), cell(short.format(normal / separable)));
      return row;
    }));
    const taps = settings.kernel ** 2;
    const terms = taps * (settings.in / settings.groups);
    document.querySelector("#normal-sum").textContent =
      `(of its group): ${settings.out} × ${terms} = ${number.format(settings.out * terms)} multiply-adds per position`;
    document.querySelector("#separable-sum").textContent =
      `: ${settings.in} × ${taps} + ${settings.out} × ${settings.in} = ` +
      `${number.format(settings.in * taps + settings.out * settings.in)} multiply-adds per position`;
    changed();
  }
  update();
  return update;
}
