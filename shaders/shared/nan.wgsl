// nan: comparisons that let a NaN pass. A compiler may take it that there is none, so it is found by its bits.

// Not from a constant: WGSL refuses a NaN that the compiler knows of.
fn nan() -> f32 {
    var bits = 0x7fc00000u;
    return bitcast<f32>(bits);
}

fn is_nan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }

// The larger of two values, or a NaN if one of them is.
fn larger(a: f32, b: f32) -> f32 { return select(max(a, b), a + b, is_nan(a) | is_nan(b)); }

// The lesser of two values, or a NaN if one of them is.
fn lesser(a: f32, b: f32) -> f32 { return select(min(a, b), a + b, is_nan(a) | is_nan(b)); }
