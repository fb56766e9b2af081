//! The row of `shaders/separable.wgsl`.

use super::{
    SeparableKernel, Target, Variant, between_constants, check_bindings, check_workgroup_memory, epilogue, tiles,
    window,
};
use crate::geometry::Geometry;

pub(super) static KERNEL: SeparableKernel = SeparableKernel {
    name: "separable",
    wgsl: include_str!("../../shaders/separable.wgsl"),
    summary: "a depthwise and a 1 x 1 convolution in one dispatch, what is between them in workgroup memory",
    chosen: "on GPUs, where computing the depthwise part once per 128 output channels costs less than moving it twice",
    bound_by: "arithmetic for many channels, memory for few",
    supports,
    suits,
    variants,
};

fn supports(_: &(Geometry, Geometry), target: &Target) -> Result<(), &'static str> {
    check_workgroup_memory(target)?;
    check_bindings(target)
}

/// What a depthwise multiply-add costs, in bytes to and from memory that take as long: its operand comes from a cache
/// that is about ten times as fast. An estimate for GPUs.
const BYTES_PER_MULTIPLY_ADD: f64 = 0.4;

/// Fewer workgroups leave most of a GPU idle.
const FEW_WORKGROUPS: u64 = 64;

/// The cost model: bytes that the chained layer moves and this one does not, against what this one computes again.
fn suits((depthwise, pointwise): &(Geometry, Geometry), target: &Target) -> bool {
    // Barriers are slow in software.
    if target.software {
        return false;
    }
    let tiling = best(pointwise);
    let [across_pixels, across_channels] = tiling.grid(pointwise);
    let between = 4.0 * depthwise.output_shape().map(f64::from).iter().product::<f64>();
    let saved = 2.0 * between;
    let again = (across_channels - 1) as f64 * depthwise.multiply_adds() as f64 * BYTES_PER_MULTIPLY_ADD;
    again < saved && across_pixels * across_channels >= FEW_WORKGROUPS
}

/// How many invocations a workgroup has along the channels, and how many channels each has.
#[derive(Debug, Clone, Copy)]
struct Tiling {
    channel_tiles: u32,
    channel_tile: u32,
}

/// Of at most 256 invocations and 16 KiB.
const TILINGS: [Tiling; 4] = [
    Tiling { channel_tiles: 4, channel_tile: 4 },
    Tiling { channel_tiles: 4, channel_tile: 8 },
    Tiling { channel_tiles: 8, channel_tile: 8 },
    Tiling { channel_tiles: 16, channel_tile: 8 },
];

/// Invocations along the pixels, 4 pixels each.
const PIXEL_FOURS: u32 = 16;

/// Channels in between that are in workgroup memory at a time.
const DEPTH: u32 = 16;

impl Tiling {
    fn channels(self) -> u32 {
        self.channel_tiles * self.channel_tile
    }

    fn grid(self, pointwise: &Geometry) -> [u64; 2] {
        let plane = u64::from(pointwise.output.height) * u64::from(pointwise.output.width);
        let pixels = u64::from(pointwise.batch) * plane;
        [pixels.div_ceil(u64::from(4 * PIXEL_FOURS)), tiles(pointwise.out_channels, self.channels())]
    }
}

/// The smallest that has all output channels, so that nothing is computed twice, or else the largest.
fn best(pointwise: &Geometry) -> Tiling {
    let [.., largest] = TILINGS;
    TILINGS.into_iter().find(|tiling| tiling.channels() >= pointwise.out_channels).unwrap_or(largest)
}

fn variants((depthwise, pointwise): &(Geometry, Geometry), _: &Target) -> Vec<Variant> {
    let best = best(pointwise);
    let others = TILINGS.into_iter().filter(|tiling| tiling.channels() < best.channels()).rev().take(2);
    let variant = |tiling: Tiling| {
        let mut constants = window(depthwise);
        constants.extend(between_constants(depthwise));
        constants.extend(epilogue(pointwise));
        constants.extend([
            ("PIXEL_FOURS", PIXEL_FOURS),
            ("CHANNEL_TILES", tiling.channel_tiles),
            ("CHANNEL_TILE", tiling.channel_tile),
            ("DEPTH", DEPTH),
        ]);
        let [across_pixels, across_channels] = tiling.grid(pointwise);
        Variant { constants, grid: [across_pixels, across_channels, 1] }
    };
    [best].into_iter().chain(others).map(variant).collect()
}
