// pointwise: a 1 x 1 convolution, dense or grouped, as the matrix product that it is.
//
// Formula    y[n,o,i,j] = act(b[o] + r[n,o,i,j] + sum over c of w[o,c] x[n, g C + c, i s, j s])
// Mapping    One invocation: CHANNEL_TILE output channels of one group times PIXEL_TILE pixels, in registers. One
//            workgroup: WORKGROUP_WIDTH invocations along the pixels times WORKGROUP_HEIGHT along the channels. An
//            invocation's pixels are WORKGROUP_WIDTH apart, so that neighbouring invocations read neighbouring values.
//            Grid: x over pixels, y over channels, z over image and group.
// Traffic    The input is read once per channel tile, the weights once per pixel tile. Each output is written once.
// Needs      kernel_size 1, no padding.
// Bound by   Arithmetic for many channels, memory for few. An input channel costs CHANNEL_TILE + PIXEL_TILE loads for
//            CHANNEL_TILE * PIXEL_TILE multiply-adds.
// Rust row   src/kernels/pointwise.rs

@compute @workgroup_size(WORKGROUP_WIDTH, WORKGROUP_HEIGHT)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_id) local: vec3u) {
    let tile = tile_of(workgroup, local);
    if tile.is_idle { return; }

    // Where each pixel is read, and where each channel's weights start.
    var pixels: array<vec4u, PIXEL_FOURS>;
    for (var f = 0u; f < PIXEL_FOURS; f++) {
        let pixel = pixels_of(tile, f);
        if STRIDE_HEIGHT == 1u && STRIDE_WIDTH == 1u {
            pixels[f] = tile.first_plane + pixel;
        } else {
            let row = pixel / extent.out_width;
            let column = pixel % extent.out_width;
            pixels[f] = tile.first_plane + row * STRIDE_HEIGHT * extent.in_width + column * STRIDE_WIDTH;
        }
    }
    let filter_size = extent.in_channels_per_group;
    var filters: array<vec4u, CHANNEL_FOURS>;
    for (var f = 0u; f < CHANNEL_FOURS; f++) { filters[f] = filters_of(tile, f, filter_size); }

    var sums: array<array<array<vec4f, PIXEL_FOURS>, 4>, CHANNEL_FOURS>;
    for (var o = 0u; o < CHANNEL_FOURS; o++) {
        for (var i = 0u; i < 4u; i++) {
            let first = vec4f(start(tile.first_channel + min(4u * o + i, tile.channels - 1u)));
            for (var f = 0u; f < PIXEL_FOURS; f++) { sums[o][i][f] = first; }
        }
    }
    for (var c = extent.first_in_channel; c < extent.last_in_channel; c++) {
        let scale = scale_at(tile.first_in_channel + c);
        var values: array<vec4f, PIXEL_FOURS>;
        for (var f = 0u; f < PIXEL_FOURS; f++) {
            let at = pixels[f] + c * tile.in_plane;
            values[f] = scale * vec4f(input_at(at.x), input_at(at.y), input_at(at.z), input_at(at.w));
        }
        for (var o = 0u; o < CHANNEL_FOURS; o++) {
            for (var i = 0u; i < 4u; i++) {
                let factor = vec4f(weight_at(filters[o][i] + c));
                for (var f = 0u; f < PIXEL_FOURS; f++) { sums[o][i][f] = fma(factor, values[f], sums[o][i][f]); }
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
