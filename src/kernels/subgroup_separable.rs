//! The row of `shaders/subgroup_separable.wgsl`.

use super::{
    Passes, SeparableKernel, Target, Variant, between_constants, check_bindings, epilogue, span, tiles, window,
};
use crate::geometry::{Geometry, Size};

pub(super) static KERNEL: SeparableKernel = SeparableKernel {
    name: "subgroup_separable",
    wgsl: include_str!("../../shaders/subgroup_separable.wgsl"),
    summary: "a depthwise and a 1 x 1 convolution in one dispatch, what is between them in registers",
    chosen: "for at most 32 output channels and little work, where subgroups have 8 invocations: software devices",
    bound_by: "loads: 4 columns by 2 rows of 3 x 3 windows take 24 per channel in between",
    passes: Passes::One,
    reads_pairs: false,
    supports,
    suits,
    variants,
};

/// The shader hands weights round by the names of eight invocations.
const SUBGROUP_SIZE: u32 = 8;

/// Rows per invocation: four share much of the input, where their window is as low as 8 rows.
fn row_tile(depthwise: &Geometry) -> u32 {
    let (kernel, stride, dilation) = (depthwise.kernel_size, depthwise.stride, depthwise.dilation);
    if span(4, kernel.height, stride.height, dilation.height) <= MAXIMUM_ROWS { 4 } else { 2 }
}

/// The most window rows that are kept in registers.
const MAXIMUM_ROWS: u64 = 8;

const COLUMN_TILE: u32 = 4;

fn supports((depthwise, _): &(Geometry, Geometry), target: &Target) -> Result<(), &'static str> {
    if target.subgroup_size != Some(SUBGROUP_SIZE) {
        return Err("it needs a device with subgroups of 8 invocations");
    }
    check_bindings(target)?;
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

/// Above so many multiply-adds the second dispatch and what is between the two cost little.
const FEW_MULTIPLY_ADDS: u64 = 1_100_000;

/// Where it was measured to take at most 1 / 1.2 of the two dispatches' time: see docs/PERFORMANCE.md.
fn suits((depthwise, pointwise): &(Geometry, Geometry), target: &Target) -> bool {
    let is_low = depthwise.terms() <= 9 && depthwise.stride == Size::from(1) && row_tile(depthwise) == 4;
    let pixels = u64::from(pointwise.output.height) * u64::from(pointwise.output.width);
    let multiply_adds = depthwise.multiply_adds().saturating_add(pointwise.multiply_adds());
    target.software
        && is_low
        && pointwise.out_channels <= 32
        && (14 * 14..=64 * 64).contains(&pixels)
        && multiply_adds <= FEW_MULTIPLY_ADDS
}

fn variants((depthwise, pointwise): &(Geometry, Geometry), _: &Target) -> Vec<Variant> {
    let channel_tile = pointwise.out_channels.next_multiple_of(4).min(64);
    let mut constants = window(depthwise);
    constants.extend(between_constants(depthwise));
    constants.extend(epilogue(pointwise));
    let row_tile = row_tile(depthwise);
    constants.extend([("ROW_TILE", row_tile), ("CHANNEL_TILE", channel_tile)]);
    let rows = u64::from(pointwise.batch) * tiles(pointwise.output.height, row_tile);
    let pixel_tiles = rows * tiles(pointwise.output.width, COLUMN_TILE);
    let grid = [pixel_tiles.div_ceil(SUBGROUP_SIZE.into()), tiles(pointwise.out_channels, channel_tile), 1];
    vec![Variant { constants, grid }]
}
