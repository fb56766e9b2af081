//! The row of `shaders/depthwise.wgsl`.

use super::convolution::{SUMS, cost, epilogue, lower, span, tiles, unscaled, window};
use super::row::{Kernel, Rank, Rules, Variant};
use crate::geometry::Geometry;
use crate::shader::{Shader, part};
use crate::target::Target;

pub(super) static KERNEL: Kernel = Kernel {
    name: "depthwise",
    summary: "one filter per output channel, each over one input channel; any multiplier",
    chosen: "on software devices, for groups = in_channels and a window of at most 32 rows and columns",
    bound_by: "memory: few multiply-adds per byte",
    rank: Rank::Special,
    shader: Some(Shader {
        name: "depthwise",
        own: include_str!("../../shaders/depthwise.wgsl"),
        parts: &[&SUMS, &[part::WINDOW, part::SOURCE, part::PADDING]],
    }),
    rules: &Rules::<Geometry> {
        supports,
        // GPUs have rows of their own.
        suits: |_, target| target.software,
        variants,
        cost,
        // No GPU should run it.
        work: |_, _, _| None,
        lower: |geometry, variant, lowering| lower(&KERNEL, geometry, variant, lowering),
    },
};

/// The widest and the highest window of a kernel that keeps one, or its sums, in registers.
pub(super) const MAXIMUM_WINDOW: u64 = 32;

fn supports(geometry: &Geometry, _: &Target) -> Result<(), &'static str> {
    if geometry.in_channels_per_group() != 1 {
        return Err("it needs groups = in_channels");
    }
    unscaled(geometry)?;
    let (kernel, stride, dilation) = (geometry.kernel_size, geometry.stride, geometry.dilation);
    if span(COLUMN_TILE, kernel.width, stride.width, dilation.width) > MAXIMUM_WINDOW {
        return Err("it needs 3 stride + dilation (kernel_size - 1) + 1 of at most 32 along the width");
    }
    if span(1, kernel.height, stride.height, dilation.height) > MAXIMUM_WINDOW {
        return Err("it needs dilation (kernel_size - 1) + 1 of at most 32 along the height");
    }
    Ok(())
}

/// A GPU has at most some 255 registers for an invocation. The addresses want theirs; what is left over holds the filter,
/// the values and the sums. Past these the rest would be kept in memory, and read again for each row of outputs.
pub(super) const REGISTERS: u64 = 192;

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
    let tilings: &[[u32; 2]] = if target.keeps_loops() {
        &[[8, 28], [8, 14], [4, 28]]
    } else if target.software {
        &[[4, 28], [4, 14]]
    } else {
        &[[4, 16], [4, 8], [4, 4], [4, 2], [8, 8]]
    };
    let mut variants: Vec<Variant> = Vec::new();
    for &[column_tile, most_rows] in tilings.iter().filter(|[tile, _]| fits(*tile)) {
        let walks = geometry.output.height.div_ceil(most_rows);
        let variant = variant(geometry, target, column_tile, geometry.output.height.div_ceil(walks));
        if !variants.contains(&variant) {
            variants.push(variant);
        }
    }
    variants
}

/// A GPU's variants, each made for a walk down so many rows of outputs at least.
pub(super) fn walks(geometry: &Geometry, variant: impl Fn(u32) -> Variant) -> Vec<Variant> {
    let height = geometry.output.height;
    let mut variants = [16, 8, 4, 2].map(|most_rows| variant(height.div_ceil(height.div_ceil(most_rows)))).to_vec();
    variants.dedup();
    variants
}

fn variant(geometry: &Geometry, target: &Target, column_tile: u32, row_tile: u32) -> Variant {
    let workgroup_size = if target.software { 8 } else { 64 };
    let tile = [("WORKGROUP_SIZE", workgroup_size), ("ROW_TILE", row_tile), ("COLUMN_TILE", column_tile)];
    let constants = window(geometry).chain(epilogue(geometry)).chain(tile);
    let planes = u64::from(geometry.batch) * u64::from(geometry.out_channels);
    let plane_tiles = tiles(geometry.output.width, column_tile) * tiles(geometry.output.height, row_tile);
    Variant::new(constants, [(planes * plane_tiles).div_ceil(workgroup_size.into()), 1, 1])
}
