//! The row of `shaders/software/subgroup_gemm.wgsl`.

use super::super::convolution::{SUMS, around_sums, cost, lower, tiles, window};
use super::super::row::{Kernel, Rank, Rules, Variant};
use crate::geometry::Geometry;
use crate::shader::{Shader, part};
use crate::target::Target;

pub(in super::super) static KERNEL: Kernel = Kernel {
    name: "subgroup_gemm",
    summary: "a normal, grouped or 1 x 1 convolution as a matrix product whose weights go round a subgroup",
    chosen: "for 4 or more output channels per group, where subgroups have 8 invocations: software devices",
    bound_by: "loads: 64 channels by 8 pixels take at most 128 per 4096 multiply-adds",
    rank: Rank::Software,
    shader: Some(Shader {
        name: "subgroup_gemm",
        own: include_str!("../../../shaders/software/subgroup_gemm.wgsl"),
        parts: &[&SUMS, &[part::INPUT_SCALE, part::WINDOW, part::SOURCE, part::PADDING, part::GATHER, part::SIXTEEN]],
    }),
    rules: &Rules::<Geometry> {
        supports,
        suits: |_, target| target.software,
        variants,
        cost,
        work: |_, _, _| None,
        lower: |geometry, variant, lowering| lower(&KERNEL, geometry, variant, lowering),
    },
};

/// The shader names eight invocations where it hands weights round.
const SUBGROUP_SIZE: u32 = 8;

pub(super) const PIXEL_TILE: u32 = 8;

pub(super) fn supports(geometry: &Geometry, target: &Target) -> Result<(), &'static str> {
    if target.subgroup_size != Some(SUBGROUP_SIZE) {
        return Err("it needs a device with subgroups of 8 invocations");
    }
    if geometry.out_channels_per_group() < 4 {
        return Err("it needs 4 output channels per group");
    }
    Ok(())
}

/// Output channels of a tile. The smaller one is for processors with more cores than the larger one makes workgroups.
const CHANNEL_TILES: [u32; 2] = [64, 16];

fn variants(geometry: &Geometry, _: &Target) -> Vec<Variant> {
    let term_tile = if geometry.in_channels_per_group().is_multiple_of(2) { 2 } else { 1 };
    let variant = |(channel_tile, grid)| {
        let tile = [("TERM_TILE", term_tile), ("CHANNEL_TILE", channel_tile), ("PIXEL_TILE", PIXEL_TILE)];
        Variant::new(window(geometry).chain(around_sums(geometry)).chain(tile), grid)
    };
    tilings(geometry).into_iter().map(variant).collect()
}

/// How many output channels a tile may have, each with its grid.
pub(super) fn tilings(geometry: &Geometry) -> Vec<(u32, [u64; 3])> {
    let channels = geometry.out_channels_per_group();
    let lines = u64::from(geometry.batch) * u64::from(geometry.output.height);
    let workgroups = (lines * tiles(geometry.output.width, PIXEL_TILE)).div_ceil(SUBGROUP_SIZE.into());
    let mut channel_tiles = CHANNEL_TILES.map(|tile| channels.next_multiple_of(4).min(tile)).to_vec();
    channel_tiles.dedup();
    let tiling = |tile| (tile, [workgroups, tiles(channels, tile), geometry.groups.into()]);
    channel_tiles.into_iter().map(tiling).collect()
}
