// reduce: one value for all values along an axis.
//
// Formula    y[o,i] = f(the sum, mean, product, largest or least of x[o,k,i] over k)
// Mapping    TEAM invocations: one output, as team.wgsl says. Each reads every TEAM-th value, by fours; then they bring
//            together what they have, in workgroup memory.
// Traffic    Each input value is read once. Each output is written once.
// Needs      Workgroup memory for one value per invocation. At most 131,072 values per invocation.
// Bound by   Memory.
// Rust row   src/kernels/reduce.rs

const OPERATION: u32 = 0u;  // see team.wgsl
const TERM: u32 = 0u;  // what is brought together: 0 the values, 1 their squares, 2 their absolute values
const IS_MEAN: bool = false;
const ACTIVATION: u32 = 0u;  // see activation.wgsl

struct Extent {
    first_workgroup_x: u32, first_workgroup_y: u32, first_workgroup_z: u32,
    input_offset: u32, offset_2: u32, offset_3: u32, offset_4: u32, output_offset: u32, offset_6: u32, offset_7: u32,
    count: u32, length: u32, inner: u32,
    a: f32, b: f32,
}

@group(0) @binding(0) var<uniform> extent: Extent;

fn terms_of(four: vec4f) -> vec4f {
    switch TERM {
        case 1u: { return four * four; }
        case 2u: { return abs(four); }
        default: { return four; }
    }
}

@compute @workgroup_size(TEAM * TEAMS)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_id) local: vec3u) {
    let share = share_of(workgroup, local);
    let other = neutral(OPERATION);
    var partial = vec4f(other);
    for (var four = 0u; four < fours_of(share); four++) {
        let terms = terms_of(four_of(share, four, other));
        for (var t = 0u; t < 4u; t++) { partial[t] = combine(OPERATION, partial[t], terms[t]); }
    }
    var y = together(share, OPERATION, partial);
    if IS_MEAN { y /= f32(extent.length); }
    if share.member == 0u && share.result < extent.count {
        store(activate(y, ACTIVATION, extent.a, extent.b), share.result);
    }
}
