//! The row of `shaders/direct.wgsl`.

use super::convolution::{SUMS, around_sums, cost, lower, row_of, tiles, window};
use super::row::{Kernel, Rank, Rules, Variant};
use super::work::{add_ends, add_requests, bytes, of_all, window as values_under};
use crate::geometry::Geometry;
use crate::model::Work;
use crate::shader::{Shader, part};
use crate::target::Target;

pub(super) static KERNEL: Kernel = Kernel {
    name: "direct",
    summary: "any convolution, straight from its definition",
    chosen: "where no other kernel can",
    bound_by: "loads: 1 input and up to 4 weights for 4 multiply-adds",
    rank: Rank::Fallback,
    shader: Some(Shader {
        name: "direct",
        own: include_str!("../../shaders/direct.wgsl"),
        parts: &[&SUMS, &[part::INPUT_SCALE, part::WINDOW, part::SOURCE, part::PADDING]],
    }),
    rules: &Rules::<Geometry> {
        supports: |_, _| Ok(()),
        suits: |_, _| true,
        variants,
        cost,
        work: |geometry, _, lowering| Some(vec![work(geometry, lowering.target)]),
        lower: |geometry, variant, lowering| lower(&KERNEL, geometry, variant, lowering),
    },
};

fn variants(geometry: &Geometry, _: &Target) -> Vec<Variant> {
    let channel_tile = geometry.out_channels_per_group().min(4);
    let (width, height) = (8, 8);
    let tile = [("WORKGROUP_WIDTH", width), ("WORKGROUP_HEIGHT", height), ("CHANNEL_TILE", channel_tile)];
    let slices = u64::from(geometry.batch) * u64::from(geometry.groups);
    let grid = [
        tiles(geometry.output.width, width),
        tiles(geometry.output.height, height),
        slices * tiles(geometry.out_channels_per_group(), channel_tile),
    ];
    vec![Variant::new(window(geometry).chain(around_sums(geometry)).chain(tile), grid)]
}

fn work(geometry: &Geometry, target: &Target) -> Work {
    let geometry = &row_of(geometry).unwrap_or(*geometry);
    let variant = &variants(geometry, target)[0];
    let (tile, terms) = (variant.the("CHANNEL_TILE"), geometry.terms() as f64);
    let channels = f64::from(geometry.in_channels_per_group());
    // Of 8 rows of 8 pixels, a subgroup has 4. Of a plane of one row, 7 invocations of 8 are idle.
    let rows = f64::from(geometry.output.height.min(8));
    let (subgroups, rows) = ((rows / 4.0).ceil(), rows.min(4.0));
    let mut work = Work {
        invocations: 64.0,
        // The taps of a channel are read together.
        waits: channels + 1.0,
        registers: 2.0 * tile + 28.0,
        multiply_adds: subgroups * terms * tile,
        // For each term, each output, and once, in code compiled for an H100.
        others: subgroups * (terms * (8.0 + 4.0 * tile) + 25.0 * tile + 80.0),
        fetched: 4.0 * (channels * values_under(geometry, 64.0) + tile * terms),
        bytes: bytes(geometry),
        ..Work::default()
    };
    add_requests(&mut work, subgroups * terms, rows * f64::from(geometry.stride.width).min(8.0));
    // Weights are the same for all of a subgroup.
    add_requests(&mut work, subgroups * terms * tile, 1.0);
    add_ends(&mut work, geometry, [subgroups * tile, 1.0], [subgroups * tile, rows]);
    of_all(work, variant)
}
