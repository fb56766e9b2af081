//! How far a result is from the reference, in units of what rounding alone can explain.
//!
//! A sum of `n` products in `f32`, added in any order, is off by at most about `n · u · Σ|x·w|`, where `u` = 2⁻²⁴ is
//! the unit roundoff (Higham, *Accuracy and Stability of Numerical Algorithms*, section 3.1).

use crate::activation::Activation;
use crate::dtype::DType;
use crate::geometry::Geometry;
use crate::reference::{self, Reference};
use crate::residual::Residual;
use crate::size::Size;

/// Half the distance from 1 to the next `f32`.
const UNIT_ROUNDOFF: f64 = f32::EPSILON as f64 / 2.0;

/// Half the distance from 1 to the next `f16`, and half of the least one.
const F16_ROUNDOFF: f64 = 1.0 / 2048.0;
const F16_LEAST: f64 = 1.0 / 33_554_432.0;

/// The largest `f16`.
const F16_LARGEST: f64 = 65_504.0;

/// Roundings besides those of the sum: bias, residual, and the store.
const EXTRA_ROUNDINGS: u64 = 3;

/// The largest error of a result. Each value's error is a multiple of that value's own bound, so a right result has at
/// most 1.
///
/// `terms` is the length of the reduction: [`Geometry::terms`], for a separable layer the sum of both parts'. A NaN,
/// or an infinity where none is expected, counts as an infinite error; so does a result of the wrong length.
#[must_use]
pub fn largest_error(reference: &Reference, activation: Activation, terms: u64, actual: &[f32]) -> f64 {
    largest_error_of(DType::F32, reference, activation, terms, actual)
}

/// [`largest_error`] of a result of this type. The reference must be that of the values which the layer's tensors hold: of
/// [rounded](DType::round) ones.
///
/// Then a result of `f16` is off by what one of `f32` may be off by, and by its own rounding: 2⁻¹¹ of its size, or 2⁻²⁵ near
/// 0. To a separable layer comes what rounding in between may bring. Past 65,504 a result may be that or infinite.
#[must_use]
#[expect(clippy::cast_possible_truncation, clippy::float_cmp, reason = "the one nearest value is no error at all")]
pub fn largest_error_of(
    dtype: DType,
    reference: &Reference,
    activation: Activation,
    terms: u64,
    actual: &[f32],
) -> f64 {
    if actual.len() != reference.values.len() {
        return f64::INFINITY;
    }
    let Stretch { slope, roundings, own, growth, constant } = stretch(activation);
    let relative = slope * (terms + EXTRA_ROUNDINGS + roundings) as f64 * UNIT_ROUNDOFF;
    // A device may flush each product that is too small for a normal number to zero.
    let absolute = (terms + EXTRA_ROUNDINGS) as f64 * f64::from(f32::MIN_POSITIVE) + constant * UNIT_ROUNDOFF;
    let between = reference.between.iter().copied().chain(std::iter::repeat(0.0));
    let errors = reference.values.iter().zip(&reference.magnitudes).zip(between).zip(actual).map(
        |(((&expected, magnitude), between), &actual)| {
            let of_its_own = (own + growth * magnitude) * UNIT_ROUNDOFF * expected.abs();
            let mut bound = relative * magnitude + of_its_own + absolute;
            let mut is_past = false;
            if dtype == DType::F16 {
                bound += slope * F16_ROUNDOFF * between;
                bound += F16_ROUNDOFF * (expected.abs() + bound) + F16_LEAST;
                let is_largest =
                    f64::from(actual.abs()) >= F16_LARGEST && actual.is_sign_negative() == (expected < 0.0);
                is_past = is_largest && expected.is_finite() && expected.abs() + bound > F16_LARGEST;
            }
            let error = (f64::from(actual) - expected).abs();
            if is_past || actual == dtype.round(expected as f32) || (actual.is_nan() && expected.is_nan()) {
                0.0
            } else if error.is_finite() && bound.is_finite() {
                error / bound
            } else {
                f64::INFINITY
            }
        },
    );
    errors.fold(0.0, f64::max)
}

/// What an activation makes of an error of its argument, and what it adds.
struct Stretch {
    /// The most that it stretches an error by.
    slope: f64,
    /// How many roundings of the argument's size it adds.
    roundings: u64,
    /// How many roundings of its value's size it adds.
    own: f64,
    /// How many more of those for each unit of the argument's size.
    growth: f64,
    /// How many roundings of 1 it adds.
    constant: f64,
}

/// WGSL allows exp an error of 3 + 2|x| units in the last place, of which at most 4 are left where its result is divided or
/// multiplied by what grows against it; division 2.5 units; the inverse of a square root 2, and the root is 1 divided by it;
/// log 3 units, but from 0.5 to 2 an error of 2^-21. A unit is up to two roundings.
fn stretch(activation: Activation) -> Stretch {
    let stretch = |slope, roundings, own, growth| Stretch { slope, roundings, own, growth, constant: 0.0 };
    match activation {
        Activation::LeakyRelu(slope) => stretch(f64::from(slope).abs().max(1.0), 1, 0.0, 0.0),
        Activation::Silu => stretch(1.1, 8, 0.0, 0.0),
        Activation::HardSwish => stretch(1.5, 4, 0.0, 0.0),
        Activation::Elu(scale) => stretch(f64::from(scale).abs().max(1.0), 8, 12.0, 0.0),
        Activation::HardSigmoid(slope, offset) | Activation::Linear(slope, offset) => {
            Stretch { constant: 2.0 * f64::from(offset).abs(), ..stretch(f64::from(slope).abs(), 2, 2.0, 0.0) }
        }
        Activation::HardSwishLinear(slope, offset) => {
            Stretch { constant: 2.0 * f64::from(offset).abs(), ..stretch(1.5 * f64::from(slope).abs(), 6, 2.0, 0.0) }
        }
        Activation::Sigmoid => stretch(0.25, 8, 12.0, 0.0),
        Activation::Tanh => stretch(1.0, 8, 12.0, 0.0),
        // Each is x times a factor of at most 1, which is made with one exp and two divisions.
        Activation::Gelu | Activation::GeluTanh | Activation::Mish => stretch(1.2, 12, 0.0, 0.0),
        Activation::Erf => stretch(1.2, 12, 12.0, 0.0),
        Activation::Softplus => stretch(1.0, 8, 16.0, 0.0),
        // Besides its own error, it multiplies that of the sum, of which it is given three roundings.
        Activation::Exp => stretch(0.0, 0, 6.0, 7.0),
        Activation::Log => Stretch { constant: 8.0, ..stretch(0.0, 0, 6.0, 0.0) },
        Activation::Sqrt => stretch(0.0, 0, 9.0, 0.0),
        Activation::Reciprocal => stretch(0.0, 0, 5.0, 0.0),
        _ => stretch(1.0, 0, 0.0, 0.0),
    }
}

/// The reference of a separable layer: the pointwise part, applied to the unrounded values of the depthwise part. The
/// magnitudes carry the depthwise part's errors through the pointwise weights.
///
/// # Panics
/// Where [`reference::conv2d`] does.
#[must_use]
pub fn separable_reference(
    (depthwise, pointwise): (&Geometry, &Geometry),
    input: &[f32],
    (depthwise_weight, depthwise_bias): (&[f32], Option<&[f32]>),
    pointwise_parameters: (&[f32], Option<&[f32]>),
    residual: Option<&[f32]>,
) -> Reference {
    let between = reference::conv2d(depthwise, input, depthwise_weight, depthwise_bias, None);
    mixed(depthwise.activation, &between, pointwise, pointwise_parameters, residual)
}

/// [`separable_reference`] at these pixels alone: for the outputs that [`outputs_at`] lists.
///
/// # Panics
/// Where [`reference::conv2d`] does, for a pixel past the last, and for 2³² pixels or more.
#[must_use]
pub fn separable_reference_at(
    (depthwise, pointwise): (&Geometry, &Geometry),
    pixels: &[usize],
    input: &[f32],
    (depthwise_weight, depthwise_bias): (&[f32], Option<&[f32]>),
    pointwise_parameters: (&[f32], Option<&[f32]>),
    residual: Option<&[f32]>,
) -> Reference {
    let outputs = outputs_at(depthwise, pixels);
    let between = reference::conv2d_at(depthwise, outputs, input, depthwise_weight, depthwise_bias, None);
    let residual: Option<Vec<f32>> =
        residual.map(|residual| outputs_at(pointwise, pixels).into_iter().map(|output| residual[output]).collect());
    // To a 1 x 1 convolution they are one row of one image.
    let row = Size { height: 1, width: u32::try_from(pixels.len()).expect("fewer than 2^32 pixels") };
    let pointwise = Geometry { batch: 1, input: row, output: row, ..*pointwise };
    mixed(depthwise.activation, &between, &pointwise, pointwise_parameters, residual.as_deref())
}

/// The indices, in NCHW order, of a layer's outputs at some pixels: of the first channel at all of them, then of the
/// second, and so on. A pixel is given by its index in the order of images, rows and columns.
#[must_use]
pub fn outputs_at(geometry: &Geometry, pixels: &[usize]) -> Vec<usize> {
    let plane = geometry.output.height as usize * geometry.output.width as usize;
    let channels = geometry.out_channels as usize;
    let of_channel =
        |channel| pixels.iter().map(move |pixel| (pixel / plane * channels + channel) * plane + pixel % plane);
    (0..channels).flat_map(of_channel).collect()
}

/// What a pointwise part makes of the tensor in between, whose errors it carries on.
fn mixed(
    between_activation: Activation,
    between: &Reference,
    pointwise: &Geometry,
    (weight, bias): (&[f32], Option<&[f32]>),
    residual: Option<&[f32]>,
) -> Reference {
    let residual: Option<Vec<f64>> = residual.map(|residual| residual.iter().copied().map(f64::from).collect());
    let convolve =
        |input: &[f64], weight: &[f32], bias| reference::conv2d(pointwise, input, weight, bias, residual.as_deref());
    let values = convolve(&between.values, weight, bias).values;
    let absolute = |slice: &[f32]| slice.iter().map(|value| value.abs()).collect::<Vec<_>>();
    // What the activation made of each sum's error, or the value itself if that is larger.
    let Stretch { slope, .. } = stretch(between_activation);
    let sums = between.magnitudes.iter().zip(&between.values);
    let carried: Vec<f64> = sums.map(|(magnitude, value)| (slope * magnitude).max(value.abs())).collect();
    let magnitudes = convolve(&carried, &absolute(weight), bias.map(absolute).as_deref()).magnitudes;
    let unbiased = Geometry { bias: false, residual: Residual::None, ..*pointwise };
    let stored: Vec<f64> = between.values.iter().map(|value| value.abs() + F16_LEAST / F16_ROUNDOFF).collect();
    let between = reference::conv2d(&unbiased, &stored, &absolute(weight), None, None).magnitudes;
    Reference { values, magnitudes, between }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(expected: f64, magnitude: f64, actual: &[f32]) -> f64 {
        let reference = Reference { values: vec![expected], magnitudes: vec![magnitude], ..Reference::default() };
        largest_error(&reference, Activation::None, 9, actual)
    }

    /// Some values, without a pattern.
    fn data(shape: [u32; 4]) -> Vec<f32> {
        let count: u32 = shape.iter().product();
        let value = |index: u32| f32::from(u8::try_from(index * index * 31 % 251).unwrap()) / 64.0 - 2.0;
        (0..count).map(value).collect()
    }

    #[test]
    fn the_reference_at_some_pixels_is_a_part_of_the_whole() {
        let layer = crate::SeparableConv2d::new(3, 4, 3).depth_multiplier(2).stride([2, 1]).padding(1).residual(true);
        let layer = layer.depthwise_activation(Activation::Silu).activation(Activation::LeakyRelu(0.5));
        let (d, p) = layer.geometry([2, 3, 5, 6]).unwrap();
        let shapes = [d.input_shape(), d.weight_shape(), d.bias_shape(), p.weight_shape(), p.bias_shape()];
        let [x, dw, db, pw, pb] = shapes.map(data);
        let residual = data(p.output_shape());
        let (depthwise, pointwise) = ((dw.as_slice(), Some(db.as_slice())), (pw.as_slice(), Some(pb.as_slice())));
        let whole = separable_reference((&d, &p), &x, depthwise, pointwise, Some(&residual));
        // Of both images, and the last.
        let pixels = [0, 7, 17, 18, 29, 35];
        let part = separable_reference_at((&d, &p), &pixels, &x, depthwise, pointwise, Some(&residual));
        let outputs = outputs_at(&p, &pixels);
        assert_eq!(outputs[..7], [0, 7, 17, 72, 83, 89, 18]);
        assert_eq!((outputs.len(), outputs.last()), (24, Some(&143)));
        assert_eq!(part.values, outputs.iter().map(|&output| whole.values[output]).collect::<Vec<_>>());
        assert_eq!(part.magnitudes, outputs.iter().map(|&output| whole.magnitudes[output]).collect::<Vec<_>>());
    }

    #[test]
    fn a_residual_is_added_before_the_activation() {
        let layer = crate::SeparableConv2d::new(1, 1, 1).bias(false);
        let reference = |layer: crate::SeparableConv2d| {
            let (d, p) = layer.geometry([1, 1, 1, 2]).unwrap();
            separable_reference((&d, &p), &[1.0, 2.0], (&[3.0], None), (&[-2.0], None), Some(&[5.0, 13.0]))
        };
        let values = |layer| reference(layer).values;
        assert_eq!(values(layer), [-6.0, -12.0]);
        assert_eq!(values(layer.residual(true)), [-1.0, 1.0]);
        assert_eq!(values(layer.residual(true).activation(Activation::Relu)), [0.0, 1.0]);
        assert_eq!(reference(layer.residual(true)).magnitudes, [11.0, 25.0]);
    }

    #[test]
    fn what_is_right_passes() {
        assert!(error(1.0, 2.0, &[1.0]) <= 0.0);
        assert!(error(1.0, 2.0, &[1.0 + f32::EPSILON]) <= 1.0);
        assert!(error(f64::NAN, 2.0, &[f32::NAN]) <= 0.0);
        assert!(error(f64::INFINITY, f64::INFINITY, &[f32::INFINITY]) <= 0.0);
        assert!(error(1e39, 1e39, &[f32::INFINITY]) <= 0.0);
    }

    /// The error of a result of `f16`, with so much in between.
    fn half_error(expected: f64, between: f64, actual: f32) -> f64 {
        let reference = Reference { values: vec![expected], magnitudes: vec![1.0], between: vec![between] };
        largest_error_of(DType::F16, &reference, Activation::None, 9, &[actual])
    }

    #[test]
    fn a_result_of_f16_is_off_by_half_of_its_last_place() {
        let place = 2.0_f64.powi(-10);
        for (expected, between, actual, is_right) in [
            (1.0 + 0.49 * place, 0.0, 1.0, true),
            (1.0 + 0.51 * place, 0.0, 1.0, false),
            (1.0 + 0.98 * place, 1.0, 1.0, true),
            (1.0 + 1.02 * place, 1.0, 1.0, false),
            // Past the largest.
            (1e5, 0.0, f32::INFINITY, true),
            (1e5, 0.0, 65_504.0, true),
            (-1e5, 0.0, f32::NEG_INFINITY, true),
            (-1e5, 0.0, f32::INFINITY, false),
            (1e5, 0.0, 65_472.0, false),
            (65_000.0, 0.0, f32::INFINITY, false),
            (f64::INFINITY, 0.0, 65_504.0, false),
            (f64::NAN, 0.0, f32::INFINITY, false),
        ] {
            let error = half_error(expected, between, actual);
            assert_eq!(error <= 1.0, is_right, "{actual} for {expected}: {error}");
        }
    }

    #[test]
    fn what_is_wrong_fails() {
        assert!(error(1.0, 2.0, &[1.000_01]) > 1.0);
        assert!(error(1.0, 2.0, &[f32::NAN]) > 1.0);
        assert!(error(f64::NAN, 2.0, &[1.0]) > 1.0);
        assert!(error(1.0, 2.0, &[f32::INFINITY]) > 1.0);
        assert!(error(f64::INFINITY, 2.0, &[f32::NEG_INFINITY]) > 1.0);
        assert!(error(1.0, f64::INFINITY, &[2.0]) > 1.0);
        assert!(error(1.0, 2.0, &[]) > 1.0);
        assert!(error(1.0, 2.0, &[1.0, 1.0]) > 1.0);
        assert!(error(0.0, 0.0, &[1e-6]) > 1.0);
    }
}
