//! `Sample`: what a layer should give, for candidates to be compared with. The reference takes long for a large layer, and some
//! of its outputs are enough to tell a wrong kernel.

use crate::activation::Activation;
use crate::conv;
use crate::dtype::DType;
use crate::geometry::Geometry;
use crate::layer::Layer;
use crate::reference::Reference;
use crate::separable;
use crate::size::values;
use crate::verify;

/// What some of a layer's outputs should be: of a large convolution as many as the reference computes in some tenths of a second,
/// of other layers all.
#[derive(Debug)]
pub struct Sample {
    /// How many outputs there are in all.
    count: usize,
    activation: Activation,
    /// See [`verify::largest_error`].
    terms: u64,
    /// The outputs that are compared.
    outputs: Vec<usize>,
    expected: Reference,
}

/// The multiply-adds that the reference does in some tenths of a second.
const MULTIPLY_ADDS: u64 = 1 << 26;

impl Sample {
    /// What some outputs of a layer should be for these values of all that it is given: of a convolution as many as the
    /// reference computes in some tenths of a second, of other layers all.
    #[must_use]
    pub fn new(layer: &Layer, values: &[Vec<f32>]) -> Self {
        let given: Vec<_> = values.iter().map(Vec::as_slice).collect();
        match layer {
            Layer::Conv2d(geometry) => Self::conv2d(geometry, &given),
            Layer::SeparableConv2d(parts) => Self::separable(parts, &given),
            _ => {
                let expected = layer.describe().reference(&given);
                Self::of(layer, (0..expected.values.len()).collect(), expected)
            }
        }
    }

    fn of(layer: &Layer, outputs: Vec<usize>, expected: Reference) -> Self {
        let (activation, terms) = (layer.describe().activation(), layer.describe().terms());
        let count = layer.output_shape().iter().map(|&size| size as usize).product();
        Self { count, activation, terms, outputs, expected }
    }

    fn conv2d(g: &Geometry, given: &[&[f32]]) -> Self {
        let outputs = spread(values(g.output_shape()), MULTIPLY_ADDS / g.terms());
        let expected = conv::reference_at(g, outputs.iter().copied(), given);
        Self::of(&Layer::Conv2d(*g), outputs, expected)
    }

    /// All channels of some pixels. Of the tensor in between, only those pixels are then needed.
    fn separable(parts: &(Geometry, Geometry), given: &[&[f32]]) -> Self {
        let (d, p) = parts;
        let (input, residual, [depthwise, pointwise]) = separable::taken_apart(parts, given);
        // For each pixel the pointwise part is computed three times: for values, and for two sorts of magnitudes.
        let multiply_adds = values(d.weight_shape()).saturating_add(3 * values(p.weight_shape()));
        let all_pixels = values([d.batch, 1, d.output.height, d.output.width]);
        let pixels = spread(all_pixels, MULTIPLY_ADDS / multiply_adds);
        let expected = verify::separable_reference_at((d, p), &pixels, input, depthwise, pointwise, residual);
        Self::of(&Layer::SeparableConv2d(*parts), verify::outputs_at(p, &pixels), expected)
    }

    /// The largest error of a result, as a multiple of its bound, as [`verify::largest_error_of`] counts it. It is infinite if an
    /// output that was NaN before was not written.
    #[must_use]
    pub fn error(&self, dtype: DType, actual: &[f32]) -> f64 {
        // Unless the activation makes some, a NaN is an output that was not written.
        if actual.len() != self.count
            || self.expected.values.iter().all(|value| !value.is_nan()) && actual.iter().any(|value| value.is_nan())
        {
            return f64::INFINITY;
        }
        let sampled: Vec<f32> = self.outputs.iter().map(|&output| actual[output]).collect();
        verify::largest_error_of(dtype, &self.expected, self.activation, self.terms, &sampled)
    }
}

/// About `wanted` of `count` outputs, and the last. The distance between them has no factor in common with any of the
/// output's sizes, so that all rows, columns and channels are met alike.
fn spread(count: u64, wanted: u64) -> Vec<usize> {
    if count == 0 {
        return Vec::new();
    }
    let mut step = count.div_ceil(wanted.max(1));
    while common_divisor(step, count) > 1 {
        step += 1;
    }
    let index = |output: u64| usize::try_from(output).expect("an index into values in memory");
    let mut outputs: Vec<usize> = (0..index(count)).step_by(index(step)).collect();
    if outputs.last() != Some(&index(count - 1)) {
        outputs.push(index(count - 1));
    }
    outputs
}

fn common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conv::Conv2d;
    use crate::pool::MaxPool2d;
    use crate::separable::SeparableConv2d;

    /// What is right passes; what is not written, or off by little, does not.
    fn check_sample(sample: &Sample) {
        #[expect(clippy::cast_possible_truncation, reason = "the nearest f32 is what is right")]
        let right: Vec<f32> = sample.expected.values.iter().map(|&value| value as f32).collect();
        let mut whole = vec![0.0; sample.count];
        for (&output, value) in sample.outputs.iter().zip(&right) {
            whole[output] = *value;
        }
        assert!(sample.error(DType::F32, &whole) <= 1.0);
        for index in [0, 100, whole.len() - 1] {
            for wrong in [f32::NAN, whole[index] + 1e-3] {
                let mut actual = whole.clone();
                actual[index] = wrong;
                assert!(sample.error(DType::F32, &actual) > 1.0, "{index} is {wrong}");
            }
        }
    }

    #[test]
    fn a_wrong_or_missing_output_is_an_error() {
        let check = |layer: Layer| {
            let count = |shape: [u32; 4]| shape.iter().map(|&size| size as usize).product();
            let given: Vec<Vec<f32>> =
                layer.describe().given().iter().map(|given| vec![0.5; count(given.shape)]).collect();
            check_sample(&Sample::new(&layer, &given));
        };
        check(Conv2d::new(2, 4, 3).residual(true).geometry([1, 2, 9, 9]).unwrap().into());
        check(Conv2d::new(2, 4, 3).residual(true).input_scale(true).geometry([2, 2, 9, 9]).unwrap().into());
        let layer = SeparableConv2d::new(2, 4, 3).residual(true).activation(Activation::LeakyRelu(0.1));
        check(layer.geometry([2, 2, 9, 9]).unwrap().into());
        check(MaxPool2d::new(2).geometry([2, 2, 16, 16]).unwrap().into());
    }

    #[test]
    fn a_sample_meets_every_row_column_and_channel() {
        assert_eq!(spread(7, 100), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(spread(1, 0), [0]);
        assert!(spread(0, 100).is_empty());
        let (channels, height, width) = (6, 10, 8);
        let outputs = spread(channels * height * width, 120);
        assert!((60..=121).contains(&outputs.len()) && outputs.last() == Some(&479), "{outputs:?}");
        let met = |of: fn(usize) -> usize| {
            outputs.iter().map(|&output| of(output)).collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!((met(|o| o % 8).len(), met(|o| o / 8 % 10).len(), met(|o| o / 80).len()), (8, 10, 6));
    }
}
