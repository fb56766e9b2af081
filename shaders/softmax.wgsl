// softmax: values along an axis made into shares of their exponentials' sum, or the logarithms of those.
//
// Formula    y[o,k,i] = exp(x[o,k,i] - m) / s, or x[o,k,i] - m - log(s), where m is the largest x[o,j,i] over j, so that
//            no exponential overflows, and s the sum of exp(x[o,j,i] - m) over j
// Mapping    TEAM invocations: all outputs along one axis, as team.wgsl says. They find the largest value, then the sum,
//            then each makes every TEAM-th output.
// Traffic    Each input value is read three times, twice of these through the cache if an axis fits in there. Each output
//            is written once.
// Needs      Workgroup memory for one value per invocation. At most 43,690 values per invocation.
// Bound by   Memory, and exponentials: two per value.
// Rust row   src/kernels/softmax.rs

const IS_LOG: bool = false;

struct Extent {
    first_workgroup_x: u32, first_workgroup_y: u32, first_workgroup_z: u32,
    input_offset: u32, offset_2: u32, offset_3: u32, offset_4: u32, output_offset: u32, offset_6: u32, offset_7: u32,
    count: u32, length: u32, inner: u32,
}

@group(0) @binding(0) var<uniform> extent: Extent;

// WGSL's own exponential may make a number of a NaN.
fn powers_of(x: vec4f) -> vec4f {
    return select(exp(x), x, vec4<bool>(is_nan(x.x), is_nan(x.y), is_nan(x.z), is_nan(x.w)));
}

@compute @workgroup_size(TEAM * TEAMS)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_id) local: vec3u) {
    let share = share_of(workgroup, local);
    let lowest = neutral(LARGEST);
    var highs = vec4f(lowest);
    for (var four = 0u; four < fours_of(share); four++) {
        let values = four_of(share, four, lowest);
        for (var t = 0u; t < 4u; t++) { highs[t] = larger(highs[t], values[t]); }
    }
    let largest = together(share, LARGEST, highs);

    var sums = vec4f();
    for (var four = 0u; four < fours_of(share); four++) {
        let powers = powers_of(four_of(share, four, lowest) - largest);
        // The exponential of what is not there.
        sums += select(vec4f(), powers, is_there(share, four));
    }
    let sum = together(share, SUM, sums);

    if share.result >= extent.count { return; }
    // The same of its logarithm. The sum is 1 at least, or a NaN.
    let logarithm = select(log(sum), sum, is_nan(sum));
    for (var four = 0u; four < fours_of(share); four++) {
        let less = four_of(share, four, lowest) - largest;
        let made = select(powers_of(less) / sum, less - logarithm, IS_LOG);
        store_four(share, four, made);
    }
}
