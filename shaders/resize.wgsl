// resize: planes of another size, by the nearest value, by lines or by cubics.
//
// Formula    y[c,i,j] = r[c,i,j] + sum over p,q of u_p(i) v_q(j) x[c, place_p(i), place_q(j)], with 1, 2 or 4 places along
//            each axis
// Mapping    One invocation: the same pixel of PLANE_TILE planes, so that its places and weights are computed once. Grid: x
//            over pixels, so that neighbouring invocations write neighbouring values; y over planes.
// Traffic    Each input value is read once per output value that it is a part of, through the cache. Each output is written
//            once.
// Needs      Nothing.
// Bound by   Memory; a small enlargement by cubics by its 16 loads per output.
// Rust row   src/kernels/resize.rs

const TAPS: u32 = 2u;  // along each axis: 1 for the nearest value, 2 for lines, 4 for cubics
const NEAREST: u32 = 0u;  // 0 halves go down, 1 halves go up, 2 the one before, 3 the one after
const HAS_RESIDUAL: bool = false;
const EXCLUDE_OUTSIDE: bool = false;  // whether cubics leave out what lies outside, or repeat the edge
const WORKGROUP_SIZE: u32 = 64u;
const PLANE_TILE: u32 = 4u;

// How the places of an axis follow from each other: place x of the output lies at (2 n x + start) / (2 d) - 1.
struct Line { n: u32, d: u32, start: u32 }

struct Extent {
    first_workgroup_x: u32, first_workgroup_y: u32, first_workgroup_z: u32,
    input_offset: u32, residual_offset: u32, offset_3: u32, offset_4: u32, output_offset: u32, offset_6: u32, offset_7: u32,
    planes: u32,
    in_height: u32, in_width: u32,
    out_height: u32, out_width: u32,
    row_n: u32, row_d: u32, row_start: u32,
    column_n: u32, column_d: u32, column_start: u32,
    coefficient: f32,
}

@group(0) @binding(0) var<uniform> extent: Extent;
@group(0) @binding(2) var<storage, read> residual: array<Element>;

// The places along an axis that a place of the output is made of, and their weights.
struct Taps { index: vec4u, weight: vec4f }

// Keys's cubic convolution (1981) at a distance of x and of 1 + x, factored so that nothing cancels out.
fn near(x: f32, a: f32) -> f32 { return (1.0 - x) * (1.0 + x - (a + 2.0) * x * x); }
fn far(x: f32, a: f32) -> f32 { return a * x * (1.0 - x) * (1.0 - x); }

// All of it is in whole numbers but the ratio, so that no compiler's rounding moves a place across a half.
fn taps_of(x: u32, line: Line, size: u32) -> Taps {
    let parts = 2u * line.d;
    // d places of the output are n of the input: only the rest is multiplied by more, so that nothing overflows.
    let ahead = 2u * line.n * (x % line.d) + line.start;
    let first = i32(x / line.d * line.n + ahead / parts) - 1;
    let rest = ahead % parts;
    let ratio = f32(rest) / f32(parts);
    var places = vec4i(first) + vec4i(0, 1, 0, 0);
    var weight = vec4f(1.0 - ratio, ratio, 0.0, 0.0);
    if TAPS == 1u {
        let is_next = vec4<bool>(rest > line.d, rest >= line.d, false, rest > 0u)[NEAREST];
        places = vec4i(select(first, first + 1, is_next));
        weight = vec4f(1.0, 0.0, 0.0, 0.0);
    }
    if TAPS == 4u {
        let a = extent.coefficient;
        places = vec4i(first) + vec4i(-1, 0, 1, 2);
        weight = vec4f(far(ratio, a), near(ratio, a), near(1.0 - ratio, a), far(1.0 - ratio, a));
        if EXCLUDE_OUTSIDE {
            let inside = (places >= vec4i(0)) & (places < vec4i(i32(size)));
            weight = select(vec4f(), weight, inside);
            let sum = weight.x + weight.y + weight.z + weight.w;
            weight /= select(1.0, sum, any(inside));
        }
    }
    return Taps(vec4u(clamp(places, vec4i(0), vec4i(i32(size) - 1))), weight);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_id) local: vec3u) {
    let pixel = (workgroup.x + extent.first_workgroup_x) * WORKGROUP_SIZE + local.x;
    let out_plane = extent.out_height * extent.out_width;
    if pixel >= out_plane { return; }
    let row_line = Line(extent.row_n, extent.row_d, extent.row_start);
    let column_line = Line(extent.column_n, extent.column_d, extent.column_start);
    let rows = taps_of(pixel / extent.out_width, row_line, extent.in_height);
    let columns = taps_of(pixel % extent.out_width, column_line, extent.in_width);

    let in_plane = extent.in_height * extent.in_width;
    let first_plane = (workgroup.y + extent.first_workgroup_y) * PLANE_TILE;
    for (var t = 0u; t < min(PLANE_TILE, extent.planes - first_plane); t++) {
        let start = extent.input_offset + (first_plane + t) * in_plane;
        var sum = 0.0;
        for (var p = 0u; p < TAPS; p++) {
            let row = start + rows.index[p] * extent.in_width;
            var of_row = 0.0;
            for (var q = 0u; q < TAPS; q++) { of_row = fma(columns.weight[q], input_at(row + columns.index[q]), of_row); }
            sum = fma(rows.weight[p], of_row, sum);
        }
        let place = (first_plane + t) * out_plane + pixel;
        if HAS_RESIDUAL { sum += f32(residual[extent.residual_offset + place]); }
        store(sum, place);
    }
}
