//! `Rounding`: how far a layer's results may be from what its definition, summed in `f32`, gives.

/// How large a layer's rounding errors may be.
///
/// A sum of n products in `f32` is off by at most about n · 2⁻²⁴ · Σ|x · w|, in whichever order it is summed. That is
/// the bound of every kernel but `winograd` and `winograd_4x4`, whose errors grow with Σ|x| · Σ|w| over the values that an
/// output's tile sees: a small value beside a large one can be lost, and so can an output whose filter or input is mostly zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Rounding {
    /// Any kernel.
    #[default]
    Fast,
    /// No kernel whose errors may pass the bound of the sum.
    Exact,
}
