//! The row of `shaders/pointwise.wgsl`.

use super::{Kernel, Variant, epilogue, tiles};
use crate::geometry::{Geometry, Sides, Size};

pub(super) static KERNEL: Kernel = Kernel {
    name: "pointwise",
    wgsl: include_str!("../../shaders/pointwise.wgsl"),
    summary: "a 1 x 1 convolution, dense or grouped, as a register-tiled matrix product",
    chosen: "for kernel_size 1 without padding",
    bound_by: "arithmetic for many channels, memory for few",
    supports,
    variants,
};

fn supports(geometry: &Geometry) -> Result<(), &'static str> {
    if geometry.kernel_size != Size::from(1) {
        return Err("it needs kernel_size 1");
    }
    if geometry.padding != (Sides { top: 0, left: 0, bottom: 0, right: 0 }) {
        return Err("it needs no padding");
    }
    Ok(())
}

fn variants(geometry: &Geometry) -> Vec<Variant> {
    let pixels = u64::from(geometry.output.height) * u64::from(geometry.output.width);
    let channels = geometry.out_channels_per_group();
    let workgroup_size = 64;
    let channel_tile = if channels < 8 { channels.min(4) } else { 8 };
    // A plane smaller than a tile would leave the tile's pixels idle.
    let pixel_tile = if pixels >= 4 * u64::from(workgroup_size) { 4 } else { 1 };
    let mut constants = epilogue(geometry);
    constants.extend([
        ("STRIDE_HEIGHT", geometry.stride.height),
        ("STRIDE_WIDTH", geometry.stride.width),
        ("WORKGROUP_SIZE", workgroup_size),
        ("CHANNEL_TILE", channel_tile),
        ("PIXEL_TILE", pixel_tile),
    ]);
    vec![Variant {
        constants,
        grid: [
            pixels.div_ceil(u64::from(workgroup_size * pixel_tile)),
            tiles(channels, channel_tile),
            u64::from(geometry.batch) * u64::from(geometry.groups),
        ],
    }]
}
