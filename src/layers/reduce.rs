//! One value for all values along an axis.

use crate::activation::Activation;
use crate::describe::{Describe, Given, Reference};
use crate::error::Result;
use crate::size::{check_count, check_sizes, in_a_row};

/// What is made of the values along an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reduction {
    /// Their sum.
    Sum,
    /// Their mean.
    Mean,
    /// The largest.
    Max,
    /// The least.
    Min,
    /// Their product.
    Product,
    /// The sum of their squares.
    SumOfSquares,
    /// The sum of their absolute values.
    SumOfAbsolutes,
}

/// A tensor `[outer, length, inner]` made into `[outer, inner]`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Reduce {
    /// What is made of the values.
    pub reduction: Reduction,
    /// Values before the axis.
    pub outer: u32,
    /// Values along the axis.
    pub length: u32,
    /// Values behind the axis.
    pub inner: u32,
    /// A function applied to each result.
    pub activation: Activation,
}

impl Reduce {
    /// Reduces `[outer, length, inner]` along its second axis.
    ///
    /// # Errors
    /// A size that is out of its range.
    pub fn new(reduction: Reduction, [outer, length, inner]: [u32; 3]) -> Result<Self> {
        let reduce = Self { reduction, outer, length, inner, activation: Activation::None };
        reduce.check()?;
        Ok(reduce)
    }

    /// `[outer, length, inner]`
    pub(crate) fn sizes(&self) -> [u32; 3] {
        [self.outer, self.length, self.inner]
    }
}

impl Describe for Reduce {
    fn check(&self) -> Result<()> {
        self.activation.check()?;
        check_sizes("size", self.sizes())?;
        check_count("input", in_a_row(self.sizes()))
    }

    fn given(&self) -> Vec<Given> {
        vec![Given::input("input", in_a_row(self.sizes()))]
    }

    fn output_shape(&self) -> [u32; 4] {
        in_a_row([self.outer, 1, self.inner])
    }

    fn text(&self) -> String {
        format!("reduce {:?} {:?}", self.reduction, self.sizes())
    }

    fn terms(&self) -> u64 {
        match self.reduction {
            Reduction::Max | Reduction::Min => 0,
            // WGSL allows a division an error of 2.5 units in the last place, which is 5 roundings; the length is rounded too.
            Reduction::Mean => u64::from(self.length) + 2,
            _ => self.length.into(),
        }
    }

    fn activation(&self) -> Activation {
        self.activation
    }

    fn multiply_adds(&self) -> u64 {
        crate::size::values(in_a_row(self.sizes()))
    }

    fn reference(&self, given: &[&[f32]]) -> Reference {
        let [length, inner] = [self.length, self.inner].map(|size| size as usize);
        let mut reference = Reference::default();
        for block in given[0].chunks(length * inner) {
            for column in 0..inner {
                let along = || (0..length).map(|row| f64::from(block[row * inner + column]));
                let nan = along().any(f64::is_nan);
                let count = length as f64;
                let with_size = |value: f64| (value, value.abs());
                let (value, magnitude) = match self.reduction {
                    Reduction::Sum => (along().sum(), along().map(f64::abs).sum()),
                    Reduction::Mean => (along().sum::<f64>() / count, along().map(f64::abs).sum::<f64>() / count),
                    Reduction::Max | Reduction::Min if nan => (f64::NAN, 0.0),
                    // Nothing is rounded before the activation, whose roundings are of the value's size.
                    Reduction::Max => with_size(along().fold(f64::NEG_INFINITY, f64::max)),
                    Reduction::Min => with_size(along().fold(f64::INFINITY, f64::min)),
                    Reduction::Product => (along().product(), along().product::<f64>().abs()),
                    Reduction::SumOfSquares => (along().map(|x| x * x).sum(), along().map(|x| x * x).sum()),
                    Reduction::SumOfAbsolutes => (along().map(f64::abs).sum(), along().map(f64::abs).sum()),
                };
                reference.values.push(self.activation.apply(value));
                reference.magnitudes.push(magnitude);
            }
        }
        reference
    }
}
