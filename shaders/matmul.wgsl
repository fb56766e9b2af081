// matmul: products of matrices, for each place of a batch.
//
// Formula    y[n,i,j] = act(b[j] + sum over k of p[n,i,k] q[n,k,j])
// Mapping    One invocation: ROWS * ROW_TILES rows times 4 * COLUMN_FOURS columns of the output, in registers. One
//            workgroup: WORKGROUP_WIDTH invocations along the columns times WORKGROUP_HEIGHT along the rows. An
//            invocation's columns are WORKGROUP_WIDTH apart, so that neighbouring invocations read neighbouring values.
//            Grid: x over columns, y over rows, z over the batch. How far apart an operand's rows, columns and matrices
//            are says whether it is transposed, and whether one matrix serves several products.
// Traffic    The first operand is read once per column tile, the second once per row tile, both through the cache. Each
//            output is written once, or once per 8,192 terms.
// Needs      Nothing.
// Bound by   Loads: a term costs one for each row and each column of the tile, for rows * columns multiply-adds.
// Rust row   src/kernels/matmul.rs

const WORKGROUP_WIDTH: u32 = 16u;  // invocations along the columns
const WORKGROUP_HEIGHT: u32 = 4u;  // invocations along the rows
const ROWS: u32 = 4u;  // in a row tile: 1 or 4
const ROW_TILES: u32 = 1u;  // per invocation
const COLUMN_FOURS: u32 = 1u;  // per invocation

struct Extent {
    first_workgroup_x: u32, first_workgroup_y: u32, first_workgroup_z: u32,
    input_offset: u32, other_offset: u32, bias_offset: u32, residual_offset: u32, output_offset: u32,
    offset_6: u32, offset_7: u32,
    rows: u32, columns: u32,
    // The terms that this step sums, the last one not included.
    first_term: u32, last_term: u32,
    // How many products the second axis of the batch has.
    batch: u32,
    // How far apart an operand's matrices are along both axes of the batch, then its rows and its columns.
    input_outer: u32, input_inner: u32, input_row: u32, input_column: u32,
    other_outer: u32, other_inner: u32, other_row: u32, other_column: u32,
    activation_low: f32, activation_high: f32,
}

@group(0) @binding(0) var<uniform> extent: Extent;
@group(0) @binding(2) var<storage, read> other: array<Element>;

fn other_at(index: u32) -> f32 { return f32(other[index]); }

@compute @workgroup_size(WORKGROUP_WIDTH, WORKGROUP_HEIGHT)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_id) local: vec3u) {
    let first_column = (workgroup.x + extent.first_workgroup_x) * WORKGROUP_WIDTH * COLUMN_FOURS * 4u + local.x;
    let first_row = ((workgroup.y + extent.first_workgroup_y) * WORKGROUP_HEIGHT + local.y) * ROWS * ROW_TILES;
    if first_column >= extent.columns || first_row >= extent.rows { return; }
    let product = workgroup.z + extent.first_workgroup_z;
    let outer = product / extent.batch;
    let inner = product % extent.batch;
    let input_start = extent.input_offset + outer * extent.input_outer + inner * extent.input_inner;
    let other_start = extent.other_offset + outer * extent.other_outer + inner * extent.other_inner;

    // Where each column and each row starts. Past the last one, the first one is read again and not stored.
    var columns: array<vec4u, COLUMN_FOURS>;
    var bias_of: array<vec4f, COLUMN_FOURS>;
    for (var f = 0u; f < COLUMN_FOURS; f++) {
        let ahead = first_column + (4u * f + vec4u(0u, 1u, 2u, 3u)) * WORKGROUP_WIDTH;
        let column = select(vec4u(first_column), ahead, ahead < vec4u(extent.columns));
        columns[f] = other_start + column * extent.other_column;
        bias_of[f] = vec4f(start(column.x), start(column.y), start(column.z), start(column.w));
    }
    var rows: array<array<u32, ROWS>, ROW_TILES>;
    var sums: array<array<array<vec4f, COLUMN_FOURS>, ROWS>, ROW_TILES>;
    for (var r = 0u; r < ROW_TILES; r++) {
        for (var i = 0u; i < ROWS; i++) {
            let ahead = first_row + r * ROWS + i;
            rows[r][i] = input_start + select(first_row, ahead, ahead < extent.rows) * extent.input_row;
            for (var f = 0u; f < COLUMN_FOURS; f++) { sums[r][i][f] = bias_of[f]; }
        }
    }

    for (var term = extent.first_term; term < extent.last_term; term++) {
        var values: array<vec4f, COLUMN_FOURS>;
        for (var f = 0u; f < COLUMN_FOURS; f++) {
            let at = columns[f] + term * extent.other_row;
            values[f] = vec4f(other_at(at.x), other_at(at.y), other_at(at.z), other_at(at.w));
        }
        for (var r = 0u; r < ROW_TILES; r++) {
            for (var i = 0u; i < ROWS; i++) {
                let factor = vec4f(input_at(rows[r][i] + term * extent.input_column));
                for (var f = 0u; f < COLUMN_FOURS; f++) { sums[r][i][f] = fma(factor, values[f], sums[r][i][f]); }
            }
        }
    }

    for (var r = 0u; r < ROW_TILES; r++) {
        for (var i = 0u; i < ROWS; i++) {
            let row = first_row + r * ROWS + i;
            for (var f = 0u; f < COLUMN_FOURS; f++) {
                for (var t = 0u; t < 4u; t++) {
                    let column = first_column + (4u * f + t) * WORKGROUP_WIDTH;
                    if (row < extent.rows) & (column < extent.columns) {
                        finish(sums[r][i][f][t], (product * extent.rows + row) * extent.columns + column);
                    }
                }
            }
        }
    }
}
