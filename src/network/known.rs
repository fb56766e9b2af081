//! What a tensor of a graph is, once shapes are known: a constant, or a stretch of what a layer writes.

use std::sync::Arc;

use super::graph::Constant;
use super::shape::count;

/// What is wrong, in words.
type Result<T> = std::result::Result<T, String>;

/// A stretch of a storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub storage: usize,
    pub start: u64,
    pub length: u64,
}

/// A stretch of a storage, seen in a shape.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct View {
    pub storage: usize,
    pub start: u64,
    pub shape: Vec<u32>,
}

/// A tensor of the graph, once shapes are known.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Known {
    Constant(Constant),
    View(View),
}

impl View {
    pub fn place(&self) -> Place {
        Place { storage: self.storage, start: self.start, length: count(&self.shape) }
    }
}

impl Known {
    pub fn shape(&self) -> &[u32] {
        match self {
            Self::Constant(constant) => &constant.shape,
            Self::View(view) => &view.shape,
        }
    }

    /// The same values in another shape.
    pub fn reshaped(&self, shape: Vec<u32>) -> Self {
        match self {
            Self::Constant(constant) => Self::Constant(Constant { shape, data: constant.data.clone() }),
            Self::View(view) => Self::View(View { shape, ..view.clone() }),
        }
    }

    pub fn constant(&self, what: &str) -> Result<&Constant> {
        match self {
            Self::Constant(constant) => Ok(constant),
            Self::View(_) => {
                Err(format!("{what} depends on the input's values; it must be known when the network is planned"))
            }
        }
    }

    pub fn integers(&self, what: &str) -> Result<Vec<i64>> {
        let constant = self.constant(what)?;
        constant.as_integers().map(<[i64]>::to_vec).ok_or_else(|| format!("{what} must be whole numbers"))
    }

    pub fn floats(&self, what: &str) -> Result<Arc<[f32]>> {
        let constant = self.constant(what)?;
        constant.as_floats().cloned().ok_or_else(|| format!("{what} must be f32 values"))
    }
}
