//! What the kernels that multiply from workgroup memory have in common: how their workgroups tile pixels and channels.

use super::convolution::tiles;
use crate::geometry::Geometry;
use crate::target::Target;

/// How many invocations a workgroup has along pixels, channels and the sum, and how many channels each computes, for 4
/// pixels. A workgroup has at most 256 invocations and 16 KiB of memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tiling {
    pixel_fours: u32,
    channel_tiles: u32,
    pub split: u32,
    pub channel_tile: u32,
}

/// Terms of the sum in workgroup memory at a time.
const DEPTH: u32 = 16;

impl Tiling {
    pub const fn new(pixel_fours: u32, channel_tiles: u32, split: u32, channel_tile: u32) -> Self {
        Self { pixel_fours, channel_tiles, split, channel_tile }
    }

    /// The output channels of a workgroup.
    pub fn channels(self) -> u32 {
        self.channel_tiles * self.channel_tile
    }

    /// Along the pixels of all images, the channels of a group, and the groups.
    pub fn grid(self, geometry: &Geometry) -> [u64; 3] {
        let plane = geometry.output.area();
        [
            (u64::from(geometry.batch) * plane).div_ceil(u64::from(4 * self.pixel_fours)),
            tiles(geometry.out_channels_per_group(), self.channels()),
            geometry.groups.into(),
        ]
    }

    /// The constants that every such shader has.
    pub fn constants(self) -> [(&'static str, u32); 4] {
        [
            ("PIXEL_FOURS", self.pixel_fours),
            ("CHANNEL_TILES", self.channel_tiles),
            ("CHANNEL_TILE", self.channel_tile),
            ("DEPTH", DEPTH),
        ]
    }
}

/// What such a kernel needs of a device.
pub(super) fn check_workgroup_memory(target: &Target) -> Result<(), &'static str> {
    let limits = &target.limits;
    if limits.max_compute_invocations_per_workgroup < 256 || limits.max_compute_workgroup_storage_size < 16_384 {
        return Err("it needs workgroups of 256 invocations with 16 KiB of memory");
    }
    let least = [
        (limits.max_compute_workgroup_size_x, 32),
        (limits.max_compute_workgroup_size_y, 16),
        (limits.max_compute_workgroup_size_z, 8),
    ];
    if least.into_iter().any(|(limit, least)| limit < least) {
        return Err("it needs workgroups of 32 invocations along x, 16 along y and 8 along z");
    }
    Ok(())
}
