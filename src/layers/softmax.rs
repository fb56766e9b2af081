//! Softmax: values along an axis made into shares of their exponentials' sum.

use crate::describe::{Describe, Given, Reference};
use crate::error::Result;
use crate::size::{check_count, check_sizes, in_a_row};

/// Softmax, or its logarithm, along the second axis of `[outer, length, inner]`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Softmax {
    /// Values before the axis.
    pub outer: u32,
    /// Values along the axis.
    pub length: u32,
    /// Values behind the axis.
    pub inner: u32,
    /// Whether the logarithm of each share is wanted.
    pub is_log: bool,
}

impl Softmax {
    /// Softmax along the second axis of `[outer, length, inner]`.
    ///
    /// # Errors
    /// A size that is out of its range.
    pub fn new([outer, length, inner]: [u32; 3], is_log: bool) -> Result<Self> {
        let softmax = Self { outer, length, inner, is_log };
        softmax.check()?;
        Ok(softmax)
    }

    /// `[outer, length, inner]`
    pub(crate) fn sizes(&self) -> [u32; 3] {
        [self.outer, self.length, self.inner]
    }
}

impl Describe for Softmax {
    fn check(&self) -> Result<()> {
        check_sizes("size", self.sizes())?;
        check_count("input", in_a_row(self.sizes()))
    }

    fn given(&self) -> Vec<Given> {
        vec![Given::input("input", in_a_row(self.sizes()))]
    }

    fn output_shape(&self) -> [u32; 4] {
        in_a_row(self.sizes())
    }

    fn text(&self) -> String {
        format!("softmax {:?}{}", self.sizes(), if self.is_log { " log" } else { "" })
    }

    fn terms(&self) -> u64 {
        self.length.into()
    }

    fn multiply_adds(&self) -> u64 {
        crate::size::values(in_a_row(self.sizes()))
    }

    fn reference(&self, given: &[&[f32]]) -> Reference {
        let [length, inner] = [self.length, self.inner].map(|size| size as usize);
        let count = given[0].len();
        let mut reference =
            Reference { values: vec![0.0; count], magnitudes: vec![0.0; count], ..Reference::default() };
        for (block, values) in given[0].chunks(length * inner).enumerate() {
            for column in 0..inner {
                let along = || (0..length).map(|row| f64::from(values[row * inner + column]));
                let largest = along().fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = along().map(|x| (x - largest).exp()).sum();
                // How far below the largest value the shares are, on average.
                let shares = along().map(|x| (largest - x, (x - largest).exp() / sum));
                let below: f64 = shares.filter(|(_, share)| *share > 0.0).map(|(below, share)| below * share).sum();
                for (row, x) in along().enumerate() {
                    let index = (block * length + row) * inner + column;
                    let share = (x - largest).exp() / sum;
                    let log = x - largest - sum.ln();
                    // In roundings: WGSL allows exp 3 + 2|x| units in the last place, which are 6 + 4|x|; the difference in
                    // it is rounded once, which is |x| more. So the sum is off by 6 + 5 below, besides a rounding for each
                    // term; a share by its own exponential's error too, and by 5 of the division.
                    let of_sum = 6.0 + 5.0 * below;
                    let distance = largest - x;
                    let (value, roundings) = if self.is_log {
                        // WGSL allows log 3 units, but 2^-21 up to 2; then the difference is rounded.
                        (log, of_sum + 8.0 + 6.0 * sum.ln() + distance + log.abs())
                    } else {
                        (share, share * (of_sum + 11.0 + 5.0 * distance))
                    };
                    // As many more are for each of the terms.
                    let size = if self.is_log { 1.0 } else { share };
                    reference.values[index] = value;
                    reference.magnitudes[index] = size + roundings / length as f64;
                }
            }
        }
        reference
    }
}
