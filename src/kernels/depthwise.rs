//! The row of `shaders/depthwise.wgsl`.

use super::convolution::{SUMS, cost, epilogue, lower, span, tiles, window};
use super::row::{Kernel, Rank, Rules, Variant};
use crate::geometry::Geometry;
use crate::shader::{Shader, part};
use crate::target::Target;

pub(super) static KERNEL: Kernel = Kernel {
    name: "depthwise",
    summary: "one filter per output channel, each over one input channel; any multiplier",
    chosen: "for groups = in_channels, if the filter and a window of the input fit in registers",
    bound_by: "memory: few multiply-adds per byte",
    rank: Rank::Special,
    shader: Some(Shader {
        name: "depthwise",
        own: include_str!("../../shaders/depthwise.wgsl"),
        parts: &[&SUMS, &[part::WINDOW, part::SOURCE, part::PADDING]],
    }),
    rules: &Rules::<Geometry> {
        supports,
        suits,
        variants,
        cost,
        lower: |geometry, variant, lowering| lower(&KERNEL, geometry, variant, lowering),
    },
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

/// A GPU has at most some 255 registers for an invocation. The sums and addresses want theirs; what is left over holds the
/// window and the filter.
const REGISTERS: u64 = 192;

/// Past these the rest would be kept in memory, and read again for each row of outputs.
fn suits(geometry: &Geometry, target: &Target) -> bool {
    let (kernel, stride, dilation) = (geometry.kernel_size, geometry.stride, geometry.dilation);
    let columns = span(COLUMN_TILE, kernel.width, stride.width, dilation.width).next_multiple_of(4);
    let window = columns * span(1, kernel.height, stride.height, dilation.height);
    target.software || window + geometry.terms() <= REGISTERS
}

/// The narrowest tile there is.
const COLUMN_TILE: u32 = 4;

/// A GPU gets at least this many invocations before each may walk down more rows.
const MANY_INVOCATIONS: u64 = 1 << 16;

/// Filters of more taps are compiled with the narrow tile alone: the wide one, unrolled, takes seconds to compile.
const MANY_TAPS: u64 = 49;

fn variants(geometry: &Geometry, target: &Target) -> Vec<Variant> {
    let (kernel, stride, dilation) = (geometry.kernel_size, geometry.stride, geometry.dilation);
    let fits = |tile: u32| {
        let window = span(tile, kernel.width, stride.width, dilation.width);
        tile == COLUMN_TILE || (window <= MAXIMUM_WINDOW && geometry.terms() <= MANY_TAPS)
    };
    let tilings: &[[u32; 2]] =
        if target.software { &[[8, 28], [8, 14], [4, 28]] } else { &[[4, 16], [4, 8], [4, 4], [4, 2], [8, 8]] };
    let mut variants: Vec<Variant> = Vec::new();
    let mut narrow = 0;
    for &[column_tile, most_rows] in tilings.iter().filter(|[tile, _]| fits(*tile)) {
        let walks = geometry.output.height.div_ceil(most_rows);
        let variant = variant(geometry, target, column_tile, geometry.output.height.div_ceil(walks));
        if !variants.contains(&variant) {
            variants.push(variant);
            narrow += usize::from(column_tile == COLUMN_TILE);
        }
    }
    if !target.software {
        // First comes the narrow tile with the longest walk that leaves enough invocations, or else with the shortest.
        let has_many = |variant: &Variant| 64 * variant.grid[0] >= MANY_INVOCATIONS;
        let best = variants[..narrow].iter().position(has_many).unwrap_or(narrow - 1);
        variants.swap(0, best);
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conv::Conv2d;
    use crate::planner::Planner;

    #[test]
    fn what_fits_in_no_registers_is_another_kernels_on_a_gpu() {
        let gpu: Target = wgpu::Limits::default().into();
        let software = Target { software: true, ..gpu.clone() };
        for (kernel_size, fits) in [(3, true), (7, true), (9, true), (11, false), (29, false)] {
            let layer = Conv2d::new(8, 8, kernel_size).padding(kernel_size / 2).groups(8);
            let layer = layer.geometry([1, 8, 56, 56]).unwrap().into();
            let planned = |target: &Target| Planner::new(target.clone()).plan(&layer).unwrap().kernel;
            assert_eq!(planned(&gpu) == "depthwise", fits, "{kernel_size}: {}", planned(&gpu));
            assert_eq!(planned(&software), "depthwise");
        }
    }

    #[test]
    fn small_planes_are_walked_in_short_steps_on_a_gpu() {
        let geometry = Conv2d::new(1024, 1024, 3).padding(1).groups(1024).geometry([1, 1024, 7, 7]).unwrap();
        let chosen = variants(&geometry, &wgpu::Limits::default().into()).swap_remove(0);
        assert!(chosen.constants.contains(&("ROW_TILE", 2)) && chosen.constants.contains(&("COLUMN_TILE", 4)));
    }
}
