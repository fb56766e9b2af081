//! Numbers that never change: they go into the weights and the bias of the convolution before them.

use std::sync::Arc;

use super::uses::{Uses, take_over};
use crate::activation::Activation;
use crate::geometry::Geometry;
use crate::layer::Layer;
use crate::layers::unary::Unary;
use crate::network::resolve::{Resolved, ResolvedLayer, Source};

/// A convolution without a function takes the factor and the summand behind it into its weights.
pub(super) fn line_into_convolution(resolved: &mut Resolved, uses: &Uses, index: usize) -> bool {
    let Layer::Unary(Unary { activation: Activation::Linear(slope, offset), .. }) = resolved.layers[index].layer else {
        return false;
    };
    let Some(writer) = uses.own_writer(resolved, &resolved.layers[index].sources[0]) else { return false };
    let channels = match resolved.layers[writer].layer {
        Layer::Conv2d(geometry) => geometry.out_channels as usize,
        Layer::ConvTranspose2d(layer) => layer.out_channels as usize,
        _ => return false,
    };
    let shifts = (offset != 0.0).then(|| vec![offset; channels]);
    scale_convolution(resolved, [writer, index], &vec![slope; channels], shifts.as_deref(), Activation::None)
}

/// A convolution without a function takes the factors and summands behind it into its weights.
pub(super) fn factor_into_convolution(resolved: &mut Resolved, uses: &Uses, index: usize) -> bool {
    let Layer::Conv2d(factor) = resolved.layers[index].layer else { return false };
    if !is_factor(&factor) {
        return false;
    }
    let Some(writer) = uses.own_writer(resolved, &resolved.layers[index].sources[0]) else { return false };
    let Some(factors) = constant(&resolved.layers[index], 1) else { return false };
    let shifts = constant(&resolved.layers[index], 2);
    scale_convolution(resolved, [writer, index], &factors, shifts.as_deref(), factor.activation)
}

/// Multiplies a convolution's output channels by factors and adds shifts, in its weights. The layer that did so goes.
fn scale_convolution(
    resolved: &mut Resolved,
    [writer, behind]: [usize; 2],
    factors: &[f32],
    shifts: Option<&[f32]>,
    activation: Activation,
) -> bool {
    let before = &resolved.layers[writer];
    let (Some(weight), bias) = (constant(before, 1), constant(before, 2)) else { return false };
    let channels = factors.len();
    let (weight, out_channels, is_plain) = match before.layer {
        Layer::Conv2d(geometry) => {
            let filter = usize::try_from(geometry.terms()).expect("a filter in memory");
            let filters = weight.chunks(filter).zip(factors);
            let scaled = filters.flat_map(|(filter, factor)| filter.iter().map(move |weight| weight * factor));
            let is_plain = geometry.activation == Activation::None && !geometry.residual.is_some();
            (scaled.collect::<Vec<f32>>(), geometry.out_channels, is_plain)
        }
        Layer::ConvTranspose2d(layer) => {
            // Weights are by input channel, then by output channel of the group.
            let taps = usize::try_from(layer.kernel_size.area()).expect("a filter in memory");
            let per_group = (layer.out_channels / layer.groups) as usize;
            let in_group = (layer.in_channels / layer.groups) as usize;
            let scaled = weight.chunks(taps).enumerate().flat_map(|(filter, weights)| {
                let factor = factors[filter / per_group / in_group * per_group + filter % per_group];
                weights.iter().map(move |weight| weight * factor)
            });
            (scaled.collect(), layer.out_channels, layer.activation == Activation::None)
        }
        _ => return false,
    };
    if !is_plain || out_channels as usize != channels {
        return false;
    }
    let has_bias = shifts.is_some() || bias.is_some();
    let shifted = (0..channels).map(|channel| {
        bias.as_ref().map_or(0.0, |bias| bias[channel]) * factors[channel]
            + shifts.map_or(0.0, |shifts| shifts[channel])
    });
    let bias: Vec<f32> = shifted.collect();
    let convolution = &mut resolved.layers[writer];
    match &mut convolution.layer {
        Layer::Conv2d(geometry) => (geometry.bias, geometry.activation) = (has_bias, activation),
        Layer::ConvTranspose2d(layer) => (layer.bias, layer.activation) = (has_bias, activation),
        _ => unreachable!("it was one of these"),
    }
    convolution.sources.truncate(1);
    convolution.sources.push(Source::Constant(weight.into()));
    if has_bias {
        convolution.sources.push(Source::Constant(bias.into()));
    }
    take_over(resolved, writer, behind);
    true
}

/// Whether a convolution only multiplies each channel by a number and adds another.
fn is_factor(geometry: &Geometry) -> bool {
    geometry.groups == geometry.in_channels
        && geometry.out_channels == geometry.in_channels
        && geometry.is_pixelwise()
        && !geometry.residual.is_some()
}

/// A constant that layer `index` is given.
fn constant(layer: &ResolvedLayer, index: usize) -> Option<Arc<[f32]>> {
    match layer.sources.get(index)? {
        Source::Constant(values) => Some(values.clone()),
        Source::Place(_) => None,
    }
}
