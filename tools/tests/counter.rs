//! The counter itself, on small shaders whose counts were worked out by hand, most of them bad on purpose.

use std::collections::BTreeMap;

use sepconv_tools::traffic::{Code, Counts, Memory, Operations, View, run_workgroup};

/// Runs one workgroup of 64 invocations. The shader's `main` has this body; `i` is the invocation. `input` and `output` have
/// 1024 values.
fn run(body: &str) -> Result<Counts, String> {
    let wgsl = format!(
        "@group(0) @binding(1) var<storage, read> input: array<f32>;
        @group(0) @binding(5) var<storage, read_write> output: array<f32>;
        var<workgroup> shared_values: array<f32, 1024>;
        var<workgroup> shared_fours: array<vec4f, 256>;
        @compute @workgroup_size(64)
        fn main(@builtin(local_invocation_id) local: vec3u) {{ let i = local.x; {body} }}"
    );
    let view = |buffer, writes| View { buffer, start: 0, length: 1024, writes };
    let mut memory = Memory {
        buffers: vec![(0..1024_u16).map(|value| f32::from(value).to_bits()).collect(), vec![0; 1024]],
        views: BTreeMap::from([(1, view(0, false)), (5, view(1, true))]),
        uniform: Vec::new(),
    };
    let mut counts = Counts::default();
    run_workgroup(&Code::new(&wgsl)?, "main", [0; 3], &mut memory, &mut counts)?;
    Ok(counts)
}

/// Requests, sectors and values of the stores of a body.
fn stores(body: &str) -> [u64; 3] {
    let stores = run(body).unwrap().of("output").stores;
    [stores.requests, stores.sectors, stores.values]
}

#[test]
fn sectors_of_32_bytes() {
    // Two subgroups; neighbours write neighbouring values: 128 bytes each.
    assert_eq!(stores("output[i] = 1.0;"), [2, 8, 64]);
    // One value further, each subgroup touches a fifth sector.
    assert_eq!(stores("output[i + 1u] = 1.0;"), [2, 10, 64]);
    // Four values apart, as a row of four in four stores: half of a sector each.
    assert_eq!(stores("output[4u * i] = 1.0;"), [2, 32, 64]);
    // Eight values apart, every value is in a sector of its own.
    assert_eq!(stores("output[8u * i] = 1.0;"), [2, 64, 64]);
    // Only the first 40 invocations: 32 in one subgroup, 8 in the other.
    assert_eq!(stores("if i < 40u { output[i] = 1.0; }"), [2, 5, 40]);
    // All load the same value.
    let loads = run("output[i] = input[77];").unwrap().of("input").loads;
    assert_eq!([loads.requests, loads.sectors, loads.values], [2, 2, 64]);
}

/// Requests, wavefronts, the least there could be, and values of the stores to workgroup memory.
fn banks(body: &str) -> [u64; 4] {
    let stores = run(body).unwrap().shared.stores;
    [stores.requests, stores.wavefronts, stores.least, stores.values]
}

#[test]
fn banks_of_4_bytes() {
    assert_eq!(banks("shared_values[i] = 1.0;"), [2, 2, 2, 64]);
    // 8 apart, 32 invocations meet in 4 banks: an 8-way conflict.
    assert_eq!(banks("shared_values[8u * i] = 1.0;"), [2, 16, 2, 64]);
    // 9 apart, none meet.
    assert_eq!(banks("shared_values[9u * i] = 1.0;"), [2, 2, 2, 64]);
    // Fours side by side: 8 invocations at a time fill the banks.
    assert_eq!(banks("shared_fours[i] = vec4f();"), [2, 8, 8, 256]);
    // Fours that are 4 fours apart: of 8 invocations, 4 meet.
    assert_eq!(banks("shared_fours[4u * i] = vec4f();"), [2, 32, 8, 256]);
    // One value for all costs one wavefront; a four for all, one for each 8 invocations.
    let loads = |body: &str| run(body).unwrap().shared.loads;
    assert_eq!(
        loads("if i == 0u { shared_values[0] = 1.0; } workgroupBarrier(); output[i] = shared_values[0];").wavefronts,
        2
    );
    assert_eq!(
        loads("if i == 0u { shared_fours[0] = vec4f(); } workgroupBarrier(); output[i] = shared_fours[0].x;")
            .wavefronts,
        2
    );
    assert_eq!(
        loads(
            "if i == 0u { shared_fours[0] = vec4f(); } workgroupBarrier(); let f = shared_fours[0]; output[i] = f.y;"
        )
        .wavefronts,
        8
    );
}

#[test]
fn operations() {
    let twice = |count: u64| Operations { subgroups: 2 * count, invocations: 64 * count };
    let counts = run("let x = input[i]; let f = vec4f(x); output[i] = fma(f, f, f).x + x * x;").unwrap();
    // The vector's four, and the sum of a product; the product is a part of it.
    assert_eq!((counts.multiply_adds, counts.floats), (twice(5), twice(0)));
    let counts = run("let x = input[i]; output[i] = min(x * x, 2.0 - x);").unwrap();
    assert_eq!((counts.multiply_adds, counts.floats), (twice(0), twice(3)));
    let counts = run("let v = vec2u(i, i + 1u) % 3u; output[i] = f32(v.x / (v.y + 1u));").unwrap();
    assert_eq!((counts.integers, counts.divisions), (twice(1 + 2 + 1 + 1), twice(1)));
}

#[test]
fn branches() {
    let counts = run("if true { output[i] = 1.0; }").unwrap();
    assert_eq!((counts.branches.subgroups, counts.divergences), (0, 0));
    // Subgroups part from each other, but none within.
    let counts = run("if i < 32u { output[i] = 1.0; } else { output[i] = 2.0; }").unwrap();
    assert_eq!((counts.branches.subgroups, counts.divergences), (2, 0));
    let counts = run("if i < 40u { output[i] = 1.0; } else { output[i] = 2.0; }").unwrap();
    assert_eq!((counts.branches.subgroups, counts.divergences), (2, 1));
    // The invocations of the first subgroup make 0 to 31 rounds: 32 times it asks, and parts but for the last time.
    let counts = run("for (var k = 0u; k < i % 32u; k++) { output[i] += 1.0; }").unwrap();
    assert_eq!((counts.branches.subgroups, counts.divergences), (64, 62));
}

/// Loops, switches and calls do what WGSL says.
#[test]
fn statements() {
    let body = "var sum = 0u;
        for (var k = 0u; k < 6u; k++) {
            switch k + i % 2u {
                case 0u, 1u: { continue; }
                case 4u: { break; }
                default: { sum += k; }
            }
            if k == 4u { break; }
        }
        loop { sum += 100u; continuing { sum += 1000u; break if sum > 3000u; } }
        if sum != 3300u + select(2u + 3u, 1u + 2u + 4u, i % 2u == 1u) { output[4096] = 1.0; }";
    assert_eq!(run(body).map(|_| ()), Ok(()));
}

#[test]
fn what_is_wrong_is_found() {
    let wrong = |body: &str, expected: &str| {
        let error = run(body).unwrap_err();
        assert!(error.contains(expected), "{body}: {error}");
    };
    wrong("output[i + 1000u] = 1.0;", "output: byte 4096 of binding 5 is outside");
    wrong("output[i] = input[2000u * i];", "input: byte 8000 of binding 1 is outside");
    wrong("shared_values[i] = 1.0; output[i] = shared_values[63u - i];", "read without a barrier");
    wrong("shared_values[i / 2u] = 1.0;", "written without a barrier");
    wrong("shared_values[i] = shared_values[i + 1u];", "written without a barrier");
    wrong("var a: array<f32, 3>; a[i] = 1.0; output[i] = a[0];", "element 3 of 3");
    wrong("let x = dot(vec2f(1.0), vec2f(f32(i))); output[i] = x;", "Dot of Float is not interpreted");
    let early = "if i > 3u { return; } workgroupBarrier(); output[i] = 1.0;";
    assert!(run(early).is_err(), "a barrier that not all meet at");
    // Memory of a workgroup that nobody wrote is not zero.
    let unwritten = "let x = shared_values[i]; if !(x == 0.0) { output[4096] = 1.0; }";
    wrong(unwritten, "output: byte 16384");
}
