//! A network computed by its layers' definitions, on the CPU.

use std::borrow::Cow;

use super::known::Known;
use super::resolve::{Resolved, Source};
use super::shape::count;
use crate::describe::Reference;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::layer::Layer;

/// A layer of a network, what it was given, and what it should make of that.
#[derive(Debug)]
#[non_exhaustive]
pub struct ReferenceLayer<'a> {
    /// The name of the node that it began as.
    pub name: &'a str,
    /// What it computes.
    pub layer: &'a Layer,
    /// The values of all that it is given, in its order.
    pub given: &'a [&'a [f32]],
    /// What it should make of them.
    pub expected: &'a Reference,
}

/// An output of a network.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ReferenceOutput {
    /// Its name.
    pub name: String,
    /// Its sizes.
    pub shape: Vec<u32>,
    /// Its values.
    pub values: Vec<f32>,
}

/// Computes a resolved network whose tensors hold this.
pub(super) fn run(
    resolved: &Resolved,
    dtype: DType,
    inputs: &[(&str, &[u32], &[f32])],
    mut visit: impl FnMut(&ReferenceLayer<'_>) -> Result<()>,
) -> Result<Vec<ReferenceOutput>> {
    let mut storages: Vec<Vec<f32>> = vec![Vec::new(); resolved.storages.len()];
    for (name, view) in &resolved.inputs {
        let in_input = |reason: String| Error::Node { node: name.clone(), reason };
        let given = inputs.iter().find(|(other, ..)| other == name);
        let (_, _, values) = given.ok_or_else(|| in_input("this input is missing".to_owned()))?;
        let expected = count(&view.shape);
        if values.len() as u64 != expected {
            return Err(in_input(format!("it has {} values; shape {:?} takes {expected}", values.len(), view.shape)));
        }
        storages[view.storage] = rounded(dtype, values).into_owned();
    }
    let range = |start: u64, length: u64| {
        let wide = |value: u64| usize::try_from(value).expect("a stretch of values in memory");
        wide(start)..wide(start + length)
    };
    for layer in &resolved.layers {
        let given: Vec<Cow<'_, [f32]>> = layer
            .sources
            .iter()
            .map(|source| match source {
                Source::Place(place) => Cow::from(&storages[place.storage][range(place.start, place.length)]),
                Source::Constant(values) => rounded(dtype, values),
            })
            .collect();
        let given: Vec<&[f32]> = given.iter().map(|values| &**values).collect();
        let expected = layer.layer.describe().reference(&given);
        visit(&ReferenceLayer { name: &layer.name, layer: &layer.layer, given: &given, expected: &expected })?;
        let place = layer.output;
        let length = range(0, resolved.storages[place.storage].length).end;
        let storage = &mut storages[place.storage];
        storage.resize(length, 0.0);
        for (stored, value) in storage[range(place.start, place.length)].iter_mut().zip(&expected.values) {
            #[expect(clippy::cast_possible_truncation, reason = "a tensor holds such values or narrower ones")]
            let narrow = *value as f32;
            *stored = dtype.round(narrow);
        }
    }
    let outputs = resolved.outputs.iter().map(|(name, known)| {
        let values = match known {
            Known::View(view) => storages[view.storage][range(view.start, count(&view.shape))].to_vec(),
            Known::Constant(constant) => rounded(dtype, constant.as_output()).into_owned(),
        };
        ReferenceOutput { name: name.clone(), shape: known.shape().to_vec(), values }
    });
    Ok(outputs.collect())
}

/// Values as a tensor holds them.
fn rounded(dtype: DType, values: &[f32]) -> Cow<'_, [f32]> {
    match dtype {
        DType::F32 => Cow::from(values),
        _ => values.iter().map(|&value| dtype.round(value)).collect(),
    }
}
