// separable: a depthwise convolution and the 1 x 1 convolution that mixes its channels, in one step.
//
// Formula    z[n,m,i,j] = act'(b'[m] + sum over p,q of v[m,p,q] x[n, m / M, i s - P + p d, j s - P + q d])
//            y[n,o,i,j] = act(b[o] + r[n,o,i,j] + sum over m of w[o,m] z[n,m,i,j])
// Mapping    One workgroup: PIXELS pixels, of all images one after another, times CHANNELS output channels. It computes
//            z for its pixels into workgroup memory, DEPTH channels at a time, and multiplies from there. One
//            invocation: 4 neighbouring pixels times CHANNEL_TILE channels, in registers. Grid: x over pixels, y over
//            channels.
// Traffic    z never goes to memory. It is computed once if one workgroup has all output channels, and otherwise once
//            per workgroup along the channels; each time, an input value is read once per tap, through the cache. A
//            mixing weight is read once per workgroup along the pixels. From workgroup memory an invocation reads
//            4 + CHANNEL_TILE values per 4 * CHANNEL_TILE multiply-adds. Each output is written once.
// Needs      Workgroups of 256 invocations with 16 KiB of memory; 7 storage buffers; a depthwise weight that fits in a
//            binding; M (KERNEL_HEIGHT * KERNEL_WIDTH + 1) of at most 16,384, where M is the depth multiplier.
// Bound by   Arithmetic and reads of workgroup memory for many channels; memory for few.
// Rust row   src/kernels/separable.rs

// Values in between by channel and pixel, and the weights that mix them by channel and output channel.
var<workgroup> values: array<array<vec4f, PIXEL_TILES>, DEPTH>;
var<workgroup> factors: array<array<vec4f, CHANNELS / 4u>, DEPTH>;

@compute @workgroup_size(PIXEL_TILES, CHANNEL_TILES)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_id) local: vec3u) {
    let first_pixel = (workgroup.x + extent.first_workgroup_x) * PIXELS;
    let first_tile = (workgroup.y + extent.first_workgroup_y) * CHANNELS;
    let in_plane = extent.in_height * extent.in_width;
    let between_channels = extent.in_channels * extent.depth_multiplier;
    let last_between = extent.last_in_channel * extent.depth_multiplier;

    // This invocation's four pixels. It computes values in between for them, also for the others along the channels.
    // Workgroup memory is written four values at a time: writing one may touch the three beside it.
    let own = pixels_from(first_pixel + 4u * local.x);
    let axes = input_axes();
    let tops = vec4i(own.rows * STRIDE_HEIGHT) + extent.top;
    let lefts = vec4i(own.columns * STRIDE_WIDTH) + extent.left;
    let first_channels = own.images * extent.in_channels;

    var sums: array<array<vec4f, 4>, CHANNEL_FOURS>;
    for (var first = extent.first_in_channel * extent.depth_multiplier; first < last_between; first += DEPTH) {
        for (var d = local.y; d < DEPTH; d += CHANNEL_TILES) {
            let channel = first + d;
            var four = vec4f();
            if channel < last_between {
                four = vec4f(between_start(channel));
                let planes = extent.input_offset + (first_channels + channel / extent.depth_multiplier) * in_plane;
                for (var p = 0u; p < KERNEL_HEIGHT; p++) {
                    for (var q = 0u; q < KERNEL_WIDTH; q++) {
                        let tap = between_weight_at((channel * KERNEL_HEIGHT + p) * KERNEL_WIDTH + q);
                        var taken = vec4f();
                        for (var t = 0u; t < 4u; t++) {
                            let y = tops[t] + i32(p * DILATION_HEIGHT);
                            let x = lefts[t] + i32(q * DILATION_WIDTH);
                            let row = row_at(axes, planes[t], y);
                            if row.inside && is_inside(x, axes.width) {
                                taken[t] = input_at(row.start + u32(source(x, axes.width)));
                            }
                        }
                        four = fma(vec4f(tap), taken, four);
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

    for (var o = 0u; o < CHANNEL_FOURS; o++) {
        for (var c = 0u; c < 4u; c++) {
            finish_pixels(sums[o][c], own, 0u, first_tile + local.y * CHANNEL_TILE + 4u * o + c);
        }
    }
}
