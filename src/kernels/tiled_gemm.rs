//! The row of `shaders/tiled_gemm.wgsl`.

use super::convolution::{SUMS, cost, epilogue, lower_as, window};
use super::packed::{self, PACKED};
use super::row::{Kernel, Rank, Rules, Variant};
use super::tiling;
use crate::geometry::Geometry;
use crate::shader::{Shader, part};
use crate::target::Target;

pub(super) static KERNEL: Kernel = Kernel {
    name: "tiled_gemm",
    summary: "a normal, grouped or 1 x 1 convolution as a matrix product, its register tiles fed from workgroup memory",
    chosen: "for more than 8 output channels per group and sums of 32 or more, on GPUs",
    bound_by: "arithmetic for long sums, memory for short ones",
    rank: Rank::General,
    shader: Some(Shader {
        name: "tiled_gemm",
        own: include_str!("../../shaders/tiled_gemm.wgsl"),
        parts: &[
            &SUMS,
            &[part::WINDOW, part::SOURCE, part::PADDING, part::WORKGROUP_TILE, part::PACKED_WEIGHT, part::PIXELS],
        ],
    }),
    rules: &Rules::<Geometry> {
        supports,
        suits,
        variants,
        cost,
        lower: |geometry, variant, lowering| lower_as(&KERNEL, &PACKED, geometry, variant, lowering),
    },
};

pub(super) fn supports(geometry: &Geometry, target: &Target) -> Result<(), &'static str> {
    if geometry.out_channels_per_group() < 4 {
        return Err("it needs 4 output channels per group");
    }
    tiling::check_workgroup_memory(target)?;
    packed::check(geometry, target)
}

/// Shorter sums are not worth the barriers.
const SHORT_SUM: u64 = 32;

/// For fewer channels, values that were brought to workgroup memory are read too few times there.
const FEW_CHANNELS: u32 = 8;

pub(super) fn suits(geometry: &Geometry, target: &Target) -> bool {
    !target.software && geometry.terms() >= SHORT_SUM && geometry.out_channels_per_group() > FEW_CHANNELS
}

fn variants(geometry: &Geometry, _: &Target) -> Vec<Variant> {
    let constants: Vec<_> = window(geometry).chain(epilogue(geometry)).collect();
    tiling::variants(geometry, &constants)
}
