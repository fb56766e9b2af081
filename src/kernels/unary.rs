//! The row of `shaders/unary.wgsl`.

use super::row::{Kernel, Lowering, Rank, Rules, Variant};
use super::simple::{self, Piece};
use crate::error::Result;
use crate::layers::unary::Unary;
use crate::program::Program;
use crate::shader::{Shader, part};
use crate::target::Target;

pub(super) static KERNEL: Kernel = Kernel {
    name: "unary",
    summary: "a function of each value",
    chosen: "for every function that no layer before it could take in",
    bound_by: "memory",
    rank: Rank::Fallback,
    shader: Some(Shader {
        name: "unary",
        own: include_str!("../../shaders/unary.wgsl"),
        parts: &[&[part::ELEMENT, part::INPUT, part::OUTPUT, part::VALUES, part::NAN, part::ACTIVATION]],
    }),
    rules: &Rules::<Unary>::plain(variants, lower),
};

fn variants(layer: &Unary, _: &Target) -> Vec<Variant> {
    simple::each_value(layer, [("ACTIVATION", layer.activation.number())])
}

fn lower(layer: &Unary, variant: usize, lowering: &Lowering<'_>) -> Result<Program> {
    let [a, b] = layer.activation.parameters().map(f32::to_bits);
    simple::lower(&KERNEL, layer, variant, |layer| vec![simple::count(layer), a, b], halves, lowering)
}

fn halves(layer: &Unary) -> Option<[Piece<Unary>; 2]> {
    let of = |count| Unary { shape: [1, 1, 1, count], ..*layer };
    simple::halves(simple::count(layer), of, &[1], 1)
}
