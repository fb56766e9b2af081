//! What the kernels that multiply from workgroup memory have in common: how their workgroups tile pixels and channels.

use super::convolution::tiles;
use super::row::Variant;
use crate::geometry::Geometry;
use crate::target::Target;

/// How many invocations a workgroup has along pixels, channels and the sum, and how many fours of pixels and channels each
/// computes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tiling {
    pixel_tiles: u32,
    channel_tiles: u32,
    split: u32,
    pixel_fours: u32,
    channel_tile: u32,
}

/// The most invocations, and the most bytes of workgroup memory, that a workgroup has.
const INVOCATIONS: u32 = 256;
const MEMORY: u32 = 16_384;

/// Terms of the sum in workgroup memory at a time.
const DEPTH: u32 = 16;

impl Tiling {
    /// With one team of invocations, each of which computes 4 pixels.
    pub const fn new(pixel_tiles: u32, channel_tiles: u32, channel_tile: u32) -> Self {
        Self { pixel_tiles, channel_tiles, split: 1, pixel_fours: 1, channel_tile }
    }

    /// The same with so many fours of pixels for each invocation.
    const fn fours(self, pixel_fours: u32) -> Self {
        Self { pixel_fours, ..self }
    }

    /// The same with so many teams.
    const fn teams(self, split: u32) -> Self {
        Self { split, ..self }
    }

    /// The output channels of a workgroup.
    pub fn channels(self) -> u32 {
        self.channel_tiles * self.channel_tile
    }

    /// The pixels of a workgroup.
    fn pixels(self) -> u32 {
        4 * self.pixel_fours * self.pixel_tiles
    }

    /// Along the pixels of all images, the channels of a group, and the groups.
    pub fn grid(self, geometry: &Geometry) -> [u64; 3] {
        let plane = geometry.output.area();
        [
            (u64::from(geometry.batch) * plane).div_ceil(self.pixels().into()),
            tiles(geometry.out_channels_per_group(), self.channels()),
            geometry.groups.into(),
        ]
    }

    /// The constants that every such shader has.
    pub fn constants(self) -> [(&'static str, u32); 5] {
        [
            ("PIXEL_TILES", self.pixel_tiles),
            ("CHANNEL_TILES", self.channel_tiles),
            ("PIXEL_FOURS", self.pixel_fours),
            ("CHANNEL_TILE", self.channel_tile),
            ("DEPTH", DEPTH),
        ]
    }
}

/// From large tiles, which move the least, to small ones with split sums, which fill a device when there is little to
/// compute. Tiles of 8 × 8 for an invocation take the fewest reads of workgroup memory for each sum, and 64 registers.
const TILINGS: [Tiling; 7] = [
    Tiling::new(16, 16, 8).fours(2),
    Tiling::new(16, 8, 8).fours(2),
    Tiling::new(16, 8, 8),
    Tiling::new(16, 4, 8),
    Tiling::new(16, 4, 4),
    Tiling::new(8, 4, 4).teams(4),
    Tiling::new(4, 4, 4).teams(8),
];

/// Workgroups that fill a large GPU.
pub(super) const MANY_WORKGROUPS: u64 = 256;

/// How many tiles of 64 pixels and 64 channels a layer has.
pub(super) fn large_tiles(geometry: &Geometry) -> u64 {
    Tiling::new(16, 8, 8).grid(geometry).iter().product()
}

/// The variants of a kernel with these constants besides its tiles': first the largest tile that fills a device.
pub(super) fn variants(geometry: &Geometry, constants: &[(&'static str, u32)]) -> Vec<Variant> {
    let channels = geometry.out_channels_per_group();
    // A tile that is half idle along the channels is no candidate, unless it splits sums.
    let fits = |tiling: &Tiling| tiling.split > 1 || tiling.channels() < 2 * channels;
    let mut tilings: Vec<Tiling> = TILINGS.into_iter().filter(fits).collect();
    let fills = |tiling: &Tiling| tiling.grid(geometry).iter().product::<u64>() >= MANY_WORKGROUPS;
    let best = tilings.iter().position(fills).unwrap_or(tilings.len() - 1);
    tilings[..=best].rotate_right(1);
    let variant = |tiling: Tiling| {
        let tile = tiling.constants().into_iter().chain([("SPLIT", tiling.split)]);
        Variant::new(constants.iter().copied().chain(tile), tiling.grid(geometry))
    };
    tilings.into_iter().map(variant).collect()
}

/// What such a kernel needs of a device.
pub(super) fn check_workgroup_memory(target: &Target) -> Result<(), &'static str> {
    let limits = &target.limits;
    if limits.max_compute_invocations_per_workgroup < INVOCATIONS || limits.max_compute_workgroup_storage_size < MEMORY
    {
        return Err("it needs workgroups of 256 invocations with 16 KiB of memory");
    }
    if limits.max_compute_workgroup_size_y < 16 || limits.max_compute_workgroup_size_z < 8 {
        return Err("it needs workgroups of 16 invocations along y and 8 along z");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shaders share out a team's work evenly, and have the teams' sums where the values were.
    #[test]
    fn tilings_are_what_the_shaders_need() {
        for tiling in TILINGS {
            let team = tiling.pixel_tiles * tiling.channel_tiles;
            let (pixel_fours, channel_fours) = (tiling.pixels() / 4, tiling.channels() / 4);
            assert!(team * tiling.split <= INVOCATIONS, "{tiling:?}");
            assert!(16 * tiling.split * DEPTH * (pixel_fours + channel_fours) <= MEMORY, "{tiling:?}");
            for fours in [pixel_fours, channel_fours] {
                let terms = team / fours;
                assert!(team == terms * fours && terms > 0 && DEPTH.is_multiple_of(terms), "{tiling:?}");
            }
            assert!(tiling.split == 1 || tiling.channels() <= DEPTH, "{tiling:?}");
        }
    }
}
