//! What goes along axes: reductions, softmax and norms.

use super::resolver::{Operands, Resolver, Result, around, sized, words};
use crate::activation::Activation;
use crate::layers::normalise::Normalise;
use crate::layers::reduce::{Reduce, Reduction};
use crate::layers::softmax::Softmax;
use crate::network::graph::Constant;
use crate::network::known::Known;
use crate::network::numbers;
use crate::network::operation::Operation;
use crate::network::shape::{axis, count};

impl Resolver {
    pub(super) fn reduce(&mut self, operands: &Operands<'_>) -> Result<Known> {
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
    pub(super) fn reduce_axes(
        &mut self,
        name: &str,
        reduction: Reduction,
        x: Known,
        axes: &[usize],
        keep: bool,
    ) -> Result<Known> {
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

    pub(super) fn softmax(&mut self, operands: &Operands<'_>) -> Result<Known> {
        let Operation::Softmax { axis: at, is_flat, is_log } = operands.node.operation else { unreachable!() };
        let x = operands.need(0)?;
        let [outer, length, inner] = around(x.shape(), axis(at, x.shape().len())?)?;
        let sizes = if is_flat {
            [outer, length.checked_mul(inner).ok_or("the input is too large")?, 1]
        } else {
            [outer, length, inner]
        };
        let layer = Softmax::new(sizes, is_log).map_err(words)?;
        self.emit(&operands.node.name, layer.into(), vec![x.clone()], x.shape().to_vec())
    }

    pub(super) fn normalise(&mut self, operands: &Operands<'_>) -> Result<Known> {
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
}

/// Each value of a constant so many times.
fn repeated(known: &Known, times: u32) -> Result<Known> {
    let values = known.floats("a parameter")?;
    let repeated: Vec<f32> = values.iter().flat_map(|&value| std::iter::repeat_n(value, times as usize)).collect();
    Ok(Known::Constant(Constant::floats(&[repeated.len() as u32], repeated)))
}

fn words_of(_: std::num::TryFromIntError) -> String {
    "the input is too large".to_owned()
}
