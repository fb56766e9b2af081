//! `Layer`: what a user described, with every size checked. Kernels are asked for it.

use crate::conv::Conv2d;
use crate::error::{Error, Result};
use crate::geometry::Geometry;
use crate::pool::{MaxPool2d, PoolGeometry};
use crate::rounding::Rounding;
use crate::size::{Sides, Size};

/// A layer of any kind whose sizes are known and checked.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Layer {
    /// One convolution.
    Conv2d(Geometry),
    /// A depthwise and a pointwise convolution.
    SeparableConv2d((Geometry, Geometry)),
    /// A max pool.
    MaxPool2d(PoolGeometry),
}

/// The sizes of one kind of layer.
pub trait Sizes: Copy + Into<Layer> + 'static {
    /// The sizes of this layer, if it is of that kind.
    fn of(layer: &Layer) -> Option<&Self>;
}

macro_rules! kinds {
    ($($kind:ident $sizes:ty)*) => {
        $(
            impl From<$sizes> for Layer {
                fn from(sizes: $sizes) -> Self {
                    Self::$kind(sizes)
                }
            }

            impl Sizes for $sizes {
                fn of(layer: &Layer) -> Option<&Self> {
                    if let Layer::$kind(sizes) = layer { Some(sizes) } else { None }
                }
            }
        )*
    };
}

kinds! {
    Conv2d Geometry
    SeparableConv2d (Geometry, Geometry)
    MaxPool2d PoolGeometry
}

impl Layer {
    /// Checks the sizes again. A geometry's fields are public, so that a caller may have changed them since.
    ///
    /// # Errors
    /// Those of the layer's own `geometry`, and [`Error::Altered`] if it would not give these sizes.
    pub(crate) fn check(&self) -> Result<()> {
        let is_whole = match self {
            Self::Conv2d(geometry) => Conv2d::of(geometry).geometry(geometry.input_shape())? == *geometry,
            Self::SeparableConv2d((depthwise, pointwise)) => {
                Self::Conv2d(*depthwise).check()?;
                Self::Conv2d(*pointwise).check()?;
                depthwise.groups == depthwise.in_channels
                    && !depthwise.residual
                    && pointwise.input_shape() == depthwise.output_shape()
                    && (pointwise.groups, pointwise.kernel_size, pointwise.stride) == (1, 1.into(), 1.into())
                    && pointwise.input == pointwise.output
            }
            Self::MaxPool2d(geometry) => MaxPool2d::of(geometry).geometry(geometry.input_shape())? == *geometry,
        };
        if is_whole { Ok(()) } else { Err(Error::Altered) }
    }

    /// `[batch, channels, height, width]` of the input.
    #[must_use]
    pub fn input_shape(&self) -> [u32; 4] {
        match self {
            Self::Conv2d(geometry) | Self::SeparableConv2d((geometry, _)) => geometry.input_shape(),
            Self::MaxPool2d(geometry) => geometry.input_shape(),
        }
    }

    /// `[batch, channels, height, width]` of the output.
    #[must_use]
    pub fn output_shape(&self) -> [u32; 4] {
        match self {
            Self::Conv2d(geometry) | Self::SeparableConv2d((_, geometry)) => geometry.output_shape(),
            Self::MaxPool2d(geometry) => geometry.output_shape(),
        }
    }

    /// Its sizes in one line: what decides how fast a kernel computes it, but not what follows its sums (bias, residual,
    /// activation), which takes hardly any time. A tuning table knows the layer by it.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Conv2d(geometry) => conv2d_text(geometry),
            Self::SeparableConv2d((depthwise, pointwise)) => {
                format!("depthwise {}, pointwise {}", conv2d_text(depthwise), conv2d_text(pointwise))
            }
            Self::MaxPool2d(g) => format!(
                "max pool input {} kernel_size {} stride {} dilation {} padding {}",
                shape_text(g.input_shape()),
                size_text(g.kernel_size),
                size_text(g.stride),
                size_text(g.dilation),
                sides_text(g.padding),
            ),
        }
    }
}

fn shape_text(shape: [u32; 4]) -> String {
    shape.map(|size| size.to_string()).join("x")
}

fn size_text(size: Size) -> String {
    format!("{}x{}", size.height, size.width)
}

fn sides_text(Sides { top, left, bottom, right }: Sides) -> String {
    format!("{top},{left},{bottom},{right}")
}

fn conv2d_text(g: &Geometry) -> String {
    format!(
        "input {} weight {} groups {} stride {} dilation {} padding {} {:?}{}",
        shape_text(g.input_shape()),
        shape_text(g.weight_shape()),
        g.groups,
        size_text(g.stride),
        size_text(g.dilation),
        sides_text(g.padding),
        g.padding_mode,
        if g.rounding == Rounding::Exact { " exact" } else { "" },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::separable::SeparableConv2d;

    #[test]
    fn sizes_that_were_changed_are_found() {
        let shape = [2, 6, 9, 10];
        let geometry = Conv2d::new(6, 4, 3).groups(2).padding(1).stride(2).geometry(shape).unwrap();
        assert_eq!(Layer::Conv2d(geometry).check(), Ok(()));
        let alterations: [fn(&mut Geometry); 6] = [
            |geometry| geometry.groups = 0,
            |geometry| geometry.groups = 4,
            |geometry| geometry.output.height += 1,
            |geometry| geometry.padding.left = 9,
            |geometry| geometry.in_channels = 0,
            |geometry| geometry.stride.width = 0,
        ];
        for alter in alterations {
            let mut altered = geometry;
            alter(&mut altered);
            assert!(Layer::Conv2d(altered).check().is_err(), "{altered:?}");
        }
        let pool = MaxPool2d::new(2).geometry(shape).unwrap();
        let mut altered = pool;
        altered.output.width += 1;
        assert_eq!([pool, altered].map(|pool| Layer::MaxPool2d(pool).check()), [Ok(()), Err(Error::Altered)]);
        let (depthwise, pointwise) = SeparableConv2d::new(6, 5, 3).geometry(shape).unwrap();
        assert_eq!(Layer::SeparableConv2d((depthwise, pointwise)).check(), Ok(()));
        assert_eq!(Layer::SeparableConv2d((depthwise, geometry)).check(), Err(Error::Altered));
        assert_eq!(Layer::SeparableConv2d((geometry, pointwise)).check(), Err(Error::Altered));
        let with_residual = Geometry { residual: true, ..depthwise };
        assert_eq!(Layer::SeparableConv2d((with_residual, pointwise)).check(), Err(Error::Altered));
    }
}
