// subgroup_pointwise: a 1 x 1 convolution as a matrix product, its values read in pairs and its weights handed round.
//
// Formula    y[n,o,i] = act(b[o] + r[n,o,i] + sum over c of w[o,c] x[n, g C + c, i])
// Mapping    One workgroup is one subgroup of 8 invocations. One invocation: CHANNEL_TILE output channels of one group
//            times PIXEL_TILE neighbouring pixels of a plane, in registers. Grid: x and y over channels and over the
//            pixels of all images, z over groups. Workgroups follow each other along x. If a group has no more channels
//            than a plane has pixels, x is over channels: values are still in a cache when the next tile reads them.
//            Otherwise x is over pixels, and weights are.
// Traffic    Each value is read once per channel tile. Each weight is read by one invocation of the subgroup, which
//            broadcasts it to the others. A software device reads memory one invocation and one element at a time, so
//            both are read as 64-bit integers that hold two values: two pixels; or a filter's weights for two input
//            channels, which make one round. Each output is written once.
// Needs      Subgroups of 8 invocations on a device that puts a workgroup of 8 into one of them; 64-bit integers;
//            stride 1 and no padding; the input channels of a group in one binding; per group, 4 output channels, and
//            an even number of input channels, so that no plane of an even channel and no filter starts within a pair,
//            but at most 16,384, so that no sum is cut. A tensor that starts at an odd value is copied first, by a step
//            that `bind` adds, so the result is right at any offset.
// Bound by   Loads, and sums that pass through memory.
// Rust row   src/kernels/software/subgroup_pointwise.rs

// Structure: the host replaces these values, and each set of them is one pipeline.
const ODD_PLANES: bool = false;  // whether planes have an odd number of pixels: then odd channels' start within a pair
const CHANNEL_TILE: u32 = 64u;  // output channels per invocation, a multiple of 4
const PIXEL_TILE: u32 = 8u;  // output pixels per invocation, a multiple of 4

// Tiles are kept in fours: see shared/register_tile.wgsl.
const CHANNEL_FOURS: u32 = CHANNEL_TILE / 4u;
const CHANNEL_EIGHTS: u32 = (CHANNEL_TILE + 7u) / 8u;
const PIXEL_FOURS: u32 = PIXEL_TILE / 4u;

@group(0) @binding(1) var<storage, read> input: array<u64>;
@group(0) @binding(2) var<storage, read> weight: array<u64>;

// The two values that are stored one after the other.
fn unpack(pair: u64) -> vec2f {
    return vec2f(bitcast<f32>(u32(pair)), bitcast<f32>(u32(pair >> 32u)));
}

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_id) local: vec3u,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let place = workgroup.xy + vec2u(extent.first_workgroup_x, extent.first_workgroup_y);
    let plane = extent.in_height * extent.in_width;
    // As the host's grid has it: see "Mapping".
    let channels_first = extent.out_channels_per_group <= plane;
    let first_tile = select(place.y, place.x, channels_first) * CHANNEL_TILE;
    let group = workgroup.z + extent.first_workgroup_z;
    let first_channel = group * extent.out_channels_per_group + first_tile;
    let channels = min(CHANNEL_TILE, extent.out_channels_per_group - first_tile);

    // Every invocation stays to the end, to hand its weights round. Past the last tile, it computes that one again.
    let tiles_per_plane = (plane + PIXEL_TILE - 1u) / PIXEL_TILE;
    let tiles = extent.batch * tiles_per_plane;
    let wanted = select(place.x, place.y, channels_first) * 8u + local.x;
    let tile = min(wanted, tiles - 1u);
    let image = tile / tiles_per_plane;
    let first_pixel = tile % tiles_per_plane * PIXEL_TILE;
    let first_in_channel = image * extent.in_channels + group * extent.in_channels_per_group;
    let first_plane = extent.input_offset + first_in_channel * plane;
    let last_pair = (extent.input_offset + extent.batch * extent.in_channels * plane) / 2u - 1u;

    // Where the filters start that this invocation reads for all. Past the last channel, that channel's is read again.
    var filters: array<u32, CHANNEL_EIGHTS>;
    var sums: Sums;
    for (var e = 0u; e < CHANNEL_EIGHTS; e++) {
        let channel = first_channel + min(8u * e + lane, channels - 1u);
        filters[e] = (extent.weight_offset + channel * extent.in_channels_per_group) / 2u;
        let first = start(channel);
        for (var h = 0u; h < 2u; h++) {
            if 2u * e + h >= CHANNEL_FOURS { continue; }
            let firsts = gather(first, h == 1u);
            for (var i = 0u; i < 4u; i++) {
                for (var f = 0u; f < PIXEL_FOURS; f++) { sums[2u * e + h][i][f] = vec4f(firsts[i]); }
            }
        }
    }

    for (var c = extent.first_in_channel; c < extent.last_in_channel; c += 2u) {
        // Both channels' planes are read in turn, so that the processor waits for their memory at once.
        var values: array<array<vec4f, PIXEL_FOURS>, 2>;
        for (var t = 0u; t <= PIXEL_TILE / 2u; t++) {
            for (var k = 0u; k < 2u; k++) {
                let before = select(0u, 1u, ODD_PLANES && k == 1u);
                if t == PIXEL_TILE / 2u && before == 0u { continue; }
                let pair = (first_plane + (c + k) * plane + first_pixel - before) / 2u + t;
                // What lies past a plane's last pixel is read too, and not used.
                let two = unpack(input[min(pair, last_pair)]);
                for (var s = 0u; s < 2u; s++) {
                    let i = 2u * t + s;
                    if i < before || i - before >= PIXEL_TILE { continue; }
                    values[k][(i - before) / 4u][(i - before) % 4u] = two[s];
                }
            }
        }
        if HAS_INPUT_SCALE {
            for (var k = 0u; k < 2u; k++) {
                for (var f = 0u; f < PIXEL_FOURS; f++) { values[k][f] *= scale_at(first_in_channel + c + k); }
            }
        }
        for (var e = 0u; e < CHANNEL_EIGHTS; e++) {
            let own = unpack(weight[filters[e] + c / 2u]);
            for (var h = 0u; h < 2u; h++) {
                if 2u * e + h >= CHANNEL_FOURS { continue; }
                let factors = array(gather(own.x, h == 1u), gather(own.y, h == 1u));
                for (var i = 0u; i < 4u; i++) {
                    for (var f = 0u; f < PIXEL_FOURS; f++) {
                        let sum = fma(vec4f(factors[0][i]), values[0][f], sums[2u * e + h][i][f]);
                        sums[2u * e + h][i][f] = fma(vec4f(factors[1][i]), values[1][f], sum);
                    }
                }
            }
        }
    }

    let first_output = (image * extent.out_channels + first_channel) * plane + first_pixel;
    for (var first_four = 0u; first_four < end_of_sixteens(channels); first_four += FOURS_AT_ONCE) {
        var some = sixteen(&sums, first_four);
        for (var o = 0u; o < FOURS_AT_ONCE; o++) {
            for (var i = 0u; i < 4u; i++) {
                let channel = 4u * (first_four + o) + i;
                if channel >= channels { continue; }
                for (var f = 0u; f < PIXEL_FOURS; f++) {
                    for (var t = 0u; t < 4u; t++) {
                        let pixel = 4u * f + t;
                        if (wanted < tiles) & (first_pixel + pixel < plane) {
                            finish(some[o][i][f][t], first_output + channel * plane + pixel);
                        }
                    }
                }
            }
        }
    }
}
