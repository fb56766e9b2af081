// crop: copies a window of each plane of a tensor.
//
// Formula    y[p,i,j] = x[p, top + i, left + j]
// Mapping    One invocation: one value. Grid: x over the values of all planes.
// Traffic    Each value of the window is read once and written once.
// Needs      A window that lies within the plane.
// Bound by   Memory.
// Rust row   src/crop.rs

const WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_id) local: vec3u) {
    let index = (workgroup.x + extent.first_workgroup_x) * WORKGROUP_SIZE + local.x;
    let row = index / extent.out_width;
    let plane = row / extent.out_height;
    if plane >= extent.out_channels { return; }
    let source_row = plane * extent.in_height + row % extent.out_height + u32(extent.top);
    let source_column = index % extent.out_width + u32(extent.left);
    store(input_at(extent.input_offset + source_row * extent.in_width + source_column), index);
}
