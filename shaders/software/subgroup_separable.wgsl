// subgroup_separable: a depthwise convolution and the 1 x 1 one that mixes its channels, in one step, in registers.
//
// Formula    z[n,m,i,j] = act'(b'[m] + sum over p,q of v[m,p,q] x[n, m / M, i s - P + p d, j s - P + q d])
//            y[n,o,i,j] = act(b[o] + r[n,o,i,j] + sum over m of w[o,m] z[n,m,i,j])
// Mapping    One workgroup is one subgroup of 8 invocations. One invocation: ROW_TILE x 4 neighbouring pixels times
//            CHANNEL_TILE output channels. It computes z for its pixels, one channel at a time, and adds it to all its
//            sums. Grid: x over the pixels of all images, y over channels.
// Traffic    z stays in registers. It is computed once if one invocation has all output channels, and otherwise once
//            per CHANNEL_TILE of them; each time, the window under an invocation's pixels is read once. Each weight is
//            read by one invocation of the subgroup, which broadcasts it to the others. Each output is written once.
// Needs      Subgroups of 8 invocations on a device that puts a workgroup of 8 into one of them; a window of at most 8
//            rows of 16 values; a filter of at most 64 taps; 7 storage buffers; a depthwise weight that fits in a
//            binding; M (KERNEL_HEIGHT * KERNEL_WIDTH + 1) of at most 16,384, where M is the depth multiplier.
// Bound by   Loads: a software device makes them one invocation at a time.
// Rust row   src/kernels/software/subgroup_separable.rs

// Structure: the host replaces these values, and each set of them is one pipeline.
const ROW_TILE: u32 = 2u;  // output rows per invocation
const CHANNEL_TILE: u32 = 64u;  // output channels per invocation, a multiple of 4

// The window of the input under one invocation's pixels.
const WINDOW_HEIGHT: u32 = (ROW_TILE - 1u) * STRIDE_HEIGHT + (KERNEL_HEIGHT - 1u) * DILATION_HEIGHT + 1u;
const WINDOW_WIDTH: u32 = 3u * STRIDE_WIDTH + (KERNEL_WIDTH - 1u) * DILATION_WIDTH + 1u;
// Tiles are kept in fours: see shared/register_tile.wgsl.
const WINDOW_FOURS: u32 = (WINDOW_WIDTH + 3u) / 4u;
const TAP_EIGHTS: u32 = (TAPS + 7u) / 8u;
const CHANNEL_FOURS: u32 = CHANNEL_TILE / 4u;
const PIXEL_FOURS: u32 = ROW_TILE;  // a row has four pixels
const CHANNEL_EIGHTS: u32 = (CHANNEL_TILE + 7u) / 8u;

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_id) local: vec3u,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let first_channel = (workgroup.y + extent.first_workgroup_y) * CHANNEL_TILE;
    let channels = min(CHANNEL_TILE, extent.out_channels - first_channel);
    let between_channels = extent.in_channels * extent.depth_multiplier;

    // Every invocation stays to the end, to hand its weights round. Past the last tile, it computes that one again.
    let across = (extent.out_width + 3u) / 4u;
    let down = (extent.out_height + ROW_TILE - 1u) / ROW_TILE;
    let tiles = extent.batch * down * across;
    let wanted = (workgroup.x + extent.first_workgroup_x) * 8u + local.x;
    let tile = min(wanted, tiles - 1u);
    let column = tile % across * 4u;
    let row = tile / across % down * ROW_TILE;
    let image = tile / across / down;

    let in_plane = extent.in_height * extent.in_width;
    let axes = input_axes();
    let top = i32(row * STRIDE_HEIGHT) + extent.top;
    let left = i32(column * STRIDE_WIDTH) + extent.left;

    // Where the filters start that this invocation reads for all. Past the last channel, that channel's is read again.
    var filters: array<u32, CHANNEL_EIGHTS>;
    var sums: Sums;
    for (var e = 0u; e < CHANNEL_EIGHTS; e++) {
        let channel = first_channel + min(8u * e + lane, channels - 1u);
        filters[e] = extent.weight_offset + channel * between_channels;
        let first = start(channel);
        for (var h = 0u; h < 2u; h++) {
            if 2u * e + h >= CHANNEL_FOURS { continue; }
            let firsts = gather(first, h == 1u);
            for (var i = 0u; i < 4u; i++) {
                for (var r = 0u; r < ROW_TILE; r++) { sums[2u * e + h][i][r] = vec4f(firsts[i]); }
            }
        }
    }

    let last_between = extent.last_in_channel * extent.depth_multiplier;
    for (var channel = extent.first_in_channel * extent.depth_multiplier; channel < last_between; channel++) {
        let in_channel = image * extent.in_channels + channel / extent.depth_multiplier;
        let plane = extent.input_offset + in_channel * in_plane;
        var window: array<array<vec4f, WINDOW_FOURS>, WINDOW_HEIGHT>;
        for (var w = 0u; w < WINDOW_HEIGHT; w++) {
            let y = top + i32(w);
            let line = row_at(axes, plane, y);
            for (var f = 0u; f < WINDOW_FOURS; f++) {
                for (var t = 0u; t < 4u; t++) {
                    if 4u * f + t < WINDOW_WIDTH {
                        window[w][f][t] = value_at(axes, line, left + i32(4u * f + t));
                    }
                }
            }
        }
        var taps: array<vec4f, 2u * TAP_EIGHTS>;
        for (var e = 0u; e < TAP_EIGHTS; e++) {
            let own = between_weight_at(channel * TAPS + min(8u * e + lane, TAPS - 1u));
            taps[2u * e] = gather(own, false);
            taps[2u * e + 1u] = gather(own, true);
        }

        let first = vec4f(between_start(channel));
        var between: array<vec4f, ROW_TILE>;
        for (var r = 0u; r < ROW_TILE; r++) { between[r] = first; }
        for (var p = 0u; p < KERNEL_HEIGHT; p++) {
            for (var q = 0u; q < KERNEL_WIDTH; q++) {
                let tap = p * KERNEL_WIDTH + q;
                for (var r = 0u; r < ROW_TILE; r++) {
                    var values: vec4f;
                    for (var t = 0u; t < 4u; t++) {
                        let i = t * STRIDE_WIDTH + q * DILATION_WIDTH;
                        values[t] = window[r * STRIDE_HEIGHT + p * DILATION_HEIGHT][i / 4u][i % 4u];
                    }
                    between[r] = fma(vec4f(taps[tap / 4u][tap % 4u]), values, between[r]);
                }
            }
        }
        for (var r = 0u; r < ROW_TILE; r++) {
            for (var t = 0u; t < 4u; t++) { between[r][t] = between_finish(between[r][t]); }
        }

        for (var e = 0u; e < CHANNEL_EIGHTS; e++) {
            let own = weight_at(filters[e] + channel);
            for (var h = 0u; h < 2u; h++) {
                if 2u * e + h >= CHANNEL_FOURS { continue; }
                let factors = gather(own, h == 1u);
                for (var i = 0u; i < 4u; i++) {
                    for (var r = 0u; r < ROW_TILE; r++) {
                        sums[2u * e + h][i][r] = fma(vec4f(factors[i]), between[r], sums[2u * e + h][i][r]);
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
                for (var r = 0u; r < ROW_TILE; r++) {
                    for (var t = 0u; t < 4u; t++) {
                        if (wanted < tiles) & (row + r < extent.out_height) & (column + t < extent.out_width) {
                            finish(some[o][i][r][t], first_output + channel * out_plane + r * extent.out_width + t);
                        }
                    }
                }
            }
        }
    }
}
