// gemm: a normal or grouped convolution as a matrix product whose second matrix is never written down.
//
// Formula    y[n,o,i,j] = act(b[o] + r[n,o,i,j]
//                             + sum over p,q,c of w[o,c,p,q] x[n, g C + c, i s - P + p d, j s - P + q d])
// Mapping    One invocation: CHANNEL_TILE output channels of one group times PIXEL_TILE pixels, in registers. One
//            workgroup: WORKGROUP_WIDTH invocations along the pixels times WORKGROUP_HEIGHT along the channels. An
//            invocation's pixels are WORKGROUP_WIDTH apart, so that neighbouring invocations read neighbouring values.
//            Grid: x over pixels, y over channels, z over image and group. The taps are the outer loop, so that where a
//            tap reads, and whether that is in the padding, is found once per tap and not once per channel.
// Traffic    The input is read once per tap and channel tile, through the cache; the weights once per pixel tile. Each
//            output is written once.
// Needs      4 output channels per group: with fewer, most of a tile would be idle.
// Bound by   Loads: an input channel and tap cost CHANNEL_TILE + PIXEL_TILE loads for CHANNEL_TILE * PIXEL_TILE
//            multiply-adds.
// Rust row   src/kernels/gemm.rs

@compute @workgroup_size(WORKGROUP_WIDTH, WORKGROUP_HEIGHT)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_id) local: vec3u) {
    let tile = tile_of(workgroup, local);
    if tile.is_idle { return; }

    let axes = input_axes();
    // Where each pixel's window starts, and each channel's weights.
    var tops: array<vec4i, PIXEL_FOURS>;
    var lefts: array<vec4i, PIXEL_FOURS>;
    for (var f = 0u; f < PIXEL_FOURS; f++) {
        let pixel = pixels_of(tile, f);
        tops[f] = vec4i(pixel / extent.out_width * STRIDE_HEIGHT) + extent.top;
        lefts[f] = vec4i(pixel % extent.out_width * STRIDE_WIDTH) + extent.left;
    }
    let filter_size = extent.in_channels_per_group * TAPS;
    var filters: array<vec4u, CHANNEL_FOURS>;
    for (var f = 0u; f < CHANNEL_FOURS; f++) { filters[f] = filters_of(tile, f, filter_size); }

    var sums: array<array<array<vec4f, PIXEL_FOURS>, 4>, CHANNEL_FOURS>;
    for (var o = 0u; o < CHANNEL_FOURS; o++) {
        for (var i = 0u; i < 4u; i++) {
            let first = vec4f(start(tile.first_channel + min(4u * o + i, tile.channels - 1u)));
            for (var f = 0u; f < PIXEL_FOURS; f++) { sums[o][i][f] = first; }
        }
    }
    for (var tap = 0u; tap < TAPS; tap++) {
        let down = i32(tap / KERNEL_WIDTH * DILATION_HEIGHT);
        let along = i32(tap % KERNEL_WIDTH * DILATION_WIDTH);
        var positions: array<vec4u, PIXEL_FOURS>;
        var inside: array<vec4<bool>, PIXEL_FOURS>;
        for (var f = 0u; f < PIXEL_FOURS; f++) {
            for (var t = 0u; t < 4u; t++) {
                let y = tops[f][t] + down;
                let x = lefts[f][t] + along;
                let row = row_at(axes, tile.first_plane, y);
                inside[f][t] = row.inside & is_inside(x, axes.width);
                let column = u32(source(x, axes.width));
                positions[f][t] = row.start + select(0u, column, inside[f][t]);
            }
        }
        for (var c = extent.first_in_channel; c < extent.last_in_channel; c++) {
            let scale = scale_at(tile.first_in_channel + c);
            var values: array<vec4f, PIXEL_FOURS>;
            for (var f = 0u; f < PIXEL_FOURS; f++) {
                let at = positions[f] + c * tile.in_plane;
                let four = scale * vec4f(input_at(at.x), input_at(at.y), input_at(at.z), input_at(at.w));
                values[f] = select(vec4f(), four, inside[f]);
            }
            let weights = c * TAPS + tap;
            for (var o = 0u; o < CHANNEL_FOURS; o++) {
                for (var i = 0u; i < 4u; i++) {
                    let factor = vec4f(weight_at(filters[o][i] + weights));
                    for (var f = 0u; f < PIXEL_FOURS; f++) { sums[o][i][f] = fma(factor, values[f], sums[o][i][f]); }
                }
            }
        }
    }

    for (var o = 0u; o < CHANNEL_FOURS; o++) {
        for (var i = 0u; i < 4u; i++) {
            let first_output = tile.first_output + (tile.first_channel + 4u * o + i) * tile.out_plane;
            for (var f = 0u; f < PIXEL_FOURS; f++) {
                for (var t = 0u; t < 4u; t++) {
                    let pixel = tile.first_pixel + (4u * f + t) * WORKGROUP_WIDTH;
                    let is_output = (4u * o + i < tile.channels) & (pixel < tile.out_plane);
                    if is_output { finish(sums[o][i][f][t], first_output + pixel); }
                }
            }
        }
    }
}
