// transforms: the steps of Winograd's method around its product, for tiles of any size.
//
// A tile has OUTPUTS x OUTPUTS outputs and sees SIDE x SIDE inputs. A kernel's own file says how a line of a tile is
// transformed: filter_transform, input_transform and output_transform multiply it by G, B^T and A^T. A whole tile is
// transformed row by row, then column by column.

const WORKGROUP_WIDTH: u32 = 64u;
const TILES_TOGETHER: u32 = 1u;  // a transformed tensor has a multiple of so many tiles; those that are missing stay as they are

const SIDE: u32 = OUTPUTS + 2u;

alias Line = array<f32, SIDE>;
alias OutputLine = array<f32, OUTPUTS>;

// Where a tile is: its image, its row and column among the image's tiles.
struct Tile { image: u32, row: u32, column: u32 }

fn tiles_of_a_row() -> u32 { return (extent.out_width + OUTPUTS - 1u) / OUTPUTS; }

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

@compute @workgroup_size(WORKGROUP_WIDTH)
fn transform_filter(@builtin(global_invocation_id) invocation: vec3u) {
    let count = extent.out_channels * extent.in_channels_per_group;
    let index = index_of(invocation);
    if index >= count { return; }
    let first = extent.weight_offset + 9u * index;
    var rows: array<Line, 3>;
    for (var i = 0u; i < 3u; i++) {
        let row = first + 3u * i;
        rows[i] = filter_transform(weight_at(row), weight_at(row + 1u), weight_at(row + 2u));
    }
    for (var j = 0u; j < SIDE; j++) {
        let column = filter_transform(rows[0][j], rows[1][j], rows[2][j]);
        for (var i = 0u; i < SIDE; i++) { store(column[i], (SIDE * i + j) * count + index); }
    }
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
    let top = i32(OUTPUTS * tile.row) + extent.top;
    let left = i32(OUTPUTS * tile.column) + extent.left;
    var rows: array<Line, SIDE>;
    for (var i = 0u; i < SIDE; i++) {
        let line = row_at(axes, plane, top + i32(i));
        var x = Line();
        for (var j = 0u; j < SIDE; j++) { x[j] = value_at(axes, line, left + i32(j)); }
        rows[i] = input_transform(x);
    }
    for (var j = 0u; j < SIDE; j++) {
        var x = Line();
        for (var i = 0u; i < SIDE; i++) { x[i] = rows[i][j]; }
        let column = input_transform(x);
        for (var i = 0u; i < SIDE; i++) { store(column[i], (SIDE * i + j) * count + index); }
    }
}

@compute @workgroup_size(WORKGROUP_WIDTH)
fn transform_output(@builtin(global_invocation_id) invocation: vec3u) {
    let tiles = padded_tile_count();
    let count = extent.out_channels * tiles;
    let index = index_of(invocation);
    if index >= count || index % tiles >= tile_count() { return; }
    let tile = tile_at(index % tiles);
    let channel = index / tiles;
    var columns: array<OutputLine, SIDE>;
    for (var j = 0u; j < SIDE; j++) {
        var m = Line();
        for (var i = 0u; i < SIDE; i++) { m[i] = input_at(extent.input_offset + (SIDE * i + j) * count + index); }
        columns[j] = output_transform(m);
    }
    let first = start(channel);
    let plane = (tile.image * extent.out_channels + channel) * extent.out_height * extent.out_width;
    for (var i = 0u; i < OUTPUTS; i++) {
        var m = Line();
        for (var j = 0u; j < SIDE; j++) { m[j] = columns[j][i]; }
        let y = output_transform(m);
        let row = OUTPUTS * tile.row + i;
        for (var j = 0u; j < OUTPUTS; j++) {
            let column = OUTPUTS * tile.column + j;
            if (row < extent.out_height) & (column < extent.out_width) {
                finish(y[j] + first, plane + row * extent.out_width + column);
            }
        }
    }
}
