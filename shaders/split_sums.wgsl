// split_sums: adds up sums that were cut into PARTS parts, each of which other workgroups made.
//
// Formula    y[n,g,o,p] = act(b[g,o] + r[n,g,o,p] + sum over k of x[n,g,k,o,p]), for image n, group g, output channel o of the
//            group, part k and pixel p
// Mapping    One invocation: one output. Grid: x over the outputs, so that neighbouring invocations read neighbouring values.
// Traffic    Each part of a sum is read once. Each output is written once.
// Needs      Nothing.
// Bound by   Memory.
// Rust row   src/kernels/split_sums.rs

const PARTS: u32 = 2u;
const WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_id) local: vec3u) {
    let index = (workgroup.x + extent.first_workgroup_x) * WORKGROUP_SIZE + local.x;
    let plane = extent.out_height * extent.out_width;
    let all_channels = index / plane;
    if all_channels >= extent.batch * extent.out_channels { return; }

    let group = extent.out_channels_per_group * plane;
    let first = extent.input_offset + index + index / group * (PARTS - 1u) * group;
    var sum = start(all_channels % extent.out_channels);
    for (var k = 0u; k < PARTS; k++) { sum += input_at(first + k * group); }
    finish(sum, index);
}
