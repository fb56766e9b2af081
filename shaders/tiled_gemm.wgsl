// tiled_gemm: a normal, grouped or 1 x 1 convolution as a matrix product, its register tiles fed from workgroup memory.
//
// Formula    y[n,o,i,j] = act(b[o] + r[n,o,i,j]
//                             + sum over k of w[o,k] x[n, g C + k / KK, i s - P + p d, j s - P + q d]),
//            KK = KERNEL_HEIGHT * KERNEL_WIDTH, p = k % KK / KERNEL_WIDTH, q = k % KERNEL_WIDTH
// Mapping    One workgroup: PIXELS pixels, of all images one after another, times CHANNELS output channels of a group.
//            One invocation: 4 neighbouring pixels times CHANNEL_TILE channels, in registers. SPLIT teams of
//            invocations take turns over the terms k, DEPTH at a time, and add up their sums at the end, so that a few
//            pixels with long sums still fill a device. Grid: x over pixels, y over channels, z over groups.
// Traffic    An input value is read once per tap and workgroup along the channels, a weight once per workgroup along
//            the pixels. From workgroup memory an invocation reads 4 + CHANNEL_TILE values per 4 * CHANNEL_TILE
//            multiply-adds. Each output is written once.
// Needs      4 output channels per group; workgroups of 256 invocations with 16 KiB of memory; CHANNEL_TILES of at most
//            DEPTH.
// Bound by   Arithmetic and reads of workgroup memory for long sums; memory for short ones.
// Rust row   src/kernels/tiled_gemm.rs

// Structure: the host replaces these values, and each set of them is one pipeline.
const SPLIT: u32 = 1u;  // teams along the sum, of which each has DEPTH terms in workgroup memory

// Per team: input values by term and pixel, weights by term and channel.
var<workgroup> values: array<array<array<vec4f, PIXEL_FOURS>, DEPTH>, SPLIT>;
var<workgroup> factors: array<array<array<vec4f, CHANNELS / 4u>, DEPTH>, SPLIT>;

@compute @workgroup_size(PIXEL_FOURS, CHANNEL_TILES, SPLIT)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_id) local: vec3u) {
    let first_pixel = (workgroup.x + extent.first_workgroup_x) * PIXELS;
    let first_tile = (workgroup.y + extent.first_workgroup_y) * CHANNELS;
    let group = workgroup.z + extent.first_workgroup_z;
    let out_plane = extent.out_height * extent.out_width;
    let pixels = extent.batch * out_plane;
    let in_plane = extent.in_height * extent.in_width;
    let team = local.z;
    let terms = extent.in_channels_per_group * TAPS;
    let last_term = extent.last_in_channel * TAPS;

    // This invocation's four pixels. It fetches values for them, also for the others along the channels. Workgroup
    // memory is written four values at a time: writing one may touch the three beside it.
    let own = first_pixel + 4u * local.x + vec4u(0u, 1u, 2u, 3u);
    let fetched = min(own, vec4u(pixels - 1u));
    let position = fetched % out_plane;
    let axes = input_axes();
    let tops = vec4i(position / extent.out_width * STRIDE_HEIGHT) + extent.top;
    let lefts = vec4i(position % extent.out_width * STRIDE_WIDTH) + extent.left;
    let first_channels = fetched / out_plane * extent.in_channels + group * extent.in_channels_per_group;

    var sums: array<array<vec4f, 4>, CHANNEL_FOURS>;
    for (var start_term = extent.first_in_channel * TAPS; start_term < last_term; start_term += DEPTH * SPLIT) {
        let first_term = start_term + team * DEPTH;
        for (var d = local.y; d < DEPTH; d += CHANNEL_TILES) {
            let term = first_term + d;
            let tap = term % TAPS;
            let down = i32(tap / KERNEL_WIDTH * DILATION_HEIGHT);
            let along = i32(tap % KERNEL_WIDTH * DILATION_WIDTH);
            var four = vec4f();
            for (var t = 0u; t < 4u; t++) {
                let y = tops[t] + down;
                let x = lefts[t] + along;
                let row = row_at(axes, extent.input_offset + (first_channels[t] + term / TAPS) * in_plane, y);
                if term < last_term && row.inside && is_inside(x, axes.width) {
                    four[t] = input_at(row.start + u32(source(x, axes.width)));
                }
            }
            values[team][d][local.x] = four;
        }
        // Neighbouring invocations read neighbouring terms. Past the group's last channel, that one is read again.
        for (var i = local.y * PIXEL_FOURS + local.x; i < DEPTH * CHANNELS / 4u; i += TEAM) {
            let term = first_term + i % DEPTH;
            var four = vec4f();
            for (var t = 0u; t < 4u; t++) {
                let channel = min(first_tile + i / DEPTH * 4u + t, extent.out_channels_per_group - 1u);
                let filter_index = group * extent.out_channels_per_group + channel;
                if term < last_term { four[t] = weight_at(extent.weight_offset + filter_index * terms + term); }
            }
            factors[team][i % DEPTH][i / DEPTH] = four;
        }
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k++) {
            let four = values[team][k][local.x];
            for (var o = 0u; o < CHANNEL_FOURS; o++) {
                let factor = factors[team][k][local.y * CHANNEL_FOURS + o];
                for (var c = 0u; c < 4u; c++) { sums[o][c] = fma(vec4f(factor[c]), four, sums[o][c]); }
            }
        }
        // The next terms replace these.
        workgroupBarrier();
    }

    // The first team collects the others' sums in the memory of its values. They fit: CHANNEL_TILES is at most DEPTH.
    for (var other = 1u; other < SPLIT; other++) {
        for (var o = 0u; o < CHANNEL_FOURS; o++) {
            for (var c = 0u; c < 4u; c++) {
                if team == other { values[0][local.y][local.x] = sums[o][c]; }
                workgroupBarrier();
                if team == 0u { sums[o][c] += values[0][local.y][local.x]; }
                workgroupBarrier();
            }
        }
    }
    if team != 0u { return; }

    for (var o = 0u; o < CHANNEL_FOURS; o++) {
        for (var c = 0u; c < 4u; c++) {
            let channel_in_group = first_tile + local.y * CHANNEL_TILE + 4u * o + c;
            let channel = group * extent.out_channels_per_group + channel_in_group;
            if channel_in_group < extent.out_channels_per_group { finish_four(sums[o][c], own, channel); }
        }
    }
}
