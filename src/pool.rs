//! `MaxPool2d` and `AveragePool2d`: the largest value, or the mean, under a window that moves over each channel.

use crate::describe::{Describe, Given, Reference, source};
use crate::error::{Error, Result};
use crate::size::{
    Padding, PaddingMode, Sides, Size, check_input, check_window, element_count, extent, resolve, shape_text,
    sides_text, size_text, values,
};

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
        let geometry = PoolGeometry {
            pooling: Pooling::Max,
            batch,
            channels,
            input,
            output,
            kernel_size,
            stride,
            dilation,
            padding,
        };
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

/// What a pool makes of the values under its window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pooling {
    /// The largest.
    Max,
    /// Their mean.
    Average {
        /// Whether padding counts, as zeros. Rows and columns past the padding, which only a rounded-up output size sees,
        /// never do.
        count_padding: bool,
    },
}

/// One pool with every size known and checked. Only [`MaxPool2d::geometry`] and `AveragePool2d::geometry` make one.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct PoolGeometry {
    /// What it makes of the values under its window.
    pub pooling: Pooling,
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

impl Describe for PoolGeometry {
    fn check(&self) -> Result<()> {
        if MaxPool2d::of(self).geometry(self.input_shape())? == *self { Ok(()) } else { Err(Error::Altered) }
    }

    fn given(&self) -> Vec<Given> {
        vec![Given::input("input", self.input_shape())]
    }

    fn output_shape(&self) -> [u32; 4] {
        Self::output_shape(self)
    }

    fn text(&self) -> String {
        format!(
            "max pool input {} kernel_size {} stride {} dilation {} padding {}",
            shape_text(self.input_shape()),
            size_text(self.kernel_size),
            size_text(self.stride),
            size_text(self.dilation),
            sides_text(self.padding),
        )
    }

    fn multiply_adds(&self) -> u64 {
        values(self.output_shape()) * self.kernel_size.area()
    }

    fn reference(&self, given: &[&[f32]]) -> Reference {
        let values: Vec<f64> = max_pool2d(self, given[0]).into_iter().map(f64::from).collect();
        Reference { magnitudes: vec![0.0; values.len()], values }
    }
}

/// The largest value under each window. It is exact: nothing is rounded. A NaN in a window is its largest value; a
/// window without a value gives minus infinity.
///
/// # Panics
/// If the input is shorter than its shape.
#[must_use]
pub fn max_pool2d(geometry: &PoolGeometry, input: &[f32]) -> Vec<f32> {
    let g = geometry;
    let sources = |output: u32, taps: u32, stride: u32, dilation: u32, before: u32, size: u32| {
        let positions = (0..taps).map(move |tap| {
            i64::from(output) * i64::from(stride) + i64::from(tap) * i64::from(dilation) - i64::from(before)
        });
        positions.filter_map(move |position| source(PaddingMode::Zeros, position, size)).collect::<Vec<_>>()
    };
    let (kernel, stride, dilation) = (g.kernel_size, g.stride, g.dilation);
    let rows: Vec<_> = (0..g.output.height)
        .map(|row| sources(row, kernel.height, stride.height, dilation.height, g.padding.top, g.input.height))
        .collect();
    let columns: Vec<_> = (0..g.output.width)
        .map(|column| sources(column, kernel.width, stride.width, dilation.width, g.padding.left, g.input.width))
        .collect();
    let width = g.input.width as usize;
    let mut result = Vec::new();
    for plane in input.chunks(g.input.height as usize * width) {
        for rows in &rows {
            for columns in &columns {
                let values = rows.iter().flat_map(|row| columns.iter().map(move |column| plane[row * width + column]));
                let larger = |a: f32, b: f32| if a >= b || a.is_nan() { a } else { b };
                result.push(values.fold(f32::NEG_INFINITY, larger));
            }
        }
    }
    result
}
