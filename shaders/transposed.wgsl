// transposed: any transposed convolution, phase by phase.
//
// Formula    y[n,o,i,j] = act(b[o] + sum over c,p,q of w[g C + c, o, p, q] x[n, g C + c, (i + P - p d) / s, (j + P - q d) / s])
//            where both divisions are exact and lead into the input.
// Mapping    A phase has the outputs whose i + P and j + P leave the same rest when they are divided by s. All of them see
//            the same taps, so that no invocation visits a tap in vain. One invocation: CHANNEL_TILE output channels of one
//            group times PIXEL_TILE pixels of one phase, in registers. Its pixels are WORKGROUP_SIZE apart, so that
//            neighbouring invocations read neighbouring values. Grid: x over the phases of each block of pixels, so that
//            those which write the same stretch of memory run at about the same time; y over channels; z over image and
//            group.
// Traffic    The input is read once per tap and channel tile, the weights once per block of pixels. Each output is written
//            once.
// Needs      At most 16,384 terms in a sum.
// Bound by   Arithmetic for many channels, memory for few. A tap of an input channel costs CHANNEL_TILE + PIXEL_TILE loads
//            for CHANNEL_TILE * PIXEL_TILE multiply-adds.
// Rust row   src/kernels/transposed.rs

const WORKGROUP_SIZE: u32 = 64u;
const CHANNEL_TILE: u32 = 4u;  // output channels per invocation: up to 4, or a multiple of 4
const PIXEL_TILE: u32 = 4u;  // pixels per invocation, a multiple of 4
// How many taps further the next one lies that lands in the same phase: the stride, if it has no divisor in common with the
// dilation.
const TAP_STEP_HEIGHT: u32 = 1u;
const TAP_STEP_WIDTH: u32 = 1u;

// Loops over tiles are short, as in register_tile.wgsl.
const CHANNEL_FOUR: u32 = min(CHANNEL_TILE, 4u);
const CHANNEL_FOURS: u32 = CHANNEL_TILE / CHANNEL_FOUR;
const PIXEL_FOURS: u32 = PIXEL_TILE / 4u;

// The places that a phase has along one axis. Place k is output k * stride + phase - padding.
struct Places { first: u32, count: u32 }

fn places_of(padding: i32, size: u32, stride: u32) -> Places {
    let first = u32(padding) / stride;
    return Places(first, (u32(padding) + size - 1u) / stride + 1u - first);
}

// The first tap of those that land in a phase; past the last tap if none does.
fn first_tap(phase: u32, taps: u32, step: u32, stride: u32, dilation: u32) -> u32 {
    if dilation == 1u { return phase; }
    for (var tap = 0u; tap < min(taps, step); tap++) {
        if tap * dilation % stride == phase { return tap; }
    }
    return taps;
}

// The outputs along one axis that are at these places, and which of them there are. The others are cut off as padding.
struct Outputs { index: vec4u, inside: vec4<bool> }

fn outputs_of(places: vec4u, phase: u32, padding: i32, size: u32, stride: u32) -> Outputs {
    // Before the first output this wraps to a large number.
    let index = places * stride + phase - u32(padding);
    return Outputs(index, index < vec4u(size));
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_id) local: vec3u) {
    const PHASES = STRIDE_HEIGHT * STRIDE_WIDTH;
    let block = (workgroup.x + extent.first_workgroup_x) / PHASES;
    let phase = (workgroup.x + extent.first_workgroup_x) % PHASES;
    let row_phase = phase / STRIDE_WIDTH;
    let column_phase = phase % STRIDE_WIDTH;
    let rows = places_of(extent.top, extent.out_height, STRIDE_HEIGHT);
    let columns = places_of(extent.left, extent.out_width, STRIDE_WIDTH);
    let pixels = rows.count * columns.count;
    let first_pixel = block * WORKGROUP_SIZE * PIXEL_TILE + local.x;
    if first_pixel >= pixels { return; }

    let channel_in_group = (workgroup.y + extent.first_workgroup_y) * CHANNEL_TILE;
    let channels = min(CHANNEL_TILE, extent.out_channels_per_group - channel_in_group);
    let slice = workgroup.z + extent.first_workgroup_z;
    let groups = extent.out_channels / extent.out_channels_per_group;
    let group = slice % groups;
    let image = slice / groups;
    let first_channel = group * extent.out_channels_per_group + channel_in_group;
    let first_in_channel = group * extent.in_channels_per_group;
    let plane = extent.in_height * extent.in_width;
    let first_plane = extent.input_offset + (image * extent.in_channels + first_in_channel) * plane;

    // Where each pixel is. Past the last one, the first one is read again and not stored.
    var row_of: array<vec4u, PIXEL_FOURS>;
    var column_of: array<vec4u, PIXEL_FOURS>;
    for (var f = 0u; f < PIXEL_FOURS; f++) {
        let ahead = first_pixel + (4u * f + vec4u(0u, 1u, 2u, 3u)) * WORKGROUP_SIZE;
        let pixel = select(vec4u(first_pixel), ahead, ahead < vec4u(pixels));
        row_of[f] = rows.first + pixel / columns.count;
        column_of[f] = columns.first + pixel % columns.count;
    }
    // Where the taps of each channel start. Past the last channel, the first one's are read again and not stored.
    let next_channel = extent.out_channels_per_group * TAPS;
    let first_filter = extent.weight_offset + first_in_channel * next_channel + channel_in_group * TAPS;
    var filters: array<array<u32, CHANNEL_FOUR>, CHANNEL_FOURS>;
    var sums: array<array<array<vec4f, PIXEL_FOURS>, CHANNEL_FOUR>, CHANNEL_FOURS>;
    for (var o = 0u; o < CHANNEL_FOURS; o++) {
        for (var i = 0u; i < CHANNEL_FOUR; i++) {
            let t = CHANNEL_FOUR * o + i;
            let channel = select(0u, t, t < channels);
            filters[o][i] = first_filter + channel * TAPS;
            for (var f = 0u; f < PIXEL_FOURS; f++) { sums[o][i][f] = vec4f(start(first_channel + channel)); }
        }
    }

    let first_row = first_tap(row_phase, KERNEL_HEIGHT, TAP_STEP_HEIGHT, STRIDE_HEIGHT, DILATION_HEIGHT);
    let first_column = first_tap(column_phase, KERNEL_WIDTH, TAP_STEP_WIDTH, STRIDE_WIDTH, DILATION_WIDTH);
    for (var p = first_row; p < KERNEL_HEIGHT; p += TAP_STEP_HEIGHT) {
        let up = (p * DILATION_HEIGHT - row_phase) / STRIDE_HEIGHT;
        for (var q = first_column; q < KERNEL_WIDTH; q += TAP_STEP_WIDTH) {
            let back = (q * DILATION_WIDTH - column_phase) / STRIDE_WIDTH;
            // Where each pixel reads, and whether there is a value. Before the input this wraps to a large number.
            var places: array<vec4u, PIXEL_FOURS>;
            var inside: array<vec4<bool>, PIXEL_FOURS>;
            for (var f = 0u; f < PIXEL_FOURS; f++) {
                let row = row_of[f] - up;
                let column = column_of[f] - back;
                inside[f] = (row < vec4u(extent.in_height)) & (column < vec4u(extent.in_width));
                places[f] = first_plane + select(vec4u(0u), row * extent.in_width + column, inside[f]);
            }
            let tap = p * KERNEL_WIDTH + q;
            for (var c = 0u; c < extent.in_channels_per_group; c++) {
                var values: array<vec4f, PIXEL_FOURS>;
                for (var f = 0u; f < PIXEL_FOURS; f++) {
                    let at = places[f] + c * plane;
                    let read = vec4f(input_at(at.x), input_at(at.y), input_at(at.z), input_at(at.w));
                    values[f] = select(vec4f(), read, inside[f]);
                }
                for (var o = 0u; o < CHANNEL_FOURS; o++) {
                    for (var i = 0u; i < CHANNEL_FOUR; i++) {
                        let factor = vec4f(weight_at(filters[o][i] + c * next_channel + tap));
                        for (var f = 0u; f < PIXEL_FOURS; f++) { sums[o][i][f] = fma(factor, values[f], sums[o][i][f]); }
                    }
                }
            }
        }
    }

    let out_plane = extent.out_height * extent.out_width;
    let first_output = (image * extent.out_channels + first_channel) * out_plane;
    for (var f = 0u; f < PIXEL_FOURS; f++) {
        let row = outputs_of(row_of[f], row_phase, extent.top, extent.out_height, STRIDE_HEIGHT);
        let column = outputs_of(column_of[f], column_phase, extent.left, extent.out_width, STRIDE_WIDTH);
        for (var v = 0u; v < 4u; v++) {
            let is_pixel = (first_pixel + (4u * f + v) * WORKGROUP_SIZE < pixels) & row.inside[v] & column.inside[v];
            let output = first_output + row.index[v] * extent.out_width + column.index[v];
            for (var o = 0u; o < CHANNEL_FOURS; o++) {
                for (var i = 0u; i < CHANNEL_FOUR; i++) {
                    let t = CHANNEL_FOUR * o + i;
                    if is_pixel & (t < channels) { finish(sums[o][i][f][v], output + t * out_plane); }
                }
            }
        }
    }
}
