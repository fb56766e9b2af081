//! Two tensors, value by value, with broadcasting.

use crate::activation::Activation;
use crate::describe::{Describe, Given, Reference};
use crate::error::{Error, Result};
use crate::size::{check_count, extent, values};

/// What is made of two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BinaryOperation {
    /// a + b
    Add,
    /// a − b
    Sub,
    /// a · b
    Mul,
    /// a ÷ b
    Div,
    /// aᵇ
    Pow,
    /// The lesser.
    Min,
    /// The larger.
    Max,
    /// a where a ≥ 0, a · b elsewhere: `PReLU`, b being the slope
    PRelu,
}

impl BinaryOperation {
    /// The operation in `f64`. A NaN on either side stays one.
    #[must_use]
    pub fn apply(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Add => a + b,
            Self::Sub => a - b,
            Self::Mul => a * b,
            Self::Div => a / b,
            Self::Pow => a.powf(b),
            Self::Min if a.is_nan() || b < a => {
                if a.is_nan() {
                    a
                } else {
                    b
                }
            }
            Self::Max if a.is_nan() || b > a => {
                if a.is_nan() {
                    a
                } else {
                    b
                }
            }
            Self::Min | Self::Max => {
                if b.is_nan() {
                    b
                } else {
                    a
                }
            }
            Self::PRelu => {
                if a < 0.0 {
                    a * b
                } else {
                    a
                }
            }
        }
    }

    /// How many roundings of its result WGSL allows, but at least the three that every result is given. A unit in the last
    /// place is two roundings.
    fn roundings(self, a: f64, b: f64) -> f64 {
        match self {
            // 2.5 units.
            Self::Div => 5.0,
            // It is exp2(b · log2(a)), and exp2 of x may be off by 3 + 2|x| units. What log2 and the product are off by
            // comes on top: log2 3 units, but from 0.5 to 2 it is 2^-21.
            Self::Pow => {
                let exponent = (b * a.abs().log2()).abs();
                let logarithm = if (0.5..=2.0).contains(&a.abs()) { 8.0 * b.abs() } else { 6.0 * exponent };
                6.0 + 4.0 * exponent + std::f64::consts::LN_2 * (exponent + logarithm)
            }
            _ => 3.0,
        }
    }

    /// The number by which the shader knows it.
    pub(crate) fn number(self) -> u32 {
        self as u32
    }
}

/// The most axes that a tensor is seen with.
pub const AXES: usize = 6;

/// An operation on two tensors. The output has up to six axes; along each, a tensor either has all values or one, which
/// serves all.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Binary {
    /// What is made of two values.
    pub operation: BinaryOperation,
    /// The output's sizes; 1 where there is no such axis.
    pub sizes: [u32; AXES],
    /// Along which axes each tensor has all values.
    pub varies: [[bool; AXES]; 2],
    /// Whether a tensor of the output's shape is added before the activation.
    pub residual: bool,
    /// A function applied to each result.
    pub activation: Activation,
}

impl Binary {
    /// An operation on tensors of two shapes of equal rank, of at most six axes; along each, the sizes are alike or one of
    /// them is 1. Neighbouring axes that behave alike become one.
    ///
    /// # Errors
    /// [`Error::Unbroadcast`] for shapes that do not go together.
    pub fn new(operation: BinaryOperation, shapes: [&[u32]; 2], activation: Activation) -> Result<Self> {
        let unbroadcast = || Error::Unbroadcast { a: shapes[0].to_vec(), b: shapes[1].to_vec() };
        if shapes[0].len() != shapes[1].len() {
            return Err(unbroadcast());
        }
        // From the last axis to the first: size, and along which tensors it varies.
        let mut axes: Vec<(u32, [bool; 2])> = Vec::new();
        for (&a, &b) in shapes[0].iter().zip(shapes[1]).rev() {
            let size = if a == 1 { b } else { a };
            if ![1, size].contains(&b) {
                return Err(unbroadcast());
            }
            if size == 1 {
                continue;
            }
            let varies = [a == size, b == size];
            match axes.last_mut() {
                Some((inner, same)) if *same == varies => *inner = inner.checked_mul(size).ok_or_else(unbroadcast)?,
                _ => axes.push((size, varies)),
            }
        }
        if axes.len() > AXES {
            return Err(unbroadcast());
        }
        let mut binary = Self { operation, sizes: [1; AXES], varies: [[true; AXES]; 2], residual: false, activation };
        for (axis, (size, [a, b])) in (0..AXES).rev().zip(axes) {
            binary.sizes[axis] = size;
            (binary.varies[0][axis], binary.varies[1][axis]) = (a, b);
        }
        binary.check()?;
        Ok(binary)
    }

    /// Whether a tensor of the output's shape is added before the activation. Default false.
    #[must_use]
    pub fn residual(mut self, residual: bool) -> Self {
        self.residual = residual;
        self
    }

    /// How far apart neighbours along each axis are in the first or the second tensor, in values; 0 where one serves all.
    #[must_use]
    pub fn strides(&self, tensor: usize) -> [u32; AXES] {
        let mut strides = [0; AXES];
        let mut stride = 1;
        for axis in (0..AXES).rev() {
            if self.varies[tensor][axis] {
                strides[axis] = stride;
                stride *= self.sizes[axis];
            }
        }
        strides
    }

    fn count(&self, tensor: usize) -> u32 {
        let axes = self.sizes.iter().zip(self.varies[tensor]);
        axes.filter(|(_, varies)| *varies).map(|(size, _)| size).product()
    }

    fn shape(&self) -> [u32; 4] {
        shape_of(self.sizes)
    }
}

/// The shape of an output that is seen with six axes.
pub(super) fn shape_of(sizes: [u32; AXES]) -> [u32; 4] {
    let outer = sizes[..3].iter().fold(1, |count: u32, &size| count.saturating_mul(size));
    [outer, sizes[3], sizes[4], sizes[5]]
}

/// Refuses sizes of which one is 0 or too large, and outputs whose values a shader could not number.
pub(super) fn check_axes(sizes: [u32; AXES]) -> Result<()> {
    for size in sizes {
        extent("size", size.into())?;
    }
    if sizes[..3].iter().map(|&size| u128::from(size)).product::<u128>() > u32::MAX.into() {
        return Err(Error::Overflow { argument: "output", shape: shape_of(sizes) });
    }
    check_count("output", shape_of(sizes))
}

impl Describe for Binary {
    fn check(&self) -> Result<()> {
        self.activation.check()?;
        check_axes(self.sizes)
    }

    fn given(&self) -> Vec<Given> {
        let tensor = |name, index| Given::input(name, [1, 1, 1, self.count(index)]);
        let mut given = vec![tensor("input", 0), tensor("other", 1)];
        given.extend(self.residual.then(|| Given::input("residual", self.shape())));
        given
    }

    fn output_shape(&self) -> [u32; 4] {
        self.shape()
    }

    fn text(&self) -> String {
        format!("{:?} of {:?} {:?}", self.operation, self.sizes, self.varies.map(|varies| varies.map(u8::from)))
    }

    fn activation(&self) -> Activation {
        self.activation
    }

    fn multiply_adds(&self) -> u64 {
        values(self.shape())
    }

    fn reference(&self, given: &[&[f32]]) -> Reference {
        let strides = [self.strides(0), self.strides(1)];
        let mut reference = Reference::default();
        for index in 0..values(self.shape()) {
            let mut rest = index;
            let mut places = [0; 2];
            for axis in (0..AXES).rev() {
                let position = rest % u64::from(self.sizes[axis]);
                rest /= u64::from(self.sizes[axis]);
                for tensor in 0..2 {
                    places[tensor] += position * u64::from(strides[tensor][axis]);
                }
            }
            let [a, b] = [0, 1].map(|tensor| f64::from(given[tensor][usize::try_from(places[tensor]).unwrap()]));
            let y = self.operation.apply(a, b);
            let residual = if self.residual { f64::from(given[2][usize::try_from(index).unwrap()]) } else { 0.0 };
            reference.values.push(self.activation.apply(y + residual));
            reference.magnitudes.push(y.abs() * self.operation.roundings(a, b) / 3.0 + residual.abs());
        }
        reference
    }
}
