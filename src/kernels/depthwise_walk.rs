//! What kernels share that walk down the rows of depthwise layers.

use super::convolution::unscaled;
use super::row::Variant;
use crate::geometry::Geometry;

/// The widest and the highest window of a kernel that keeps one, or its sums, in registers.
pub(super) const MAXIMUM_WINDOW: u64 = 32;

/// A GPU has at most some 255 registers for an invocation. The addresses want theirs; what is left over holds the filter,
/// the values and the sums. Past these the rest would be kept in memory, and read again for each row of outputs.
pub(super) const REGISTERS: u64 = 192;

/// Refuses what is no depthwise layer, and one whose input is multiplied first.
pub(super) fn check(geometry: &Geometry) -> Result<(), &'static str> {
    if geometry.in_channels_per_group() == 1 { unscaled(geometry) } else { Err("it needs groups = in_channels") }
}

/// A GPU's variants, each made for a walk down so many rows of outputs at least.
pub(super) fn walks(geometry: &Geometry, variant: impl Fn(u32) -> Variant) -> Vec<Variant> {
    let height = geometry.output.height;
    let mut variants = [16, 8, 4, 2].map(|most_rows| variant(height.div_ceil(height.div_ceil(most_rows)))).to_vec();
    variants.dedup();
    variants
}
