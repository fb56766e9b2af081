// subgroup_gemm: a normal, grouped or 1 x 1 convolution as a matrix product whose weights go round a subgroup.
//
// Formula    y[n,o,i,j] = act(b[o] + r[n,o,i,j]
//                             + sum over c,p,q of w[o,c,p,q] x[n, g C + c, i s - P + p d, j s - P + q d])
// Mapping    One workgroup is one subgroup of 8 invocations. One invocation: CHANNEL_TILE output channels of one group
//            times PIXEL_TILE neighbouring pixels of a row, in registers. Grid: x over the pixels of all images, y over
//            channels, z over groups.
// Traffic    At stride 1 each value of an input row is read once per filter row and channel tile: from tap to tap the
//            values move on, and only new ones are read. Each weight is read by one invocation of the subgroup, which
//            broadcasts it to the others. Sums do not fit in registers: a round takes one from memory, adds to it for
//            TERM_TILE channels and puts it back. It reads those channels' planes in turn, so that the processor waits
//            for all of their memory at once. Each output is written once.
// Needs      Subgroups of 8 invocations on a device that puts a workgroup of 8 into one of them; 4 output channels per
//            group.
// Bound by   Loads: a software device makes them one invocation at a time.
// Rust row   src/kernels/software/subgroup_gemm.rs

// Structure: the host replaces these values, and each set of them is one pipeline.
const TERM_TILE: u32 = 2u;  // input channels per round; a step has a multiple of them
const CHANNEL_TILE: u32 = 64u;  // output channels per invocation, a multiple of 4
const PIXEL_TILE: u32 = 8u;  // output pixels per invocation, a multiple of 4

// How many of its pixels' values a tap shares with the tap before it.
const SHARED: u32 = select(0u, PIXEL_TILE - min(DILATION_WIDTH, PIXEL_TILE), STRIDE_WIDTH == 1u && KERNEL_WIDTH > 1u);
// Tiles are kept in fours: see shared/register_tile.wgsl.
const CHANNEL_FOURS: u32 = CHANNEL_TILE / 4u;
const CHANNEL_EIGHTS: u32 = (CHANNEL_TILE + 7u) / 8u;
const PIXEL_FOURS: u32 = PIXEL_TILE / 4u;

// A value of a channel that is multiplied by `scale` first. In zero padding it stays zero.
fn scaled_at(axes: Axes, row: Row, x: i32, scale: f32) -> f32 {
    let value = value_at(axes, row, x);
    if HAS_INPUT_SCALE { return select(0.0, scale * value, row.inside & is_inside(x, axes.width)); }
    return value;
}

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_id) local: vec3u,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let first_tile = (workgroup.y + extent.first_workgroup_y) * CHANNEL_TILE;
    let group = workgroup.z + extent.first_workgroup_z;
    let first_channel = group * extent.out_channels_per_group + first_tile;
    let channels = min(CHANNEL_TILE, extent.out_channels_per_group - first_tile);

    // Every invocation stays to the end, to hand its weights round. Past the last tile, it computes that one again.
    let tiles_per_line = (extent.out_width + PIXEL_TILE - 1u) / PIXEL_TILE;
    let tiles = extent.batch * extent.out_height * tiles_per_line;
    let wanted = (workgroup.x + extent.first_workgroup_x) * 8u + local.x;
    let tile = min(wanted, tiles - 1u);
    let line = tile / tiles_per_line;
    let image = line / extent.out_height;
    let row = line % extent.out_height;
    let column = tile % tiles_per_line * PIXEL_TILE;

    let in_plane = extent.in_height * extent.in_width;
    let first_in_channel = image * extent.in_channels + group * extent.in_channels_per_group;
    let first_plane = extent.input_offset + first_in_channel * in_plane;
    let axes = input_axes();
    let top = i32(row * STRIDE_HEIGHT) + extent.top;
    let left = i32(column * STRIDE_WIDTH) + extent.left;

    // Where the filters start that this invocation reads for all. Past the last channel, that channel's is read again.
    var filters: array<u32, CHANNEL_EIGHTS>;
    var sums: Sums;
    for (var e = 0u; e < CHANNEL_EIGHTS; e++) {
        let channel = first_channel + min(8u * e + lane, channels - 1u);
        filters[e] = extent.weight_offset + channel * extent.in_channels_per_group * TAPS;
        let first = start(channel);
        for (var h = 0u; h < 2u; h++) {
            if 2u * e + h >= CHANNEL_FOURS { continue; }
            let firsts = gather(first, h == 1u);
            for (var i = 0u; i < 4u; i++) {
                for (var f = 0u; f < PIXEL_FOURS; f++) { sums[2u * e + h][i][f] = vec4f(firsts[i]); }
            }
        }
    }

    for (var p = 0u; p < KERNEL_HEIGHT; p++) {
        let y = top + i32(p * DILATION_HEIGHT);
        let first = row_at(axes, first_plane, y);
        for (var c = extent.first_in_channel; c < extent.last_in_channel; c += TERM_TILE) {
            var scales: array<f32, TERM_TILE>;
            for (var k = 0u; k < TERM_TILE; k++) { scales[k] = scale_at(first_in_channel + c + k); }
            // The values that the first tap would share with a tap before it.
            var values: array<array<vec4f, PIXEL_FOURS>, TERM_TILE>;
            for (var f = 0u; f < PIXEL_FOURS; f++) {
                for (var t = 0u; t < 4u; t++) {
                    let i = 4u * f + t;
                    if i < DILATION_WIDTH || i - DILATION_WIDTH >= SHARED { continue; }
                    let x = left + i32(i - DILATION_WIDTH);
                    for (var k = 0u; k < TERM_TILE; k++) {
                        let line = Row(first.start + (c + k) * in_plane, first.inside);
                        values[k][f][t] = scaled_at(axes, line, x, scales[k]);
                    }
                }
            }
            for (var q = 0u; q < KERNEL_WIDTH; q++) {
                for (var f = 0u; f < PIXEL_FOURS; f++) {
                    for (var t = 0u; t < 4u; t++) {
                        let i = 4u * f + t;
                        let x = left + i32(i * STRIDE_WIDTH + q * DILATION_WIDTH);
                        for (var k = 0u; k < TERM_TILE; k++) {
                            if i < SHARED {
                                values[k][f][t] = values[k][(i + DILATION_WIDTH) / 4u][(i + DILATION_WIDTH) % 4u];
                            } else {
                                let line = Row(first.start + (c + k) * in_plane, first.inside);
                                values[k][f][t] = scaled_at(axes, line, x, scales[k]);
                            }
                        }
                    }
                }
                for (var e = 0u; e < CHANNEL_EIGHTS; e++) {
                    var own: array<f32, TERM_TILE>;
                    for (var k = 0u; k < TERM_TILE; k++) {
                        own[k] = weight_at(filters[e] + ((c + k) * KERNEL_HEIGHT + p) * KERNEL_WIDTH + q);
                    }
                    for (var h = 0u; h < 2u; h++) {
                        if 2u * e + h >= CHANNEL_FOURS { continue; }
                        var factors: array<vec4f, TERM_TILE>;
                        for (var k = 0u; k < TERM_TILE; k++) { factors[k] = gather(own[k], h == 1u); }
                        for (var i = 0u; i < 4u; i++) {
                            for (var f = 0u; f < PIXEL_FOURS; f++) {
                                var sum = sums[2u * e + h][i][f];
                                for (var k = 0u; k < TERM_TILE; k++) {
                                    sum = fma(vec4f(factors[k][i]), values[k][f], sum);
                                }
                                sums[2u * e + h][i][f] = sum;
                            }
                        }
                    }
                }
            }
        }
    }

    let out_plane = extent.out_height * extent.out_width;
    let first_output = (image * extent.out_channels + first_channel) * out_plane + row * extent.out_width + column;
    for (var first_four = 0u; first_four < end_of_sixteens(channels); first_four += FOURS_AT_ONCE) {
        var some = sixteen(&sums, first_four);
        for (var o = 0u; o < FOURS_AT_ONCE; o++) {
            for (var i = 0u; i < 4u; i++) {
                let channel = 4u * (first_four + o) + i;
                if channel >= channels { continue; }
                for (var f = 0u; f < PIXEL_FOURS; f++) {
                    for (var t = 0u; t < 4u; t++) {
                        let pixel = 4u * f + t;
                        if (wanted < tiles) & (column + pixel < extent.out_width) {
                            finish(some[o][i][f][t], first_output + channel * out_plane + pixel);
                        }
                    }
                }
            }
        }
    }
}
