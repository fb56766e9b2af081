// normalise: rows of values brought to mean 0 and variance 1, then scaled and shifted: instance, layer and group norm.
//
// Formula    y[r,k] = act((x[r,k] - m) / sqrt(v + epsilon) w[g] + b[g]), where m is the mean of row r, v the mean of
//            (x[r,j] - m)^2 over j, and g = r % periods * groups + k / run
// Mapping    TEAM invocations: one row, as team.wgsl says. They find the mean, then the variance about it, which loses no
//            digits where the mean is large, then each makes every TEAM-th output.
// Traffic    Each input value is read three times, twice of these through the cache if a row fits in there. Each output is
//            written once.
// Needs      Workgroup memory for one value per invocation. At most 43,690 values per invocation.
// Bound by   Memory.
// Rust row   src/kernels/normalise.rs

const ACTIVATION: u32 = 0u;  // see activation.wgsl

struct Extent {
    first_workgroup_x: u32, first_workgroup_y: u32, first_workgroup_z: u32,
    input_offset: u32, scale_offset: u32, bias_offset: u32, offset_4: u32, output_offset: u32,
    offset_6: u32, offset_7: u32,
    count: u32, length: u32, inner: u32,
    periods: u32, groups: u32, run: u32,
    epsilon: f32,
    a: f32, b: f32,
}

@group(0) @binding(0) var<uniform> extent: Extent;
@group(0) @binding(2) var<storage, read> scale: array<Element>;
@group(0) @binding(3) var<storage, read> bias: array<Element>;

@compute @workgroup_size(TEAM * TEAMS)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_id) local: vec3u) {
    let share = share_of(workgroup, local);
    var sums = vec4f();
    for (var four = 0u; four < fours_of(share); four++) { sums += four_of(share, four, 0.0); }
    let mean = together(share, SUM, sums) / f32(extent.length);

    var squares = vec4f();
    for (var four = 0u; four < fours_of(share); four++) {
        let about = four_of(share, four, mean) - mean;
        squares += about * about;
    }
    let variance = together(share, SUM, squares) / f32(extent.length);

    if share.result >= extent.count { return; }
    let stretch = inverseSqrt(variance + extent.epsilon);
    let first_group = share.result % extent.periods * extent.groups;
    for (var four = 0u; four < fours_of(share); four++) {
        let normal = (four_of(share, four, mean) - mean) * stretch;
        let groups = first_group + (places_of(share, four) - share.result * extent.length) / extent.run;
        var made = vec4f();
        for (var t = 0u; t < 4u; t++) {
            let scaled = normal[t] * f32(scale[extent.scale_offset + groups[t]]);
            let shifted = scaled + f32(bias[extent.bias_offset + groups[t]]);
            made[t] = activate(shifted, ACTIVATION, extent.a, extent.b);
        }
        store_four(share, four, made);
    }
}
