//! The row of `shaders/software/subgroup_pointwise.wgsl`.

use super::super::convolution::{Layout, PLAIN, around_sums, cost, lower_as};
use super::super::parts::MAXIMUM_TERMS;
use super::super::row::{Kernel, Rank, Rules, Variant};
use super::subgroup_gemm::{self, PIXEL_TILE};
use crate::dtype::DType;
use crate::geometry::Geometry;
use crate::shader::{Shader, part};
use crate::size::values;
use crate::target::Target;

pub(in super::super) static KERNEL: Kernel = Kernel {
    name: "subgroup_pointwise",
    summary: "a 1 x 1 convolution as a matrix product, read in pairs of values, weights handed round a subgroup",
    chosen: "where subgroup_gemm would be, for 1 x 1 layers with an even number of input channels, at most 16,384, and \
             more than 16 output channels per group, on devices with 64-bit integers",
    bound_by: "loads: 64 channels by 8 pixels take some 64 per 4096 multiply-adds",
    rank: Rank::Software,
    shader: Some(Shader {
        name: "subgroup_pointwise",
        own: include_str!("../../../shaders/software/subgroup_pointwise.wgsl"),
        parts: &[&[
            part::EXTENT,
            part::ELEMENT,
            part::INPUT_SCALE,
            part::OUTPUT,
            part::NAN,
            part::ACTIVATION,
            part::START,
            part::EPILOGUE,
            part::GATHER,
            part::SIXTEEN,
        ]],
    }),
    rules: &Rules::<Geometry> {
        supports,
        suits,
        variants,
        cost,
        work: |_, _, _| None,
        lower: |geometry, variant, lowering| lower_as(&KERNEL, &PAIRS, geometry, variant, lowering),
    },
};

/// Two values are read as one.
const PAIRS: Layout = Layout { alignment: [2, 2, 1, 1, 1], ..PLAIN };

fn supports(geometry: &Geometry, target: &Target) -> Result<(), &'static str> {
    subgroup_gemm::supports(geometry, target)?;
    if target.dtype != DType::F32 {
        return Err("it needs tensors of f32, of which two are an integer of 64 bits");
    }
    if !target.shader_int64 {
        return Err("it needs a device opened with 64-bit integers in shaders");
    }
    if !geometry.is_pixelwise() {
        return Err("it needs a 1 x 1 kernel, stride 1 and no padding");
    }
    if !geometry.in_channels_per_group().is_multiple_of(2) || geometry.terms() > u64::from(MAXIMUM_TERMS) {
        return Err("it needs an even number of input channels per group, at most 16,384");
    }
    let group = [1, geometry.in_channels_per_group(), geometry.input.height, geometry.input.width];
    if values(group) > target.binding_values() {
        return Err("it needs the input channels of a group in one binding");
    }
    Ok(())
}

/// With fewer output channels, waiting for memory takes longer than the loads.
fn suits(geometry: &Geometry, target: &Target) -> bool {
    target.software && geometry.out_channels_per_group() > 16
}

fn variants(geometry: &Geometry, _: &Target) -> Vec<Variant> {
    let pixels = geometry.input.area();
    let tilings = subgroup_gemm::tilings(geometry).into_iter();
    let channels_first = u64::from(geometry.out_channels_per_group()) <= pixels;
    let variant = |(channel_tile, mut grid): (u32, [u64; 3])| {
        if channels_first {
            grid.swap(0, 1);
        }
        let tile = [
            ("ODD_PLANES", u32::from(!pixels.is_multiple_of(2))),
            ("CHANNEL_TILE", channel_tile),
            ("PIXEL_TILE", PIXEL_TILE),
        ];
        Variant::new(around_sums(geometry).chain(tile), grid)
    };
    tilings.map(variant).collect()
}
