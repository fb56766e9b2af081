// multiply_add: measures how fast arithmetic is.
//
// Formula    a = a * factor + term, ROUNDS times
// Mapping    One invocation: eight chains of fused multiply-adds on four lanes each, so that none waits for the one
//            before it. Grid: x over invocations.
// Traffic    An invocation reads 16 bytes, which are in a cache, and writes 16, for ROUNDS * 8 * 4 multiply-adds.
// Needs      Nothing.
// Bound by   Arithmetic, as it should be.
// Rust row   src/roofline.rs

const WORKGROUP_SIZE: u32 = 64u;
const ROUNDS: u32 = 256u;
const EACH: u32 = 8u;

@group(0) @binding(1) var<storage, read> input: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> output: array<vec4f>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) invocation: vec3u) {
    let seed = input[invocation.x % WORKGROUP_SIZE];
    let factor = seed * 0.5;
    let term = seed * 0.25;
    var a = seed;
    var b = seed + 1.0;
    var c = seed + 2.0;
    var d = seed + 3.0;
    var e = seed + 4.0;
    var f = seed + 5.0;
    var g = seed + 6.0;
    var h = seed + 7.0;
    for (var round = 0u; round < ROUNDS / EACH; round++) {
        // Written out for a GPU.
        for (var t = 0u; t < EACH; t++) {
            a = fma(a, factor, term);
            b = fma(b, factor, term);
            c = fma(c, factor, term);
            d = fma(d, factor, term);
            e = fma(e, factor, term);
            f = fma(f, factor, term);
            g = fma(g, factor, term);
            h = fma(h, factor, term);
        }
    }
    if invocation.x < arrayLength(&output) { output[invocation.x] = a + b + c + d + e + f + g + h; }
}
