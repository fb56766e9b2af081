// values: the loop of a kernel that makes each value of its output by itself. The kernel says what `value_of` an index is.
// An invocation makes VALUES of them, WORKGROUP_SIZE apart, so that neighbouring invocations write neighbouring values.

const WORKGROUP_SIZE: u32 = 64u;
const VALUES: u32 = 4u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_id) local: vec3u) {
    let first = (workgroup.x + extent.first_workgroup_x) * WORKGROUP_SIZE * VALUES + local.x;
    for (var v = 0u; v < VALUES; v++) {
        let index = first + v * WORKGROUP_SIZE;
        if index < extent.count { store(value_of(index), index); }
    }
}
