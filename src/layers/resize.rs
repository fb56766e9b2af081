//! Resizing planes: nearest, linear and cubic, by ONNX's rules (operator `Resize`).

use crate::describe::{Describe, Given, Reference};
use crate::error::{Error, Result};
use crate::size::{Size, check_count, check_sizes, extent, values};

/// Which place of the input a place of the output shows. `scale` is output ÷ input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Coordinates {
    /// (x + ½) ÷ scale − ½
    HalfPixel,
    /// The same, but 0 where the output has one place.
    PytorchHalfPixel,
    /// x · (input − 1) ÷ (output − 1)
    AlignCorners,
    /// x ÷ scale
    Asymmetric,
    /// (x + ½) ÷ scale
    HalfPixelForNearest,
}

/// How a value between places is made.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Interpolation {
    /// The value at the nearest place.
    Nearest(Nearest),
    /// The line between two values, along both axes.
    Linear,
    /// Keys's cubic convolution (1981) with this coefficient, such as −0.75, of four values along both axes.
    Cubic {
        /// The coefficient a.
        coefficient: f32,
        /// Whether values outside of the input count nothing, and the other weights are scaled to a sum of 1. If not,
        /// the value at the edge stands there.
        exclude_outside: bool,
    },
}

/// Which place is the nearest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Nearest {
    /// Halves go down.
    RoundPreferFloor,
    /// Halves go up.
    RoundPreferCeil,
    /// The one before.
    Floor,
    /// The one after.
    Ceil,
}

/// Planes of one size made into planes of another.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Resize2d {
    /// How many planes: batch times channels.
    pub planes: u32,
    /// Height and width of the input.
    pub input: Size,
    /// Height and width of the output.
    pub output: Size,
    /// Output ÷ input along both axes. A file may say another number than the sizes give.
    pub scale: [f32; 2],
    /// Which place of the input a place of the output shows.
    pub coordinates: Coordinates,
    /// How a value between places is made.
    pub interpolation: Interpolation,
}

impl Resize2d {
    /// Planes resized from one size to another.
    ///
    /// # Errors
    /// A size that is out of its range.
    pub fn new(
        planes: u32,
        input: Size,
        output: Size,
        coordinates: Coordinates,
        interpolation: Interpolation,
    ) -> Result<Self> {
        #[expect(clippy::cast_possible_truncation, reason = "a scale is an f32")]
        let scale = |output: u32, input: u32| (f64::from(output) / f64::from(input.max(1))) as f32;
        let scale = [scale(output.height, input.height), scale(output.width, input.width)];
        let resize = Self { planes, input, output, scale, coordinates, interpolation };
        resize.check()?;
        Ok(resize)
    }

    /// Where a place of the output lies in the input: `slope · x + offset`, along the height or the width.
    #[must_use]
    pub fn line(&self, axis: usize) -> [f32; 2] {
        let (input, output) =
            if axis == 0 { (self.input.height, self.output.height) } else { (self.input.width, self.output.width) };
        let slope = 1.0 / self.scale[axis];
        match self.coordinates {
            Coordinates::PytorchHalfPixel | Coordinates::AlignCorners if output == 1 => [0.0, 0.0],
            Coordinates::HalfPixel | Coordinates::PytorchHalfPixel => [slope, 0.5 * slope - 0.5],
            Coordinates::AlignCorners => [(input - 1) as f32 / (output - 1) as f32, 0.0],
            Coordinates::Asymmetric => [slope, 0.0],
            Coordinates::HalfPixelForNearest => [slope, 0.5 * slope],
        }
    }

    /// The places of the input that a place of the output is made of, along one axis, with their weights.
    fn taps(&self, axis: usize, position: u32) -> Vec<(usize, f64)> {
        let size = i64::from(if axis == 0 { self.input.height } else { self.input.width });
        let [slope, offset] = self.line(axis);
        // In the precision that the shader has: near a half, or a whole number, another would find another place.
        let place = slope * position as f32 + offset;
        let inside = |place: i64| usize::try_from(place.clamp(0, size - 1)).expect("not below 0");
        #[expect(clippy::cast_possible_truncation, reason = "a place is near the input")]
        match self.interpolation {
            Interpolation::Nearest(nearest) => {
                let place = match nearest {
                    Nearest::RoundPreferFloor => (place - 0.5).ceil(),
                    Nearest::RoundPreferCeil => (place + 0.5).floor(),
                    Nearest::Floor => place.floor(),
                    Nearest::Ceil => place.ceil(),
                };
                vec![(inside(place as i64), 1.0)]
            }
            Interpolation::Linear => {
                let place = place.clamp(0.0, (size - 1) as f32);
                let first = place.floor();
                let ratio = f64::from(place - first);
                vec![(inside(first as i64), 1.0 - ratio), (inside(first as i64 + 1), ratio)]
            }
            Interpolation::Cubic { coefficient, exclude_outside } => {
                let first = place.floor();
                let ratio = f64::from(place - first);
                let a = f64::from(coefficient);
                let near = |x: f64| ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
                let far = |x: f64| ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a;
                let weights = [far(1.0 + ratio), near(ratio), near(1.0 - ratio), far(2.0 - ratio)];
                let places = (0..4).map(|tap| first as i64 - 1 + tap);
                let counts = |place: i64| !exclude_outside || (0..size).contains(&place);
                let taps: Vec<_> = places.zip(weights).filter(|(place, _)| counts(*place)).collect();
                let sum: f64 = if exclude_outside { taps.iter().map(|(_, weight)| weight).sum() } else { 1.0 };
                taps.into_iter().map(|(place, weight)| (inside(place), weight / sum)).collect()
            }
        }
    }

    fn shape(&self, size: Size) -> [u32; 4] {
        [1, self.planes, size.height, size.width]
    }
}

impl Describe for Resize2d {
    fn check(&self) -> Result<()> {
        extent("planes", self.planes.into())?;
        for size in [self.input, self.output] {
            check_sizes("size", [self.planes, size.height, size.width])?;
        }
        for scale in self.scale {
            if !(scale.is_finite() && scale > 0.0) {
                return Err(Error::NotFinite { argument: "scale", value: scale });
            }
        }
        check_count("input", self.shape(self.input))?;
        check_count("output", self.shape(self.output))
    }

    fn given(&self) -> Vec<Given> {
        vec![Given::input("input", self.shape(self.input))]
    }

    fn output_shape(&self) -> [u32; 4] {
        self.shape(self.output)
    }

    fn text(&self) -> String {
        format!("resize {self:?}")
    }

    fn terms(&self) -> u64 {
        match self.interpolation {
            Interpolation::Nearest(_) => 0,
            Interpolation::Linear => 12,
            Interpolation::Cubic { .. } => 48,
        }
    }

    fn multiply_adds(&self) -> u64 {
        let taps = match self.interpolation {
            Interpolation::Nearest(_) => 1,
            Interpolation::Linear => 4,
            Interpolation::Cubic { .. } => 16,
        };
        values(self.output_shape()).saturating_mul(taps)
    }

    fn reference(&self, given: &[&[f32]]) -> Reference {
        let width = self.input.width as usize;
        let rows: Vec<_> = (0..self.output.height).map(|row| self.taps(0, row)).collect();
        let columns: Vec<_> = (0..self.output.width).map(|column| self.taps(1, column)).collect();
        let mut reference = Reference { values: Vec::new(), magnitudes: Vec::new() };
        for plane in given[0].chunks(self.input.height as usize * width) {
            for rows in &rows {
                for columns in &columns {
                    let (mut sum, mut magnitude) = (0.0, 0.0);
                    for (row, weight) in rows {
                        for (column, factor) in columns {
                            let value = f64::from(plane[row * width + column]);
                            sum += weight * factor * value;
                            magnitude += (weight * factor * value).abs().max(value.abs() / 8.0);
                        }
                    }
                    reference.values.push(sum);
                    reference.magnitudes.push(magnitude);
                }
            }
        }
        reference
    }
}
