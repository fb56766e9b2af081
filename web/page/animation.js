// The moving pictures: small convolutions with real numbers, drawn as the window slides.

/** The most channels that are drawn, and the most rows of one. */
const drawnChannels = 4;
const drawnSize = 10;

/** The input channels: a disc, stripes, a slope, a checkerboard; values from 0 to 1. */
const patterns = [
  (x, y) => (Math.hypot(x - 0.5, y - 0.5) < 0.35 ? 1 : 0.1),
  (x) => (Math.floor(x * 5) % 2 ? 0.9 : 0.15),
  (x, y) => (x + y) / 2,
  (x, y) => ((Math.floor(x * 4) + Math.floor(y * 4)) % 2 ? 0.85 : 0.2),
];

/** A weight of a filter for one pair of channels. */
const weight = (out, channel, tap) => Math.cos(1.7 * tap + 2.3 * channel + 1.1 * out);

/** The drawn part of a layer: every map's values. */
function model({ in: input, out, kernel, stride, size, groups }) {
  const inputs = Math.min(input, drawnChannels);
  const outputs = Math.min(out, drawnChannels);
  const side = Math.min(size, drawnSize);
  const padding = Math.floor(kernel / 2);
  const outSide = Math.floor((side + 2 * padding - kernel) / stride) + 1;
  const map = (length, value) =>
    Array.from({ length: length ** 2 }, (_, i) => value(i % length, Math.floor(i / length)));
  const images = patterns.slice(0, inputs).map((of) => map(side, (x, y) => of((x + 0.5) / side, (y + 0.5) / side)));
  const convolved = (image, filter) => map(outSide, (ox, oy) => {
    let sum = 0;
    for (let tap = 0; tap < kernel ** 2; tap += 1) {
      const [x, y] = [ox * stride - padding + (tap % kernel), oy * stride - padding + Math.floor(tap / kernel)];
      if (x >= 0 && y >= 0 && x < side && y < side) sum += image[y * side + x] * filter(tap);
    }
    return sum;
  });
  // Which drawn inputs a drawn output sees, by the real layer's groups.
  const sees = (o) => images.map((_, c) => c).filter((c) =>
    Math.floor((c * groups) / input) === Math.floor((o * groups) / out));
  const added = (maps, factor) => maps[0].map((_, i) => maps.reduce((sum, one, c) => sum + one[i] * factor(c), 0));
  const empty = new Array(outSide ** 2).fill(0);
  const between = images.map((image, c) => convolved(image, (tap) => weight(0, c, tap)));
  return {
    side, outSide, kernel, stride, padding, sees,
    hidden: { inputs: input - inputs, outputs: out - outputs },
    images, between,
    normal: Array.from({ length: outputs }, (_, o) => {
      const parts = sees(o).map((c) => convolved(images[c], (tap) => weight(o, c, tap)));
      return parts.length ? added(parts, () => 1) : empty;
    }),
    mixed: Array.from({ length: outputs }, (_, o) => added(between, (c) => weight(o, c, 5))),
  };
}

/** Shades between two colours for the values of a map. */
function shades(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return values.map((value) => `hsl(215 45% ${Math.round(20 + (70 * (value - low)) / (high - low || 1))}%)`);
}

/** A canvas of one form of the layer. */
class Picture {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
  }

  /** Where a map of a column stands, in CSS pixels. */
  place(column, columns, index, count, width, height) {
    const [title, gap] = [20, 8];
    const share = (height - title) / Math.max(count, 2);
    const cell = Math.min(share - gap, width / columns - 40);
    return {
      x: (width / columns) * (column + 0.5) - cell / 2,
      y: title + ((height - title) / count) * (index + 0.5) - cell / 2,
      cell,
    };
  }

  draw(columns, links) {
    const { canvas, context } = this;
    const ratio = devicePixelRatio;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    context.scale(ratio, ratio);
    const style = getComputedStyle(document.documentElement);
    const [front, accent, second] = ["--soft", "--accent", "--second"].map((name) => style.getPropertyValue(name));
    context.font = "12px system-ui, sans-serif";
    context.textAlign = "center";
    const places = columns.map(({ title, hidden, maps, side, done, boxes }, column) => {
      context.fillStyle = front;
      context.fillText(title + (hidden ? ` (+ ${hidden} more)` : ""), (width / columns.length) * (column + 0.5), 13);
      return maps.map((colours, index) => {
        const place = this.place(column, columns.length, index, maps.length, width, height);
        const step = place.cell / side;
        colours.slice(0, done).forEach((colour, i) => {
          context.fillStyle = colour;
          context.fillRect(place.x + (i % side) * step, place.y + Math.floor(i / side) * step, step + 0.5, step + 0.5);
        });
        context.strokeStyle = front;
        context.lineWidth = 1;
        context.strokeRect(place.x, place.y, place.cell, place.cell);
        const box = boxes(index);
        if (!box) return undefined;
        const [x, y, length] = [place.x + box.x * step, place.y + box.y * step, Math.max(box.length * step, 5)];
        context.strokeStyle = box.lit ? second : accent;
        context.lineWidth = 2;
        context.strokeRect(x, y, length, length);
        return { left: x, right: x + length, middle: y + length / 2 };
      });
    });
    context.strokeStyle = second;
    context.lineWidth = 1.5;
    for (const [column, from, to] of links) {
      const [start, end] = [places[column][from], places[column + 1][to]];
      if (!start || !end) continue;
      context.beginPath();
      context.moveTo(start.right, start.middle);
      context.lineTo(end.left, end.middle);
      context.stroke();
    }
  }
}

/** Draws both forms for as long as the page is looked at; returns a function to say that the settings changed. */
export function animate(settings) {
  const normal = new Picture(document.querySelector("#normal"));
  const separable = new Picture(document.querySelector("#separable"));
  let shown;
  let tick = 0;
  const frame = () => {
    const { side, outSide, kernel, stride, padding, sees, hidden, colours } = shown;
    const positions = outSide ** 2;
    const outputs = colours.normal.length;
    const at = (position) => [position % outSide, Math.floor(position / outSide)];
    const windowAt = (position, lit) => {
      const [x, y] = at(position);
      return { x: x * stride - padding, y: y * stride - padding, length: kernel, lit };
    };
    const pixelAt = (position, lit) => {
      const [x, y] = at(position);
      return { x, y, length: 1, lit };
    };
    {
      const position = Math.floor(tick / outputs) % positions;
      const o = tick % outputs;
      const seen = sees(o);
      normal.draw([
        { title: "input", hidden: hidden.inputs, maps: colours.images, side, done: side ** 2, boxes: (c) => windowAt(position, seen.includes(c)) },
        { title: "output", hidden: hidden.outputs, maps: colours.normal, side: outSide, done: position + 1, boxes: (i) => pixelAt(position, i === o) },
      ], seen.map((c) => [0, c, o]));
    }
    {
      const position = Math.floor(tick / (outputs + 1)) % positions;
      const o = (tick % (outputs + 1)) - 1;
      const filtering = o < 0;
      const every = colours.images.map((_, c) => c);
      separable.draw([
        { title: "input", hidden: hidden.inputs, maps: colours.images, side, done: side ** 2, boxes: () => windowAt(position, filtering) },
        { title: "depthwise", hidden: hidden.inputs, maps: colours.between, side: outSide, done: position + 1, boxes: () => pixelAt(position, true) },
        { title: "pointwise", hidden: hidden.outputs, maps: colours.mixed, side: outSide, done: filtering ? position : position + 1, boxes: (i) => pixelAt(position, i === o) },
      ], every.map((c) => (filtering ? [0, c, c] : [1, c, o])));
    }
  };
  const changed = () => {
    const drawn = model(settings);
    const colours = Object.fromEntries(["images", "between", "normal", "mixed"].map((name) => [name, drawn[name].map(shades)]));
    shown = { ...drawn, colours };
    tick = Math.floor(drawn.outSide ** 2 / 2) * (colours.normal.length + 1);
    frame();
  };
  const pause = document.querySelector("#pause");
  const setPaused = (paused) => {
    pause.setAttribute("aria-pressed", paused);
    pause.textContent = paused ? "Move the pictures" : "Pause the pictures";
  };
  pause.addEventListener("click", () => setPaused(pause.getAttribute("aria-pressed") !== "true"));
  setPaused(matchMedia("(prefers-reduced-motion: reduce)").matches);
  setInterval(() => {
    if (document.hidden || pause.getAttribute("aria-pressed") === "true") return;
    tick += 1;
    frame();
  }, 250);
  addEventListener("resize", frame);
  return changed;
}
