// input_scale: what each input channel of each image is multiplied by, such as squeeze and excitation makes it.

const HAS_INPUT_SCALE: bool = false;

@group(0) @binding(6) var<storage, read> input_scale: array<Element>;

// The factor of a channel, counted over all images.
fn scale_at(channel: u32) -> f32 {
    if HAS_INPUT_SCALE { return f32(input_scale[extent.offset_6 + channel]); }
    return 1.0;
}
