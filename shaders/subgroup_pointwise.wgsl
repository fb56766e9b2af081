// subgroup_pointwise: a 1 x 1 convolution as a matrix product, its values read in pairs and its weights handed round.
//
// Formula    y[n,o,i] = act(b[o] + r[n,o,i] + sum over c of w[o,c] x[n, g C + c, i])
// Mapping    One workgroup is one subgroup of 8 invocations. One invocation: CHANNEL_TILE output channels of one group
//            times PIXEL_TILE neighbouring pixels of a plane, in registers. Grid: x and y over channels and over the pixels
//            of all images, z over groups.
// Traffic    Each value is read once per channel tile. Workgroups follow each other along x: along channels where a
//            group has no more of them than a plane has pixels, so that values are still in a cache when the next tile reads them, or else
//            along pixels, so that weights are. Each weight is read by one invocation of the subgroup, which
//            broadcasts it to the others. A device in software reads memory one invocation and one element at a time, so
//            both are read as 64-bit integers that are two values each: two pixels; or a filter's weights for two input
//            channels, which make one round.
// Needs      Subgroups of 8 invocations on a device that puts a workgroup of 8 into one of them; 64-bit integers; 4
//            output channels and an even number of input channels per group, so that no plane of an even channel and no
//            filter starts within a pair, and at most 16,384, so that no sum is cut; an input and a weight that do not
//            start within a pair either.
// Bound by   Loads, and sums that pass through memory.
// Rust row   src/kernels/subgroup_pointwise.rs

// Structure: the host replaces these values, and each set of them is one pipeline.
const ODD_PLANES: bool = false;  // whether planes have an odd number of pixels: those of odd channels start within a pair
const CHANNELS_FIRST: bool = true;  // whether x of the grid is over channels and y over pixels, or x over pixels
const CONTINUES: bool = false;  // whether an earlier dispatch began these sums
const FINISHES: bool = true;  // whether no later one goes on with them
const HAS_BIAS: bool = true;
const HAS_RESIDUAL: bool = false;
const ACTIVATION: u32 = 0u;  // 0 none, 1 limits, 2 leaky relu, 3 silu, 4 hardswish
const CHANNEL_TILE: u32 = 64u;  // output channels per invocation, a multiple of 4
const PIXEL_TILE: u32 = 8u;  // output pixels per invocation, a multiple of 4

// Tiles are kept in fours: see gemm.wgsl.
const CHANNEL_FOURS: u32 = CHANNEL_TILE / 4u;
const CHANNEL_EIGHTS: u32 = (CHANNEL_TILE + 7u) / 8u;
const PIXEL_FOURS: u32 = PIXEL_TILE / 4u;

struct Extent {
    in_channels: u32, in_height: u32, in_width: u32,
    out_channels: u32, out_height: u32, out_width: u32,
    in_channels_per_group: u32, out_channels_per_group: u32,
    padding_top: u32, padding_left: u32,
    // Where each tensor starts in its binding, in elements.
    input_offset: u32, weight_offset: u32, bias_offset: u32, residual_offset: u32, output_offset: u32,
    // Where this dispatch starts in the whole grid of workgroups.
    first_workgroup_x: u32, first_workgroup_y: u32, first_workgroup_z: u32,
    // The limits, or the slope, of the activation.
    activation_low: f32, activation_high: f32,
    // The input channels of a group that this dispatch sums over, the last one not included.
    first_in_channel: u32, last_in_channel: u32,
    batch: u32, unused: u32,
}

@group(0) @binding(0) var<uniform> extent: Extent;
@group(0) @binding(1) var<storage, read> input: array<u64>;
@group(0) @binding(2) var<storage, read> weight: array<u64>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> residual: array<f32>;
@group(0) @binding(5) var<storage, read_write> output: array<f32>;

// Written with comparisons, not min and max, so that a NaN passes through. `low` and `high` are its limits, or `low` its
// slope.
fn activate(x: f32, activation: u32, low: f32, high: f32) -> f32 {
    switch activation {
        case 1u: {
            let raised = select(x, low, x < low);
            return select(raised, high, x > high);
        }
        case 2u: { return select(x, x * low, x < 0.0); }
        case 3u: { return x / (1.0 + exp(-x)); }
        case 4u: { return select(x * min(x + 3.0, 6.0) / 6.0, 0.0, x <= -3.0); }
        default: { return x; }
    }
}

// What a sum starts from.
fn start(channel: u32) -> f32 {
    if HAS_BIAS && !CONTINUES { return bias[extent.bias_offset + channel]; }
    return 0.0;
}

// The fused end of every kernel: residual, activation, store. A sum that is cut goes on from what is stored.
fn finish(sum: f32, index: u32) {
    var y = sum;
    if CONTINUES { y += output[extent.output_offset + index]; }
    if !FINISHES {
        output[extent.output_offset + index] = y;
        return;
    }
    if HAS_RESIDUAL { y += residual[extent.residual_offset + index]; }
    output[extent.output_offset + index] = activate(y, ACTIVATION, extent.activation_low, extent.activation_high);
}

// The two values that are stored one after the other.
fn unpack(pair: u64) -> vec2f {
    return vec2f(bitcast<f32>(u32(pair)), bitcast<f32>(u32(pair >> 32u)));
}

// What four invocations of the subgroup hold, the first four or the last.
fn gather(own: f32, last: bool) -> vec4f {
    if last {
        return vec4f(
            subgroupBroadcast(own, 4u), subgroupBroadcast(own, 5u), subgroupBroadcast(own, 6u), subgroupBroadcast(own, 7u));
    }
    return vec4f(
        subgroupBroadcast(own, 0u), subgroupBroadcast(own, 1u), subgroupBroadcast(own, 2u), subgroupBroadcast(own, 3u));
}

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(local_invocation_id) local: vec3u,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let place = workgroup.xy + vec2u(extent.first_workgroup_x, extent.first_workgroup_y);
    let first_tile = select(place.y, place.x, CHANNELS_FIRST) * CHANNEL_TILE;
    let group = workgroup.z + extent.first_workgroup_z;
    let first_channel = group * extent.out_channels_per_group + first_tile;
    let channels = min(CHANNEL_TILE, extent.out_channels_per_group - first_tile);

    // Every invocation stays to the end, to hand its weights round; past the last pixels it works on them again.
    let plane = extent.in_height * extent.in_width;
    let tiles_per_plane = (plane + PIXEL_TILE - 1u) / PIXEL_TILE;
    let tiles = extent.batch * tiles_per_plane;
    let wanted = select(place.x, place.y, CHANNELS_FIRST) * 8u + local.x;
    let tile = min(wanted, tiles - 1u);
    let image = tile / tiles_per_plane;
    let first_pixel = tile % tiles_per_plane * PIXEL_TILE;
    let first_plane = extent.input_offset + (image * extent.in_channels + group * extent.in_channels_per_group) * plane;
    let last_pair = (extent.input_offset + extent.batch * extent.in_channels * plane) / 2u - 1u;

    // Where the filters start that this invocation reads for all: past the last one that one again.
    var filters: array<u32, CHANNEL_EIGHTS>;
    var sums: array<array<array<vec4f, PIXEL_FOURS>, 4>, CHANNEL_FOURS>;
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
        // The planes of both channels in turn, so that the processor waits for their memory at once.
        var values: array<array<vec4f, PIXEL_FOURS>, 2>;
        for (var t = 0u; t <= PIXEL_TILE / 2u; t++) {
            for (var k = 0u; k < 2u; k++) {
                let before = select(0u, 1u, ODD_PLANES && k == 1u);
                if t == PIXEL_TILE / 2u && before == 0u { continue; }
                let pair = (first_plane + (c + k) * plane + first_pixel - before) / 2u + t;
                // Past the last pixel of a plane are values of no use.
                let two = unpack(input[min(pair, last_pair)]);
                for (var s = 0u; s < 2u; s++) {
                    let i = 2u * t + s;
                    if i < before || i - before >= PIXEL_TILE { continue; }
                    values[k][(i - before) / 4u][(i - before) % 4u] = two[s];
                }
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
    for (var o = 0u; o < CHANNEL_FOURS; o++) {
        for (var i = 0u; i < 4u; i++) {
            if 4u * o + i >= channels { continue; }
            for (var f = 0u; f < PIXEL_FOURS; f++) {
                for (var t = 0u; t < 4u; t++) {
                    let pixel = 4u * f + t;
                    if wanted < tiles && first_pixel + pixel < plane {
                        finish(sums[o][i][f][t], first_output + (4u * o + i) * plane + pixel);
                    }
                }
            }
        }
    }
}
