// pointwise: a 1 x 1 convolution, dense or grouped, as the matrix product that it is.
//
// Formula    y[n,o,i,j] = act(b[o] + r[n,o,i,j] + sum over c of w[o,c] x[n, g C + c, i s, j s])
// Mapping    One invocation: CHANNEL_TILE output channels of one group times PIXEL_TILE pixels, in registers. One
//            workgroup: WORKGROUP_WIDTH invocations along the pixels, an invocation's pixels WORKGROUP_WIDTH apart so
//            that neighbouring invocations read neighbouring values, times WORKGROUP_HEIGHT along the channels. Grid:
//            x over pixels, y over channels, z over image and group.
// Traffic    The input is read once per channel tile, the weights once per pixel tile; each output is written once.
// Needs      kernel_size 1, no padding.
// Bound by   Arithmetic when in_channels and out_channels are large, memory otherwise. An input channel costs
//            CHANNEL_TILE + PIXEL_TILE loads for CHANNEL_TILE * PIXEL_TILE multiply-adds.
// Rust row   src/kernels/pointwise.rs

// Structure: the host replaces these values, and each set of them is one pipeline.
const STRIDE_HEIGHT: u32 = 1u;
const STRIDE_WIDTH: u32 = 1u;
const CONTINUES: bool = false;  // whether an earlier dispatch began these sums
const FINISHES: bool = true;  // whether no later one goes on with them
const HAS_BIAS: bool = true;
const HAS_RESIDUAL: bool = false;
const ACTIVATION: u32 = 0u;  // 0 none, 1 limits, 2 leaky relu, 3 silu, 4 hardswish
const WORKGROUP_WIDTH: u32 = 16u;
const WORKGROUP_HEIGHT: u32 = 4u;
const CHANNEL_TILE: u32 = 8u;  // output channels per invocation, a multiple of 4
const PIXEL_TILE: u32 = 4u;  // output pixels per invocation, a multiple of 4

// Tiles are kept in fours: a compiler that unrolls only short loops then still unrolls these, and so keeps the sums in
// registers.
const CHANNEL_FOURS: u32 = CHANNEL_TILE / 4u;
const PIXEL_FOURS: u32 = PIXEL_TILE / 4u;

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
    let first_pixel = (workgroup.x + extent.first_workgroup_x) * WORKGROUP_WIDTH * PIXEL_TILE + local.x;
    let tile = ((workgroup.y + extent.first_workgroup_y) * WORKGROUP_HEIGHT + local.y) * CHANNEL_TILE;
    let slice = workgroup.z + extent.first_workgroup_z;
    let groups = extent.out_channels / extent.out_channels_per_group;
    let group = slice % groups;
    let image = slice / groups;
    let out_plane = extent.out_height * extent.out_width;
    if first_pixel >= out_plane || tile >= extent.out_channels_per_group { return; }

    let in_plane = extent.in_height * extent.in_width;
    let first_plane = extent.input_offset + (image * extent.in_channels + group * extent.in_channels_per_group) * in_plane;
    let first_channel = group * extent.out_channels_per_group + tile;
    let channels = min(CHANNEL_TILE, extent.out_channels_per_group - tile);

    // Where each pixel is read and each channel's weights start. Past the last one the first is read again, not stored.
    var pixels: array<vec4u, PIXEL_FOURS>;
    for (var f = 0u; f < PIXEL_FOURS; f++) {
        let ahead = first_pixel + (4u * f + vec4u(0u, 1u, 2u, 3u)) * WORKGROUP_WIDTH;
        let pixel = select(vec4u(first_pixel), ahead, ahead < vec4u(out_plane));
        if STRIDE_HEIGHT == 1u && STRIDE_WIDTH == 1u {
            pixels[f] = first_plane + pixel;
        } else {
            let row = pixel / extent.out_width;
            let column = pixel % extent.out_width;
            pixels[f] = first_plane + row * STRIDE_HEIGHT * extent.in_width + column * STRIDE_WIDTH;
        }
    }
    var filters: array<vec4u, CHANNEL_FOURS>;
    for (var f = 0u; f < CHANNEL_FOURS; f++) {
        let ahead = 4u * f + vec4u(0u, 1u, 2u, 3u);
        let channel = first_channel + select(vec4u(0u), ahead, ahead < vec4u(channels));
        filters[f] = extent.weight_offset + channel * extent.in_channels_per_group;
    }

    var sums: array<array<array<vec4f, PIXEL_FOURS>, 4>, CHANNEL_FOURS>;
    for (var o = 0u; o < CHANNEL_FOURS; o++) {
        for (var i = 0u; i < 4u; i++) {
            let first = vec4f(start(first_channel + min(4u * o + i, channels - 1u)));
            for (var f = 0u; f < PIXEL_FOURS; f++) { sums[o][i][f] = first; }
        }
    }
    for (var c = extent.first_in_channel; c < extent.last_in_channel; c++) {
        var values: array<vec4f, PIXEL_FOURS>;
        for (var f = 0u; f < PIXEL_FOURS; f++) {
            let at = pixels[f] + c * in_plane;
            values[f] = vec4f(input[at.x], input[at.y], input[at.z], input[at.w]);
        }
        for (var o = 0u; o < CHANNEL_FOURS; o++) {
            for (var i = 0u; i < 4u; i++) {
                let factor = vec4f(weight[filters[o][i] + c]);
                for (var f = 0u; f < PIXEL_FOURS; f++) { sums[o][i][f] = fma(factor, values[f], sums[o][i][f]); }
            }
        }
    }

    for (var o = 0u; o < CHANNEL_FOURS; o++) {
        for (var i = 0u; i < 4u; i++) {
            if 4u * o + i >= channels { continue; }
            let channel = first_channel + 4u * o + i;
            let first_output = (image * extent.out_channels + channel) * out_plane;
            for (var f = 0u; f < PIXEL_FOURS; f++) {
                for (var t = 0u; t < 4u; t++) {
                    let pixel = first_pixel + (4u * f + t) * WORKGROUP_WIDTH;
                    if pixel < out_plane { finish(sums[o][i][f][t], first_output + pixel); }
                }
            }
        }
    }
}
