//! `Size`, `Sides`, `Padding`: what shapes are made of, and the arithmetic of one axis.

use crate::error::{Error, Result};

/// A height and a width. Made from one number (both alike) or from `[height, width]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Size {
    /// From top to bottom.
    pub height: u32,
    /// From left to right.
    pub width: u32,
}

impl Size {
    /// How many places it has: pixels of a plane, taps of a filter.
    pub(crate) fn area(self) -> u64 {
        u64::from(self.height) * u64::from(self.width)
    }
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
#[non_exhaustive]
pub enum Padding {
    /// This many rows and columns.
    Explicit(Sides),
    /// As much as gives an output of ⌈input ÷ stride⌉; an odd row or column goes below and after. PyTorch's
    /// `padding="same"` (which allows only stride 1), ONNX's `SAME_UPPER`.
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
#[non_exhaustive]
pub enum PaddingMode {
    /// Zeros.
    #[default]
    Zeros,
    /// The input mirrored at its edge, without repeating the edge. Needs padding < input size.
    Reflect,
    /// The nearest edge value.
    Replicate,
    /// The input repeated. Needs padding ≤ input size.
    Circular,
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

/// Checks the shape of an input. The batch may be 0, as in PyTorch: then the output is empty.
pub(crate) fn check_input([batch, channels, height, width]: [u32; 4]) -> Result<()> {
    check_range("input batch", batch.into(), 0, MAXIMUM_EXTENT)?;
    for (argument, size) in [("input channels", channels), ("input height", height), ("input width", width)] {
        extent(argument, size.into())?;
    }
    Ok(())
}

/// Checks a window's sizes.
pub(crate) fn check_window(kernel_size: Size, stride: Size, dilation: Size) -> Result<()> {
    for (argument, value) in [
        ("kernel_size height", kernel_size.height),
        ("kernel_size width", kernel_size.width),
        ("stride height", stride.height),
        ("stride width", stride.width),
        ("dilation height", dilation.height),
        ("dilation width", dilation.width),
    ] {
        extent(argument, value.into())?;
    }
    Ok(())
}

/// A size of at least 1 that shaders can compute with.
pub(crate) fn extent(argument: &'static str, value: u64) -> Result<u32> {
    check_range(argument, value, 1, MAXIMUM_EXTENT)?;
    Ok(u32::try_from(value).expect("MAXIMUM_EXTENT fits in 31 bits"))
}

/// The number of values in a shape, if their size in bytes is below 2⁶³. The sizes of an empty batch must be as good as those
/// of one image.
pub(crate) fn element_count(argument: &'static str, shape: [u32; 4]) -> Result<u64> {
    let [batch, ..] = shape;
    let mut sizes = shape.iter().map(|&size| u64::from(size.max(1)));
    let count = sizes.try_fold(1_u64, u64::checked_mul);
    let count = count.filter(|&count| count < 1 << 61).ok_or(Error::Overflow { argument, shape })?;
    Ok(if batch == 0 { 0 } else { count })
}

/// The number of values in a shape that was checked.
pub(crate) fn values(shape: [u32; 4]) -> u64 {
    shape.iter().map(|&size| u64::from(size)).product()
}

/// Resolves a window that moves over an input: the padding on each side, and the size of the output.
pub(crate) fn resolve(
    input: Size,
    kernel: Size,
    stride: Size,
    dilation: Size,
    padding: Padding,
) -> Result<(Sides, Size)> {
    let sides = match padding {
        Padding::Explicit(sides) => sides,
        Padding::Same | Padding::SameLower | Padding::Valid => Sides { top: 0, left: 0, bottom: 0, right: 0 },
    };
    let axis = |axis, of: fn(Size) -> u32, sides| {
        resolve_axis(axis, of(input), of(kernel), of(stride), of(dilation), padding, sides)
    };
    let (top, bottom, height) = axis("height", |size| size.height, (sides.top, sides.bottom))?;
    let (left, right, width) = axis("width", |size| size.width, (sides.left, sides.right))?;
    Ok((Sides { top, left, bottom, right }, Size { height, width }))
}

/// Resolves one axis: the padding before and after, and the output size.
fn resolve_axis(
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

/// The shape of a tensor that is seen as these sizes: `[1, first, second, third]`.
pub(crate) fn in_a_row([first, second, third]: [u32; 3]) -> [u32; 4] {
    [1, first, second, third]
}

/// Refuses sizes of which one is 0 or too large, and tensors that are too large.
pub(crate) fn check_sizes(argument: &'static str, sizes: [u32; 3]) -> Result<()> {
    for size in sizes {
        extent(argument, size.into())?;
    }
    element_count(argument, in_a_row(sizes)).map(|_| ())
}

/// Refuses a tensor whose values a shader could not number.
pub(crate) fn check_count(argument: &'static str, shape: [u32; 4]) -> Result<()> {
    let count = element_count(argument, shape)?;
    if count > u64::from(u32::MAX) { Err(Error::Overflow { argument, shape }) } else { Ok(()) }
}

/// A shape as a tuning table writes it.
pub(crate) fn shape_text(shape: [u32; 4]) -> String {
    shape.map(|size| size.to_string()).join("x")
}

/// A size as a tuning table writes it.
pub(crate) fn size_text(size: Size) -> String {
    format!("{}x{}", size.height, size.width)
}

/// Sides as a tuning table writes them.
pub(crate) fn sides_text(Sides { top, left, bottom, right }: Sides) -> String {
    format!("{top},{left},{bottom},{right}")
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
