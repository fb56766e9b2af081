//! What the kernels' closed forms of their work share. They are for whole tiles, and for rows that start where a stretch of 32
//! bytes does; the tests in `tools/` say for which layers they are what is counted.

use crate::geometry::Geometry;
use crate::model::Work;
use crate::size::values;

use super::row::Variant;

/// The work of one workgroup, for all of them.
pub(super) fn of_all(one: Work, variant: &Variant) -> Work {
    let times = variant.workgroups();
    Work {
        workgroups: times,
        multiply_adds: times * one.multiply_adds,
        requests: times * one.requests,
        sectors: times * one.sectors,
        shared_requests: times * one.shared_requests,
        wavefronts: times * one.wavefronts,
        others: times * one.others,
        fetched: times * one.fetched,
        ..one
    }
}

/// Adds so many requests of a buffer, each of so many stretches of 32 bytes.
pub(super) fn add_requests(work: &mut Work, requests: f64, sectors: f64) {
    work.requests += requests;
    work.sectors += requests * sectors;
}

/// Adds so many requests of fours of workgroup memory, each of which asks the banks four times, or more in a conflict.
pub(super) fn add_shared(work: &mut Work, requests: f64, conflict: f64) {
    work.shared_requests += requests;
    work.wavefronts += 4.0 * conflict * requests;
}

/// Adds the loads of what sums start from.
pub(super) fn add_bias(work: &mut Work, geometry: &Geometry, requests: f64, sectors: f64) {
    if geometry.bias {
        add_requests(work, requests, sectors);
    }
}

/// Says of so many bytes of a step's tensors that another step of the layer wrote them or will read them.
pub(super) fn keep_between(work: &mut Work, bytes: f64) {
    work.bytes -= bytes;
    work.between += bytes;
}

/// Adds what every sum starts from and ends with: so many stores, each of so many stretches of 32 bytes, and as many loads of
/// a residual.
pub(super) fn add_ends(work: &mut Work, geometry: &Geometry, bias: [f64; 2], stores: [f64; 2]) {
    add_bias(work, geometry, bias[0], bias[1]);
    let times = if geometry.residual.is_some() { 2.0 } else { 1.0 };
    add_requests(work, times * stores[0], stores[1]);
}

/// The bytes of a convolution's tensors, each once.
pub(super) fn bytes(g: &Geometry) -> f64 {
    let residual = if g.residual.is_some() { values(g.output_shape()) } else { 0 };
    4.0 * (values(g.input_shape()) + values(g.weight_shape()) + values(g.output_shape()) + residual) as f64
}

/// How many values of one channel of the input lie under so many neighbouring outputs.
pub(super) fn window(g: &Geometry, outputs: f64) -> f64 {
    let [height, width] = [g.output.height, g.output.width].map(f64::from);
    let (columns, rows) = (outputs.min(width), (outputs / width).clamp(1.0, height));
    let along = |outputs: f64, kernel: u32, stride: u32, dilation: u32| {
        (outputs - 1.0) * f64::from(stride) + f64::from(kernel - 1) * f64::from(dilation) + 1.0
    };
    along(columns, g.kernel_size.width, g.stride.width, g.dilation.width)
        * along(rows, g.kernel_size.height, g.stride.height, g.dilation.height)
}

/// What the depthwise kernels for GPUs have in common: workgroups of two subgroups, whose invocations walk down rows in so many
/// steps. Each of these adds a filter to so many neighbouring columns; the columns' windows are so far apart.
pub(super) fn walk(g: &Geometry, steps: f64, made: f64, columns: f64, apart: f64) -> Work {
    let taps = g.terms() as f64;
    let window = f64::from(g.kernel_size.height - 1) * f64::from(g.dilation.height) + 1.0;
    let rows = (made - 1.0) * f64::from(g.stride.height) + window;
    let mut work = Work {
        invocations: 64.0,
        multiply_adds: 2.0 * steps * columns * taps,
        fetched: 4.0 * 64.0 * columns * apart * rows,
        bytes: bytes(g),
        ..Work::default()
    };
    // The invocations of a subgroup that have the same filter.
    let [across, below] = [f64::from(g.output.width) / columns, f64::from(g.output.height) / made];
    let filters = (32.0 / (across.ceil() * below.ceil())).max(1.0);
    add_requests(&mut work, 2.0 * taps, filters);
    add_bias(&mut work, g, 2.0, 1.0);
    work
}
