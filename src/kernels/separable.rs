//! The row of `shaders/separable.wgsl`.

use super::convolution::{SUMS, epilogue, window};
use super::fused::{self, between_constants, lower};
use super::row::{Kernel, Rank, Rules, Variant};
use super::tiling::{TileWork, Tiling, check_workgroup_memory};
use super::work::{add_bias, add_requests, add_shared, of_all, window as values_under};
use crate::geometry::Geometry;
use crate::model::Work;
use crate::shader::{Shader, part};
use crate::size::{Size, values};
use crate::target::Target;

pub(super) static KERNEL: Kernel = Kernel {
    name: "separable",
    summary: "a depthwise and a 1 x 1 convolution in one dispatch, what is between them in workgroup memory",
    chosen: "on GPUs, where it is predicted to take less time than the two layers by themselves",
    bound_by: "arithmetic for many channels, memory for few",
    rank: Rank::General,
    shader: Some(Shader {
        name: "separable",
        own: include_str!("../../shaders/separable.wgsl"),
        parts: &[&SUMS, &[part::WINDOW, part::SOURCE, part::PADDING, part::BETWEEN, part::WORKGROUP_TILE]],
    }),
    rules: &Rules::<(Geometry, Geometry)> {
        supports,
        // Barriers are slow in software.
        suits: |_, target| !target.software,
        variants,
        cost: fused::cost,
        work: |parts, variant, _| Some(vec![work(parts, variant)]),
        lower: |parts, variant, lowering| lower(&KERNEL, parts, variant, lowering),
    },
};

fn supports(parts: &(Geometry, Geometry), target: &Target) -> Result<(), &'static str> {
    check_workgroup_memory(target)?;
    fused::supports(parts, target)
}

/// From those with the fewest channels to those with the most.
const TILINGS: [Tiling; 4] =
    [Tiling::new(16, 4, 4), Tiling::new(16, 4, 8), Tiling::new(16, 8, 8), Tiling::new(16, 16, 8)];

/// The smallest that has all output channels, so that nothing is computed twice, or else the largest.
fn best(pointwise: &Geometry) -> Tiling {
    let [.., largest] = TILINGS;
    TILINGS.into_iter().find(|tiling| tiling.channels() >= pointwise.out_channels).unwrap_or(largest)
}

/// Over rows of whole fours of pixels.
fn grid(tiling: Tiling, pointwise: &Geometry) -> [u64; 3] {
    let output = Size { width: pointwise.output.width.next_multiple_of(4), ..pointwise.output };
    tiling.grid(&Geometry { output, ..*pointwise })
}

fn variants((depthwise, pointwise): &(Geometry, Geometry), _: &Target) -> Vec<Variant> {
    let best = best(pointwise);
    let others = TILINGS.into_iter().filter(|tiling| tiling.channels() < best.channels()).rev().take(2);
    let variant = |tiling: Tiling| {
        let sums = between_constants(depthwise).into_iter().chain(epilogue(pointwise));
        let constants = window(depthwise).chain(sums).chain(tiling.constants());
        Variant::new(constants, grid(tiling, pointwise))
    };
    [best].into_iter().chain(others).map(variant).collect()
}

fn work((depthwise, pointwise): &(Geometry, Geometry), variant: &Variant) -> Work {
    let tile = TileWork::of(variant);
    let (taps, between) = (depthwise.terms() as f64, pointwise.terms() as f64);
    let [width, height] = [depthwise.kernel_size.width, depthwise.kernel_size.height].map(f64::from);
    let is_dense = depthwise.stride.width == 1 && depthwise.dilation.width == 1;
    // Of four values in between, those that a subgroup computes together: of two channels.
    let fours = between * tile.pixels / 128.0;
    let tensors = Geometry { out_channels: pointwise.out_channels, residual: pointwise.residual, ..*depthwise };
    let weights = values(depthwise.weight_shape()) + values(pointwise.weight_shape());
    let residual = if pointwise.residual.is_some() { values(tensors.output_shape()) } else { 0 };
    let of_layer = values(tensors.input_shape()) + values(tensors.output_shape()) + weights + residual;
    let under = f64::from(depthwise.in_channels) * values_under(depthwise, tile.pixels);
    let mut work = Work {
        invocations: tile.invocations(),
        // In each round, of each channel that an invocation makes, for the filter and for each row of the input.
        waits: tile.rounds(between) * tile.channels_each() * (height + 1.0) + 2.0,
        registers: tile.registers() + 16.0,
        workgroup_bytes: tile.workgroup_bytes(),
        fetched: 4.0 * (under + tile.channels * between),
        bytes: 4.0 * of_layer as f64,
        ..Work::default()
    };
    let seen = height * if is_dense { width + 3.0 } else { 4.0 * width };
    add_requests(&mut work, seen * fours, 16.0 * f64::from(depthwise.stride.width).min(2.0));
    add_requests(&mut work, taps * fours, 2.0);
    add_bias(&mut work, depthwise, fours, 1.0);
    tile.add_values(&mut work, between);
    // Four weights are a load each, and one store.
    add_requests(&mut work, between * tile.channels / 32.0, 4.0);
    add_shared(&mut work, between * tile.channels / 128.0, 1.0);
    tile.add_product(&mut work, between);
    work.multiply_adds += 4.0 * taps * fours;
    tile.add_ends(&mut work, pointwise, 4.0);
    work.others = 11.0 * seen * fours + tile.others(between, 0.0, 66.0, 130.0) + 10.0 * between * tile.channels / 128.0;
    of_all(work, variant)
}
