// perceptron: two fully connected layers, one after the other, in one step.
//
// Formula    z[n,h] = act'(b'[h] + sum over i of v[h,i] x[n,i])
//            y[n,o] = act(b[o] + sum over h of w[o,h] z[n,h])
// Mapping    One workgroup: one image, all of both layers. A team of invocations makes each result: every member sums
//            every so many-th term, four at a time, and the first one adds up what they have. Neighbouring members read
//            neighbouring weights. Grid: x over images.
// Traffic    z never goes to memory. Each weight is read once per image; the input once per hidden feature, through the cache.
//            Each output is written once.
// Needs      Workgroups of 256 invocations with 9 KiB of memory; at most 2,048 hidden features.
// Bound by   Waiting: two short sums follow each other, and there is little else to do meanwhile.
// Rust row   src/kernels/perceptron.rs

const HAS_HIDDEN_BIAS: bool = true;
const HIDDEN_ACTIVATION: u32 = 0u;  // see activation.wgsl
const HAS_BIAS: bool = true;
const ACTIVATION: u32 = 0u;  // see activation.wgsl

const WORKGROUP_SIZE: u32 = 256u;
const MAXIMUM_HIDDEN: u32 = 2048u;
const FOURS: u32 = 2u;  // that a member reads at once

struct Extent {
    first_workgroup_x: u32, first_workgroup_y: u32, first_workgroup_z: u32,
    input_offset: u32, hidden_weight_offset: u32, hidden_bias_offset: u32, weight_offset: u32, output_offset: u32,
    bias_offset: u32, offset_7: u32,
    in_features: u32, hidden_features: u32, out_features: u32,
    // How many invocations make a result of each layer: a power of two.
    hidden_team: u32, team: u32,
    hidden_low: f32, hidden_high: f32, activation_low: f32, activation_high: f32,
}

@group(0) @binding(0) var<uniform> extent: Extent;
@group(0) @binding(2) var<storage, read> hidden_weight: array<Element>;
@group(0) @binding(3) var<storage, read> hidden_bias: array<Element>;
@group(0) @binding(4) var<storage, read> weight: array<Element>;
@group(0) @binding(6) var<storage, read> bias: array<Element>;

var<workgroup> hidden: array<f32, MAXIMUM_HIDDEN>;
var<workgroup> parts: array<f32, WORKGROUP_SIZE>;

fn hidden_weight_at(index: u32) -> f32 { return f32(hidden_weight[extent.hidden_weight_offset + index]); }

fn weight_at(index: u32) -> f32 { return f32(weight[extent.weight_offset + index]); }

// What a member of a team sums of a hidden feature.
fn hidden_share(image: u32, feature: u32, member: u32) -> f32 {
    let values = extent.input_offset + image * extent.in_features;
    let weights = feature * extent.in_features;
    var sums: array<vec4f, FOURS>;
    for (var first = member; first < extent.in_features; first += 4u * FOURS * extent.hidden_team) {
        for (var f = 0u; f < FOURS; f++) {
            let terms = first + (4u * f + vec4u(0u, 1u, 2u, 3u)) * extent.hidden_team;
            let is_there = terms < vec4u(extent.in_features);
            let at = select(vec4u(0u), terms, is_there);
            let v = values + at;
            let w = weights + at;
            let value = vec4f(input_at(v.x), input_at(v.y), input_at(v.z), input_at(v.w));
            let factor =
                vec4f(hidden_weight_at(w.x), hidden_weight_at(w.y), hidden_weight_at(w.z), hidden_weight_at(w.w));
            sums[f] = fma(select(vec4f(0.0), value, is_there), select(vec4f(0.0), factor, is_there), sums[f]);
        }
    }
    return total(sums);
}

// What a member of a team sums of an output feature.
fn share(feature: u32, member: u32) -> f32 {
    let weights = feature * extent.hidden_features;
    var sums: array<vec4f, FOURS>;
    for (var first = member; first < extent.hidden_features; first += 4u * FOURS * extent.team) {
        for (var f = 0u; f < FOURS; f++) {
            let terms = first + (4u * f + vec4u(0u, 1u, 2u, 3u)) * extent.team;
            let is_there = terms < vec4u(extent.hidden_features);
            let at = select(vec4u(0u), terms, is_there);
            let w = weights + at;
            let value = vec4f(hidden[at.x], hidden[at.y], hidden[at.z], hidden[at.w]);
            let factor = vec4f(weight_at(w.x), weight_at(w.y), weight_at(w.z), weight_at(w.w));
            sums[f] = fma(select(vec4f(0.0), value, is_there), select(vec4f(0.0), factor, is_there), sums[f]);
        }
    }
    return total(sums);
}

fn total(sums: array<vec4f, FOURS>) -> f32 {
    var all = vec4f(0.0);
    for (var f = 0u; f < FOURS; f++) { all += sums[f]; }
    return (all.x + all.y) + (all.z + all.w);
}

// What a team has, for its first member. All invocations must call it.
fn together(local: u32, team: u32, own: f32) -> f32 {
    parts[local] = own;
    workgroupBarrier();
    var sum = 0.0;
    if local % team == 0u {
        for (var member = 0u; member < team; member++) { sum += parts[local + member]; }
    }
    workgroupBarrier();
    return sum;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_id) invocation: vec3u) {
    let image = workgroup.x + extent.first_workgroup_x;
    let local = invocation.x;

    let hidden_member = local % extent.hidden_team;
    for (var first = 0u; first < extent.hidden_features; first += WORKGROUP_SIZE / extent.hidden_team) {
        let feature = first + local / extent.hidden_team;
        let is_made = feature < extent.hidden_features;
        var own = 0.0;
        if is_made { own = hidden_share(image, feature, hidden_member); }
        var sum = together(local, extent.hidden_team, own);
        if is_made && hidden_member == 0u {
            if HAS_HIDDEN_BIAS { sum += f32(hidden_bias[extent.hidden_bias_offset + feature]); }
            hidden[feature] = activate(sum, HIDDEN_ACTIVATION, extent.hidden_low, extent.hidden_high);
        }
    }
    workgroupBarrier();

    let member = local % extent.team;
    for (var first = 0u; first < extent.out_features; first += WORKGROUP_SIZE / extent.team) {
        let feature = first + local / extent.team;
        let is_made = feature < extent.out_features;
        var own = 0.0;
        if is_made { own = share(feature, member); }
        var sum = together(local, extent.team, own);
        if is_made && member == 0u {
            if HAS_BIAS { sum += f32(bias[extent.bias_offset + feature]); }
            let y = activate(sum, ACTIVATION, extent.activation_low, extent.activation_high);
            store(y, image * extent.out_features + feature);
        }
    }
}
