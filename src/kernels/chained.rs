//! The row of separable layers that are computed as two: depthwise, then pointwise.

use super::row::{Kernel, Lowering, Rank, Rules, Variant};
use super::work::keep_between;
use crate::error::{Error, Result};
use crate::geometry::Geometry;
use crate::layer::Layer;
use crate::model::Work;
use crate::program::Program;
use crate::size::values;

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
        work,
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

/// That of both. What is between them is one tensor, which the first writes and the second reads.
fn work((depthwise, pointwise): &(Geometry, Geometry), _: &Variant, lowering: &Lowering<'_>) -> Option<Vec<Work>> {
    let between = 4.0 * values(depthwise.output_shape()) as f64;
    let [first, second] = [depthwise, pointwise].map(|geometry| (lowering.work)(&Layer::Conv2d(*geometry)));
    let (mut first, mut second) = (first?, second?);
    for work in first.last_mut().into_iter().chain(second.first_mut()) {
        keep_between(work, between);
    }
    first.extend(second);
    Some(first)
}
