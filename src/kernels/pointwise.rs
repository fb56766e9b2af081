//! The row of `shaders/pointwise.wgsl`.

use super::{Kernel, Passes, Target, Variant, epilogue, register_tile};
use crate::geometry::{Geometry, Sides, Size};

pub(super) static KERNEL: Kernel = Kernel {
    name: "pointwise",
    wgsl: include_str!("../../shaders/pointwise.wgsl"),
    summary: "a 1 x 1 convolution, dense or grouped, as a register-tiled matrix product",
    chosen: "for kernel_size 1 without padding",
    bound_by: "arithmetic for many channels, memory for few",
    passes: Passes::One,
    reads_pairs: false,
    supports,
    suits: |_, _| true,
    variants,
};

fn supports(geometry: &Geometry, _: &Target) -> Result<(), &'static str> {
    if geometry.kernel_size != Size::from(1) {
        return Err("it needs kernel_size 1");
    }
    if geometry.padding != (Sides { top: 0, left: 0, bottom: 0, right: 0 }) {
        return Err("it needs no padding");
    }
    Ok(())
}

fn variants(geometry: &Geometry, target: &Target) -> Vec<Variant> {
    let (tile, grid) = register_tile(geometry, target);
    let mut constants = epilogue(geometry);
    constants.extend([("STRIDE_HEIGHT", geometry.stride.height), ("STRIDE_WIDTH", geometry.stride.width)]);
    constants.extend(tile);
    vec![Variant { constants, grid }]
}
