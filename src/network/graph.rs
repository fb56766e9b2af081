//! `Graph`: operations over named tensors, as they were built or read: nothing is known of their sizes yet.

use std::sync::Arc;

use super::operation::Operation;
use crate::rounding::Rounding;

/// Operations in an order in which each comes after what it reads.
#[derive(Debug, Clone, Default)]
pub(crate) struct Graph {
    pub tensors: Vec<GraphTensor>,
    pub nodes: Vec<Node>,
    /// Which tensors are inputs, in order.
    pub inputs: Vec<usize>,
    /// Which tensors are outputs, and under which names.
    pub outputs: Vec<(String, usize)>,
    /// How large the rounding errors of its convolutions may be.
    pub rounding: Rounding,
    /// Whether normal layers stand in for its separable ones.
    pub is_folded: bool,
}

/// A tensor of a graph.
#[derive(Debug, Clone)]
pub(crate) struct GraphTensor {
    pub name: String,
    pub kind: TensorKind,
}

/// Where a tensor of a graph comes from.
#[derive(Debug, Clone)]
pub(crate) enum TensorKind {
    /// The caller, with these sizes where they are known.
    Input(Vec<Option<u32>>),
    /// It never changes.
    Constant(Constant),
    /// A node makes it.
    Made,
}

/// One operation.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub name: String,
    pub operation: Operation,
    /// Tensors; none where an operand that may be left out is.
    pub inputs: Vec<Option<usize>>,
    pub outputs: Vec<usize>,
}

/// A tensor that never changes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Constant {
    pub shape: Vec<u32>,
    pub data: Data,
}

/// The values of a constant. Sizes and places are whole numbers; only `f32` values get to the device.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Data {
    F32(Arc<[f32]>),
    I64(Arc<[i64]>),
}

impl Constant {
    pub fn floats(shape: &[u32], values: impl Into<Arc<[f32]>>) -> Self {
        Self { shape: shape.to_vec(), data: Data::F32(values.into()) }
    }

    pub fn integers(shape: &[u32], values: impl Into<Arc<[i64]>>) -> Self {
        Self { shape: shape.to_vec(), data: Data::I64(values.into()) }
    }

    /// Its values as whole numbers, if they are.
    pub fn as_integers(&self) -> Option<&[i64]> {
        if let Data::I64(values) = &self.data { Some(values) } else { None }
    }

    pub fn as_floats(&self) -> Option<&Arc<[f32]>> {
        if let Data::F32(values) = &self.data { Some(values) } else { None }
    }

    /// Whether its values are those of another one, in the same memory.
    pub fn is_same_data(&self, other: &Self) -> bool {
        match (&self.data, &other.data) {
            (Data::F32(own), Data::F32(others)) => Arc::ptr_eq(own, others),
            (Data::I64(own), Data::I64(others)) => Arc::ptr_eq(own, others),
            _ => false,
        }
    }

    /// The values of an output of a resolved network, which is no whole numbers: resolving refuses those.
    pub fn as_output(&self) -> &Arc<[f32]> {
        self.as_floats().expect("an output of f32 values")
    }

    /// The values at these places.
    pub fn pick(&self, shape: Vec<u32>, places: impl Iterator<Item = Option<usize>>, padding: f32) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "the padding of whole numbers is a whole number")]
        let data = match &self.data {
            Data::F32(values) => Data::F32(places.map(|place| place.map_or(padding, |at| values[at])).collect()),
            Data::I64(values) => Data::I64(places.map(|place| place.map_or(padding as i64, |at| values[at])).collect()),
        };
        Self { shape, data }
    }
}

impl Graph {
    pub fn tensor(&mut self, name: impl Into<String>, kind: TensorKind) -> usize {
        self.tensors.push(GraphTensor { name: name.into(), kind });
        self.tensors.len() - 1
    }
}
