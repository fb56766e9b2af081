// subgroup_separable: a depthwise convolution and the 1 x 1 one that mixes its channels, in one dispatch, in registers.
//
// Formula    z[n,m,i,j] = act'(b'[m] + sum over p,q of v[m,p,q] x[n, m / M, i s - P + p d, j s - P + q d])
//            y[n,o,i,j] = act(b[o] + r[n,o,i,j] + sum over m of w[o,m] z[n,m,i,j])
// Mapping    One workgroup is one subgroup of 8 invocations. One invocation: ROW_TILE x 4 neighbouring pixels times
//            CHANNEL_TILE output channels. It computes z for its pixels, one channel at a time, and adds it to all its
//            sums. Grid: x over the pixels of all images, y over channels.
// Traffic    z stays in registers. Where one invocation has all output channels, z is computed once, and else once per
//            CHANNEL_TILE of them. Each weight is read by one invocation of the subgroup, which broadcasts it.
// Needs      Subgroups of 8 invocations on a device that puts a workgroup of 8 into one of them; a window of at most 8
//            rows of 16 values; a filter of at most 64 taps; 7 storage buffers.
// Bound by   Loads, of which a software device does one per invocation at a time.
// Rust row   src/kernels/subgroup_separable.rs

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
const ROW_TILE: u32 = 2u;  // output rows per invocation
const CHANNEL_TILE: u32 = 64u;  // output channels per invocation, a multiple of 4

// The window of the input under one invocation's pixels.
const WINDOW_HEIGHT: u32 = (ROW_TILE - 1u) * STRIDE_HEIGHT + (KERNEL_HEIGHT - 1u) * DILATION_HEIGHT + 1u;
const WINDOW_WIDTH: u32 = 3u * STRIDE_WIDTH + (KERNEL_WIDTH - 1u) * DILATION_WIDTH + 1u;
const TAPS: u32 = KERNEL_HEIGHT * KERNEL_WIDTH;
// Tiles are kept in fours: see gemm.wgsl.
const WINDOW_FOURS: u32 = (WINDOW_WIDTH + 3u) / 4u;
const TAP_EIGHTS: u32 = (TAPS + 7u) / 8u;
const CHANNEL_FOURS: u32 = CHANNEL_TILE / 4u;
const CHANNEL_EIGHTS: u32 = (CHANNEL_TILE + 7u) / 8u;

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

// What four invocations of the subgroup hold, the first four or the last.
fn gather(own: f32, last: bool) -> vec4f {
    if last {
        return vec4f(
            subgroupBroadcast(own, 4u), subgroupBroadcast(own, 5u), subgroupBroadcast(own, 6u), subgroupBroadcast(own, 7u));
    }
    return vec4f(
        subgroupBroadcast(own, 0u), subgroupBroadcast(own, 1u), subgroupBroadcast(own, 2u), subgroupBroadcast(own, 3u));
}

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(local_invocation_id) local: vec3u,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let first_channel = workgroup.y * CHANNEL_TILE;
    let channels = min(CHANNEL_TILE, extent.out_channels - first_channel);
    let between_channels = extent.in_channels * extent.depth_multiplier;

    // Every invocation stays to the end, to hand its weights round; past the last pixels it works on them again.
    let across = (extent.out_width + 3u) / 4u;
    let down = (extent.out_height + ROW_TILE - 1u) / ROW_TILE;
    let tiles = extent.batch * down * across;
    let wanted = workgroup.x * 8u + local.x;
    let tile = min(wanted, tiles - 1u);
    let column = tile % across * 4u;
    let row = tile / across % down * ROW_TILE;
    let image = tile / across / down;

    let in_plane = extent.in_height * extent.in_width;
    let height = i32(extent.in_height);
    let width = i32(extent.in_width);
    let top = i32(row * STRIDE_HEIGHT) - i32(extent.padding_top);
    let left = i32(column * STRIDE_WIDTH) - i32(extent.padding_left);

    // Where the filters start that this invocation reads for all: past the last one that one again.
    var filters: array<u32, CHANNEL_EIGHTS>;
    var sums: array<array<array<vec4f, ROW_TILE>, 4>, CHANNEL_FOURS>;
    for (var e = 0u; e < CHANNEL_EIGHTS; e++) {
        let channel = first_channel + min(8u * e + lane, channels - 1u);
        filters[e] = extent.weight_offset + channel * between_channels;
        let first = start(channel);
        for (var h = 0u; h < 2u; h++) {
            if 2u * e + h >= CHANNEL_FOURS { continue; }
            let firsts = gather(first, h == 1u);
            for (var i = 0u; i < 4u; i++) {
                for (var r = 0u; r < ROW_TILE; r++) { sums[2u * e + h][i][r] = vec4f(firsts[i]); }
            }
        }
    }

    for (var channel = 0u; channel < between_channels; channel++) {
        let in_channel = image * extent.in_channels + channel / extent.depth_multiplier;
        let plane = extent.input_offset + in_channel * in_plane;
        var window: array<array<vec4f, WINDOW_FOURS>, WINDOW_HEIGHT>;
        for (var w = 0u; w < WINDOW_HEIGHT; w++) {
            let y = top + i32(w);
            let row_inside = PADDING_MODE != 0u || (y >= 0 && y < height);
            let line = plane + u32(clamp(source(y, height), 0, height - 1)) * extent.in_width;
            for (var f = 0u; f < WINDOW_FOURS; f++) {
                for (var t = 0u; t < 4u; t++) {
                    if 4u * f + t < WINDOW_WIDTH {
                        let x = left + i32(4u * f + t);
                        let inside = row_inside && (PADDING_MODE != 0u || (x >= 0 && x < width));
                        window[w][f][t] = select(0.0, input[line + u32(clamp(source(x, width), 0, width - 1))], inside);
                    }
                }
            }
        }
        var taps: array<vec4f, 2u * TAP_EIGHTS>;
        for (var e = 0u; e < TAP_EIGHTS; e++) {
            let own = between_weight[extent.between_weight_offset + channel * TAPS + min(8u * e + lane, TAPS - 1u)];
            taps[2u * e] = gather(own, false);
            taps[2u * e + 1u] = gather(own, true);
        }

        var first = vec4f();
        if HAS_BETWEEN_BIAS { first = vec4f(between_bias[extent.between_bias_offset + channel]); }
        var between: array<vec4f, ROW_TILE>;
        for (var r = 0u; r < ROW_TILE; r++) { between[r] = first; }
        for (var p = 0u; p < KERNEL_HEIGHT; p++) {
            for (var q = 0u; q < KERNEL_WIDTH; q++) {
                let tap = p * KERNEL_WIDTH + q;
                for (var r = 0u; r < ROW_TILE; r++) {
                    var values: vec4f;
                    for (var t = 0u; t < 4u; t++) {
                        let i = t * STRIDE_WIDTH + q * DILATION_WIDTH;
                        values[t] = window[r * STRIDE_HEIGHT + p * DILATION_HEIGHT][i / 4u][i % 4u];
                    }
                    between[r] = fma(vec4f(taps[tap / 4u][tap % 4u]), values, between[r]);
                }
            }
        }
        for (var r = 0u; r < ROW_TILE; r++) {
            for (var t = 0u; t < 4u; t++) {
                between[r][t] = activate(between[r][t], BETWEEN_ACTIVATION, extent.between_low, extent.between_high);
            }
        }

        for (var e = 0u; e < CHANNEL_EIGHTS; e++) {
            let own = weight[filters[e] + channel];
            for (var h = 0u; h < 2u; h++) {
                if 2u * e + h >= CHANNEL_FOURS { continue; }
                let factors = gather(own, h == 1u);
                for (var i = 0u; i < 4u; i++) {
                    for (var r = 0u; r < ROW_TILE; r++) {
                        sums[2u * e + h][i][r] = fma(vec4f(factors[i]), between[r], sums[2u * e + h][i][r]);
                    }
                }
            }
        }
    }

    let out_plane = extent.out_height * extent.out_width;
    let first_output = (image * extent.out_channels + first_channel) * out_plane + row * extent.out_width + column;
    for (var o = 0u; o < CHANNEL_FOURS; o++) {
        for (var i = 0u; i < 4u; i++) {
            if 4u * o + i >= channels { continue; }
            for (var r = 0u; r < ROW_TILE; r++) {
                for (var t = 0u; t < 4u; t++) {
                    if wanted < tiles && row + r < extent.out_height && column + t < extent.out_width {
                        finish(sums[o][i][r][t], first_output + (4u * o + i) * out_plane + r * extent.out_width + t);
                    }
                }
            }
        }
    }
}
