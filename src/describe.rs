//! `Describe`: what every kind of layer says of itself.

use crate::activation::Activation;
use crate::error::Result;
use crate::size::PaddingMode;

/// A tensor that a layer is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Given {
    /// `"depthwise"` or `"pointwise"` in a separable layer; none in others.
    pub part: Option<&'static str>,
    /// Such as `"input"`.
    pub name: &'static str,
    /// Whether it stays for many runs.
    pub is_parameter: bool,
    /// Batch, channels, height, width.
    pub shape: [u32; 4],
}

impl Given {
    /// A tensor of one run.
    pub(crate) fn input(name: &'static str, shape: [u32; 4]) -> Self {
        Self { part: None, name, is_parameter: false, shape }
    }

    /// A tensor that stays.
    pub(crate) fn parameter(name: &'static str, shape: [u32; 4]) -> Self {
        Self { is_parameter: true, ..Self::input(name, shape) }
    }
}

/// The sizes of a layer of one kind, and its definition.
pub trait Describe {
    /// Checks the sizes again: their fields are public, so that a caller may have changed them.
    ///
    /// # Errors
    /// The first one that is wrong; [`Error::Altered`](crate::Error::Altered) if they do not belong together.
    fn check(&self) -> Result<()>;

    /// What it is given, the input first.
    fn given(&self) -> Vec<Given>;

    /// `[batch, channels, height, width]`
    fn output_shape(&self) -> [u32; 4];

    /// What decides how fast a kernel computes it, in one line.
    fn text(&self) -> String;

    /// How many terms are summed to one output.
    fn terms(&self) -> u64 {
        0
    }

    /// The function that its outputs pass through last.
    fn activation(&self) -> Activation {
        Activation::None
    }

    /// Multiply-adds, or for a layer that has none, operations.
    fn multiply_adds(&self) -> u64;

    /// Its definition in `f64`: all outputs, from all that [`given`](Self::given) lists, in that order.
    ///
    /// # Panics
    /// If a slice is shorter than its shape.
    fn reference(&self, given: &[&[f32]]) -> Reference;
}

/// Every output value with the magnitude that bounds its rounding error.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Reference {
    /// The outputs, NCHW.
    pub values: Vec<f64>,
    /// Σ|x·w| + |b| + |residual| of each output, before the activation.
    pub magnitudes: Vec<f64>,
    /// Σ|w| (|z| + 2⁻¹⁴) of each output, z being what one part of a separable layer stores for the other: how much of its
    /// rounding gets to the output. Empty for layers that store nothing in between.
    pub between: Vec<f64>,
}

/// Which index along an axis of `size` stands for `position`, which may lie in the padding.
pub(crate) fn source(mode: PaddingMode, position: i64, size: u32) -> Option<usize> {
    let last = i64::from(size) - 1;
    let index = match mode {
        PaddingMode::Zeros => Some(position).filter(|position| (0..=last).contains(position))?,
        PaddingMode::Reflect => last - (last - position.abs()).abs(),
        PaddingMode::Replicate => position.clamp(0, last),
        PaddingMode::Circular => position.rem_euclid(last + 1),
    };
    usize::try_from(index).ok()
}
