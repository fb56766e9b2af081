//! `Activation`: the functions that may follow a sum.

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
}

impl Activation {
    /// The function in `f64`, as the reference computes it. NaN stays NaN.
    #[must_use]
    pub fn apply(self, x: f64) -> f64 {
        let limit = |low: f64, high: f64| {
            if x < low {
                low
            } else if x > high {
                high
            } else {
                x
            }
        };
        match self {
            Self::Relu => limit(0.0, f64::INFINITY),
            Self::Relu6 => limit(0.0, 6.0),
            Self::Silu => x / (1.0 + (-x).exp()),
            Self::HardSwish if x <= -3.0 => 0.0,
            Self::HardSwish => x * (x + 3.0).min(6.0) / 6.0,
            Self::LeakyRelu(slope) if x < 0.0 => f64::from(slope) * x,
            Self::None | Self::LeakyRelu(_) => x,
            Self::Clamp(low, high) => limit(f64::from(low), f64::from(high)),
        }
    }
}
