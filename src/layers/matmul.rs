//! Products of matrices.

use crate::activation::Activation;
use crate::describe::{Describe, Given, Reference};
use crate::error::{Error, Result};
use crate::size::{check_count, extent, values};

/// Products of matrices `[rows, depth]` and `[depth, columns]`, for two axes of a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct MatMul {
    /// How many products there are along two axes.
    pub batch: [u32; 2],
    /// Along which of those each operand has a matrix of its own.
    pub varies: [[bool; 2]; 2],
    /// Rows of the first operand and of the output.
    pub rows: u32,
    /// The terms of each sum.
    pub depth: u32,
    /// Columns of the second operand and of the output.
    pub columns: u32,
    /// Whether each operand is stored with its two last axes exchanged.
    pub transposed: [bool; 2],
    /// Whether a number for each column is added.
    pub bias: bool,
    /// A function applied to each result.
    pub activation: Activation,
}

impl MatMul {
    /// One product of two matrices.
    ///
    /// # Errors
    /// A size that is out of its range.
    pub fn new([rows, depth, columns]: [u32; 3]) -> Result<Self> {
        let product = Self {
            batch: [1; 2],
            varies: [[true; 2]; 2],
            rows,
            depth,
            columns,
            transposed: [false; 2],
            bias: false,
            activation: Activation::None,
        };
        product.check()?;
        Ok(product)
    }

    /// How far apart an operand's matrices are along both axes of the batch, in values; 0 where one serves all.
    #[must_use]
    pub fn batch_strides(&self, operand: usize) -> [u32; 2] {
        let matrix = self.depth * if operand == 0 { self.rows } else { self.columns };
        let inner = if self.varies[operand][1] { matrix } else { 0 };
        let count = if self.varies[operand][1] { self.batch[1] } else { 1 };
        let outer = if self.varies[operand][0] { matrix * count } else { 0 };
        [outer, inner]
    }

    /// How far apart neighbouring rows and columns of an operand are, in values.
    #[must_use]
    pub fn strides(&self, operand: usize) -> [u32; 2] {
        let columns = if operand == 0 { self.depth } else { self.columns };
        let rows = if operand == 0 { self.rows } else { self.depth };
        if self.transposed[operand] { [1, rows] } else { [columns, 1] }
    }

    fn shape(&self, operand: usize) -> [u32; 4] {
        let [outer, inner] = [0, 1].map(|axis| if self.varies[operand][axis] { self.batch[axis] } else { 1 });
        let size = if operand == 0 { [self.rows, self.depth] } else { [self.depth, self.columns] };
        let [height, width] = if self.transposed[operand] { [size[1], size[0]] } else { size };
        [outer, inner, height, width]
    }
}

impl Describe for MatMul {
    fn check(&self) -> Result<()> {
        self.activation.check()?;
        for (argument, size) in [
            ("batch", self.batch[0]),
            ("batch", self.batch[1]),
            ("rows", self.rows),
            ("depth", self.depth),
            ("columns", self.columns),
        ] {
            extent(argument, size.into())?;
        }
        check_count("input", self.shape(0))?;
        check_count("other", self.shape(1))?;
        check_count("output", self.output_shape())?;
        let work = values(self.output_shape()).checked_mul(self.depth.into());
        work.filter(|&count| count < 1 << 62).map(|_| ()).ok_or(Error::TooMuchWork)
    }

    fn given(&self) -> Vec<Given> {
        let mut given = vec![Given::input("input", self.shape(0)), Given::input("other", self.shape(1))];
        given.extend(self.bias.then(|| Given::parameter("bias", [1, self.columns, 1, 1])));
        given
    }

    fn output_shape(&self) -> [u32; 4] {
        [self.batch[0], self.batch[1], self.rows, self.columns]
    }

    fn text(&self) -> String {
        let Self { batch, varies, rows, depth, columns, transposed, .. } = self;
        format!("matmul {batch:?} {varies:?} {rows}x{depth}x{columns} {transposed:?}")
    }

    fn terms(&self) -> u64 {
        self.depth.into()
    }

    fn activation(&self) -> Activation {
        self.activation
    }

    fn multiply_adds(&self) -> u64 {
        values(self.output_shape()) * u64::from(self.depth)
    }

    fn reference(&self, given: &[&[f32]]) -> Reference {
        let wide = |numbers: [u32; 2]| numbers.map(|number| number as usize);
        let [a_batch, b_batch] = [0, 1].map(|operand| wide(self.batch_strides(operand)));
        let [a, b] = [0, 1].map(|operand| wide(self.strides(operand)));
        let mut reference = Reference::default();
        for outer in 0..self.batch[0] as usize {
            for inner in 0..self.batch[1] as usize {
                for row in 0..self.rows as usize {
                    for column in 0..self.columns as usize {
                        let (mut sum, mut magnitude) = (0.0, 0.0);
                        for term in 0..self.depth as usize {
                            let first = given[0][outer * a_batch[0] + inner * a_batch[1] + row * a[0] + term * a[1]];
                            let second =
                                given[1][outer * b_batch[0] + inner * b_batch[1] + term * b[0] + column * b[1]];
                            let product = f64::from(first) * f64::from(second);
                            sum += product;
                            magnitude += product.abs();
                        }
                        if self.bias {
                            sum += f64::from(given[2][column]);
                            magnitude += f64::from(given[2][column]).abs();
                        }
                        reference.values.push(self.activation.apply(sum));
                        reference.magnitudes.push(magnitude);
                    }
                }
            }
        }
        reference
    }
}
