// fours: a kernel's input, residual and output, four neighbouring values at a time. Each of the three starts at a multiple of
// four values, and so does each four.

@group(0) @binding(1) var<storage, read> input_fours: array<vec4<Element>>;
@group(0) @binding(4) var<storage, read> residual_fours: array<vec4<Element>>;
@group(0) @binding(5) var<storage, read_write> output_fours: array<vec4<Element>>;

fn input_four(index: u32) -> vec4f { return vec4f(input_fours[index / 4u]); }

// What epilogue.wgsl has for one output, for four of them, which are counted in fours.
fn finished_four(sums: vec4f, four: u32) -> vec4f {
    var y = sums;
    if CONTINUES { y += vec4f(output_fours[extent.output_offset / 4u + four]); }
    if FINISHES {
        if HAS_RESIDUAL { y += vec4f(residual_fours[extent.residual_offset / 4u + four]); }
        for (var t = 0u; t < 4u; t++) { y[t] = activate(y[t], ACTIVATION, extent.activation_low, extent.activation_high); }
    }
    return y;
}

fn store_four(value: vec4f, four: u32) { output_fours[extent.output_offset / 4u + four] = vec4<Element>(value); }
