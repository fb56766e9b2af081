//! The row of `shaders/normalise.wgsl`.

use super::row::{Kernel, Lowering, Rank, Rules, Variant};
use super::simple::{self, Piece};
use super::team;
use crate::error::Result;
use crate::layers::normalise::Normalise;
use crate::program::Program;
use crate::shader::{Shader, part};
use crate::target::Target;

pub(super) static KERNEL: Kernel = Kernel {
    name: "normalise",
    summary: "rows brought to mean 0 and variance 1, then scaled and shifted",
    chosen: "for every instance, layer and group norm",
    bound_by: "memory",
    rank: Rank::Fallback,
    shader: Some(Shader {
        name: "normalise",
        own: include_str!("../../shaders/normalise.wgsl"),
        parts: &[&[part::ELEMENT, part::INPUT, part::OUTPUT, part::TEAM, part::NAN, part::ACTIVATION]],
    }),
    rules: &Rules::<Normalise> {
        supports: |layer, target| team::supports(sizes(layer), PASSES, target),
        ..Rules::plain(variants, lower)
    },
};

/// For the mean, for the variance, and for the outputs.
const PASSES: u32 = 3;

fn sizes(layer: &Normalise) -> [u32; 3] {
    [layer.rows, layer.length, 1]
}

fn variants(layer: &Normalise, target: &Target) -> Vec<Variant> {
    team::variants(sizes(layer), PASSES, target, &[("ACTIVATION", layer.activation.number())])
}

fn lower(layer: &Normalise, variant: usize, lowering: &Lowering<'_>) -> Result<Program> {
    let [a, b] = layer.activation.parameters().map(f32::to_bits);
    let own = [layer.periods, layer.groups, layer.run, layer.epsilon.to_bits(), a, b];
    team::lower(&KERNEL, layer, sizes, variant, &own, halves, lowering)
}

/// Between rows that have the first scale.
fn halves(layer: &Normalise) -> Option<[Piece<Normalise>; 2]> {
    let values = u64::from(layer.periods) * u64::from(layer.length);
    let of = |times| Normalise { rows: times * layer.periods, ..*layer };
    simple::halves(layer.rows / layer.periods, of, &[values, 0, 0], values)
}
