// direct: any convolution, straight from its definition.
//
// Formula    y[n,o,i,j] = act(b[o] + r[n,o,i,j]
//                             + sum over c,p,q of w[o,c,p,q] x[n, g C + c, i s - P + p d, j s - P + q d])
// Mapping    One invocation: one pixel of CHANNEL_TILE output channels of one group. One workgroup: WORKGROUP_WIDTH x
//            WORKGROUP_HEIGHT pixels. Grid: x over columns, y over rows, z over image, group and channel tile.
// Traffic    Each input value is read once per tap and channel tile, through the cache. Each weight is read once per
//            workgroup that uses it: all its invocations read the same one. Each output is written once.
// Needs      Nothing.
// Bound by   Loads: one input and CHANNEL_TILE weights for CHANNEL_TILE multiply-adds.
// Rust row   src/kernels/direct.rs

// Structure: the host replaces these values, and each set of them is one pipeline.
const WORKGROUP_WIDTH: u32 = 8u;
const WORKGROUP_HEIGHT: u32 = 8u;
const CHANNEL_TILE: u32 = 4u;  // output channels per invocation

@compute @workgroup_size(WORKGROUP_WIDTH, WORKGROUP_HEIGHT)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_id) local: vec3u) {
    let column = (workgroup.x + extent.first_workgroup_x) * WORKGROUP_WIDTH + local.x;
    let row = (workgroup.y + extent.first_workgroup_y) * WORKGROUP_HEIGHT + local.y;
    if column >= extent.out_width || row >= extent.out_height { return; }

    let tiles = (extent.out_channels_per_group + CHANNEL_TILE - 1u) / CHANNEL_TILE;
    let slice = workgroup.z + extent.first_workgroup_z;
    let tile = slice % tiles;
    let groups = extent.out_channels / extent.out_channels_per_group;
    let group = slice / tiles % groups;
    let image = slice / tiles / groups;

    let first_channel = group * extent.out_channels_per_group + tile * CHANNEL_TILE;
    let channels = min(CHANNEL_TILE, extent.out_channels_per_group - tile * CHANNEL_TILE);
    let axes = input_axes();
    let top = i32(row * STRIDE_HEIGHT) + extent.top;
    let left = i32(column * STRIDE_WIDTH) + extent.left;
    let weights_per_channel = extent.in_channels_per_group * TAPS;
    let plane = extent.in_height * extent.in_width;
    let first_in_channel = image * extent.in_channels + group * extent.in_channels_per_group;
    let first_plane = extent.input_offset + first_in_channel * plane;

    // Where each channel's filter starts. Past the group's last channel, the first one is computed again and not stored: loops
    // over all of a tile can be written out, and then its sums are in registers.
    var filters: array<u32, CHANNEL_TILE>;
    var sums: array<f32, CHANNEL_TILE>;
    for (var t = 0u; t < CHANNEL_TILE; t++) {
        let channel = first_channel + select(0u, t, t < channels);
        filters[t] = extent.weight_offset + channel * weights_per_channel;
        sums[t] = start(channel);
    }
    for (var c = extent.first_in_channel; c < extent.last_in_channel; c++) {
        let scale = scale_at(first_in_channel + c);
        for (var p = 0u; p < KERNEL_HEIGHT; p++) {
            let y = top + i32(p * DILATION_HEIGHT);
            let line = row_at(axes, first_plane + c * plane, y);
            if !line.inside { continue; }
            for (var q = 0u; q < KERNEL_WIDTH; q++) {
                let x = left + i32(q * DILATION_WIDTH);
                if !is_inside(x, axes.width) { continue; }
                let value = scale * input_at(line.start + u32(source(x, axes.width)));
                let tap = (c * KERNEL_HEIGHT + p) * KERNEL_WIDTH + q;
                for (var t = 0u; t < CHANNEL_TILE; t++) {
                    sums[t] = fma(value, weight_at(filters[t] + tap), sums[t]);
                }
            }
        }
    }

    let out_plane = extent.out_height * extent.out_width;
    let first_output = (image * extent.out_channels + first_channel) * out_plane + row * extent.out_width + column;
    for (var t = 0u; t < CHANNEL_TILE; t++) {
        if t < channels { finish(sums[t], first_output + t * out_plane); }
    }
}
