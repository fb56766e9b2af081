//! A function of one number, applied to each value of a tensor.

use crate::activation::Activation;
use crate::describe::{Describe, Given, Reference};
use crate::error::Result;
use crate::size::{check_count, values};

/// A function applied to each value.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Unary {
    /// Of input and output.
    pub shape: [u32; 4],
    /// The function.
    pub activation: Activation,
}

impl Unary {
    /// Applies a function to a tensor of this shape.
    ///
    /// # Errors
    /// A size or a number of the function that is out of its range.
    pub fn new(shape: [u32; 4], activation: Activation) -> Result<Self> {
        activation.check()?;
        check_count("input", shape)?;
        Ok(Self { shape, activation })
    }
}

impl Describe for Unary {
    fn check(&self) -> Result<()> {
        Self::new(self.shape, self.activation).map(|_| ())
    }

    fn given(&self) -> Vec<Given> {
        vec![Given::input("input", self.shape)]
    }

    fn output_shape(&self) -> [u32; 4] {
        self.shape
    }

    fn text(&self) -> String {
        format!("unary {} of {}", self.activation.number(), values(self.shape))
    }

    fn activation(&self) -> Activation {
        self.activation
    }

    fn multiply_adds(&self) -> u64 {
        values(self.shape)
    }

    fn reference(&self, given: &[&[f32]]) -> Reference {
        let values: Vec<f64> = given[0].iter().map(|&x| self.activation.apply(x.into())).collect();
        let magnitudes = given[0].iter().map(|&x| f64::from(x).abs()).collect();
        Reference { values, magnitudes, ..Reference::default() }
    }
}
