//! The row of `shaders/pointwise.wgsl`.

use super::convolution::{SUMS, around_sums, cost, lower};
use super::register_tile::{register_tile, work};
use super::row::{Kernel, Rank, Rules, Variant};
use crate::geometry::Geometry;
use crate::shader::{Shader, part};
use crate::size::{Sides, Size};
use crate::target::Target;

pub(super) static KERNEL: Kernel = Kernel {
    name: "pointwise",
    summary: "a 1 x 1 convolution, dense or grouped, as a register-tiled matrix product",
    chosen: "for kernel_size 1 without padding",
    bound_by: "arithmetic for many channels, memory for few",
    rank: Rank::General,
    shader: Some(Shader {
        name: "pointwise",
        own: include_str!("../../shaders/pointwise.wgsl"),
        parts: &[&SUMS, &[part::INPUT_SCALE, part::WINDOW, part::REGISTER_TILE]],
    }),
    rules: &Rules::<Geometry> {
        supports,
        suits: |_, _| true,
        variants,
        cost,
        work: |geometry, variant, _| Some(vec![work(geometry, variant)]),
        lower: |geometry, variant, lowering| lower(&KERNEL, geometry, variant, lowering),
    },
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
    let strides = [("STRIDE_HEIGHT", geometry.stride.height), ("STRIDE_WIDTH", geometry.stride.width)];
    vec![Variant::new(around_sums(geometry).chain(strides).chain(tile), grid)]
}
