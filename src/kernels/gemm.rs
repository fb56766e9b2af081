//! The row of `shaders/gemm.wgsl`.

use super::convolution::{SUMS, around_sums, cost, lower, window};
use super::register_tile::{register_tile, work};
use super::row::{Kernel, Rank, Rules, Variant};
use crate::geometry::Geometry;
use crate::shader::{Shader, part};
use crate::target::Target;

pub(super) static KERNEL: Kernel = Kernel {
    name: "gemm",
    summary: "a normal or grouped convolution as a register-tiled matrix product, without an im2col buffer",
    chosen: "for 4 or more output channels per group",
    bound_by: "loads: a tile of 8 channels and 4 pixels takes 12 for 32 multiply-adds",
    rank: Rank::General,
    shader: Some(Shader {
        name: "gemm",
        own: include_str!("../../shaders/gemm.wgsl"),
        parts: &[&SUMS, &[part::INPUT_SCALE, part::WINDOW, part::SOURCE, part::PADDING, part::REGISTER_TILE]],
    }),
    rules: &Rules::<Geometry> {
        supports,
        suits: |_, _| true,
        variants,
        cost,
        work: |geometry, variant, _| Some(vec![work(geometry, variant)]),
        lower: |geometry, variant, lowering| lower(&KERNEL, geometry, variant, lowering),
    },
};

fn supports(geometry: &Geometry, _: &Target) -> Result<(), &'static str> {
    if geometry.out_channels_per_group() < 4 { Err("it needs 4 output channels per group") } else { Ok(()) }
}

fn variants(geometry: &Geometry, target: &Target) -> Vec<Variant> {
    let (tile, grid) = register_tile(geometry, target);
    vec![Variant::new(window(geometry).chain(around_sums(geometry)).chain(tile), grid)]
}
