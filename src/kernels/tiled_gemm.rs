//! The row of `shaders/tiled_gemm.wgsl`.

use super::{Kernel, Target, Variant, check_workgroup_memory, epilogue, tiles, window};
use crate::geometry::Geometry;

pub(super) static KERNEL: Kernel = Kernel {
    name: "tiled_gemm",
    wgsl: include_str!("../../shaders/tiled_gemm.wgsl"),
    summary: "a normal, grouped or 1 x 1 convolution as a matrix product, its register tiles fed from workgroup memory",
    chosen: "for 4 or more output channels per group and sums of 32 or more, on GPUs",
    bound_by: "arithmetic for long sums, memory for short ones",
    supports,
    suits: |geometry, target| !target.software && geometry.terms() >= SHORT_SUM,
    variants,
};

fn supports(geometry: &Geometry, target: &Target) -> Result<(), &'static str> {
    if geometry.out_channels_per_group() < 4 {
        return Err("it needs 4 output channels per group");
    }
    check_workgroup_memory(target)
}

/// Shorter sums are not worth the barriers.
const SHORT_SUM: u64 = 32;

/// How many invocations a workgroup has along pixels, channels and the sum, and how many channels each has.
#[derive(Debug, Clone, Copy)]
struct Tiling {
    pixel_fours: u32,
    channel_tiles: u32,
    split: u32,
    channel_tile: u32,
}

impl Tiling {
    fn grid(self, geometry: &Geometry) -> [u64; 3] {
        let plane = u64::from(geometry.output.height) * u64::from(geometry.output.width);
        [
            (u64::from(geometry.batch) * plane).div_ceil(u64::from(4 * self.pixel_fours)),
            tiles(geometry.out_channels_per_group(), self.channel_tiles * self.channel_tile),
            geometry.groups.into(),
        ]
    }
}

const fn tiling(pixel_fours: u32, channel_tiles: u32, split: u32, channel_tile: u32) -> Tiling {
    Tiling { pixel_fours, channel_tiles, split, channel_tile }
}

/// Of at most 256 invocations and 16 KiB. From large tiles, which move the least, to small ones with long sums split, which fill a device with little.
const TILINGS: [Tiling; 6] = [
    tiling(16, 16, 1, 8),
    tiling(16, 8, 1, 8),
    tiling(16, 4, 1, 8),
    tiling(16, 4, 1, 4),
    tiling(8, 4, 4, 4),
    tiling(4, 4, 8, 4),
];

/// Terms of the sum in workgroup memory at a time.
const DEPTH: u32 = 16;

/// Workgroups that fill a large GPU.
const MANY_WORKGROUPS: u64 = 256;

fn variants(geometry: &Geometry, _: &Target) -> Vec<Variant> {
    let channels = geometry.out_channels_per_group();
    // A tile that is more than half idle along the channels is no candidate.
    let fits = |tiling: &&Tiling| tiling.channel_tile == 4 || tiling.channel_tiles * tiling.channel_tile < 2 * channels;
    let mut tilings: Vec<Tiling> = TILINGS.iter().filter(fits).copied().collect();
    let fills = |tiling: &Tiling| tiling.grid(geometry).iter().product::<u64>() >= MANY_WORKGROUPS;
    let best = tilings.iter().position(fills).unwrap_or(tilings.len() - 1);
    tilings[..=best].rotate_right(1);
    let variant = |tiling: Tiling| {
        let mut constants = window(geometry);
        constants.extend(epilogue(geometry));
        constants.extend([
            ("PIXEL_FOURS", tiling.pixel_fours),
            ("CHANNEL_TILES", tiling.channel_tiles),
            ("SPLIT", tiling.split),
            ("CHANNEL_TILE", tiling.channel_tile),
            ("DEPTH", DEPTH),
        ]);
        Variant { constants, grid: tiling.grid(geometry) }
    };
    tilings.into_iter().map(variant).collect()
}
