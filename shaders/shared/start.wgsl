// start: how every sum starts, and what follows it.

const CONTINUES: bool = false;  // whether an earlier part began these sums
const FINISHES: bool = true;  // whether no later part goes on with them
const HAS_BIAS: bool = true;
const HAS_RESIDUAL: bool = false;
const ACTIVATION: u32 = 0u;  // see activation.wgsl
const ACTIVATION_FIRST: bool = false;  // whether the residual is added behind it

@group(0) @binding(3) var<storage, read> bias: array<Element>;

// What a sum starts from.
fn start(channel: u32) -> f32 {
    if HAS_BIAS && !CONTINUES { return f32(bias[extent.bias_offset + channel]); }
    return 0.0;
}
