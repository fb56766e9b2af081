// What several tests in the browser use.

/** The tensors of a safetensors file: a length in 8 bytes, a header in JSON, the data. */
export function parse(buffer) {
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  delete header.__metadata__;
  const tensors = {};
  for (const [name, { dtype, shape, data_offsets: [start, end] }] of Object.entries(header)) {
    if (dtype !== "F32") throw new Error(`${name} is ${dtype}`);
    tensors[name] = { shape, values: new Float32Array(buffer.slice(8 + length + start, 8 + length + end)) };
  }
  return tensors;
}

/** What a call throws: its kind and words. */
export function thrown(call) {
  try {
    call();
  } catch (error) {
    return `${error.name}: ${error.message}`;
  }
  return "nothing";
}
