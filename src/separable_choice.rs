//! `SeparableChoice`: whether a separable layer is computed as two layers or in one dispatch, and by which kernel.

use std::fmt;

use crate::error::Result;
use crate::fused;
use crate::geometry::Geometry;
use crate::kernels::{self, SeparableKernel, Target, Variant};
use crate::schedule::write_choice;

/// One way to compute a separable layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeparableChoice {
    /// As two layers, one after the other, each planned as a layer of its own.
    Chained,
    /// In one dispatch.
    Fused {
        /// The kernel.
        kernel: &'static SeparableKernel,
        /// Which of the kernel's variants, from 0, the best guess, which is also taken for one that there is not.
        variant: usize,
    },
}

/// The name of [`SeparableChoice::Chained`].
pub const CHAINED: &str = "chained";

impl SeparableChoice {
    /// Every way to compute a layer of these two parts on a target, each of one dispatch with its constants and its grid;
    /// the planner's own choice first.
    #[must_use]
    pub fn all(geometries: &(Geometry, Geometry), target: &Target) -> Vec<(Self, Option<Variant>)> {
        let of_kernel = |kernel: &'static SeparableKernel| {
            let supported = (kernel.supports)(geometries, target);
            let count = supported.map_or(0, |()| (kernel.variants)(geometries, target).len());
            (0..count).filter_map(move |variant| {
                let made = fused::variant(kernel, geometries, target, variant).ok()?;
                Some((Self::Fused { kernel, variant }, Some(made)))
            })
        };
        let mut ways: Vec<_> = kernels::SEPARABLE.into_iter().flat_map(of_kernel).collect();
        let own = ways.iter().position(|(choice, _)| choice.suits(geometries, target)).unwrap_or(ways.len());
        ways.push((Self::Chained, None));
        ways[..=own].rotate_right(1);
        ways
    }

    fn suits(self, geometries: &(Geometry, Geometry), target: &Target) -> bool {
        match self {
            Self::Chained => true,
            Self::Fused { kernel, .. } => (kernel.suits)(geometries, target),
        }
    }

    /// The way of this name: [`CHAINED`], or that of a kernel in [`kernels::SEPARABLE`], in one of its variants.
    ///
    /// # Errors
    /// [`Error::UnknownKernel`](crate::Error::UnknownKernel).
    pub fn by_name(name: &str, variant: usize) -> Result<Self> {
        if name == CHAINED {
            return Ok(Self::Chained);
        }
        Ok(Self::Fused { kernel: kernels::separable_by_name(name)?, variant })
    }
}

impl fmt::Display for SeparableChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chained => f.write_str(CHAINED),
            Self::Fused { kernel, variant } => write_choice(f, kernel.name, *variant),
        }
    }
}
