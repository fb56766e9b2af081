//! The row of separable layers that are computed as two: depthwise, then pointwise.

use super::row::{Kernel, Lowering, Rank, Rules, Variant};
use crate::error::{Error, Result};
use crate::geometry::Geometry;
use crate::layer::Layer;
use crate::program::Program;

pub(super) static KERNEL: Kernel = Kernel {
    name: "chained",
    summary: "a separable layer as two layers, each by the kernel that the planner finds for it",
    chosen: "where one dispatch does not pay",
    bound_by: "what its two kernels are bound by, and the tensor between them, which is written and read",
    rank: Rank::Fallback,
    shader: None,
    rules: &Rules::<(Geometry, Geometry)> {
        supports: |_, _| Ok(()),
        suits: |_, _| true,
        variants: |_, _| vec![Variant::new([], [0; 3])],
        cost: super::fused::cost,
        lower,
    },
};

fn lower(parts: &(Geometry, Geometry), _: usize, lowering: &Lowering<'_>) -> Result<Program> {
    let [first, second] = [("depthwise", parts.0), ("pointwise", parts.1)].map(|(part, geometry)| {
        let program = lowering.plan(&Layer::Conv2d(geometry));
        program.map(|program| program.within(part)).map_err(Error::within(part))
    });
    first?.then(second?)
}
