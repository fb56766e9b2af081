// separable: a depthwise convolution and the 1 x 1 convolution that mixes its channels, in one step.
//
// Formula    z[n,m,i,j] = act'(b'[m] + sum over p,q of v[m,p,q] x[n, m / M, i s - P + p d, j s - P + q d])
//            y[n,o,i,j] = act(b[o] + r[n,o,i,j] + sum over m of w[o,m] z[n,m,i,j])
// Mapping    One workgroup: PIXEL_TILES fours of neighbouring pixels of a row, of all rows and images one after another,
//            times CHANNELS output channels. It computes z for its pixels into workgroup memory, DEPTH channels at a time,
//            and multiplies from there. One invocation: 4 pixels times CHANNEL_TILE channels, in registers. Grid: x over
//            fours, of which the last one of a row may be partly idle; y over channels.
// Traffic    z never goes to memory. It is computed once if one workgroup has all output channels, and otherwise once
//            per workgroup along the channels; each time, at stride and dilation 1 along a row, a four of z takes
//            KERNEL_WIDTH + 3 values of each input row that it sees, and otherwise 4 KERNEL_WIDTH, through the cache. A
//            mixing weight is read once per workgroup along the pixels. From workgroup memory an invocation reads
//            4 + CHANNEL_TILE values per 4 * CHANNEL_TILE multiply-adds; neighbours write to different banks of it. Each
//            output is written once.
// Needs      Workgroups of 256 invocations with 16 KiB of memory; 7 storage buffers; a depthwise weight that fits in a
//            binding; M (KERNEL_HEIGHT * KERNEL_WIDTH + 1) of at most 16,384, where M is the depth multiplier.
// Bound by   Arithmetic and reads of workgroup memory for many channels; memory for few.
// Rust row   src/kernels/separable.rs

// Whether the four pixels share most of the values under their windows.
const IS_DENSE: bool = STRIDE_WIDTH == 1u && DILATION_WIDTH == 1u;

// Values in between by channel and pixel, and the weights that mix them by channel and output channel. A channel's weights
// end with an unused four, so that neighbouring invocations, which write neighbouring channels', write to different banks.
var<workgroup> values: array<array<vec4f, PIXEL_TILES>, DEPTH>;
var<workgroup> factors: array<array<vec4f, CHANNELS / 4u + 1u>, DEPTH>;

@compute @workgroup_size(PIXEL_TILES, CHANNEL_TILES)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_id) local: vec3u) {
    let first_tile = (workgroup.y + extent.first_workgroup_y) * CHANNELS;
    let between_channels = extent.in_channels * extent.depth_multiplier;
    let last_between = extent.last_in_channel * extent.depth_multiplier;

    // This invocation's four pixels. It computes values in between for them, also for the others along the channels. Past
    // the last row, that one is computed again and not stored.
    let fours = (extent.out_width + 3u) / 4u;
    let rows = extent.batch * extent.out_height;
    let wanted = (workgroup.x + extent.first_workgroup_x) * PIXEL_TILES + local.x;
    let line = min(wanted / fours, rows - 1u);
    let column = wanted % fours * 4u;
    let image = line / extent.out_height;
    let row = line % extent.out_height;
    let axes = input_axes();
    let top = i32(row * STRIDE_HEIGHT) + extent.top;
    let left = i32(column * STRIDE_WIDTH) + extent.left;
    let in_plane = extent.in_height * extent.in_width;
    let first_plane = extent.input_offset + image * extent.in_channels * in_plane;

    var sums: array<array<vec4f, 4>, CHANNEL_FOURS>;
    for (var first = extent.first_in_channel * extent.depth_multiplier; first < last_between; first += DEPTH) {
        // Workgroup memory is written four values at a time: writing one may touch the three beside it.
        for (var d = local.y; d < DEPTH; d += CHANNEL_TILES) {
            let channel = first + d;
            var four = vec4f();
            if channel < last_between {
                four = vec4f(between_start(channel));
                let plane = first_plane + channel / extent.depth_multiplier * in_plane;
                for (var p = 0u; p < KERNEL_HEIGHT; p++) {
                    let input_row = row_at(axes, plane, top + i32(p * DILATION_HEIGHT));
                    var seen = vec4f();
                    if IS_DENSE {
                        for (var t = 1u; t < 4u; t++) { seen[t] = value_at(axes, input_row, left + i32(t) - 1); }
                    }
                    for (var q = 0u; q < KERNEL_WIDTH; q++) {
                        let tap = between_weight_at((channel * KERNEL_HEIGHT + p) * KERNEL_WIDTH + q);
                        if IS_DENSE {
                            // From tap to tap the values move on, and one is new.
                            seen = vec4f(seen.yzw, value_at(axes, input_row, left + i32(q) + 3));
                        } else {
                            for (var t = 0u; t < 4u; t++) {
                                seen[t] = value_at(axes, input_row, left + i32(t * STRIDE_WIDTH + q * DILATION_WIDTH));
                            }
                        }
                        four = fma(vec4f(tap), seen, four);
                    }
                }
                for (var t = 0u; t < 4u; t++) { four[t] = between_finish(four[t]); }
            }
            values[d][local.x] = four;
        }
        // Neighbouring invocations read neighbouring channels in between. Past the last output channel, that one is
        // read again.
        for (var i = local.y * PIXEL_TILES + local.x; i < DEPTH * CHANNELS / 4u; i += TEAM) {
            let channel = first + i % DEPTH;
            var four = vec4f();
            for (var t = 0u; t < 4u; t++) {
                let out_channel = min(first_tile + i / DEPTH * 4u + t, extent.out_channels - 1u);
                if channel < last_between {
                    four[t] = weight_at(extent.weight_offset + out_channel * between_channels + channel);
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

    let out_plane = extent.out_height * extent.out_width;
    for (var o = 0u; o < CHANNEL_FOURS; o++) {
        for (var c = 0u; c < 4u; c++) {
            let channel = first_tile + local.y * CHANNEL_TILE + 4u * o + c;
            if (wanted / fours < rows) & (channel < extent.out_channels) {
                let begun = sums[o][c] + start(channel);
                let index = (image * extent.out_channels + channel) * out_plane + row * extent.out_width + column;
                for (var t = 0u; t < 4u; t++) {
                    if column + t < extent.out_width { finish(begun[t], index + t); }
                }
            }
        }
    }
}
