// perceptron: two fully connected layers, one after the other, in one step.
//
// Formula    z[n,h] = act'(b'[h] + sum over i of v[h,i] x[n,i])
//            y[n,o] = act(b[o] + sum over h of w[o,h] z[n,h])
// Mapping    One workgroup: one image, all of both layers. A team of invocations makes each result: every member sums
//            every so many-th term, eight at a time, and the first one adds up what they have. Neighbouring members read
//            neighbouring weights. Grid: x over images.
// Traffic    z never goes to memory. Each weight is read once per image; the input once per hidden feature, through the cache.
//            Each output is written once.
// Needs      Workgroups with 9 KiB of memory; at most 2,048 hidden features and 2,097,152 weights.
// Bound by   Waiting: two short sums follow each other, and there is little else to do meanwhile.
// Rust row   src/kernels/perceptron.rs

const HAS_HIDDEN_BIAS: bool = true;
const HIDDEN_ACTIVATION: u32 = 0u;  // see activation.wgsl
const HAS_BIAS: bool = true;
const ACTIVATION: u32 = 0u;  // see activation.wgsl

const WORKGROUP_SIZE: u32 = 256u;  // 64 where a device may have no more
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

// What a layer reads: of the first one the input and its weights, of the second what the first one made, and its own weights.
fn value_at(is_hidden: bool, image: u32, index: u32) -> f32 {
    if is_hidden { return input_at(extent.input_offset + image * extent.in_features + index); }
    return hidden[index];
}

fn factor_at(is_hidden: bool, index: u32) -> f32 {
    if is_hidden { return f32(hidden_weight[extent.hidden_weight_offset + index]); }
    return f32(weight[extent.weight_offset + index]);
}

// What a member of a team sums of a layer's feature: every so many-th of its terms.
fn share(is_hidden: bool, image: u32, feature: u32, terms: u32, team: u32, member: u32) -> f32 {
    var sums: array<vec4f, FOURS>;
    for (var first = member; first < terms; first += 4u * FOURS * team) {
        for (var f = 0u; f < FOURS; f++) {
            let ahead = first + (4u * f + vec4u(0u, 1u, 2u, 3u)) * team;
            let is_there = ahead < vec4u(terms);
            // Past the last term, the first one is read again and not added.
            let at = select(vec4u(0u), ahead, is_there);
            let w = feature * terms + at;
            let value = vec4f(
                value_at(is_hidden, image, at.x), value_at(is_hidden, image, at.y),
                value_at(is_hidden, image, at.z), value_at(is_hidden, image, at.w));
            let factor = vec4f(
                factor_at(is_hidden, w.x), factor_at(is_hidden, w.y), factor_at(is_hidden, w.z), factor_at(is_hidden, w.w));
            sums[f] = fma(select(vec4f(0.0), value, is_there), select(vec4f(0.0), factor, is_there), sums[f]);
        }
    }
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

// Adds a feature's bias, applies its function, and puts it where it is read.
fn finish(is_hidden: bool, image: u32, feature: u32, sum: f32) {
    var y = sum;
    if is_hidden {
        if HAS_HIDDEN_BIAS { y += f32(hidden_bias[extent.hidden_bias_offset + feature]); }
        hidden[feature] = activate(y, HIDDEN_ACTIVATION, extent.hidden_low, extent.hidden_high);
    } else {
        if HAS_BIAS { y += f32(bias[extent.bias_offset + feature]); }
        y = activate(y, ACTIVATION, extent.activation_low, extent.activation_high);
        store(y, image * extent.out_features + feature);
    }
}

// Makes all features of a layer, as many at a time as there are teams. All invocations must call it.
fn make(is_hidden: bool, image: u32, local: u32, features: u32, terms: u32, team: u32) {
    let member = local % team;
    for (var first = 0u; first < features; first += WORKGROUP_SIZE / team) {
        let feature = first + local / team;
        let is_made = feature < features;
        var own = 0.0;
        if is_made { own = share(is_hidden, image, feature, terms, team, member); }
        let sum = together(local, team, own);
        if is_made & (member == 0u) { finish(is_hidden, image, feature, sum); }
    }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_id) local: vec3u) {
    let image = workgroup.x + extent.first_workgroup_x;
    make(true, image, local.x, extent.hidden_features, extent.in_features, extent.hidden_team);
    workgroupBarrier();
    make(false, image, local.x, extent.out_features, extent.hidden_features, extent.team);
}
