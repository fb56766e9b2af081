//! Rows of values brought to mean 0 and variance 1, then scaled and shifted: instance, layer and group norm.

use crate::activation::Activation;
use crate::describe::{Describe, Given, Reference};
use crate::error::{Error, Result};
use crate::size::{check_count, check_sizes, extent, in_a_row, values};

/// Each of `rows` rows of `length` values, normalised. Scale and shift of a value are those with the index
/// `row % periods · groups + column / run`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Normalise {
    /// How many rows there are.
    pub rows: u32,
    /// How many values each has.
    pub length: u32,
    /// After how many rows the scales begin again.
    pub periods: u32,
    /// How many scales a row has: `length / run`.
    pub groups: u32,
    /// How many neighbouring values of a row have one scale.
    pub run: u32,
    /// What is added to the variance.
    pub epsilon: f32,
    /// A function applied to each result.
    pub activation: Activation,
}

impl Normalise {
    /// Normalises each channel of each image (Ulyanov et al. 2016).
    ///
    /// # Errors
    /// A size that is out of its range.
    pub fn instance([batch, channels, height, width]: [u32; 4], epsilon: f32) -> Result<Self> {
        check_count("input", [batch, channels, height, width])?;
        Self::new(batch * channels, height * width, channels, height * width, epsilon)
    }

    /// Normalises each row of `length` values, with a scale for each value of a row (Ba et al. 2016).
    ///
    /// # Errors
    /// A size that is out of its range.
    pub fn layer(rows: u32, length: u32, epsilon: f32) -> Result<Self> {
        Self::new(rows, length, 1, 1, epsilon)
    }

    /// Normalises groups of channels (Wu and He 2018).
    ///
    /// # Errors
    /// A size that is out of its range; groups that do not divide the channels.
    pub fn group([batch, channels, height, width]: [u32; 4], groups: u32, epsilon: f32) -> Result<Self> {
        check_count("input", [batch, channels, height, width])?;
        if groups == 0 || channels % groups != 0 {
            return Err(Error::NotDivisible { argument: "channels", value: channels, groups });
        }
        let area = height * width;
        Self::new(batch * groups, channels / groups * area, groups, area, epsilon)
    }

    fn new(rows: u32, length: u32, periods: u32, run: u32, epsilon: f32) -> Result<Self> {
        let groups = length / run.max(1);
        let normalise = Self { rows, length, periods, groups, run, epsilon, activation: Activation::None };
        normalise.check()?;
        Ok(normalise)
    }

    fn shape(&self) -> [u32; 4] {
        in_a_row([1, self.rows, self.length])
    }

    fn scales(&self) -> [u32; 4] {
        [1, self.periods * self.groups, 1, 1]
    }
}

/// Half the distance from 1 to the next `f32`.
const UNIT_ROUNDOFF: f64 = f32::EPSILON as f64 / 2.0;

impl Describe for Normalise {
    fn check(&self) -> Result<()> {
        self.activation.check()?;
        check_sizes("size", [1, self.rows, self.length])?;
        extent("periods", self.periods.into())?;
        extent("run", self.run.into())?;
        if self.groups * self.run != self.length || !self.rows.is_multiple_of(self.periods) {
            return Err(Error::Altered);
        }
        if !(self.epsilon.is_finite() && self.epsilon >= 0.0) {
            return Err(Error::NotFinite { argument: "epsilon", value: self.epsilon });
        }
        check_count("input", self.shape())
    }

    fn given(&self) -> Vec<Given> {
        vec![
            Given::input("input", self.shape()),
            Given::parameter("scale", self.scales()),
            Given::parameter("bias", self.scales()),
        ]
    }

    fn output_shape(&self) -> [u32; 4] {
        self.shape()
    }

    fn text(&self) -> String {
        format!("normalise {}x{} periods {} run {}", self.rows, self.length, self.periods, self.run)
    }

    fn terms(&self) -> u64 {
        self.length.into()
    }

    fn activation(&self) -> Activation {
        self.activation
    }

    fn multiply_adds(&self) -> u64 {
        4 * values(self.shape())
    }

    fn reference(&self, given: &[&[f32]]) -> Reference {
        let mut reference = Reference::default();
        for (row, values) in given[0].chunks(self.length as usize).enumerate() {
            let count = f64::from(self.length);
            let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
            let size = values.iter().map(|&x| f64::from(x).abs()).sum::<f64>() / count;
            let variance = values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count;
            let deviation = (variance + f64::from(self.epsilon)).sqrt();
            for (column, &x) in values.iter().enumerate() {
                let index = row % self.periods as usize * self.groups as usize + column / self.run as usize;
                let [scale, bias] = [1, 2].map(|tensor| f64::from(given[tensor][index]));
                let normal = (f64::from(x) - mean) / deviation;
                reference.values.push(self.activation.apply(normal * scale + bias));
                // In roundings: the mean is off by one of the mean size for each value, and 6 of a division by the
                // length, which is rounded too. That moves all values. The variance is off by as many of its own size, and
                // by the square of the mean's error; the root halves that, and WGSL allows it 2 units, which are 4.
                let roundings = (count + 5.0) * size;
                let square = roundings.powi(2) * UNIT_ROUNDOFF / 2.0 / deviation.powi(2);
                let moved = roundings / deviation + normal.abs() * (count / 2.0 + 14.0 + square);
                reference.magnitudes.push((moved * scale.abs() + bias.abs()) / count);
            }
        }
        reference
    }
}
