//! The row of `shaders/unary.wgsl`.

use super::row::{Kernel, Lowering, Rank, Rules, Variant};
use super::simple;
use crate::error::Result;
use crate::layers::unary::Unary;
use crate::program::Program;
use crate::shader::{Shader, part};
use crate::size::values;
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
        parts: &[&[part::ELEMENT, part::INPUT, part::OUTPUT, part::ACTIVATION]],
    }),
    rules: &Rules::<Unary> { supports: |_, _| Ok(()), suits: |_, _| true, variants, cost: |_, _, _| 0.0, lower },
};

const WORKGROUP_SIZE: u32 = 64;
const VALUES: u32 = 4;

fn variants(layer: &Unary, _: &Target) -> Vec<Variant> {
    let constants = [("ACTIVATION", layer.activation.number()), ("WORKGROUP_SIZE", WORKGROUP_SIZE), ("VALUES", VALUES)];
    vec![Variant::new(constants, [values(layer.shape).div_ceil((WORKGROUP_SIZE * VALUES).into()), 1, 1])]
}

fn lower(layer: &Unary, variant: usize, lowering: &Lowering<'_>) -> Result<Program> {
    let count = u32::try_from(values(layer.shape)).expect("fewer than 2^32 values, which was checked");
    let [a, b] = layer.activation.parameters().map(f32::to_bits);
    simple::lower(&KERNEL, layer, variant, [count, a, b], lowering)
}
