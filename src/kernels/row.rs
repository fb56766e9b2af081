//! `Kernel`: the row of a kernel, which lowers layers to programs.

use std::fmt;

use super::sums;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::layer::{Layer, Sizes};
use crate::model::{Work, seconds};
use crate::program::Program;
use crate::shader::Shader;
use crate::target::Target;

/// One kernel: its shader, which layers it can compute, and how it lowers them.
///
/// Only this crate makes one, since a plan runs its shader without the checks that `wgpu` would put in:
///
/// ```compile_fail,E0451
/// let mine = sepconv::kernels::Kernel { name: "mine", ..*sepconv::kernels::ALL[0] };
/// ```
#[non_exhaustive]
pub struct Kernel {
    /// Its name, and that of its file in `shaders/`.
    pub name: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// When the planner picks it.
    pub chosen: &'static str,
    /// What limits its speed.
    pub bound_by: &'static str,
    /// Among the kernels that suit a layer, the planner takes one of the least rank.
    pub rank: Rank,
    /// Its shader; none if it only puts other kernels' programs together.
    pub(crate) shader: Option<Shader>,
    pub(super) rules: &'static dyn Lower,
}

/// How the planner ranks kernels: the least rank first, and within a rank the first in [`ALL`](super::ALL).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Rank {
    /// For one sort of layer, where it beats all others.
    Special,
    /// For software devices alone.
    Software,
    /// For many sorts of layers.
    General,
    /// For every layer of its kind.
    Fallback,
    /// Only where it is asked for by name: neither the planner nor the tuner takes it.
    Asked,
}

/// A kernel made for one layer: the constants that replace the shader's own, and the grid.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Variant {
    /// Names and values of the shader's constants. A boolean is 0 or 1.
    pub constants: Vec<(&'static str, u32)>,
    /// How many workgroups along x, y and z, before the grid is cut to what a dispatch may have.
    pub grid: [u64; 3],
}

impl Variant {
    pub(super) fn new(constants: impl IntoIterator<Item = (&'static str, u32)>, grid: [u64; 3]) -> Self {
        Self { constants: constants.into_iter().collect(), grid }
    }

    /// One of its constants, to count with.
    pub(super) fn the(&self, constant: &str) -> f64 {
        self.get(constant).unwrap_or_else(|| panic!("a constant {constant}")).into()
    }

    pub(super) fn get(&self, constant: &str) -> Option<u32> {
        self.constants.iter().find(|(name, _)| *name == constant).map(|(_, value)| *value)
    }

    pub(super) fn workgroups(&self) -> f64 {
        self.grid.iter().map(|&size| size as f64).product()
    }
}

/// What lowering knows besides the layer.
pub(crate) struct Lowering<'a> {
    /// The device.
    pub target: &'a Target,
    /// Plans a layer of such tensors that is inside another one, as the planner plans any layer.
    pub planner: &'a dyn Fn(&Layer, DType) -> Result<Program>,
    /// What the steps of such a plan take on a GPU; none if nobody knows.
    pub work: &'a dyn Fn(&Layer) -> Option<Vec<Work>>,
}

impl Lowering<'_> {
    /// Plans a layer inside another one.
    pub fn plan(&self, layer: &Layer) -> Result<Program> {
        (self.planner)(layer, self.target.dtype)
    }

    /// Plans a layer whose tensors hold sums.
    pub fn plan_sums(&self, layer: &Layer) -> Result<Program> {
        (self.planner)(layer, DType::F32)
    }
}

/// The rules of a kernel for the one kind of layer that it computes.
pub(super) struct Rules<S: Sizes> {
    /// `Err`, which says what it needs, for a layer that it cannot compute or a target that it cannot run on.
    pub supports: fn(&S, &Target) -> Result<(), &'static str>,
    /// Whether it is a good choice for a layer that it supports.
    pub suits: fn(&S, &Target) -> bool,
    /// Its variants for a layer that it supports; never empty. For a device in software the best guess comes first, for a GPU
    /// they are put in the order of what `work` says.
    pub variants: fn(&S, &Target) -> Vec<Variant>,
    /// What a variant should cost, to compare it with others of the same layer.
    pub cost: fn(&S, &Variant, &Lowering<'_>) -> f64,
    /// What its steps take on a GPU, in closed form; none if nobody knows, which then is so for all kernels of such layers.
    pub work: fn(&S, &Variant, &Lowering<'_>) -> Option<Vec<Work>>,
    /// The program of a layer that it supports, in one of its variants.
    pub lower: fn(&S, usize, &Lowering<'_>) -> Result<Program>,
}

impl<S: Sizes> Rules<S> {
    /// Those of a kernel that takes every layer of its kind, and says nothing of what that costs.
    pub const fn plain(
        variants: fn(&S, &Target) -> Vec<Variant>,
        lower: fn(&S, usize, &Lowering<'_>) -> Result<Program>,
    ) -> Self {
        Self { supports: |_, _| Ok(()), suits: |_, _| true, variants, cost: |_, _, _| 0.0, work: |_, _, _| None, lower }
    }
}

/// [`Rules`] for a layer of any kind.
pub(super) trait Lower: Sync {
    fn computes(&self, layer: &Layer) -> bool;
    fn supports(&self, layer: &Layer, target: &Target) -> Result<(), &'static str>;
    fn suits(&self, layer: &Layer, target: &Target) -> bool;
    fn variants(&self, layer: &Layer, target: &Target) -> Vec<Variant>;
    fn cost(&self, layer: &Layer, variant: &Variant, lowering: &Lowering<'_>) -> f64;
    fn work(&self, layer: &Layer, variant: &Variant, lowering: &Lowering<'_>) -> Option<Vec<Work>>;
    fn lower(&self, layer: &Layer, variant: usize, lowering: &Lowering<'_>) -> Option<Result<Program>>;
}

impl<S: Sizes> Lower for Rules<S> {
    fn computes(&self, layer: &Layer) -> bool {
        S::of(layer).is_some()
    }

    fn supports(&self, layer: &Layer, target: &Target) -> Result<(), &'static str> {
        let sizes = S::of(layer).ok_or("it computes another kind of layer")?;
        (self.supports)(sizes, target)
    }

    fn suits(&self, layer: &Layer, target: &Target) -> bool {
        S::of(layer).is_some_and(|sizes| (self.suits)(sizes, target))
    }

    /// For a GPU, from the one that should take the least time, where the kernel says what its variants take.
    fn variants(&self, layer: &Layer, target: &Target) -> Vec<Variant> {
        let Some(sizes) = S::of(layer) else { return Vec::new() };
        let mut variants = (self.variants)(sizes, target);
        if variants.len() > 1 && !target.software {
            // A kernel that puts other kernels' programs together has one variant.
            let lowering = Lowering { target, planner: &|_, _| Err(Error::Altered), work: &|_| None };
            let work = |variant: &Variant| (self.work)(sizes, variant, &lowering);
            let time = |variant: &Variant| work(variant).map_or(0.0, |steps| seconds(target.gpu, &steps));
            variants.sort_by(|a, b| time(a).total_cmp(&time(b)));
        }
        variants
    }

    fn cost(&self, layer: &Layer, variant: &Variant, lowering: &Lowering<'_>) -> f64 {
        S::of(layer).map_or(f64::INFINITY, |sizes| (self.cost)(sizes, variant, lowering))
    }

    fn work(&self, layer: &Layer, variant: &Variant, lowering: &Lowering<'_>) -> Option<Vec<Work>> {
        S::of(layer).and_then(|sizes| (self.work)(sizes, variant, lowering))
    }

    fn lower(&self, layer: &Layer, variant: usize, lowering: &Lowering<'_>) -> Option<Result<Program>> {
        S::of(layer).map(|sizes| (self.lower)(sizes, variant, lowering))
    }
}

impl Kernel {
    /// Whether it computes layers of this kind at all.
    #[must_use]
    pub fn computes(&self, layer: &Layer) -> bool {
        self.rules.computes(layer)
    }

    /// Whether it can compute a layer on a target.
    ///
    /// # Errors
    /// What it needs, in words.
    pub fn supports(&self, layer: &Layer, target: &Target) -> Result<(), &'static str> {
        layer.check().map_err(|_| "it needs sizes that the layer's own `geometry` gave")?;
        self.rules.supports(layer, target)
    }

    /// Whether it is a good choice for a layer that it supports.
    #[must_use]
    pub fn suits(&self, layer: &Layer, target: &Target) -> bool {
        layer.check().is_ok() && self.rules.suits(layer, target)
    }

    /// Its variants for a layer that it supports, the best guess first.
    #[must_use]
    pub fn variants(&self, layer: &Layer, target: &Target) -> Vec<Variant> {
        if layer.check().is_ok() { self.rules.variants(layer, target) } else { Vec::new() }
    }

    /// One variant for a part of a layer that it supports; the first in the place of a variant that the part has not.
    pub(super) fn variant(&self, part: &Layer, target: &Target, index: usize) -> Variant {
        let mut variants = self.rules.variants(part, target);
        let index = if index < variants.len() { index } else { 0 };
        variants.swap_remove(index)
    }

    /// What a variant should cost, to compare it with others of the same layer.
    pub(crate) fn cost(&self, layer: &Layer, variant: &Variant, lowering: &Lowering<'_>) -> f64 {
        self.rules.cost(layer, variant, lowering)
    }

    /// What the steps of a variant take on a GPU; none if nobody knows.
    pub(crate) fn work(&self, layer: &Layer, variant: &Variant, lowering: &Lowering<'_>) -> Option<Vec<Work>> {
        self.rules.work(layer, variant, lowering)
    }

    /// The program of a layer in one of the kernel's variants, or in the first if there is no such variant.
    pub(crate) fn lower(&self, layer: &Layer, variant: usize, lowering: &Lowering<'_>) -> Result<Program> {
        let unsupported = |reason| Error::Unsupported { kernel: self.name, reason };
        self.supports(layer, lowering.target).map_err(unsupported)?;
        let lowered = self.rules.lower(layer, variant, lowering);
        let mut program = lowered.unwrap_or_else(|| Err(unsupported("it computes another kind of layer")))?;
        sums::keep(&mut program, lowering.target)?;
        Ok(program)
    }

    /// Its whole source, the shared parts included, with default constants; empty if it has no shader.
    #[must_use]
    pub fn wgsl(&self) -> String {
        self.shader.map_or_else(String::new, |shader| shader.wgsl())
    }
}

/// Rows are told apart by name.
impl PartialEq for Kernel {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Kernel {}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kernel").field("name", &self.name).finish_non_exhaustive()
    }
}
