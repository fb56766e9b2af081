// ONNX models of one or two convolutions, written by hand, and files with other shapes: protocol buffers of a few fields
// (onnx/onnx.proto).

const utf8 = new TextEncoder();

function varint(value) {
  const bytes = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return [...bytes, rest];
    bytes.push((rest % 128) + 128);
  }
}

/** A field that holds a number. */
const number = (field, value) => Uint8Array.from([...varint(field * 8), ...varint(value)]);

/** A field that holds bytes, a text, or a message's fields. */
function bytes(field, value) {
  const content = typeof value === "string" ? utf8.encode(value) : Array.isArray(value) ? joined(value) : value;
  return joined([Uint8Array.from([...varint(field * 8 + 2), ...varint(content.length)]), content]);
}

function joined(parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

const float = 1;

const tensor = (name, shape, values) => bytes(5, [
  ...[...shape].map((size) => number(1, size)), number(2, float), bytes(8, name), bytes(9, new Uint8Array(values.buffer)),
]);

const value = (field, name, shape) => bytes(field, [
  bytes(1, name),
  bytes(2, [bytes(1, [number(1, float), bytes(2, [...shape].map((size) => bytes(1, [number(1, size)])))])]),
]);

const attribute = (name, value) => bytes(5, Array.isArray(value)
  ? [bytes(1, name), ...value.map((one) => number(8, one)), number(20, 7)]
  : [bytes(1, name), number(3, value), number(20, 2)]);

function node({ input, output, stride, padding, dilation, groups }) {
  const attributes = {
    strides: [stride, stride], pads: [padding, padding, padding, padding], dilations: [dilation, dilation], group: groups,
  };
  return bytes(1, [
    bytes(1, input), bytes(1, `${output}.weight`), bytes(1, `${output}.bias`), bytes(2, output), bytes(4, "Conv"),
    ...Object.entries(attributes).map(([name, value]) => attribute(name, value)),
  ]);
}

/** A model from `x` to `y`; each convolution has its parameters with it. */
export function model(convolutions, inputShape, outputShape) {
  const graph = [
    ...convolutions.map(node),
    bytes(2, "convolutions"),
    ...convolutions.flatMap(({ output, weight, bias }) => [
      tensor(`${output}.weight`, weight.shape, weight.values), tensor(`${output}.bias`, [bias.values.length], bias.values),
    ]),
    value(11, "x", inputShape), value(12, "y", outputShape),
  ];
  return joined([number(1, 8), bytes(7, graph), bytes(8, [bytes(1, ""), number(2, 17)])]);
}

/** The fields of a message: the number of each, its content if it has a length, and all of its bytes. */
function fields(message) {
  const found = [];
  let at = 0;
  const read = () => {
    let [result, factor] = [0, 1];
    for (;;) {
      const byte = message[at++];
      result += (byte & 127) * factor;
      if (byte < 128) return result;
      factor *= 128;
    }
  };
  while (at < message.length) {
    const start = at;
    const tag = read();
    const kind = tag % 8;
    if (kind === 0) read();
    const length = kind === 2 ? read() : { 0: 0, 1: 8, 5: 4 }[kind];
    if (length === undefined || at + length > message.length) throw new Error(`a field that is none, at ${start}`);
    const content = message.subarray(at, at + length);
    at += length;
    found.push({ field: Math.floor(tag / 8), content, whole: message.subarray(start, at) });
  }
  return found;
}

const textOf = (message, wanted) => new TextDecoder().decode(fields(message).find(({ field }) => field === wanted).content);

/**
 * A model whose inputs have these shapes, and which declares none of any other tensor. Weights that are declared as inputs too
 * are declared so no more: an engine could not compute with them ahead.
 */
export function restated(model, shapes) {
  const graph = (message) => fields(message).flatMap(({ field, content, whole }) => {
    if (field === 11) return Object.entries(shapes).filter(([name]) => name === textOf(content, 1)).map(([name, shape]) => value(11, name, shape));
    if (field === 13) return [];
    return field === 12 ? [bytes(12, [bytes(1, textOf(content, 1)), bytes(2, [bytes(1, [number(1, float)])])])] : [whole];
  });
  return joined(fields(model).map(({ field, content, whole }) => (field === 7 ? bytes(7, graph(content)) : whole)));
}
