//! The row of `shaders/software/subgroup_separable.wgsl`.

use super::super::convolution::{SUMS, epilogue, span, tiles, window};
use super::super::fused::{self, between_constants, lower};
use super::super::row::{Kernel, Rank, Rules, Variant};
use crate::geometry::Geometry;
use crate::shader::{Shader, part};
use crate::size::Size;
use crate::target::Target;

pub(in super::super) static KERNEL: Kernel = Kernel {
    name: "subgroup_separable",
    summary: "a depthwise and a 1 x 1 convolution in one dispatch, what is between them in registers",
    chosen: "for at most 32 output channels and little work, where subgroups have 8 invocations: software devices",
    bound_by: "loads: 4 columns by 2 rows of 3 x 3 windows take 24 per channel in between",
    rank: Rank::Software,
    shader: Some(Shader {
        name: "subgroup_separable",
        own: include_str!("../../../shaders/software/subgroup_separable.wgsl"),
        parts: &[&SUMS, &[part::WINDOW, part::SOURCE, part::PADDING, part::BETWEEN, part::GATHER, part::SIXTEEN]],
    }),
    rules: &Rules::<(Geometry, Geometry)> {
        supports,
        suits,
        variants,
        cost: fused::cost,
        work: |_, _, _| None,
        lower: |parts, variant, lowering| lower(&KERNEL, parts, variant, lowering),
    },
};

/// The shader names eight invocations where it hands weights round.
const SUBGROUP_SIZE: u32 = 8;

/// Rows per invocation: four, which share much of the input, if their window has at most 8 rows; else two.
fn row_tile(depthwise: &Geometry) -> u32 {
    let (kernel, stride, dilation) = (depthwise.kernel_size, depthwise.stride, depthwise.dilation);
    if span(4, kernel.height, stride.height, dilation.height) <= MAXIMUM_ROWS { 4 } else { 2 }
}

/// The most window rows that are kept in registers.
const MAXIMUM_ROWS: u64 = 8;

const COLUMN_TILE: u32 = 4;

fn supports(parts: &(Geometry, Geometry), target: &Target) -> Result<(), &'static str> {
    if target.subgroup_size != Some(SUBGROUP_SIZE) {
        return Err("it needs a device with subgroups of 8 invocations");
    }
    fused::supports(parts, target)?;
    let (depthwise, _) = parts;
    let (kernel, stride, dilation) = (depthwise.kernel_size, depthwise.stride, depthwise.dilation);
    if span(2, kernel.height, stride.height, dilation.height) > MAXIMUM_ROWS {
        return Err("it needs stride + dilation (kernel_size - 1) + 1 of at most 8 along the height");
    }
    if span(COLUMN_TILE, kernel.width, stride.width, dilation.width) > 16 {
        return Err("it needs 3 stride + dilation (kernel_size - 1) + 1 of at most 16 along the width");
    }
    if depthwise.terms() > 64 {
        return Err("it needs a filter of at most 64 taps");
    }
    Ok(())
}

/// With more multiply-adds than this, the second step and the tensor in between cost little.
const FEW_MULTIPLY_ADDS: u64 = 1_100_000;

/// Where it was measured to take at most 1 / 1.2 of the time of the two steps: see docs/PERFORMANCE.md.
fn suits((depthwise, pointwise): &(Geometry, Geometry), target: &Target) -> bool {
    let is_low = depthwise.terms() <= 9 && depthwise.stride == Size::from(1) && row_tile(depthwise) == 4;
    let pixels = pointwise.output.area();
    let multiply_adds = depthwise.multiply_adds().saturating_add(pointwise.multiply_adds());
    target.software
        && is_low
        && pointwise.out_channels <= 32
        && (14 * 14..=64 * 64).contains(&pixels)
        && multiply_adds <= FEW_MULTIPLY_ADDS
}

fn variants((depthwise, pointwise): &(Geometry, Geometry), _: &Target) -> Vec<Variant> {
    let channel_tile = pointwise.out_channels.next_multiple_of(4).min(64);
    let row_tile = row_tile(depthwise);
    let sums = between_constants(depthwise).into_iter().chain(epilogue(pointwise));
    let tile = [("ROW_TILE", row_tile), ("CHANNEL_TILE", channel_tile)];
    let constants = window(depthwise).chain(sums).chain(tile);
    let rows = u64::from(pointwise.batch) * tiles(pointwise.output.height, row_tile);
    let pixel_tiles = rows * tiles(pointwise.output.width, COLUMN_TILE);
    let grid = [pixel_tiles.div_ceil(SUBGROUP_SIZE.into()), tiles(pointwise.out_channels, channel_tile), 1];
    vec![Variant::new(constants, grid)]
}
