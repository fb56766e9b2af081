//! `Activation`: the functions of one number that may follow a sum, or stand by themselves.

use crate::error::{Error, Result};

/// A function applied to each output before it is stored, after bias and residual.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub enum Activation {
    /// x
    #[default]
    None,
    /// max(x, 0)
    Relu,
    /// min(max(x, 0), 6)
    Relu6,
    /// x ÷ (1 + e⁻ˣ), also called swish
    Silu,
    /// x · min(max(x + 3, 0), 6) ÷ 6
    HardSwish,
    /// x where x ≥ 0, slope · x elsewhere
    LeakyRelu(f32),
    /// min(max(x, minimum), maximum)
    Clamp(f32, f32),
    /// 1 ÷ (1 + e⁻ˣ)
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// min(max(slope · x + offset, 0), 1)
    HardSigmoid(f32, f32),
    /// x where x ≥ 0, scale · (eˣ − 1) elsewhere
    Elu(f32),
    /// x · Φ(x), Φ being the normal distribution, by the error function (Hendrycks and Gimpel 2016)
    Gelu,
    /// GELU by its approximation with tanh
    GeluTanh,
    /// ln(1 + eˣ)
    Softplus,
    /// x · tanh(ln(1 + eˣ)) (Misra 2019)
    Mish,
    /// slope · x + offset
    Linear(f32, f32),
    /// slope · `HardSwish` + offset, as the learnable affine blocks of `PP-LCNet` have it
    HardSwishLinear(f32, f32),
    /// The error function.
    Erf,
    /// eˣ
    Exp,
    /// The natural logarithm.
    Log,
    /// The square root.
    Sqrt,
    /// |x|
    Abs,
    /// 1 ÷ x
    Reciprocal,
    /// The largest whole number that is not larger.
    Floor,
    /// The smallest whole number that is not smaller.
    Ceil,
}

impl Activation {
    /// The function in `f64`, as the reference computes it. NaN stays NaN.
    #[must_use]
    pub fn apply(self, x: f64) -> f64 {
        let limit = |x: f64, low: f64, high: f64| {
            if x < low {
                low
            } else if x > high {
                high
            } else {
                x
            }
        };
        let line = |slope: f32, offset: f32| f64::from(slope) * x + f64::from(offset);
        let softplus = || x.max(0.0) + (-x.abs()).exp().ln_1p();
        match self {
            Self::Relu => limit(x, 0.0, f64::INFINITY),
            Self::Relu6 => limit(x, 0.0, 6.0),
            Self::Silu => x / (1.0 + (-x).exp()),
            Self::HardSwish if x <= -3.0 => 0.0,
            Self::HardSwish => x * (x + 3.0).min(6.0) / 6.0,
            Self::LeakyRelu(slope) if x < 0.0 => f64::from(slope) * x,
            Self::Elu(scale) if x < 0.0 => f64::from(scale) * x.exp_m1(),
            Self::None | Self::LeakyRelu(_) | Self::Elu(_) => x,
            Self::Clamp(low, high) => limit(x, f64::from(low), f64::from(high)),
            Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Self::Tanh => x.tanh(),
            Self::HardSigmoid(slope, offset) => limit(line(slope, offset), 0.0, 1.0),
            Self::Gelu => 0.5 * x * complement_of_error_function(-x * std::f64::consts::FRAC_1_SQRT_2),
            // (1 + tanh(t)) / 2 is 1 / (1 + exp(-2t)), which loses no digits where it is small.
            Self::GeluTanh => {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
                x / (1.0 + (-2.0 * inner).exp())
            }
            Self::Softplus | Self::Mish if x.is_nan() => x,
            Self::Softplus => softplus(),
            Self::Mish if x == f64::NEG_INFINITY => -0.0,
            Self::Mish => x * softplus().tanh(),
            Self::Linear(slope, offset) => line(slope, offset),
            Self::HardSwishLinear(slope, offset) => f64::from(slope) * Self::HardSwish.apply(x) + f64::from(offset),
            Self::Erf => error_function(x),
            Self::Exp => x.exp(),
            Self::Log => x.ln(),
            Self::Sqrt => x.sqrt(),
            Self::Abs => x.abs(),
            Self::Reciprocal => 1.0 / x,
            Self::Floor => x.floor(),
            Self::Ceil => x.ceil(),
        }
    }

    /// Refuses limits out of order and numbers that are not finite.
    pub(crate) fn check(self) -> Result<()> {
        let finite = |argument, value: f32| {
            if value.is_finite() { Ok(()) } else { Err(Error::NotFinite { argument, value }) }
        };
        match self {
            Self::Clamp(minimum, maximum) if minimum > maximum || minimum.is_nan() || maximum.is_nan() => {
                Err(Error::Clamp { minimum, maximum })
            }
            Self::LeakyRelu(slope) => finite("activation leaky_relu slope", slope),
            Self::Elu(scale) => finite("activation elu scale", scale),
            Self::HardSigmoid(slope, offset) => {
                finite("activation hard_sigmoid slope", slope)?;
                finite("activation hard_sigmoid offset", offset)
            }
            Self::Linear(slope, offset) | Self::HardSwishLinear(slope, offset) => {
                finite("activation linear slope", slope)?;
                finite("activation linear offset", offset)
            }
            _ => Ok(()),
        }
    }

    /// Whether |f(x)| is at most |x| times what f stretches errors by, so that the rounding of f(x) is bounded by that of x.
    pub(crate) fn is_below_its_argument(self) -> bool {
        match self {
            Self::Clamp(low, high) => low <= 0.0 && high >= 0.0,
            Self::None
            | Self::Relu
            | Self::Relu6
            | Self::LeakyRelu(_)
            | Self::Silu
            | Self::HardSwish
            | Self::Gelu
            | Self::GeluTanh
            | Self::Mish => true,
            _ => false,
        }
    }

    /// The number by which the shaders know it.
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Relu | Self::Relu6 | Self::Clamp(..) => 1,
            Self::LeakyRelu(_) => 2,
            Self::Silu => 3,
            Self::HardSwish => 4,
            Self::Sigmoid => 5,
            Self::Tanh => 6,
            Self::HardSigmoid(..) => 7,
            Self::Elu(_) => 8,
            Self::Gelu => 9,
            Self::GeluTanh => 10,
            Self::Softplus => 11,
            Self::Mish => 12,
            Self::Linear(..) => 13,
            Self::Erf => 14,
            Self::Exp => 15,
            Self::Log => 16,
            Self::Sqrt => 17,
            Self::Abs => 18,
            Self::Reciprocal => 19,
            Self::Floor => 20,
            Self::Ceil => 21,
            Self::HardSwishLinear(..) => 22,
        }
    }

    /// The two numbers that it takes, as the shaders read them; zeros where it takes none.
    pub(crate) fn parameters(self) -> [f32; 2] {
        match self {
            Self::Relu => [0.0, f32::INFINITY],
            Self::Relu6 => [0.0, 6.0],
            Self::Clamp(a, b) | Self::HardSigmoid(a, b) | Self::Linear(a, b) | Self::HardSwishLinear(a, b) => [a, b],
            Self::LeakyRelu(a) | Self::Elu(a) => [a, 0.0],
            _ => [0.0, 0.0],
        }
    }
}

/// The error function, to the last digits of an `f64`: by its series near 0, elsewhere by its complement (Abramowitz and
/// Stegun, formula 7.1.6).
fn error_function(x: f64) -> f64 {
    if x.abs() >= 3.0 {
        return (1.0 - complement_of_error_function(x.abs())).copysign(x);
    }
    let (mut term, mut sum, mut n) = (x, x, 0.0);
    while term.abs() > 1e-18 * sum.abs() {
        n += 1.0;
        term *= 2.0 * x * x / (2.0 * n + 1.0);
        sum += term;
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

/// 1 less the error function; far from 0 by a continued fraction (Abramowitz and Stegun, formula 7.1.14).
fn complement_of_error_function(x: f64) -> f64 {
    if x <= -3.0 {
        return 2.0 - complement_of_error_function(-x);
    }
    if x >= 3.0 {
        let fraction = (1..=60).rev().fold(x, |below, n| x + f64::from(n) / 2.0 / below);
        return std::f64::consts::FRAC_2_SQRT_PI / 2.0 * (-x * x).exp() / fraction;
    }
    1.0 - error_function(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_function_is_as_in_tables() {
        // Abramowitz and Stegun, table 7.1.
        let table = [(0.0, 0.0), (0.5, 0.520_499_877_8), (1.0, 0.842_700_792_9), (2.0, 0.995_322_265_0)];
        for (x, value) in table {
            assert!((error_function(x) - value).abs() < 1e-10 && (error_function(-x) + value).abs() < 1e-10, "{x}");
        }
        // Both methods, where one gives way to the other.
        assert!((error_function(3.0 - 1e-12) - error_function(3.0)).abs() < 1e-15);
        assert!((error_function(3.0) - 0.999_977_909_503_001_4).abs() < 1e-15);
        assert!(error_function(f64::NAN).is_nan() && complement_of_error_function(f64::NAN).is_nan());
        // The tail keeps its digits.
        assert!((complement_of_error_function(5.0) / 1.537_459_794_428_034_8e-12 - 1.0).abs() < 1e-12);
        let ends = [f64::INFINITY, f64::NEG_INFINITY].map(complement_of_error_function);
        assert!(ends.map(f64::to_bits) == [0.0, 2.0].map(f64::to_bits), "{ends:?}");
    }

    #[test]
    fn the_reference_knows_the_ends() {
        let infinity = f64::INFINITY;
        for (activation, low, high) in [
            (Activation::Sigmoid, 0.0, 1.0),
            (Activation::Tanh, -1.0, 1.0),
            (Activation::HardSigmoid(0.2, 0.5), 0.0, 1.0),
            (Activation::Elu(0.5), -0.5, infinity),
            (Activation::Softplus, 0.0, infinity),
            (Activation::Mish, -0.0, infinity),
            (Activation::Erf, -1.0, 1.0),
            (Activation::Exp, 0.0, infinity),
            (Activation::Reciprocal, -0.0, 0.0),
        ] {
            let ends = [-infinity, infinity].map(|x| activation.apply(x).to_bits());
            assert_eq!(ends, [low, high].map(f64::to_bits), "{activation:?}");
            assert!(activation.apply(f64::NAN).is_nan(), "{activation:?}");
        }
        // What is left of it where it is small.
        for (activation, value) in
            [(Activation::Gelu, -6.0 * 9.865_876_45e-10), (Activation::Mish, -6.0 * 2.475_680_08e-3)]
        {
            assert!((activation.apply(-6.0) / value - 1.0).abs() < 1e-6, "{activation:?}");
        }
    }
}
