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
    let (width, height, channel_tile, pixel_tile) = (16, 4, 8, 4);
    let pixels = u64::from(geometry.output.height) * u64::from(geometry.output.width);
    let mut constants = epilogue(geometry);
    constants.extend([
        ("STRIDE_HEIGHT", geometry.stride.height),
        ("STRIDE_WIDTH", geometry.stride.width),
        ("WORKGROUP_WIDTH", width),
        ("WORKGROUP_HEIGHT", height),
        ("CHANNEL_TILE", channel_tile),
        ("PIXEL_TILE", pixel_tile),
    ]);
    vec![Variant {
        constants,
        grid: [
            pixels.div_ceil(u64::from(width * pixel_tile)),
            tiles(geometry.out_channels_per_group(), height * channel_tile),
            u64::from(geometry.batch) * u64::from(geometry.groups),
        ],
    }]
}
