//! Fewer layers that compute the same: factors and functions are taken into the layer before them, functions that were
//! written out are recognised, sums become residuals, depthwise and pointwise layers one separable layer.
//!
//! Each rule looks at a layer and at the only one that reads it. They are tried again until none changes anything.

use std::sync::Arc;

use super::known::{Known, Place};
use super::resolve::{Resolved, ResolvedLayer, Source};
use crate::activation::Activation;
use crate::describe::Describe;
use crate::geometry::Geometry;
use crate::layer::Layer;
use crate::layers::binary::{AXES, Binary, BinaryOperation};
use crate::layers::perceptron::Perceptron;
use crate::layers::resize::Resize2d;
use crate::layers::unary::Unary;
use crate::residual::Residual;
use crate::size::{Size, values};

/// Simplifies layers in place.
pub(crate) fn simplify(resolved: &mut Resolved) {
    /// How far before a changed layer those are for which a rule may hold now: they have what it read, or made, to themselves.
    const NEAR: usize = 8;
    remove_unread(resolved);
    let mut uses = Uses::new(resolved);
    let mut has_changed = true;
    while has_changed {
        has_changed = false;
        let mut index = 0;
        while index < resolved.layers.len() {
            if !simplify_at(resolved, &uses, index) {
                index += 1;
                continue;
            }
            has_changed = true;
            index = index.saturating_sub(NEAR);
            remove_unread(resolved);
            uses = Uses::new(resolved);
        }
    }
    // Once what stands behind a convolution is in its weights, or a part of it.
    wherever(resolved, convolution_before_resize);
    wherever(resolved, scale_into_convolution);
    wherever(resolved, into_perceptron);
    wherever(resolved, pair);
    wherever(resolved, write_in_place);
    remove_unread(resolved);
}

/// Applies the first rule that holds for a layer.
fn simplify_at(resolved: &mut Resolved, uses: &Uses, index: usize) -> bool {
    identity(resolved, uses, index)
        || written_out(resolved, uses, index)
        || line_into_convolution(resolved, uses, index)
        || factor_into_convolution(resolved, uses, index)
        || function_into_layer(resolved, uses, index)
        || sum_into_layer(resolved, uses, index)
}

/// What writes and what reads each storage.
struct Uses(Vec<Use>);

#[derive(Clone, Copy, Default)]
struct Use {
    /// One layer that writes it.
    writer: usize,
    /// How many do.
    writers: usize,
    /// How often layers read it.
    readers: usize,
    /// Whether the caller reads it.
    is_output: bool,
}

impl Uses {
    fn new(resolved: &Resolved) -> Self {
        let mut uses = vec![Use::default(); resolved.storages.len()];
        for (index, layer) in resolved.layers.iter().enumerate() {
            let written = &mut uses[layer.output.storage];
            (written.writer, written.writers) = (index, written.writers + 1);
            for source in &layer.sources {
                if let Source::Place(place) = source {
                    uses[place.storage].readers += 1;
                }
            }
        }
        for (_, known) in &resolved.outputs {
            if let Known::View(view) = known {
                uses[view.storage].is_output = true;
            }
        }
        Self(uses)
    }

    /// The one layer that writes all of this place, if a single one does.
    fn writer(&self, resolved: &Resolved, source: &Source) -> Option<usize> {
        let Source::Place(place) = source else { return None };
        let Use { writer, writers: 1, .. } = self.0[place.storage] else { return None };
        (resolved.layers[writer].output == *place).then_some(writer)
    }

    /// [`writer`](Self::writer), if nobody else reads the place.
    fn own_writer(&self, resolved: &Resolved, source: &Source) -> Option<usize> {
        let writer = self.writer(resolved, source)?;
        let storage = self.0[resolved.layers[writer].output.storage];
        (storage.readers == 1 && !storage.is_output).then_some(writer)
    }
}

/// Removes layers whose output nobody reads, and then those that only they read.
fn remove_unread(resolved: &mut Resolved) {
    let mut uses = Uses::new(resolved);
    let mut is_read = vec![true; resolved.layers.len()];
    // What reads a layer comes behind it.
    for (layer, is_read) in resolved.layers.iter().zip(&mut is_read).rev() {
        let storage = uses.0[layer.output.storage];
        *is_read = storage.readers > 0 || storage.is_output;
        if !*is_read {
            for source in &layer.sources {
                if let Source::Place(place) = source {
                    uses.0[place.storage].readers -= 1;
                }
            }
        }
    }
    if is_read.contains(&false) {
        let mut is_read = is_read.into_iter();
        resolved.layers.retain(|_| is_read.next().unwrap_or(true));
    }
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

/// A layer takes in the function behind it, the one that it ends with included.
fn function_into_layer(resolved: &mut Resolved, uses: &Uses, index: usize) -> bool {
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

/// A layer's result goes where a later one's went, which is no more.
fn take_over(resolved: &mut Resolved, writer: usize, later: usize) {
    resolved.layers[writer].output = resolved.layers[later].output;
    resolved.layers.remove(later);
}

/// A function that changes nothing goes.
fn identity(resolved: &mut Resolved, uses: &Uses, index: usize) -> bool {
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

/// Recognises a product of x and a function of x: `SiLU`, hard-swish, GELU and Mish are written so where a file has no
/// operator for them.
fn written_out(resolved: &mut Resolved, uses: &Uses, index: usize) -> bool {
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
        resolved.storages.push(super::resolve::Storage { length, is_input: false });
        let between = Place { storage, start: 0, length };
        resolved.layers[index].output = between;
        let last = Layer::Unary(Unary { shape: [1, 1, 1, count], activation: last });
        resolved
            .layers
            .insert(index + 1, ResolvedLayer { name, layer: last, sources: vec![Source::Place(between)], output });
    }
    true
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

/// A constant that layer `index` is given.
fn constant(layer: &ResolvedLayer, index: usize) -> Option<Arc<[f32]>> {
    match layer.sources.get(index)? {
        Source::Constant(values) => Some(values.clone()),
        Source::Place(_) => None,
    }
}

/// Whether a convolution only multiplies each channel by a number and adds another.
fn is_factor(geometry: &Geometry) -> bool {
    geometry.groups == geometry.in_channels
        && geometry.out_channels == geometry.in_channels
        && geometry.kernel_size == Size::from(1)
        && geometry.stride == Size::from(1)
        && geometry.input == geometry.output
        && !geometry.residual.is_some()
}

/// A convolution without a function takes the factor and the summand behind it into its weights.
fn line_into_convolution(resolved: &mut Resolved, uses: &Uses, index: usize) -> bool {
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
fn factor_into_convolution(resolved: &mut Resolved, uses: &Uses, index: usize) -> bool {
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

/// A sum of what one layer makes and of a tensor of the same shape: the tensor becomes that layer's residual.
fn sum_into_layer(resolved: &mut Resolved, uses: &Uses, index: usize) -> bool {
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

/// A 1 × 1 convolution of enlarged planes comes before they are enlarged: of fewer pixels, and there are fewer planes to enlarge
/// or none are written. What stands at a place of an enlarged plane is a mean of some of its values, with weights that sum to
/// 1, so either order computes the same.
fn convolution_before_resize(resolved: &mut Resolved, uses: &Uses, index: usize) -> bool {
    let Layer::Conv2d(convolution) = resolved.layers[index].layer else { return false };
    let Some(writer) = uses.own_writer(resolved, &resolved.layers[index].sources[0]) else { return false };
    let Layer::Resize2d(resize) = resolved.layers[writer].layer else { return false };
    let is_of_pixels = (convolution.kernel_size, convolution.stride) == (Size::from(1), Size::from(1))
        && convolution.input == convolution.output;
    if !is_of_pixels
        || convolution.activation != Activation::None
        || convolution.input_scale
        || resize.residual
        || resize.output.area() <= resize.input.area()
        || values(resize.output_shape()) != values(convolution.input_shape())
    {
        return false;
    }
    let Some(planes) = convolution.batch.checked_mul(convolution.out_channels) else { return false };
    let first = Geometry { input: resize.input, output: resize.input, residual: Residual::None, ..convolution };
    let second = Resize2d { planes, residual: convolution.residual.is_some(), ..resize };
    let length = values(first.output_shape());
    resolved.storages.push(super::resolve::Storage { length, is_input: false });
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

/// A 1 × 1 convolution takes in the product before it, of its input and one number for each channel of each image: that is
/// how squeeze and excitation ends. Its planes are then neither read nor written once more. A larger filter would read each
/// number for every tap, and there are better kernels for it.
fn scale_into_convolution(resolved: &mut Resolved, uses: &Uses, index: usize) -> bool {
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

/// Two 1 × 1 convolutions of one pixel, as those of squeeze and excitation, become one step: each by itself has so little to do
/// that it would take no longer than a GPU needs between two steps.
fn into_perceptron(resolved: &mut Resolved, uses: &Uses, index: usize) -> bool {
    /// One workgroup computes all of an image. With more weights, two steps by all of a GPU take less time.
    const MOST_WEIGHTS: u64 = 1 << 15;
    let connected = |index: usize| match resolved.layers[index].layer {
        Layer::Conv2d(geometry) => is_fully_connected(&geometry).then_some(geometry),
        _ => None,
    };
    let Some(second) = connected(index) else { return false };
    let Some(writer) = uses.own_writer(resolved, &resolved.layers[index].sources[0]) else { return false };
    let Some(first) = connected(writer) else { return false };
    let features = [first.in_channels, first.out_channels, second.out_channels];
    let Ok(mut perceptron) = Perceptron::new(first.batch, features) else { return false };
    (perceptron.hidden_bias, perceptron.hidden_activation) = (first.bias, first.activation);
    (perceptron.bias, perceptron.activation) = (second.bias, second.activation);
    if first.parameters() + second.parameters() > MOST_WEIGHTS {
        return false;
    }
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

/// Applies a rule to each layer, and again where it held.
fn wherever(resolved: &mut Resolved, rule: fn(&mut Resolved, &Uses, usize) -> bool) {
    let mut uses = Uses::new(resolved);
    let mut index = 0;
    while index < resolved.layers.len() {
        if rule(resolved, &uses, index) {
            uses = Uses::new(resolved);
        } else {
            index += 1;
        }
    }
}

/// A depthwise layer and the pointwise one that alone reads it become one separable layer.
fn pair(resolved: &mut Resolved, uses: &Uses, index: usize) -> bool {
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

/// A layer whose result is only copied into a larger tensor writes it there.
fn write_in_place(resolved: &mut Resolved, uses: &Uses, index: usize) -> bool {
    let copy = &resolved.layers[index];
    let Layer::Rearrange(rearrange) = copy.layer else { return false };
    if super::movement::as_stretch(&rearrange) != Some(0) || u64::from(rearrange.input_length) != copy.output.length {
        return false;
    }
    let output = copy.output;
    let Some(writer) = uses.writer(resolved, &copy.sources[0]) else { return false };
    let own = resolved.layers[writer].output.storage;
    if uses.0[own].is_output {
        return false;
    }
    // WebGPU lets no dispatch read and write one buffer: nobody who writes into the larger tensor may read from it.
    let moves_to = |place: &Place| if place.storage == own { output.storage } else { place.storage };
    let conflict = resolved.layers.iter().enumerate().any(|(at, layer)| {
        at != index
            && moves_to(&layer.output) == output.storage
            && layer
                .sources
                .iter()
                .any(|source| matches!(source, Source::Place(place) if moves_to(place) == output.storage))
    });
    if conflict {
        return false;
    }
    for layer in &mut resolved.layers {
        let own_place = |place: &mut Place| {
            if place.storage == own {
                (place.storage, place.start) = (output.storage, place.start + output.start);
            }
        };
        own_place(&mut layer.output);
        for source in &mut layer.sources {
            if let Source::Place(place) = source {
                own_place(place);
            }
        }
    }
    resolved.layers.remove(index);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;
    use crate::layers::reduce::Reduction;
    use crate::layers::resize::{Coordinates, Interpolation, Nearest};
    use crate::network::operation::Operation;
    use crate::network::{Network, Value, reference, resolve};
    use crate::size::Padding;

    /// A network that is being built, and a count for names and values.
    struct Build {
        network: Network,
        count: usize,
    }

    impl Build {
        fn node(&mut self, operation: Operation, inputs: &[Value]) -> Value {
            self.count += 1;
            self.network.node(&format!("n{}", self.count), operation, inputs.iter().copied()).unwrap()
        }

        fn function(&mut self, activation: Activation, x: Value) -> Value {
            self.node(Operation::Function(activation), &[x])
        }

        fn binary(&mut self, operation: BinaryOperation, a: Value, b: Value) -> Value {
            self.node(Operation::Binary(operation), &[a, b])
        }

        /// Values that differ, from -1 to 1.
        fn constant(&mut self, shape: &[u32]) -> Value {
            self.count += 1;
            let start = self.count;
            let count = shape.iter().map(|&size| size as usize).product::<usize>();
            let values: Vec<f32> = (0..count).map(|index| ((index * 7 + start * 5) % 17) as f32 / 8.0 - 1.0).collect();
            self.network.constant(&format!("c{start}"), shape, values).unwrap()
        }

        fn number(&mut self, value: f32) -> Value {
            self.count += 1;
            self.network.constant(&format!("c{}", self.count), &[], vec![value]).unwrap()
        }

        fn convolution(&mut self, x: Value, weight: [u32; 4], groups: u32) -> Value {
            let (weight, bias) = (self.constant(&weight), self.constant(&weight[..1]));
            let operation = Operation::Conv2d { stride: 1.into(), padding: Padding::Same, dilation: 1.into(), groups };
            self.node(operation, &[x, weight, bias])
        }

        /// The mean of each plane, resized to the plane.
        fn resized(&mut self, x: Value) -> Value {
            let small = self.node(Operation::GlobalPool(Reduction::Mean), &[x]);
            let region = self.constant(&[0]);
            let scales = self.network.constant("scales", &[4], vec![1.0, 1.0, 5.0, 6.0]).unwrap();
            let (coordinates, interpolation) = (Coordinates::HalfPixel, Interpolation::Linear);
            let operation = Operation::Resize { coordinates, interpolation, axes: Vec::new() };
            self.node(operation, &[small, region, scales])
        }
    }

    /// The layers of a network that has input `x`, of four channels, and these outputs. What they compute must be what
    /// they computed before.
    fn layers(build: impl FnOnce(&mut Build, Value) -> Vec<Value>) -> Vec<Layer> {
        const SHAPE: [u32; 4] = [1, 4, 5, 6];
        let mut b = Build { network: Network::new(), count: 0 };
        let x = b.network.input("x", &SHAPE.map(Some));
        for (index, value) in build(&mut b, x).into_iter().enumerate() {
            b.network.output(&format!("y{index}"), value).unwrap();
        }
        let plain = resolve::resolve(&b.network.graph, &[("x".to_owned(), SHAPE.to_vec())]).unwrap();
        let mut simple = plain.clone();
        simplify(&mut simple);
        let values: Vec<f32> = (0..120_u16).map(|index| f32::from(index * 29 % 61) / 10.0 - 3.0).collect();
        let inputs = [("x", &SHAPE[..], &values[..])];
        let [expected, actual] =
            [&plain, &simple].map(|resolved| reference::run(resolved, DType::F32, &inputs, |_| Ok(())).unwrap());
        for (expected, actual) in expected.iter().zip(&actual) {
            assert_eq!((&expected.name, &expected.shape), (&actual.name, &actual.shape));
            for (right, value) in expected.values.iter().zip(&actual.values) {
                assert!(
                    (right - value).abs() <= 1e-5 * (1.0 + right.abs()),
                    "{value} is not {right}: {:?}",
                    simple.layers
                );
            }
        }
        simple.layers.into_iter().map(|layer| layer.layer).collect()
    }

    fn activation(layer: &Layer) -> Activation {
        layer.describe().activation()
    }

    #[test]
    fn a_layer_takes_in_the_function_behind_it() {
        let with = |function| {
            layers(|b, x| {
                vec![{
                    let y = b.convolution(x, [3, 4, 3, 3], 1);
                    b.function(function, y)
                }]
            })
        };
        assert_eq!(with(Activation::Relu).iter().map(activation).collect::<Vec<_>>(), [Activation::Relu]);
        // Its errors could not be bounded by what the layer is given.
        assert_eq!(with(Activation::Exp).len(), 2);
        // Two readers, and an output.
        let two = layers(|b, x| {
            let y = b.convolution(x, [3, 4, 3, 3], 1);
            vec![b.function(Activation::Relu, y), b.function(Activation::Tanh, y)]
        });
        assert_eq!(two.len(), 3);
        let output = layers(|b, x| {
            let y = b.convolution(x, [3, 4, 3, 3], 1);
            vec![y, b.function(Activation::Relu, y)]
        });
        assert_eq!(output.len(), 2);
    }

    #[test]
    fn functions_in_a_row_are_one_where_there_is_one() {
        use Activation::{Clamp, HardSigmoid, HardSwish, HardSwishLinear, Linear, Relu, Relu6, Tanh};
        let two = |first, second| {
            layers(|b, x| {
                vec![{
                    let y = b.function(first, x);
                    b.function(second, y)
                }]
            })
        };
        for (first, second, both) in [
            (Relu, Relu6, Clamp(0.0, 6.0)),
            (Clamp(-1.0, 2.0), Clamp(1.0, 5.0), Clamp(1.0, 2.0)),
            // The second range is past the first.
            (Clamp(-1.0, 0.0), Clamp(1.0, 2.0), Clamp(1.0, 1.0)),
            (Linear(2.0, 1.0), Linear(0.5, 3.0), Linear(1.0, 3.5)),
            (Linear(0.5, 0.25), Clamp(0.0, 1.0), HardSigmoid(0.5, 0.25)),
            (HardSwish, Linear(2.0, 1.0), HardSwishLinear(2.0, 1.0)),
        ] {
            assert_eq!(two(first, second).iter().map(activation).collect::<Vec<_>>(), [both], "{first:?} {second:?}");
        }
        for (first, second) in [(Tanh, Relu), (Relu, Tanh), (Linear(2.0, 1.0), Relu)] {
            assert_eq!(two(first, second).len(), 2, "{first:?} {second:?}");
        }
    }

    #[test]
    fn a_function_that_changes_nothing_goes() {
        let between = layers(|b, x| {
            let one = b.number(1.0);
            let y = b.function(Activation::Exp, x);
            let same = b.binary(BinaryOperation::Mul, y, one);
            // Another reader of what is before it, and two of it.
            vec![
                b.function(Activation::Floor, y),
                b.function(Activation::Exp, same),
                b.function(Activation::Ceil, same),
            ]
        });
        assert_eq!(between.len(), 4);
        // An output must be written.
        let output = layers(|b, x| {
            let one = b.number(1.0);
            vec![b.binary(BinaryOperation::Mul, x, one)]
        });
        assert_eq!(output.len(), 1);
    }

    #[test]
    fn functions_that_are_written_out_are_recognised() {
        use Activation::{
            Clamp, Erf, Gelu, HardSigmoid, HardSwish, Linear, Mish, Relu6, Sigmoid, Silu, Softplus, Tanh,
        };
        let product = |functions: &[Activation], factor: Option<f32>| {
            layers(|b, x| {
                let gate = functions.iter().fold(x, |value, &function| b.function(function, value));
                let own = match factor {
                    Some(factor) => {
                        let factor = b.number(factor);
                        b.binary(BinaryOperation::Mul, x, factor)
                    }
                    None => x,
                };
                vec![b.binary(BinaryOperation::Mul, own, gate)]
            })
        };
        let gelu = [Linear(std::f32::consts::FRAC_1_SQRT_2, 0.0), Erf, Linear(1.0, 1.0)];
        for (functions, factor, name) in [
            (&[Sigmoid][..], None, Silu),
            (&[Softplus, Tanh], None, Mish),
            (&[HardSigmoid(1.0 / 6.0, 0.5)], None, HardSwish),
            (&[Linear(1.0, 3.0), Relu6, Linear(1.0 / 6.0, 0.0)], None, HardSwish),
            (&[Linear(1.0, 3.0), Clamp(0.0, 6.0)], Some(1.0 / 6.0), HardSwish),
            (&gelu, Some(0.5), Gelu),
        ] {
            let found = product(functions, factor);
            assert_eq!(found.iter().map(activation).collect::<Vec<_>>(), [name], "{functions:?}");
        }
        for functions in [&[Tanh][..], &[HardSigmoid(0.2, 0.5)], &[Linear(1.0, 2.0), Relu6]] {
            assert!(product(functions, None).len() > 1, "{functions:?}");
        }
        // Somebody else reads the gate.
        let read = layers(|b, x| {
            let gate = b.function(Sigmoid, x);
            vec![gate, b.binary(BinaryOperation::Mul, x, gate)]
        });
        assert_eq!(read.len(), 2);
    }

    #[test]
    fn a_convolution_takes_in_factors_and_summands() {
        let line = layers(|b, x| {
            let y = b.convolution(x, [3, 4, 3, 3], 1);
            let (two, one) = (b.number(2.0), b.number(1.0));
            let y = b.binary(BinaryOperation::Mul, y, two);
            let y = b.binary(BinaryOperation::Add, y, one);
            vec![b.function(Activation::Relu, y)]
        });
        assert_eq!(line.iter().map(activation).collect::<Vec<_>>(), [Activation::Relu]);
        let norm = |is_read: bool| {
            layers(|b, x| {
                let y = b.convolution(x, [4, 2, 3, 3], 2);
                let (scale, shift) = (b.constant(&[4, 1, 1]), b.constant(&[1, 4, 1, 1]));
                let z = b.binary(BinaryOperation::Mul, y, scale);
                let z = b.binary(BinaryOperation::Sub, z, shift);
                if is_read { vec![z, y] } else { vec![z] }
            })
        };
        assert_eq!((norm(false).len(), norm(true).len()), (1, 2));
        // A transposed one, whose weights are in another order.
        let transposed = layers(|b, x| {
            let weight = b.constant(&[4, 3, 2, 2]);
            let operation = Operation::ConvTranspose2d {
                stride: 2.into(),
                padding: Padding::Valid,
                output_padding: 0.into(),
                output_size: None,
                dilation: 1.into(),
                groups: 2,
            };
            let y = b.node(operation, &[x, weight]);
            let number = b.number(3.0);
            vec![b.binary(BinaryOperation::Mul, y, number)]
        });
        assert_eq!(transposed.len(), 1);
        // Behind a function, a factor cannot go into weights.
        let behind = layers(|b, x| {
            let y = b.convolution(x, [4, 4, 1, 1], 1);
            let y = b.function(Activation::Tanh, y);
            let scale = b.constant(&[4, 1, 1]);
            vec![b.binary(BinaryOperation::Mul, y, scale)]
        });
        assert_eq!(behind.len(), 2);
    }

    #[test]
    fn a_sum_becomes_a_residual() {
        let residuals = |layers: &[Layer]| {
            layers
                .iter()
                .map(|layer| matches!(layer, Layer::Conv2d(geometry) if geometry.residual.is_some()))
                .collect::<Vec<_>>()
        };
        let own = layers(|b, x| {
            let y = b.convolution(x, [4, 4, 3, 3], 1);
            let sum = b.binary(BinaryOperation::Add, x, y);
            vec![b.function(Activation::Relu, sum)]
        });
        assert_eq!(residuals(&own), [true]);
        assert_eq!(activation(&own[0]), Activation::Relu);
        // The later of two convolutions takes the other's result.
        let two = layers(|b, x| {
            let (y, z) = (b.convolution(x, [4, 4, 3, 3], 1), b.convolution(x, [4, 4, 1, 1], 1));
            vec![b.binary(BinaryOperation::Add, z, y)]
        });
        assert_eq!(residuals(&two), [false, true]);
        // One channel for all does not have the output's shape; a function is between; somebody else reads it.
        let broadcast = layers(|b, x| {
            let y = b.convolution(x, [1, 4, 3, 3], 1);
            vec![b.binary(BinaryOperation::Add, x, y)]
        });
        let function = layers(|b, x| {
            let y = b.convolution(x, [4, 4, 3, 3], 1);
            let y = b.function(Activation::Tanh, y);
            vec![b.binary(BinaryOperation::Add, x, y)]
        });
        let read = layers(|b, x| {
            let y = b.convolution(x, [4, 4, 3, 3], 1);
            vec![b.binary(BinaryOperation::Add, x, y), y]
        });
        for other in [broadcast, function, read] {
            assert_eq!(residuals(&other), [false, false]);
        }
        // What is resized takes one too.
        let resized = layers(|b, x| {
            let y = b.resized(x);
            vec![b.binary(BinaryOperation::Add, x, y)]
        });
        assert!(matches!(resized[..], [_, Layer::Resize2d(Resize2d { residual: true, .. })]), "{resized:?}");
        // Of two layers, that which can take the function behind the sum as well.
        let convolution_and_resized = layers(|b, x| {
            let y = b.convolution(x, [4, 4, 1, 1], 1);
            let z = b.resized(x);
            let sum = b.binary(BinaryOperation::Add, y, z);
            vec![b.function(Activation::Relu, sum)]
        });
        let with_function = layers(|b, x| {
            let (y, z) = (b.convolution(x, [4, 4, 1, 1], 1), b.convolution(x, [4, 4, 3, 3], 1));
            let z = b.function(Activation::Relu, z);
            let sum = b.binary(BinaryOperation::Add, y, z);
            vec![b.function(Activation::Relu6, sum)]
        });
        for layers in [convolution_and_resized, with_function] {
            let Some(Layer::Conv2d(last)) = layers.last() else { panic!("{layers:?}") };
            assert_eq!(last.residual, Residual::BeforeActivation, "{layers:?}");
        }
        // Behind a ramp it is added last, and then nothing follows it.
        let last = layers(|b, x| {
            let y = b.convolution(x, [4, 4, 3, 3], 1);
            let y = b.function(Activation::Relu, y);
            let sum = b.binary(BinaryOperation::Add, x, y);
            vec![b.function(Activation::Relu6, sum)]
        });
        assert_eq!(residuals(&last), [true, false]);
        let Layer::Conv2d(geometry) = last[0] else { panic!("{last:?}") };
        assert_eq!((geometry.residual, geometry.activation), (Residual::AfterActivation, Activation::Relu));
    }

    #[test]
    fn a_convolution_takes_in_the_scale_of_its_input() {
        let scaled = |layers: &[Layer]| {
            layers.iter().filter(|layer| matches!(layer, Layer::Conv2d(geometry) if geometry.input_scale)).count()
        };
        // The factor on either side, with and without a residual.
        for (side, is_sum) in [(0, false), (1, true)] {
            let squeezed = layers(|b, x| {
                let scale = b.node(Operation::GlobalPool(Reduction::Mean), &[x]);
                let [first, second] = if side == 0 { [scale, x] } else { [x, scale] };
                let product = b.binary(BinaryOperation::Mul, first, second);
                let y = b.convolution(product, [4, 4, 1, 1], 1);
                vec![if is_sum { b.binary(BinaryOperation::Add, y, x) } else { y }]
            });
            assert_eq!((squeezed.len(), scaled(&squeezed)), (2, 1));
        }
        // What is behind the convolution still goes into its weights.
        let behind = layers(|b, x| {
            let scale = b.node(Operation::GlobalPool(Reduction::Mean), &[x]);
            let product = b.binary(BinaryOperation::Mul, x, scale);
            let y = b.convolution(product, [4, 4, 1, 1], 1);
            let (factors, shifts) = (b.constant(&[4, 1, 1]), b.constant(&[4, 1, 1]));
            let y = b.binary(BinaryOperation::Mul, y, factors);
            let y = b.binary(BinaryOperation::Add, y, shifts);
            vec![b.function(Activation::Relu, y)]
        });
        assert_eq!((behind.len(), scaled(&behind)), (2, 1));
        // Of another operation, of a larger filter, of one number for all channels, and where somebody else reads the product.
        let other = |operation, weight: [u32; 4], is_read: bool, is_one: bool| {
            layers(|b, x| {
                let pooled = b.node(Operation::GlobalPool(Reduction::Mean), &[x]);
                let scale = if is_one { b.convolution(pooled, [1, 4, 1, 1], 1) } else { pooled };
                let product = b.binary(operation, x, scale);
                let y = b.convolution(product, weight, 1);
                if is_read { vec![y, product] } else { vec![y] }
            })
        };
        let (mul, dense) = (BinaryOperation::Mul, [3, 4, 1, 1]);
        assert_eq!(scaled(&other(mul, dense, false, false)), 1);
        for (operation, weight, is_read, is_one) in [
            (BinaryOperation::Add, dense, false, false),
            (mul, [3, 4, 3, 3], false, false),
            (mul, dense, true, false),
            (mul, dense, false, true),
        ] {
            assert_eq!(
                scaled(&other(operation, weight, is_read, is_one)),
                0,
                "{operation:?} {weight:?} {is_read} {is_one}"
            );
        }
    }

    #[test]
    fn a_product_and_a_sum_are_one_layer() {
        let sum = |is_read: bool, is_own: bool| {
            layers(|b, x| {
                let scale = b.node(Operation::GlobalPool(Reduction::Mean), &[x]);
                let y = b.binary(BinaryOperation::Mul, x, scale);
                let other = if is_own { x } else { b.function(Activation::Exp, x) };
                let sum = b.binary(BinaryOperation::Add, y, other);
                let z = b.function(Activation::Relu, sum);
                if is_read { vec![z, y] } else { vec![z] }
            })
        };
        let binaries = |layers: &[Layer]| layers.iter().filter(|layer| matches!(layer, Layer::Binary(_))).count();
        for is_own in [true, false] {
            assert_eq!((binaries(&sum(false, is_own)), binaries(&sum(true, is_own))), (1, 2));
        }
        // Of a function, and of a tensor that is repeated, there is no residual.
        let functions = layers(|b, x| {
            let scale = b.node(Operation::GlobalPool(Reduction::Mean), &[x]);
            let y = b.binary(BinaryOperation::Mul, x, scale);
            let y = b.function(Activation::Tanh, y);
            vec![b.binary(BinaryOperation::Add, y, x)]
        });
        let repeated = layers(|b, x| {
            let scale = b.node(Operation::GlobalPool(Reduction::Mean), &[x]);
            let y = b.binary(BinaryOperation::Mul, scale, scale);
            vec![b.binary(BinaryOperation::Add, y, x)]
        });
        assert_eq!([functions, repeated].map(|layers| binaries(&layers)), [2, 2]);
    }

    #[test]
    fn a_convolution_comes_before_its_planes_are_enlarged() {
        let resized = |factor: f32, weight: [u32; 4], interpolation, function, residual: bool| {
            layers(|b, x| {
                let region = b.constant(&[0]);
                let scales = b.network.constant("scales", &[4], vec![1.0, 1.0, factor, 1.5 * factor]).unwrap();
                let coordinates = Coordinates::HalfPixel;
                let operation = Operation::Resize { coordinates, interpolation, axes: Vec::new() };
                let large = b.node(operation, &[x, region, scales]);
                let y = b.convolution(large, weight, 1);
                let y = b.function(function, y);
                vec![if residual { b.binary(BinaryOperation::Add, y, large) } else { y }]
            })
        };
        let comes_first = |layers: &[Layer]| matches!(layers, [Layer::Conv2d(_), Layer::Resize2d(_)]);
        let cubic = Interpolation::Cubic { coefficient: -0.75, exclude_outside: true };
        let (none, dense) = (Activation::None, [3, 4, 1, 1]);
        for interpolation in [Interpolation::Linear, Interpolation::Nearest(Nearest::Floor), cubic] {
            let enlarged = resized(2.0, dense, interpolation, none, false);
            assert!(comes_first(&enlarged), "{enlarged:?}");
        }
        // What is added to its result is added behind both.
        let summed = layers(|b, x| {
            let [large, other] = [x, b.function(Activation::Exp, x)].map(|small| {
                let (region, scales) = (b.constant(&[0]), vec![1.0, 1.0, 2.0, 2.0]);
                let scales = b.network.constant("scales", &[4], scales).unwrap();
                let (coordinates, interpolation) = (Coordinates::HalfPixel, Interpolation::Linear);
                let operation = Operation::Resize { coordinates, interpolation, axes: Vec::new() };
                b.node(operation, &[small, region, scales])
            });
            let y = b.convolution(large, [4, 4, 1, 1], 1);
            vec![b.binary(BinaryOperation::Add, y, other)]
        });
        let [.., Layer::Conv2d(convolution), _, Layer::Resize2d(resize)] = summed[..] else { panic!("{summed:?}") };
        assert_eq!((convolution.residual, resize.residual), (Residual::None, true));
        // Of a larger filter, with a function behind it, of fewer pixels, and where somebody else reads the planes.
        for (factor, weight, function, residual) in [
            (2.0, [3, 4, 3, 3], none, false),
            (2.0, dense, Activation::Relu, false),
            (0.5, dense, none, false),
            (2.0, [4, 4, 1, 1], none, true),
        ] {
            let others = resized(factor, weight, Interpolation::Linear, function, residual);
            assert!(!comes_first(&others), "{others:?}");
        }
    }

    #[test]
    fn two_layers_of_one_pixel_are_a_perceptron() {
        let excited = |hidden: u32, is_read: bool| {
            layers(|b, x| {
                let y = b.node(Operation::GlobalPool(Reduction::Mean), &[x]);
                let y = b.convolution(y, [hidden, 4, 1, 1], 1);
                let y = b.function(Activation::Relu, y);
                let z = b.convolution(y, [3, hidden, 1, 1], 1);
                let z = b.function(Activation::Sigmoid, z);
                if is_read { vec![z, y] } else { vec![z] }
            })
        };
        let [_, Layer::Perceptron(both)] = excited(2, false)[..] else { panic!("no perceptron") };
        assert_eq!((both.in_features, both.hidden_features, both.out_features), (4, 2, 3));
        assert_eq!((both.hidden_activation, both.activation), (Activation::Relu, Activation::Sigmoid));
        // Where somebody else reads what is between them, and where one workgroup would have too much to do.
        assert_eq!([excited(2, true), excited(1 << 13, false)].map(|layers| layers.len()), [3, 3]);
        // Of more than one pixel.
        let wide = layers(|b, x| {
            let y = b.convolution(x, [2, 4, 1, 1], 1);
            vec![b.convolution(y, [3, 2, 1, 1], 1)]
        });
        assert_eq!(wide.len(), 2);
    }

    #[test]
    fn depthwise_and_pointwise_become_separable() {
        let two = |is_read: bool, groups: u32| {
            layers(|b, x| {
                let y = b.convolution(x, [4, 4 / groups, 3, 3], groups);
                let y = b.function(Activation::Relu6, y);
                let z = b.convolution(y, [3, 4, 1, 1], 1);
                if is_read { vec![z, y] } else { vec![z] }
            })
        };
        assert!(matches!(two(false, 4)[..], [Layer::SeparableConv2d(_)]));
        assert_eq!([two(true, 4), two(false, 2)].map(|layers| layers.len()), [2, 2]);
    }

    #[test]
    fn joined_layers_write_where_they_are_joined() {
        let joined = |is_read: bool, reads_itself: bool| {
            layers(|b, x| {
                let y = b.convolution(x, [4, 4, 3, 3], 1);
                let z = b.convolution(if reads_itself { y } else { x }, [2, 4, 3, 3], 1);
                let joined = b.node(Operation::Concat { axis: 1 }, &[y, z]);
                if is_read { vec![joined, y] } else { vec![joined] }
            })
        };
        assert_eq!(joined(false, false).len(), 2);
        // What is an output by itself is copied; and no layer may read what it writes to.
        assert_eq!([joined(true, false), joined(false, true)].map(|layers| layers.len()), [3, 3]);
    }

    #[test]
    fn what_nobody_reads_goes() {
        let unread = layers(|b, x| {
            let y = b.convolution(x, [4, 4, 3, 3], 1);
            b.function(Activation::Exp, y);
            vec![b.function(Activation::Exp, x)]
        });
        assert_eq!(unread.len(), 1);
    }
}
