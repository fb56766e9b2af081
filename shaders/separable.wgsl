// separable: a depthwise convolution and the 1 x 1 convolution that mixes its channels, in one dispatch.
//
// Formula    z[n,m,i,j] = act'(b'[m] + sum over p,q of v[m,p,q] x[n, m / M, i s - P + p d, j s - P + q d])
//            y[n,o,i,j] = act(b[o] + r[n,o,i,j] + sum over m of w[o,m] z[n,m,i,j])
// Mapping    One workgroup: PIXELS pixels, of all images one after another, times CHANNELS output channels. It computes z
//            for its pixels, DEPTH channels at a time, into workgroup memory, and then multiplies them: one invocation
//            4 neighbouring pixels times CHANNEL_TILE channels, in registers. Grid: x over pixels, y over channels.
// Traffic    z never goes to memory. Where one workgroup has all output channels, z is computed once, and else once per
//            workgroup along the channels. Each output is written once.
// Needs      Nothing of the layer; workgroups of 256 invocations with 16 KiB of memory, 7 storage buffers.
// Bound by   Arithmetic, and reads of workgroup memory, for many channels; memory for few.
// Rust row   src/kernels/separable.rs

// Structure: the host replaces these values, and each set of them is one pipeline.
const KERNEL_HEIGHT: u32 = 3u;
const KERNEL_WIDTH: u32 = 3u;
const STRIDE_HEIGHT: u32 = 1u;
const STRIDE_WIDTH: u32 = 1u;
const DILATION_HEIGHT: u32 = 1u;
const DILATION_WIDTH: u32 = 1u;
const PADDING_MODE: u32 = 0u;  // 0 zeros, 1 reflect, 2 replicate, 3 circular
const CONTINUES: bool = false;  // these sums are never cut
const FINISHES: bool = true;
const HAS_BETWEEN_BIAS: bool = true;
const BETWEEN_ACTIVATION: u32 = 0u;  // 0 none, 1 limits, 2 leaky relu, 3 silu, 4 hardswish
const HAS_BIAS: bool = true;
const HAS_RESIDUAL: bool = false;
const ACTIVATION: u32 = 0u;
const PIXEL_FOURS: u32 = 16u;  // invocations along the pixels
const CHANNEL_TILES: u32 = 8u;  // invocations along the channels
const CHANNEL_TILE: u32 = 8u;  // output channels per invocation, a multiple of 4
const DEPTH: u32 = 16u;  // channels in between that are in workgroup memory at a time

const PIXELS: u32 = 4u * PIXEL_FOURS;
const CHANNELS: u32 = CHANNEL_TILE * CHANNEL_TILES;
const CHANNEL_FOURS: u32 = CHANNEL_TILE / 4u;
const TEAM: u32 = PIXEL_FOURS * CHANNEL_TILES;

struct Extent {
    in_channels: u32, in_height: u32, in_width: u32,
    out_channels: u32, out_height: u32, out_width: u32,
    batch: u32, depth_multiplier: u32,
    padding_top: u32, padding_left: u32,
    // Where each tensor starts in its binding, in elements.
    input_offset: u32, between_weight_offset: u32, between_bias_offset: u32,
    weight_offset: u32, bias_offset: u32, residual_offset: u32, output_offset: u32,
    // The limits, or the slope, of the activations.
    between_low: f32, between_high: f32,
    activation_low: f32, activation_high: f32,
    unused_0: u32, unused_1: u32, unused_2: u32,
}

@group(0) @binding(0) var<uniform> extent: Extent;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> between_weight: array<f32>;
@group(0) @binding(3) var<storage, read> between_bias: array<f32>;
@group(0) @binding(4) var<storage, read> weight: array<f32>;
@group(0) @binding(5) var<storage, read> bias: array<f32>;
@group(0) @binding(6) var<storage, read> residual: array<f32>;
@group(0) @binding(7) var<storage, read_write> output: array<f32>;

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

// Values in between by channel and pixel, and the weights that mix them by channel and output channel.
var<workgroup> values: array<array<vec4f, PIXEL_FOURS>, DEPTH>;
var<workgroup> factors: array<array<vec4f, CHANNELS / 4u>, DEPTH>;

@compute @workgroup_size(PIXEL_FOURS, CHANNEL_TILES)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_id) local: vec3u) {
    let first_pixel = workgroup.x * PIXELS;
    let first_tile = workgroup.y * CHANNELS;
    let out_plane = extent.out_height * extent.out_width;
    let pixels = extent.batch * out_plane;
    let in_plane = extent.in_height * extent.in_width;
    let height = i32(extent.in_height);
    let width = i32(extent.in_width);
    let between_channels = extent.in_channels * extent.depth_multiplier;

    // The four pixels of this invocation, which it also computes in between for the others along the channels. Workgroup
    // memory is written four values at a time: writing one may touch the three beside it.
    let own = first_pixel + 4u * local.x + vec4u(0u, 1u, 2u, 3u);
    let computed = min(own, vec4u(pixels - 1u));
    let position = computed % out_plane;
    let tops = vec4i(position / extent.out_width * STRIDE_HEIGHT) - i32(extent.padding_top);
    let lefts = vec4i(position % extent.out_width * STRIDE_WIDTH) - i32(extent.padding_left);
    let first_channels = computed / out_plane * extent.in_channels;

    var sums: array<array<vec4f, 4>, CHANNEL_FOURS>;
    for (var first_between = 0u; first_between < between_channels; first_between += DEPTH) {
        for (var d = local.y; d < DEPTH; d += CHANNEL_TILES) {
            let channel = first_between + d;
            var four = vec4f();
            if channel < between_channels {
                if HAS_BETWEEN_BIAS { four = vec4f(between_bias[extent.between_bias_offset + channel]); }
                let planes = extent.input_offset + (first_channels + channel / extent.depth_multiplier) * in_plane;
                let filter_start = extent.between_weight_offset + channel * KERNEL_HEIGHT * KERNEL_WIDTH;
                for (var p = 0u; p < KERNEL_HEIGHT; p++) {
                    for (var q = 0u; q < KERNEL_WIDTH; q++) {
                        let tap = between_weight[filter_start + p * KERNEL_WIDTH + q];
                        var taken = vec4f();
                        for (var t = 0u; t < 4u; t++) {
                            let y = tops[t] + i32(p * DILATION_HEIGHT);
                            let x = lefts[t] + i32(q * DILATION_WIDTH);
                            if PADDING_MODE != 0u || (y >= 0 && y < height && x >= 0 && x < width) {
                                taken[t] = input[planes[t] + u32(source(y, height)) * extent.in_width + u32(source(x, width))];
                            }
                        }
                        four = fma(vec4f(tap), taken, four);
                    }
                }
                for (var t = 0u; t < 4u; t++) {
                    four[t] = activate(four[t], BETWEEN_ACTIVATION, extent.between_low, extent.between_high);
                }
            }
            values[d][local.x] = four;
        }
        // Neighbouring invocations read neighbouring channels in between. Past the last output channel that one again.
        for (var i = local.y * PIXEL_FOURS + local.x; i < DEPTH * CHANNELS / 4u; i += TEAM) {
            let channel = first_between + i % DEPTH;
            var four = vec4f();
            for (var t = 0u; t < 4u; t++) {
                let out_channel = min(first_tile + i / DEPTH * 4u + t, extent.out_channels - 1u);
                if channel < between_channels {
                    four[t] = weight[extent.weight_offset + out_channel * between_channels + channel];
                }
            }
            factors[i % DEPTH][i / DEPTH] = four;
        }
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k++) {
            let four = values[k][local.x];
            for (var o = 0u; o < CHANNEL_FOURS; o++) {
                let factor = factors[k][local.y * CHANNEL_FOURS + o];
                for (var c = 0u; c < 4u; c++) { sums[o][c] = fma(vec4f(factor[c]), four, sums[o][c]); }
            }
        }
        // The next channels replace these.
        workgroupBarrier();
    }

    for (var o = 0u; o < CHANNEL_FOURS; o++) {
        for (var c = 0u; c < 4u; c++) {
            let channel = first_tile + local.y * CHANNEL_TILE + 4u * o + c;
            if channel >= extent.out_channels { continue; }
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
