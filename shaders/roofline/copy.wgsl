// copy: measures how fast memory is.
//
// Formula    y[i] = x[i]
// Mapping    One invocation: one vec4f. Grid: x and y over the vec4f of the buffer, WORKGROUPS_PER_ROW along x.
// Traffic    An invocation reads 16 bytes and writes 16.
// Needs      Nothing.
// Bound by   Memory, as it should be.
// Rust row   src/roofline.rs

// The grid is folded over x and y: see WORKGROUPS_PER_ROW in src/roofline.rs.
const WORKGROUPS_PER_ROW: u32 = 16384u;
const WORKGROUP_SIZE: u32 = 64u;

@group(0) @binding(1) var<storage, read> input: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> output: array<vec4f>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
    let index = (workgroup.y * WORKGROUPS_PER_ROW + workgroup.x) * WORKGROUP_SIZE + local;
    if index < arrayLength(&output) { output[index] = input[index]; }
}
