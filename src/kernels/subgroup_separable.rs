//! The row of `shaders/subgroup_separable.wgsl`.

use super::{SeparableKernel, Target, Variant, between_constants, epilogue, span, tiles, window};
use crate::geometry::Geometry;

pub(super) static KERNEL: SeparableKernel = SeparableKernel {
    name: "subgroup_separable",
    wgsl: include_str!("../../shaders/subgroup_separable.wgsl"),
    summary: "a depthwise and a 1 x 1 convolution in one dispatch, what is between them in registers",
    chosen: "for few output channels, where subgroups have 8 invocations: software devices",
    bound_by: "loads: 4 columns by 2 rows of 3 x 3 windows take 24 per channel in between",
    supports,
    suits,
    variants,
};

/// The shader hands weights round by the names of eight invocations.
const SUBGROUP_SIZE: u32 = 8;

const ROW_TILE: u32 = 2;

const COLUMN_TILE: u32 = 4;

fn supports((depthwise, _): &(Geometry, Geometry), target: &Target) -> Result<(), &'static str> {
    if target.subgroup_size != Some(SUBGROUP_SIZE) {
        return Err("it needs a device with subgroups of 8 invocations");
    }
    if target.limits.max_storage_buffers_per_shader_stage < 7 {
        return Err("it needs 7 storage buffers");
    }
    let (kernel, stride, dilation) = (depthwise.kernel_size, depthwise.stride, depthwise.dilation);
    if span(ROW_TILE, kernel.height, stride.height, dilation.height) > 8 {
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

fn suits((_, pointwise): &(Geometry, Geometry), target: &Target) -> bool {
    target.software && pointwise.out_channels <= 64
}

fn variants((depthwise, pointwise): &(Geometry, Geometry), _: &Target) -> Vec<Variant> {
    let channel_tile = pointwise.out_channels.next_multiple_of(4).min(64);
    let mut constants = window(depthwise);
    constants.extend(between_constants(depthwise));
    constants.extend(epilogue(pointwise));
    constants.extend([("ROW_TILE", ROW_TILE), ("CHANNEL_TILE", channel_tile)]);
    let rows = u64::from(pointwise.batch) * tiles(pointwise.output.height, ROW_TILE);
    let pixel_tiles = rows * tiles(pointwise.output.width, COLUMN_TILE);
    let grid = [pixel_tiles.div_ceil(SUBGROUP_SIZE.into()), tiles(pointwise.out_channels, channel_tile), 1];
    vec![Variant { constants, grid }]
}
