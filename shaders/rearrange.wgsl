// rearrange: values in another order: transposed, cut, padded, repeated, reversed.
//
// Formula    y[i] = x[sum over the axes a of stride_a source(first_a + step_a i_a)], and a constant in padding with it;
//            i_a is the place of i along the axis
// Mapping    One invocation: VALUES values, as values.wgsl says. An index is taken apart along AXES axes, which costs
//            AXES - 1 divisions; a transposed matrix has two.
// Traffic    Each output is written once, in order. Reads follow the strides.
// Needs      Nothing.
// Bound by   Memory; where the last axis is not the input's own, by cache lines of which little is used.
// Rust row   src/kernels/rearrange.rs

const AXES: u32 = 1u;  // how many there are
const IS_INSIDE: bool = true;  // whether no place lies in the padding

// An axis: its size, how far apart neighbours are in the input, and where in it the places lie. The stride of an axis without
// padding may be below zero: then it wraps, and adding to it wraps back.
struct Axis { @align(16) size: u32, stride: u32, first: i32, step: i32, input_size: i32 }

struct Extent {
    first_workgroup_x: u32, first_workgroup_y: u32, first_workgroup_z: u32,
    input_offset: u32, offset_2: u32, offset_3: u32, offset_4: u32, output_offset: u32, offset_6: u32, offset_7: u32,
    count: u32,
    first: u32,  // the place of the first value in the input
    value: f32,  // what stands in constant padding
    @align(16) axes: array<Axis, 6>,  // the last one first
}

@group(0) @binding(0) var<uniform> extent: Extent;

fn value_of(index: u32) -> f32 {
    var place = extent.input_offset + extent.first;
    var inside = true;
    var rest = index;
    for (var a = 0u; a < AXES; a++) {
        let axis = extent.axes[a];
        var position = rest;
        if a + 1u < AXES {
            rest = position / axis.size;
            position -= rest * axis.size;
        }
        if !IS_INSIDE {
            let along = axis.first + i32(position) * axis.step;
            inside = inside & is_inside(along, axis.input_size);
            position = u32(source(along, axis.input_size));
        }
        place += position * axis.stride;
    }
    if !inside { return extent.value; }
    return input_at(place);
}
