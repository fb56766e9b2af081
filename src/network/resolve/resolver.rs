//! What is known while a graph is resolved, and what comes out of it.

use std::sync::Arc;

use crate::layer::Layer;
use crate::layers::rearrange::Rearrange;
use crate::network::graph::{Constant, Node};
use crate::network::known::{Known, Place, View};
use crate::network::shape::{RANK, checked_count, count};
use crate::network::{movement, numbers};
use crate::rounding::Rounding;
use crate::size::values;

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
pub(super) type Result<T, E = String> = std::result::Result<T, E>;

/// The most multiply-adds that are done to compute constants.
pub(super) const MOST_WORK: u64 = 1 << 30;

pub(super) struct Resolver {
    pub(super) rounding: Rounding,
    pub(super) known: Vec<Option<Known>>,
    pub(super) resolved: Resolved,
    /// How many values of constants may still be computed.
    pub(super) values_left: u64,
    /// How many multiply-adds that may still take.
    pub(super) work_left: u64,
}

/// A node while it is resolved.
pub(super) struct Operands<'a> {
    pub(super) node: &'a Node,
    pub(super) known: Vec<Option<Known>>,
}

impl Operands<'_> {
    pub(super) fn get(&self, index: usize) -> Option<&Known> {
        self.known.get(index)?.as_ref()
    }

    pub(super) fn need(&self, index: usize) -> Result<&Known> {
        self.get(index).ok_or_else(|| format!("input {index} is missing"))
    }

    /// The axes that an attribute or, in newer files, an input gives.
    pub(super) fn axes(&self, attribute: &[i64], index: usize) -> Result<Vec<i64>> {
        match self.get(index) {
            Some(known) => known.integers("axes"),
            None => Ok(attribute.to_vec()),
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "what map_err takes")]
pub(super) fn words(error: crate::error::Error) -> String {
    error.to_string()
}

/// Sizes before an axis, along it and behind it.
pub(super) fn around(shape: &[u32], axis: usize) -> Result<[u32; 3]> {
    let product = |sizes: &[u32]| u32::try_from(count(sizes)).map_err(|_| format!("{shape:?} is too large"));
    Ok([product(&shape[..axis])?, shape[axis], product(&shape[axis + 1..])?])
}

impl Resolver {
    pub(super) fn storage(&mut self, length: u64, is_input: bool) -> usize {
        self.resolved.storages.push(Storage { length, is_input });
        self.resolved.storages.len() - 1
    }

    /// Adds a layer, or computes it now if it reads constants alone.
    #[expect(clippy::needless_pass_by_value, reason = "what is given was made for this")]
    pub(super) fn emit(&mut self, name: &str, layer: Layer, given: Vec<Known>, shape: Vec<u32>) -> Result<Known> {
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
    pub(super) fn moved(&mut self, name: &str, x: &Known, rearrange: Rearrange, shape: Vec<u32>) -> Result<Known> {
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
}

/// Refuses a tensor whose values a shader could not number, or with more axes than anybody needs.
pub(super) fn check_size(shape: &[u32]) -> Result<()> {
    if shape.len() > RANK {
        return Err(format!("a tensor would have {} axes; at most {RANK} are possible", shape.len()));
    }
    checked_count(shape).map(|_| ()).ok_or_else(|| format!("a tensor would have shape {shape:?}, which is too large"))
}

/// Refuses tensors of other lengths than a layer takes.
pub(super) fn check_given(layer: &Layer, lengths: impl ExactSizeIterator<Item = u64>) -> Result<()> {
    let wanted: Vec<u64> = layer.describe().given().iter().map(|given| values(given.shape)).collect();
    if wanted.iter().copied().eq(lengths) {
        return Ok(());
    }
    Err(format!("tensors have other sizes than the layer takes, which are {wanted:?} values"))
}

pub(super) fn check_length(what: &str, length: usize, expected: usize) -> Result<()> {
    if length == expected { Ok(()) } else { Err(format!("{what} has {length} values; it must have {expected}")) }
}

/// A constant of so many values.
pub(super) fn sized(known: &Known, length: u32, what: &str) -> Result<Known> {
    let values = known.floats(what)?;
    check_length(what, values.len(), length as usize)?;
    Ok(known.clone())
}
