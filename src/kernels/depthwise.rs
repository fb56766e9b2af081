//! The row of `shaders/depthwise.wgsl`.

use super::{Kernel, Target, Variant, epilogue, span, tiles, window};
use crate::geometry::Geometry;

pub(super) static KERNEL: Kernel = Kernel {
    name: "depthwise",
    wgsl: include_str!("../../shaders/depthwise.wgsl"),
    summary: "one filter per output channel, each over one input channel; any multiplier",
    chosen: "for groups = in_channels, if a window of the input fits in registers",
    bound_by: "memory: few multiply-adds per byte",
    supports,
    suits: |_, _| true,
    variants,
};

/// The widest and the highest window that is kept in registers.
const MAXIMUM_WINDOW: u64 = 32;

fn supports(geometry: &Geometry, _: &Target) -> Result<(), &'static str> {
    if geometry.in_channels_per_group() != 1 {
        return Err("it needs groups = in_channels");
    }
    let (kernel, stride, dilation) = (geometry.kernel_size, geometry.stride, geometry.dilation);
    if span(COLUMN_TILE, kernel.width, stride.width, dilation.width) > MAXIMUM_WINDOW {
        return Err("it needs 3 stride + dilation (kernel_size - 1) + 1 of at most 32 along the width");
    }
    if span(1, kernel.height, stride.height, dilation.height) > MAXIMUM_WINDOW {
        return Err("it needs dilation (kernel_size - 1) + 1 of at most 32 along the height");
    }
    Ok(())
}

/// The narrowest tile there is.
const COLUMN_TILE: u32 = 4;

/// Invocations that a GPU wants at least, before each may walk down more rows.
const MANY_INVOCATIONS: u64 = 1 << 16;

fn variants(geometry: &Geometry, target: &Target) -> Vec<Variant> {
    let (kernel, stride, dilation) = (geometry.kernel_size, geometry.stride, geometry.dilation);
    let fits = |tile: u32| span(tile, kernel.width, stride.width, dilation.width) <= MAXIMUM_WINDOW;
    let tilings: &[[u32; 2]] =
        if target.software { &[[8, 28], [8, 14], [4, 28]] } else { &[[4, 16], [4, 8], [4, 4], [4, 2], [8, 8]] };
    let mut variants: Vec<Variant> = Vec::new();
    for &[column_tile, most_rows] in tilings {
        let column_tile = if fits(column_tile) { column_tile } else { COLUMN_TILE };
        let walks = geometry.output.height.div_ceil(most_rows);
        let variant = variant(geometry, target, column_tile, geometry.output.height.div_ceil(walks));
        if !variants.contains(&variant) {
            variants.push(variant);
        }
    }
    if !target.software {
        // The longest walk that leaves enough invocations, else the shortest, comes first.
        let has_many = |variant: &Variant| 64 * variant.grid[0] >= MANY_INVOCATIONS;
        let shortest = variants.len().min(4) - 1;
        let best = variants.iter().take(4).position(has_many).unwrap_or(shortest);
        variants.swap(0, best);
    }
    variants
}

fn variant(geometry: &Geometry, target: &Target, column_tile: u32, row_tile: u32) -> Variant {
    let workgroup_size = if target.software { 8 } else { 64 };
    let mut constants = window(geometry);
    constants.extend(epilogue(geometry));
    constants.extend([("WORKGROUP_SIZE", workgroup_size), ("ROW_TILE", row_tile), ("COLUMN_TILE", column_tile)]);
    let planes = u64::from(geometry.batch) * u64::from(geometry.out_channels);
    let plane_tiles = tiles(geometry.output.width, column_tile) * tiles(geometry.output.height, row_tile);
    Variant { constants, grid: [(planes * plane_tiles).div_ceil(workgroup_size.into()), 1, 1] }
}
