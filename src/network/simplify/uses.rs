//! What writes and what reads the tensors between layers.

use crate::network::known::Known;
use crate::network::resolve::{Resolved, Source};

/// What writes and what reads each storage.
pub(super) struct Uses(pub Vec<Use>);

#[derive(Clone, Copy, Default)]
pub(super) struct Use {
    /// One layer that writes it.
    pub writer: usize,
    /// How many do.
    pub writers: usize,
    /// How often layers read it.
    pub readers: usize,
    /// Whether the caller reads it.
    pub is_output: bool,
}

impl Uses {
    pub fn new(resolved: &Resolved) -> Self {
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
    pub fn writer(&self, resolved: &Resolved, source: &Source) -> Option<usize> {
        let Source::Place(place) = source else { return None };
        let Use { writer, writers: 1, .. } = self.0[place.storage] else { return None };
        (resolved.layers[writer].output == *place).then_some(writer)
    }

    /// [`writer`](Self::writer), if nobody else reads the place.
    pub fn own_writer(&self, resolved: &Resolved, source: &Source) -> Option<usize> {
        let writer = self.writer(resolved, source)?;
        let storage = self.0[resolved.layers[writer].output.storage];
        (storage.readers == 1 && !storage.is_output).then_some(writer)
    }
}

/// A layer's result goes where a later one's went, which is no more.
pub(super) fn take_over(resolved: &mut Resolved, writer: usize, later: usize) {
    resolved.layers[writer].output = resolved.layers[later].output;
    resolved.layers.remove(later);
}
