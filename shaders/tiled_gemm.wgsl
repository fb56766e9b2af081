// tiled_gemm: a normal, grouped or 1 x 1 convolution as a matrix product, its register tiles fed from workgroup memory.
//
// Formula    y[n,o,i,j] = act(b[o] + r[n,o,i,j] + sum over k of w[o,k] x[n, g C + k / KK, i s - P + p d, j s - P + q d]),
//            KK = KERNEL_HEIGHT * KERNEL_WIDTH, p = k % KK / KERNEL_WIDTH, q = k % KERNEL_WIDTH
// Mapping    One workgroup: PIXELS pixels, of all images one after another, times CHANNELS output channels of one group.
//            One invocation: 4 neighbouring pixels times CHANNEL_TILE channels, in registers. SPLIT teams of
//            invocations take turns over the terms k, DEPTH at a time, and add their sums up at the end: so that a few
//            pixels with long sums still fill a device. Grid: x over pixels, y over channels, z over groups.
// Traffic    An input value is read once per tap and workgroup along the channels, a weight once per workgroup along the
//            pixels; from workgroup memory an invocation reads 4 + CHANNEL_TILE values per 4 * CHANNEL_TILE multiply-adds.
// Needs      4 output channels per group; CHANNEL_TILES of at most DEPTH.
// Bound by   Arithmetic, and reads of workgroup memory, for long sums; memory for short ones.
// Rust row   src/kernels/tiled_gemm.rs

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
const PIXEL_FOURS: u32 = 16u;  // invocations along the pixels
const CHANNEL_TILES: u32 = 8u;  // invocations along the channels
const SPLIT: u32 = 1u;  // teams along the sum
const CHANNEL_TILE: u32 = 8u;  // output channels per invocation, a multiple of 4
const DEPTH: u32 = 16u;  // terms of the sum that are in workgroup memory at a time, per team

const PIXELS: u32 = 4u * PIXEL_FOURS;
const CHANNELS: u32 = CHANNEL_TILE * CHANNEL_TILES;
const CHANNEL_FOURS: u32 = CHANNEL_TILE / 4u;
const TEAM: u32 = PIXEL_FOURS * CHANNEL_TILES;
const TAPS: u32 = KERNEL_HEIGHT * KERNEL_WIDTH;

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

// Per team: input values by term and pixel, weights by term and channel.
var<workgroup> values: array<array<array<vec4f, PIXEL_FOURS>, DEPTH>, SPLIT>;
var<workgroup> factors: array<array<array<vec4f, CHANNELS / 4u>, DEPTH>, SPLIT>;

@compute @workgroup_size(PIXEL_FOURS, CHANNEL_TILES, SPLIT)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_id) local: vec3u) {
    let first_pixel = (workgroup.x + extent.first_workgroup_x) * PIXELS;
    let first_tile = (workgroup.y + extent.first_workgroup_y) * CHANNELS;
    let group = workgroup.z + extent.first_workgroup_z;
    let out_plane = extent.out_height * extent.out_width;
    let pixels = extent.batch * out_plane;
    let in_plane = extent.in_height * extent.in_width;
    let height = i32(extent.in_height);
    let width = i32(extent.in_width);
    let team = local.z;
    let terms = extent.in_channels_per_group * TAPS;
    let last_term = extent.last_in_channel * TAPS;

    // The four pixels of this invocation, which it also fetches values of for the others along the channels. Workgroup
    // memory is written four values at a time: writing one may touch the three beside it.
    let own = first_pixel + 4u * local.x + vec4u(0u, 1u, 2u, 3u);
    let fetched = min(own, vec4u(pixels - 1u));
    let position = fetched % out_plane;
    let tops = vec4i(position / extent.out_width * STRIDE_HEIGHT) - i32(extent.padding_top);
    let lefts = vec4i(position % extent.out_width * STRIDE_WIDTH) - i32(extent.padding_left);
    let first_channels = fetched / out_plane * extent.in_channels + group * extent.in_channels_per_group;

    var sums: array<array<vec4f, 4>, CHANNEL_FOURS>;
    for (var start_term = extent.first_in_channel * TAPS; start_term < last_term; start_term += DEPTH * SPLIT) {
        let first_term = start_term + team * DEPTH;
        for (var d = local.y; d < DEPTH; d += CHANNEL_TILES) {
            let term = first_term + d;
            let tap = term % TAPS;
            let down = i32(tap / KERNEL_WIDTH * DILATION_HEIGHT);
            let along = i32(tap % KERNEL_WIDTH * DILATION_WIDTH);
            var four = vec4f();
            for (var t = 0u; t < 4u; t++) {
                let y = tops[t] + down;
                let x = lefts[t] + along;
                if term < last_term && (PADDING_MODE != 0u || (y >= 0 && y < height && x >= 0 && x < width)) {
                    let offset = u32(source(y, height)) * extent.in_width + u32(source(x, width));
                    four[t] = input[extent.input_offset + (first_channels[t] + term / TAPS) * in_plane + offset];
                }
            }
            values[team][d][local.x] = four;
        }
        // Neighbouring invocations read neighbouring terms. Past the group's last channel the last one is read again.
        for (var i = local.y * PIXEL_FOURS + local.x; i < DEPTH * CHANNELS / 4u; i += TEAM) {
            let term = first_term + i % DEPTH;
            var four = vec4f();
            for (var t = 0u; t < 4u; t++) {
                let channel = min(first_tile + i / DEPTH * 4u + t, extent.out_channels_per_group - 1u);
                let filter_index = group * extent.out_channels_per_group + channel;
                if term < last_term { four[t] = weight[extent.weight_offset + filter_index * terms + term]; }
            }
            factors[team][i % DEPTH][i / DEPTH] = four;
        }
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k++) {
            let four = values[team][k][local.x];
            for (var o = 0u; o < CHANNEL_FOURS; o++) {
                let factor = factors[team][k][local.y * CHANNEL_FOURS + o];
                for (var c = 0u; c < 4u; c++) { sums[o][c] = fma(vec4f(factor[c]), four, sums[o][c]); }
            }
        }
        // The next terms replace these.
        workgroupBarrier();
    }

    // The first team collects the others' sums, in the memory of its values: CHANNEL_TILES is at most DEPTH.
    for (var other = 1u; other < SPLIT; other++) {
        for (var o = 0u; o < CHANNEL_FOURS; o++) {
            for (var c = 0u; c < 4u; c++) {
                if team == other { values[0][local.y][local.x] = sums[o][c]; }
                workgroupBarrier();
                if team == 0u { sums[o][c] += values[0][local.y][local.x]; }
                workgroupBarrier();
            }
        }
    }
    if team != 0u { return; }

    for (var o = 0u; o < CHANNEL_FOURS; o++) {
        for (var c = 0u; c < 4u; c++) {
            let channel_in_group = first_tile + local.y * CHANNEL_TILE + 4u * o + c;
            if channel_in_group >= extent.out_channels_per_group { continue; }
            let channel = group * extent.out_channels_per_group + channel_in_group;
            let first = start(channel);
            for (var t = 0u; t < 4u; t++) {
                if own[t] < pixels {
                    let plane = own[t] / out_plane * extent.out_channels + channel;
                    finish(sums[o][c][t] + first, plane * out_plane + own[t] % out_plane);
                }
            }
        }
    }
}
