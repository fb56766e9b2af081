//! 1 × 1 convolutions: what they take in, what they come before, and what two layers make together.

use super::uses::Uses;
use crate::activation::Activation;
use crate::describe::Describe;
use crate::geometry::Geometry;
use crate::layer::Layer;
use crate::layers::binary::{AXES, BinaryOperation};
use crate::layers::perceptron::Perceptron;
use crate::layers::resize::Resize2d;
use crate::network::known::Place;
use crate::network::resolve::{Resolved, Source, Storage};
use crate::residual::Residual;
use crate::size::{Size, values};

/// A 1 × 1 convolution takes in the product before it, of its input and one number for each channel of each image: that is
/// how squeeze and excitation ends. Its planes are then neither read nor written once more. A larger filter would read each
/// number for every tap, and there are better kernels for it.
pub(super) fn scale_into_convolution(resolved: &mut Resolved, uses: &Uses, index: usize) -> bool {
    let Layer::Conv2d(geometry) = resolved.layers[index].layer else { return false };
    let is_dense = geometry.kernel_size == Size::from(1) && geometry.in_channels_per_group() > 1;
    if !is_dense || geometry.input_scale {
        return false;
    }
    let Some(writer) = uses.own_writer(resolved, &resolved.layers[index].sources[0]) else { return false };
    let Layer::Binary(binary) = resolved.layers[writer].layer else { return false };
    let planes = u64::from(geometry.batch) * u64::from(geometry.in_channels);
    let [.., all, plane] = binary.sizes;
    let is_of_planes = (u64::from(all), u64::from(plane)) == (planes, geometry.input.area());
    let varies = [true, true, true, true, true];
    let factor = binary.varies.iter().position(|&[outer @ .., inner]| outer == varies && !inner);
    let (Some(factor), true) = (factor, binary.varies.contains(&[true; AXES])) else { return false };
    if binary.operation != BinaryOperation::Mul
        || binary.residual
        || binary.activation != Activation::None
        || !is_of_planes
    {
        return false;
    }
    let product = resolved.layers[writer].sources.clone();
    let [Source::Place(_), Source::Place(_)] = &product[..] else { return false };
    let convolution = &mut resolved.layers[index];
    convolution.sources[0] = product[1 - factor].clone();
    convolution.sources.insert(1 + usize::from(geometry.residual.is_some()), product[factor].clone());
    convolution.layer = Layer::Conv2d(Geometry { input_scale: true, ..geometry });
    resolved.layers.remove(writer);
    true
}

/// A 1 × 1 convolution of enlarged planes comes before they are enlarged. There it has fewer pixels, and what it makes is enlarged
/// in place of what it reads, if that is not more. What stands at a place of an enlarged plane is a mean of some of its values,
/// with weights that sum to 1, so either order computes the same, unless a sum is past the largest number.
pub(super) fn convolution_before_resize(resolved: &mut Resolved, uses: &Uses, index: usize) -> bool {
    let Layer::Conv2d(convolution) = resolved.layers[index].layer else { return false };
    let Some(writer) = uses.own_writer(resolved, &resolved.layers[index].sources[0]) else { return false };
    let Layer::Resize2d(resize) = resolved.layers[writer].layer else { return false };
    if !convolution.is_pixelwise()
        || convolution.out_channels > convolution.in_channels
        || convolution.activation != Activation::None
        || convolution.input_scale
        || resize.residual
        || resize.output.area() <= resize.input.area()
        || resize.output != convolution.input
        || values(resize.output_shape()) != values(convolution.input_shape())
    {
        return false;
    }
    let Some(planes) = convolution.batch.checked_mul(convolution.out_channels) else { return false };
    let first = Geometry { input: resize.input, output: resize.input, residual: Residual::None, ..convolution };
    let second = Resize2d { planes, residual: convolution.residual.is_some(), ..resize };
    let length = values(first.output_shape());
    resolved.storages.push(Storage { length, is_input: false });
    let between = Place { storage: resolved.storages.len() - 1, start: 0, length };
    let [mut enlarged, mut mixed] = [writer, index].map(|at| resolved.layers[at].clone());
    let residual = convolution.residual.is_some().then(|| mixed.sources.remove(1));
    std::mem::swap(&mut mixed.sources[0], &mut enlarged.sources[0]);
    enlarged.sources[0] = Source::Place(between);
    enlarged.sources.extend(residual);
    (enlarged.layer, enlarged.output) = (Layer::Resize2d(second), mixed.output);
    (mixed.layer, mixed.output) = (Layer::Conv2d(first), between);
    // Where the convolution was, all that a residual needs is there.
    (resolved.layers[writer], resolved.layers[index]) = (mixed, enlarged);
    true
}

/// Two 1 × 1 convolutions of one pixel, as those of squeeze and excitation, become one step: each by itself takes less time than a
/// GPU needs between two steps.
pub(super) fn into_perceptron(resolved: &mut Resolved, uses: &Uses, index: usize) -> bool {
    // One workgroup computes all of an image. With more to do, two steps by all of a device take less time.
    const MOST_IMAGES: u32 = 8;
    const MOST_WEIGHTS: u64 = 1 << 15;
    const MOST_HIDDEN: u32 = 1 << 11;
    let connected = |index: usize| match resolved.layers[index].layer {
        Layer::Conv2d(geometry) => is_fully_connected(&geometry).then_some(geometry),
        _ => None,
    };
    let Some(second) = connected(index) else { return false };
    let Some(writer) = uses.own_writer(resolved, &resolved.layers[index].sources[0]) else { return false };
    let Some(first) = connected(writer) else { return false };
    let weights = values(first.weight_shape()) + values(second.weight_shape());
    if first.output_shape() != second.input_shape()
        || first.batch > MOST_IMAGES
        || first.out_channels > MOST_HIDDEN
        || weights > MOST_WEIGHTS
    {
        return false;
    }
    let features = [first.in_channels, first.out_channels, second.out_channels];
    let Ok(mut perceptron) = Perceptron::new(first.batch, features) else { return false };
    (perceptron.hidden_bias, perceptron.hidden_activation) = (first.bias, first.activation);
    (perceptron.bias, perceptron.activation) = (second.bias, second.activation);
    let sources = [&resolved.layers[writer].sources[..], &resolved.layers[index].sources[1..]].concat();
    let layer = &mut resolved.layers[index];
    (layer.layer, layer.sources) = (Layer::Perceptron(perceptron), sources);
    resolved.layers.remove(writer);
    true
}

/// Whether a convolution has one pixel, all of whose channels it mixes, and nothing else is added or multiplied.
fn is_fully_connected(geometry: &Geometry) -> bool {
    let one = Size::from(1);
    (geometry.kernel_size, geometry.input, geometry.output, geometry.groups) == (one, one, one, 1)
        && !geometry.residual.is_some()
        && !geometry.input_scale
}

/// A depthwise layer and the pointwise one that alone reads it become one separable layer.
pub(super) fn pair(resolved: &mut Resolved, uses: &Uses, index: usize) -> bool {
    let Layer::Conv2d(pointwise) = resolved.layers[index].layer else { return false };
    let Some(writer) = uses.own_writer(resolved, &resolved.layers[index].sources[0]) else { return false };
    let Layer::Conv2d(depthwise) = resolved.layers[writer].layer else { return false };
    let layer = Layer::SeparableConv2d((depthwise, pointwise));
    if layer.check().is_err() || depthwise.in_channels_per_group() != 1 || depthwise.kernel_size == Size::from(1) {
        return false;
    }
    let (first, second) = (resolved.layers[writer].clone(), &mut resolved.layers[index]);
    second.layer = layer;
    let mut sources = vec![first.sources[0].clone()];
    let mut own = second.sources.drain(1..);
    if pointwise.residual.is_some() {
        sources.extend(own.next());
    }
    sources.extend(first.sources[1..].iter().cloned());
    sources.extend(own);
    second.sources = sources;
    resolved.layers.remove(writer);
    true
}
