//! From a graph and the shapes of its inputs to layers whose sizes are known.
//!
//! What depends on nothing but constants and shapes is computed here, once, on the host: sizes and places that a file
//! computes from its inputs' shapes, and tensors made of weights alone. What only looks at a tensor in another shape, or at
//! one stretch of it, is a view and no layer.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "a tensor has few axes, and fewer than 2^31 values: both were checked"
)]
#![expect(clippy::float_cmp, reason = "a file says 1 where it means that nothing is scaled")]

use std::sync::Arc;

use super::graph::{Constant, Graph, Node, TensorKind};
use super::known::{Known, Place, View};
use super::operation::Operation;
use super::shape::{RANK, axis, broadcast, checked_count, count, size, with_rank};
use super::{movement, numbers};
use crate::activation::Activation;
use crate::conv::Conv2d;
use crate::geometry::Geometry;
use crate::layer::Layer;
use crate::layers::binary::{Binary, BinaryOperation};
use crate::layers::matmul::MatMul;
use crate::layers::normalise::Normalise;
use crate::layers::rearrange::Rearrange;
use crate::layers::reduce::{Reduce, Reduction};
use crate::layers::resize::{Coordinates, Interpolation, Resize2d};
use crate::layers::softmax::Softmax;
use crate::layers::transposed::ConvTranspose2d;
use crate::layers::unary::Unary;
use crate::rounding::Rounding;
use crate::size::{Padding, PaddingMode, Sides, Size, values};

/// Layers in the order in which they run, and where their tensors lie.
#[derive(Debug, Clone, Default)]
pub(crate) struct Resolved {
    /// The tensors that are neither constants nor views.
    pub storages: Vec<Storage>,
    pub layers: Vec<ResolvedLayer>,
    /// Name, shape and place of each input.
    pub inputs: Vec<(String, View)>,
    /// Name of each output, and what it is.
    pub outputs: Vec<(String, Known)>,
}

/// A tensor that a layer writes, or the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Storage {
    /// How many values it has.
    pub length: u64,
    /// Whether it is an input.
    pub is_input: bool,
}

/// A layer and its tensors.
#[derive(Debug, Clone)]
pub(crate) struct ResolvedLayer {
    /// The name of the node that it began as.
    pub name: String,
    pub layer: Layer,
    /// All that the layer is given, in its order.
    pub sources: Vec<Source>,
    pub output: Place,
}

/// What a layer reads.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Source {
    Place(Place),
    Constant(Arc<[f32]>),
}

/// What a node's inputs may be told to be, in words.
type Result<T, E = String> = std::result::Result<T, E>;

/// Resolves a graph for these shapes of its inputs.
///
/// # Errors
/// The node at which it fails, and why.
pub(crate) fn resolve(graph: &Graph, shapes: &[(String, Vec<u32>)]) -> Result<Resolved, (String, String)> {
    // What a file computes of its constants is a few times as large as they are, or small.
    let constants = graph.tensors.iter().filter_map(|tensor| match &tensor.kind {
        TensorKind::Constant(constant) => Some(count(&constant.shape)),
        _ => None,
    });
    let mut resolver = Resolver {
        rounding: graph.rounding,
        known: vec![None; graph.tensors.len()],
        resolved: Resolved::default(),
        values_left: constants.fold(4 * numbers::MOST, |sum, count| sum.saturating_add(8 * count)),
        work_left: MOST_WORK,
    };
    for (&tensor, (name, shape)) in graph.inputs.iter().zip(shapes) {
        let storage = resolver.storage(count(shape), true);
        let view = View { storage, start: 0, shape: shape.clone() };
        resolver.known[tensor] = Some(Known::View(view.clone()));
        resolver.resolved.inputs.push((name.clone(), view));
    }
    for (known, tensor) in resolver.known.iter_mut().zip(&graph.tensors) {
        if let TensorKind::Constant(constant) = &tensor.kind {
            *known = Some(Known::Constant(constant.clone()));
        }
    }
    for node in &graph.nodes {
        resolver.node(node).map_err(|reason| (node.name.clone(), reason))?;
    }
    for (name, tensor) in &graph.outputs {
        let known = resolver.known[*tensor].clone();
        let known = known.ok_or_else(|| (name.clone(), "no node makes this output".to_owned()))?;
        if matches!(&known, Known::Constant(constant) if constant.as_integers().is_some()) {
            return Err((name.clone(), "this output is whole numbers, and no tensor".to_owned()));
        }
        if count(known.shape()) == 0 {
            return Err((name.clone(), format!("this output has shape {:?}, which has no values", known.shape())));
        }
        resolver.resolved.outputs.push((name.clone(), known));
    }
    Ok(resolver.resolved)
}

/// The most copies of which a tensor may be joined.
const MOST_PIECES: u64 = 1 << 16;

/// The most multiply-adds that are done to compute constants.
const MOST_WORK: u64 = 1 << 30;

struct Resolver {
    rounding: Rounding,
    known: Vec<Option<Known>>,
    resolved: Resolved,
    /// How many values of constants may still be computed.
    values_left: u64,
    /// How many multiply-adds that may still take.
    work_left: u64,
}

/// A node while it is resolved.
struct Operands<'a> {
    node: &'a Node,
    known: Vec<Option<Known>>,
}

impl Operands<'_> {
    fn get(&self, index: usize) -> Option<&Known> {
        self.known.get(index)?.as_ref()
    }

    fn need(&self, index: usize) -> Result<&Known> {
        self.get(index).ok_or_else(|| format!("input {index} is missing"))
    }

    /// The axes that an attribute or, in newer files, an input gives.
    fn axes(&self, attribute: &[i64], index: usize) -> Result<Vec<i64>> {
        match self.get(index) {
            Some(known) => known.integers("axes"),
            None => Ok(attribute.to_vec()),
        }
    }
}

/// Batch, channels, height and width of a tensor of images, or of rows, which are images of height 1.
fn images(shape: &[u32]) -> Result<[u32; 4]> {
    match *shape {
        [batch, channels, height, width] => Ok([batch, channels, height, width]),
        [batch, channels, width] => Ok([batch, channels, 1, width]),
        _ => Err(format!("the input has shape {shape:?}; it must have a batch, channels and one or two axes more")),
    }
}

/// The shape of a result of images, for an input of this rank.
fn of_rank([batch, channels, height, width]: [u32; 4], rank: usize) -> Vec<u32> {
    if rank == 3 { vec![batch, channels, width] } else { vec![batch, channels, height, width] }
}

#[expect(clippy::needless_pass_by_value, reason = "what map_err takes")]
fn words(error: crate::error::Error) -> String {
    error.to_string()
}

/// Sizes before an axis, along it and behind it.
fn around(shape: &[u32], axis: usize) -> Result<[u32; 3]> {
    let product = |sizes: &[u32]| u32::try_from(count(sizes)).map_err(|_| format!("{shape:?} is too large"));
    Ok([product(&shape[..axis])?, shape[axis], product(&shape[axis + 1..])?])
}

impl Resolver {
    fn storage(&mut self, length: u64, is_input: bool) -> usize {
        self.resolved.storages.push(Storage { length, is_input });
        self.resolved.storages.len() - 1
    }

    fn node(&mut self, node: &Node) -> Result<()> {
        let known = node.inputs.iter().map(|input| input.map(|tensor| self.known[tensor].clone()));
        let known = known.map(|input| match input {
            Some(None) => Err("an input is made by no node before it".to_owned()),
            Some(known) => Ok(known),
            None => Ok(None),
        });
        let operands = Operands { node, known: known.collect::<Result<_>>()? };
        let outputs = self.outputs(&operands)?;
        for output in &outputs {
            check_size(output.shape())?;
            let Known::Constant(constant) = output else { continue };
            let is_given = |known: &Known| matches!(known, Known::Constant(given) if given.is_same_data(constant));
            if !operands.known.iter().flatten().any(is_given) {
                let left = self.values_left.checked_sub(count(&constant.shape));
                self.values_left = left.ok_or("the constants that the network computes are too large")?;
            }
        }
        if outputs.len() < node.outputs.len() {
            return Err(format!("{} outputs are wanted of {}", node.outputs.len(), outputs.len()));
        }
        for (&tensor, known) in node.outputs.iter().zip(outputs) {
            self.known[tensor] = Some(known);
        }
        Ok(())
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each operation")]
    fn outputs(&mut self, operands: &Operands<'_>) -> Result<Vec<Known>> {
        let x = operands.need(0)?;
        let one = |known| Ok(vec![known]);
        match &operands.node.operation {
            Operation::Conv2d { .. } => one(self.conv2d(operands)?),
            Operation::ConvTranspose2d { .. } => one(self.conv_transpose2d(operands)?),
            Operation::Pool2d { .. } => one(self.pool2d(operands)?),
            Operation::Reduce { .. } => one(self.reduce(operands)?),
            Operation::GlobalPool(reduction) => {
                let axes: Vec<usize> = (2..x.shape().len()).collect();
                one(self.reduce_axes(&operands.node.name, *reduction, x.clone(), &axes, true)?)
            }
            Operation::Function(activation) => one(self.function(&operands.node.name, *activation, x.clone())?),
            Operation::Clip => one(self.clip(operands)?),
            Operation::Binary(operation) => {
                let b = operands.need(1)?;
                one(self.binary(&operands.node.name, *operation, x.clone(), b.clone())?)
            }
            Operation::Many(operation) => {
                let mut sum = x.clone();
                for index in 1..operands.known.len() {
                    sum = self.binary(&operands.node.name, *operation, sum, operands.need(index)?.clone())?;
                }
                one(sum)
            }
            Operation::MatMul => one(self.matmul(operands)?),
            Operation::Gemm { .. } => one(self.gemm(operands)?),
            Operation::BatchNorm { epsilon } => one(self.batch_norm(operands, *epsilon)?),
            Operation::InstanceNorm { .. } | Operation::GroupNorm { .. } | Operation::LayerNorm { .. } => {
                one(self.normalise(operands)?)
            }
            Operation::Softmax { axis: at, is_flat, is_log } => {
                let at = axis(*at, x.shape().len())?;
                let [outer, length, inner] = around(x.shape(), at)?;
                let sizes = if *is_flat {
                    [outer, length.checked_mul(inner).ok_or("the input is too large")?, 1]
                } else {
                    [outer, length, inner]
                };
                let layer = Softmax::new(sizes, *is_log).map_err(words)?;
                one(self.emit(&operands.node.name, layer.into(), vec![x.clone()], x.shape().to_vec())?)
            }
            Operation::Resize { .. } => one(self.resize(operands)?),
            Operation::Concat { axis: at } => one(self.concat(operands, *at)?),
            Operation::Split { axis: at, sizes } => self.split(operands, *at, sizes),
            Operation::Slice => one(self.slice(operands)?),
            Operation::Pad(mode) => one(self.pad(operands, *mode)?),
            Operation::Reshape { zero_is_zero } => {
                let shape = movement::reshape(x.shape(), &operands.need(1)?.integers("shape")?, *zero_is_zero)?;
                one(x.reshaped(shape))
            }
            Operation::Transpose { order } => {
                let (rearrange, shape) = movement::transpose(x.shape(), order)?;
                one(self.moved(&operands.node.name, x, rearrange, shape)?)
            }
            Operation::Flatten { axis: at } => {
                let rank = x.shape().len();
                let at = if *at == rank as i64 { rank } else { axis(*at, rank.max(1))? };
                let product = |sizes: &[u32]| u32::try_from(count(sizes)).map_err(|_| "the input is too large");
                one(x.reshaped(vec![product(&x.shape()[..at])?, product(&x.shape()[at..])?]))
            }
            Operation::Squeeze { axes } => one(x.reshaped(movement::squeeze(x.shape(), &operands.axes(axes, 1)?)?)),
            Operation::Unsqueeze { axes } => one(x.reshaped(movement::unsqueeze(x.shape(), &operands.axes(axes, 1)?)?)),
            Operation::Expand => {
                let wanted = operands.need(1)?.integers("shape")?;
                let wanted = wanted.into_iter().map(size).collect::<Result<Vec<_>>>()?;
                let shape = broadcast(x.shape(), &wanted)?;
                let (rearrange, shape) = movement::expand(x.shape(), &shape)?;
                one(self.moved(&operands.node.name, x, rearrange, shape)?)
            }
            Operation::Tile => {
                let (rearrange, shape) = movement::tile(x.shape(), &operands.need(1)?.integers("repeats")?)?;
                one(self.moved(&operands.node.name, x, rearrange, shape)?)
            }
            Operation::DepthToSpace { block, is_column_row } => {
                let (rearrange, shape) = movement::depth_to_space(x.shape(), *block, *is_column_row)?;
                one(self.moved(&operands.node.name, x, rearrange, shape)?)
            }
            Operation::SpaceToDepth { block, is_column_row } => {
                let (rearrange, shape) = movement::space_to_depth(x.shape(), *block, *is_column_row)?;
                one(self.moved(&operands.node.name, x, rearrange, shape)?)
            }
            Operation::Gather { axis: at } => one(self.gather(operands, *at)?),
            Operation::Identity => one(x.clone()),
            Operation::Shape { start, end } => {
                let rank = x.shape().len() as i64;
                let place = |at: i64| usize::try_from(if at < 0 { at + rank } else { at }.clamp(0, rank)).unwrap_or(0);
                let (start, end) = (place(*start), place(end.unwrap_or(rank)));
                let sizes: Vec<i64> = x.shape()[start..end.max(start)].iter().map(|&size| size.into()).collect();
                one(Known::Constant(Constant::integers(&[sizes.len() as u32], sizes)))
            }
            Operation::Cast { to_integers } => one(numbers::cast(x, *to_integers)?),
            Operation::ConstantOfShape { value, is_integer } => {
                let shape = x.integers("shape")?.into_iter().map(size).collect::<Result<Vec<_>>>()?;
                one(Known::Constant(numbers::filled(&shape, *value, *is_integer)?))
            }
            Operation::Range => {
                let [start, limit, step] =
                    [0, 1, 2].map(|index| operands.need(index).and_then(|x| x.integers("range")));
                one(Known::Constant(numbers::range(&start?, &limit?, &step?)?))
            }
            Operation::Where => {
                let [a, b, c] = [0, 1, 2].map(|index| operands.need(index).and_then(|x| x.constant("the condition")));
                one(Known::Constant(numbers::choose(a?, b?, c?)?))
            }
            Operation::Equal => {
                let [a, b] = [0, 1].map(|index| operands.need(index).and_then(|x| x.constant("an operand")));
                one(Known::Constant(numbers::equal(a?, b?)?))
            }
        }
    }

    /// Adds a layer, or computes it now if it reads constants alone.
    #[expect(clippy::needless_pass_by_value, reason = "what is given was made for this")]
    fn emit(&mut self, name: &str, layer: Layer, given: Vec<Known>, shape: Vec<u32>) -> Result<Known> {
        if let Some(constants) = given.iter().map(|known| known.floats("").ok()).collect::<Option<Vec<_>>>() {
            check_given(&layer, constants.iter().map(|values| values.len() as u64))?;
            let largest = constants.iter().map(|values| values.len() as u64).max().unwrap_or(0);
            let left = self.work_left.checked_sub(layer.multiply_adds());
            if count(&shape) > largest.max(numbers::MOST) || left.is_none() {
                return Err("a constant that the network computes is too large".to_owned());
            }
            self.work_left = left.unwrap_or(0);
            let slices: Vec<&[f32]> = constants.iter().map(|values| &values[..]).collect();
            #[expect(clippy::cast_possible_truncation, reason = "a tensor holds f32 values")]
            let values: Vec<f32> =
                layer.describe().reference(&slices).values.into_iter().map(|value| value as f32).collect();
            return Ok(Known::Constant(Constant::floats(&shape, values)));
        }
        let source = |known: &Known| match known {
            Known::View(view) => Ok(Source::Place(view.place())),
            Known::Constant(_) => Ok(Source::Constant(known.floats("an input")?)),
        };
        let sources = given.iter().map(source).collect::<Result<Vec<_>>>()?;
        check_given(&layer, given.iter().map(|known| count(known.shape())))?;
        let length = count(&shape);
        let storage = self.storage(length, false);
        let output = Place { storage, start: 0, length };
        self.resolved.layers.push(ResolvedLayer { name: name.to_owned(), layer, sources, output });
        Ok(Known::View(View { storage, start: 0, shape }))
    }

    /// The values in another order: a constant, a view, or a layer.
    fn moved(&mut self, name: &str, x: &Known, rearrange: Rearrange, shape: Vec<u32>) -> Result<Known> {
        match x {
            Known::Constant(constant) => {
                if count(&shape) > count(&constant.shape).max(numbers::MOST) {
                    return Err(format!("a constant would have shape {shape:?}, which is too large"));
                }
                Ok(Known::Constant(constant.pick(shape, movement::places(&rearrange), rearrange.value)))
            }
            Known::View(view) => match movement::as_stretch(&rearrange) {
                Some(start) => Ok(Known::View(View { start: view.start + start, shape, ..view.clone() })),
                None => self.emit(name, rearrange.into(), vec![x.clone()], shape),
            },
        }
    }

    fn function(&mut self, name: &str, activation: Activation, x: Known) -> Result<Known> {
        let shape = x.shape().to_vec();
        let layer = Unary::new(flat(&shape)?, activation).map_err(words)?;
        self.emit(name, layer.into(), vec![x], shape)
    }

    fn clip(&mut self, operands: &Operands<'_>) -> Result<Known> {
        let limit = |index, default: f32| match operands.get(index) {
            Some(known) => {
                let values = known.floats("a limit")?;
                values
                    .first()
                    .copied()
                    .filter(|_| values.len() == 1)
                    .ok_or_else(|| "a limit must be one number".to_owned())
            }
            None => Ok(default),
        };
        let (low, high) = (limit(1, f32::NEG_INFINITY)?, limit(2, f32::INFINITY)?);
        // A least above the largest gives the largest.
        self.function(&operands.node.name, Activation::Clamp(low.min(high), high), operands.need(0)?.clone())
    }

    fn conv2d(&mut self, operands: &Operands<'_>) -> Result<Known> {
        let Operation::Conv2d { stride, padding, dilation, groups } = operands.node.operation else { unreachable!() };
        let (x, weight) = (operands.need(0)?, operands.need(1)?);
        let rank = x.shape().len();
        let [out_channels, _, height, width] = images(weight.shape())?;
        let [_, in_channels, ..] = images(x.shape())?;
        let layer =
            Conv2d::new(in_channels, out_channels, [height, width]).groups(groups).bias(operands.get(2).is_some());
        let layer = layer.stride(stride).padding(padding).dilation(dilation).rounding(self.rounding);
        let geometry = layer.geometry(images(x.shape())?).map_err(words)?;
        if count(weight.shape()) != count(&geometry.weight_shape()) {
            return Err(format!("the weight has shape {:?}; it must be {:?}", weight.shape(), geometry.weight_shape()));
        }
        let shape = of_rank(geometry.output_shape(), rank);
        let mut given = vec![x.clone(), known_constant(weight, "the weight")?];
        if let Some(bias) = operands.get(2) {
            given.push(sized(bias, out_channels, "the bias")?);
        }
        self.emit(&operands.node.name, geometry.into(), given, shape)
    }

    fn conv_transpose2d(&mut self, operands: &Operands<'_>) -> Result<Known> {
        let Operation::ConvTranspose2d { stride, padding, output_padding, output_size, dilation, groups } =
            operands.node.operation
        else {
            unreachable!()
        };
        let (x, weight) = (operands.need(0)?, operands.need(1)?);
        let rank = x.shape().len();
        let [in_channels, per_group, height, width] = images(weight.shape())?;
        let input = images(x.shape())?;
        if input[1] != in_channels {
            return Err(format!("the input has {} channels; the weight takes {in_channels}", input[1]));
        }
        let out_channels = per_group.checked_mul(groups).ok_or("too many output channels")?;
        let (sides, output_padding) =
            transposed_sides(input, [height, width].into(), stride, dilation, padding, output_padding, output_size)?;
        let layer = ConvTranspose2d::new(input, out_channels, [height, width]).map_err(words)?;
        let layer = layer.with(output_padding, |layer| {
            (layer.stride, layer.dilation, layer.groups) = (stride, dilation, groups);
            layer.padding = sides;
            layer.bias = operands.get(2).is_some();
        });
        let layer = layer.map_err(words)?;
        let shape = of_rank(Layer::from(layer).output_shape(), rank);
        let mut given = vec![x.clone(), known_constant(weight, "the weight")?];
        if let Some(bias) = operands.get(2) {
            given.push(sized(bias, out_channels, "the bias")?);
        }
        self.emit(&operands.node.name, layer.into(), given, shape)
    }

    fn pool2d(&mut self, operands: &Operands<'_>) -> Result<Known> {
        let x = operands.need(0)?;
        let rank = x.shape().len();
        let geometry = operands.node.operation.pool(images(x.shape())?).map_err(words)?;
        let shape = of_rank(geometry.output_shape(), rank);
        self.emit(&operands.node.name, geometry.into(), vec![x.clone()], shape)
    }

    fn reduce(&mut self, operands: &Operands<'_>) -> Result<Known> {
        let Operation::Reduce { reduction, axes, keep_axes, none_is_none, activation } = &operands.node.operation
        else {
            unreachable!()
        };
        let x = operands.need(0)?;
        let rank = x.shape().len();
        let axes = operands.axes(axes, 1)?;
        if axes.is_empty() && *none_is_none {
            return Ok(x.clone());
        }
        let mut places = axes.iter().map(|&at| axis(at, rank)).collect::<Result<Vec<_>>>()?;
        if places.is_empty() {
            places = (0..rank).collect();
        }
        places.sort_unstable();
        places.dedup();
        if let Known::Constant(constant) = x
            && let Some(integers) = constant.as_integers()
        {
            return numbers::reduce(*reduction, integers, x.shape(), &places, *keep_axes);
        }
        let reduced = self.reduce_axes(&operands.node.name, *reduction, x.clone(), &places, *keep_axes)?;
        if *activation == Activation::None {
            Ok(reduced)
        } else {
            self.function(&operands.node.name, *activation, reduced)
        }
    }

    /// Reduces along axes, in rising order: neighbouring ones at once.
    fn reduce_axes(&mut self, name: &str, reduction: Reduction, x: Known, axes: &[usize], keep: bool) -> Result<Known> {
        let mut reduced = x;
        let mut reduction = reduction;
        let mut rest = axes.to_vec();
        while let Some(&last) = rest.last() {
            let mut first = last;
            rest.pop();
            while rest.last().is_some_and(|&before| before + 1 == first) {
                first -= 1;
                rest.pop();
            }
            let shape = reduced.shape().to_vec();
            let flat = [
                &shape[..first],
                &[u32::try_from(count(&shape[first..=last])).map_err(|_| "too large")?],
                &shape[last + 1..],
            ];
            let sizes = around(&flat.concat(), first)?;
            let mut kept = shape.clone();
            kept[first..=last].fill(1);
            let layer = Reduce::new(reduction, sizes).map_err(words)?;
            reduced = self.emit(name, layer.into(), vec![reduced], kept)?;
            // Sums of squares or of absolute values are summed further as they are.
            if matches!(reduction, Reduction::SumOfSquares | Reduction::SumOfAbsolutes) {
                reduction = Reduction::Sum;
            }
        }
        if keep {
            return Ok(reduced);
        }
        let kept = reduced.shape().iter().enumerate().filter(|(at, _)| !axes.contains(at)).map(|(_, &size)| size);
        let shape = kept.collect();
        Ok(reduced.reshaped(shape))
    }

    pub(super) fn binary(&mut self, name: &str, operation: BinaryOperation, a: Known, b: Known) -> Result<Known> {
        // A power may be a whole number where the base is none.
        let is_whole = |known: &Known| matches!(known, Known::Constant(constant) if constant.as_integers().is_some());
        let b = if operation == BinaryOperation::Pow && !is_whole(&a) { numbers::cast(&b, false)? } else { b };
        if let (Known::Constant(first), Known::Constant(second)) = (&a, &b)
            && (first.as_integers().is_some() || second.as_integers().is_some())
        {
            return Ok(Known::Constant(numbers::binary(operation, first, second)?));
        }
        let shape = broadcast(a.shape(), b.shape())?;
        if let Some(activation) = numbers::as_function(operation, &a, &b) {
            // The constant may have more axes than the tensor.
            let x = if matches!(a, Known::Constant(_)) { b } else { a };
            return self.function(name, activation, x.reshaped(shape));
        }
        if let Some((scale, shift)) = numbers::as_scale(operation, &a, &b, &shape) {
            let x = if matches!(a, Known::Constant(_)) { b } else { a };
            return self.scale(name, x, scale, shift);
        }
        if operation == BinaryOperation::Pow
            && let Known::Constant(power) = &b
            && power.as_floats().is_some_and(|values| values[..] == [2.0])
        {
            return self.binary(name, BinaryOperation::Mul, a.clone(), a);
        }
        let rank = shape.len().max(1);
        let shapes = [&a, &b].map(|known| with_rank(known.shape(), rank));
        let layer = Binary::new(operation, [&shapes[0], &shapes[1]], Activation::None).map_err(words)?;
        self.emit(name, layer.into(), vec![a, b], shape)
    }

    /// Each channel times a number, plus another: a depthwise 1 × 1 convolution, which other convolutions can take in.
    fn scale(&mut self, name: &str, x: Known, scale: Vec<f32>, shift: Vec<f32>) -> Result<Known> {
        let shape = x.shape().to_vec();
        let [batch, channels, rest @ ..] = &shape[..] else { return Err("the input has no channels".to_owned()) };
        let area = u32::try_from(count(rest)).map_err(|_| "the input is too large")?;
        let has_shift = shift.iter().any(|&value| value != 0.0);
        let layer = Conv2d::new(*channels, *channels, 1).groups(*channels).bias(has_shift);
        let [height, width] = if let [height, width] = *rest { [height, width] } else { [1, area] };
        let geometry = layer.geometry([*batch, *channels, height, width]).map_err(words)?;
        let constant = |values| Known::Constant(Constant::floats(&[*channels], values));
        let mut given = vec![x, constant(scale)];
        if has_shift {
            given.push(constant(shift));
        }
        self.emit(name, geometry.into(), given, shape)
    }

    fn batch_norm(&mut self, operands: &Operands<'_>, epsilon: f32) -> Result<Known> {
        let x = operands.need(0)?;
        let channels = *x.shape().get(1).ok_or("the input has no channels")?;
        let [scale, bias, mean, variance] = [1, 2, 3, 4].map(|index| {
            operands
                .need(index)
                .and_then(|known| sized(known, channels, "a parameter"))
                .and_then(|known| known.floats("a parameter"))
        });
        let (scale, bias, mean, variance) = (scale?, bias?, mean?, variance?);
        let scales = scale
            .iter()
            .zip(variance.iter())
            .map(|(&scale, &variance)| f64::from(scale) / (f64::from(variance) + f64::from(epsilon)).sqrt());
        let scales: Vec<f64> = scales.collect();
        let shifts = bias
            .iter()
            .zip(mean.iter())
            .zip(&scales)
            .map(|((&bias, &mean), scale)| f64::from(bias) - f64::from(mean) * scale);
        #[expect(clippy::cast_possible_truncation, reason = "a tensor holds f32 values")]
        let narrow = |value: f64| value as f32;
        let shifts = shifts.map(narrow).collect();
        self.scale(&operands.node.name, x.clone(), scales.into_iter().map(narrow).collect(), shifts)
    }

    fn normalise(&mut self, operands: &Operands<'_>) -> Result<Known> {
        let x = operands.need(0)?;
        let shape = x.shape().to_vec();
        let planes = || -> Result<[u32; 4]> {
            let [batch, channels, rest @ ..] = &shape[..] else { return Err("the input has no channels".to_owned()) };
            Ok([*batch, *channels, 1, u32::try_from(count(rest)).map_err(|_| "the input is too large")?])
        };
        let layer = match operands.node.operation {
            Operation::InstanceNorm { epsilon } => Normalise::instance(planes()?, epsilon),
            Operation::GroupNorm { groups, epsilon } => Normalise::group(planes()?, groups, epsilon),
            Operation::LayerNorm { axis: at, epsilon } => {
                let at = axis(at, shape.len())?;
                let product =
                    |sizes: &[u32]| u32::try_from(count(sizes)).map_err(|_| "the input is too large".to_owned());
                Normalise::layer(product(&shape[..at])?, product(&shape[at..])?, epsilon)
            }
            _ => unreachable!(),
        };
        let layer = layer.map_err(words)?;
        let wanted = layer.periods * layer.groups;
        let scale = operands.need(1)?.clone();
        let scale = match (&operands.node.operation, count(scale.shape())) {
            // Before opset 21, one for each group.
            (Operation::GroupNorm { groups, .. }, length) if length == u64::from(*groups) && *groups != wanted => {
                repeated(&scale, wanted / groups)?
            }
            _ => sized(&scale, wanted, "the scale")?,
        };
        let bias = match operands.get(2) {
            Some(bias)
                if count(bias.shape()) != u64::from(wanted)
                    && matches!(operands.node.operation, Operation::GroupNorm { .. }) =>
            {
                repeated(bias, wanted / u32::try_from(count(bias.shape())).map_err(words_of)?.max(1))?
            }
            Some(bias) => sized(bias, wanted, "the bias")?,
            None => Known::Constant(Constant::floats(&[wanted], vec![0.0; wanted as usize])),
        };
        self.emit(&operands.node.name, layer.into(), vec![x.clone(), scale, bias], shape)
    }

    fn matmul(&mut self, operands: &Operands<'_>) -> Result<Known> {
        let (a, b) = (operands.need(0)?, operands.need(1)?);
        let (a_rank, b_rank) = (a.shape().len(), b.shape().len());
        if a_rank == 0 || b_rank == 0 {
            return Err("a number has no matrix product".to_owned());
        }
        // A vector in front is a row, one behind is a column.
        let a_shape = with_rank(a.shape(), 2);
        let b_shape = if b_rank == 1 { vec![b.shape()[0], 1] } else { b.shape().to_vec() };
        let (a_batch, a_matrix) = a_shape.split_at(a_shape.len() - 2);
        let (b_batch, b_matrix) = b_shape.split_at(b_shape.len() - 2);
        if a_matrix[1] != b_matrix[0] {
            return Err(format!("matrices {:?} and {:?} do not go together", a.shape(), b.shape()));
        }
        let batch = broadcast(a_batch, b_batch)?;
        let [rows, depth, columns] = [a_matrix[0], a_matrix[1], b_matrix[1]];
        let mut layer = MatMul::new([rows, depth, columns]).map_err(words)?;
        let product = |sizes: &[u32]| u32::try_from(count(sizes)).map_err(|_| "the batch is too large".to_owned());
        if b_batch.iter().all(|&size| size == 1) {
            // All rows of all of A are multiplied by one matrix.
            layer.rows = rows.checked_mul(product(a_batch)?).ok_or("too many rows")?;
        } else {
            let batches = [a_batch, b_batch].map(|sizes| with_rank(sizes, batch.len()));
            (layer.batch, layer.varies) = movement::batch_axes(&batch, [&batches[0], &batches[1]])?;
        }
        let mut shape = batch;
        shape.extend((a_rank > 1).then_some(rows));
        shape.extend((b_rank > 1).then_some(columns));
        Layer::from(layer).check().map_err(words)?;
        self.product(&operands.node.name, layer, a.clone(), b.clone(), None, shape)
    }

    fn gemm(&mut self, operands: &Operands<'_>) -> Result<Known> {
        let Operation::Gemm { alpha, beta, transposed } = operands.node.operation else { unreachable!() };
        let (a, b) = (operands.need(0)?, operands.need(1)?);
        let (&[a_rows, a_columns], &[b_rows, b_columns]) = (a.shape(), b.shape()) else {
            return Err(format!("shapes are {:?} and {:?}; both must have two axes", a.shape(), b.shape()));
        };
        let [rows, depth] = if transposed[0] { [a_columns, a_rows] } else { [a_rows, a_columns] };
        let [b_depth, columns] = if transposed[1] { [b_columns, b_rows] } else { [b_rows, b_columns] };
        if depth != b_depth {
            return Err(format!("matrices {:?} and {:?} do not go together", a.shape(), b.shape()));
        }
        let mut layer = MatMul::new([rows, depth, columns]).map_err(words)?;
        layer.transposed = transposed;
        let shape = vec![rows, columns];
        let bias = match operands.get(2) {
            Some(known)
                if count(known.shape()) == u64::from(columns)
                    && known.shape().last() == Some(&columns)
                    && alpha == 1.0
                    && beta == 1.0 =>
            {
                known.floats("").ok()
            }
            _ => None,
        };
        let is_added = bias.is_some();
        let mut product = self.product(&operands.node.name, layer, a.clone(), b.clone(), bias, shape)?;
        if alpha != 1.0 {
            product = self.function(&operands.node.name, Activation::Linear(alpha, 0.0), product)?;
        }
        match operands.get(2) {
            Some(known) if !is_added => {
                let scaled = if beta == 1.0 {
                    known.clone()
                } else {
                    self.function(&operands.node.name, Activation::Linear(beta, 0.0), known.clone())?
                };
                self.binary(&operands.node.name, BinaryOperation::Add, product, scaled)
            }
            _ => Ok(product),
        }
    }

    /// A product of matrices. A constant one behind, and few rows in front, are a fully connected layer: a 1 × 1
    /// convolution of images of one pixel.
    fn product(
        &mut self,
        name: &str,
        mut layer: MatMul,
        a: Known,
        b: Known,
        bias: Option<Arc<[f32]>>,
        shape: Vec<u32>,
    ) -> Result<Known> {
        const FEW_ROWS: u32 = 8;
        layer.bias = bias.is_some();
        let [rows, depth, columns] = [layer.rows, layer.depth, layer.columns];
        let bias = bias.map(|values| Known::Constant(Constant::floats(&[columns], values)));
        if layer.batch == [1, 1]
            && !layer.transposed[0]
            && rows <= FEW_ROWS
            && matches!(a, Known::View(_))
            && matches!(b, Known::Constant(_))
        {
            let weight = if layer.transposed[1] {
                b
            } else {
                let (transposed, shape) = movement::transpose(&[depth, columns], &[1, 0])?;
                let Known::Constant(matrix) = &b else { unreachable!() };
                Known::Constant(matrix.pick(shape, movement::places(&transposed), 0.0))
            };
            let connected = Conv2d::new(depth, columns, 1).bias(bias.is_some());
            let geometry: Geometry = connected.geometry([rows, depth, 1, 1]).map_err(words)?;
            return self.emit(
                name,
                geometry.into(),
                [Some(a), Some(weight), bias].into_iter().flatten().collect(),
                shape,
            );
        }
        self.emit(name, layer.into(), [Some(a), Some(b), bias].into_iter().flatten().collect(), shape)
    }

    fn resize(&mut self, operands: &Operands<'_>) -> Result<Known> {
        let Operation::Resize { coordinates, interpolation, axes } = &operands.node.operation else { unreachable!() };
        let x = operands.need(0)?;
        let rank = x.shape().len();
        let axes = if axes.is_empty() {
            (0..rank).collect()
        } else {
            axes.iter().map(|&at| axis(at, rank)).collect::<Result<Vec<_>>>()?
        };
        let present = |index: usize| operands.get(index).filter(|known| count(known.shape()) > 0);
        let mut output = x.shape().to_vec();
        let mut scales = vec![None; rank];
        if let Some(sizes) = present(3) {
            let sizes = sizes.integers("sizes")?;
            check_length("sizes", sizes.len(), axes.len())?;
            for (&at, &wanted) in axes.iter().zip(&sizes) {
                output[at] = size(wanted)?;
            }
        } else {
            let given = present(2).ok_or("neither scales nor sizes are given")?.floats("scales")?;
            check_length("scales", given.len(), axes.len())?;
            for (&at, &scale) in axes.iter().zip(given.iter()) {
                if !(scale.is_finite() && scale > 0.0) {
                    return Err(format!("a scale is {scale}; it must be a number above 0"));
                }
                let wanted = (f64::from(output[at]) * f64::from(scale)).floor();
                if !(1.0..=f64::from(i32::MAX)).contains(&wanted) {
                    return Err(format!("a scale is {scale}, which makes a size of {wanted}"));
                }
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 1 to 2^31")]
                let wanted = wanted as u32;
                (output[at], scales[at]) = (wanted, Some(scale));
            }
        }
        let changed: Vec<usize> = (0..rank).filter(|&at| output[at] != x.shape()[at]).collect();
        if changed.is_empty() && matches!(interpolation, Interpolation::Nearest(_)) {
            return Ok(x.clone());
        }
        let spatial = rank.saturating_sub(2);
        if rank < 3 || changed.iter().any(|&at| at < spatial) {
            return Err(format!("{:?} becomes {output:?}; only the last two axes may change", x.shape()));
        }
        let plane = |shape: &[u32]| Size { height: shape[rank - 2], width: shape[rank - 1] };
        // A tensor of rows: their channels are no axis to resize.
        let planes = u32::try_from(count(&x.shape()[..spatial])).map_err(|_| "the input is too large")?;
        let mut layer =
            Resize2d::new(planes, plane(x.shape()), plane(&output), *coordinates, *interpolation).map_err(words)?;
        for (index, at) in [rank - 2, rank - 1].into_iter().enumerate() {
            if let Some(scale) = scales[at] {
                layer.scale[index] = scale;
            }
        }
        if *coordinates == Coordinates::AlignCorners {
            // Its line follows from the sizes.
            layer.scale = Resize2d::new(planes, plane(x.shape()), plane(&output), *coordinates, *interpolation)
                .map_err(words)?
                .scale;
        }
        self.emit(&operands.node.name, layer.into(), vec![x.clone()], output)
    }

    fn concat(&mut self, operands: &Operands<'_>, at: i64) -> Result<Known> {
        let parts: Vec<Known> = operands.known.iter().flatten().cloned().collect();
        let rank = parts[0].shape().len();
        let at = axis(at, rank)?;
        let mut shape = parts[0].shape().to_vec();
        shape[at] = 0;
        for part in &parts {
            let mut same = part.shape().to_vec();
            if same.len() != rank {
                return Err(format!("parts have {rank} and {} axes", same.len()));
            }
            let along = std::mem::replace(&mut same[at], 0);
            let mut whole = shape.clone();
            whole[at] = 0;
            if same != whole {
                return Err(format!(
                    "parts have shapes {:?} and {:?}, which differ in another axis than {at}",
                    parts[0].shape(),
                    part.shape()
                ));
            }
            shape[at] = shape[at].checked_add(along).ok_or("the result is too large")?;
        }
        check_size(&shape)?;
        let constants: Option<Vec<&Constant>> = parts.iter().map(|part| part.constant("").ok()).collect();
        if let Some(constants) = constants {
            return Ok(Known::Constant(numbers::join(&constants, &shape, at)?));
        }
        let parts: Vec<Known> = parts.into_iter().filter(|part| count(part.shape()) > 0).collect();
        if let [part] = &parts[..] {
            return Ok(part.clone());
        }
        let length = count(&shape);
        let outer = count(&shape[..at]);
        let inner = count(&shape[at + 1..]);
        // Each is a layer of its own.
        if outer.saturating_mul(parts.len() as u64) > MOST_PIECES {
            return Err(format!(
                "it joins {} parts in {outer} places; together, {MOST_PIECES} are possible",
                parts.len()
            ));
        }
        let storage = self.storage(length, false);
        let mut start = 0;
        for part in &parts {
            let along = u64::from(part.shape()[at]) * inner;
            for block in 0..outer {
                let run = u32::try_from(along).map_err(|_| "a part is too large")?;
                let source = match part {
                    Known::View(view) => {
                        Source::Place(Place { storage: view.storage, start: view.start + block * along, length: along })
                    }
                    Known::Constant(_) => {
                        Source::Constant(part.floats("a part")?[(block * along) as usize..][..run as usize].into())
                    }
                };
                let copy = movement::copy(run)?;
                let output = Place { storage, start: block * u64::from(shape[at]) * inner + start, length: along };
                let name = operands.node.name.clone();
                self.resolved.layers.push(ResolvedLayer { name, layer: copy.into(), sources: vec![source], output });
            }
            start += along;
        }
        Ok(Known::View(View { storage, start: 0, shape }))
    }

    fn split(&mut self, operands: &Operands<'_>, at: i64, sizes: &[i64]) -> Result<Vec<Known>> {
        let x = operands.need(0)?;
        let at = axis(at, x.shape().len())?;
        let mut sizes = match operands.get(1) {
            Some(known) => known.integers("sizes")?,
            None => sizes.to_vec(),
        };
        let whole = i64::from(x.shape()[at]);
        if sizes.is_empty() {
            let parts = operands.node.outputs.len().max(1) as i64;
            let each = (whole + parts - 1) / parts;
            sizes = (0..parts).map(|part| each.min(whole - part * each).max(0)).collect();
        }
        let sum = sizes.iter().try_fold(0_i64, |sum, &size| sum.checked_add(size));
        if sum != Some(whole) || sizes.iter().any(|&size| size < 0) {
            return Err(format!("sizes are {sizes:?}; they must add up to {whole}"));
        }
        let mut start = 0;
        let mut parts = Vec::new();
        for along in sizes {
            let cut = [(at, start, 1, size(along)?)];
            if along == 0 {
                parts.push(without_values(x, &cut));
                continue;
            }
            let (rearrange, shape) = movement::slice(x.shape(), &cut)?;
            parts.push(self.moved(&operands.node.name, x, rearrange, shape)?);
            start += along;
        }
        Ok(parts)
    }

    fn slice(&mut self, operands: &Operands<'_>) -> Result<Known> {
        let x = operands.need(0)?;
        let list = |index: usize| operands.get(index).map(|known| known.integers("places")).transpose();
        let (starts, ends) = (list(1)?.ok_or("starts are missing")?, list(2)?.ok_or("ends are missing")?);
        let cuts = movement::cuts(x.shape(), &starts, &ends, list(3)?, list(4)?)?;
        if cuts.iter().any(|&(.., length)| length == 0) {
            return Ok(without_values(x, &cuts));
        }
        let (rearrange, shape) = movement::slice(x.shape(), &cuts)?;
        self.moved(&operands.node.name, x, rearrange, shape)
    }

    fn pad(&mut self, operands: &Operands<'_>, mode: PaddingMode) -> Result<Known> {
        let x = operands.need(0)?;
        let pads = operands.need(1)?.integers("pads")?;
        let value = match operands.get(2) {
            Some(known) => known.floats("the value")?.first().copied().unwrap_or(0.0),
            None => 0.0,
        };
        let axes = operands.get(3).map(|known| known.integers("axes")).transpose()?;
        let (rearrange, shape) = movement::pad(x.shape(), &pads, axes, mode, value)?;
        self.moved(&operands.node.name, x, rearrange, shape)
    }

    fn gather(&mut self, operands: &Operands<'_>, at: i64) -> Result<Known> {
        let (x, places) = (operands.need(0)?, operands.need(1)?);
        let at = axis(at, x.shape().len())?;
        let size_there = i64::from(x.shape()[at]);
        let indices = places.integers("places")?;
        let indices = indices.into_iter().map(|index| {
            let counted = if index < 0 { index + size_there } else { index };
            if (0..size_there).contains(&counted) {
                Ok(counted)
            } else {
                Err(format!("place {index} is past {size_there}"))
            }
        });
        let indices = indices.collect::<Result<Vec<_>>>()?;
        let shape = [&x.shape()[..at], places.shape(), &x.shape()[at + 1..]].concat();
        if let Known::Constant(constant) = x {
            return Ok(Known::Constant(numbers::gather(constant, at, &indices, shape)?));
        }
        let step = indices.windows(2).map(|pair| pair[1] - pair[0]).next().unwrap_or(1);
        if indices.is_empty() || indices.windows(2).any(|pair| pair[1] - pair[0] != step) {
            return Err("places are not evenly apart".to_owned());
        }
        let (rearrange, _) = movement::slice(x.shape(), &[(at, indices[0], step, size(indices.len() as i64)?)])?;
        self.moved(&operands.node.name, x, rearrange, shape)
    }
}

/// What is left of a tensor by cuts of which one leaves nothing.
fn without_values(x: &Known, cuts: &[(usize, i64, i64, u32)]) -> Known {
    let mut shape = x.shape().to_vec();
    for &(at, _, _, length) in cuts {
        shape[at] = length;
    }
    let is_whole = matches!(x, Known::Constant(constant) if constant.as_integers().is_some());
    Known::Constant(if is_whole { Constant::integers(&shape, []) } else { Constant::floats(&shape, []) })
}

fn words_of(_: std::num::TryFromIntError) -> String {
    "the input is too large".to_owned()
}

/// Refuses a tensor whose values a shader could not number, or with more axes than anybody needs.
fn check_size(shape: &[u32]) -> Result<()> {
    if shape.len() > RANK {
        return Err(format!("a tensor would have {} axes; at most {RANK} are possible", shape.len()));
    }
    checked_count(shape).map(|_| ()).ok_or_else(|| format!("a tensor would have shape {shape:?}, which is too large"))
}

/// Refuses tensors of other lengths than a layer takes.
fn check_given(layer: &Layer, lengths: impl ExactSizeIterator<Item = u64>) -> Result<()> {
    let wanted: Vec<u64> = layer.describe().given().iter().map(|given| values(given.shape)).collect();
    if wanted.iter().copied().eq(lengths) {
        return Ok(());
    }
    Err(format!("tensors have other sizes than the layer takes, which are {wanted:?} values"))
}

fn check_length(what: &str, length: usize, expected: usize) -> Result<()> {
    if length == expected { Ok(()) } else { Err(format!("{what} has {length} values; it must have {expected}")) }
}

/// A tensor seen as a row of images of one value.
fn flat(shape: &[u32]) -> Result<[u32; 4]> {
    let length = u32::try_from(count(shape)).map_err(|_| format!("{shape:?} is too large"))?;
    Ok([1, 1, 1, length])
}

fn known_constant(known: &Known, what: &str) -> Result<Known> {
    known.floats(what)?;
    Ok(known.clone())
}

/// A constant of so many values.
fn sized(known: &Known, length: u32, what: &str) -> Result<Known> {
    let values = known.floats(what)?;
    check_length(what, values.len(), length as usize)?;
    Ok(known.clone())
}

/// Each value of a constant so many times.
fn repeated(known: &Known, times: u32) -> Result<Known> {
    let values = known.floats("a parameter")?;
    let repeated: Vec<f32> = values.iter().flat_map(|&value| std::iter::repeat_n(value, times as usize)).collect();
    Ok(Known::Constant(Constant::floats(&[repeated.len() as u32], repeated)))
}

/// What is taken off on each side of a transposed convolution's output, and what is added below and after it.
fn transposed_sides(
    [_, _, height, width]: [u32; 4],
    kernel: Size,
    stride: Size,
    dilation: Size,
    padding: Padding,
    more: Size,
    output_size: Option<Size>,
) -> Result<(Sides, Size)> {
    let output_size = match (output_size, padding) {
        (None, Padding::Same | Padding::SameLower) => Some(Size {
            height: height.checked_mul(stride.height).ok_or("the output is too large")?,
            width: width.checked_mul(stride.width).ok_or("the output is too large")?,
        }),
        (size, _) => size,
    };
    let axis = |input: u32, kernel: u32, stride: u32, dilation: u32, more: u32, wanted: Option<u32>, given| {
        let Some(wanted) = wanted else { return (given, more) };
        let reach = |count: u32, apart: u32| u64::from(count.saturating_sub(1)) * u64::from(apart);
        let span = reach(input, stride).saturating_add(reach(kernel, dilation)).saturating_add(1 + u64::from(more));
        let narrow = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        let (total, missing) =
            (narrow(span.saturating_sub(wanted.into())), narrow(u64::from(wanted).saturating_sub(span)));
        let (less, rest) = (total / 2, total.div_ceil(2));
        let sides = if padding == Padding::Same { (less, rest) } else { (rest, less) };
        (sides, more.saturating_add(missing))
    };
    let explicit = match padding {
        Padding::Explicit(sides) => sides,
        _ => Sides { top: 0, left: 0, bottom: 0, right: 0 },
    };
    let wanted = |of: fn(Size) -> u32| output_size.map(of);
    let ((top, bottom), below) = axis(
        height,
        kernel.height,
        stride.height,
        dilation.height,
        more.height,
        wanted(|size| size.height),
        (explicit.top, explicit.bottom),
    );
    let ((left, right), after) = axis(
        width,
        kernel.width,
        stride.width,
        dilation.width,
        more.width,
        wanted(|size| size.width),
        (explicit.left, explicit.right),
    );
    Ok((Sides { top, left, bottom, right }, Size { height: below, width: after }))
}
