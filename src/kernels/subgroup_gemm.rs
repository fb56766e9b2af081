//! The row of `shaders/subgroup_gemm.wgsl`.

use super::{Kernel, Passes, Target, Variant, epilogue, tiles, window};
use crate::geometry::Geometry;

pub(super) static KERNEL: Kernel = Kernel {
    name: "subgroup_gemm",
    wgsl: include_str!("../../shaders/subgroup_gemm.wgsl"),
    summary: "a normal, grouped or 1 x 1 convolution as a matrix product whose weights go round a subgroup",
    chosen: "for 4 or more output channels per group, where subgroups have 8 invocations: software devices",
    bound_by: "loads: 32 channels by 8 pixels take at most 96 per 2048 multiply-adds",
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

fn variants(geometry: &Geometry, _: &Target) -> Vec<Variant> {
    let channels = geometry.out_channels_per_group();
    let channel_tile = channels.next_multiple_of(4).min(32);
    let mut constants = window(geometry);
    constants.extend(epilogue(geometry));
    constants.extend([("CHANNEL_TILE", channel_tile), ("PIXEL_TILE", PIXEL_TILE)]);
    let lines = u64::from(geometry.batch) * u64::from(geometry.output.height);
    let pixel_tiles = lines * tiles(geometry.output.width, PIXEL_TILE);
    vec![Variant {
        constants,
        grid: [pixel_tiles.div_ceil(SUBGROUP_SIZE.into()), tiles(channels, channel_tile), geometry.groups.into()],
    }]
}
