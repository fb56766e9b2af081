// depthwise_fours: a depthwise convolution of rows that are read and written four columns at a time.
//
// Formula    y[n,o,i,j] = act(b[o] + r[n,o,i,j] + sum over p,q of w[o,p,q] x[n, o / M, i s - P + p d, j s - P + q d])
// Mapping    One invocation: four neighbouring columns of one channel, down ROW_TILE output rows. It takes the input row
//            by row and adds each to the sums of all output rows that see it, so that it keeps sums and no window. It
//            fetches the rows of AHEAD output rows before it uses the first, so that it waits for all of them once. Grid:
//            x over the tiles of all channels and images, one after another, so that small planes leave no invocation
//            idle.
// Traffic    A row of a tile is read once, a four at a time; of a four of which the window has one edge value, that value
//            alone. For 3 x 3 at stride 1 that is one four and two values. Neighbouring tiles share edges, and the rows
//            above their first one, through the cache. An invocation reads its filter once. Each output is written
//            once, a four at a time.
// Needs      One input channel per group; zero padding; input and output of a width that is a multiple of 4; an input row
//            that at most 8 output rows see; a window of at most 32 columns under a tile; output rows that bring a tile at
//            most 36 values of the input. A tensor that does not start at a multiple of four values is copied, by steps
//            that `bind` adds, so the result is right at any offset.
// Bound by   Memory: at most about KERNEL_HEIGHT * KERNEL_WIDTH / 4 multiply-adds per byte.
// Rust row   src/kernels/depthwise_fours.rs

// Structure: the host replaces these values, and each set of them is one pipeline.
const WORKGROUP_SIZE: u32 = 64u;
const ROUNDS: u32 = 3u;  // at most, of AHEAD steps; a step takes the input rows that one output row brings
const AHEAD: u32 = 6u;  // steps whose rows are fetched together
const LEAD: u32 = 3u;  // where in a four the window of a tile starts

// How many output rows see one row of the input, at most.
const WINDOW_HEIGHT: u32 = (KERNEL_HEIGHT - 1u) * DILATION_HEIGHT + 1u;
const PARTIALS: u32 = (WINDOW_HEIGHT + STRIDE_HEIGHT - 1u) / STRIDE_HEIGHT;
// The input rows of a step that some output row sees.
const ROWS: u32 = min(STRIDE_HEIGHT, WINDOW_HEIGHT);
// The first steps complete no output row.
const ROW_TILE: u32 = ROUNDS * AHEAD - PARTIALS + 1u;
// The last of the window's columns, from the start of its first four.
const LAST: u32 = LEAD + 3u * STRIDE_WIDTH + (KERNEL_WIDTH - 1u) * DILATION_WIDTH;
const FOURS: u32 = LAST / 4u + 1u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_id) local: vec3u) {
    let in_fours = extent.in_width / 4u;
    let out_fours = extent.out_width / 4u;
    let down = (extent.out_height + ROW_TILE - 1u) / ROW_TILE;
    let tile = (workgroup.x + extent.first_workgroup_x) * WORKGROUP_SIZE + local.x;
    let strip = tile / out_fours;
    let column = tile - strip * out_fours;
    let slice = strip / down;
    let row = (strip - slice * down) * ROW_TILE;
    if slice >= extent.batch * extent.out_channels { return; }

    // The first row that is bound. Rows that are not bound are no output's here, or they lie in zero padding.
    let in_channel = slice / extent.out_channels_per_group;
    let first_line = in_channel * extent.in_height + u32(extent.first_row);
    let first_four = (extent.input_offset + first_line * extent.in_width) / 4u;
    let last_line = u32(extent.last_row - extent.first_row) * in_fours;
    let lines = last_line + in_fours;

    // A four lies inside of a row, or outside of it in zero padding. That is the same for all rows.
    let left = (i32(4u * column * STRIDE_WIDTH) + extent.left - i32(LEAD)) / 4;
    var places: array<u32, FOURS>;
    var ends: array<u32, FOURS>;
    for (var f = 0u; f < FOURS; f++) {
        let four = left + i32(f);
        places[f] = first_four + u32(clamp(four, 0, i32(in_fours) - 1));
        ends[f] = select(0u, lines, u32(four) < in_fours);
    }

    let channel = slice % extent.out_channels;
    var taps: array<array<f32, KERNEL_WIDTH>, KERNEL_HEIGHT>;
    for (var p = 0u; p < KERNEL_HEIGHT; p++) {
        for (var q = 0u; q < KERNEL_WIDTH; q++) {
            taps[p][q] = weight_at(extent.weight_offset + (channel * KERNEL_HEIGHT + p) * KERNEL_WIDTH + q);
        }
    }
    let first = vec4f(start(channel));
    // Counted from the first row that is bound: below zero it wraps, and is past the last one.
    var line = u32(i32(row * STRIDE_HEIGHT) + extent.top - extent.first_row) * in_fours;
    let first_output = extent.output_offset / 4u + (slice * extent.out_height + row) * out_fours + column;
    let output_end = min(ROW_TILE, extent.out_height - row) * out_fours;

    // The sums of the output row that this step begins, and of those before it that still see rows.
    var sums: array<vec4f, PARTIALS>;
    var made = 0u - (PARTIALS - 1u) * out_fours;
    // It ends with the rows of the tile and not by a constant, so that its rounds are not written out one after the other.
    loop {
        var rows: array<array<array<vec4f, FOURS>, ROWS>, AHEAD>;
        for (var step = 0u; step < AHEAD; step++) {
            for (var o = 0u; o < ROWS; o++) {
                for (var f = 0u; f < FOURS; f++) {
                    let at = places[f] + min(line, last_line);
                    let is_value = line < ends[f];
                    // The window may have the last or the first value of a four, and no other.
                    if f == 0u && LEAD == 3u {
                        rows[step][o][f].w = select(0.0, f32(input[at].w), is_value);
                    } else if 4u * f == LAST {
                        rows[step][o][f].x = select(0.0, f32(input[at].x), is_value);
                    } else {
                        rows[step][o][f] = select(vec4f(), vec4f(input[at]), is_value);
                    }
                }
                line += in_fours;
            }
            line += (STRIDE_HEIGHT - ROWS) * in_fours;
        }
        for (var step = 0u; step < AHEAD; step++) {
            for (var k = 1u; k < PARTIALS; k++) { sums[PARTIALS - k] = sums[PARTIALS - k - 1u]; }
            sums[0] = first;
            for (var o = 0u; o < ROWS; o++) {
                // A sum that was begun some steps ago is as many strides further up.
                for (var q = 0u; q < KERNEL_WIDTH; q++) {
                    var seen = vec4f();
                    for (var t = 0u; t < 4u; t++) {
                        let i = LEAD + t * STRIDE_WIDTH + q * DILATION_WIDTH;
                        seen[t] = rows[step][o][i / 4u][i % 4u];
                    }
                    for (var age = 0u; age < PARTIALS; age++) {
                        let reach = age * STRIDE_HEIGHT + o;
                        if reach % DILATION_HEIGHT == 0u && reach < WINDOW_HEIGHT {
                            sums[age] = fma(vec4f(taps[reach / DILATION_HEIGHT][q]), seen, sums[age]);
                        }
                    }
                }
            }
            // The oldest row has its whole window. The first steps complete none: until then `made` is below zero and wraps.
            finish_row(sums[PARTIALS - 1u], first_output + made, first_output, made < output_end);
            made += out_fours;
        }
        if i32(made) >= i32(output_end) { break; }
    }
}
