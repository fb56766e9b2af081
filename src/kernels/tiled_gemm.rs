//! The row of `shaders/tiled_gemm.wgsl`.

use super::convolution::{SUMS, around_sums, cost, lower_as, window};
use super::packed::{self, PACKED};
use super::row::{Kernel, Rank, Rules, Variant};
use super::tiling::{self, TileWork};
use super::work::{add_requests, bytes, of_all, window as values_under};
use crate::geometry::Geometry;
use crate::model::Work;
use crate::shader::{Shader, part};
use crate::size::Size;
use crate::target::Target;

pub(super) static KERNEL: Kernel = Kernel {
    name: "tiled_gemm",
    summary: "a normal, grouped or 1 x 1 convolution as a matrix product, its register tiles fed from workgroup memory",
    chosen: "on GPUs, where it is predicted to take the least time",
    bound_by: "arithmetic for long sums, memory for short ones",
    rank: Rank::General,
    shader: Some(Shader {
        name: "tiled_gemm",
        own: include_str!("../../shaders/tiled_gemm.wgsl"),
        parts: &[
            &SUMS,
            &[
                part::INPUT_SCALE,
                part::WINDOW,
                part::SOURCE,
                part::PADDING,
                part::WORKGROUP_TILE,
                part::PACKED_WEIGHT,
                part::PIXELS,
            ],
        ],
    }),
    rules: &Rules::<Geometry> {
        supports,
        // Barriers are slow in software.
        suits: |_, target| !target.software,
        variants,
        cost,
        work: |geometry, variant, _| Some(vec![work(geometry, variant)]),
        lower: |geometry, variant, lowering| lower_as(&KERNEL, &PACKED, geometry, variant, lowering),
    },
};

/// Whether a round of all teams may have terms past the last one. That follows from the layer, and is no choice.
pub(super) const HAS_REST: &str = "HAS_REST";

pub(super) fn supports(geometry: &Geometry, target: &Target) -> Result<(), &'static str> {
    if geometry.out_channels_per_group() < 4 {
        return Err("it needs 4 output channels per group");
    }
    tiling::check_workgroup_memory(target)?;
    packed::check(geometry, target)
}

fn variants(geometry: &Geometry, _: &Target) -> Vec<Variant> {
    let constants: Vec<_> = window(geometry).chain(around_sums(geometry)).collect();
    let mut variants = tiling::variants(geometry, &constants);
    for variant in &mut variants {
        let of_round: u32 = ["DEPTH", "SPLIT"].iter().filter_map(|name| variant.get(name)).product();
        variant.constants.push((HAS_REST, (!geometry.terms().is_multiple_of(of_round.into())).into()));
    }
    variants
}

fn work(geometry: &Geometry, variant: &Variant) -> Work {
    let tile = TileWork::of(variant);
    let terms = geometry.terms() as f64;
    let mut work = product(&tile, geometry);
    // Four pixels may be of several rows, so each is a load of its own.
    let apart = f64::from(geometry.stride.width).min(2.0);
    add_requests(&mut work, terms * tile.pixels / 32.0, 16.0 * apart);
    tile.add_ends_of_neighbours(&mut work, geometry);
    let value = if geometry.kernel_size == Size::from(1) { 23.0 } else { 51.0 } + 7.0 * variant.the(HAS_REST);
    work.others = tile.others(terms, value, 144.0, 220.0);
    of_all(work, variant)
}

/// What the kernels that multiply from workgroup memory have in common.
pub(super) fn product(tile: &TileWork, geometry: &Geometry) -> Work {
    let terms = geometry.terms() as f64;
    let values = f64::from(geometry.in_channels_per_group()) * values_under(geometry, tile.pixels);
    let mut work = Work {
        invocations: tile.invocations(),
        // The first terms, those that are fetched while others are multiplied, and the bias.
        waits: tile.rounds(terms) + 2.0,
        registers: tile.registers(),
        workgroup_bytes: tile.workgroup_bytes(),
        fetched: 4.0 * (values + tile.channels * terms),
        bytes: bytes(geometry),
        ..Work::default()
    };
    tile.add_packed_weights(&mut work, terms);
    tile.add_values(&mut work, terms);
    tile.add_product(&mut work, terms);
    work
}
