//! The row of `shaders/reduce.wgsl`.

use super::row::{Kernel, Lowering, Rank, Rules, Variant};
use super::simple::{self, Piece};
use super::team;
use crate::error::Result;
use crate::layers::reduce::{Reduce, Reduction};
use crate::program::Program;
use crate::shader::{Shader, part};
use crate::target::Target;

pub(super) static KERNEL: Kernel = Kernel {
    name: "reduce",
    summary: "one value for all values along an axis",
    chosen: "for every reduction",
    bound_by: "memory",
    rank: Rank::Fallback,
    shader: Some(Shader {
        name: "reduce",
        own: include_str!("../../shaders/reduce.wgsl"),
        parts: &[&[part::ELEMENT, part::INPUT, part::OUTPUT, part::TEAM, part::NAN, part::ACTIVATION]],
    }),
    rules: &Rules::<Reduce> {
        supports: |layer, target| team::supports(layer.sizes(), 1, target),
        ..Rules::plain(variants, lower)
    },
};

fn variants(layer: &Reduce, target: &Target) -> Vec<Variant> {
    // The numbers of team.wgsl, and the shader's own of the terms.
    let (operation, term) = match layer.reduction {
        Reduction::Sum | Reduction::Mean => (0, 0),
        Reduction::SumOfSquares => (0, 1),
        Reduction::SumOfAbsolutes => (0, 2),
        Reduction::Product => (1, 0),
        Reduction::Max => (2, 0),
        Reduction::Min => (3, 0),
    };
    let is_mean = layer.reduction == Reduction::Mean;
    let own = [
        ("OPERATION", operation),
        ("TERM", term),
        ("IS_MEAN", is_mean.into()),
        ("ACTIVATION", layer.activation.number()),
    ];
    team::variants(layer.sizes(), 1, target, &own)
}

fn lower(layer: &Reduce, variant: usize, lowering: &Lowering<'_>) -> Result<Program> {
    let [a, b] = layer.activation.parameters().map(f32::to_bits);
    team::lower(&KERNEL, layer, Reduce::sizes, variant, &[a, b], halves, lowering)
}

fn halves(layer: &Reduce) -> Option<[Piece<Reduce>; 2]> {
    let [length, inner] = [layer.length, layer.inner].map(u64::from);
    simple::halves(layer.outer, |outer| Reduce { outer, ..*layer }, &[length * inner], inner)
}
