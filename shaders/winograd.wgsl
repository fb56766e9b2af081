// winograd: a normal or grouped 3 x 3 convolution of stride 1 by Winograd's F(2 x 2, 3 x 3): 16 products where there
// are 36.
//
// Formula    y = A^T [ sum over c of (G w G^T) * (B^T x B) ] A for each tile of 2 x 2 outputs, x its 4 x 4 inputs, *
//            value by value; then act(b[o] + r[n,o,i,j] + y)
// Source     Winograd, Arithmetic complexity of computations, 1980; Lavin and Gray, Fast algorithms for convolutional
//            neural networks, 2016
// Mapping    Three passes. One invocation: a filter of one input channel (transform_filter), a tile of an input channel
//            (transform_input), a tile of an output channel (transform_output). Between the last two any kernel makes
//            the sums as a 1 x 1 convolution of 16 times as many groups: one for each of the 16 places in a tile. A
//            transformed tensor has 16 planes, one for each place; an invocation has the same index in all of them.
// Traffic    The transformed input is 4 times the input's values, the sums 4 times the output's: each is written and
//            read once.
// Needs      Stride 1, dilation 1, 16 input and output channels per group; a buffer and a binding that hold an image and
//            the weights transformed.
// Bound by   The product between the passes for many channels; memory for few.
// Rust row   src/kernels/winograd.rs

// Structure: the host replaces these values, and each set of them is one pipeline.
const PADDING_MODE: u32 = 0u;  // 0 zeros, 1 reflect, 2 replicate, 3 circular
const HAS_BIAS: bool = true;
const HAS_RESIDUAL: bool = false;
const ACTIVATION: u32 = 0u;  // 0 none, 1 limits, 2 leaky relu, 3 silu, 4 hardswish
const WORKGROUP_WIDTH: u32 = 64u;

// The product's sums are whole before the last pass.
const CONTINUES: bool = false;
const FINISHES: bool = true;

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
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> residual: array<f32>;
@group(0) @binding(5) var<storage, read_write> output: array<f32>;

// The index within an axis of `size` that `position` means, which may lie in the padding.
// Zero padding is the caller's to leave out.
fn source(position: i32, size: i32) -> i32 {
    switch PADDING_MODE {
        case 1u: { return size - 1 - abs(size - 1 - abs(position)); }
        case 2u: { return clamp(position, 0, size - 1); }
        case 3u: { return select(select(position, position - size, position >= size), position + size, position < 0); }
        default: { return position; }
    }
}

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

// Where a tile is: its image, its row and column among the image's tiles.
struct Tile { image: u32, row: u32, column: u32 }

fn tiles_of_an_image() -> vec2u {
    return (vec2u(extent.out_width, extent.out_height) + 1u) / 2u;
}

fn tile_at(index: u32) -> Tile {
    let tiles = tiles_of_an_image();
    let line = index / tiles.x;
    return Tile(line / tiles.y, line % tiles.y, index % tiles.x);
}

fn tile_count() -> u32 {
    let tiles = tiles_of_an_image();
    return extent.batch * tiles.x * tiles.y;
}

fn index_of(invocation: vec3u) -> u32 {
    return invocation.x + extent.first_workgroup_x * WORKGROUP_WIDTH;
}

// Writes a transformed tile: each value to a plane of its own.
fn store(tile: array<vec4f, 4>, index: u32, plane: u32) {
    for (var i = 0u; i < 4u; i++) {
        for (var j = 0u; j < 4u; j++) { output[extent.output_offset + (4u * i + j) * plane + index] = tile[i][j]; }
    }
}

// G of a column of three.
fn filter_transform(a: vec3f, b: vec3f, c: vec3f) -> array<vec3f, 4> {
    return array(a, 0.5 * (a + b + c), 0.5 * (a - b + c), c);
}

@compute @workgroup_size(WORKGROUP_WIDTH)
fn transform_filter(@builtin(global_invocation_id) invocation: vec3u) {
    let count = extent.out_channels * extent.in_channels_per_group;
    let index = index_of(invocation);
    if index >= count { return; }
    let first = extent.weight_offset + 9u * index;
    var rows: array<vec3f, 3>;
    for (var i = 0u; i < 3u; i++) {
        rows[i] = vec3f(weight[first + 3u * i], weight[first + 3u * i + 1u], weight[first + 3u * i + 2u]);
    }
    let columns = filter_transform(rows[0], rows[1], rows[2]);
    var tile: array<vec4f, 4>;
    for (var i = 0u; i < 4u; i++) {
        let w = columns[i];
        tile[i] = vec4f(w.x, 0.5 * (w.x + w.y + w.z), 0.5 * (w.x - w.y + w.z), w.z);
    }
    store(tile, index, count);
}

@compute @workgroup_size(WORKGROUP_WIDTH)
fn transform_input(@builtin(global_invocation_id) invocation: vec3u) {
    let tiles = tile_count();
    let count = extent.in_channels * tiles;
    let index = index_of(invocation);
    if index >= count { return; }
    let tile = tile_at(index % tiles);
    let plane = extent.input_offset
        + (tile.image * extent.in_channels + index / tiles) * extent.in_height * extent.in_width;
    let height = i32(extent.in_height);
    let width = i32(extent.in_width);
    let top = i32(2u * tile.row) - i32(extent.padding_top);
    let left = i32(2u * tile.column) - i32(extent.padding_left);
    var x: array<vec4f, 4>;
    for (var i = 0u; i < 4u; i++) {
        let row = top + i32(i);
        let row_inside = PADDING_MODE != 0u || (row >= 0 && row < height);
        let line = plane + u32(clamp(source(row, height), 0, height - 1)) * extent.in_width;
        for (var j = 0u; j < 4u; j++) {
            let column = left + i32(j);
            let inside = row_inside && (PADDING_MODE != 0u || (column >= 0 && column < width));
            x[i][j] = select(0.0, input[line + u32(clamp(source(column, width), 0, width - 1))], inside);
        }
    }
    // B^T of the columns, then of the rows.
    let columns = array(x[0] - x[2], x[1] + x[2], x[2] - x[1], x[1] - x[3]);
    var transformed: array<vec4f, 4>;
    for (var i = 0u; i < 4u; i++) {
        let c = columns[i];
        transformed[i] = vec4f(c.x - c.z, c.y + c.z, c.z - c.y, c.y - c.w);
    }
    store(transformed, index, count);
}

@compute @workgroup_size(WORKGROUP_WIDTH)
fn transform_output(@builtin(global_invocation_id) invocation: vec3u) {
    let tiles = tile_count();
    let count = extent.out_channels * tiles;
    let index = index_of(invocation);
    if index >= count { return; }
    let tile = tile_at(index % tiles);
    let channel = index / tiles;
    var m: array<vec4f, 4>;
    for (var i = 0u; i < 4u; i++) {
        for (var j = 0u; j < 4u; j++) { m[i][j] = input[extent.input_offset + (4u * i + j) * count + index]; }
    }
    // A^T of the columns, then of the rows.
    let columns = array(m[0] + m[1] + m[2], m[1] - m[2] - m[3]);
    let first = start(channel);
    let plane = (tile.image * extent.out_channels + channel) * extent.out_height * extent.out_width;
    for (var i = 0u; i < 2u; i++) {
        let c = columns[i];
        let y = vec2f(c.x + c.y + c.z, c.y - c.z - c.w) + first;
        let row = 2u * tile.row + i;
        for (var j = 0u; j < 2u; j++) {
            let column = 2u * tile.column + j;
            if row < extent.out_height && column < extent.out_width { finish(y[j], plane + row * extent.out_width + column); }
        }
    }
}
