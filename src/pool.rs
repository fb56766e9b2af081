//! `MaxPool2d`: the largest value under a window that moves over each channel.

use crate::error::{Error, Result};
use crate::size::{Padding, Sides, Size, check_input, check_window, element_count, extent, resolve, values};

/// A 2-D max pool: what `torch.nn.MaxPool2d` takes, with its defaults.
///
/// Padding holds no value, so it is never the largest. A window that sees padding alone gives minus infinity, and one
/// that sees a NaN gives NaN, as in PyTorch.
///
/// ```
/// use sepconv::MaxPool2d;
///
/// let geometry = MaxPool2d::new(3).stride(2).padding(1).geometry([1, 64, 112, 112])?;
/// assert_eq!(geometry.output_shape(), [1, 64, 56, 56]);
/// # Ok::<(), sepconv::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct MaxPool2d {
    /// Height and width of the window.
    pub kernel_size: Size,
    /// How far the window moves from one output to the next.
    pub stride: Size,
    /// Rows and columns added around the input.
    pub padding: Padding,
    /// The distance between the values of a window.
    pub dilation: Size,
}

impl MaxPool2d {
    /// A pool with a window of `kernel_size` (one number or `[height, width]`), the same stride, no padding and
    /// dilation 1.
    #[must_use]
    pub fn new(kernel_size: impl Into<Size>) -> Self {
        let kernel_size = kernel_size.into();
        Self { kernel_size, stride: kernel_size, padding: 0.into(), dilation: 1.into() }
    }

    /// The pool whose geometry this is.
    pub(crate) fn of(geometry: &PoolGeometry) -> Self {
        let padding = Padding::Explicit(geometry.padding);
        let PoolGeometry { kernel_size, stride, dilation, .. } = *geometry;
        Self { kernel_size, stride, padding, dilation }
    }

    /// How far the window moves: one number or `[height, width]`. Default `kernel_size`.
    #[must_use]
    pub fn stride(mut self, stride: impl Into<Size>) -> Self {
        self.stride = stride.into();
        self
    }

    /// One number, `[height, width]`, `[top, left, bottom, right]` or a [`Padding`]. Default 0.
    #[must_use]
    pub fn padding(mut self, padding: impl Into<Padding>) -> Self {
        self.padding = padding.into();
        self
    }

    /// The distance between the values of a window: one number or `[height, width]`. Default 1.
    #[must_use]
    pub fn dilation(mut self, dilation: impl Into<Size>) -> Self {
        self.dilation = dilation.into();
        self
    }

    /// Checks the layer against an input of shape `[batch, channels, height, width]` and resolves every size.
    ///
    /// # Errors
    /// The first argument that is out of its range.
    pub fn geometry(&self, input_shape: [u32; 4]) -> Result<PoolGeometry> {
        check_window(self.kernel_size, self.stride, self.dilation)?;
        check_input(input_shape)?;
        let [batch, channels, height, width] = input_shape;
        let (kernel_size, input) = (self.kernel_size, Size { height, width });
        let (padding, output) = resolve(input, kernel_size, self.stride, self.dilation, self.padding)?;
        let (stride, dilation) = (self.stride, self.dilation);
        let geometry = PoolGeometry { batch, channels, input, output, kernel_size, stride, dilation, padding };
        element_count("input", geometry.input_shape())?;
        element_count("output", geometry.output_shape())?;
        // An empty batch is no way round what one image may not have.
        let [batch, channels, height, width] = geometry.output_shape();
        let outputs = values([batch.max(1), channels, height, width]);
        let taps = kernel_size.area();
        extent("kernel_size height times width", taps)?;
        outputs.checked_mul(taps).filter(|&count| count < 1 << 62).ok_or(Error::TooMuchWork)?;
        Ok(geometry)
    }
}

/// One max pool with every size known and checked. Only [`MaxPool2d::geometry`] makes one.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct PoolGeometry {
    /// Images in the batch.
    pub batch: u32,
    /// Channels of input and output.
    pub channels: u32,
    /// Height and width of the input.
    pub input: Size,
    /// Height and width of the output.
    pub output: Size,
    /// Height and width of the window.
    pub kernel_size: Size,
    /// How far the window moves from one output to the next.
    pub stride: Size,
    /// Distance between neighbouring values of the window.
    pub dilation: Size,
    /// Rows and columns added around the input.
    pub padding: Sides,
}

impl PoolGeometry {
    /// `[batch, channels, height, width]`
    #[must_use]
    pub fn input_shape(&self) -> [u32; 4] {
        [self.batch, self.channels, self.input.height, self.input.width]
    }

    /// `[batch, channels, height, width]`
    #[must_use]
    pub fn output_shape(&self) -> [u32; 4] {
        [self.batch, self.channels, self.output.height, self.output.width]
    }
}
