//! The row of `shaders/software/depthwise.wgsl`.

use super::super::convolution::{SUMS, cost, epilogue, lower, span, tiles, window};
use super::super::depthwise_walk::{MAXIMUM_WINDOW, check, window_height};
use super::super::row::{Kernel, Rank, Rules, Variant};
use crate::geometry::Geometry;
use crate::shader::{Shader, part};
use crate::target::Target;

pub(in super::super) static KERNEL: Kernel = Kernel {
    name: "depthwise",
    summary: "one filter per output channel, each over one input channel; any multiplier",
    chosen: "for groups = in_channels and a window of at most 32 rows and columns",
    bound_by: "memory: few multiply-adds per byte",
    rank: Rank::Software,
    shader: Some(Shader {
        name: "depthwise",
        own: include_str!("../../../shaders/software/depthwise.wgsl"),
        parts: &[&SUMS, &[part::WINDOW, part::SOURCE, part::PADDING]],
    }),
    rules: &Rules::<Geometry> {
        supports,
        suits: |_, _| true,
        variants,
        cost,
        work: |_, _, _| None,
        lower: |geometry, variant, lowering| lower(&KERNEL, geometry, variant, lowering),
    },
};

fn supports(geometry: &Geometry, target: &Target) -> Result<(), &'static str> {
    if !target.software {
        return Err("it needs a device in software");
    }
    check(geometry)?;
    let (kernel, stride, dilation) = (geometry.kernel_size, geometry.stride, geometry.dilation);
    if span(COLUMN_TILE, kernel.width, stride.width, dilation.width) > MAXIMUM_WINDOW {
        return Err("it needs 3 stride + dilation (kernel_size - 1) + 1 of at most 32 along the width");
    }
    if window_height(geometry) > MAXIMUM_WINDOW {
        return Err("it needs dilation (kernel_size - 1) + 1 of at most 32 along the height");
    }
    Ok(())
}

/// The narrowest tile there is.
const COLUMN_TILE: u32 = 4;

/// Filters of more taps are compiled with the narrow tile alone: the wide one, unrolled, takes seconds to compile.
const MANY_TAPS: u64 = 49;

fn variants(geometry: &Geometry, target: &Target) -> Vec<Variant> {
    let (kernel, stride, dilation) = (geometry.kernel_size, geometry.stride, geometry.dilation);
    let fits = |tile: u32| {
        let window = span(tile, kernel.width, stride.width, dilation.width);
        tile == COLUMN_TILE || (window <= MAXIMUM_WINDOW && geometry.terms() <= MANY_TAPS)
    };
    let tilings: &[[u32; 2]] = if target.keeps_loops() { &[[8, 28], [8, 14], [4, 28]] } else { &[[4, 28], [4, 14]] };
    let mut variants: Vec<Variant> = Vec::new();
    for &[column_tile, most_rows] in tilings.iter().filter(|[tile, _]| fits(*tile)) {
        let walks = geometry.output.height.div_ceil(most_rows);
        let variant = variant(geometry, column_tile, geometry.output.height.div_ceil(walks));
        if !variants.contains(&variant) {
            variants.push(variant);
        }
    }
    variants
}

const WORKGROUP_SIZE: u32 = 8;

fn variant(geometry: &Geometry, column_tile: u32, row_tile: u32) -> Variant {
    let tile = [("WORKGROUP_SIZE", WORKGROUP_SIZE), ("ROW_TILE", row_tile), ("COLUMN_TILE", column_tile)];
    let constants = window(geometry).chain(epilogue(geometry)).chain(tile);
    let planes = u64::from(geometry.batch) * u64::from(geometry.out_channels);
    let plane_tiles = tiles(geometry.output.width, column_tile) * tiles(geometry.output.height, row_tile);
    Variant::new(constants, [(planes * plane_tiles).div_ceil(WORKGROUP_SIZE.into()), 1, 1])
}
