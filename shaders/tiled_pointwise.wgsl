// tiled_pointwise: a 1 x 1 convolution as a matrix product, in fours of pixels, its register tiles fed from workgroup memory.
//
// Formula    y[n,o,i] = act(b[o] + r[n,o,i] + sum over c of w[o,c] x[n, g C + c, i])
// Mapping    As tiled_gemm's, but that four neighbouring pixels are of one image, and are read and written as one. Several
//            teams add up their sums at the end; those of one team stay in registers.
// Traffic    A four of input values is read once per workgroup along the channels, a four of weights once per workgroup
//            along the pixels. From workgroup memory an invocation reads 4 * PIXEL_FOURS + CHANNEL_TILE values per
//            4 * PIXEL_FOURS * CHANNEL_TILE multiply-adds, four at a time. Each output is written once.
// Needs      kernel_size 1, stride 1, no padding; planes of a multiple of 4 pixels; 4 output channels per group; weights
//            packed as packed_weight.wgsl says; an input, a residual and an output that start at a multiple of 4 values;
//            workgroups of 256 invocations with 16 KiB of memory; with several teams, CHANNELS of at most DEPTH.
// Bound by   Arithmetic and reads of workgroup memory for long sums; memory for short ones.
// Rust row   src/kernels/tiled_pointwise.rs

// The taps of its filters: see packed_weight.wgsl.
const TAPS: u32 = 1u;

// The first one of four neighbouring pixels, counted over all images. Past the last ones, those are read again and not stored.
fn pixel_of(first: u32) -> u32 { return min(first, extent.batch * extent.out_height * extent.out_width - 4u); }

// Where four pixels are in the first plane of their image, which has `channels` of them.
fn place_of(pixel: u32, channels: u32) -> u32 {
    let plane = extent.out_height * extent.out_width;
    return pixel + pixel / plane * (channels - 1u) * plane;
}

// Four pixels of an invocation: which four of the output they are in its first channel, and whether they are there.
struct Own { first: u32, is_there: bool }

fn own_from(first: u32) -> Own {
    return Own(place_of(pixel_of(first), extent.out_channels) / 4u, first < extent.batch * extent.out_height * extent.out_width);
}

// Finishes the sums of one channel of a group at these pixels. Past the group's last channel, nothing is stored.
fn finish_own(sums: vec4f, own: Own, group: u32, channel_in_group: u32) {
    let channels = extent.out_channels_per_group;
    let channel = group * channels + min(channel_in_group, channels - 1u);
    let four = extent.output_offset / 4u + own.first + channel * (extent.out_height * extent.out_width / 4u);
    finish_row(sums + start(channel), four, four, (channel_in_group < channels) & own.is_there);
}

// Four values of each of the terms from `first_term` on. Those past the last one are zero.
fn fetch_values(first_four: u32, first_scale: u32, member: u32, first_term: u32) -> array<vec4f, VALUE_FETCHES> {
    let plane_fours = extent.out_height * extent.out_width / 4u;
    var fetched: array<vec4f, VALUE_FETCHES>;
    for (var n = 0u; n < VALUE_FETCHES; n++) {
        let term = first_term + member / FOURS + n * VALUE_TERMS;
        var four = vec4f();
        if term < extent.last_in_channel { four = scale_at(first_scale + term) * vec4f(input[first_four + term * plane_fours]); }
        fetched[n] = four;
    }
    return fetched;
}

@compute @workgroup_size(PIXEL_TILES, CHANNEL_TILES, SPLIT)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_id) local: vec3u) {
    let first_pixel = (workgroup.x + extent.first_workgroup_x) * PIXELS;
    let first_channel = (workgroup.y + extent.first_workgroup_y) * CHANNELS;
    let group = workgroup.z + extent.first_workgroup_z;
    let plane = extent.out_height * extent.out_width;
    let team = select(local.z, 0u, SPLIT == 1u);
    let member = local.y * PIXEL_TILES + local.x;
    let first_weight = first_factor(member, group, first_channel);
    // The four pixels that this invocation fetches values for: some other one may multiply them.
    let own_pixel = pixel_of(first_pixel + 4u * (member % FOURS));
    let pixels = place_of(own_pixel, extent.in_channels);
    let first_scale = own_pixel / plane * extent.in_channels + group * extent.in_channels_per_group;
    let first_in_channel = group * extent.in_channels_per_group + extent.first_in_channel;
    // Of the group's first channel, which may lie before the binding: then it wraps, and adding to it wraps back.
    let first_four = (extent.input_offset + first_in_channel * plane + pixels) / 4u - extent.first_in_channel * (plane / 4u);

    var sums: array<array<array<vec4f, PIXEL_FOURS>, 4>, CHANNEL_FOURS>;
    var start_term = extent.first_in_channel;
    var fetched_values = fetch_values(first_four, first_scale, member, start_term + team * DEPTH);
    var fetched_factors = fetch_factors(first_weight, member, start_term + team * DEPTH, extent.last_in_channel);
    // Each round multiplies terms, while the next ones are fetched.
    loop {
        share_fetched(team, member, fetched_values, fetched_factors);
        workgroupBarrier();
        start_term += DEPTH * SPLIT;
        fetched_values = fetch_values(first_four, first_scale, member, start_term + team * DEPTH);
        fetched_factors = fetch_factors(first_weight, member, start_term + team * DEPTH, extent.last_in_channel);
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
        // What is fetched replaces what was multiplied.
        workgroupBarrier();
        if start_term >= extent.last_in_channel { break; }
    }

    if SPLIT == 1u {
        for (var f = 0u; f < PIXEL_FOURS; f++) {
            let own = own_from(first_pixel + 4u * (f * PIXEL_TILES + local.x));
            for (var o = 0u; o < CHANNEL_FOURS; o++) {
                for (var c = 0u; c < 4u; c++) {
                    finish_own(sums[o][c][f], own, group, first_channel + local.y * CHANNEL_TILE + 4u * o + c);
                }
            }
        }
        return;
    }

    // The teams' sums go where the values were. Then each invocation adds up those of some channels.
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
            finish_own(four, own_from(first_pixel + 4u * (f * PIXEL_TILES + local.x)), group, first_channel + c);
        }
    }
}
