//! `SeparableChoice`: whether a separable layer is computed as two layers or in one dispatch, and by which kernel.

use std::fmt;

use crate::error::{Error, Result};
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
    /// [`Error::UnknownKernel`], which lists the names there are.
    pub fn by_name(name: &str, variant: usize) -> Result<Self> {
        if name == CHAINED {
            return Ok(Self::Chained);
        }
        let kernel = kernels::separable_by_name(name).map_err(|error| match error {
            Error::UnknownKernel { name, known } => Error::UnknownKernel { name, known: format!("{known}, {CHAINED}") },
            other => other,
        })?;
        Ok(Self::Fused { kernel, variant })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeparableConv2d;

    /// The names of every way to compute a layer of 3 x 3 filters.
    fn names(target: &Target, [channels, out_channels, size]: [u32; 3]) -> Vec<String> {
        let layer = SeparableConv2d::new(channels, out_channels, 3).padding(1);
        let geometries = layer.geometry([1, channels, size, size]).unwrap();
        SeparableChoice::all(&geometries, target).into_iter().map(|(choice, _)| choice.to_string()).collect()
    }

    #[test]
    fn the_planners_own_choice_comes_first() {
        let gpu: Target = wgpu::Limits::default().into();
        let software = Target { software: true, subgroup_size: Some(8), ..gpu.clone() };
        let tiles = ["separable", "separable, variant 1", "separable, variant 2"];
        assert_eq!(names(&gpu, [64, 64, 64]), [&tiles[..], &[CHAINED]].concat()[..]);
        assert_eq!(names(&gpu, [64, 64, 7]), [&[CHAINED], &tiles[..]].concat()[..]);
        let small = ["subgroup_separable", "separable", "separable, variant 1", CHAINED];
        assert_eq!(names(&software, [32, 32, 14]), small);
        let large = [CHAINED, "subgroup_separable", "separable", "separable, variant 1", "separable, variant 2"];
        assert_eq!(names(&software, [64, 64, 64]), large);
    }

    #[test]
    fn what_cannot_be_one_dispatch_is_chained() {
        let few = wgpu::Limits { max_storage_buffers_per_shader_stage: 6, ..Default::default() };
        assert_eq!(names(&few.into(), [64, 64, 64]), [CHAINED]);
        let short = wgpu::Limits { max_compute_workgroups_per_dimension: 63, ..Default::default() };
        assert_eq!(names(&short.into(), [64, 64, 64]), [CHAINED]);
    }

    #[test]
    fn a_name_is_that_of_a_way() {
        for (name, variant) in [(CHAINED, 0), ("separable", 0), ("subgroup_separable", 2)] {
            let choice = SeparableChoice::by_name(name, variant).unwrap().to_string();
            assert_eq!(choice.split(", ").next(), Some(name));
            assert_eq!(choice.ends_with("variant 2"), variant == 2, "{choice}");
        }
        let error = SeparableChoice::by_name("depthwise", 0).unwrap_err();
        let every_name = "subgroup_separable, separable, chained";
        assert!(matches!(&error, Error::UnknownKernel { known, .. } if known == every_name), "{error}");
    }
}
