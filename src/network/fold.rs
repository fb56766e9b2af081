//! Normal layers in the place of separable ones. They compute the same.

use super::known::Place;
use super::resolve::{Resolved, ResolvedLayer, Source, Storage};
use crate::activation::Activation;
use crate::geometry::Geometry;
use crate::layer::Layer;
use crate::separable::SeparableConv2d;
use crate::size::{Size, values};

/// Folds separable layers in place.
pub(crate) fn fold(resolved: &mut Resolved) {
    let mut index = 0;
    while index < resolved.layers.len() {
        match resolved.layers[index].layer {
            Layer::SeparableConv2d((depthwise, pointwise)) if depthwise.activation == Activation::None => {
                merge(&mut resolved.layers[index], &depthwise, &pointwise);
            }
            Layer::SeparableConv2d((depthwise, pointwise)) => {
                take_apart(resolved, index, depthwise, pointwise);
                spread(&mut resolved.layers[index], &depthwise);
            }
            Layer::Conv2d(geometry) if is_depthwise(&geometry) => spread(&mut resolved.layers[index], &geometry),
            _ => {}
        }
        index += 1;
    }
}

fn is_depthwise(geometry: &Geometry) -> bool {
    geometry.groups > 1 && geometry.in_channels_per_group() == 1 && geometry.kernel_size != Size::from(1)
}

/// The values of a weight or a bias.
fn constant(source: &Source) -> &[f32] {
    match source {
        Source::Constant(values) => values,
        Source::Place(_) => unreachable!("resolving refuses weights that are not known"),
    }
}

/// A depthwise layer sees all channels, with filters of zeros for those of others.
fn spread(layer: &mut ResolvedLayer, depthwise: &Geometry) {
    let geometry = Geometry { groups: 1, ..*depthwise };
    let multiplier = (geometry.out_channels / geometry.in_channels) as usize;
    let at = 1 + usize::from(geometry.residual.is_some()) + usize::from(geometry.input_scale);
    let filters = constant(&layer.sources[at]);
    let (taps, channels) = (filters.len() / geometry.out_channels as usize, geometry.in_channels as usize);
    let mut weight = vec![0.0; channels * filters.len()];
    for (out, (wide, filter)) in weight.chunks_exact_mut(channels * taps).zip(filters.chunks_exact(taps)).enumerate() {
        wide[out / multiplier * taps..][..taps].copy_from_slice(filter);
    }
    layer.sources[at] = Source::Constant(weight.into());
    layer.layer = geometry.into();
}

/// A separable layer becomes its two parts again.
fn take_apart(resolved: &mut Resolved, index: usize, depthwise: Geometry, pointwise: Geometry) {
    let length = values(depthwise.output_shape());
    let between = Place { storage: resolved.storages.len(), start: 0, length };
    resolved.storages.push(Storage { length, is_input: false });
    let second = &mut resolved.layers[index];
    let input = std::mem::replace(&mut second.sources[0], Source::Place(between));
    let start = 1 + usize::from(pointwise.residual.is_some());
    let own = second.sources.drain(start..start + 1 + usize::from(depthwise.bias));
    let sources = std::iter::once(input).chain(own).collect();
    second.layer = pointwise.into();
    let first = ResolvedLayer { name: second.name.clone(), layer: depthwise.into(), sources, output: between };
    resolved.layers.insert(index, first);
}

/// A separable layer without a function between its parts becomes one layer: its filters are mixed.
fn merge(layer: &mut ResolvedLayer, depthwise: &Geometry, pointwise: &Geometry) {
    let geometry = Geometry {
        out_channels: pointwise.out_channels,
        groups: 1,
        bias: depthwise.bias || pointwise.bias,
        residual: pointwise.residual,
        activation: pointwise.activation,
        ..*depthwise
    };
    let parameters = layer.sources.split_off(1 + usize::from(geometry.residual.is_some()));
    let mut parameters = parameters.iter().map(constant);
    let mut next = || parameters.next().expect("weights and biases of both parts");
    let (filters, filter_bias) = (next(), depthwise.bias.then(&mut next));
    let (mix, bias) = (next(), pointwise.bias.then(&mut next));
    let separable = SeparableConv2d::new(geometry.in_channels, geometry.out_channels, geometry.kernel_size)
        .depth_multiplier(depthwise.out_channels / geometry.in_channels);
    let folded = separable.fold_weights(filters, filter_bias, mix, bias);
    let (weight, bias) = folded.expect("weights as long as the layer says");
    layer.sources.push(Source::Constant(weight.into()));
    layer.sources.extend(geometry.bias.then(|| Source::Constant(bias.into())));
    layer.layer = geometry.into();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::operation::Operation;
    use crate::network::{Network, Value};
    use crate::size::Padding;

    const SHAPE: [u32; 4] = [2, 3, 7, 6];

    fn constant(network: &mut Network, shape: &[u32], start: usize) -> Value {
        let count = shape.iter().product::<u32>() as usize;
        let values: Vec<f32> = (0..count).map(|index| ((index * 7 + start) % 17) as f32 / 8.0 - 1.0).collect();
        network.constant(&format!("constant {start}"), shape, values).unwrap()
    }

    fn convolution(network: &mut Network, x: Value, weight: [u32; 4], stride: u32, groups: u32, bias: bool) -> Value {
        let start = (weight[0] * weight[3] + groups) as usize;
        let operation = Operation::Conv2d { stride: stride.into(), padding: Padding::Same, dilation: 1.into(), groups };
        let inputs = [
            Some(x),
            Some(constant(network, &weight, start)),
            bias.then(|| constant(network, &weight[..1], start + 1)),
        ];
        network.node("convolution", operation, inputs).unwrap()
    }

    /// The folded layers of a depthwise layer, what is done to its result, and a layer that computes the same.
    fn folded(biases: [bool; 2], between: impl Fn(&mut Network, Value) -> Value) -> Vec<Layer> {
        let mut network = Network::new();
        let x = network.input("x", &SHAPE.map(Some));
        let y = convolution(&mut network, x, [6, 1, 3, 2], 2, 3, biases[0]);
        let y = between(&mut network, y);
        let y = convolution(&mut network, y, [5, 6, 1, 1], 1, 1, biases[1]);
        let y = network.node("relu", Operation::Function(Activation::Relu), [y]).unwrap();
        network.output("y", y).unwrap();
        let values: Vec<f32> = (0..252_u16).map(|index| f32::from(index * 29 % 61) / 10.0 - 3.0).collect();
        let compute = |network: &Network| network.reference(&[("x", &SHAPE, &values)], |_| Ok(())).unwrap();
        let [expected, actual] = [&network, &network.clone().folded()].map(compute);
        assert_eq!(expected[0].shape, actual[0].shape);
        for (right, value) in expected[0].values.iter().zip(&actual[0].values) {
            assert!((right - value).abs() <= 1e-5 * (1.0 + right.abs()), "{value} is not {right}");
        }
        let layers = network.folded().layers(&[]).unwrap().into_iter().map(|(_, layer)| layer).collect::<Vec<_>>();
        for layer in &layers {
            layer.check().unwrap();
            assert!(!matches!(layer, Layer::SeparableConv2d(_)), "{layer:?}");
            assert!(!matches!(layer, Layer::Conv2d(geometry) if is_depthwise(geometry)), "{layer:?}");
        }
        layers
    }

    #[test]
    fn a_depthwise_and_a_pointwise_layer_become_one() {
        for biases in [[true, true], [true, false], [false, true], [false, false]] {
            let layers = folded(biases, |_, y| y);
            let [Layer::Conv2d(geometry)] = layers[..] else { panic!("{layers:?}") };
            assert_eq!(geometry.weight_shape(), [5, 3, 3, 2]);
            assert_eq!(geometry.bias, biases != [false, false]);
        }
    }

    #[test]
    fn a_function_between_keeps_two_layers() {
        let function =
            |network: &mut Network, y| network.node("f", Operation::Function(Activation::HardSwish), [y]).unwrap();
        for biases in [[true, true], [false, false]] {
            let layers = folded(biases, function);
            let [Layer::Conv2d(first), Layer::Conv2d(second)] = layers[..] else { panic!("{layers:?}") };
            assert_eq!([first.weight_shape(), second.weight_shape()], [[6, 3, 3, 2], [5, 6, 1, 1]]);
        }
    }

    #[test]
    fn a_depthwise_layer_by_itself_sees_all_channels() {
        // Somebody else reads its result.
        let layers = folded([true, true], |network, y| {
            let scores = network.node("f", Operation::Function(Activation::Exp), [y]).unwrap();
            network.output("scores", scores).unwrap();
            y
        });
        let [Layer::Conv2d(first), _, _] = layers[..] else { panic!("{layers:?}") };
        assert_eq!(first.weight_shape(), [6, 3, 3, 2]);
    }
}
