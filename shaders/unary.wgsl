// unary: a function of each value.
//
// Formula    y[i] = f(x[i])
// Mapping    One invocation: VALUES values, WORKGROUP_SIZE apart, so that neighbouring invocations read neighbouring values.
// Traffic    Each value is read once and written once.
// Needs      Nothing.
// Bound by   Memory.
// Rust row   src/kernels/unary.rs

const ACTIVATION: u32 = 0u;  // see activation.wgsl
const WORKGROUP_SIZE: u32 = 64u;
const VALUES: u32 = 4u;

struct Extent {
    first_workgroup_x: u32, first_workgroup_y: u32, first_workgroup_z: u32,
    input_offset: u32, offset_2: u32, offset_3: u32, offset_4: u32, output_offset: u32, offset_6: u32, offset_7: u32,
    count: u32,
    a: f32, b: f32,
}

@group(0) @binding(0) var<uniform> extent: Extent;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_id) local: vec3u) {
    let first = (workgroup.x + extent.first_workgroup_x) * WORKGROUP_SIZE * VALUES + local.x;
    for (var v = 0u; v < VALUES; v++) {
        let index = first + v * WORKGROUP_SIZE;
        if index < extent.count {
            store(activate(input_at(extent.input_offset + index), ACTIVATION, extent.a, extent.b), index);
        }
    }
}
