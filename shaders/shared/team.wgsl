// team: the invocations of a workgroup that make one result together, from the values along the second axis of
// [outer, length, inner]. A kernel's extent has `length`, `inner` and `count`, which is outer * inner.

const TEAM: u32 = 64u;  // invocations per result, a power of two
const TEAMS: u32 = 1u;  // results per workgroup

// What one invocation reads: `values` values, `stride` apart, the first one at `first`.
struct Share { result: u32, member: u32, team: u32, first: u32, stride: u32, values: u32 }

fn share_of(workgroup: vec3u, local: vec3u) -> Share {
    // Neighbouring invocations read neighbouring values: those along the axis, or those behind it if there are several.
    let is_last_axis = extent.inner == 1u;
    let member = select(local.x / TEAMS, local.x % TEAM, is_last_axis);
    let team = select(local.x % TEAMS, local.x / TEAM, is_last_axis);
    // Past the last result, the last one is made again and not stored: all invocations must meet at the barriers.
    let result = (workgroup.x + extent.first_workgroup_x) * TEAMS + team;
    let made = min(result, extent.count - 1u);
    let first = (made / extent.inner * extent.length + member) * extent.inner + made % extent.inner;
    return Share(result, member, team, first, TEAM * extent.inner, (extent.length + TEAM - 1u - member) / TEAM);
}

// How many fours of values a share has. Fours are several partial sums: they do not wait for each other, and they round less.
fn fours_of(share: Share) -> u32 { return (share.values + 3u) / 4u; }

// Which values of one of a share's fours there are.
fn is_there(share: Share, four: u32) -> vec4<bool> {
    return 4u * four + vec4u(0u, 1u, 2u, 3u) < vec4u(share.values);
}

// Where the values of one of a share's fours are. Past the last value, the first one is meant again.
fn places_of(share: Share, four: u32) -> vec4u {
    let number = 4u * four + vec4u(0u, 1u, 2u, 3u);
    return share.first + select(vec4u(), number, is_there(share, four)) * share.stride;
}

// One of a share's fours, with `other` past the last value.
fn four_of(share: Share, four: u32, other: f32) -> vec4f {
    let at = extent.input_offset + places_of(share, four);
    let read = vec4f(input_at(at.x), input_at(at.y), input_at(at.z), input_at(at.w));
    return select(vec4f(other), read, is_there(share, four));
}

// Stores what an output of the input's shape has in the places of a four.
fn store_four(share: Share, four: u32, made: vec4f) {
    let places = places_of(share, four);
    let stored = is_there(share, four);
    for (var t = 0u; t < 4u; t++) {
        if stored[t] { store(made[t], places[t]); }
    }
}

// How values are brought together.
const SUM: u32 = 0u;
const PRODUCT: u32 = 1u;
const LARGEST: u32 = 2u;
const LEAST: u32 = 3u;

fn combine(operation: u32, a: f32, b: f32) -> f32 {
    switch operation {
        case SUM: { return a + b; }
        case PRODUCT: { return a * b; }
        case LARGEST: { return larger(a, b); }
        default: { return lesser(a, b); }
    }
}

// What changes nothing.
fn neutral(operation: u32) -> f32 {
    // The bits of infinity. Not from a constant: WGSL refuses an infinity that the compiler knows of.
    var infinity = 0x7f800000u;
    switch operation {
        case SUM: { return 0.0; }
        case PRODUCT: { return 1.0; }
        case LARGEST: { return -bitcast<f32>(infinity); }
        default: { return bitcast<f32>(infinity); }
    }
}

var<workgroup> parts: array<f32, TEAM * TEAMS>;

// What all members of a team have, together. All invocations of the workgroup must call it.
fn together(share: Share, operation: u32, four: vec4f) -> f32 {
    let own = combine(operation, combine(operation, four.x, four.y), combine(operation, four.z, four.w));
    if TEAM == 1u { return own; }
    let part = share.team * TEAM + share.member;
    // Others may still read what was brought together before.
    workgroupBarrier();
    parts[part] = own;
    for (var half = TEAM / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if share.member < half { parts[part] = combine(operation, parts[part], parts[part + half]); }
    }
    workgroupBarrier();
    return parts[share.team * TEAM];
}
