//! What is done to each value, or to each pair of values.

use super::resolver::{Operands, Resolver, Result, words};
use crate::activation::Activation;
use crate::layers::binary::{Binary, BinaryOperation};
use crate::layers::unary::Unary;
use crate::network::known::Known;
use crate::network::numbers;
use crate::network::shape::{broadcast, count, with_rank};

impl Resolver {
    pub(super) fn function(&mut self, name: &str, activation: Activation, x: Known) -> Result<Known> {
        let shape = x.shape().to_vec();
        let layer = Unary::new(flat(&shape)?, activation).map_err(words)?;
        self.emit(name, layer.into(), vec![x], shape)
    }

    pub(super) fn clip(&mut self, operands: &Operands<'_>) -> Result<Known> {
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
}

/// A tensor seen as a row of images of one value.
fn flat(shape: &[u32]) -> Result<[u32; 4]> {
    let length = u32::try_from(count(shape)).map_err(|_| format!("{shape:?} is too large"))?;
    Ok([1, 1, 1, length])
}
