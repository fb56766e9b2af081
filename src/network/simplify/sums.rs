//! Sums: a tensor that is added becomes a layer's residual.

use super::uses::Uses;
use crate::activation::Activation;
use crate::geometry::Geometry;
use crate::layer::Layer;
use crate::layers::binary::{Binary, BinaryOperation};
use crate::layers::resize::Resize2d;
use crate::network::resolve::{Resolved, Source};
use crate::residual::Residual;
use crate::size::values;

/// A sum of what one layer makes and of a tensor of the same shape: the tensor becomes that layer's residual.
pub(super) fn sum_into_layer(resolved: &mut Resolved, uses: &Uses, index: usize) -> bool {
    let Layer::Binary(sum) = resolved.layers[index].layer else { return false };
    if sum.operation != BinaryOperation::Add || sum.residual || sum.varies.concat().contains(&false) {
        return false;
    }
    let output = resolved.layers[index].output;
    // Where its residual stands among its sources, the layer with it, and whether a function behind it can still become part
    // of it.
    let with_residual = |writer: usize| match resolved.layers[writer].layer {
        _ if values(resolved.layers[writer].layer.output_shape()) != output.length => None,
        Layer::Conv2d(geometry) if geometry.residual.is_some() => None,
        Layer::Conv2d(geometry) if geometry.activation == Activation::None => {
            let residual = Residual::BeforeActivation;
            Some((1, Layer::Conv2d(Geometry { residual, activation: sum.activation, ..geometry }), true))
        }
        Layer::Conv2d(geometry)
            if sum.activation == Activation::None && geometry.activation.is_below_its_argument() =>
        {
            Some((1, Layer::Conv2d(Geometry { residual: Residual::AfterActivation, ..geometry }), false))
        }
        Layer::Resize2d(resize) if !resize.residual && sum.activation == Activation::None => {
            Some((1, Layer::Resize2d(Resize2d { residual: true, ..resize }), false))
        }
        Layer::Binary(binary) if !binary.residual && binary.activation == Activation::None => {
            Some((2, Layer::Binary(Binary { residual: true, activation: sum.activation, ..binary }), true))
        }
        _ => None,
    };
    let sources = [0, 1].map(|side| resolved.layers[index].sources[side].clone());
    let able = |side: usize| {
        let writer = uses.own_writer(resolved, &sources[side])?;
        Some((writer, side, with_residual(writer)?))
    };
    // One that takes more, then the later one.
    let best =
        [able(0), able(1)].into_iter().flatten().max_by_key(|(writer, _, (.., takes_more))| (*takes_more, *writer));
    let Some((writer, side, (place, layer, _))) = best else { return false };
    let residual = sources[1 - side].clone();
    let Source::Place(_) = residual else { return false };
    let mut both = resolved.layers[writer].clone();
    (both.layer, both.output) = (layer, output);
    both.sources.insert(place, residual);
    // Where the sum was, all that it reads is there.
    resolved.layers[index] = both;
    resolved.layers.remove(writer);
    true
}
