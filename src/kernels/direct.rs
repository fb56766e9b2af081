//! The row of `shaders/direct.wgsl`.

use super::{Kernel, Passes, Target, Variant, epilogue, tiles, window};
use crate::geometry::Geometry;

pub(super) static KERNEL: Kernel = Kernel {
    name: "direct",
    wgsl: include_str!("../../shaders/direct.wgsl"),
    summary: "any convolution, straight from its definition",
    chosen: "where no other kernel can",
    bound_by: "loads: 1 input and up to 4 weights for 4 multiply-adds",
    passes: Passes::One,
    reads_pairs: false,
    supports: |_, _| Ok(()),
    suits: |_, _| true,
    variants,
};

fn variants(geometry: &Geometry, _: &Target) -> Vec<Variant> {
    let channel_tile = geometry.out_channels_per_group().min(4);
    let (width, height) = (8, 8);
    let mut constants = window(geometry);
    constants.extend(epilogue(geometry));
    constants.extend([("WORKGROUP_WIDTH", width), ("WORKGROUP_HEIGHT", height), ("CHANNEL_TILE", channel_tile)]);
    let slices = u64::from(geometry.batch) * u64::from(geometry.groups);
    vec![Variant {
        constants,
        grid: [
            tiles(geometry.output.width, width),
            tiles(geometry.output.height, height),
            slices * tiles(geometry.out_channels_per_group(), channel_tile),
        ],
    }]
}
