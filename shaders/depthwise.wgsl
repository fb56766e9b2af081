// depthwise: one filter per output channel, each over one input channel; any multiplier.
//
// Formula    y[n,o,i,j] = act(b[o] + r[n,o,i,j] + sum over p,q of w[o,p,q] x[n, o / M, i s - P + p d, j s - P + q d])
// Mapping    One invocation walks down ROW_TILE output rows of one channel, COLUMN_TILE columns wide, with the window of the
//            input under a row in registers: from row to row it moves up by the stride, and only new rows are read. Grid:
//            x over the tiles of all channels and images, one after another, so that small planes leave none idle.
// Traffic    An input value is read once per tile; neighbouring tiles share columns, and rows above the first, through the
//            cache. An invocation reads its filter once. Each output is written once.
// Needs      in_channels_per_group = 1.
// Bound by   Memory: about KERNEL_HEIGHT * KERNEL_WIDTH / 4 multiply-adds per byte at most.
// Rust row   src/kernels/depthwise.rs

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
const WORKGROUP_SIZE: u32 = 64u;
const ROW_TILE: u32 = 8u;  // output rows per invocation
const COLUMN_TILE: u32 = 4u;  // output columns per invocation, a multiple of 4

// The window of the input under one row of outputs, and how many of its rows are new from one row to the next.
const WINDOW_HEIGHT: u32 = (KERNEL_HEIGHT - 1u) * DILATION_HEIGHT + 1u;
const WINDOW_WIDTH: u32 = (COLUMN_TILE - 1u) * STRIDE_WIDTH + (KERNEL_WIDTH - 1u) * DILATION_WIDTH + 1u;
const NEW_ROWS: u32 = min(STRIDE_HEIGHT, WINDOW_HEIGHT);
const OLD_ROWS: u32 = WINDOW_HEIGHT - NEW_ROWS;
// Steps that only fill the window, before the first row of outputs.
const FILLING_STEPS: u32 = (OLD_ROWS + NEW_ROWS - 1u) / NEW_ROWS;
// Columns are kept in fours: see gemm.wgsl.
const COLUMN_FOURS: u32 = COLUMN_TILE / 4u;
const WINDOW_FOURS: u32 = (WINDOW_WIDTH + 3u) / 4u;

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

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_id) local: vec3u) {
    let across = (extent.out_width + COLUMN_TILE - 1u) / COLUMN_TILE;
    let down = (extent.out_height + ROW_TILE - 1u) / ROW_TILE;
    let tile = (workgroup.x + extent.first_workgroup_x) * WORKGROUP_SIZE + local.x;
    let column = tile % across * COLUMN_TILE;
    let row = tile / across % down * ROW_TILE;
    let slice = tile / across / down;
    if slice >= extent.batch * extent.out_channels { return; }

    let channel = slice % extent.out_channels;
    let image = slice / extent.out_channels;
    let in_channel = channel / extent.out_channels_per_group;
    let plane = extent.input_offset + (image * extent.in_channels + in_channel) * extent.in_height * extent.in_width;
    let first_output = slice * extent.out_height * extent.out_width;
    let height = i32(extent.in_height);
    let width = i32(extent.in_width);
    let top = i32(row * STRIDE_HEIGHT) - i32(extent.padding_top);
    let left = i32(column * STRIDE_WIDTH) - i32(extent.padding_left);

    var filter_taps: array<array<f32, KERNEL_WIDTH>, KERNEL_HEIGHT>;
    for (var p = 0u; p < KERNEL_HEIGHT; p++) {
        for (var q = 0u; q < KERNEL_WIDTH; q++) {
            filter_taps[p][q] = weight[extent.weight_offset + (channel * KERNEL_HEIGHT + p) * KERNEL_WIDTH + q];
        }
    }
    let first = vec4f(start(channel));
    var window: array<array<vec4f, WINDOW_FOURS>, WINDOW_HEIGHT>;
    for (var step = 0u; step < FILLING_STEPS + ROW_TILE; step++) {
        for (var w = 0u; w < OLD_ROWS; w++) {
            for (var f = 0u; f < WINDOW_FOURS; f++) { window[w][f] = window[w + NEW_ROWS][f]; }
        }
        let window_top = top + (i32(step) - i32(FILLING_STEPS)) * i32(STRIDE_HEIGHT);
        for (var w = OLD_ROWS; w < WINDOW_HEIGHT; w++) {
            // Every position is clamped, and what lies in zero padding is put to zero after it is read: at the edge of
            // an image a branch would make neighbouring invocations take turns. Rows and columns that only outputs
            // past the edge would use are read too, and not stored.
            let y = window_top + i32(w);
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
        let y = row + step - FILLING_STEPS;
        if step < FILLING_STEPS || y >= extent.out_height { continue; }

        var sums: array<vec4f, COLUMN_FOURS>;
        for (var f = 0u; f < COLUMN_FOURS; f++) { sums[f] = first; }
        for (var p = 0u; p < KERNEL_HEIGHT; p++) {
            for (var q = 0u; q < KERNEL_WIDTH; q++) {
                let tap = vec4f(filter_taps[p][q]);
                for (var f = 0u; f < COLUMN_FOURS; f++) {
                    var values: vec4f;
                    for (var t = 0u; t < 4u; t++) {
                        let i = (4u * f + t) * STRIDE_WIDTH + q * DILATION_WIDTH;
                        values[t] = window[p * DILATION_HEIGHT][i / 4u][i % 4u];
                    }
                    sums[f] = fma(tap, values, sums[f]);
                }
            }
        }
        for (var f = 0u; f < COLUMN_FOURS; f++) {
            for (var t = 0u; t < 4u; t++) {
                let x = column + 4u * f + t;
                if x < extent.out_width { finish(sums[f][t], first_output + y * extent.out_width + x); }
            }
        }
    }
}
