// epilogue: how every sum ends.

@group(0) @binding(4) var<storage, read> residual: array<Element>;

// Residual and activation. A sum that continues adds to what is stored.
fn finished(sum: f32, index: u32) -> f32 {
    var y = sum;
    if CONTINUES { y += f32(output[extent.output_offset + index]); }
    if FINISHES {
        if HAS_RESIDUAL && !ACTIVATION_FIRST { y += f32(residual[extent.residual_offset + index]); }
        y = activate(y, ACTIVATION, extent.activation_low, extent.activation_high);
        if HAS_RESIDUAL && ACTIVATION_FIRST { y += f32(residual[extent.residual_offset + index]); }
    }
    return y;
}

fn finish(sum: f32, index: u32) { store(finished(sum, index), index); }
