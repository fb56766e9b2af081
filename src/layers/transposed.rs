//! `ConvTranspose2d`: the gradient of a convolution with respect to its input, as a layer that enlarges.

use crate::activation::Activation;
use crate::describe::{Describe, Given, Reference};
use crate::error::{Error, Result};
use crate::size::{Sides, Size, check_count, check_input, check_range, check_window, element_count, extent, values};

/// A transposed 2-D convolution with every size known: what `torch.nn.ConvTranspose2d` takes.
///
/// Tap (p, q) of the filter adds its product with the input value at (i, j) to the output at
/// (i · stride − padding + p · dilation, …).
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct ConvTranspose2d {
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
    /// How far apart neighbouring input values land in the output.
    pub stride: Size,
    /// Distance between neighbouring taps of the filter.
    pub dilation: Size,
    /// Rows and columns taken off around the output.
    pub padding: Sides,
    /// Groups of channels that do not see each other.
    pub groups: u32,
    /// Whether one number per output channel is added.
    pub bias: bool,
    /// The function applied before the store.
    pub activation: Activation,
}

impl ConvTranspose2d {
    /// A layer without padding, with stride 1, dilation 1, one group and a bias. Change its fields with
    /// [`with`](Self::with).
    ///
    /// # Errors
    /// A size that is out of its range.
    pub fn new(input_shape: [u32; 4], out_channels: u32, kernel_size: impl Into<Size>) -> Result<Self> {
        check_input(input_shape)?;
        let [batch, in_channels, height, width] = input_shape;
        let one = Size::from(1);
        let layer = Self {
            batch,
            in_channels,
            input: Size { height, width },
            out_channels,
            output: one,
            kernel_size: kernel_size.into(),
            stride: one,
            dilation: one,
            padding: Sides { top: 0, left: 0, bottom: 0, right: 0 },
            groups: 1,
            bias: true,
            activation: Activation::None,
        };
        layer.with(0.into(), |_| {})
    }

    /// This layer with some fields changed, and the output size that follows from them: (input − 1) · stride −
    /// padding + dilation · (kernel − 1) + 1 + output padding.
    ///
    /// # Errors
    /// A size that is out of its range.
    pub fn with(mut self, output_padding: Size, change: impl FnOnce(&mut Self)) -> Result<Self> {
        change(&mut self);
        check_window(self.kernel_size, self.stride, self.dilation)?;
        let axis = |input: u32, kernel: u32, stride: u32, dilation: u32, padding: u32, more: u32| {
            let span = u64::from(input - 1) * u64::from(stride)
                + u64::from(dilation) * u64::from(kernel - 1)
                + 1
                + u64::from(more);
            let size = span.saturating_sub(padding.into());
            extent("output size", size)
        };
        let sides = self.padding;
        let (top, left) = (sides.top.saturating_add(sides.bottom), sides.left.saturating_add(sides.right));
        self.output = Size {
            height: axis(
                self.input.height,
                self.kernel_size.height,
                self.stride.height,
                self.dilation.height,
                top,
                output_padding.height,
            )?,
            width: axis(
                self.input.width,
                self.kernel_size.width,
                self.stride.width,
                self.dilation.width,
                left,
                output_padding.width,
            )?,
        };
        self.check()?;
        Ok(self)
    }

    /// `[batch, in_channels, height, width]`
    #[must_use]
    pub fn input_shape(&self) -> [u32; 4] {
        [self.batch, self.in_channels, self.input.height, self.input.width]
    }

    /// `[in_channels, out_channels / groups, kernel height, kernel width]`
    #[must_use]
    pub fn weight_shape(&self) -> [u32; 4] {
        [self.in_channels, self.out_channels / self.groups, self.kernel_size.height, self.kernel_size.width]
    }
}

impl Describe for ConvTranspose2d {
    fn check(&self) -> Result<()> {
        self.activation.check()?;
        check_window(self.kernel_size, self.stride, self.dilation)?;
        check_input(self.input_shape())?;
        extent("out_channels", self.out_channels.into())?;
        extent("groups", self.groups.into())?;
        for (argument, value) in [("in_channels", self.in_channels), ("out_channels", self.out_channels)] {
            if value % self.groups != 0 {
                return Err(Error::NotDivisible { argument, value, groups: self.groups });
            }
        }
        extent("output height", self.output.height.into())?;
        extent("output width", self.output.width.into())?;
        for (argument, padding) in [("padding top", self.padding.top), ("padding left", self.padding.left)] {
            check_range(argument, padding.into(), 0, i32::MAX as u64)?;
        }
        element_count("weight", self.weight_shape())?;
        check_count("weight", self.weight_shape())?;
        check_count("input", self.input_shape())?;
        check_count("output", self.output_shape())?;
        let work = values(self.output_shape()).checked_mul(self.terms());
        work.filter(|&count| count < 1 << 62).map(|_| ()).ok_or(Error::TooMuchWork)
    }

    fn given(&self) -> Vec<Given> {
        let mut given =
            vec![Given::input("input", self.input_shape()), Given::parameter("weight", self.weight_shape())];
        given.extend(self.bias.then(|| Given::parameter("bias", [1, self.out_channels, 1, 1])));
        given
    }

    fn output_shape(&self) -> [u32; 4] {
        [self.batch, self.out_channels, self.output.height, self.output.width]
    }

    fn text(&self) -> String {
        let Self { kernel_size, stride, dilation, padding, output, groups, .. } = self;
        format!(
            "transposed input {:?} weight {:?} groups {groups} {kernel_size:?} {stride:?} {dilation:?} {padding:?} {output:?}",
            self.input_shape(),
            self.weight_shape()
        )
    }

    fn terms(&self) -> u64 {
        let axis = |kernel: u32, stride: u32| u64::from(kernel.div_ceil(stride).max(1));
        // With a dilation, any of the taps may meet.
        let taps = if self.dilation == Size::from(1) {
            axis(self.kernel_size.height, self.stride.height) * axis(self.kernel_size.width, self.stride.width)
        } else {
            self.kernel_size.area()
        };
        u64::from(self.in_channels / self.groups) * taps
    }

    fn activation(&self) -> Activation {
        self.activation
    }

    /// One for each input value, weight of its channel and output channel of its group.
    fn multiply_adds(&self) -> u64 {
        values(self.input_shape()) * u64::from(self.out_channels / self.groups) * self.kernel_size.area()
    }

    fn reference(&self, given: &[&[f32]]) -> Reference {
        let count = usize::try_from(values(self.output_shape())).expect("values in memory");
        let mut reference =
            Reference { values: vec![0.0; count], magnitudes: vec![0.0; count], ..Reference::default() };
        let [_, out_per_group, ..] = self.weight_shape().map(|size| size as usize);
        let in_per_group = (self.in_channels / self.groups) as usize;
        let out_plane = usize::try_from(self.output.area()).expect("values in memory");
        let landing = |position: u32, stride: u32, tap: u32, dilation: u32, padding: u32, size: u32| {
            let place =
                i64::from(position) * i64::from(stride) + i64::from(tap) * i64::from(dilation) - i64::from(padding);
            usize::try_from(place).ok().filter(|&place| place < size as usize)
        };
        let (kernel, stride, dilation) = (self.kernel_size, self.stride, self.dilation);
        let mut index = 0;
        for image in 0..self.batch as usize {
            for channel in 0..self.in_channels as usize {
                for row in 0..self.input.height {
                    for column in 0..self.input.width {
                        let x = f64::from(given[0][index]);
                        index += 1;
                        for p in 0..kernel.height {
                            let Some(y) =
                                landing(row, stride.height, p, dilation.height, self.padding.top, self.output.height)
                            else {
                                continue;
                            };
                            for q in 0..kernel.width {
                                let Some(z) = landing(
                                    column,
                                    stride.width,
                                    q,
                                    dilation.width,
                                    self.padding.left,
                                    self.output.width,
                                ) else {
                                    continue;
                                };
                                for out in 0..out_per_group {
                                    let tap = ((channel * out_per_group + out) * kernel.height as usize + p as usize)
                                        * kernel.width as usize
                                        + q as usize;
                                    let out_channel = channel / in_per_group * out_per_group + out;
                                    let place = (image * self.out_channels as usize + out_channel) * out_plane
                                        + y * self.output.width as usize
                                        + z;
                                    let product = x * f64::from(given[1][tap]);
                                    reference.values[place] += product;
                                    reference.magnitudes[place] += product.abs();
                                }
                            }
                        }
                    }
                }
            }
        }
        for (place, value) in reference.values.iter_mut().enumerate() {
            if self.bias {
                let bias = f64::from(given[2][place / out_plane % self.out_channels as usize]);
                *value += bias;
                reference.magnitudes[place] += bias.abs();
            }
            *value = self.activation.apply(*value);
        }
        reference
    }
}
