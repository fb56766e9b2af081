//! Loops over constants, written out or not: the same shader, to the last bit; of `winograd_4x4` to a rounding.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{Random, context, count, sweeps_whole};
use sepconv::unstable::LayerTensors;
use sepconv::{
    Activation, AveragePool2d, Axis, Binary, BinaryOperation, Choice, Context, Conv2d, ConvTranspose2d, Coordinates,
    Interpolation, Layer, MatMul, Normalise, Perceptron, Rearrange, Reduce, Reduction, Resize2d, SeparableConv2d,
    Softmax, Tensor, Unary, kernels,
};

/// At least one layer for each kernel, of odd sizes where the kernel takes them.
fn layers() -> Vec<Layer> {
    let conv = |layer: Conv2d, shape| layer.residual(true).activation(Activation::Silu).geometry(shape).unwrap();
    let separable = SeparableConv2d::new(6, 20, 3).padding(1).activation(Activation::Relu);
    let mut transposed = ConvTranspose2d::new([1, 6, 5, 7], 10, 3).unwrap();
    transposed = transposed.with(1.into(), |layer| layer.stride = 2.into()).unwrap();
    let without_overlap = ConvTranspose2d::new([1, 8, 5, 7], 10, 2).unwrap();
    let without_overlap = without_overlap.with(0.into(), |layer| layer.stride = 2.into()).unwrap();
    vec![
        conv(Conv2d::new(10, 12, 3).padding(1), [2, 10, 9, 11]).into(),
        conv(Conv2d::new(16, 16, 3).padding(1), [1, 16, 12, 12]).into(),
        conv(Conv2d::new(6, 6, 3).groups(6).padding(1).stride([2, 1]), [1, 6, 19, 21]).into(),
        conv(Conv2d::new(6, 6, 5).groups(6).padding(2), [1, 6, 19, 12]).into(),
        conv(Conv2d::new(34, 20, 1), [2, 34, 5, 7]).into(),
        conv(Conv2d::new(34, 20, 1), [2, 34, 6, 6]).into(),
        separable.geometry([2, 6, 9, 11]).unwrap().into(),
        AveragePool2d::new(3).padding(1).geometry([1, 3, 9, 11]).unwrap().into(),
        transposed.into(),
        without_overlap.into(),
        Resize2d::new(3, [5, 7].into(), [9, 13].into(), Coordinates::HalfPixel, Interpolation::Linear).unwrap().into(),
        Binary::new(BinaryOperation::Mul, [&[3, 4, 5], &[3, 1, 5]], Activation::None).unwrap().into(),
        Rearrange::new(24, &[Axis::new(4, 1), Axis::new(6, 4)]).unwrap().into(),
        MatMul::new([9, 50, 13]).unwrap().into(),
        Perceptron::new(3, [50, 11, 70]).unwrap().into(),
        Reduce::new(Reduction::Mean, [3, 1000, 5]).unwrap().into(),
        Softmax::new([3, 50, 5], false).unwrap().into(),
        Normalise::layer(3, 50, 1e-5).unwrap().into(),
        Unary::new([1, 2, 3, 5], Activation::Gelu).unwrap().into(),
    ]
}

/// The bits of a layer's output.
fn compute(context: &Context, layer: Layer, choice: Choice) -> Vec<u32> {
    let mut random = Random(13);
    let values: Vec<_> = layer.describe().given().iter().map(|given| random.floats(count(given.shape))).collect();
    let plan = context.plan_with(layer, choice).unwrap();
    let output = Tensor::zeros(context, layer.output_shape()).unwrap();
    LayerTensors::new(context, &layer, &values).unwrap().bind(&plan, &output).unwrap().run().unwrap();
    output.read_blocking().unwrap().into_iter().map(f32::to_bits).collect()
}

#[test]
fn every_kernel_computes_the_same_with_its_loops_written_out() {
    let Some(context) = context() else { return };
    let mut seen = BTreeMap::<&str, bool>::new();
    // Those for software are never given so to a driver, and take it longest to compile.
    let kinds = if sweeps_whole() { &[false, true][..] } else { &[false] };
    for &software in kinds {
        let [rolled, written] =
            [false, true].map(|written| context.with_software(software).with_loops_written_out(written));
        for layer in layers() {
            let choices = Choice::all(&layer, rolled.target()).into_iter().map(|(choice, _)| choice);
            // The first variant of each kernel; in the whole sweep all of them.
            for choice in choices.filter(|choice| choice.variant == 0 || sweeps_whole()) {
                let name = choice.kernel.name;
                let is_for_software = choice.kernel.rank == kernels::Rank::Software;
                if is_for_software != software || (!sweeps_whole() && seen.get(name) == Some(&true)) {
                    continue;
                }
                let texts = [&rolled, &written].map(|context| {
                    let program = context.plan_with(layer, choice).unwrap();
                    program.program().steps.iter().map(sepconv::unstable::Step::wgsl).collect::<Vec<_>>()
                });
                *seen.entry(name).or_default() |= texts[0] != texts[1];
                let what = format!("{choice}, {}", layer.text());
                let [written, rolled] = [&written, &rolled].map(|context| compute(context, layer, choice));
                // Its transforms multiply by numbers that are no powers of two. SwiftShader rounds a product and a sum once
                // where they stand in one block of code, which the loops decide.
                if name == "winograd_4x4" {
                    let values = |bits: &[u32]| bits.iter().map(|&bits| f32::from_bits(bits)).collect::<Vec<_>>();
                    let [written, rolled] = [values(&written), values(&rolled)];
                    let largest = rolled.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
                    let is_close = written.iter().zip(&rolled).all(|(a, b)| (a - b).abs() <= 1e-5 * largest);
                    assert!(is_close && largest > 0.0, "{what}: {written:?} {rolled:?}");
                } else {
                    assert_eq!(written, rolled, "{what}");
                }
            }
        }
    }
    // Of some kernels no loop is over constants.
    let same: BTreeSet<_> = seen.iter().filter(|(_, differs)| !**differs).map(|(name, _)| *name).collect();
    println!("{} kernels; without a loop over constants: {same:?}", seen.len());
    let supported = |kernel: &&&kernels::Kernel| match kernel.rank {
        kernels::Rank::Software => {
            sweeps_whole() && layers().iter().any(|layer| kernel.supports(layer, context.target()).is_ok())
        }
        _ => true,
    };
    assert_eq!(seen.len(), kernels::ALL.iter().filter(supported).count(), "{seen:?}");
}
