//! What kernels share that walk down the rows of depthwise layers.

use super::convolution::{span, unscaled};
use super::row::Variant;
use crate::geometry::Geometry;

/// The widest and the highest window of a kernel that keeps one, or its sums, in registers.
pub(super) const MAXIMUM_WINDOW: u64 = 32;

/// A GPU has at most some 255 registers for an invocation. The addresses want theirs; what is left over holds the filter,
/// the values and the sums. Past these the rest would be kept in memory, and read again for each row of outputs.
const REGISTERS: u64 = 168;

/// Refuses what is no depthwise layer, and one whose input is multiplied first.
pub(super) fn check(geometry: &Geometry) -> Result<(), &'static str> {
    if geometry.in_channels_per_group() == 1 { unscaled(geometry) } else { Err("it needs groups = in_channels") }
}

/// How many rows of the input lie under one of the output.
pub(super) fn window_height(geometry: &Geometry) -> u64 {
    span(1, geometry.kernel_size.height, geometry.stride.height, geometry.dilation.height)
}

/// How many output rows see one row of the input, at most.
pub(super) fn partials(geometry: &Geometry) -> u64 {
    window_height(geometry).div_ceil(geometry.stride.height.into())
}

/// How many rows of the input an output row brings that some output row sees.
pub(super) fn new_rows(geometry: &Geometry) -> u64 {
    window_height(geometry).min(geometry.stride.height.into())
}

/// Refuses output rows that bring more values than may be fetched together, and rows that are too long to count the values of a
/// tile in.
pub(super) fn check_rows(geometry: &Geometry, values: u64) -> Result<(), &'static str> {
    if values > FETCHED {
        return Err("it needs an output row to bring at most 36 values of the input for each invocation");
    }
    if partials(geometry).saturating_add(MOST_STEPS).saturating_mul(geometry.output.width.into()) >= 1 << 31 {
        return Err("it needs the output rows that an invocation makes to have fewer than 2^31 values");
    }
    Ok(())
}

/// An invocation takes no more steps than these, besides those that complete no output row.
pub(super) const MOST_STEPS: u64 = 64;

/// So many registers may hold values that were fetched and not used, as long as no more than `FEW` are taken in all. A memory of
/// 4 TB/s whose values take 1 us has 30 KB under way for each of 132 units, which is 8 values for each of 1,000 invocations. Of
/// these rows most values are in a cache, which neighbouring rows have in common.
const FETCHED: u64 = 36;
const FEW: u64 = 128;

/// How an invocation walks down a number of rows.
pub(super) struct Walk {
    /// How often it fetches values and waits for them.
    pub rounds: u32,
    /// How many output rows' values it fetches at a time.
    pub ahead: u32,
    /// The rows that it makes, at most: at least those that were asked for.
    pub rows: u32,
}

impl Walk {
    /// `partials` output rows see an input row, each output row brings so many values, and other things are held in so many
    /// registers.
    pub(super) fn new(rows: u32, partials: u64, values: u64, held: u64) -> Self {
        let filling = filling(partials);
        let steps = rows + filling;
        let most = u32::try_from(FETCHED.min(FEW.saturating_sub(held)) / values).unwrap_or(u32::MAX).max(1);
        let rounds = steps.div_ceil(most);
        let ahead = steps.div_ceil(rounds);
        Self { rounds, ahead, rows: rounds * ahead - filling }
    }

    /// That of a variant.
    pub(super) fn of(variant: &Variant, partials: u64) -> Self {
        let [rounds, ahead] = ["ROUNDS", "AHEAD"].map(|name| variant.get(name).expect("both in every variant"));
        Self { rounds, ahead, rows: rounds * ahead - filling(partials) }
    }

    /// The shader's constants.
    pub(super) fn constants(&self) -> [(&'static str, u32); 2] {
        [("ROUNDS", self.rounds), ("AHEAD", self.ahead)]
    }

    /// How many output rows' values it fetches in all.
    pub(super) fn steps(&self) -> f64 {
        f64::from(self.rounds) * f64::from(self.ahead)
    }

    /// The rows that it makes of a layer, which may have fewer.
    pub(super) fn made(&self, geometry: &Geometry) -> f64 {
        self.rows.min(geometry.output.height).into()
    }
}

/// The steps that complete no output row.
fn filling(partials: u64) -> u32 {
    u32::try_from(partials - 1).expect("the few rows of a window that is supported")
}

/// Whether the registers hold what a kernel keeps, and the values of a step.
pub(super) fn fits(held: u64, values: u64) -> bool {
    held + values <= REGISTERS
}

/// A GPU's variants, each made for a walk down so many rows of outputs at least.
pub(super) fn walks(geometry: &Geometry, variant: impl Fn(u32) -> Variant) -> Vec<Variant> {
    let height = geometry.output.height;
    let mut variants = [16, 8, 4, 2].map(|most_rows| variant(height.div_ceil(height.div_ceil(most_rows)))).to_vec();
    variants.dedup();
    variants
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_fetched_together_as_far_as_registers_hold_them() {
        let holding = |rows, partials, values, held| {
            let Walk { rounds, ahead, rows } = Walk::new(rows, partials, values, held);
            [rounds, ahead, rows]
        };
        let walk = |rows, partials, values| holding(rows, partials, values, 20);
        assert_eq!(walk(16, 3, 6), [3, 6, 16]);
        assert_eq!(walk(14, 3, 3), [2, 8, 14]);
        // 13 steps are made in two rounds of 7.
        assert_eq!(walk(11, 3, 3), [2, 7, 12]);
        assert_eq!(walk(2, 3, 3), [1, 4, 2]);
        assert_eq!(walk(1, 1, 100), [1, 1, 1]);
        assert_eq!(walk(2, 1, 100), [2, 1, 2]);
        // A large filter leaves few registers.
        assert_eq!([holding(8, 9, 9, 108), holding(8, 11, 11, 154)], [[8, 2, 8], [18, 1, 8]]);
    }
}
