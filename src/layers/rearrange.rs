//! Values in another order: transposing, slicing, padding, joining, repeating.

use super::binary::{check_axes, shape_of};
use crate::describe::{Describe, Given, Reference, source};
use crate::error::Result;
use crate::size::{MAXIMUM_EXTENT, PaddingMode, check_range, extent, values};

pub use super::binary::AXES;

/// How the output's places along one axis follow from the input's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Axis {
    /// How many places the output has.
    pub size: u32,
    /// How many the input has.
    pub input_size: u32,
    /// How far apart neighbours are in the input, in values.
    pub input_stride: u32,
    /// The place of the input that the first place of the output shows; it may lie in the padding.
    pub first: i32,
    /// How many places of the input further the next one is; below 0 it runs backwards, and 0 repeats.
    pub step: i32,
}

impl Axis {
    /// An axis that is copied as it is.
    #[must_use]
    pub fn new(size: u32, input_stride: u32) -> Self {
        Self { size, input_size: size, input_stride, first: 0, step: 1 }
    }

    /// The places of the input that its first and its last one show.
    fn ends(&self) -> [i64; 2] {
        let first = i64::from(self.first);
        [first, first + i64::from(self.size.saturating_sub(1)) * i64::from(self.step)]
    }

    /// Whether no place lies outside of the input.
    pub(crate) fn is_inside(&self) -> bool {
        self.ends().iter().all(|place| (0..i64::from(self.input_size)).contains(place))
    }
}

/// A tensor whose values are the input's in another order, or padding.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Rearrange {
    /// How many values the input has.
    pub input_length: u32,
    /// The output's axes, the last one being contiguous.
    pub axes: [Axis; AXES],
    /// What stands where a place lies outside of the input.
    pub padding_mode: PaddingMode,
    /// The value of constant padding: with [`PaddingMode::Zeros`].
    pub value: f32,
}

impl Rearrange {
    /// Axes of size 1 in front make up for those that are missing.
    ///
    /// # Errors
    /// A size that is out of its range.
    pub fn new(input_length: u32, axes: &[Axis]) -> Result<Self> {
        let mut all = [Axis::new(1, 0); AXES];
        check_range("axes", axes.len() as u64, 1, AXES as u64)?;
        all[AXES - axes.len()..].copy_from_slice(axes);
        let rearrange = Self { input_length, axes: all, padding_mode: PaddingMode::Zeros, value: 0.0 };
        rearrange.check()?;
        Ok(rearrange)
    }

    /// What stands outside of the input. Default: zeros.
    #[must_use]
    pub fn padding(mut self, padding_mode: PaddingMode, value: f32) -> Self {
        (self.padding_mode, self.value) = (padding_mode, value);
        self
    }

    /// Whether no place lies outside of the input.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        self.axes.iter().all(Axis::is_inside)
    }

    fn shape(&self) -> [u32; 4] {
        shape_of(self.axes.map(|axis| axis.size))
    }

    /// Where each value of the output lies in the input; none in constant padding.
    pub(crate) fn places(&self) -> impl Iterator<Item = Option<usize>> + '_ {
        (0..values(self.shape())).map(|index| {
            let mut rest = index;
            let mut place = Some(0);
            for axis in self.axes.iter().rev() {
                let position = i64::try_from(rest % u64::from(axis.size)).ok()?;
                rest /= u64::from(axis.size);
                let along = i64::from(axis.first) + position * i64::from(axis.step);
                let source = source(self.padding_mode, along, axis.input_size);
                place = place.zip(source).map(|(place, source)| place + source * axis.input_stride as usize);
            }
            place
        })
    }
}

impl Describe for Rearrange {
    fn check(&self) -> Result<()> {
        check_axes(self.axes.map(|axis| axis.size))?;
        check_range("input", self.input_length.into(), 1, u32::MAX.into())?;
        let mut last = 0_u64;
        for axis in self.axes {
            extent("input size", axis.input_size.into())?;
            last = last.saturating_add(u64::from(axis.input_size - 1) * u64::from(axis.input_stride));
            for place in axis.ends() {
                check_range("place", place.unsigned_abs(), 0, MAXIMUM_EXTENT)?;
                // Mirrored once, or repeated once, it must be inside.
                let size = i64::from(axis.input_size);
                let beyond = (-place).max(place - size + 1).max(0).unsigned_abs();
                match self.padding_mode {
                    PaddingMode::Reflect => check_range("padding", beyond, 0, u64::from(axis.input_size - 1))?,
                    PaddingMode::Circular => check_range("padding", beyond, 0, axis.input_size.into())?,
                    PaddingMode::Zeros | PaddingMode::Replicate => {}
                }
            }
        }
        check_range("input", last, 0, u64::from(self.input_length - 1))
    }

    fn given(&self) -> Vec<Given> {
        vec![Given::input("input", [1, 1, 1, self.input_length])]
    }

    fn output_shape(&self) -> [u32; 4] {
        self.shape()
    }

    fn text(&self) -> String {
        let axes = self.axes.map(|axis| {
            format!("{}:{}x{}+{}/{}", axis.size, axis.input_stride, axis.step, axis.first, axis.input_size)
        });
        format!("rearrange {} {:?}", axes.join(" "), self.padding_mode)
    }

    fn multiply_adds(&self) -> u64 {
        values(self.shape())
    }

    fn reference(&self, given: &[&[f32]]) -> Reference {
        let value = |place: Option<usize>| f64::from(place.map_or(self.value, |place| given[0][place]));
        let values: Vec<f64> = self.places().map(value).collect();
        Reference { magnitudes: vec![0.0; values.len()], values, ..Reference::default() }
    }
}
