// between: the depthwise part of a separable layer that is computed in one step.

const HAS_BETWEEN_BIAS: bool = true;
const BETWEEN_ACTIVATION: u32 = 0u;  // see activation.wgsl

@group(0) @binding(6) var<storage, read> between_weight: array<Element>;
@group(0) @binding(7) var<storage, read> between_bias: array<Element>;

fn between_weight_at(index: u32) -> f32 { return f32(between_weight[extent.offset_6 + index]); }

// What a sum of a channel in between starts from.
fn between_start(channel: u32) -> f32 {
    if HAS_BETWEEN_BIAS { return f32(between_bias[extent.offset_7 + channel]); }
    return 0.0;
}

// What the pointwise part reads of that sum.
fn between_finish(sum: f32) -> f32 {
    return activate(sum, BETWEEN_ACTIVATION, extent.between_low, extent.between_high);
}
