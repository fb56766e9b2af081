// subgroup_gemm: a normal, grouped or 1 x 1 convolution as a matrix product whose weights go round a subgroup.
//
// Formula    y[n,o,i,j] = act(b[o] + r[n,o,i,j] + sum over c,p,q of w[o,c,p,q] x[n, g C + c, i s - P + p d, j s - P + q d])
// Mapping    One workgroup is one subgroup of 8 invocations. One invocation: CHANNEL_TILE output channels of one group
//            times PIXEL_TILE neighbouring pixels of a row, in registers. Grid: x over the pixels of all images, y over
//            channels, z over groups.
// Traffic    Each value of an input row is read once per filter row and channel tile, at stride 1: from tap to tap the
//            values move on, and only new ones are read. Each weight is read by one invocation of the subgroup, which
//            broadcasts it to the others. Sums do not fit in registers: a round takes one from memory, adds to it for
//            TERM_TILE channels and puts it back; and it reads those channels' planes in turn, so that the processor
//            waits for their memory at once.
// Needs      Subgroups of 8 invocations on a device that puts a workgroup of 8 into one of them; 4 output channels per
//            group.
// Bound by   Loads, of which a software device does one per invocation at a time.
// Rust row   src/kernels/subgroup_gemm.rs

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
const TERM_TILE: u32 = 2u;  // input channels per round: those of the dispatch are a multiple
const CHANNEL_TILE: u32 = 64u;  // output channels per invocation, a multiple of 4
const PIXEL_TILE: u32 = 8u;  // output pixels per invocation, a multiple of 4

// How many of its pixels' values a tap shares with the tap before it.
const SHARED: u32 = select(0u, PIXEL_TILE - min(DILATION_WIDTH, PIXEL_TILE), STRIDE_WIDTH == 1u && KERNEL_WIDTH > 1u);
// Tiles are kept in fours: see gemm.wgsl.
const CHANNEL_FOURS: u32 = CHANNEL_TILE / 4u;
const CHANNEL_EIGHTS: u32 = (CHANNEL_TILE + 7u) / 8u;
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

// The value of a column in the row that starts at `line`, or zero.
fn value_at(line: u32, x: i32, width: i32, row_inside: bool) -> f32 {
    let inside = row_inside && (PADDING_MODE != 0u || (x >= 0 && x < width));
    return select(0.0, input[line + u32(clamp(source(x, width), 0, width - 1))], inside);
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
    let first_tile = (workgroup.y + extent.first_workgroup_y) * CHANNEL_TILE;
    let group = workgroup.z + extent.first_workgroup_z;
    let first_channel = group * extent.out_channels_per_group + first_tile;
    let channels = min(CHANNEL_TILE, extent.out_channels_per_group - first_tile);

    // Every invocation stays to the end, to hand its weights round; past the last pixels it works on them again.
    let tiles_per_line = (extent.out_width + PIXEL_TILE - 1u) / PIXEL_TILE;
    let tiles = extent.batch * extent.out_height * tiles_per_line;
    let wanted = (workgroup.x + extent.first_workgroup_x) * 8u + local.x;
    let tile = min(wanted, tiles - 1u);
    let line = tile / tiles_per_line;
    let image = line / extent.out_height;
    let row = line % extent.out_height;
    let column = tile % tiles_per_line * PIXEL_TILE;

    let in_plane = extent.in_height * extent.in_width;
    let first_plane = extent.input_offset + (image * extent.in_channels + group * extent.in_channels_per_group) * in_plane;
    let top = i32(row * STRIDE_HEIGHT) - i32(extent.padding_top);
    let left = i32(column * STRIDE_WIDTH) - i32(extent.padding_left);
    let height = i32(extent.in_height);
    let width = i32(extent.in_width);

    // Where the filters start that this invocation reads for all: past the last one that one again.
    var filters: array<u32, CHANNEL_EIGHTS>;
    var sums: array<array<array<vec4f, PIXEL_FOURS>, 4>, CHANNEL_FOURS>;
    for (var e = 0u; e < CHANNEL_EIGHTS; e++) {
        let channel = first_channel + min(8u * e + lane, channels - 1u);
        filters[e] = extent.weight_offset + channel * extent.in_channels_per_group * KERNEL_HEIGHT * KERNEL_WIDTH;
        let first = start(channel);
        for (var h = 0u; h < 2u; h++) {
            if 2u * e + h >= CHANNEL_FOURS { continue; }
            let firsts = gather(first, h == 1u);
            for (var i = 0u; i < 4u; i++) {
                for (var f = 0u; f < PIXEL_FOURS; f++) { sums[2u * e + h][i][f] = vec4f(firsts[i]); }
            }
        }
    }

    for (var p = 0u; p < KERNEL_HEIGHT; p++) {
        let y = top + i32(p * DILATION_HEIGHT);
        let row_inside = PADDING_MODE != 0u || (y >= 0 && y < height);
        let source_row = u32(clamp(source(y, height), 0, height - 1));
        let first_line = first_plane + source_row * extent.in_width;
        for (var c = extent.first_in_channel; c < extent.last_in_channel; c += TERM_TILE) {
            // The values that the first tap shares with the one before it, if there were one.
            var values: array<array<vec4f, PIXEL_FOURS>, TERM_TILE>;
            for (var f = 0u; f < PIXEL_FOURS; f++) {
                for (var t = 0u; t < 4u; t++) {
                    let i = 4u * f + t;
                    if i < DILATION_WIDTH || i - DILATION_WIDTH >= SHARED { continue; }
                    let x = left + i32(i - DILATION_WIDTH);
                    for (var k = 0u; k < TERM_TILE; k++) {
                        values[k][f][t] = value_at(first_line + (c + k) * in_plane, x, width, row_inside);
                    }
                }
            }
            for (var q = 0u; q < KERNEL_WIDTH; q++) {
                for (var f = 0u; f < PIXEL_FOURS; f++) {
                    for (var t = 0u; t < 4u; t++) {
                        let i = 4u * f + t;
                        let x = left + i32(i * STRIDE_WIDTH + q * DILATION_WIDTH);
                        for (var k = 0u; k < TERM_TILE; k++) {
                            if i < SHARED {
                                values[k][f][t] = values[k][(i + DILATION_WIDTH) / 4u][(i + DILATION_WIDTH) % 4u];
                            } else {
                                values[k][f][t] = value_at(first_line + (c + k) * in_plane, x, width, row_inside);
                            }
                        }
                    }
                }
                for (var e = 0u; e < CHANNEL_EIGHTS; e++) {
                    var own: array<f32, TERM_TILE>;
                    for (var k = 0u; k < TERM_TILE; k++) {
                        own[k] = weight[filters[e] + ((c + k) * KERNEL_HEIGHT + p) * KERNEL_WIDTH + q];
                    }
                    for (var h = 0u; h < 2u; h++) {
                        if 2u * e + h >= CHANNEL_FOURS { continue; }
                        var factors: array<vec4f, TERM_TILE>;
                        for (var k = 0u; k < TERM_TILE; k++) { factors[k] = gather(own[k], h == 1u); }
                        for (var i = 0u; i < 4u; i++) {
                            for (var f = 0u; f < PIXEL_FOURS; f++) {
                                var sum = sums[2u * e + h][i][f];
                                for (var k = 0u; k < TERM_TILE; k++) {
                                    sum = fma(vec4f(factors[k][i]), values[k][f], sum);
                                }
                                sums[2u * e + h][i][f] = sum;
                            }
                        }
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
            for (var f = 0u; f < PIXEL_FOURS; f++) {
                for (var t = 0u; t < 4u; t++) {
                    let pixel = 4u * f + t;
                    if wanted < tiles && column + pixel < extent.out_width {
                        finish(sums[o][i][f][t], first_output + (4u * o + i) * out_plane + pixel);
                    }
                }
            }
        }
    }
}
