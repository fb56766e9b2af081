// nan: comparisons that let a NaN pass. A compiler may answer a comparison with a NaN as it likes, so it is found by its
// bits.

fn is_nan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }

// The larger of two values, or a NaN if one of them is.
fn larger(a: f32, b: f32) -> f32 { return select(a, b, b > a || is_nan(b)); }

// The lesser of two values, or a NaN if one of them is.
fn lesser(a: f32, b: f32) -> f32 { return select(a, b, b < a || is_nan(b)); }
