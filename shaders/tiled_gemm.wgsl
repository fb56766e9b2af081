// tiled_gemm: a normal, grouped or 1 x 1 convolution as a matrix product, its register tiles fed from workgroup memory.
//
// Formula    y[n,o,i,j] = act(b[o] + r[n,o,i,j]
//                             + sum over k of w[o,k] x[n, g C + k / KK, i s - P + p d, j s - P + q d]),
//            KK = KERNEL_HEIGHT * KERNEL_WIDTH, p = k % KK / KERNEL_WIDTH, q = k % KERNEL_WIDTH
// Mapping    One workgroup: PIXELS pixels, of all images one after another, times CHANNELS output channels of a group.
//            One invocation: 4 * PIXEL_FOURS pixels times CHANNEL_TILE channels, in registers. While it multiplies, the
//            next terms are on their way to registers. SPLIT teams of invocations take turns over the terms k, DEPTH at
//            a time, and add up their sums at the end, so that a few pixels with long sums still fill a device. Grid: x
//            over pixels, y over channels, z over groups.
// Traffic    An input value is read once per tap and workgroup along the channels; four weights, as one, once per
//            workgroup along the pixels. From workgroup memory an invocation reads 4 * PIXEL_FOURS + CHANNEL_TILE values
//            per 4 * PIXEL_FOURS * CHANNEL_TILE multiply-adds, four at a time. Each output is written once.
// Needs      4 output channels per group; weights packed as packed_weight.wgsl says; workgroups of 256 invocations with
//            16 KiB of memory; with several teams, CHANNELS of at most DEPTH.
// Bound by   Arithmetic and reads of workgroup memory for long sums; memory for short ones.
// Rust row   src/kernels/tiled_gemm.rs

// Which of four positions along an axis of `size` there are: all, except in zero padding.
fn are_inside(positions: vec4i, size: i32) -> vec4<bool> {
    if PADDING_MODE != 0u { return vec4<bool>(true); }
    return vec4u(positions) < vec4u(u32(size));
}

@compute @workgroup_size(PIXEL_TILES, CHANNEL_TILES, SPLIT)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_id) local: vec3u) {
    let first_pixel = (workgroup.x + extent.first_workgroup_x) * PIXELS;
    let first_channel = (workgroup.y + extent.first_workgroup_y) * CHANNELS;
    let group = workgroup.z + extent.first_workgroup_z;
    let team = local.z;
    let member = local.y * PIXEL_TILES + local.x;
    let first_start = extent.first_in_channel * TAPS;
    let last_term = extent.last_in_channel * TAPS;
    let first_weight = first_factor(member, group, first_channel);

    // The four pixels that this invocation fetches values for: some other one may multiply them.
    let pixels = pixels_from(first_pixel + 4u * (member % FOURS));
    let axes = input_axes();
    let tops = vec4i(pixels.rows * STRIDE_HEIGHT) + extent.top;
    let lefts = vec4i(pixels.columns * STRIDE_WIDTH) + extent.left;
    let in_plane = extent.in_height * extent.in_width;
    let first_plane = group * extent.in_channels_per_group;
    let planes = extent.input_offset + (pixels.images * extent.in_channels + first_plane) * in_plane;

    var sums: array<array<array<vec4f, PIXEL_FOURS>, 4>, CHANNEL_FOURS>;
    var fetched_values: array<vec4f, VALUE_FETCHES>;
    var fetched_factors: array<vec4f, FACTOR_FETCHES>;
    // Each round fetches terms and multiplies those that the round before fetched.
    for (var start_term = first_start; ; start_term += DEPTH * SPLIT) {
        if start_term < last_term {
            let first_term = start_term + team * DEPTH;
            for (var n = 0u; n < VALUE_FETCHES; n++) {
                let term = first_term + member / FOURS + n * VALUE_TERMS;
                let tap = term % TAPS;
                let channel = term / TAPS * in_plane;
                let ys = tops + i32(tap / KERNEL_WIDTH * DILATION_HEIGHT);
                let xs = lefts + i32(tap % KERNEL_WIDTH * DILATION_WIDTH);
                let inside = are_inside(ys, axes.height) & are_inside(xs, axes.width) & vec4<bool>(term < last_term);
                var four = vec4f();
                for (var t = 0u; t < 4u; t++) {
                    let line = planes[t] + channel + u32(source(ys[t], axes.height)) * extent.in_width;
                    if inside[t] { four[t] = input_at(line + u32(source(xs[t], axes.width))); }
                }
                fetched_values[n] = four;
            }
            fetched_factors = fetch_factors(first_weight, member, first_term, last_term);
        }
        if start_term > first_start {
            for (var k = 0u; k < DEPTH; k++) {
                var fours: array<vec4f, PIXEL_FOURS>;
                for (var f = 0u; f < PIXEL_FOURS; f++) { fours[f] = values[team][k][f * PIXEL_TILES + local.x]; }
                for (var o = 0u; o < CHANNEL_FOURS; o++) {
                    let factor = factors[team][k][local.y * CHANNEL_FOURS + o];
                    for (var c = 0u; c < 4u; c++) {
                        for (var f = 0u; f < PIXEL_FOURS; f++) {
                            sums[o][c][f] = fma(vec4f(factor[c]), fours[f], sums[o][c][f]);
                        }
                    }
                }
            }
        }
        if start_term >= last_term { break; }
        // What is fetched replaces what was multiplied.
        workgroupBarrier();
        share_fetched(team, member, fetched_values, fetched_factors);
        workgroupBarrier();
    }

    var own: array<Pixels, PIXEL_FOURS>;
    for (var f = 0u; f < PIXEL_FOURS; f++) { own[f] = pixels_from(first_pixel + 4u * (f * PIXEL_TILES + local.x)); }
    if SPLIT == 1u {
        for (var o = 0u; o < CHANNEL_FOURS; o++) {
            for (var c = 0u; c < 4u; c++) {
                let channel = first_channel + local.y * CHANNEL_TILE + 4u * o + c;
                for (var f = 0u; f < PIXEL_FOURS; f++) { finish_pixels(sums[o][c][f], own[f], group, channel); }
            }
        }
        return;
    }

    // The teams' sums go where the values were. Then each invocation adds up those of some channels.
    workgroupBarrier();
    for (var o = 0u; o < CHANNEL_FOURS; o++) {
        for (var c = 0u; c < 4u; c++) {
            for (var f = 0u; f < PIXEL_FOURS; f++) {
                values[team][local.y * CHANNEL_TILE + 4u * o + c][f * PIXEL_TILES + local.x] = sums[o][c][f];
            }
        }
    }
    workgroupBarrier();
    for (var c = team * CHANNEL_TILES + local.y; c < CHANNELS; c += SPLIT * CHANNEL_TILES) {
        for (var f = 0u; f < PIXEL_FOURS; f++) {
            var four = values[0][c][f * PIXEL_TILES + local.x];
            for (var t = 1u; t < SPLIT; t++) { four += values[t][c][f * PIXEL_TILES + local.x]; }
            finish_pixels(four, own[f], group, first_channel + c);
        }
    }
}
