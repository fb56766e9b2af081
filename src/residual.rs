//! `Residual`: what is added to a convolution's sums, and where.

/// Whether a tensor of the output's shape is added to a convolution's sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
#[non_exhaustive]
pub enum Residual {
    /// None is.
    #[default]
    None,
    /// Before the activation.
    BeforeActivation,
    /// Behind the activation, which must be none, a ramp such as `ReLU`, a clamp around 0, or x times a factor, such as
    /// hard-swish: then the rounding of its value is bounded by that of the sum. That of others could not be bounded.
    AfterActivation,
}

impl Residual {
    /// Whether there is one.
    #[must_use]
    pub fn is_some(self) -> bool {
        self != Self::None
    }

    /// The value, if there is a residual.
    pub(crate) fn then<T>(self, value: impl FnOnce() -> T) -> Option<T> {
        self.is_some().then(value)
    }
}

/// True is before the activation.
impl From<bool> for Residual {
    fn from(residual: bool) -> Self {
        if residual { Self::BeforeActivation } else { Self::None }
    }
}
