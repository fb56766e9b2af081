//! The tile that `gemm` and `pointwise` keep in registers: output channels times pixels.

use super::convolution::tiles;
use crate::geometry::Geometry;
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
