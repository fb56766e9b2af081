// depthwise_columns: a depthwise convolution with one column for each invocation; any width, any padding.
//
// Formula    y[n,o,i,j] = act(b[o] + r[n,o,i,j] + sum over p,q of w[o,p,q] x[n, o / M, i s - P + p d, j s - P + q d])
// Mapping    One invocation: one column of one channel, down ROW_TILE output rows. It takes the input row by row and adds
//            each to the sums of all output rows that see it. It fetches the rows of AHEAD output rows before it uses the
//            first, so that it waits for all of them once. Neighbouring invocations have neighbouring columns, so that
//            they read and write neighbouring values. Grid: x over the columns of all tiles, channels and images, one
//            after another, so that small planes leave no invocation idle.
// Traffic    An input value is read once by each of the KERNEL_WIDTH columns that see it, at the same time and through the
//            cache, and once for each tile of rows that sees it. An invocation reads its filter once. Each output is
//            written once.
// Needs      One input channel per group; a window of at most 32 rows and a filter of at most 32 columns; output rows that
//            bring a column at most 36 values of the input.
// Bound by   Memory: at most about KERNEL_HEIGHT * KERNEL_WIDTH / 4 multiply-adds per byte.
// Rust row   src/kernels/depthwise_columns.rs

// Structure: the host replaces these values, and each set of them is one pipeline.
const WORKGROUP_SIZE: u32 = 64u;
const ROUNDS: u32 = 2u;  // at most, of AHEAD steps; a step takes the input rows that one output row brings
const AHEAD: u32 = 9u;  // steps whose rows are fetched together

const WINDOW_HEIGHT: u32 = (KERNEL_HEIGHT - 1u) * DILATION_HEIGHT + 1u;
// How many output rows see one row of the input, at most.
const PARTIALS: u32 = (WINDOW_HEIGHT + STRIDE_HEIGHT - 1u) / STRIDE_HEIGHT;
// The first steps complete no output row.
const ROW_TILE: u32 = ROUNDS * AHEAD - PARTIALS + 1u;
// The input rows of a step that some output row sees.
const ROWS: u32 = min(STRIDE_HEIGHT, WINDOW_HEIGHT);

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_id) local: vec3u) {
    let down = (extent.out_height + ROW_TILE - 1u) / ROW_TILE;
    let tile = (workgroup.x + extent.first_workgroup_x) * WORKGROUP_SIZE + local.x;
    let strip = tile / extent.out_width;
    let column = tile - strip * extent.out_width;
    let slice = strip / down;
    let first_row = (strip - slice * down) * ROW_TILE;
    if slice >= extent.batch * extent.out_channels { return; }

    let channel = slice % extent.out_channels;
    let in_plane = extent.in_height * extent.in_width;
    let plane = extent.input_offset + slice / extent.out_channels_per_group * in_plane;
    let axes = input_axes();
    // Where a row's values stand is the same for all rows.
    var columns: array<u32, KERNEL_WIDTH>;
    var is_there: array<bool, KERNEL_WIDTH>;
    for (var q = 0u; q < KERNEL_WIDTH; q++) {
        let x = i32(column * STRIDE_WIDTH + q * DILATION_WIDTH) + extent.left;
        columns[q] = u32(clamp(source(x, axes.width), 0, axes.width - 1));
        is_there[q] = is_inside(x, axes.width);
    }
    var taps: array<array<f32, KERNEL_WIDTH>, KERNEL_HEIGHT>;
    for (var p = 0u; p < KERNEL_HEIGHT; p++) {
        for (var q = 0u; q < KERNEL_WIDTH; q++) {
            taps[p][q] = weight_at(extent.weight_offset + (channel * KERNEL_HEIGHT + p) * KERNEL_WIDTH + q);
        }
    }
    let first = start(channel);
    var y = i32(first_row * STRIDE_HEIGHT) + extent.top;
    let first_output = (slice * extent.out_height + first_row) * extent.out_width + column;
    let output_end = min(ROW_TILE, extent.out_height - first_row) * extent.out_width;
    var made = 0u - (PARTIALS - 1u) * extent.out_width;

    // The sums of the output row that this step begins, and of those before it that still see rows.
    var sums: array<f32, PARTIALS>;
    // It ends with the rows of the tile and not by a constant, so that its rounds are not written out one after the other.
    loop {
        var rows: array<array<array<f32, KERNEL_WIDTH>, ROWS>, AHEAD>;
        for (var step = 0u; step < AHEAD; step++) {
            for (var o = 0u; o < ROWS; o++) {
                let line = row_at(axes, plane, y + i32(o));
                for (var q = 0u; q < KERNEL_WIDTH; q++) {
                    rows[step][o][q] = select(0.0, input_at(line.start + columns[q]), line.inside & is_there[q]);
                }
            }
            y += i32(STRIDE_HEIGHT);
        }
        for (var step = 0u; step < AHEAD; step++) {
            for (var k = 1u; k < PARTIALS; k++) { sums[PARTIALS - k] = sums[PARTIALS - k - 1u]; }
            sums[0] = first;
            for (var o = 0u; o < ROWS; o++) {
                for (var age = 0u; age < PARTIALS; age++) {
                    let reach = age * STRIDE_HEIGHT + o;
                    if reach % DILATION_HEIGHT == 0u && reach < WINDOW_HEIGHT {
                        for (var q = 0u; q < KERNEL_WIDTH; q++) {
                            sums[age] = fma(taps[reach / DILATION_HEIGHT][q], rows[step][o][q], sums[age]);
                        }
                    }
                }
            }
            // The oldest row has its whole window. The first steps complete none: until then `made` is below zero and wraps.
            if made < output_end { finish(sums[PARTIALS - 1u], first_output + made); }
            made += extent.out_width;
        }
        if i32(made) >= i32(output_end) { break; }
    }
}
