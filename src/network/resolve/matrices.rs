//! Products of matrices.

#![expect(clippy::float_cmp, reason = "a file says 1 where it means that nothing is scaled")]

use std::sync::Arc;

use super::resolver::{Operands, Resolver, Result, words};
use crate::activation::Activation;
use crate::conv::Conv2d;
use crate::geometry::Geometry;
use crate::layer::Layer;
use crate::layers::binary::BinaryOperation;
use crate::layers::matmul::MatMul;
use crate::network::graph::Constant;
use crate::network::known::Known;
use crate::network::movement;
use crate::network::operation::Operation;
use crate::network::shape::{broadcast, count, with_rank};

impl Resolver {
    pub(super) fn matmul(&mut self, operands: &Operands<'_>) -> Result<Known> {
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

    pub(super) fn gemm(&mut self, operands: &Operands<'_>) -> Result<Known> {
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
    pub(super) fn product(
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
}
