//! The row of `shaders/gemm.wgsl`.

use super::{Kernel, Passes, Target, Variant, epilogue, register_tile, window};
use crate::geometry::Geometry;

pub(super) static KERNEL: Kernel = Kernel {
    name: "gemm",
    wgsl: include_str!("../../shaders/gemm.wgsl"),
    summary: "a normal or grouped convolution as a register-tiled matrix product, without an im2col buffer",
    chosen: "for 4 or more output channels per group",
    bound_by: "loads: a tile of 8 channels and 4 pixels takes 12 for 32 multiply-adds",
    passes: Passes::One,
    reads_pairs: false,
    supports,
    suits: |_, _| true,
    variants,
};

fn supports(geometry: &Geometry, _: &Target) -> Result<(), &'static str> {
    if geometry.out_channels_per_group() < 4 { Err("it needs 4 output channels per group") } else { Ok(()) }
}

fn variants(geometry: &Geometry, target: &Target) -> Vec<Variant> {
    let (tile, grid) = register_tile(geometry, target);
    let mut constants = window(geometry);
    constants.extend(epilogue(geometry));
    constants.extend(tile);
    vec![Variant { constants, grid }]
}
