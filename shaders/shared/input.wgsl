// input: the tensor that every kernel reads.

@group(0) @binding(1) var<storage, read> input: array<InputElement>;

fn input_at(index: u32) -> f32 { return f32(input[index]); }
