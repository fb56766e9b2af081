//! Functions: they go into the layer before them, and are recognised where they are written out.

use super::uses::{Uses, take_over};
use crate::activation::Activation;
use crate::layer::Layer;
use crate::layers::binary::BinaryOperation;
use crate::layers::unary::Unary;
use crate::network::known::Place;
use crate::network::resolve::{Resolved, ResolvedLayer, Source, Storage};
use crate::residual::Residual;

/// A layer takes in the function behind it, the one that it ends with included.
pub(super) fn function_into_layer(resolved: &mut Resolved, uses: &Uses, index: usize) -> bool {
    let Layer::Unary(function) = resolved.layers[index].layer else { return false };
    if !is_smooth(function.activation) {
        return false;
    }
    let Some(writer) = uses.own_writer(resolved, &resolved.layers[index].sources[0]) else { return false };
    let Some(own) = activation_of(&mut resolved.layers[writer].layer) else { return false };
    let Some(both) = composed(*own, function.activation) else { return false };
    *own = both;
    take_over(resolved, writer, index);
    true
}

/// A function that changes nothing goes.
pub(super) fn identity(resolved: &mut Resolved, uses: &Uses, index: usize) -> bool {
    let Layer::Unary(function) = resolved.layers[index].layer else { return false };
    if !matches!(function.activation, Activation::None | Activation::Linear(1.0, 0.0)) {
        return false;
    }
    let (source, output) = (resolved.layers[index].sources[0].clone(), resolved.layers[index].output);
    if let Some(writer) = uses.own_writer(resolved, &source) {
        take_over(resolved, writer, index);
        return true;
    }
    if uses.0[output.storage].is_output || uses.0[output.storage].writers > 1 {
        return false;
    }
    let Source::Place(place) = source else { return false };
    for source in resolved.layers.iter_mut().flat_map(|layer| &mut layer.sources) {
        if let Source::Place(read) = source
            && read.storage == output.storage
        {
            (read.storage, read.start) = (place.storage, place.start + read.start - output.start);
        }
    }
    resolved.layers.remove(index);
    true
}

/// Recognises a product of x and a function of x: `SiLU`, hard-swish, GELU and Mish are written so where a file has no
/// operator for them.
pub(super) fn written_out(resolved: &mut Resolved, uses: &Uses, index: usize) -> bool {
    let Layer::Binary(binary) = resolved.layers[index].layer else { return false };
    if binary.operation != BinaryOperation::Mul || binary.varies.concat().contains(&false) {
        return false;
    }
    let sources = [0, 1].map(|side| resolved.layers[index].sources[side].clone());
    let mut found = None;
    for (x, gate) in [(&sources[0], &sources[1]), (&sources[1], &sources[0])] {
        let (outer, root) = chain(resolved, uses, x);
        let (inner, other) = chain(resolved, uses, gate);
        // x itself may be a plain multiple: 0.5 x times (1 + erf(x / √2)). If it is no function at all, it has two
        // readers and its chain is empty.
        let factor = match &outer[..] {
            [] => Some(1.0),
            [Activation::Linear(factor, 0.0)] => Some(*factor),
            _ => None,
        };
        let (Some(factor), true) = (factor, root == other) else { continue };
        if let Some((activation, own)) = gated(&inner) {
            found = Some((activation, factor * own, root));
            break;
        }
    }
    let Some((activation, factor, root)) = found else { return false };
    let factor = nearly_round(factor);
    let count = match &root {
        Source::Place(place) => u32::try_from(place.length).expect("as long as the product"),
        Source::Constant(_) => return false,
    };
    let layer = &mut resolved.layers[index];
    layer.layer = Layer::Unary(Unary { shape: [1, 1, 1, count], activation });
    layer.sources = vec![root];
    let finished = match (binary.activation, factor) {
        (Activation::None, 1.0) => None,
        (last, 1.0) => Some(last),
        (last, factor) => composed(Activation::Linear(factor, 0.0), last),
    };
    if let Some(last) = finished {
        // What is left comes behind it, as a function of its own.
        let length = layer.output.length;
        let (name, output) = (layer.name.clone(), layer.output);
        let storage = resolved.storages.len();
        resolved.storages.push(Storage { length, is_input: false });
        let between = Place { storage, start: 0, length };
        resolved.layers[index].output = between;
        let last = Layer::Unary(Unary { shape: [1, 1, 1, count], activation: last });
        resolved
            .layers
            .insert(index + 1, ResolvedLayer { name, layer: last, sources: vec![Source::Place(between)], output });
    }
    true
}

/// The function that a layer ends with.
fn activation_of(layer: &mut Layer) -> Option<&mut Activation> {
    match layer {
        // A residual is added behind the function, which no other follows then.
        Layer::Conv2d(geometry) | Layer::SeparableConv2d((_, geometry))
            if geometry.residual == Residual::AfterActivation =>
        {
            None
        }
        Layer::Conv2d(geometry) | Layer::SeparableConv2d((_, geometry)) => Some(&mut geometry.activation),
        Layer::ConvTranspose2d(layer) => Some(&mut layer.activation),
        Layer::MatMul(layer) => Some(&mut layer.activation),
        Layer::Reduce(layer) => Some(&mut layer.activation),
        Layer::Normalise(layer) => Some(&mut layer.activation),
        Layer::Binary(layer) => Some(&mut layer.activation),
        Layer::Unary(layer) => Some(&mut layer.activation),
        _ => None,
    }
}

/// Whether an error before this function is no more than twice as large behind it. Others stay layers of their own: their
/// errors could not be bounded by what they are given.
fn is_smooth(activation: Activation) -> bool {
    !matches!(
        activation,
        Activation::Exp
            | Activation::Log
            | Activation::Sqrt
            | Activation::Reciprocal
            | Activation::Floor
            | Activation::Ceil
    )
}

/// What two functions in a row are, if that is one function.
fn composed(first: Activation, second: Activation) -> Option<Activation> {
    use Activation::{Clamp, HardSigmoid, Linear, None, Relu, Relu6};
    let limits = |activation| match activation {
        Relu => Some((0.0, f32::INFINITY)),
        Relu6 => Some((0.0, 6.0)),
        Clamp(low, high) => Some((low, high)),
        _ => Option::None,
    };
    match (first, second) {
        (None | Linear(1.0, 0.0), other) | (other, None | Linear(1.0, 0.0)) => Some(other),
        (Linear(a, b), Linear(c, d)) => Some(Linear(nearly_round(a * c), b * c + d)),
        (Activation::HardSwish, Linear(c, d)) => Some(Activation::HardSwishLinear(c, d)),
        (Activation::HardSwishLinear(a, b), Linear(c, d)) => match (nearly_round(a * c), b * c + d) {
            (1.0, 0.0) => Some(Activation::HardSwish),
            (slope, offset) => Some(Activation::HardSwishLinear(slope, offset)),
        },
        (Linear(slope, offset), clamp) if limits(clamp) == Some((0.0, 1.0)) => Some(HardSigmoid(slope, offset)),
        (first, second) => {
            let ((low, high), (least, most)) = (limits(first)?, limits(second)?);
            Some(Clamp(low.max(least).min(most), high.min(most).max(least)))
        }
    }
}

/// A factor that is 1 but for rounding: 6 times what a file has for a sixth.
fn nearly_round(factor: f32) -> f32 {
    if (factor - 1.0).abs() < 1e-6 { 1.0 } else { factor }
}

/// The functions that lead from a tensor to this place, the first one first, as long as nobody else reads what is between.
fn chain(resolved: &Resolved, uses: &Uses, from: &Source) -> (Vec<Activation>, Source) {
    let mut functions = Vec::new();
    let mut source = from.clone();
    while let Some(writer) = uses.own_writer(resolved, &source)
        && let Layer::Unary(function) = resolved.layers[writer].layer
    {
        functions.insert(0, function.activation);
        source = resolved.layers[writer].sources[0].clone();
    }
    (functions, source)
}

/// The function x · g(x), and its factor, for the functions that make up g.
fn gated(functions: &[Activation]) -> Option<(Activation, f32)> {
    use Activation::{Clamp, Erf, HardSigmoid, Linear, Relu6, Sigmoid, Softplus, Tanh};
    let close = |a: f32, b: f32| (a - b).abs() <= 1e-5 * b.abs();
    match *functions {
        [Sigmoid] => Some((Activation::Silu, 1.0)),
        [Softplus, Tanh] => Some((Activation::Mish, 1.0)),
        [HardSigmoid(slope, offset)] if close(slope, 1.0 / 6.0) && close(offset, 0.5) => {
            Some((Activation::HardSwish, 1.0))
        }
        [Linear(slope, offset), Relu6 | Clamp(0.0, 6.0)] if close(slope, 1.0) && close(offset, 3.0) => {
            Some((Activation::HardSwish, 6.0))
        }
        [Linear(slope, offset), Relu6 | Clamp(0.0, 6.0), Linear(factor, 0.0)]
            if close(slope, 1.0) && close(offset, 3.0) =>
        {
            Some((Activation::HardSwish, nearly_round(6.0 * factor)))
        }
        [Linear(slope, 0.0), Erf, Linear(scale, offset)]
            if close(slope, std::f32::consts::FRAC_1_SQRT_2) && close(scale, offset) =>
        {
            Some((Activation::Gelu, 2.0 * scale))
        }
        _ => None,
    }
}
