//! A table of a stack of layers, as PyTorch users know it from `torchsummary`.

use std::fmt;

use crate::conv::Conv2d;
use crate::error::Result;
use crate::geometry::Geometry;
use crate::separable::SeparableConv2d;
use crate::size::values;

/// One layer of a stack.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Row {
    /// What the layer is called.
    pub name: String,
    /// Its sizes.
    pub geometry: Geometry,
}

/// The layers of a stack, in order, each taking the output of the one before.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    input_shape: [u32; 4],
    rows: Vec<Row>,
}

impl Summary {
    /// A stack without layers, which takes an input of this shape.
    #[must_use]
    pub fn new(input_shape: [u32; 4]) -> Self {
        Self { input_shape, rows: Vec::new() }
    }

    /// Adds a layer.
    ///
    /// # Errors
    /// Those of [`Conv2d::geometry`] for the output of the layer before.
    pub fn conv2d(mut self, name: impl Into<String>, layer: &Conv2d) -> Result<Self> {
        let geometry = layer.geometry(self.output_shape())?;
        self.rows.push(Row { name: name.into(), geometry });
        Ok(self)
    }

    /// Adds a separable layer, as the two layers that it is.
    ///
    /// # Errors
    /// Those of [`SeparableConv2d::geometry`] for the output of the layer before.
    pub fn separable(mut self, name: &str, layer: &SeparableConv2d) -> Result<Self> {
        let (depthwise, pointwise) = layer.geometry(self.output_shape())?;
        self.rows.push(Row { name: format!("{name}.depthwise"), geometry: depthwise });
        self.rows.push(Row { name: format!("{name}.pointwise"), geometry: pointwise });
        Ok(self)
    }

    /// The layers.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The shape of the last layer's output.
    #[must_use]
    pub fn output_shape(&self) -> [u32; 4] {
        self.rows.last().map_or(self.input_shape, |row| row.geometry.output_shape())
    }

    /// Learned numbers in all layers.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.total(Geometry::parameters)
    }

    /// Multiply-adds in all layers.
    #[must_use]
    pub fn multiply_adds(&self) -> u64 {
        self.total(Geometry::multiply_adds)
    }

    /// Bytes that must move in all layers, each reading its input and writing its output once.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.total(Geometry::bytes)
    }

    /// The input's size in bytes.
    #[must_use]
    pub fn input_bytes(&self) -> u64 {
        4 * values(self.input_shape)
    }

    /// Twice the bytes of all outputs: values going forward and gradients coming back, as `torchsummary` counts.
    #[must_use]
    pub fn forward_backward_bytes(&self) -> u64 {
        self.total(|geometry| values(geometry.output_shape())).saturating_mul(2 * 4)
    }

    /// The bytes of all learned numbers.
    #[must_use]
    pub fn parameter_bytes(&self) -> u64 {
        self.parameters().saturating_mul(4)
    }

    /// Input, forward and backward pass, and parameters together, in bytes.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.input_bytes().saturating_add(self.forward_backward_bytes()).saturating_add(self.parameter_bytes())
    }

    /// A sum over the layers, or [`u64::MAX`] where it is larger.
    fn total(&self, of: impl Fn(&Geometry) -> u64) -> u64 {
        self.rows.iter().map(|row| of(&row.geometry)).fold(0, u64::saturating_add)
    }
}

/// Bytes in units of 2²⁰, which `torchsummary` calls MB.
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = "-".repeat(78);
        writeln!(
            f,
            "{rule}\n{:<24}{:>22}{:>14}{:>18}\n{rule}",
            "Layer", "Output shape", "Parameters", "Multiply-adds"
        )?;
        for Row { name, geometry } in &self.rows {
            let shape = format!("{:?}", geometry.output_shape());
            writeln!(f, "{name:<24}{shape:>22}{:>14}{:>18}", geometry.parameters(), geometry.multiply_adds())?;
        }
        writeln!(f, "{rule}\n{:<24}{:>36}{:>18}\n{rule}", "Total", self.parameters(), self.multiply_adds())?;
        for (label, bytes) in [
            ("Input size (MB)", self.input_bytes()),
            ("Forward/backward pass size (MB)", self.forward_backward_bytes()),
            ("Params size (MB)", self.parameter_bytes()),
            ("Estimated total size (MB)", self.total_bytes()),
        ] {
            writeln!(f, "{label:<34}{:.2}", megabytes(bytes))?;
        }
        write!(f, "{rule}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_starting_example() {
        let input = [1, 3, 64, 64];
        let normal = Summary::new(input).conv2d("conv", &Conv2d::new(3, 4, 3).padding(1)).unwrap();
        let separable = Summary::new(input).separable("conv", &SeparableConv2d::new(3, 4, 3).padding(1)).unwrap();
        assert_eq!((normal.parameters(), separable.parameters()), (112, 46));
        assert_eq!((normal.multiply_adds(), separable.multiply_adds()), (442_368, 159_744));
        let table = |summary: &Summary| summary.to_string();
        for (summary, pass, total) in [(&normal, "0.12", "0.17"), (&separable, "0.22", "0.27")] {
            assert!(table(summary).contains("Input size (MB)                   0.05\n"), "{summary}");
            assert!(table(summary).contains(&format!("pass size (MB)   {pass}\n")), "{summary}");
            assert!(table(summary).contains(&format!("total size (MB)         {total}\n")), "{summary}");
        }
        assert_eq!(separable.rows()[0].geometry.parameters(), 30);
        assert_eq!(separable.rows()[1].geometry.parameters(), 16);
    }
}
