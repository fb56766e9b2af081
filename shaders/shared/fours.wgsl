// fours: tensors that are read and written four neighbours of a row at a time. Each tensor starts at a multiple of four
// values, and so does each row.

@group(0) @binding(1) var<storage, read> input: array<InputFour>;
@group(0) @binding(4) var<storage, read> residual: array<Four>;
@group(0) @binding(5) var<storage, read_write> output: array<OutputFour>;

fn input_four(index: u32) -> vec4f { return vec4f(input[index / 4u]); }

// Residual, activation, store: see epilogue.wgsl. Only what is stored last is behind a condition, which then takes no branch:
// sums that are not stored take what they add from another place.
fn finish_row(sums: vec4f, index: u32, other: u32, is_stored: bool) {
    var y = sums;
    let place = select(other, index, is_stored);
    if CONTINUES { y += vec4f(output[place]); }
    if FINISHES {
        let residual_place = extent.residual_offset / 4u - extent.output_offset / 4u + place;
        if HAS_RESIDUAL && !ACTIVATION_FIRST { y += vec4f(residual[residual_place]); }
        for (var t = 0u; t < 4u; t++) {
            y[t] = activate(y[t], ACTIVATION, extent.activation_low, extent.activation_high);
        }
        if HAS_RESIDUAL && ACTIVATION_FIRST { y += vec4f(residual[residual_place]); }
    }
    if is_stored { output[index] = OutputFour(y); }
}
