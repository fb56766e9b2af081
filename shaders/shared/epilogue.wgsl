// epilogue: how every sum starts and ends.

const CONTINUES: bool = false;  // whether an earlier part began these sums
const FINISHES: bool = true;  // whether no later part goes on with them
const HAS_BIAS: bool = true;
const HAS_RESIDUAL: bool = false;
const ACTIVATION: u32 = 0u;  // see activation.wgsl

@group(0) @binding(3) var<storage, read> bias: array<Element>;
@group(0) @binding(4) var<storage, read> residual: array<Element>;

// What a sum starts from.
fn start(channel: u32) -> f32 {
    if HAS_BIAS && !CONTINUES { return f32(bias[extent.bias_offset + channel]); }
    return 0.0;
}

// Residual and activation. A sum that continues adds to what is stored.
fn finished(sum: f32, index: u32) -> f32 {
    var y = sum;
    if CONTINUES { y += f32(output[extent.output_offset + index]); }
    if FINISHES {
        if HAS_RESIDUAL { y += f32(residual[extent.residual_offset + index]); }
        y = activate(y, ACTIVATION, extent.activation_low, extent.activation_high);
    }
    return y;
}

fn finish(sum: f32, index: u32) { store(finished(sum, index), index); }
