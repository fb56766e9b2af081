//! Fewer layers that compute the same: factors and functions are taken into the layer before them, functions that were
//! written out are recognised, sums become residuals, and two layers one: a separable one or a perceptron.
//!
//! Each rule looks at a layer and at the only one that reads it. They are tried again until none changes anything.

mod functions;
mod pointwise;
mod sums;
#[cfg(test)]
mod tests;
mod uses;
mod weights;

use functions::{function_into_layer, identity, written_out};
use pointwise::{convolution_before_resize, into_perceptron, pair, scale_into_convolution};
use sums::sum_into_layer;
use uses::Uses;
use weights::{factor_into_convolution, line_into_convolution};

use super::known::Place;
use super::resolve::{Resolved, Source};
use crate::dtype::DType;
use crate::layer::Layer;

/// Simplifies layers in place, for tensors of this type.
pub(crate) fn simplify(resolved: &mut Resolved, dtype: DType) {
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
    // Of f16, what it makes of small planes may be past the largest number, where a mean of that is not.
    if dtype == DType::F32 {
        wherever(resolved, convolution_before_resize);
    }
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
