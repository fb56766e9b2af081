//! Layers that the kernels' tiles divide.

use sepconv::{
    Activation, Axis, Binary, BinaryOperation, Conv2d, ConvTranspose2d, Coordinates, Interpolation, Layer, MatMul,
    MaxPool2d, Normalise, Perceptron, Rearrange, Reduce, Reduction, Resize2d, SeparableConv2d, Softmax, Unary,
};

fn conv(layer: Conv2d, shape: [u32; 4]) -> Layer {
    layer.bias(false).geometry(shape).unwrap().into()
}

/// 256 pixels of 128 channels, without padding.
pub fn square() -> Layer {
    conv(Conv2d::new(8, 128, 3), [1, 8, 18, 18])
}

pub fn one_by_one() -> Layer {
    conv(Conv2d::new(64, 128, 1), [2, 64, 8, 16])
}

pub fn depthwise() -> Layer {
    conv(Conv2d::new(4, 4, 3).groups(4), [2, 4, 34, 34])
}

/// Of rows of fours.
pub fn depthwise_fours() -> Layer {
    conv(Conv2d::new(4, 4, 3).groups(4).padding(1), [2, 4, 32, 32])
}

pub fn separable() -> Layer {
    let layer = SeparableConv2d::new(32, 128, 3).depthwise_bias(false).pointwise_bias(false);
    layer.geometry([1, 32, 18, 18]).unwrap().into()
}

pub fn separable_of_stride_2() -> Layer {
    let layer = SeparableConv2d::new(32, 128, 3).stride(2).depthwise_bias(false).pointwise_bias(false);
    layer.geometry([1, 32, 33, 33]).unwrap().into()
}

pub fn winograd() -> Layer {
    conv(Conv2d::new(16, 16, 3).padding(1), [1, 16, 16, 16])
}

pub fn long_sums() -> Layer {
    conv(Conv2d::new(512, 16, 1), [2, 512, 4, 8])
}

pub fn pool() -> Layer {
    MaxPool2d::new(3).stride(2).geometry([1, 4, 33, 33]).unwrap().into()
}

pub fn product() -> Layer {
    MatMul::new([64, 24, 256]).unwrap().into()
}

/// Each member of a team has eight terms or sixteen.
pub fn perceptron() -> Layer {
    let mut layer = Perceptron::new(3, [128, 32, 64]).unwrap();
    (layer.hidden_bias, layer.bias) = (false, false);
    layer.into()
}

/// Rows of a multiple of four values for each of a team.
pub fn rows() -> Layer {
    Reduce::new(Reduction::Sum, [64, 1024, 1]).unwrap().into()
}

pub fn shares() -> Layer {
    Softmax::new([64, 1024, 1], false).unwrap().into()
}

pub fn normal() -> Layer {
    Normalise::layer(64, 1024, 1e-5).unwrap().into()
}

pub fn function() -> Layer {
    Unary::new([1, 4, 16, 16], Activation::Relu).unwrap().into()
}

pub fn sum() -> Layer {
    Binary::new(BinaryOperation::Add, [&[4, 16, 16], &[4, 1, 1]], Activation::None).unwrap().into()
}

pub fn transposition() -> Layer {
    Rearrange::new(64 * 32, &[Axis::new(32, 1), Axis::new(64, 32)]).unwrap().into()
}

pub fn lines() -> Layer {
    let half = Coordinates::HalfPixel;
    Resize2d::new(8, [8, 8].into(), [16, 16].into(), half, Interpolation::Linear).unwrap().into()
}

pub fn transposed() -> Layer {
    let layer = ConvTranspose2d::new([1, 8, 16, 16], 8, 2).unwrap();
    layer.with(0.into(), |layer| (layer.stride, layer.bias) = (2.into(), false)).unwrap().into()
}
