// The roofline plot (Williams, Waterman and Patterson 2009), both axes logarithmic.

const margin = { left: 56, right: 16, top: 12, bottom: 40 };

/** Draws the device's limits and the rows into an SVG element. */
export function plot(svg, { copy_gb_s: slope, fma_gflop_s: flat }, rows) {
  const { width, height } = svg.viewBox.baseVal;
  const intensities = [...rows.map((row) => row.flop_per_byte), flat / slope];
  const rates = [...rows.map((row) => row.gflop_s), flat];
  const range = (values) => [Math.floor(Math.log10(Math.min(...values) / 1.5)), Math.ceil(Math.log10(Math.max(...values) * 1.5))];
  const [xRange, yRange] = [range(intensities), range(rates)];
  const along = (value, [low, high], start, end) => start + ((Math.log10(value) - low) / (high - low)) * (end - start);
  const x = (value) => along(value, xRange, margin.left, width - margin.right);
  const y = (value) => along(value, yRange, height - margin.bottom, margin.top);
  const parts = [];
  const add = (name, attributes, text) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    parts.push(element);
    return element;
  };
  for (let power = xRange[0]; power <= xRange[1]; power += 1) {
    const at = x(10 ** power);
    add("line", { x1: at, x2: at, y1: margin.top, y2: height - margin.bottom, stroke: "var(--line)" });
    add("text", { x: at, y: height - margin.bottom + 16, "text-anchor": "middle" }, 10 ** power);
  }
  for (let power = yRange[0]; power <= yRange[1]; power += 1) {
    const at = y(10 ** power);
    add("line", { x1: margin.left, x2: width - margin.right, y1: at, y2: at, stroke: "var(--line)" });
    add("text", { x: margin.left - 8, y: at + 4, "text-anchor": "end" }, 10 ** power);
  }
  add("text", { x: (margin.left + width) / 2, y: height - 6, "text-anchor": "middle" }, "floating-point operations per byte");
  add("text", { x: -height / 2, y: 12, transform: "rotate(-90)", "text-anchor": "middle" }, "GFLOP/s");
  const [left, right] = xRange.map((power) => 10 ** power);
  const points = [left, Math.min(Math.max(flat / slope, left), right), right].map((at) => [x(at), y(Math.min(at * slope, flat))]);
  add("clipPath", { id: "plot-area" }).append(Object.assign(document.createElementNS("http://www.w3.org/2000/svg", "rect")));
  const area = parts.at(-1).firstChild;
  for (const [key, value] of Object.entries({ x: margin.left, y: margin.top, width: width - margin.left - margin.right, height: height - margin.top - margin.bottom })) area.setAttribute(key, value);
  add("polyline", { points: points.join(" "), fill: "none", stroke: "var(--second)", "stroke-width": 2, "clip-path": "url(#plot-area)" });
  for (const row of rows) {
    const dot = add("circle", { cx: x(row.flop_per_byte), cy: y(row.gflop_s), r: 5, fill: "var(--accent)" });
    const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
    title.textContent = `${row.id}: ${row.gflop_s.toFixed(2)} GFLOP/s, ${row.roofline_percent.toFixed(1)} % of the roofline`;
    dot.append(title);
    if (rows.length <= 4) add("text", { x: x(row.flop_per_byte), y: y(row.gflop_s) - 9, "text-anchor": "middle" }, row.id);
  }
  svg.replaceChildren(...parts);
}
