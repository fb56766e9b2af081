// winograd: a normal or grouped 3 x 3 convolution of stride 1 by Winograd's F(2 x 2, 3 x 3): 16 products, not 36.
//
// Formula    y = A^T [ sum over c of (G w G^T) * (B^T x B) ] A for each tile of 2 x 2 outputs, x its 4 x 4 inputs, *
//            value by value; then act(b[o] + r[n,o,i,j] + y)
// Source     Winograd, Arithmetic complexity of computations, 1980; Lavin and Gray, Fast algorithms for convolutional
//            neural networks, 2016
// Mapping    Three entry points. One invocation: a filter of one input channel (transform_filter, when weights are
//            packed), a tile of an input channel (transform_input), a tile of an output channel (transform_output).
//            Between the last two, whatever kernel is best for it makes the sums, as a 1 x 1 convolution of 16 times as
//            many groups: one for each of the 16 places in a tile. A transformed tensor has 16 planes, one for each
//            place; an invocation has the same index in all of them.
//            On GPUs there are always a multiple of 4 tiles, so that the product can take them in fours. A step may have
//            some of the rows of tiles of an image, so that what is transformed stays in a cache.
// Traffic    The transformed input has 4 times the input's values, the sums 4 times the output's. Each is written once.
//            The product reads the one, and transform_output the other, once.
// Needs      Rounding fast, since its errors may pass a sum's bound; stride 1, dilation 1; 16 input and 16 output channels
//            per group; a buffer and a binding that hold the transformed weights, or one transformed image.
// Bound by   The product for many channels; memory for few.
// Rust row   src/kernels/winograd.rs

// Structure: the host replaces these values, and each set of them is one pipeline.
const WORKGROUP_WIDTH: u32 = 64u;
const TILES_TOGETHER: u32 = 1u;  // a transformed tensor has a multiple of so many tiles; those that are missing stay as they are

// Where a tile is: its image, its row and column among the image's tiles.
struct Tile { image: u32, row: u32, column: u32 }

fn tiles_of_a_row() -> u32 { return (extent.out_width + 1u) / 2u; }

fn tile_at(index: u32) -> Tile {
    let columns = tiles_of_a_row();
    let line = index / columns;
    return Tile(line / extent.tile_rows, extent.first_tile_row + line % extent.tile_rows, index % columns);
}

fn tile_count() -> u32 { return extent.batch * extent.tile_rows * tiles_of_a_row(); }

// How many tiles each plane of a transformed tensor has.
fn padded_tile_count() -> u32 { return (tile_count() + TILES_TOGETHER - 1u) / TILES_TOGETHER * TILES_TOGETHER; }

fn index_of(invocation: vec3u) -> u32 {
    return invocation.x + extent.first_workgroup_x * WORKGROUP_WIDTH;
}

// Writes a transformed tile: each value to a plane of its own.
fn store_tile(tile: array<vec4f, 4>, index: u32, plane: u32) {
    for (var i = 0u; i < 4u; i++) {
        for (var j = 0u; j < 4u; j++) { store(tile[i][j], (4u * i + j) * plane + index); }
    }
}

// G times a column of three.
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
        rows[i] = vec3f(weight_at(first + 3u * i), weight_at(first + 3u * i + 1u), weight_at(first + 3u * i + 2u));
    }
    let columns = filter_transform(rows[0], rows[1], rows[2]);
    var tile: array<vec4f, 4>;
    for (var i = 0u; i < 4u; i++) {
        let w = columns[i];
        tile[i] = vec4f(w.x, 0.5 * (w.x + w.y + w.z), 0.5 * (w.x - w.y + w.z), w.z);
    }
    store_tile(tile, index, count);
}

@compute @workgroup_size(WORKGROUP_WIDTH)
fn transform_input(@builtin(global_invocation_id) invocation: vec3u) {
    let tiles = padded_tile_count();
    let count = extent.in_channels * tiles;
    let index = index_of(invocation);
    if index >= count || index % tiles >= tile_count() { return; }
    let tile = tile_at(index % tiles);
    let plane = extent.input_offset
        + (tile.image * extent.in_channels + index / tiles) * extent.in_height * extent.in_width;
    let axes = input_axes();
    let top = i32(2u * tile.row) + extent.top;
    let left = i32(2u * tile.column) + extent.left;
    var x: array<vec4f, 4>;
    for (var i = 0u; i < 4u; i++) {
        let row = top + i32(i);
        let line = row_at(axes, plane, row);
        for (var j = 0u; j < 4u; j++) { x[i][j] = value_at(axes, line, left + i32(j)); }
    }
    // B^T times the columns, then the rows.
    let columns = array(x[0] - x[2], x[1] + x[2], x[2] - x[1], x[1] - x[3]);
    var transformed: array<vec4f, 4>;
    for (var i = 0u; i < 4u; i++) {
        let c = columns[i];
        transformed[i] = vec4f(c.x - c.z, c.y + c.z, c.z - c.y, c.y - c.w);
    }
    store_tile(transformed, index, count);
}

@compute @workgroup_size(WORKGROUP_WIDTH)
fn transform_output(@builtin(global_invocation_id) invocation: vec3u) {
    let tiles = padded_tile_count();
    let count = extent.out_channels * tiles;
    let index = index_of(invocation);
    if index >= count || index % tiles >= tile_count() { return; }
    let tile = tile_at(index % tiles);
    let channel = index / tiles;
    var m: array<vec4f, 4>;
    for (var i = 0u; i < 4u; i++) {
        for (var j = 0u; j < 4u; j++) { m[i][j] = input_at(extent.input_offset + (4u * i + j) * count + index); }
    }
    // A^T times the columns, then the rows.
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
