//! `Counts`: what the subgroups of a step asked for.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use super::SUBGROUP;
use super::mask::Mask;

/// What subgroups did, as the shader is written: a compiler may move, share or drop some of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Loads and stores of each storage buffer, by the variable's name.
    pub buffers: BTreeMap<String, Traffic>,
    /// Loads and stores of workgroup memory.
    pub shared: Shared,
    /// Barriers, once for each workgroup.
    pub barriers: u64,
    /// `fma(a, b, c)`, and `a * b + c` where the product is an operand of the sum.
    pub multiply_adds: Operations,
    /// Other operations on floats, comparisons too.
    pub floats: Operations,
    /// Operations on integers, comparisons too, but no addresses of array elements.
    pub integers: Operations,
    /// Those of the integer operations that divide by what is no constant.
    pub divisions: Operations,
    /// Conditions that are no constants.
    pub branches: Operations,
    /// Those of the branches on which invocations of a subgroup parted.
    pub divergences: u64,
}

/// How often something was done; four times for a vector of four.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Operations {
    /// Once for each subgroup that had an invocation there.
    pub subgroups: u64,
    /// Once for each invocation.
    pub invocations: u64,
}

/// The loads and stores of a buffer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// What was read.
    pub loads: Access,
    /// What was written.
    pub stores: Access,
}

/// Accesses in one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Access {
    /// One for each subgroup and statement.
    pub requests: u64,
    /// The stretches of 32 bytes that each request touched, summed over the requests.
    pub sectors: u64,
    /// The values of 4 bytes that invocations asked for.
    pub values: u64,
}

/// The loads and stores of workgroup memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shared {
    /// What was read.
    pub loads: Banks,
    /// What was written.
    pub stores: Banks,
}

/// Accesses to workgroup memory in one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Banks {
    /// One for each subgroup and statement.
    pub requests: u64,
    /// How many times the banks were asked: see [`wavefronts`].
    pub wavefronts: u64,
    /// The fewest wavefronts that these requests could have taken.
    pub least: u64,
    /// The values of 4 bytes that invocations asked for.
    pub values: u64,
}

impl Operations {
    pub(super) fn add(&mut self, mask: &Mask, times: usize) {
        self.subgroups += mask.subgroups() * times as u64;
        self.invocations += mask.count() * times as u64;
    }

    pub(super) fn take_back(&mut self, mask: &Mask, times: usize) {
        self.subgroups -= mask.subgroups() * times as u64;
        self.invocations -= mask.count() * times as u64;
    }
}

impl AddAssign for Operations {
    fn add_assign(&mut self, other: Self) {
        self.subgroups += other.subgroups;
        self.invocations += other.invocations;
    }
}

impl Access {
    /// A request of one subgroup, of so many values from each address, in bytes.
    pub(super) fn add(&mut self, addresses: &[u32], values: u32) {
        self.requests += 1;
        self.sectors += sectors(addresses, 4 * values);
        self.values += addresses.len() as u64 * u64::from(values);
    }
}

impl AddAssign for Access {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.sectors += other.sectors;
        self.values += other.values;
    }
}

impl Banks {
    /// A request of one subgroup: each invocation with its number in the subgroup and its address in bytes.
    pub(super) fn add(&mut self, addresses: &[(usize, u32)], values: u32) {
        self.requests += 1;
        self.wavefronts += wavefronts(addresses, values);
        self.least += phases(addresses, values).count() as u64;
        self.values += addresses.len() as u64 * u64::from(values);
    }
}

impl AddAssign for Banks {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.wavefronts += other.wavefronts;
        self.least += other.least;
        self.values += other.values;
    }
}

impl AddAssign<&Self> for Counts {
    fn add_assign(&mut self, other: &Self) {
        for (name, traffic) in &other.buffers {
            let own = self.buffers.entry(name.clone()).or_default();
            own.loads += traffic.loads;
            own.stores += traffic.stores;
        }
        self.shared.loads += other.shared.loads;
        self.shared.stores += other.shared.stores;
        self.barriers += other.barriers;
        self.multiply_adds += other.multiply_adds;
        self.floats += other.floats;
        self.integers += other.integers;
        self.divisions += other.divisions;
        self.branches += other.branches;
        self.divergences += other.divergences;
    }
}

impl Counts {
    /// The traffic of a buffer: none if the shader has no such buffer, or did not touch it.
    #[must_use]
    pub fn of(&self, buffer: &str) -> Traffic {
        self.buffers.get(buffer).copied().unwrap_or_default()
    }
}

/// Into how many stretches of 32 bytes these accesses fall.
fn sectors(addresses: &[u32], bytes: u32) -> u64 {
    let mut touched: Vec<u32> =
        addresses.iter().flat_map(|address| address / 32..=(address + bytes - 1) / 32).collect();
    touched.sort_unstable();
    touched.dedup();
    touched.len() as u64
}

/// How many banks of 4 bytes workgroup memory has.
const BANKS: u32 = 32;

/// The invocations that the banks serve at a time: 32 of them for one value each, 16 for two, 8 for three or four.
fn phases(addresses: &[(usize, u32)], values: u32) -> impl Iterator<Item = &[(usize, u32)]> {
    let together = SUBGROUP / values.next_power_of_two() as usize;
    addresses.chunk_by(move |(a, _), (b, _)| a / together == b / together)
}

/// How often the banks must be asked. A bank gives one word at a time, to as many invocations as want it.
fn wavefronts(addresses: &[(usize, u32)], values: u32) -> u64 {
    let of_phase = |phase: &[(usize, u32)]| {
        let mut words: Vec<u32> = phase.iter().flat_map(|(_, address)| address / 4..address / 4 + values).collect();
        words.sort_unstable();
        words.dedup();
        let mut asked = [0_u64; BANKS as usize];
        for word in words {
            asked[(word % BANKS) as usize] += 1;
        }
        asked.into_iter().max().unwrap_or(0)
    };
    phases(addresses, values).map(of_phase).sum()
}
