//! Fewer layers that compute the same: factors and functions are taken into the layer before them, functions that were
//! written out are recognised, sums become residuals, depthwise and pointwise layers one separable layer.
//!
//! Each rule looks at a layer and at the only one that reads it. They are tried again until none changes anything.

use std::sync::Arc;

use super::known::{Known, Place};
use super::resolve::{Resolved, ResolvedLayer, Source};
use crate::activation::Activation;
use crate::geometry::Geometry;
use crate::layer::Layer;
use crate::layers::binary::{Binary, BinaryOperation};
use crate::layers::unary::Unary;
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
    separable(resolved);
    join_in_place(resolved);
    remove_unread(resolved);
}

/// Applies the first rule that holds for a layer.
fn simplify_at(resolved: &mut Resolved, uses: &Uses, index: usize) -> bool {
    identity(resolved, uses, index)
        || written_out(resolved, uses, index)
        || multiple_of_itself(resolved, uses, index)
        || line_into_convolution(resolved, uses, index)
        || factor_into_convolution(resolved, uses, index)
        || function_into_layer(resolved, uses, index)
        || sum_into_convolution(resolved, uses, index)
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
    let function = |layer: &Layer| match layer {
        Layer::Unary(function) => function.activation,
        _ => Activation::None,
    };
    let finished = match (binary.activation, factor) {
        (Activation::None, 1.0) => None,
        (last, 1.0) => Some(last),
        (last, factor) => composed(Activation::Linear(factor, 0.0), last),
    };
    if let Some(last) = finished {
        // What is left comes behind it, as a function of its own.
        let length = layer.output.length;
        let (name, output) = (layer.name.clone(), layer.output);
        debug_assert_ne!(function(&layer.layer), Activation::None);
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
        && !geometry.residual
}

/// x + x · s is x · (s + 1). Where s is one number for each channel, that saves a pass over the planes.
fn multiple_of_itself(resolved: &mut Resolved, uses: &Uses, index: usize) -> bool {
    let Layer::Binary(sum) = resolved.layers[index].layer else { return false };
    if sum.operation != BinaryOperation::Add || sum.varies.concat().contains(&false) {
        return false;
    }
    for side in [0, 1] {
        let [product, x] = [side, 1 - side].map(|side| resolved.layers[index].sources[side].clone());
        let Some(writer) = uses.own_writer(resolved, &product) else { continue };
        let Layer::Binary(binary) = resolved.layers[writer].layer else { continue };
        let is_product = binary.operation == BinaryOperation::Mul && binary.activation == Activation::None;
        let Some(own) = (0..2).find(|&own| resolved.layers[writer].sources[own] == x) else { continue };
        let factor = resolved.layers[writer].sources[1 - own].clone();
        let Source::Place(place) = factor else { continue };
        if !is_product || !binary.varies[1 - own].contains(&false) {
            continue;
        }
        let count = u32::try_from(place.length).expect("no longer than the product");
        let storage = resolved.storages.len();
        resolved.storages.push(super::resolve::Storage { length: place.length, is_input: false });
        let raised = Place { storage, start: 0, length: place.length };
        let name = resolved.layers[index].name.clone();
        let more = Layer::Unary(Unary { shape: [1, 1, 1, count], activation: Activation::Linear(1.0, 1.0) });
        let output = resolved.layers[index].output;
        let layer = &mut resolved.layers[writer];
        (layer.output, layer.sources[1 - own]) = (output, Source::Place(raised));
        layer.layer = Layer::Binary(Binary { activation: sum.activation, ..binary });
        resolved.layers.remove(index);
        resolved.layers.insert(writer, ResolvedLayer { name, layer: more, sources: vec![factor], output: raised });
        return true;
    }
    false
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
            let is_plain = geometry.activation == Activation::None && !geometry.residual;
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

/// A sum of a convolution's result and a tensor of the same shape: the tensor becomes the convolution's residual.
fn sum_into_convolution(resolved: &mut Resolved, uses: &Uses, index: usize) -> bool {
    let Layer::Binary(binary) = resolved.layers[index].layer else { return false };
    if binary.operation != BinaryOperation::Add || binary.varies.concat().contains(&false) {
        return false;
    }
    let is_free = |writer: usize| match resolved.layers[writer].layer {
        Layer::Conv2d(geometry) => !geometry.residual && geometry.activation == Activation::None,
        _ => false,
    };
    let writers =
        [0, 1].map(|side| uses.own_writer(resolved, &resolved.layers[index].sources[side]).filter(|&w| is_free(w)));
    // The later of two, since its other operand is then there.
    let side = match writers {
        [Some(first), Some(second)] => usize::from(second > first),
        [Some(_), None] => 0,
        [None, Some(_)] => 1,
        [None, None] => return false,
    };
    let Some(writer) = writers[side] else { return false };
    let residual = resolved.layers[index].sources[1 - side].clone();
    let Source::Place(_) = residual else { return false };
    let (name, output) = (resolved.layers[index].name.clone(), resolved.layers[index].output);
    let mut convolution = resolved.layers[writer].clone();
    let Layer::Conv2d(geometry) = &mut convolution.layer else { return false };
    if values(geometry.output_shape()) != output.length {
        return false;
    }
    (geometry.residual, geometry.activation) = (true, binary.activation);
    convolution.sources.insert(1, residual);
    convolution.output = output;
    // Where the sum was, all that it reads is there.
    debug_assert!(!name.is_empty() || writer < index);
    resolved.layers[index] = convolution;
    resolved.layers.remove(writer);
    true
}

/// A depthwise layer and the pointwise one that alone reads it become one separable layer.
fn separable(resolved: &mut Resolved) {
    let mut uses = Uses::new(resolved);
    let mut index = 0;
    while index < resolved.layers.len() {
        if pair(resolved, &uses, index) {
            uses = Uses::new(resolved);
        } else {
            index += 1;
        }
    }
}

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
    if pointwise.residual {
        sources.extend(own.next());
    }
    sources.extend(first.sources[1..].iter().cloned());
    sources.extend(own);
    second.sources = sources;
    resolved.layers.remove(writer);
    true
}

/// A layer whose result is only copied into a larger tensor writes it there.
fn join_in_place(resolved: &mut Resolved) {
    let mut uses = Uses::new(resolved);
    let mut index = 0;
    while index < resolved.layers.len() {
        if write_in_place(resolved, &uses, index) {
            uses = Uses::new(resolved);
        } else {
            index += 1;
        }
    }
}

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
