// depthwise: one filter per output channel, each over one input channel; any multiplier.
//
// Formula    y[n,o,i,j] = act(b[o] + r[n,o,i,j] + sum over p,q of w[o,p,q] x[n, o / M, i s - P + p d, j s - P + q d])
// Mapping    One invocation: ROW_TILE x COLUMN_TILE neighbouring outputs of one channel. One workgroup:
//            WORKGROUP_WIDTH x WORKGROUP_HEIGHT of these. Grid: x over columns, y over rows, z over image and channel.
// Traffic    Each input row of the tile's window is read once into registers and serves every output and tap that
//            wants it; rows and columns shared with a neighbouring tile come through the cache. Each output is written once.
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
const WORKGROUP_WIDTH: u32 = 8u;
const WORKGROUP_HEIGHT: u32 = 8u;
const ROW_TILE: u32 = 2u;  // output rows per invocation
const COLUMN_TILE: u32 = 4u;  // output columns per invocation, a multiple of 4

// The window of the input under one invocation's outputs.
const WINDOW_HEIGHT: u32 = (ROW_TILE - 1u) * STRIDE_HEIGHT + (KERNEL_HEIGHT - 1u) * DILATION_HEIGHT + 1u;
const WINDOW_WIDTH: u32 = (COLUMN_TILE - 1u) * STRIDE_WIDTH + (KERNEL_WIDTH - 1u) * DILATION_WIDTH + 1u;
// Columns are kept in fours: see pointwise.wgsl.
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
    unused_0: u32, unused_1: u32,
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

// Written with comparisons, not min and max, so that a NaN passes through.
fn activate(x: f32) -> f32 {
    switch ACTIVATION {
        case 1u: {
            let raised = select(x, extent.activation_low, x < extent.activation_low);
            return select(raised, extent.activation_high, x > extent.activation_high);
        }
        case 2u: { return select(x, x * extent.activation_low, x < 0.0); }
        case 3u: { return x / (1.0 + exp(-x)); }
        case 4u: { return select(x * min(x + 3.0, 6.0) / 6.0, 0.0, x <= -3.0); }
        default: { return x; }
    }
}

// The fused end of every kernel: bias, residual, activation, store. A sum that is cut goes on from what is stored.
fn finish(sum: f32, channel: u32, index: u32) {
    var y = sum;
    if CONTINUES { y += output[extent.output_offset + index]; }
    if !FINISHES {
        output[extent.output_offset + index] = y;
        return;
    }
    if HAS_BIAS { y += bias[extent.bias_offset + channel]; }
    if HAS_RESIDUAL { y += residual[extent.residual_offset + index]; }
    output[extent.output_offset + index] = activate(y);
}

@compute @workgroup_size(WORKGROUP_WIDTH, WORKGROUP_HEIGHT)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_id) local: vec3u) {
    let column = ((workgroup.x + extent.first_workgroup_x) * WORKGROUP_WIDTH + local.x) * COLUMN_TILE;
    let row = ((workgroup.y + extent.first_workgroup_y) * WORKGROUP_HEIGHT + local.y) * ROW_TILE;
    if column >= extent.out_width || row >= extent.out_height { return; }

    let slice = workgroup.z + extent.first_workgroup_z;
    let channel = slice % extent.out_channels;
    let image = slice / extent.out_channels;
    let in_channel = channel / extent.out_channels_per_group;
    let plane = extent.input_offset + (image * extent.in_channels + in_channel) * extent.in_height * extent.in_width;
    let filter_start = extent.weight_offset + channel * KERNEL_HEIGHT * KERNEL_WIDTH;
    let height = i32(extent.in_height);
    let width = i32(extent.in_width);
    let top = i32(row * STRIDE_HEIGHT) - i32(extent.padding_top);
    let left = i32(column * STRIDE_WIDTH) - i32(extent.padding_left);

    var sums: array<array<vec4f, COLUMN_FOURS>, ROW_TILE>;
    for (var window_row = 0u; window_row < WINDOW_HEIGHT; window_row++) {
        let y = top + i32(window_row);
        let row_inside = PADDING_MODE != 0u || (y >= 0 && y < height);
        // Every position is clamped, and what lies in zero padding is put to zero after it is read: at the edge of an
        // image a branch would make neighbouring invocations take turns. Rows and columns that only outputs past the
        // edge would use are read too, and not stored.
        let line = plane + u32(clamp(source(y, height), 0, height - 1)) * extent.in_width;
        var values: array<vec4f, WINDOW_FOURS>;
        for (var f = 0u; f < WINDOW_FOURS; f++) {
            for (var t = 0u; t < 4u; t++) {
                if 4u * f + t < WINDOW_WIDTH {
                    let x = left + i32(4u * f + t);
                    let inside = row_inside && (PADDING_MODE != 0u || (x >= 0 && x < width));
                    values[f][t] = select(0.0, input[line + u32(clamp(source(x, width), 0, width - 1))], inside);
                }
            }
        }
        for (var r = 0u; r < ROW_TILE; r++) {
            let below = window_row - r * STRIDE_HEIGHT;  // wraps, and is then past the filter, where the row is above
            let p = below / DILATION_HEIGHT;
            if below % DILATION_HEIGHT != 0u || p >= KERNEL_HEIGHT { continue; }
            for (var q = 0u; q < KERNEL_WIDTH; q++) {
                let tap = vec4f(weight[filter_start + p * KERNEL_WIDTH + q]);
                for (var f = 0u; f < COLUMN_FOURS; f++) {
                    var window: vec4f;
                    for (var t = 0u; t < 4u; t++) {
                        let i = (4u * f + t) * STRIDE_WIDTH + q * DILATION_WIDTH;
                        window[t] = values[i / 4u][i % 4u];
                    }
                    sums[r][f] = fma(tap, window, sums[r][f]);
                }
            }
        }
    }

    let first_output = slice * extent.out_height * extent.out_width;
    for (var r = 0u; r < ROW_TILE; r++) {
        for (var f = 0u; f < COLUMN_FOURS; f++) {
            for (var t = 0u; t < 4u; t++) {
                let y = row + r;
                let x = column + 4u * f + t;
                if y < extent.out_height && x < extent.out_width {
                    finish(sums[r][f][t], channel, first_output + y * extent.out_width + x);
                }
            }
        }
    }
}
