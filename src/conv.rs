//! `Conv2d`: a convolution layer described in PyTorch's words.

use crate::activation::Activation;
use crate::describe::{Describe, Given, Reference};
use crate::error::{Error, Result};
use crate::geometry::Geometry;
use crate::reference;
use crate::residual::Residual;
use crate::rounding::Rounding;
use crate::size::{
    Padding, PaddingMode, Sides, Size, check_input, check_range, check_window, element_count, extent, resolve,
    shape_text, sides_text, size_text, values,
};

/// A 2-D convolution layer: what `torch.nn.Conv2d` takes, with its defaults.
///
/// It is a description that nothing has checked yet: [`geometry`](Self::geometry) and [`plan`](Self::plan) check it
/// against an input shape. Its fields may be read, and the methods of the same names set them.
///
/// ```
/// use sepconv::Conv2d;
///
/// let layer = Conv2d::new(3, 4, 3).padding(1);
/// let geometry = layer.geometry([1, 3, 64, 64])?;
/// assert_eq!(geometry.output_shape(), [1, 4, 64, 64]);
/// assert_eq!(geometry.parameters(), 112);
/// # Ok::<(), sepconv::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Conv2d {
    /// Channels of the input.
    pub in_channels: u32,
    /// Channels of the output.
    pub out_channels: u32,
    /// Height and width of the filter.
    pub kernel_size: Size,
    /// How far the window moves from one output to the next.
    pub stride: Size,
    /// Rows and columns added around the input.
    pub padding: Padding,
    /// The distance between filter taps.
    pub dilation: Size,
    /// How many groups of channels are convolved apart from each other.
    pub groups: u32,
    /// Whether a number per output channel is added.
    pub bias: bool,
    /// What stands in the padding.
    pub padding_mode: PaddingMode,
    /// The function applied before the store.
    pub activation: Activation,
    /// Whether a tensor of the output's shape is added, and where.
    pub residual: Residual,
    /// Whether each input channel of each image is multiplied by a number first.
    pub input_scale: bool,
    /// How large the rounding errors may be.
    pub rounding: Rounding,
}

impl Conv2d {
    /// A layer from `in_channels` to `out_channels` with a filter of `kernel_size` (one number or
    /// `[height, width]`), stride 1, no padding, dilation 1, one group and a bias.
    #[must_use]
    pub fn new(in_channels: u32, out_channels: u32, kernel_size: impl Into<Size>) -> Self {
        Self {
            in_channels,
            out_channels,
            kernel_size: kernel_size.into(),
            stride: 1.into(),
            padding: 0.into(),
            dilation: 1.into(),
            groups: 1,
            bias: true,
            padding_mode: PaddingMode::Zeros,
            activation: Activation::None,
            residual: Residual::None,
            input_scale: false,
            rounding: Rounding::Fast,
        }
    }

    /// The layer whose geometry this is.
    pub(crate) fn of(geometry: &Geometry) -> Self {
        Self {
            in_channels: geometry.in_channels,
            out_channels: geometry.out_channels,
            kernel_size: geometry.kernel_size,
            stride: geometry.stride,
            padding: Padding::Explicit(geometry.padding),
            dilation: geometry.dilation,
            groups: geometry.groups,
            bias: geometry.bias,
            padding_mode: geometry.padding_mode,
            activation: geometry.activation,
            residual: geometry.residual,
            input_scale: geometry.input_scale,
            rounding: geometry.rounding,
        }
    }

    /// The layer that a weight of shape `[out_channels, in_channels / groups, height, width]` belongs to.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if `groups` is 0 or the input channels do not fit in 31 bits.
    pub fn from_weight_shape(shape: [u32; 4], groups: u32) -> Result<Self> {
        extent("groups", groups.into())?;
        let in_channels = extent("in_channels", u64::from(shape[1]) * u64::from(groups))?;
        Ok(Self::new(in_channels, shape[0], [shape[2], shape[3]]).groups(groups))
    }

    /// How far the window moves: one number or `[height, width]`. Default 1.
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

    /// The distance between filter taps: one number or `[height, width]`. Default 1.
    #[must_use]
    pub fn dilation(mut self, dilation: impl Into<Size>) -> Self {
        self.dilation = dilation.into();
        self
    }

    /// How many groups of channels are convolved apart from each other. Default 1; with `in_channels` groups the
    /// convolution is depthwise.
    #[must_use]
    pub fn groups(mut self, groups: u32) -> Self {
        self.groups = groups;
        self
    }

    /// Whether a number per output channel is added. Default true.
    #[must_use]
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }

    /// What stands in the padding. Default [`PaddingMode::Zeros`].
    #[must_use]
    pub fn padding_mode(mut self, padding_mode: PaddingMode) -> Self {
        self.padding_mode = padding_mode;
        self
    }

    /// A function applied before the store. Default [`Activation::None`].
    #[must_use]
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// How large the rounding errors may be. Default [`Rounding::Fast`].
    #[must_use]
    pub fn rounding(mut self, rounding: Rounding) -> Self {
        self.rounding = rounding;
        self
    }

    /// Whether a tensor of the output's shape is added: true, false or a [`Residual`], which says where. Default false.
    #[must_use]
    pub fn residual(mut self, residual: impl Into<Residual>) -> Self {
        self.residual = residual.into();
        self
    }

    /// Whether each input channel of each image is multiplied by a number first: a tensor of shape `[batch, in_channels, 1,
    /// 1]`, such as squeeze and excitation ends with (Hu, Shen and Sun 2018). What stands in the padding is multiplied too.
    /// Default false.
    #[must_use]
    pub fn input_scale(mut self, input_scale: bool) -> Self {
        self.input_scale = input_scale;
        self
    }

    /// Checks the layer against an input of shape `[batch, channels, height, width]` and resolves every size.
    ///
    /// # Errors
    /// The first argument that is out of its range, in the order of the constructor and the setters.
    pub fn geometry(&self, input_shape: [u32; 4]) -> Result<Geometry> {
        self.check()?;
        let [batch, channels, height, width] = input_shape;
        check_input(input_shape)?;
        if channels != self.in_channels {
            let expected = [batch, self.in_channels, height, width];
            return Err(Error::Shape { argument: "input", shape: input_shape, expected });
        }
        let (kernel, input) = (self.kernel_size, Size { height, width });
        let (padding, output) = resolve(input, kernel, self.stride, self.dilation, self.padding)?;
        self.check_padding_mode(padding, height, width)?;

        let geometry = Geometry {
            batch,
            in_channels: self.in_channels,
            input,
            out_channels: self.out_channels,
            output,
            kernel_size: kernel,
            stride: self.stride,
            dilation: self.dilation,
            padding,
            padding_mode: self.padding_mode,
            rounding: self.rounding,
            groups: self.groups,
            bias: self.bias,
            residual: self.residual,
            input_scale: self.input_scale,
            activation: self.activation,
        };
        element_count("input", geometry.input_shape())?;
        element_count("weight", geometry.weight_shape())?;
        element_count("output", geometry.output_shape())?;
        // An empty batch is no way round what one image may not have.
        let [batch, channels, height, width] = geometry.output_shape();
        let outputs = values([batch.max(1), channels, height, width]);
        let operations = outputs.checked_mul(geometry.terms());
        operations.filter(|&count| count < 1 << 62).ok_or(Error::TooMuchWork)?;
        Ok(geometry)
    }

    fn check(&self) -> Result<()> {
        extent("in_channels", self.in_channels.into())?;
        extent("out_channels", self.out_channels.into())?;
        check_window(self.kernel_size, self.stride, self.dilation)?;
        extent("groups", self.groups.into())?;
        for (argument, value) in [("in_channels", self.in_channels), ("out_channels", self.out_channels)] {
            if value % self.groups != 0 {
                return Err(Error::NotDivisible { argument, value, groups: self.groups });
            }
        }
        self.activation.check()?;
        if self.residual == Residual::AfterActivation && !self.activation.is_below_its_argument() {
            return Err(Error::ResidualAfter { activation: format!("{:?}", self.activation) });
        }
        Ok(())
    }

    fn check_padding_mode(&self, padding: Sides, height: u32, width: u32) -> Result<()> {
        let spare = match self.padding_mode {
            PaddingMode::Zeros | PaddingMode::Replicate => return Ok(()),
            PaddingMode::Reflect => 1,
            PaddingMode::Circular => 0,
        };
        for (argument, value, size) in [
            ("padding top", padding.top, height),
            ("padding left", padding.left, width),
            ("padding bottom", padding.bottom, height),
            ("padding right", padding.right, width),
        ] {
            check_range(argument, value.into(), 0, u64::from(size - spare))?;
        }
        Ok(())
    }
}

/// What decides how fast a kernel computes a convolution.
pub(crate) fn conv2d_text(g: &Geometry) -> String {
    format!(
        "input {} weight {} groups {} stride {} dilation {} padding {} {:?}{}{}",
        shape_text(g.input_shape()),
        shape_text(g.weight_shape()),
        g.groups,
        size_text(g.stride),
        size_text(g.dilation),
        sides_text(g.padding),
        g.padding_mode,
        if g.rounding == Rounding::Exact { " exact" } else { "" },
        if g.input_scale { " scaled" } else { "" },
    )
}

/// A weight, and a bias if there is one.
pub(crate) type Filters<'a> = (&'a [f32], Option<&'a [f32]>);

/// The definition of a convolution of all that it is given, for these outputs.
pub(crate) fn reference_at(
    geometry: &Geometry,
    outputs: impl IntoIterator<Item = usize>,
    given: &[&[f32]],
) -> Reference {
    let mut given = given.iter().copied();
    let mut next = || given.next().expect("all that is given");
    let (input, residual, scale) = (next(), geometry.residual.then(&mut next), geometry.input_scale.then(&mut next));
    let (weight, bias) = (next(), geometry.bias.then(&mut next));
    let Some(scale) = scale else {
        return reference::conv2d_at(geometry, outputs, input, weight, bias, residual);
    };
    let plane = geometry.input.height as usize * geometry.input.width as usize;
    let scaled = input.iter().enumerate().map(|(index, &value)| f64::from(value) * f64::from(scale[index / plane]));
    let residual: Option<Vec<f64>> = residual.map(|residual| residual.iter().copied().map(f64::from).collect());
    reference::conv2d_at(geometry, outputs, &scaled.collect::<Vec<f64>>(), weight, bias, residual.as_deref())
}

impl Describe for Geometry {
    fn check(&self) -> Result<()> {
        if Conv2d::of(self).geometry(self.input_shape())? == *self { Ok(()) } else { Err(Error::Altered) }
    }

    fn given(&self) -> Vec<Given> {
        let mut given = vec![Given::input("input", self.input_shape())];
        given.extend(self.residual.then(|| Given::input("residual", self.output_shape())));
        given.extend(self.input_scale.then(|| Given::input("input_scale", self.input_scale_shape())));
        given.push(Given::parameter("weight", self.weight_shape()));
        given.extend(self.bias.then(|| Given::parameter("bias", self.bias_shape())));
        given
    }

    fn output_shape(&self) -> [u32; 4] {
        Self::output_shape(self)
    }

    fn text(&self) -> String {
        conv2d_text(self)
    }

    /// A scale rounds each product once more, which is what one more term does to a sum.
    fn terms(&self) -> u64 {
        Self::terms(self) + u64::from(self.input_scale)
    }

    fn activation(&self) -> Activation {
        self.activation
    }

    fn multiply_adds(&self) -> u64 {
        Self::multiply_adds(self)
    }

    fn reference(&self, given: &[&[f32]]) -> Reference {
        let outputs = usize::try_from(values(self.output_shape())).expect("outputs in memory");
        reference_at(self, 0..outputs, given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_argument_is_refused_by_name() {
        let base = || Conv2d::new(4, 8, 3).padding(1);
        let cases: [(Conv2d, &str); 15] = [
            (Conv2d::new(0, 8, 3), "in_channels"),
            (Conv2d::new(4, 0, 3), "out_channels"),
            (Conv2d::new(4, 8, [0, 3]), "kernel_size height"),
            (Conv2d::new(4, 8, [3, 0]), "kernel_size width"),
            (base().stride([0, 1]), "stride height"),
            (base().stride([1, 0]), "stride width"),
            (base().dilation([0, 1]), "dilation height"),
            (base().dilation([1, u32::MAX]), "dilation width"),
            (base().groups(0), "groups"),
            (base().groups(3), "groups"),
            (base().activation(Activation::Clamp(f32::NAN, 1.0)), "clamp"),
            (base().activation(Activation::LeakyRelu(f32::INFINITY)), "slope"),
            (base().activation(Activation::Sigmoid).residual(Residual::AfterActivation), "residual"),
            (base().activation(Activation::Clamp(1.0, 2.0)).residual(Residual::AfterActivation), "activation"),
            (base().padding([5, 0, 0, 0]).padding_mode(PaddingMode::Reflect), "padding top"),
        ];
        for (layer, argument) in cases {
            let message = layer.geometry([1, 4, 5, 5]).unwrap_err().to_string();
            assert!(message.contains(argument), "{message:?} does not name {argument:?}");
        }
    }

    #[test]
    fn the_padding_mode_bounds_the_padding() {
        let layer = |padding: u32, mode| Conv2d::new(1, 1, 3).padding(padding).padding_mode(mode);
        for (mode, most) in [(PaddingMode::Reflect, 4), (PaddingMode::Circular, 5), (PaddingMode::Replicate, 50)] {
            assert!(layer(most, mode).geometry([1, 1, 5, 5]).is_ok(), "{mode:?} allows {most}");
            let more = layer(most + 1, mode).geometry([1, 1, 5, 5]);
            assert_eq!(more.is_ok(), mode == PaddingMode::Replicate, "{mode:?} with {}", most + 1);
        }
    }

    #[test]
    fn sizes_that_overflow_are_refused() {
        let huge = i32::MAX.unsigned_abs();
        let input = Conv2d::new(huge, 1, 1).geometry([huge, huge, huge, 1]);
        assert!(matches!(input, Err(Error::Overflow { argument: "input", .. })), "{input:?}");
        let work = Conv2d::new(1 << 20, 1 << 20, 1).geometry([1, 1 << 20, 1 << 20, 1 << 10]);
        assert_eq!(work, Err(Error::TooMuchWork));
        assert!(Conv2d::from_weight_shape([1, huge, 1, 1], 2).is_err());
    }
}
