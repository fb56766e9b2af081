// output: the tensor that every kernel writes.

@group(0) @binding(5) var<storage, read_write> output: array<OutputElement>;

fn store(value: f32, index: u32) { output[extent.output_offset + index] = OutputElement(value); }
