//! The interpreter is right: what it makes of every kernel's shader, in every variant for GPUs, is what the layer's
//! definition in `f64` makes, within the bound of its roundings.

use std::collections::BTreeSet;

use sepconv::unstable::{Given, Planner};
use sepconv::{
    Activation, AveragePool2d, Axis, Binary, BinaryOperation, Choice, Conv2d, ConvTranspose2d, Coordinates,
    Interpolation, Layer, MatMul, MaxPool2d, Nearest, Normalise, PaddingMode, Perceptron, Rearrange, Reduce, Reduction,
    Resize2d, Rounding, SeparableConv2d, Softmax, Target, Unary, kernels, verify,
};
use sepconv_tools::traffic;

/// Values from -1 to 1 without a pattern: `SplitMix64` (Steele, Lea and Flood 2014).
fn values(count: usize, state: &mut u64) -> Vec<f32> {
    let mut next = || {
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn convolutions() -> Vec<Layer> {
    let layers = [
        (Conv2d::new(5, 9, 3).padding(1).activation(Activation::Relu6), [2, 5, 7, 9]),
        (Conv2d::new(6, 12, [2, 5]).padding([1, 2]).groups(3).stride([2, 1]).bias(false), [1, 6, 9, 11]),
        (Conv2d::new(8, 20, 1).residual(true).activation(Activation::HardSwish), [2, 8, 5, 7]),
        (Conv2d::new(8, 20, 1).input_scale(true), [2, 8, 6, 6]),
        (Conv2d::new(6, 20, 3).padding(1).groups(2).input_scale(true), [2, 6, 5, 7]),
        (Conv2d::new(8, 8, 1).groups(2).stride(2), [1, 8, 9, 8]),
        (Conv2d::new(40, 33, 1), [1, 40, 8, 8]),
        (Conv2d::new(24, 20, 1).groups(2).residual(true).activation(Activation::Silu), [2, 24, 6, 6]),
        (Conv2d::new(6, 6, 3).groups(6).padding(1).activation(Activation::Silu), [2, 6, 9, 10]),
        (Conv2d::new(4, 8, 5).groups(4).stride(2).padding(2), [1, 4, 12, 12]),
        (Conv2d::new(4, 8, 3).groups(4).padding(1).residual(true).activation(Activation::Relu), [2, 4, 9, 12]),
        (Conv2d::new(4, 4, [3, 5]).groups(4).stride(2).dilation([2, 1]).padding(2), [1, 4, 13, 16]),
        (Conv2d::new(4, 4, 3).groups(4).dilation(2).padding(2).padding_mode(PaddingMode::Reflect), [1, 4, 8, 12]),
        (Conv2d::new(3, 8, 3).dilation([1, 2]).padding(2).padding_mode(PaddingMode::Circular), [1, 3, 6, 7]),
        (Conv2d::new(32, 36, 3).padding(1).padding_mode(PaddingMode::Replicate).residual(true), [1, 32, 6, 6]),
        (Conv2d::new(128, 10, 1).residual(true).activation(Activation::Silu), [2, 128, 3, 5]),
    ];
    let mut all: Vec<Layer> = layers.iter().map(|(layer, shape)| layer.geometry(*shape).unwrap().into()).collect();
    // Rounding fast, for Winograd's method. Its 18 tiles are no multiple of 4.
    let fast = Conv2d::new(32, 20, 3).padding(1).rounding(Rounding::Fast).activation(Activation::Relu);
    all.push(fast.geometry([2, 32, 5, 6]).unwrap().into());
    for (layer, shape) in [
        (SeparableConv2d::new(6, 10, 3).padding(1).depthwise_activation(Activation::Relu), [2, 6, 7, 8]),
        (SeparableConv2d::new(3, 40, 5).depth_multiplier(2).stride(2).padding(2).residual(true), [1, 3, 12, 9]),
    ] {
        all.push(layer.geometry(shape).unwrap().into());
    }
    all
}

fn other_layers() -> Vec<Layer> {
    let mut transposed = ConvTranspose2d::new([1, 6, 5, 6], 8, 3).unwrap();
    (transposed.groups, transposed.stride) = (2, 2.into());
    let transposed = transposed.with(1.into(), |_| {}).unwrap();
    let mut shuffled = ConvTranspose2d::new([2, 8, 4, 5], 6, 2).unwrap();
    shuffled.stride = 2.into();
    let shuffled = shuffled.with(0.into(), |_| {}).unwrap();
    let mut product = MatMul::new([9, 30, 17]).unwrap();
    (product.activation, product.bias) = (Activation::Gelu, true);
    let mut excited = Perceptron::new(2, [70, 18, 70]).unwrap();
    (excited.hidden_activation, excited.activation) = (Activation::Relu, Activation::Sigmoid);
    let reduce = |reduction, sizes| Reduce::new(reduction, sizes).unwrap();
    let shape = [2, 5, 9, 8];
    let cubic = Interpolation::Cubic { coefficient: -0.75, exclude_outside: true };
    let resize = |interpolation| {
        Resize2d::new(3, [4, 5].into(), [9, 7].into(), Coordinates::HalfPixel, interpolation).unwrap().into()
    };
    let mut axes = [Axis::new(4, 1), Axis::new(5, 4), Axis::new(2, 20)];
    axes[0].first = -1;
    vec![
        transposed.into(),
        shuffled.into(),
        product.into(),
        MatMul::new([1, 40, 70]).unwrap().into(),
        excited.into(),
        Perceptron::new(1, [33, 300, 3]).unwrap().into(),
        MaxPool2d::new(3).stride(2).padding(1).geometry(shape).unwrap().into(),
        AveragePool2d::new([2, 3]).padding(1).geometry(shape).unwrap().into(),
        reduce(Reduction::Mean, [3, 70, 1]).into(),
        reduce(Reduction::Max, [3, 70, 5]).into(),
        Softmax::new([3, 70, 1], false).unwrap().into(),
        Softmax::new([2, 9, 5], true).unwrap().into(),
        Normalise::layer(3, 100, 1e-5).unwrap().into(),
        Unary::new([1, 2, 9, 40], Activation::Softplus).unwrap().into(),
        Binary::new(BinaryOperation::PRelu, [&[3, 4, 50], &[3, 1, 50]], Activation::None).unwrap().into(),
        Rearrange::new(40, &axes).unwrap().padding(PaddingMode::Reflect, 0.0).into(),
        resize(Interpolation::Nearest(Nearest::Floor)),
        resize(Interpolation::Linear),
        resize(cubic),
    ]
}

/// A target like a GPU, with all that kernels need.
fn target() -> Target {
    Target::from(sepconv::wgpu::Limits::default())
}

/// Runs these layers by every kernel that can: each kernel for GPUs that computes such layers must be among them. The
/// subgroup operations of those for software devices are not interpreted.
fn check(layers: &[Layer]) {
    let planner = Planner::new(target());
    let mut seen = BTreeSet::new();
    for layer in layers {
        let describe = layer.describe();
        let mut state = 7;
        let given = describe.given().into_iter();
        let given = given.map(|given| (given, values(given.shape.iter().product::<u32>() as usize, &mut state)));
        let given: Vec<(Given, Vec<f32>)> = given.collect();
        let slices: Vec<&[f32]> = given.iter().map(|(_, values)| values.as_slice()).collect();
        let reference = describe.reference(&slices);
        for (choice, variant) in Choice::all(layer, planner.target()) {
            let program = planner.plan_with(layer, choice).unwrap();
            let run = traffic::run(&program, &given).unwrap_or_else(|error| panic!("{}: {error}", layer.text()));
            let error = verify::largest_error(&reference, describe.activation(), describe.terms(), &run.output);
            let (text, kernel) = (layer.text(), choice.kernel.name);
            assert!(error <= 1.0, "{text} by {kernel} {:?} is off by {error}", variant.constants);
            seen.insert(kernel);
        }
    }
    let all = kernels::ALL.iter().filter(|kernel| kernel.rank != kernels::Rank::Software);
    let expected = all.filter(|kernel| layers.iter().any(|layer| kernel.computes(layer))).map(|kernel| kernel.name);
    assert_eq!(seen, expected.collect());
}

#[test]
fn every_kernel_of_a_convolution() {
    check(&convolutions());
}

#[test]
fn every_kernel_of_another_layer() {
    check(&other_layers());
}
