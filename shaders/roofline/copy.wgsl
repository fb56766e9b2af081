// copy: measures how fast memory is.
//
// Formula    y[i] = x[i]
// Mapping    One invocation: EACH vec4f, as far apart as a workgroup is wide, all read before the first is written. Grid: x and
//            y over the buffer, WORKGROUPS_PER_ROW along x.
// Traffic    An invocation reads 64 bytes and writes 64.
// Needs      Nothing.
// Bound by   Memory, as it should be.
// Rust row   src/roofline.rs

// The grid is folded over x and y: see WORKGROUPS_PER_ROW in src/roofline.rs.
const WORKGROUPS_PER_ROW: u32 = 4096u;
const WORKGROUP_SIZE: u32 = 64u;
const EACH: u32 = 4u;

@group(0) @binding(1) var<storage, read> input: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> output: array<vec4f>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
    let first = (workgroup.y * WORKGROUPS_PER_ROW + workgroup.x) * EACH * WORKGROUP_SIZE + local;
    if first + (EACH - 1u) * WORKGROUP_SIZE >= arrayLength(&output) { return; }
    var values: array<vec4f, EACH>;
    for (var t = 0u; t < EACH; t++) { values[t] = input[first + t * WORKGROUP_SIZE]; }
    for (var t = 0u; t < EACH; t++) { output[first + t * WORKGROUP_SIZE] = values[t]; }
}
