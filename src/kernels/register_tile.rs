//! The tile that `gemm` and `pointwise` keep in registers: output channels times pixels.

use super::convolution::tiles;
use super::row::Variant;
use super::work::{add_ends, add_requests, bytes, of_all, window};
use crate::geometry::Geometry;
use crate::model::Work;
use crate::target::Target;

/// The tile's constants, and the grid.
pub(super) fn register_tile(geometry: &Geometry, target: &Target) -> ([(&'static str, u32); 4], [u64; 3]) {
    let channels = geometry.out_channels_per_group();
    let (width, height, channel_tile, pixel_tile) = if target.software {
        // A tile that is written out is compiled in a second where it is small, in many where it is large.
        let [most_channels, pixel_tile] = if target.keeps_loops() { [32, 8] } else { [8, 4] };
        (8, 1, channels.next_multiple_of(4).min(most_channels), pixel_tile)
    } else {
        // No more invocations along the channels than there are tiles of them.
        let channel_tile = if channels > 4 { 8 } else { 4 };
        let height = channels.div_ceil(channel_tile).next_power_of_two().min(4);
        (64 / height, height, channel_tile, 4)
    };
    let constants = [
        ("WORKGROUP_WIDTH", width),
        ("WORKGROUP_HEIGHT", height),
        ("CHANNEL_TILE", channel_tile),
        ("PIXEL_TILE", pixel_tile),
    ];
    let pixels = geometry.output.area();
    let grid = [
        pixels.div_ceil(u64::from(width * pixel_tile)),
        tiles(channels, height * channel_tile),
        u64::from(geometry.batch) * u64::from(geometry.groups),
    ];
    (constants, grid)
}

/// The work of such a kernel.
pub(super) fn work(geometry: &Geometry, variant: &Variant) -> Work {
    let [width, height, channels, pixels] =
        ["WORKGROUP_WIDTH", "WORKGROUP_HEIGHT", "CHANNEL_TILE", "PIXEL_TILE"].map(|name| variant.the(name));
    let terms = geometry.terms() as f64;
    let subgroups = (width * height / 32.0).ceil();
    let rows = 32.0 / width;
    let mut work = Work {
        invocations: width * height,
        // A compiler reads some terms ahead.
        waits: terms / 4.0 + 1.0,
        registers: channels * pixels + channels + 2.0 * pixels + 24.0,
        multiply_adds: subgroups * terms * channels * pixels,
        // For each load, each tap, each output, and once, in code compiled for an H100.
        others: subgroups
            * (3.0 * terms * (channels + pixels)
                + 100.0 * geometry.kernel_size.area() as f64
                + 15.0 * channels * pixels
                + 50.0),
        fetched: 4.0
            * (f64::from(geometry.in_channels_per_group()) * window(geometry, width * pixels)
                + height * channels * terms),
        bytes: bytes(geometry),
        ..Work::default()
    };
    // The rows of a subgroup read the same values, and weights of their own.
    let apart = f64::from(geometry.stride.width).min(8.0);
    add_requests(&mut work, subgroups * terms * pixels, width / 8.0 * apart);
    add_requests(&mut work, subgroups * terms * channels, rows);
    let outputs = subgroups * channels * pixels;
    let bias = (rows * channels / 8.0).min(rows);
    add_ends(&mut work, geometry, [subgroups * channels, bias], [outputs, rows * width / 8.0]);
    of_all(work, variant)
}
