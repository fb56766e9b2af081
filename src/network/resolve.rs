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

mod convolutions;
mod elementwise;
mod matrices;
mod pieces;
mod reductions;
mod resize;
mod resolver;

use super::graph::{Constant, Graph, Node, TensorKind};
use super::known::{Known, View};
use super::operation::Operation;
use super::shape::{axis, broadcast, count, size};
use super::{movement, numbers};
use resolver::{MOST_WORK, Operands, Resolver, Result, check_size};
pub(crate) use resolver::{Resolved, ResolvedLayer, Source, Storage};

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

impl Resolver {
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
            Operation::Softmax { .. } => one(self.softmax(operands)?),
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
}
