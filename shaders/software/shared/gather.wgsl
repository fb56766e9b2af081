// gather: how a subgroup of eight hands values round.

// What four invocations of the subgroup hold, the first four or the last.
fn gather(own: f32, last: bool) -> vec4f {
    if last {
        return vec4f(
            subgroupBroadcast(own, 4u), subgroupBroadcast(own, 5u), subgroupBroadcast(own, 6u), subgroupBroadcast(own, 7u));
    }
    return vec4f(
        subgroupBroadcast(own, 0u), subgroupBroadcast(own, 1u), subgroupBroadcast(own, 2u), subgroupBroadcast(own, 3u));
}
