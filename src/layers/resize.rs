//! Resizing planes: nearest, linear and cubic, by ONNX's rules (operator `Resize`).

use crate::describe::{Describe, Given, Reference};
use crate::error::{Error, Result};
use crate::size::{MAXIMUM_EXTENT, Size, check_count, check_range, check_sizes, extent, values};

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
    /// Whether a tensor of the output's shape is added, as pyramids of features do.
    pub residual: bool,
}

/// Where the places of an output lie in the input, along one axis: place x at (2 n x + start) / (2 d) - 1, in whole numbers.
///
/// What is the nearest place of a half, or the place before a whole number, is a matter of the last digit. So n / d is a
/// fraction, and neither the reference nor a shader rounds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line {
    pub n: u32,
    pub d: u32,
    pub start: u32,
}

impl Line {
    /// The whole number that is not above a place, and the rest: so many of how many parts of 1.
    fn place(self, position: u32) -> (i64, i64, i64) {
        let parts = 2 * i64::from(self.d);
        let place = 2 * i64::from(self.n) * i64::from(position) + i64::from(self.start) - parts;
        (place.div_euclid(parts), place.rem_euclid(parts), parts)
    }
}

/// The most that both numbers of a fraction, and their product, may be: then whatever a shader computes of a place fits in
/// 32 bits.
const MAXIMUM_FRACTION: u64 = 1 << 28;

/// The simplest fraction that a slope, from 0 to 2^27 or what it is 1 divided by, may have been before it was rounded to 24
/// digits.
fn fraction(slope: f64) -> [u32; 2] {
    if slope > 0.0 && slope < 1.0 {
        let [d, n] = fraction(1.0 / slope);
        return [n, d];
    }
    let mut tolerance = f64::from(f32::EPSILON) / 2.0;
    loop {
        let nearest = slope.round();
        let [low, high] = [slope * (1.0 - tolerance), slope * (1.0 + tolerance)];
        let [n, d] = if (low..=high).contains(&nearest) { simplest(nearest, nearest) } else { simplest(low, high) };
        if n.saturating_mul(d).max(n) < MAXIMUM_FRACTION {
            return [n, d].map(|number| u32::try_from(number).expect("below 2^28"));
        }
        tolerance *= 2.0;
    }
}

/// The fraction from `low` to `high` whose denominator is the least (Graham, Knuth and Patashnik, *Concrete Mathematics*,
/// section 4.5).
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "what is too large for u64 saturates")]
fn simplest(low: f64, high: f64) -> [u64; 2] {
    if low.ceil() <= high {
        return [low.ceil().max(0.0) as u64, 1];
    }
    let whole = low.floor();
    let [n, d] = simplest((high - whole).recip(), (low - whole).recip());
    [(whole as u64).saturating_mul(n).saturating_add(d), n]
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
        let resize = Self { planes, input, output, scale, coordinates, interpolation, residual: false };
        resize.check()?;
        Ok(resize)
    }

    /// Whether a tensor of the output's shape is added. Default false.
    #[must_use]
    pub fn residual(mut self, residual: bool) -> Self {
        self.residual = residual;
        self
    }

    /// How far apart neighbouring places of the output lie in the input, along the height or the width.
    fn slope(&self, axis: usize) -> f64 {
        let [input, output] = self.sizes(axis);
        match self.coordinates {
            Coordinates::PytorchHalfPixel | Coordinates::AlignCorners if output == 1 => 0.0,
            Coordinates::AlignCorners => f64::from(input - 1) / f64::from(output - 1),
            _ => 1.0 / f64::from(self.scale[axis]),
        }
    }

    /// Where the places of the output lie in the input, along the height or the width.
    pub(crate) fn line(&self, axis: usize) -> Line {
        let slope = self.slope(axis);
        let [n, d] = fraction(slope);
        let start = match self.coordinates {
            Coordinates::HalfPixel | Coordinates::PytorchHalfPixel if slope > 0.0 => n + d,
            Coordinates::HalfPixelForNearest => n + 2 * d,
            _ => 2 * d,
        };
        Line { n, d, start }
    }

    /// How many places input and output have along an axis.
    fn sizes(&self, axis: usize) -> [u32; 2] {
        [self.input, self.output].map(|size| if axis == 0 { size.height } else { size.width })
    }

    /// The places of the input that a place of the output is made of, along one axis, with their weights.
    fn taps(&self, axis: usize, position: u32) -> Vec<(usize, f64)> {
        let last = i64::from(self.sizes(axis)[0]) - 1;
        let (first, rest, whole) = self.line(axis).place(position);
        let ratio = rest as f64 / whole as f64;
        let inside = |place: i64| usize::try_from(place.clamp(0, last)).expect("not below 0");
        match self.interpolation {
            Interpolation::Nearest(nearest) => {
                let is_next = match nearest {
                    Nearest::RoundPreferFloor => 2 * rest > whole,
                    Nearest::RoundPreferCeil => 2 * rest >= whole,
                    Nearest::Floor => false,
                    Nearest::Ceil => rest > 0,
                };
                vec![(inside(first + i64::from(is_next)), 1.0)]
            }
            Interpolation::Linear => vec![(inside(first), 1.0 - ratio), (inside(first + 1), ratio)],
            Interpolation::Cubic { coefficient, exclude_outside } => {
                let a = f64::from(coefficient);
                let near = |x: f64| ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
                let far = |x: f64| ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a;
                let weights = [far(1.0 + ratio), near(ratio), near(1.0 - ratio), far(2.0 - ratio)];
                let places = (0..4).map(|tap| first - 1 + tap);
                let counts = |place: i64| !exclude_outside || (0..=last).contains(&place);
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
        for axis in [0, 1] {
            let slope = self.slope(axis);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "not below 0, and it saturates"
            )]
            let steepness = if slope > 0.0 { slope.max(1.0 / slope) as u64 } else { 1 };
            check_range("scale", steepness, 1, MAXIMUM_FRACTION / 2)?;
            let (last, ..) = self.line(axis).place(self.sizes(axis)[1] - 1);
            check_range("place", last.unsigned_abs(), 0, MAXIMUM_EXTENT / 2)?;
        }
        check_count("input", self.shape(self.input))?;
        check_count("output", self.shape(self.output))
    }

    fn given(&self) -> Vec<Given> {
        let mut given = vec![Given::input("input", self.shape(self.input))];
        given.extend(self.residual.then(|| Given::input("residual", self.shape(self.output))));
        given
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
            Interpolation::Linear => 16,
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
        let mut reference = Reference::default();
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
                    let index = reference.values.len();
                    let residual = if self.residual { f64::from(given[1][index]) } else { 0.0 };
                    reference.values.push(sum + residual);
                    reference.magnitudes.push(magnitude + residual.abs());
                }
            }
        }
        reference
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_simplest_fraction_is_found() {
        #[expect(clippy::cast_possible_truncation, reason = "as a scale is")]
        let scale = |n: u32, d: u32| (f64::from(d) / f64::from(n)) as f32;
        for n in [1, 2, 3, 7, 49, 255, 480, 641, 1023] {
            for d in [1, 2, 3, 5, 47, 256, 641, 1000, 1366] {
                let common = (1..=n.min(d)).rev().find(|divisor| n % divisor == 0 && d % divisor == 0).unwrap();
                assert_eq!(fraction(1.0 / f64::from(scale(n, d))), [n / common, d / common]);
            }
        }
        let most: f64 = (1 << 27).into();
        assert_eq!([fraction(most), fraction(1.0 / most), fraction(0.0)], [[1 << 27, 1], [1, 1 << 27], [0, 1]]);
        // What no sizes give is taken for what it is near to.
        assert_eq!([fraction(1.000_000_1), fraction(0.500_000_04)], [[1, 1], [1, 2]]);
    }

    #[test]
    fn places_are_exact() {
        // 49 times the f32 nearest to 1/49 is below 1.
        let line = |coordinates| {
            let size = |width| Size { height: 1, width };
            let nearest = Interpolation::Nearest(Nearest::Floor);
            Resize2d::new(1, size(5), size(5 * 49), coordinates, nearest).unwrap().line(1)
        };
        assert_eq!(line(Coordinates::Asymmetric).place(49), (1, 0, 98));
        assert_eq!(line(Coordinates::Asymmetric).place(48), (0, 96, 98));
        assert_eq!(line(Coordinates::HalfPixel).place(0), (-1, 50, 98));
        assert_eq!(line(Coordinates::HalfPixel).place(24), (0, 0, 98));
        assert_eq!(line(Coordinates::HalfPixelForNearest).place(0), (0, 1, 98));
        assert_eq!(line(Coordinates::AlignCorners).place(244), (4, 0, 122));
    }
}
