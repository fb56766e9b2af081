// direct: any convolution, straight from its definition.
//
// Formula    y[n,o,i,j] = act(b[o] + r[n,o,i,j] + sum over c,p,q of w[o,c,p,q] x[n, g C + c, i s - P + p d, j s - P + q d])
// Mapping    One workgroup: a WORKGROUP_WIDTH x WORKGROUP_HEIGHT patch of the output, CHANNEL_TILE output channels
//            of one group. Grid: x over columns, y over rows, z over image, group and channel tile.
// Traffic    Each input value is read once per tap and channel tile, through the cache; each weight once per workgroup
//            that uses it (all its invocations read the same one); each output is written once.
// Needs      Nothing.
// Bound by   Loads: one input and CHANNEL_TILE weights for CHANNEL_TILE multiply-adds.
// Rust row   src/kernels/direct.rs

// Structure: the host replaces these values, and each set of them is one pipeline.
const KERNEL_HEIGHT: u32 = 3u;
const KERNEL_WIDTH: u32 = 3u;
const STRIDE_HEIGHT: u32 = 1u;
const STRIDE_WIDTH: u32 = 1u;
const DILATION_HEIGHT: u32 = 1u;
const DILATION_WIDTH: u32 = 1u;
const PADDING_MODE: u32 = 0u;  // 0 zeros, 1 reflect, 2 replicate, 3 circular
const CONTINUES: bool = false;  // whether an earlier dispatch began these sums
const FINISHES: bool = true;  // whether no later one goes on with them
const HAS_BIAS: bool = true;
const HAS_RESIDUAL: bool = false;
const ACTIVATION: u32 = 0u;  // 0 none, 1 limits, 2 leaky relu, 3 silu, 4 hardswish
const WORKGROUP_WIDTH: u32 = 8u;
const WORKGROUP_HEIGHT: u32 = 8u;
const CHANNEL_TILE: u32 = 4u;  // output channels per invocation

struct Extent {
    in_channels: u32, in_height: u32, in_width: u32,
    out_channels: u32, out_height: u32, out_width: u32,
    in_channels_per_group: u32, out_channels_per_group: u32,
    padding_top: u32, padding_left: u32,
    // Where each tensor starts in its binding, in elements.
    input_offset: u32, weight_offset: u32, bias_offset: u32, residual_offset: u32, output_offset: u32,
    // Where this dispatch starts in the whole grid of workgroups.
    first_workgroup_x: u32, first_workgroup_y: u32, first_workgroup_z: u32,
    // The limits, or the slope, of the activation.
    activation_low: f32, activation_high: f32,
    // The input channels of a group that this dispatch sums over, the last one not included.
    first_in_channel: u32, last_in_channel: u32,
    batch: u32, unused: u32,
}

@group(0) @binding(0) var<uniform> extent: Extent;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> residual: array<f32>;
@group(0) @binding(5) var<storage, read_write> output: array<f32>;

// The index within an axis of `size` that `position` means, which may lie in the padding.
// Zero padding is the caller's to leave out.
fn source(position: i32, size: i32) -> i32 {
    switch PADDING_MODE {
        case 1u: { return size - 1 - abs(size - 1 - abs(position)); }
        case 2u: { return clamp(position, 0, size - 1); }
        case 3u: { return select(select(position, position - size, position >= size), position + size, position < 0); }
        default: { return position; }
    }
}

// Written with comparisons, not min and max, so that a NaN passes through. `low` and `high` are its limits, or `low` its
// slope.
fn activate(x: f32, activation: u32, low: f32, high: f32) -> f32 {
    switch activation {
        case 1u: {
            let raised = select(x, low, x < low);
            return select(raised, high, x > high);
        }
        case 2u: { return select(x, x * low, x < 0.0); }
        case 3u: { return x / (1.0 + exp(-x)); }
        case 4u: { return select(x * min(x + 3.0, 6.0) / 6.0, 0.0, x <= -3.0); }
        default: { return x; }
    }
}

// What a sum starts from.
fn start(channel: u32) -> f32 {
    if HAS_BIAS && !CONTINUES { return bias[extent.bias_offset + channel]; }
    return 0.0;
}

// The fused end of every kernel: residual, activation, store. A sum that is cut goes on from what is stored.
fn finish(sum: f32, index: u32) {
    var y = sum;
    if CONTINUES { y += output[extent.output_offset + index]; }
    if !FINISHES {
        output[extent.output_offset + index] = y;
        return;
    }
    if HAS_RESIDUAL { y += residual[extent.residual_offset + index]; }
    output[extent.output_offset + index] = activate(y, ACTIVATION, extent.activation_low, extent.activation_high);
}

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
    let top = i32(row * STRIDE_HEIGHT) - i32(extent.padding_top);
    let left = i32(column * STRIDE_WIDTH) - i32(extent.padding_left);
    let weights_per_channel = extent.in_channels_per_group * KERNEL_HEIGHT * KERNEL_WIDTH;
    let plane = extent.in_height * extent.in_width;
    let first_plane = extent.input_offset + (image * extent.in_channels + group * extent.in_channels_per_group) * plane;

    // Where each channel's filter starts. Past the group's last channel the first one is read again and not stored.
    var filters: array<u32, CHANNEL_TILE>;
    for (var t = 0u; t < CHANNEL_TILE; t++) {
        filters[t] = extent.weight_offset + (first_channel + select(0u, t, t < channels)) * weights_per_channel;
    }

    var sums: array<f32, CHANNEL_TILE>;
    for (var t = 0u; t < channels; t++) { sums[t] = start(first_channel + t); }
    for (var c = extent.first_in_channel; c < extent.last_in_channel; c++) {
        for (var p = 0u; p < KERNEL_HEIGHT; p++) {
            let y = top + i32(p * DILATION_HEIGHT);
            if PADDING_MODE == 0u && (y < 0 || y >= i32(extent.in_height)) { continue; }
            let line = first_plane + c * plane + u32(source(y, i32(extent.in_height))) * extent.in_width;
            for (var q = 0u; q < KERNEL_WIDTH; q++) {
                let x = left + i32(q * DILATION_WIDTH);
                if PADDING_MODE == 0u && (x < 0 || x >= i32(extent.in_width)) { continue; }
                let value = input[line + u32(source(x, i32(extent.in_width)))];
                let tap = (c * KERNEL_HEIGHT + p) * KERNEL_WIDTH + q;
                for (var t = 0u; t < CHANNEL_TILE; t++) {
                    sums[t] = fma(value, weight[filters[t] + tap], sums[t]);
                }
            }
        }
    }

    let out_plane = extent.out_height * extent.out_width;
    let first_output = (image * extent.out_channels + first_channel) * out_plane + row * extent.out_width + column;
    for (var t = 0u; t < channels; t++) {
        finish(sums[t], first_output + t * out_plane);
    }
}
