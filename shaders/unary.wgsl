// unary: a function of each value.
//
// Formula    y[i] = f(x[i])
// Mapping    One invocation: VALUES values, as values.wgsl says.
// Traffic    Each value is read once and written once.
// Needs      Nothing.
// Bound by   Memory.
// Rust row   src/kernels/unary.rs

const ACTIVATION: u32 = 0u;  // see activation.wgsl

struct Extent {
    first_workgroup_x: u32, first_workgroup_y: u32, first_workgroup_z: u32,
    input_offset: u32, offset_2: u32, offset_3: u32, offset_4: u32, output_offset: u32, offset_6: u32, offset_7: u32,
    count: u32,
    a: f32, b: f32,
}

@group(0) @binding(0) var<uniform> extent: Extent;

fn value_of(index: u32) -> f32 {
    return activate(input_at(extent.input_offset + index), ACTIVATION, extent.a, extent.b);
}
