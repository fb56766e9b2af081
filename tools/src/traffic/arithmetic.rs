//! What operators and functions make of one word each of their operands. Floats are rounded as in Rust, to the nearest.

use naga::{BinaryOperator as B, MathFunction as M, ScalarKind as K, UnaryOperator as U};

use crate::Outcome;

/// An operator on two words of a kind. The result of a comparison is 0 or 1.
#[expect(clippy::float_cmp, reason = "it is what the shader asks")]
pub fn binary(operator: B, kind: K) -> Outcome<fn(u32, u32) -> u32> {
    Ok(match (operator, kind) {
        (B::Add, K::Float) => |a, b| float(a, b, |a, b| a + b),
        (B::Subtract, K::Float) => |a, b| float(a, b, |a, b| a - b),
        (B::Multiply, K::Float) => |a, b| float(a, b, |a, b| a * b),
        (B::Divide, K::Float) => |a, b| float(a, b, |a, b| a / b),
        (B::Equal, K::Float) => |a, b| compare(a, b, |a, b| a == b),
        (B::NotEqual, K::Float) => |a, b| compare(a, b, |a, b| a != b),
        (B::Less, K::Float) => |a, b| compare(a, b, |a, b| a < b),
        (B::LessEqual, K::Float) => |a, b| compare(a, b, |a, b| a <= b),
        (B::Greater, K::Float) => |a, b| compare(a, b, |a, b| a > b),
        (B::GreaterEqual, K::Float) => |a, b| compare(a, b, |a, b| a >= b),
        (B::Add, K::Uint | K::Sint) => u32::wrapping_add,
        (B::Subtract, K::Uint | K::Sint) => u32::wrapping_sub,
        (B::Multiply, K::Uint | K::Sint) => u32::wrapping_mul,
        // By zero it is the number itself, and the rest is 0.
        (B::Divide, K::Uint) => |a, b| a.checked_div(b).unwrap_or(a),
        (B::Modulo, K::Uint) => |a, b| a.checked_rem(b).unwrap_or(0),
        (B::Divide, K::Sint) => |a, b| signed(a, b, |a, b| a.checked_div(b).unwrap_or(a)),
        (B::Modulo, K::Sint) => |a, b| signed(a, b, |a, b| a.checked_rem(b).unwrap_or(0)),
        (B::Equal, _) => |a, b| (a == b).into(),
        (B::NotEqual, _) => |a, b| (a != b).into(),
        (B::Less, K::Uint) => |a, b| (a < b).into(),
        (B::LessEqual, K::Uint) => |a, b| (a <= b).into(),
        (B::Greater, K::Uint) => |a, b| (a > b).into(),
        (B::GreaterEqual, K::Uint) => |a, b| (a >= b).into(),
        (B::Less, K::Sint) => |a, b| signed(a, b, |a, b| (a < b).into()),
        (B::LessEqual, K::Sint) => |a, b| signed(a, b, |a, b| (a <= b).into()),
        (B::Greater, K::Sint) => |a, b| signed(a, b, |a, b| (a > b).into()),
        (B::GreaterEqual, K::Sint) => |a, b| signed(a, b, |a, b| (a >= b).into()),
        (B::And | B::LogicalAnd, K::Uint | K::Sint | K::Bool) => |a, b| a & b,
        (B::InclusiveOr | B::LogicalOr, K::Uint | K::Sint | K::Bool) => |a, b| a | b,
        (B::ExclusiveOr, K::Uint | K::Sint | K::Bool) => |a, b| a ^ b,
        (B::ShiftLeft, K::Uint | K::Sint) => u32::wrapping_shl,
        (B::ShiftRight, K::Uint) => u32::wrapping_shr,
        (B::ShiftRight, K::Sint) => |a, b| a.cast_signed().wrapping_shr(b).cast_unsigned(),
        _ => return Err(format!("{operator:?} of {kind:?} is not interpreted")),
    })
}

/// An operator on one word.
pub fn unary(operator: U, kind: K) -> Outcome<fn(u32) -> u32> {
    Ok(match (operator, kind) {
        (U::Negate, K::Float) => |a| (-f32::from_bits(a)).to_bits(),
        (U::Negate, K::Sint) => u32::wrapping_neg,
        (U::LogicalNot, K::Bool) => |a| 1 - a,
        (U::BitwiseNot, K::Uint | K::Sint) => |a| !a,
        _ => return Err(format!("{operator:?} of {kind:?} is not interpreted")),
    })
}

/// A function of up to three words; those that it does not have are 0.
pub fn math(function: M, kind: K) -> Outcome<fn([u32; 3]) -> u32> {
    Ok(match (function, kind) {
        (M::Fma, K::Float) => |[a, b, c]| {
            let [a, b, c] = [a, b, c].map(f32::from_bits);
            a.mul_add(b, c).to_bits()
        },
        (M::Min, K::Float) => |[a, b, _]| float(a, b, f32::min),
        (M::Max, K::Float) => |[a, b, _]| float(a, b, f32::max),
        (M::Clamp, K::Float) => |[a, b, c]| float(float(a, b, f32::max), c, f32::min),
        (M::Min, K::Uint) => |[a, b, _]| a.min(b),
        (M::Max, K::Uint) => |[a, b, _]| a.max(b),
        (M::Clamp, K::Uint) => |[a, b, c]| a.max(b).min(c),
        (M::Min, K::Sint) => |[a, b, _]| signed(a, b, i32::min),
        (M::Max, K::Sint) => |[a, b, _]| signed(a, b, i32::max),
        (M::Clamp, K::Sint) => |[a, b, c]| signed(signed(a, b, i32::max), c, i32::min),
        (M::Abs, K::Float) => |[a, ..]| float(a, a, |a, _| a.abs()),
        (M::Abs, K::Sint) => |[a, ..]| signed(a, a, |a, _| a.wrapping_abs()),
        (M::Floor, K::Float) => |[a, ..]| float(a, a, |a, _| a.floor()),
        (M::Ceil, K::Float) => |[a, ..]| float(a, a, |a, _| a.ceil()),
        (M::Sqrt, K::Float) => |[a, ..]| float(a, a, |a, _| a.sqrt()),
        (M::InverseSqrt, K::Float) => |[a, ..]| float(a, a, |a, _| 1.0 / a.sqrt()),
        (M::Exp, K::Float) => |[a, ..]| float(a, a, |a, _| a.exp()),
        (M::Exp2, K::Float) => |[a, ..]| float(a, a, |a, _| a.exp2()),
        (M::Log, K::Float) => |[a, ..]| float(a, a, |a, _| a.ln()),
        (M::Log2, K::Float) => |[a, ..]| float(a, a, |a, _| a.log2()),
        _ => return Err(format!("{function:?} of {kind:?} is not interpreted")),
    })
}

/// A word of one kind as a value of another.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "as WGSL converts, to the nearest there is"
)]
pub fn convert(from: K, to: K) -> Outcome<fn(u32) -> u32> {
    Ok(match (from, to) {
        (K::Uint | K::Sint, K::Uint | K::Sint) | (K::Float, K::Float) | (K::Bool, K::Bool | K::Uint | K::Sint) => |a| a,
        (K::Uint, K::Float) => |a| (a as f32).to_bits(),
        (K::Sint, K::Float) => |a| (a.cast_signed() as f32).to_bits(),
        (K::Bool, K::Float) => |a| (a as f32).to_bits(),
        (K::Float, K::Uint) => |a| f32::from_bits(a) as u32,
        (K::Float, K::Sint) => |a| (f32::from_bits(a) as i32).cast_unsigned(),
        (K::Uint | K::Sint, K::Bool) => |a| (a != 0).into(),
        _ => return Err(format!("{from:?} as {to:?} is not interpreted")),
    })
}

fn float(a: u32, b: u32, operation: impl Fn(f32, f32) -> f32) -> u32 {
    operation(f32::from_bits(a), f32::from_bits(b)).to_bits()
}

fn compare(a: u32, b: u32, comparison: impl Fn(f32, f32) -> bool) -> u32 {
    comparison(f32::from_bits(a), f32::from_bits(b)).into()
}

fn signed(a: u32, b: u32, operation: impl Fn(i32, i32) -> i32) -> u32 {
    operation(a.cast_signed(), b.cast_signed()).cast_unsigned()
}
