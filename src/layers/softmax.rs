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

    fn sizes(&self) -> [u32; 3] {
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
        let mut reference = Reference { values: vec![0.0; count], magnitudes: vec![0.0; count] };
        for (block, values) in given[0].chunks(length * inner).enumerate() {
            for column in 0..inner {
                let along = || (0..length).map(|row| f64::from(values[row * inner + column]));
                let largest = along().fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = along().map(|x| (x - largest).exp()).sum();
                for (row, x) in along().enumerate() {
                    let index = (block * length + row) * inner + column;
                    let log = x - largest - sum.ln();
                    let share = (x - largest).exp() / sum;
                    reference.values[index] = if self.is_log { log } else { share };
                    // WGSL allows exp an error of 3 + 2|x| units in the last place.
                    let size = (x - largest).abs();
                    reference.magnitudes[index] = if self.is_log {
                        8.0 + x.abs() + largest.abs()
                    } else {
                        share * (8.0 + 4.0 * size + x.abs() + largest.abs())
                    };
                }
            }
        }
        reference
    }
}
