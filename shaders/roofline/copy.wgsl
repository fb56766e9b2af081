// How fast memory is: every invocation copies one vec4f.
//
// Traffic    16 bytes read and 16 written per invocation.
// Rust       src/roofline.rs

// The grid is folded over x and y: see WORKGROUPS in src/roofline.rs.
const WORKGROUPS_PER_ROW: u32 = 4096u;
const WORKGROUP_SIZE: u32 = 256u;

@group(0) @binding(0) var<storage, read> input: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> output: array<vec4f>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
    let index = (workgroup.y * WORKGROUPS_PER_ROW + workgroup.x) * WORKGROUP_SIZE + local;
    if index < arrayLength(&output) { output[index] = input[index]; }
}
