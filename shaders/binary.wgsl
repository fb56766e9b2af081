// binary: an operation on two tensors, value by value, with broadcasting.
//
// Formula    y[i] = f(a[p] op b[q] + r[i]), where p and q are i without the axes along which a tensor has one value for all
// Mapping    One invocation: VALUES values, as values.wgsl says. An index is taken apart along AXES axes, which costs
//            AXES - 1 divisions; tensors of the same shape have one axis.
// Traffic    Each output is written once. A value that serves several outputs is read for each, through the cache.
// Needs      Nothing.
// Bound by   Memory.
// Rust row   src/kernels/binary.rs

const OPERATION: u32 = 0u;  // see src/layers/binary.rs
const AXES: u32 = 1u;  // the last so many of six; before them there is one place
const HAS_RESIDUAL: bool = false;
const ACTIVATION: u32 = 0u;  // see activation.wgsl

// An axis: its size, and how far apart neighbours are in both tensors.
struct Axis { @align(16) size: u32, input_stride: u32, other_stride: u32 }

struct Extent {
    first_workgroup_x: u32, first_workgroup_y: u32, first_workgroup_z: u32,
    input_offset: u32, other_offset: u32, residual_offset: u32, offset_4: u32, output_offset: u32, offset_6: u32, offset_7: u32,
    count: u32,
    a: f32, b: f32,
    @align(16) axes: array<Axis, 6>,  // the last one first
}

@group(0) @binding(0) var<uniform> extent: Extent;
@group(0) @binding(2) var<storage, read> other: array<Element>;
@group(0) @binding(3) var<storage, read> residual: array<Element>;

fn value_of(index: u32) -> f32 {
    var first = extent.input_offset;
    var second = extent.other_offset;
    var rest = index;
    for (var a = 0u; a < AXES; a++) {
        let axis = extent.axes[a];
        var position = rest;
        if a + 1u < AXES {
            rest = position / axis.size;
            position -= rest * axis.size;
        }
        first += position * axis.input_stride;
        second += position * axis.other_stride;
    }
    var y = operate(input_at(first), f32(other[second]));
    if HAS_RESIDUAL { y += f32(residual[extent.residual_offset + index]); }
    return activate(y, ACTIVATION, extent.a, extent.b);
}

fn operate(a: f32, b: f32) -> f32 {
    switch OPERATION {
        case 0u: { return a + b; }
        case 1u: { return a - b; }
        case 2u: { return a * b; }
        case 3u: { return a / b; }
        case 4u: { return power(a, b); }
        case 5u: { return lesser(a, b); }
        case 6u: { return larger(a, b); }
        default: { return select(a, a * b, a < 0.0); }
    }
}

// WGSL leaves the power of a negative number open, and its own may miss a whole result. This one is as IEEE 754 has it.
fn power(a: f32, b: f32) -> f32 {
    if b == 0.0 || a == 1.0 { return 1.0; }
    if is_nan(a) || is_nan(b) { return a + b; }
    if b == 1.0 { return a; }
    if b == 2.0 { return a * a; }
    if b == 3.0 { return a * a * a; }
    // The bits of infinity and of a NaN. Not from constants: WGSL refuses those that the compiler knows of.
    var bits = vec2u(0x7f800000u, 0x7fc00000u);
    let infinity = bitcast<f32>(bits.x);
    let size = abs(a);
    var y = exp2(b * log2(size));
    if size == 1.0 { y = 1.0; }
    if size == 0.0 { y = select(infinity, 0.0, b > 0.0); }
    if (bitcast<u32>(a) >> 31u) == 0u { return y; }
    // Every number of 2^24 or more is even, infinity too.
    let is_whole = floor(b) == b;
    let half = b * 0.5;
    let is_odd = is_whole && abs(b) < 16777216.0 && floor(half) != half;
    if size > 0.0 && size < infinity && !is_whole { return bitcast<f32>(bits.y); }
    return select(y, -y, is_odd);
}
