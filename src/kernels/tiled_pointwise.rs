//! The row of `shaders/tiled_pointwise.wgsl`.

use super::convolution::{Layout, around_sums, cost, lower_as};
use super::packed::PACKED;
use super::row::{Kernel, Rank, Rules, Variant};
use super::tiling::TileWork;
use super::work::{add_requests, of_all};
use super::{tiled_gemm, tiling};
use crate::activation::Activation;
use crate::geometry::Geometry;
use crate::model::Work;
use crate::shader::{Shader, part};
use crate::target::Target;

pub(super) static KERNEL: Kernel = Kernel {
    name: "tiled_pointwise",
    summary: "a 1 x 1 convolution as a matrix product, in fours of pixels, its register tiles fed from workgroup memory",
    chosen: "on GPUs, where it is predicted to take the least time",
    bound_by: "arithmetic for long sums, memory for short ones",
    rank: Rank::General,
    shader: Some(Shader {
        name: "tiled_pointwise",
        own: include_str!("../../shaders/tiled_pointwise.wgsl"),
        parts: &[&[
            part::EXTENT,
            part::ELEMENT,
            part::NAN,
            part::ACTIVATION,
            part::START,
            part::FOURS,
            part::INPUT_SCALE,
            part::WORKGROUP_TILE,
            part::PACKED_WEIGHT,
        ]],
    }),
    rules: &Rules::<Geometry> {
        supports,
        suits: |_, target| !target.software,
        variants,
        cost,
        work: |geometry, variant, _| Some(vec![work(geometry, variant)]),
        lower: |geometry, variant, lowering| lower_as(&KERNEL, &FOURS, geometry, variant, lowering),
    },
};

/// Four values are read, and written, as one.
const FOURS: Layout = Layout { alignment: [4, 4, 1, 4, 4], ..PACKED };

fn supports(geometry: &Geometry, target: &Target) -> Result<(), &'static str> {
    tiled_gemm::supports(geometry, target)?;
    if !geometry.is_pixelwise() {
        return Err("it needs a 1 x 1 kernel, stride 1 and no padding");
    }
    let plane = geometry.output.area();
    if !plane.is_multiple_of(4) || plane > target.binding_values() {
        return Err("it needs planes of a multiple of 4 pixels, of which one fits in a binding");
    }
    Ok(())
}

fn variants(geometry: &Geometry, _: &Target) -> Vec<Variant> {
    let constants: Vec<_> = around_sums(geometry).collect();
    tiling::variants(geometry, &constants)
}

fn work(geometry: &Geometry, variant: &Variant) -> Work {
    let tile = TileWork::of(variant);
    let terms = geometry.terms() as f64;
    let mut work = tiled_gemm::product(&tile, geometry);
    add_requests(&mut work, terms * tile.pixels / 128.0, 16.0);
    tile.add_ends(&mut work, geometry, 1.0);
    // It has no rows and columns to keep.
    work.registers -= 10.0;
    // Limits take four values as many instructions again as storing them.
    let store = if geometry.activation == Activation::None { 24.0 } else { 42.0 };
    work.others = tile.others(terms, 9.0, store, 150.0);
    of_all(work, variant)
}
