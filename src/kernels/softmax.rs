//! The row of `shaders/softmax.wgsl`.

use super::row::{Kernel, Lowering, Rank, Rules, Variant};
use super::simple::{self, Piece};
use super::team;
use crate::error::Result;
use crate::layers::softmax::Softmax;
use crate::program::Program;
use crate::shader::{Shader, part};
use crate::target::Target;

pub(super) static KERNEL: Kernel = Kernel {
    name: "softmax",
    summary: "values along an axis made into shares of their exponentials' sum",
    chosen: "for every softmax and its logarithm",
    bound_by: "memory and exponentials",
    rank: Rank::Fallback,
    shader: Some(Shader {
        name: "softmax",
        own: include_str!("../../shaders/softmax.wgsl"),
        parts: &[&[part::ELEMENT, part::INPUT, part::OUTPUT, part::TEAM, part::NAN]],
    }),
    rules: &Rules::<Softmax> {
        supports: |layer, target| team::supports(layer.sizes(), PASSES, target),
        ..Rules::plain(variants, lower)
    },
};

/// For the largest value, for the sum, and for the outputs.
const PASSES: u32 = 3;

fn variants(layer: &Softmax, target: &Target) -> Vec<Variant> {
    team::variants(layer.sizes(), PASSES, target, &[("IS_LOG", layer.is_log.into())])
}

fn lower(layer: &Softmax, variant: usize, lowering: &Lowering<'_>) -> Result<Program> {
    team::lower(&KERNEL, layer, Softmax::sizes, variant, &[], halves, lowering)
}

fn halves(layer: &Softmax) -> Option<[Piece<Softmax>; 2]> {
    let values = u64::from(layer.length) * u64::from(layer.inner);
    simple::halves(layer.outer, |outer| Softmax { outer, ..*layer }, &[values], values)
}
