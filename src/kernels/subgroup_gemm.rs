//! The row of `shaders/subgroup_gemm.wgsl`.

use super::{Kernel, Passes, Target, Variant, epilogue, tiles, window};
use crate::geometry::Geometry;
use crate::schedule::MAXIMUM_TERMS;

pub(super) static KERNEL: Kernel = Kernel {
    name: "subgroup_gemm",
    wgsl: include_str!("../../shaders/subgroup_gemm.wgsl"),
    summary: "a normal, grouped or 1 x 1 convolution as a matrix product whose weights go round a subgroup",
    chosen: "for 4 or more output channels per group, where subgroups have 8 invocations: software devices",
    bound_by: "loads: 64 channels by 8 pixels take at most 128 per 4096 multiply-adds",
    passes: Passes::One,
    supports,
    suits: |_, target| target.software,
    variants,
};

/// The shader hands weights round by the names of eight invocations.
const SUBGROUP_SIZE: u32 = 8;

const PIXEL_TILE: u32 = 8;

fn supports(geometry: &Geometry, target: &Target) -> Result<(), &'static str> {
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
    let channels = geometry.out_channels_per_group();
    // A sum that is cut may be cut at any channel.
    let is_whole = geometry.terms() <= u64::from(MAXIMUM_TERMS);
    let term_tile = if is_whole && geometry.in_channels_per_group().is_multiple_of(2) { 2 } else { 1 };
    let lines = u64::from(geometry.batch) * u64::from(geometry.output.height);
    let pixel_tiles = lines * tiles(geometry.output.width, PIXEL_TILE);
    let variant = |channel_tile| {
        let mut constants = window(geometry);
        constants.extend(epilogue(geometry));
        constants.extend([("TERM_TILE", term_tile), ("CHANNEL_TILE", channel_tile), ("PIXEL_TILE", PIXEL_TILE)]);
        let grid = [pixel_tiles.div_ceil(SUBGROUP_SIZE.into()), tiles(channels, channel_tile), geometry.groups.into()];
        Variant { constants, grid }
    };
    let mut channel_tiles = CHANNEL_TILES.map(|tile| channels.next_multiple_of(4).min(tile)).to_vec();
    channel_tiles.dedup();
    channel_tiles.into_iter().map(variant).collect()
}
