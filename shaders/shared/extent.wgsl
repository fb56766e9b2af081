// extent: the sizes of one step, in a uniform that is written when a program is bound.

struct Extent {
    // Where this step starts in the whole grid of workgroups.
    first_workgroup_x: u32, first_workgroup_y: u32, first_workgroup_z: u32,
    // Where each tensor starts in its binding, in elements, in the order of the bindings. If only later elements of a
    // tensor are bound, it starts before its binding: then this is below zero and wraps, and adding to it wraps back.
    input_offset: u32, weight_offset: u32, bias_offset: u32, residual_offset: u32, output_offset: u32,
    // Of a separable layer's first weight and bias; or of what the input's channels are multiplied by.
    offset_6: u32, offset_7: u32,
    batch: u32,
    in_channels: u32, in_height: u32, in_width: u32,
    out_channels: u32, out_height: u32, out_width: u32,
    in_channels_per_group: u32, out_channels_per_group: u32,
    // Where the window of the first output starts in the input: below zero in the padding.
    top: i32, left: i32,
    // The rows of the input that are bound, both included.
    first_row: i32, last_row: i32,
    // The input channels of a group that this step sums over, the last one not included.
    first_in_channel: u32, last_in_channel: u32,
    // How many filters each input channel of a separable layer has.
    depth_multiplier: u32,
    // The limits, or the slope, of the activations.
    activation_low: f32, activation_high: f32,
    between_low: f32, between_high: f32,
    // Where the whole window of an average pool's first output starts in what its mean counts, and how large that is.
    count_top: i32, count_left: i32, count_height: u32, count_width: u32,
    // The rows of Winograd's tiles of each image: the first one that this step has, and how many.
    first_tile_row: u32, tile_rows: u32,
}

@group(0) @binding(0) var<uniform> extent: Extent;
