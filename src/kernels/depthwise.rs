//! The row of `shaders/depthwise.wgsl`.

use super::{Kernel, Target, Variant, epilogue, tiles, window};
use crate::geometry::Geometry;

pub(super) static KERNEL: Kernel = Kernel {
    name: "depthwise",
    wgsl: include_str!("../../shaders/depthwise.wgsl"),
    summary: "one filter per output channel, each over one input channel; any multiplier",
    chosen: "for groups = in_channels, if a window of the input fits in registers",
    bound_by: "memory: few multiply-adds per byte",
    supports,
    variants,
};

/// The widest window row that is kept in registers.
const MAXIMUM_WINDOW: u64 = 32;

const COLUMN_TILE: u32 = 4;

fn supports(geometry: &Geometry) -> Result<(), &'static str> {
    if geometry.in_channels_per_group() != 1 {
        return Err("it needs groups = in_channels");
    }
    let (kernel, stride, dilation) = (geometry.kernel_size, geometry.stride, geometry.dilation);
    if span(COLUMN_TILE, kernel.width, stride.width, dilation.width) > MAXIMUM_WINDOW {
        return Err("it needs 3 stride + dilation (kernel_size - 1) + 1 of at most 32 along the width");
    }
    if span(row_tile(geometry), kernel.height, stride.height, dilation.height) > MAXIMUM_WINDOW {
        return Err("it needs dilation (kernel_size - 1) + 1 of at most 32 along the height");
    }
    Ok(())
}

/// The most window rows that a compiler was seen to unroll, and so to keep in registers.
const UNROLLED_ROWS: u64 = 8;

/// Two output rows share the input rows between them, where the window stays small enough.
fn row_tile(geometry: &Geometry) -> u32 {
    let (kernel, stride, dilation) = (geometry.kernel_size, geometry.stride, geometry.dilation);
    if span(2, kernel.height, stride.height, dilation.height) <= UNROLLED_ROWS { 2 } else { 1 }
}

/// How much of the input lies under `tile` neighbouring outputs along one axis.
fn span(tile: u32, kernel: u32, stride: u32, dilation: u32) -> u64 {
    u64::from(tile - 1) * u64::from(stride) + u64::from(kernel - 1) * u64::from(dilation) + 1
}

fn variants(geometry: &Geometry, _: &Target) -> Vec<Variant> {
    let row_tile = row_tile(geometry);
    let (width, height) = (8, 8);
    let mut constants = window(geometry);
    constants.extend(epilogue(geometry));
    constants.extend([
        ("WORKGROUP_WIDTH", width),
        ("WORKGROUP_HEIGHT", height),
        ("ROW_TILE", row_tile),
        ("COLUMN_TILE", COLUMN_TILE),
    ]);
    vec![Variant {
        constants,
        grid: [
            tiles(geometry.output.width, width * COLUMN_TILE),
            tiles(geometry.output.height, height * row_tile),
            u64::from(geometry.batch) * u64::from(geometry.out_channels),
        ],
    }]
}
