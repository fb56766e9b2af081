//! `Layer`: what a user described, with every size checked. Kernels are asked for it.

use crate::describe::Describe;
use crate::error::Result;
use crate::geometry::Geometry;
use crate::layers::binary::Binary;
use crate::layers::matmul::MatMul;
use crate::layers::normalise::Normalise;
use crate::layers::perceptron::Perceptron;
use crate::layers::rearrange::Rearrange;
use crate::layers::reduce::Reduce;
use crate::layers::resize::Resize2d;
use crate::layers::softmax::Softmax;
use crate::layers::transposed::ConvTranspose2d;
use crate::layers::unary::Unary;
use crate::pool::PoolGeometry;

/// The sizes of one kind of layer.
pub trait Sizes: Copy + Describe + Into<Layer> + 'static {
    /// The sizes of this layer, if it is of that kind.
    fn of(layer: &Layer) -> Option<&Self>;
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $sizes:ty)*) => {
        /// A layer of any kind whose sizes are known and checked.
        #[derive(Debug, Clone, Copy, PartialEq)]
        #[non_exhaustive]
        pub enum Layer {
            $($(#[$doc])* $kind($sizes),)*
        }

        impl Layer {
            /// What the layer says of itself, whatever its kind.
            #[must_use]
            pub fn describe(&self) -> &dyn Describe {
                match self {
                    $(Self::$kind(sizes) => sizes,)*
                }
            }
        }

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
    /// One convolution.
    Conv2d Geometry
    /// A depthwise and a pointwise convolution.
    SeparableConv2d (Geometry, Geometry)
    /// A transposed convolution.
    ConvTranspose2d ConvTranspose2d
    /// A max pool or an average pool.
    Pool2d PoolGeometry
    /// Planes of another size.
    Resize2d Resize2d
    /// A product of matrices.
    MatMul MatMul
    /// Two fully connected layers, one after the other.
    Perceptron Perceptron
    /// One value for all values along an axis.
    Reduce Reduce
    /// Values made into shares of a sum.
    Softmax Softmax
    /// Rows brought to mean 0 and variance 1.
    Normalise Normalise
    /// Two tensors, value by value.
    Binary Binary
    /// A function of each value.
    Unary Unary
    /// Values in another order.
    Rearrange Rearrange
}

impl Layer {
    /// Checks the sizes again. A geometry's fields are public, so that a caller may have changed them since.
    ///
    /// # Errors
    /// Those of the layer's own constructor, and [`Error::Altered`](crate::Error::Altered) if it would not give these
    /// sizes.
    pub(crate) fn check(&self) -> Result<()> {
        self.describe().check()
    }

    /// `[batch, channels, height, width]` of the input.
    #[must_use]
    pub fn input_shape(&self) -> [u32; 4] {
        self.describe().given()[0].shape
    }

    /// `[batch, channels, height, width]` of the output.
    #[must_use]
    pub fn output_shape(&self) -> [u32; 4] {
        self.describe().output_shape()
    }

    /// Its multiply-adds; of a layer that has none, its operations.
    #[must_use]
    pub fn multiply_adds(&self) -> u64 {
        self.describe().multiply_adds()
    }

    /// What it is, in a word or two.
    #[cfg(feature = "unstable")]
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Conv2d(geometry) if geometry.groups == geometry.in_channels && geometry.groups > 1 => "depthwise",
            Self::Conv2d(geometry) if geometry.kernel_size == 1.into() => "pointwise",
            Self::Conv2d(_) => "convolution",
            Self::SeparableConv2d(_) => "separable",
            Self::ConvTranspose2d(_) => "transposed",
            Self::Pool2d(_) => "pool",
            Self::Resize2d(_) => "resize",
            Self::MatMul(_) => "matrix product",
            Self::Perceptron(_) => "perceptron",
            Self::Reduce(_) => "reduction",
            Self::Softmax(_) => "softmax",
            Self::Normalise(_) => "norm",
            Self::Binary(_) => "two tensors",
            Self::Unary(_) => "function",
            Self::Rearrange(_) => "rearrangement",
        }
    }

    /// Its sizes in one line: what decides how fast a kernel computes it, but not what follows its sums (bias, residual,
    /// activation), which takes hardly any time. A tuning table knows the layer by it.
    #[must_use]
    pub fn text(&self) -> String {
        self.describe().text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conv::Conv2d;
    use crate::error::Error;
    use crate::pool::MaxPool2d;
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
        assert_eq!([pool, altered].map(|pool| Layer::Pool2d(pool).check()), [Ok(()), Err(Error::Altered)]);
        let (depthwise, pointwise) = SeparableConv2d::new(6, 5, 3).geometry(shape).unwrap();
        assert_eq!(Layer::SeparableConv2d((depthwise, pointwise)).check(), Ok(()));
        assert_eq!(Layer::SeparableConv2d((depthwise, geometry)).check(), Err(Error::Altered));
        assert_eq!(Layer::SeparableConv2d((geometry, pointwise)).check(), Err(Error::Altered));
        let with_residual = Geometry { residual: true.into(), ..depthwise };
        assert_eq!(Layer::SeparableConv2d((with_residual, pointwise)).check(), Err(Error::Altered));
    }
}
