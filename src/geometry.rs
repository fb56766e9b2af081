//! The pure arithmetic of one convolution: shapes, parameters, multiply-adds, bytes.

use crate::activation::Activation;
use crate::residual::Residual;
use crate::rounding::Rounding;
use crate::size::{PaddingMode, Sides, Size, values};

/// One convolution with every size known and checked.
///
/// [`Conv2d::geometry`](crate::Conv2d::geometry) makes it and checks it; a plan needs nothing else. If you change a
/// field, nobody has checked the result.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Geometry {
    /// Images in the batch.
    pub batch: u32,
    /// Channels of the input.
    pub in_channels: u32,
    /// Height and width of the input.
    pub input: Size,
    /// Channels of the output.
    pub out_channels: u32,
    /// Height and width of the output.
    pub output: Size,
    /// Height and width of the filter.
    pub kernel_size: Size,
    /// How far the window moves from one output to the next.
    pub stride: Size,
    /// Distance between neighbouring taps of the filter.
    pub dilation: Size,
    /// Rows and columns added around the input.
    pub padding: Sides,
    /// What stands in them.
    pub padding_mode: PaddingMode,
    /// Groups of channels that do not see each other.
    pub groups: u32,
    /// Whether one number per output channel is added.
    pub bias: bool,
    /// Whether a tensor of the output's shape is added, and where.
    pub residual: Residual,
    /// Whether each input channel of each image is multiplied by a number first.
    pub input_scale: bool,
    /// The function applied before the store.
    pub activation: Activation,
    /// How large the rounding errors may be.
    pub rounding: Rounding,
}

impl Geometry {
    /// Whether it makes each output pixel from the input pixel at the same place alone.
    pub(crate) fn is_pixelwise(&self) -> bool {
        let one = Size::from(1);
        self.kernel_size == one && self.stride == one && self.input == self.output
    }

    /// `[batch, in_channels, height, width]`
    #[must_use]
    pub fn input_shape(&self) -> [u32; 4] {
        [self.batch, self.in_channels, self.input.height, self.input.width]
    }

    /// `[out_channels, in_channels / groups, kernel height, kernel width]`
    #[must_use]
    pub fn weight_shape(&self) -> [u32; 4] {
        [self.out_channels, self.in_channels_per_group(), self.kernel_size.height, self.kernel_size.width]
    }

    /// `[1, out_channels, 1, 1]`
    #[must_use]
    pub fn bias_shape(&self) -> [u32; 4] {
        [1, self.out_channels, 1, 1]
    }

    /// `[batch, in_channels, 1, 1]`
    #[must_use]
    pub fn input_scale_shape(&self) -> [u32; 4] {
        [self.batch, self.in_channels, 1, 1]
    }

    /// `[batch, out_channels, height, width]`
    #[must_use]
    pub fn output_shape(&self) -> [u32; 4] {
        [self.batch, self.out_channels, self.output.height, self.output.width]
    }

    /// Input channels that one output channel sees.
    #[must_use]
    pub fn in_channels_per_group(&self) -> u32 {
        self.in_channels / self.groups
    }

    /// Output channels that see the same input channels.
    #[must_use]
    pub fn out_channels_per_group(&self) -> u32 {
        self.out_channels / self.groups
    }

    /// Products summed into one output: the length of the reduction.
    #[must_use]
    pub fn terms(&self) -> u64 {
        self.weight_shape()[1..].iter().map(|&size| u64::from(size)).product()
    }

    /// Learned numbers: weights, and biases if there are any.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        let out_channels = u64::from(self.out_channels);
        out_channels * self.terms() + if self.bias { out_channels } else { 0 }
    }

    /// Multiply-adds: one per weight and output position, padding counted, biases not.
    #[must_use]
    pub fn multiply_adds(&self) -> u64 {
        values(self.output_shape()) * self.terms()
    }

    /// Bytes that must move: input, its scale, parameters and residual read once, output written once. At most [`u64::MAX`]:
    /// each tensor is below 2⁶³ bytes, but their sum may not be.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let output = values(self.output_shape());
        let residual = if self.residual.is_some() { output } else { 0 };
        let scale = if self.input_scale { values(self.input_scale_shape()) } else { 0 };
        (values(self.input_shape()) + scale + self.parameters() + residual + output).saturating_mul(4)
    }

    /// Floating-point operations (two per multiply-add) per byte that must move:
    /// the layer's abscissa in the roofline model (Williams, Waterman and Patterson 2009).
    #[must_use]
    pub fn arithmetic_intensity(&self) -> f64 {
        2.0 * self.multiply_adds() as f64 / self.bytes() as f64
    }
}
