//! The pure arithmetic of one convolution: shapes, parameters, multiply-adds, bytes.

use crate::error::{Error, Result};

/// A height and a width. Made from one number (both alike) or from `[height, width]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Size {
    /// Along the rows' direction, from top to bottom.
    pub height: u32,
    /// Along a row, from left to right.
    pub width: u32,
}

impl From<u32> for Size {
    fn from(both: u32) -> Self {
        Self { height: both, width: both }
    }
}

impl From<[u32; 2]> for Size {
    fn from([height, width]: [u32; 2]) -> Self {
        Self { height, width }
    }
}

/// Rows and columns added around the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sides {
    /// Rows above.
    pub top: u32,
    /// Columns before.
    pub left: u32,
    /// Rows below.
    pub bottom: u32,
    /// Columns after.
    pub right: u32,
}

/// How much to pad. Made from one number, from `[height, width]`, or from
/// `[top, left, bottom, right]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Padding {
    /// These many rows and columns.
    Explicit(Sides),
    /// As much as makes the output ⌈input ÷ stride⌉ in size; an odd row or column goes
    /// below and after. PyTorch's `padding="same"` (there only for stride 1), ONNX's `SAME_UPPER`.
    Same,
    /// The same amount; an odd row or column goes above and before. ONNX's `SAME_LOWER`.
    SameLower,
    /// None.
    Valid,
}

impl From<u32> for Padding {
    fn from(all: u32) -> Self {
        [all; 4].into()
    }
}

impl From<[u32; 2]> for Padding {
    fn from([height, width]: [u32; 2]) -> Self {
        [height, width, height, width].into()
    }
}

impl From<[u32; 4]> for Padding {
    fn from([top, left, bottom, right]: [u32; 4]) -> Self {
        Self::Explicit(Sides { top, left, bottom, right })
    }
}

/// What stands in the padding. PyTorch's `padding_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PaddingMode {
    /// Zeros.
    #[default]
    Zeros,
    /// The input mirrored at its edge, the edge itself not repeated. Needs padding < input size.
    Reflect,
    /// The nearest edge value.
    Replicate,
    /// The input repeated. Needs padding ≤ input size.
    Circular,
}

/// A function applied to each output before it is stored, after bias and residual.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
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

/// One convolution with every size known and checked.
///
/// [`Conv2d::geometry`](crate::Conv2d::geometry) makes it, and a plan is made of that alone. A copy whose fields were
/// changed is no longer checked.
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
    /// Step of the window over the input.
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
    /// Whether a tensor of the output's shape is added before the activation.
    pub residual: bool,
    /// The function applied before the store.
    pub activation: Activation,
}

/// The largest height, width or channel count: shaders compute coordinates in `i32`.
pub(crate) const MAXIMUM_EXTENT: u64 = i32::MAX as u64;

pub(crate) fn check_range(argument: &'static str, value: u64, minimum: u64, maximum: u64) -> Result<()> {
    if (minimum..=maximum).contains(&value) {
        Ok(())
    } else {
        Err(Error::OutOfRange { argument, value, minimum, maximum })
    }
}

/// A size of at least 1 that shaders can compute with.
pub(crate) fn extent(argument: &'static str, value: u64) -> Result<u32> {
    check_range(argument, value, 1, MAXIMUM_EXTENT)?;
    Ok(u32::try_from(value).expect("MAXIMUM_EXTENT fits in 31 bits"))
}

/// The number of values in a shape, if their size in bytes is below 2⁶³.
pub(crate) fn element_count(argument: &'static str, shape: [u32; 4]) -> Result<u64> {
    let count = shape.iter().try_fold(1_u64, |product, &size| product.checked_mul(u64::from(size)));
    count.filter(|&count| count < 1 << 61).ok_or(Error::Overflow { argument, shape })
}

impl Geometry {
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

    /// Bytes that must move: input, parameters and residual read once, output written once. At most [`u64::MAX`]: each
    /// tensor is below 2⁶³ bytes, their sum need not be.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let output = values(self.output_shape());
        let residual = if self.residual { output } else { 0 };
        (values(self.input_shape()) + self.parameters() + residual + output).saturating_mul(4)
    }

    /// Floating-point operations (two per multiply-add) per byte that must move:
    /// the layer's abscissa in the roofline model (Williams, Waterman and Patterson 2009).
    #[must_use]
    pub fn arithmetic_intensity(&self) -> f64 {
        2.0 * self.multiply_adds() as f64 / self.bytes() as f64
    }
}

/// The number of values in a shape that [`Geometry`] has already checked.
pub(crate) fn values(shape: [u32; 4]) -> u64 {
    shape.iter().map(|&size| u64::from(size)).product()
}

/// Resolves one axis: the padding before and after, and the output size.
pub(crate) fn resolve_axis(
    axis: &'static str,
    input: u32,
    kernel: u32,
    stride: u32,
    dilation: u32,
    padding: Padding,
    sides: (u32, u32),
) -> Result<(u32, u32, u32)> {
    let span = u64::from(dilation) * u64::from(kernel - 1) + 1;
    let (input, stride) = (u64::from(input), u64::from(stride));
    let (before, after) = match padding {
        Padding::Explicit(_) => (u64::from(sides.0), u64::from(sides.1)),
        Padding::Valid => (0, 0),
        Padding::Same | Padding::SameLower => {
            let output = input.div_ceil(stride);
            let total = ((output - 1) * stride + span).saturating_sub(input);
            let (less, more) = (total / 2, total.div_ceil(2));
            if padding == Padding::Same { (less, more) } else { (more, less) }
        }
    };
    let padded = input + before + after;
    check_range("padded input size", padded, 1, MAXIMUM_EXTENT)?;
    if span > padded {
        return Err(Error::KernelTooLarge { axis, span, padded });
    }
    let output = (padded - span) / stride + 1;
    let narrow = |value: u64| u32::try_from(value).expect("at most the padded size, which is below 2^31");
    Ok((narrow(before), narrow(after), narrow(output)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_puts_the_odd_column_after_and_same_lower_before() {
        let axis = |padding| resolve_axis("width", 6, 3, 2, 1, padding, (0, 0)).unwrap();
        assert_eq!(axis(Padding::Same), (0, 1, 3));
        assert_eq!(axis(Padding::SameLower), (1, 0, 3));
        assert_eq!(axis(Padding::Valid), (0, 0, 2));
    }

    #[test]
    fn a_kernel_as_large_as_the_padded_input_is_the_largest() {
        const SIDES: Sides = Sides { top: 1, left: 0, bottom: 1, right: 0 };
        let axis = |dilation| resolve_axis("height", 5, 4, 1, dilation, Padding::Explicit(SIDES), (1, 1));
        assert_eq!(axis(2).unwrap(), (1, 1, 1));
        assert_eq!(axis(3), Err(Error::KernelTooLarge { axis: "height", span: 10, padded: 7 }));
    }
}
