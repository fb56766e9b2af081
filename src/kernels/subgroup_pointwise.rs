//! The row of `shaders/subgroup_pointwise.wgsl`.

use super::subgroup_gemm::{self, PIXEL_TILE};
use super::{Kernel, Passes, Target, Variant, epilogue};
use crate::geometry::Geometry;
use crate::schedule::{MAXIMUM_TERMS, is_pixelwise};

pub(super) static KERNEL: Kernel = Kernel {
    name: "subgroup_pointwise",
    wgsl: include_str!("../../shaders/subgroup_pointwise.wgsl"),
    summary: "a 1 x 1 convolution as a matrix product, read in pairs of values, weights handed round a subgroup",
    chosen: "where subgroup_gemm would be, for 1 x 1 layers of an even number of at most 16,384 input channels and more \
             than 16 output channels per group, and 64-bit integers",
    bound_by: "loads: 64 channels by 8 pixels take some 64 per 4096 multiply-adds",
    passes: Passes::One,
    reads_pairs: true,
    supports,
    suits,
    variants,
};

fn supports(geometry: &Geometry, target: &Target) -> Result<(), &'static str> {
    (subgroup_gemm::KERNEL.supports)(geometry, target)?;
    if !target.shader_int64 {
        return Err("it needs a device opened with 64-bit integers in shaders");
    }
    if !is_pixelwise(geometry) {
        return Err("it needs a 1 x 1 kernel, stride 1 and no padding");
    }
    if !geometry.in_channels_per_group().is_multiple_of(2) || geometry.terms() > u64::from(MAXIMUM_TERMS) {
        return Err("it needs an even number of input channels per group, of at most 16,384");
    }
    Ok(())
}

/// With fewer, the memory that values come from is waited for longer than their loads take.
fn suits(geometry: &Geometry, target: &Target) -> bool {
    target.software && geometry.out_channels_per_group() > 16
}

fn variants(geometry: &Geometry, _: &Target) -> Vec<Variant> {
    let pixels = u64::from(geometry.input.height) * u64::from(geometry.input.width);
    let tilings = subgroup_gemm::tilings(geometry).into_iter();
    let channels_first = u64::from(geometry.out_channels_per_group()) <= pixels;
    let variant = |(channel_tile, mut grid): (u32, [u64; 3])| {
        if channels_first {
            grid.swap(0, 1);
        }
        let mut constants = epilogue(geometry);
        let odd_planes = u32::from(!pixels.is_multiple_of(2));
        constants.extend([
            ("ODD_PLANES", odd_planes),
            ("CHANNELS_FIRST", channels_first.into()),
            ("CHANNEL_TILE", channel_tile),
            ("PIXEL_TILE", PIXEL_TILE),
        ]);
        Variant { constants, grid }
    };
    tilings.map(variant).collect()
}
