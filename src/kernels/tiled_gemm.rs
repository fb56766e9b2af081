//! The row of `shaders/tiled_gemm.wgsl`.

use super::convolution::{SUMS, cost, epilogue, lower, window};
use super::row::{Kernel, Rank, Rules, Variant};
use super::tiling::{Tiling, check_workgroup_memory};
use crate::geometry::Geometry;
use crate::shader::{Shader, part};
use crate::target::Target;

pub(super) static KERNEL: Kernel = Kernel {
    name: "tiled_gemm",
    summary: "a normal, grouped or 1 x 1 convolution as a matrix product, its register tiles fed from workgroup memory",
    chosen: "for 4 or more output channels per group and sums of 32 or more, on GPUs",
    bound_by: "arithmetic for long sums, memory for short ones",
    rank: Rank::General,
    shader: Some(Shader {
        name: "tiled_gemm",
        own: include_str!("../../shaders/tiled_gemm.wgsl"),
        parts: &[&SUMS, &[part::WINDOW, part::SOURCE, part::PADDING, part::WORKGROUP_TILE]],
    }),
    rules: &Rules::<Geometry> {
        supports,
        suits: |geometry, target| !target.software && geometry.terms() >= SHORT_SUM,
        variants,
        cost,
        lower: |geometry, variant, lowering| lower(&KERNEL, geometry, variant, lowering),
    },
};

fn supports(geometry: &Geometry, target: &Target) -> Result<(), &'static str> {
    if geometry.out_channels_per_group() < 4 {
        return Err("it needs 4 output channels per group");
    }
    check_workgroup_memory(target)
}

/// Shorter sums are not worth the barriers.
const SHORT_SUM: u64 = 32;

/// From large tiles, which move the least, to small ones with split sums, which fill a device when there is little to
/// compute.
const TILINGS: [Tiling; 6] = [
    Tiling::new(16, 16, 1, 8),
    Tiling::new(16, 8, 1, 8),
    Tiling::new(16, 4, 1, 8),
    Tiling::new(16, 4, 1, 4),
    Tiling::new(8, 4, 4, 4),
    Tiling::new(4, 4, 8, 4),
];

/// For devices with registers for 64 sums per invocation: each sum takes fewer reads of workgroup memory. No device
/// says how many registers it has, so these are never the first guess, but the tuner may find them.
const LARGE_TILINGS: [Tiling; 2] = [Tiling::new(32, 8, 1, 16), Tiling::new(16, 8, 1, 16)];

/// Workgroups that fill a large GPU.
const MANY_WORKGROUPS: u64 = 256;

fn variants(geometry: &Geometry, _: &Target) -> Vec<Variant> {
    let channels = geometry.out_channels_per_group();
    // A tile that is more than half idle along the channels is no candidate.
    let fits = |tiling: &&Tiling| tiling.channel_tile == 4 || tiling.channels() < 2 * channels;
    let mut tilings: Vec<Tiling> = TILINGS.iter().filter(fits).copied().collect();
    let large = LARGE_TILINGS.into_iter().filter(|tiling| fits(&tiling));
    let fills = |tiling: &Tiling| tiling.grid(geometry).iter().product::<u64>() >= MANY_WORKGROUPS;
    let best = tilings.iter().position(fills).unwrap_or(tilings.len() - 1);
    tilings[..=best].rotate_right(1);
    let variant = |tiling: Tiling| {
        let tile = tiling.constants().into_iter().chain([("SPLIT", tiling.split)]);
        Variant::new(window(geometry).chain(epilogue(geometry)).chain(tile), tiling.grid(geometry))
    };
    tilings.into_iter().chain(large).map(variant).collect()
}
