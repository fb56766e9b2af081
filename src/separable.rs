//! `SeparableConv2d`: a depthwise convolution and the 1 × 1 convolution that mixes its channels.
//!
//! Sifre, *Rigid-motion scattering for image classification*, 2014; Chollet, *Xception*, 2017;
//! Howard et al., *`MobileNets`*, 2017.

use crate::activation::Activation;
use crate::conv::{Conv2d, Filters, conv2d_text};
use crate::describe::{Describe, Given, Reference};
use crate::error::{Error, Result};
use crate::geometry::Geometry;
use crate::residual::Residual;
use crate::size::{Padding, PaddingMode, Size, element_count, extent};
use crate::verify;

/// A depthwise-separable convolution: one filter per input channel, then a 1 × 1 convolution.
///
/// ```
/// use sepconv::SeparableConv2d;
///
/// let layer = SeparableConv2d::new(3, 4, 3).padding(1);
/// let (depthwise, pointwise) = layer.geometry([1, 3, 64, 64])?;
/// assert_eq!(depthwise.parameters() + pointwise.parameters(), 30 + 16);
/// # Ok::<(), sepconv::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SeparableConv2d {
    depth_multiplier: u32,
    /// With one filter per channel; `layers` puts in the multiplier.
    depthwise: Conv2d,
    pointwise: Conv2d,
}

impl SeparableConv2d {
    /// A layer from `in_channels` to `out_channels` with a depthwise filter of `kernel_size` (one number or
    /// `[height, width]`), one filter per channel, stride 1, no padding, dilation 1 and both biases.
    #[must_use]
    pub fn new(in_channels: u32, out_channels: u32, kernel_size: impl Into<Size>) -> Self {
        Self {
            depth_multiplier: 1,
            depthwise: Conv2d::new(in_channels, in_channels, kernel_size).groups(in_channels),
            pointwise: Conv2d::new(in_channels, out_channels, 1),
        }
    }

    /// How far the depthwise window moves: one number or `[height, width]`. Default 1.
    #[must_use]
    pub fn stride(mut self, stride: impl Into<Size>) -> Self {
        self.depthwise = self.depthwise.stride(stride);
        self
    }

    /// The depthwise padding: one number, `[height, width]`, `[top, left, bottom, right]` or a [`Padding`]. Default 0.
    #[must_use]
    pub fn padding(mut self, padding: impl Into<Padding>) -> Self {
        self.depthwise = self.depthwise.padding(padding);
        self
    }

    /// The distance between depthwise taps: one number or `[height, width]`. Default 1.
    #[must_use]
    pub fn dilation(mut self, dilation: impl Into<Size>) -> Self {
        self.depthwise = self.depthwise.dilation(dilation);
        self
    }

    /// What stands in the depthwise padding. Default [`PaddingMode::Zeros`].
    #[must_use]
    pub fn padding_mode(mut self, padding_mode: PaddingMode) -> Self {
        self.depthwise = self.depthwise.padding_mode(padding_mode);
        self
    }

    /// How many filters each input channel has. Default 1.
    #[must_use]
    pub fn depth_multiplier(mut self, depth_multiplier: u32) -> Self {
        self.depth_multiplier = depth_multiplier;
        self
    }

    /// Whether both parts add a bias. Default true.
    #[must_use]
    pub fn bias(self, bias: bool) -> Self {
        self.depthwise_bias(bias).pointwise_bias(bias)
    }

    /// Whether the depthwise part adds a bias. Default true.
    #[must_use]
    pub fn depthwise_bias(mut self, bias: bool) -> Self {
        self.depthwise = self.depthwise.bias(bias);
        self
    }

    /// Whether the pointwise part adds a bias. Default true.
    #[must_use]
    pub fn pointwise_bias(mut self, bias: bool) -> Self {
        self.pointwise = self.pointwise.bias(bias);
        self
    }

    /// A function applied between the two parts. Default [`Activation::None`].
    #[must_use]
    pub fn depthwise_activation(mut self, activation: Activation) -> Self {
        self.depthwise = self.depthwise.activation(activation);
        self
    }

    /// A function applied to the output. Default [`Activation::None`].
    #[must_use]
    pub fn activation(mut self, activation: Activation) -> Self {
        self.pointwise = self.pointwise.activation(activation);
        self
    }

    /// Whether a tensor of the output's shape is added to the pointwise part's sums: true, false or a [`Residual`], which says
    /// whether before or behind the last activation. Default false.
    #[must_use]
    pub fn residual(mut self, residual: impl Into<Residual>) -> Self {
        self.pointwise = self.pointwise.residual(residual);
        self
    }

    /// The two layers, depthwise and pointwise, as layers of their own.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if the depth multiplier is 0 or makes too many channels.
    pub fn layers(&self) -> Result<(Conv2d, Conv2d)> {
        extent("depth_multiplier", self.depth_multiplier.into())?;
        let channels = u64::from(self.depthwise.in_channels) * u64::from(self.depth_multiplier);
        let channels = extent("in_channels times depth_multiplier", channels)?;
        let depthwise = Conv2d { out_channels: channels, ..self.depthwise };
        Ok((depthwise, Conv2d { in_channels: channels, ..self.pointwise }))
    }

    /// The one normal convolution that computes the same function, given the weights of
    /// [`fold_weights`](Self::fold_weights); none if there is an activation between the two parts.
    #[must_use]
    pub fn equivalent(&self) -> Option<Conv2d> {
        let normal = Conv2d {
            out_channels: self.pointwise.out_channels,
            groups: 1,
            bias: self.depthwise.bias || self.pointwise.bias,
            activation: self.pointwise.activation,
            residual: self.pointwise.residual,
            ..self.depthwise
        };
        (self.depthwise.activation == Activation::None).then_some(normal)
    }

    /// Folds both parts' weights into those of the [`equivalent`](Self::equivalent) normal convolution:
    /// `weight[o, i, :, :] = Σ_m pointwise[o, i·M + m] · depthwise[i·M + m, :, :]` for depth multiplier `M`, and
    /// `bias[o] = pointwise_bias[o] + Σ_c pointwise[o, c] · depthwise_bias[c]`.
    ///
    /// Returns the weight, `[out_channels, in_channels, height, width]`, and the bias, `[out_channels]`, which is all
    /// zeros where neither part has one. Sums are in `f64`, rounded once.
    ///
    /// # Errors
    /// Those of [`layers`](Self::layers), and [`Error::Length`] for a slice that does not fit the layer.
    #[expect(clippy::cast_possible_truncation, reason = "the folded weights are rounded to f32, once")]
    pub fn fold_weights(
        &self,
        depthwise_weight: &[f32],
        depthwise_bias: Option<&[f32]>,
        pointwise_weight: &[f32],
        pointwise_bias: Option<&[f32]>,
    ) -> Result<(Vec<f32>, Vec<f32>)> {
        let (depthwise, pointwise) = self.layers()?;
        let (channels, taps) = (pointwise.in_channels, depthwise.kernel_size);
        check_length("depthwise weight", depthwise_weight, [channels, 1, taps.height, taps.width])?;
        check_length("pointwise weight", pointwise_weight, [pointwise.out_channels, channels, 1, 1])?;
        for (argument, bias, length) in
            [("depthwise bias", depthwise_bias, channels), ("pointwise bias", pointwise_bias, pointwise.out_channels)]
        {
            bias.map_or(Ok(()), |bias| check_length(argument, bias, [1, length, 1, 1]))?;
        }

        let filter_size = depthwise_weight.len() / channels as usize;
        let multiplier = self.depth_multiplier as usize;
        let (mut weight, mut bias) = (Vec::new(), Vec::new());
        for (out_channel, mix) in pointwise_weight.chunks(channels as usize).enumerate() {
            let filters = depthwise_weight.chunks(filter_size * multiplier);
            for (factors, filters) in mix.chunks(multiplier).zip(filters) {
                weight.extend((0..filter_size).map(|tap| {
                    let products = factors.iter().zip(filters.iter().skip(tap).step_by(filter_size));
                    products.map(|(&factor, &filter)| f64::from(factor) * f64::from(filter)).sum::<f64>() as f32
                }));
            }
            let own = pointwise_bias.map_or(0.0, |bias| f64::from(bias[out_channel]));
            let products = mix.iter().zip(depthwise_bias.unwrap_or(&[]));
            bias.push((own + products.map(|(&m, &b)| f64::from(m) * f64::from(b)).sum::<f64>()) as f32);
        }
        Ok((weight, bias))
    }

    /// Checks both parts against an input of shape `[batch, channels, height, width]`.
    ///
    /// # Errors
    /// Those of [`Conv2d::geometry`].
    pub fn geometry(&self, input_shape: [u32; 4]) -> Result<(Geometry, Geometry)> {
        let (depthwise, pointwise) = self.layers()?;
        let depthwise = depthwise.geometry(input_shape).map_err(Error::within("depthwise"))?;
        let pointwise = pointwise.geometry(depthwise.output_shape()).map_err(Error::within("pointwise"))?;
        Ok((depthwise, pointwise))
    }
}

fn check_length(argument: &'static str, slice: &[f32], shape: [u32; 4]) -> Result<()> {
    let expected = element_count(argument, shape)?;
    let length = slice.len();
    if length as u64 == expected { Ok(()) } else { Err(Error::Length { argument, length, shape, expected }) }
}

/// Of all that a separable layer is given: input, residual, and weight and bias of both parts.
pub(crate) fn taken_apart<'a>(
    (depthwise, pointwise): &(Geometry, Geometry),
    given: &[&'a [f32]],
) -> (&'a [f32], Option<&'a [f32]>, [Filters<'a>; 2]) {
    let mut given = given.iter().copied();
    let mut next = || given.next().expect("all that is given");
    let input = next();
    let residual = pointwise.residual.then(&mut next);
    (input, residual, [depthwise, pointwise].map(|part| (next(), part.bias.then(&mut next))))
}

impl Describe for (Geometry, Geometry) {
    fn check(&self) -> Result<()> {
        let (depthwise, pointwise) = self;
        depthwise.check()?;
        pointwise.check()?;
        let is_whole = depthwise.groups == depthwise.in_channels
            && !depthwise.residual.is_some()
            && !depthwise.input_scale
            && !pointwise.input_scale
            && pointwise.input_shape() == depthwise.output_shape()
            && (pointwise.groups, pointwise.kernel_size, pointwise.stride) == (1, 1.into(), 1.into())
            && pointwise.input == pointwise.output;
        if is_whole { Ok(()) } else { Err(Error::Altered) }
    }

    fn given(&self) -> Vec<Given> {
        let (depthwise, pointwise) = self;
        let mut given = vec![Given::input("input", depthwise.input_shape())];
        given.extend(pointwise.residual.then(|| Given::input("residual", pointwise.output_shape())));
        for (part, geometry) in [("depthwise", depthwise), ("pointwise", pointwise)] {
            let parameter = |name, shape| Given { part: Some(part), ..Given::parameter(name, shape) };
            given.push(parameter("weight", geometry.weight_shape()));
            given.extend(geometry.bias.then(|| parameter("bias", geometry.bias_shape())));
        }
        given
    }

    fn output_shape(&self) -> [u32; 4] {
        self.1.output_shape()
    }

    fn text(&self) -> String {
        format!("depthwise {}, pointwise {}", conv2d_text(&self.0), conv2d_text(&self.1))
    }

    fn terms(&self) -> u64 {
        self.0.terms() + self.1.terms()
    }

    fn activation(&self) -> Activation {
        self.1.activation
    }

    fn multiply_adds(&self) -> u64 {
        self.0.multiply_adds().saturating_add(self.1.multiply_adds())
    }

    fn reference(&self, given: &[&[f32]]) -> Reference {
        let (depthwise, pointwise) = self;
        let (input, residual, [first, second]) = taken_apart(self, given);
        verify::separable_reference((depthwise, pointwise), input, first, second, residual)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_sums_over_the_multiplier() {
        let layer = SeparableConv2d::new(1, 1, [1, 2]).depth_multiplier(2);
        let (weight, bias) =
            layer.fold_weights(&[1.0, 2.0, 3.0, 4.0], Some(&[5.0, 6.0]), &[10.0, 100.0], None).unwrap();
        assert_eq!(weight, [310.0, 420.0]);
        assert_eq!(bias, [650.0]);
    }

    #[test]
    fn an_activation_in_between_has_no_equivalent() {
        let layer = SeparableConv2d::new(2, 3, 3);
        assert_eq!(layer.equivalent(), Some(Conv2d::new(2, 3, 3)));
        assert_eq!(layer.activation(Activation::Relu).equivalent().unwrap().activation, Activation::Relu);
        assert_eq!(layer.depthwise_activation(Activation::Relu).equivalent(), None);
    }

    #[test]
    fn slices_of_the_wrong_length_are_refused_by_name() {
        let layer = SeparableConv2d::new(2, 3, 1);
        let fold = |dw, db, pw, pb| layer.fold_weights(dw, db, pw, pb).unwrap_err().to_string();
        let (two, six) = ([0.0; 2].as_slice(), [0.0; 6].as_slice());
        assert!(fold(six, None, six, None).contains("depthwise weight"));
        assert!(fold(two, Some(six), six, None).contains("depthwise bias"));
        assert!(fold(two, None, two, None).contains("pointwise weight"));
        assert!(fold(two, None, six, Some(two)).contains("pointwise bias"));
    }
}
