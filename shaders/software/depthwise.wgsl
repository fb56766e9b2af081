// depthwise: one filter per output channel, each over one input channel; any multiplier.
//
// Formula    y[n,o,i,j] = act(b[o] + r[n,o,i,j] + sum over p,q of w[o,p,q] x[n, o / M, i s - P + p d, j s - P + q d])
// Mapping    One invocation walks down ROW_TILE output rows of one channel, COLUMN_TILE columns wide. It keeps the
//            window of the input under a row in registers. From row to row the window moves down by the stride, and
//            only its new rows are read. Grid: x over the tiles of all channels and images, one after another, so that
//            small planes leave no invocation idle.
// Traffic    An input value is read once per tile. Neighbouring tiles share columns, and the rows above their first
//            one, through the cache. An invocation reads its filter once. Each output is written once.
// Needs      A device in software; one input channel per group; a window of at most 32 rows, and of 32 columns under a tile.
// Bound by   Memory: at most about KERNEL_HEIGHT * KERNEL_WIDTH / 4 multiply-adds per byte.
// Rust row   src/kernels/software/depthwise.rs

// Structure: the host replaces these values, and each set of them is one pipeline.
const WORKGROUP_SIZE: u32 = 64u;
const ROW_TILE: u32 = 8u;  // output rows per invocation
const COLUMN_TILE: u32 = 4u;  // output columns per invocation, a multiple of 4

// The window of the input under one row of outputs, and how many of its rows are new from one row to the next.
const WINDOW_HEIGHT: u32 = (KERNEL_HEIGHT - 1u) * DILATION_HEIGHT + 1u;
const WINDOW_WIDTH: u32 = (COLUMN_TILE - 1u) * STRIDE_WIDTH + (KERNEL_WIDTH - 1u) * DILATION_WIDTH + 1u;
const NEW_ROWS: u32 = min(STRIDE_HEIGHT, WINDOW_HEIGHT);
const OLD_ROWS: u32 = WINDOW_HEIGHT - NEW_ROWS;
// Rounds of the walk that only fill the window, before the first row of outputs.
const FILLING_STEPS: u32 = (OLD_ROWS + NEW_ROWS - 1u) / NEW_ROWS;
// Columns are kept in fours: see shared/register_tile.wgsl.
const COLUMN_FOURS: u32 = COLUMN_TILE / 4u;
const WINDOW_FOURS: u32 = (WINDOW_WIDTH + 3u) / 4u;

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
    let axes = input_axes();
    let top = i32(row * STRIDE_HEIGHT) + extent.top;
    let left = i32(column * STRIDE_WIDTH) + extent.left;

    var filter_taps: array<array<f32, KERNEL_WIDTH>, KERNEL_HEIGHT>;
    for (var p = 0u; p < KERNEL_HEIGHT; p++) {
        for (var q = 0u; q < KERNEL_WIDTH; q++) {
            filter_taps[p][q] = weight_at(extent.weight_offset + (channel * KERNEL_HEIGHT + p) * KERNEL_WIDTH + q);
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
            // Rows and columns are read even if only outputs past the edge would use them; those outputs are not
            // stored.
            let y = window_top + i32(w);
            let line = row_at(axes, plane, y);
            for (var f = 0u; f < WINDOW_FOURS; f++) {
                for (var t = 0u; t < 4u; t++) {
                    if 4u * f + t < WINDOW_WIDTH {
                        window[w][f][t] = value_at(axes, line, left + i32(4u * f + t));
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
