// tiled_gemm: a normal, grouped or 1 x 1 convolution as a matrix product, its register tiles fed from workgroup memory.
//
// Formula    y[n,o,i,j] = act(b[o] + r[n,o,i,j]
//                             + sum over k of w[o,k] x[n, g C + k / KK, i s - P + p d, j s - P + q d]),
//            KK = KERNEL_HEIGHT * KERNEL_WIDTH, p = k % KK / KERNEL_WIDTH, q = k % KERNEL_WIDTH
// Mapping    One workgroup: PIXELS pixels, of all images one after another, times CHANNELS output channels of a group.
//            One invocation: 4 * PIXEL_FOURS pixels times CHANNEL_TILE channels, in registers. While it multiplies, the
//            next terms are on their way to registers. SPLIT teams of invocations take turns over the terms k, DEPTH at
//            a time, so that a few pixels with long sums still fill a device. At the end the sums of all teams go through
//            workgroup memory, where they are added up. Grid: x over pixels, y over channels, z over groups.
// Traffic    An input value is read once per tap and workgroup along the channels; four weights, as one, once per
//            workgroup along the pixels. From workgroup memory an invocation reads 4 * PIXEL_FOURS + CHANNEL_TILE values
//            per 4 * PIXEL_FOURS * CHANNEL_TILE multiply-adds, four at a time; at the end, its sums. Each output is written
//            once, neighbours by neighbouring invocations.
// Needs      4 output channels per group; weights packed as packed_weight.wgsl says; workgroups of 256 invocations with
//            16 KiB of memory; with several teams, CHANNELS of at most DEPTH.
// Bound by   Arithmetic and reads of workgroup memory for long sums; memory for short ones.
// Rust row   src/kernels/tiled_gemm.rs

// So many channels of each invocation are in workgroup memory at a time, when their sums are finished.
const SHARED: u32 = DEPTH / CHANNEL_TILES;

@compute @workgroup_size(PIXEL_TILES, CHANNEL_TILES, SPLIT)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_id) local: vec3u) {
    let first_pixel = (workgroup.x + extent.first_workgroup_x) * PIXELS;
    let first_channel = (workgroup.y + extent.first_workgroup_y) * CHANNELS;
    let group = workgroup.z + extent.first_workgroup_z;
    let team = select(local.z, 0u, SPLIT == 1u);
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
    let first_plane = extent.input_offset + group * extent.in_channels_per_group * in_plane;
    let planes = first_plane + pixels.images * (extent.in_channels * in_plane);
    let first_channels = pixels.images * extent.in_channels + group * extent.in_channels_per_group;
    // In zero padding, all taps are as far from a pixel's first one.
    let first_values = planes + vec4u(tops) * extent.in_width + vec4u(lefts);

    var sums: array<array<array<vec4f, PIXEL_FOURS>, 4>, CHANNEL_FOURS>;
    var fetched_values: array<vec4f, VALUE_FETCHES>;
    var fetched_factors: array<vec4f, FACTOR_FETCHES>;
    // Each round fetches terms and multiplies those that the round before fetched.
    var start_term = first_start;
    loop {
        if start_term < last_term {
            let first_term = start_term + team * DEPTH;
            for (var n = 0u; n < VALUE_FETCHES; n++) {
                let term = first_term + member / FOURS + n * VALUE_TERMS;
                let tap = term % TAPS;
                let down = tap / KERNEL_WIDTH * DILATION_HEIGHT;
                let right = tap % KERNEL_WIDTH * DILATION_WIDTH;
                let channel = term / TAPS;
                let plane = channel * in_plane;
                // Past the last term there is no row.
                let height = select(0u, extent.in_height, is_there(term, last_term));
                var four = vec4f();
                for (var t = 0u; t < 4u; t++) {
                    let row = u32(source(tops[t] + i32(down), axes.height));
                    let column = u32(source(lefts[t] + i32(right), axes.width));
                    var place = first_values[t] + plane + down * extent.in_width + right;
                    if PADDING_MODE != 0u { place = planes[t] + plane + row * extent.in_width + column; }
                    // A row or a column in zero padding is below 0, which wraps, or past the last one.
                    if (row < height) & (column < extent.in_width) {
                        four[t] = scale_at(first_channels[t] + channel) * input_at(place);
                    }
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
        start_term += DEPTH * SPLIT;
    }

    // The sums of SHARED channels of each invocation, and of all teams, go where the values were. From there neighbouring
    // invocations take neighbouring pixels, each one pixel of some channels. These loops stay: written out, they would be longer
    // than the product.
    let plane = extent.out_height * extent.out_width;
    let invocation = team * TEAM + member;
    let pixel = invocation % PIXELS;
    let image = (first_pixel + pixel) / plane;
    let first_place = image * (extent.out_channels - 1u) * plane + first_pixel + pixel;
    let channels = select(0u, extent.out_channels_per_group, image < extent.batch);
    let last_shared = min(CHANNEL_TILE, extent.out_channels_per_group - first_channel);
    var shared_channel = 0u;
    loop {
        workgroupBarrier();
        for (var n = 0u; n < CHANNEL_TILE; n++) {
            if n / SHARED * SHARED == shared_channel {
                for (var f = 0u; f < PIXEL_FOURS; f++) {
                    values[team][local.y * SHARED + n % SHARED][f * PIXEL_TILES + local.x] = sums[n / 4u][n % 4u][f];
                }
            }
        }
        workgroupBarrier();
        var row = invocation / PIXELS;
        while row < CHANNEL_TILES * SHARED {
            let channel_in_group = first_channel + row / SHARED * CHANNEL_TILE + shared_channel + row % SHARED;
            if channel_in_group < channels {
                let channel = group * extent.out_channels_per_group + channel_in_group;
                var sum = values[0][row][pixel / 4u][pixel % 4u];
                for (var t = 1u; t < SPLIT; t++) { sum += values[t][row][pixel / 4u][pixel % 4u]; }
                finish(sum + start(channel), first_place + channel * plane);
            }
            row += TEAM * SPLIT / PIXELS;
        }
        shared_channel += SHARED;
        if shared_channel >= last_shared { break; }
    }
}
