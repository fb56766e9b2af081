//! `MaxPool2d` and `AveragePool2d`: the largest value, or the mean, under a window that moves over each channel.

use crate::describe::{Describe, Given, Reference, source};
use crate::error::{Error, Result};
use crate::size::{
    MAXIMUM_EXTENT, Padding, PaddingMode, Sides, Size, check_input, check_range, check_window, element_count, extent,
    resolve, shape_text, sides_text, size_text, values,
};

macro_rules! pools {
    ($($(#[$doc:meta])* $pool:ident { $($(#[$own_doc:meta])* $own:ident: $type:ty)? })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy, PartialEq)]
            #[non_exhaustive]
            pub struct $pool {
                /// Height and width of the window.
                pub kernel_size: Size,
                /// How far the window moves from one output to the next.
                pub stride: Size,
                /// Rows and columns added around the input.
                pub padding: Padding,
                /// The distance between the values of a window.
                pub dilation: Size,
                /// Whether the output's size is rounded up, and not down.
                pub ceil_mode: bool,
                $($(#[$own_doc])* pub $own: $type,)?
            }

            impl $pool {
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

                /// Whether the output's size is rounded up, so that the last window may reach past the padding. It must
                /// start before the padding that is below or after the input. Default no.
                #[must_use]
                pub fn ceil_mode(mut self, ceil_mode: bool) -> Self {
                    self.ceil_mode = ceil_mode;
                    self
                }

                /// Checks the layer against an input of shape `[batch, channels, height, width]` and resolves every size.
                ///
                /// # Errors
                /// The first argument that is out of its range.
                pub fn geometry(&self, input_shape: [u32; 4]) -> Result<PoolGeometry> {
                    let Self { kernel_size, stride, padding, dilation, ceil_mode, .. } = *self;
                    Windows { kernel_size, stride, padding, dilation, ceil_mode }.geometry(self.pooling(), input_shape)
                }
            }
        )*
    };
}

pools! {
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
    MaxPool2d {}

    /// A 2-D average pool: what `torch.nn.AvgPool2d` takes, with its defaults, and a dilation as in ONNX.
    ///
    /// A window that has nothing to count gives 0.
    ///
    /// ```
    /// use sepconv::AveragePool2d;
    ///
    /// let geometry = AveragePool2d::new(3).stride(2).ceil_mode(true).geometry([1, 64, 112, 112])?;
    /// assert_eq!(geometry.output_shape(), [1, 64, 56, 56]);
    /// # Ok::<(), sepconv::Error>(())
    /// ```
    AveragePool2d {
        /// Whether padding counts, as zeros.
        count_padding: bool
    }
}

impl MaxPool2d {
    /// A pool with a window of `kernel_size` (one number or `[height, width]`), the same stride, no padding and
    /// dilation 1.
    #[must_use]
    pub fn new(kernel_size: impl Into<Size>) -> Self {
        let kernel_size = kernel_size.into();
        Self { kernel_size, stride: kernel_size, padding: 0.into(), dilation: 1.into(), ceil_mode: false }
    }

    #[expect(clippy::unused_self, reason = "as the average pool has it")]
    fn pooling(&self) -> Pooling {
        Pooling::Max
    }
}

impl AveragePool2d {
    /// A pool with a window of `kernel_size` (one number or `[height, width]`), the same stride, no padding and
    /// dilation 1.
    #[must_use]
    pub fn new(kernel_size: impl Into<Size>) -> Self {
        let MaxPool2d { kernel_size, stride, padding, dilation, ceil_mode } = MaxPool2d::new(kernel_size);
        Self { kernel_size, stride, padding, dilation, ceil_mode, count_padding: true }
    }

    /// Whether padding counts, as zeros. Default yes, as in PyTorch; ONNX's default is no.
    #[must_use]
    pub fn count_padding(mut self, count_padding: bool) -> Self {
        self.count_padding = count_padding;
        self
    }

    fn pooling(&self) -> Pooling {
        Pooling::Average { count_padding: self.count_padding }
    }
}

/// Where the windows of a pool of either kind lie.
struct Windows {
    kernel_size: Size,
    stride: Size,
    padding: Padding,
    dilation: Size,
    ceil_mode: bool,
}

impl Windows {
    fn geometry(&self, pooling: Pooling, input_shape: [u32; 4]) -> Result<PoolGeometry> {
        let Self { kernel_size, stride, padding, dilation, ceil_mode } = *self;
        check_window(kernel_size, stride, dilation)?;
        check_input(input_shape)?;
        let [batch, channels, height, width] = input_shape;
        let input = Size { height, width };
        let (padding, mut output) = resolve(input, kernel_size, stride, dilation, padding)?;
        if ceil_mode {
            let Sides { top, left, bottom, right } = padding;
            let axis = |of: fn(Size) -> u32, sides| {
                rounded_up(of(output), of(input), of(kernel_size), of(stride), of(dilation), sides)
            };
            output = Size {
                height: axis(|size| size.height, [top, bottom])?,
                width: axis(|size| size.width, [left, right])?,
            };
        }
        let geometry =
            PoolGeometry { pooling, batch, channels, input, output, kernel_size, stride, dilation, padding, ceil_mode };
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

/// The output's size along one axis, rounded up: one more window where the last one leaves some of the padded input, if
/// that window starts before the padding after the input.
fn rounded_up(output: u32, input: u32, kernel: u32, stride: u32, dilation: u32, padding: [u32; 2]) -> Result<u32> {
    let [input, kernel, stride, dilation] = [input, kernel, stride, dilation].map(u64::from);
    let [before, after] = padding.map(u64::from);
    let span = dilation * (kernel - 1) + 1;
    let next = u64::from(output) * stride;
    if next - stride + span >= before + input + after || next >= before + input {
        return Ok(output);
    }
    check_range("padded input size", next + span, 1, MAXIMUM_EXTENT)?;
    Ok(output + 1)
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
    /// Whether the output's size was rounded up.
    pub ceil_mode: bool,
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
        let PoolGeometry { kernel_size, stride, dilation, ceil_mode, .. } = *self;
        let windows = Windows { kernel_size, stride, padding: Padding::Explicit(self.padding), dilation, ceil_mode };
        if windows.geometry(self.pooling, self.input_shape())? == *self { Ok(()) } else { Err(Error::Altered) }
    }

    fn given(&self) -> Vec<Given> {
        vec![Given::input("input", self.input_shape())]
    }

    fn output_shape(&self) -> [u32; 4] {
        Self::output_shape(self)
    }

    fn text(&self) -> String {
        let kind = match self.pooling {
            Pooling::Max => "max pool",
            Pooling::Average { count_padding: false } => "average pool",
            Pooling::Average { count_padding: true } => "average pool, padding included,",
        };
        format!(
            "{kind} input {} kernel_size {} stride {} dilation {} padding {}{}",
            shape_text(self.input_shape()),
            size_text(self.kernel_size),
            size_text(self.stride),
            size_text(self.dilation),
            sides_text(self.padding),
            if self.ceil_mode { " ceil_mode" } else { "" },
        )
    }

    /// A mean's last rounding is a division, for which WGSL allows 2.5 units in the last place.
    fn terms(&self) -> u64 {
        if self.pooling == Pooling::Max { 0 } else { self.kernel_size.area() + 5 }
    }

    /// Its comparisons or additions: one for each value under each window.
    fn multiply_adds(&self) -> u64 {
        values(self.output_shape()) * self.kernel_size.area()
    }

    fn reference(&self, given: &[&[f32]]) -> Reference {
        let Pooling::Average { count_padding } = self.pooling else {
            let values: Vec<f64> = max_pool2d(self, given[0]).into_iter().map(f64::from).collect();
            return Reference { magnitudes: vec![0.0; values.len()], values, ..Reference::default() };
        };
        // How many places along an axis count: those in the padded input, or in the input itself.
        let counted = |windows: Vec<Vec<i64>>, size: u32, [before, after]: [u32; 2]| -> Vec<usize> {
            let [before, after] = if count_padding { [before, after] } else { [0, 0] }.map(i64::from);
            let counts = |place: &&i64| (-before..i64::from(size) + after).contains(place);
            windows.iter().map(|window| window.iter().filter(counts).count()).collect()
        };
        let (Sides { top, left, bottom, right }, [rows, columns]) = (self.padding, self.places());
        let rows = counted(rows, self.input.height, [top, bottom]);
        let columns = counted(columns, self.input.width, [left, right]);
        let counts: Vec<_> = rows.iter().flat_map(|row| columns.iter().map(move |column| row * column)).collect();
        let mut reference = Reference::default();
        self.each_window(given[0], |index, values| {
            let count = counts[index % counts.len()].max(1) as f64;
            let (sum, size) =
                values.fold((0.0, 0.0), |(sum, size), value| (sum + f64::from(value), size + f64::from(value).abs()));
            reference.values.push(sum / count);
            reference.magnitudes.push(size / count);
        });
        reference
    }
}

impl PoolGeometry {
    /// The places that each window has along the height and along the width, inside of the input and outside.
    fn places(&self) -> [Vec<Vec<i64>>; 2] {
        let axis = |output: u32, taps: u32, stride: u32, dilation: u32, before: u32| {
            let place = move |index: u32, tap: u32| {
                i64::from(index) * i64::from(stride) + i64::from(tap) * i64::from(dilation) - i64::from(before)
            };
            (0..output).map(|index| (0..taps).map(|tap| place(index, tap)).collect()).collect()
        };
        let Self { output, kernel_size, stride, dilation, padding, .. } = *self;
        [
            axis(output.height, kernel_size.height, stride.height, dilation.height, padding.top),
            axis(output.width, kernel_size.width, stride.width, dilation.width, padding.left),
        ]
    }

    /// Calls a function with the index of each output and the values under its window.
    fn each_window(&self, input: &[f32], mut each: impl FnMut(usize, &mut dyn Iterator<Item = f32>)) {
        let inside = |windows: Vec<Vec<i64>>, size: u32| -> Vec<Vec<usize>> {
            let inside = |window: Vec<i64>| {
                window.into_iter().filter_map(|place| source(PaddingMode::Zeros, place, size)).collect()
            };
            windows.into_iter().map(inside).collect()
        };
        let [rows, columns] = self.places();
        let (rows, columns) = (inside(rows, self.input.height), inside(columns, self.input.width));
        let width = self.input.width as usize;
        let mut index = 0;
        for plane in input.chunks(self.input.height as usize * width) {
            for rows in &rows {
                for columns in &columns {
                    let places = rows.iter().flat_map(|row| columns.iter().map(move |column| row * width + column));
                    each(index, &mut places.map(|place| plane[place]));
                    index += 1;
                }
            }
        }
    }
}

/// The largest value under each window. It is exact: nothing is rounded. A NaN in a window is its largest value; a
/// window without a value gives minus infinity.
///
/// # Panics
/// If the input is shorter than its shape.
#[must_use]
pub fn max_pool2d(geometry: &PoolGeometry, input: &[f32]) -> Vec<f32> {
    let larger = |a: f32, b: f32| if a >= b || a.is_nan() { a } else { b };
    let mut result = Vec::new();
    geometry.each_window(input, |_, values| result.push(values.fold(f32::NEG_INFINITY, larger)));
    result
}
