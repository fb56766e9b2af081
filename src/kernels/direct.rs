//! The row of `shaders/direct.wgsl`.

use super::convolution::{SUMS, cost, epilogue, lower, tiles, window};
use super::row::{Kernel, Rank, Rules, Variant};
use crate::geometry::Geometry;
use crate::shader::{Shader, part};
use crate::target::Target;

pub(super) static KERNEL: Kernel = Kernel {
    name: "direct",
    summary: "any convolution, straight from its definition",
    chosen: "where no other kernel can",
    bound_by: "loads: 1 input and up to 4 weights for 4 multiply-adds",
    rank: Rank::Fallback,
    shader: Some(Shader {
        name: "direct",
        own: include_str!("../../shaders/direct.wgsl"),
        parts: &[&SUMS, &[part::WINDOW, part::SOURCE, part::PADDING]],
    }),
    rules: &Rules::<Geometry> {
        supports: |_, _| Ok(()),
        suits: |_, _| true,
        variants,
        cost,
        lower: |geometry, variant, lowering| lower(&KERNEL, geometry, variant, lowering),
    },
};

fn variants(geometry: &Geometry, _: &Target) -> Vec<Variant> {
    let channel_tile = geometry.out_channels_per_group().min(4);
    let (width, height) = (8, 8);
    let tile = [("WORKGROUP_WIDTH", width), ("WORKGROUP_HEIGHT", height), ("CHANNEL_TILE", channel_tile)];
    let slices = u64::from(geometry.batch) * u64::from(geometry.groups);
    let grid = [
        tiles(geometry.output.width, width),
        tiles(geometry.output.height, height),
        slices * tiles(geometry.out_channels_per_group(), channel_tile),
    ];
    vec![Variant::new(window(geometry).chain(epilogue(geometry)).chain(tile), grid)]
}
