//! What the kernels that multiply from workgroup memory have in common: how their workgroups tile pixels and channels.

use super::convolution::tiles;
use super::row::Variant;
use super::work::{add_bias, add_requests, add_shared};
use crate::geometry::Geometry;
use crate::model::Work;
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

/// How many tiles of 64 pixels and 64 channels a layer has.
pub(super) fn large_tiles(geometry: &Geometry) -> u64 {
    Tiling::new(16, 8, 8).grid(geometry).iter().product()
}

/// The variants of a kernel with these constants besides its tiles'.
pub(super) fn variants(geometry: &Geometry, constants: &[(&'static str, u32)]) -> Vec<Variant> {
    let channels = geometry.out_channels_per_group();
    // A tile that is half idle along the channels is no candidate, unless it splits sums.
    let fits = |tiling: &Tiling| tiling.split > 1 || tiling.channels() < 2 * channels;
    let variant = |tiling: Tiling| {
        let tile = tiling.constants().into_iter().chain([("SPLIT", tiling.split)]);
        Variant::new(constants.iter().copied().chain(tile), tiling.grid(geometry))
    };
    TILINGS.into_iter().filter(fits).map(variant).collect()
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

/// Instructions to fetch a four of weights, but for the load and the store.
const WEIGHT: f64 = 10.0;

/// What such a kernel does in closed form, for a tile of `pixels` by `channels`.
pub(super) struct TileWork {
    pub pixels: f64,
    pub channels: f64,
    channel_tile: f64,
    pixel_fours: f64,
    pixel_tiles: f64,
    depth: f64,
    split: f64,
    /// The invocations of a team.
    team: f64,
}

impl TileWork {
    pub fn of(variant: &Variant) -> Self {
        let [pixel_tiles, channel_tiles, pixel_fours, channel_tile, depth] =
            ["PIXEL_TILES", "CHANNEL_TILES", "PIXEL_FOURS", "CHANNEL_TILE", "DEPTH"].map(|name| variant.the(name));
        Self {
            pixels: 4.0 * pixel_fours * pixel_tiles,
            channels: channel_tiles * channel_tile,
            channel_tile,
            pixel_fours,
            pixel_tiles,
            depth,
            split: variant.get("SPLIT").unwrap_or(1).into(),
            team: pixel_tiles * channel_tiles,
        }
    }

    pub fn invocations(&self) -> f64 {
        self.split * self.team
    }

    pub fn subgroups(&self) -> f64 {
        self.invocations() / 32.0
    }

    /// So often all teams multiply what is in workgroup memory.
    pub fn rounds(&self, terms: f64) -> f64 {
        (terms / (self.depth * self.split)).ceil()
    }

    /// Of how many channels an invocation puts values into workgroup memory each round, if it takes all of one's alone.
    pub fn channels_each(&self) -> f64 {
        self.depth * self.pixel_tiles / self.team
    }

    pub fn workgroup_bytes(&self) -> f64 {
        4.0 * self.split * self.depth * (self.pixels + self.channels)
    }

    /// The sums of an invocation, and the values and the weights that it fetches.
    pub fn registers(&self) -> f64 {
        let fetched = self.depth * (self.pixels + self.channels) / self.team;
        4.0 * self.pixel_fours * (self.channel_tile + 1.0) + fetched + 30.0
    }

    /// The weights of so many terms, which are packed in fours, and their places in workgroup memory.
    pub fn add_packed_weights(&self, work: &mut Work, terms: f64) {
        add_requests(work, terms * self.channels / 128.0, 16.0);
        add_shared(work, self.places(terms) * self.channels / 128.0, 1.0);
    }

    /// The places of values in workgroup memory.
    pub fn add_values(&self, work: &mut Work, terms: f64) {
        add_shared(work, self.places(terms) * self.pixels / 128.0, 1.0);
    }

    /// The terms with those past the last one, which are zero.
    fn places(&self, terms: f64) -> f64 {
        self.rounds(terms) * self.depth * self.split
    }

    pub fn add_product(&self, work: &mut Work, terms: f64) {
        let times = self.subgroups() * self.rounds(terms) * self.depth;
        work.multiply_adds += times * 4.0 * self.pixel_fours * self.channel_tile;
        add_shared(work, times * (self.pixel_fours + self.channel_tile / 4.0), 1.0);
    }

    /// Instructions besides: for each four of values that is fetched, each four of weights, each four that is stored, and each
    /// subgroup, which may have the sums of other teams to find. They are what the code that was compiled for an H100 has: see `benches/results/sm_90.csv`.
    pub fn others(&self, terms: f64, value: f64, store: f64, subgroup: f64) -> f64 {
        terms * (self.pixels * value + self.channels * WEIGHT) / 128.0
            + self.pixels * self.channels / 128.0 * store
            + self.subgroups() * (subgroup + if self.split > 1.0 { 60.0 } else { 0.0 })
    }

    /// What follows the product, each four of a channel in so many stores, and as many loads of a residual: either of them
    /// touches half of a stretch of 32 bytes for each invocation.
    pub fn add_ends(&self, work: &mut Work, geometry: &Geometry, stores: f64) {
        let fours = self.pixels * self.channels / 128.0;
        // The rows of a subgroup have channels of their own.
        let rows = 32.0 / self.pixel_tiles;
        let mut channels = (rows * self.channel_tile / 8.0).clamp(1.0, rows);
        if self.split > 1.0 {
            // To where the values were. Of 8 invocations, some meet in a bank where a row has fewer.
            add_shared(work, self.split * fours, (8.0 / self.pixel_tiles).max(1.0));
            add_shared(work, self.split * fours, 1.0);
            channels = 1.0;
        }
        add_bias(work, geometry, fours, channels);
        let times = if geometry.residual.is_some() { 2.0 } else { 1.0 };
        add_requests(work, times * stores * fours, 16.0);
    }

    /// The same where the sums of all teams go through workgroup memory, from which neighbouring invocations take neighbouring
    /// pixels, one at a time: a store is of four stretches.
    pub fn add_ends_of_neighbours(&self, work: &mut Work, geometry: &Geometry) {
        let fours = self.pixels * self.channels / 128.0;
        add_shared(work, self.split * fours, (8.0 / self.pixel_tiles).max(1.0));
        // A load of 32 values asks the banks once.
        add_shared(work, self.split * 4.0 * fours, 0.25);
        add_bias(work, geometry, 4.0 * fours, 1.0);
        let times = if geometry.residual.is_some() { 2.0 } else { 1.0 };
        add_requests(work, times * 4.0 * fours, 4.0);
    }
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
            let shared = DEPTH / tiling.channel_tiles;
            assert!(DEPTH == shared * tiling.channel_tiles && tiling.channel_tile.is_multiple_of(shared), "{tiling:?}");
            assert!((team * tiling.split).is_multiple_of(tiling.pixels()), "{tiling:?}");
        }
    }
}
