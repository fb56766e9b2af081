//! `Operation`: what a node of a network does.

use crate::activation::Activation;
use crate::error::Result;
use crate::layers::binary::BinaryOperation;
use crate::layers::reduce::Reduction;
use crate::layers::resize::{Coordinates, Interpolation};
use crate::pool::{AveragePool2d, MaxPool2d, PoolGeometry};
use crate::size::{Padding, PaddingMode, Size};

/// What a node does with its inputs. The words are ONNX's where it has one.
///
/// Where an input is said to be whole numbers (sizes, axes, places), it must be known when the network is planned.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Operation {
    /// Input, weight `[out_channels, in_channels / groups, height, width]`, bias or none.
    Conv2d {
        /// How far the window moves.
        stride: Size,
        /// Rows and columns of zeros around the input.
        padding: Padding,
        /// Distance between taps.
        dilation: Size,
        /// Groups of channels that do not see each other.
        groups: u32,
    },
    /// Input, weight `[in_channels, out_channels / groups, height, width]`, bias or none.
    ConvTranspose2d {
        /// How far apart neighbouring inputs land.
        stride: Size,
        /// What is taken off around the output. With [`Padding::Same`] the output is input · stride.
        padding: Padding,
        /// Rows below and columns after that are added.
        output_padding: Size,
        /// The output's size, if it is not to follow from the rest: then the padding does.
        output_size: Option<Size>,
        /// Distance between taps.
        dilation: Size,
        /// Groups of channels that do not see each other.
        groups: u32,
    },
    /// The largest value, or the mean, under a window.
    Pool2d {
        /// Height and width of the window.
        kernel_size: Size,
        /// How far the window moves.
        stride: Size,
        /// Rows and columns around the input.
        padding: Padding,
        /// Distance between the values of a window.
        dilation: Size,
        /// Whether the output's size is rounded up.
        ceil_mode: bool,
        /// None for the largest value; for the mean, whether padding counts.
        average: Option<bool>,
    },
    /// One value for all values along axes: all axes if none are given. A second input may name them.
    Reduce {
        /// What is made of the values.
        reduction: Reduction,
        /// The axes; counted from the end below 0.
        axes: Vec<i64>,
        /// Whether the axes stay, with size 1.
        keep_axes: bool,
        /// Whether no axes means none of them, and not all.
        none_is_none: bool,
        /// A function of the result.
        activation: Activation,
    },
    /// Reduces all axes behind the channels, which stay with size 1.
    GlobalPool(Reduction),
    /// A function of each value.
    Function(Activation),
    /// Input, least, largest; the latter two are numbers, or left out.
    Clip,
    /// Two tensors, value by value.
    Binary(BinaryOperation),
    /// Several tensors, value by value, one after the other.
    Many(BinaryOperation),
    /// A product of matrices.
    MatMul,
    /// alpha · A · B + beta · C
    Gemm {
        /// A factor.
        alpha: f32,
        /// The factor of C.
        beta: f32,
        /// Whether each of A and B is transposed.
        transposed: [bool; 2],
    },
    /// Input, scale, bias, mean, variance, one for each channel.
    BatchNorm {
        /// What is added to the variance.
        epsilon: f32,
    },
    /// Input, scale, bias, one for each channel.
    InstanceNorm {
        /// What is added to the variance.
        epsilon: f32,
    },
    /// Input, scale, bias or none, over this axis and those behind it.
    LayerNorm {
        /// The first axis; counted from the end below 0.
        axis: i64,
        /// What is added to the variance.
        epsilon: f32,
    },
    /// Input, scale, bias, one for each channel.
    GroupNorm {
        /// Groups of channels.
        groups: u32,
        /// What is added to the variance.
        epsilon: f32,
    },
    /// Shares along an axis.
    Softmax {
        /// The axis; counted from the end below 0.
        axis: i64,
        /// Whether all axes from this one on are one.
        is_flat: bool,
        /// Whether the logarithm is wanted.
        is_log: bool,
    },
    /// Inputs one behind the other along an axis.
    Concat {
        /// The axis; counted from the end below 0.
        axis: i64,
    },
    /// An input cut along an axis. A second input may give the sizes.
    Split {
        /// The axis; counted from the end below 0.
        axis: i64,
        /// The sizes; none for equal ones.
        sizes: Vec<i64>,
    },
    /// Input, starts, ends, axes or none, steps or none: whole numbers.
    Slice,
    /// Input, how much before and after each axis, value or none, axes or none.
    Pad(PaddingMode),
    /// Input, shape.
    Reshape {
        /// Whether a 0 is a size of 0, and not the input's size.
        zero_is_zero: bool,
    },
    /// Axes in another order; none reverses them.
    Transpose {
        /// Which axis comes first, second and so on.
        order: Vec<u32>,
    },
    /// Two axes: all before this one, and the rest.
    Flatten {
        /// The axis; counted from the end below 0.
        axis: i64,
    },
    /// Axes of size 1 that go. A second input may name them.
    Squeeze {
        /// The axes; none for all of size 1.
        axes: Vec<i64>,
    },
    /// Axes of size 1 that come. A second input may name them.
    Unsqueeze {
        /// Where they are afterwards.
        axes: Vec<i64>,
    },
    /// Input, shape: what has size 1 is repeated.
    Expand,
    /// Input, how often each axis is repeated.
    Tile,
    /// Channels made into pixels.
    DepthToSpace {
        /// How many times as high and as wide.
        block: u32,
        /// Whether the channels of one pixel's block are apart by one, and not by the output's channels.
        is_column_row: bool,
    },
    /// Pixels made into channels.
    SpaceToDepth {
        /// How many times as low and as narrow.
        block: u32,
        /// Whether the channels of one pixel's block are apart by one, and not by the input's channels.
        is_column_row: bool,
    },
    /// Input, region or none, scales or none, sizes or none.
    Resize {
        /// Which place of the input a place of the output shows.
        coordinates: Coordinates,
        /// How a value between places is made.
        interpolation: Interpolation,
        /// Which axes scales and sizes are for; none for all.
        axes: Vec<i64>,
    },
    /// Input, places: the values there along an axis.
    Gather {
        /// The axis; counted from the end below 0.
        axis: i64,
    },
    /// The input.
    Identity,
    /// The input's sizes, as whole numbers.
    Shape {
        /// The first axis; counted from the end below 0.
        start: i64,
        /// The axis behind the last one; none for all.
        end: Option<i64>,
    },
    /// The input as another type.
    Cast {
        /// Whether that is whole numbers.
        to_integers: bool,
    },
    /// Shape: a tensor of it, filled with one value.
    ConstantOfShape {
        /// The value, a whole number or not.
        value: f64,
        /// Whether it is a whole number.
        is_integer: bool,
    },
    /// Whole numbers from the first, below the second, in steps of the third.
    Range,
    /// Which of two: a condition, what stands where it is not 0, what stands elsewhere. Whole numbers only.
    Where,
    /// 1 where two whole numbers are equal.
    Equal,
}

impl Operation {
    /// The pool that an operation describes.
    pub(crate) fn pool(&self, input_shape: [u32; 4]) -> Result<PoolGeometry> {
        let &Self::Pool2d { kernel_size, stride, padding, dilation, ceil_mode, average } = self else {
            unreachable!("only pools are asked for")
        };
        match average {
            None => {
                let pool = MaxPool2d::new(kernel_size).stride(stride).padding(padding).dilation(dilation);
                pool.ceil_mode(ceil_mode).geometry(input_shape)
            }
            Some(count_padding) => {
                let pool = AveragePool2d::new(kernel_size).stride(stride).padding(padding).dilation(dilation);
                pool.ceil_mode(ceil_mode).count_padding(count_padding).geometry(input_shape)
            }
        }
    }
}
