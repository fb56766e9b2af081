//! Every activation at the ends of what an `f32` holds, by every kernel that applies it.

mod common;

use std::collections::BTreeSet;

use common::{ACTIVATIONS, Data, ENDS, SeparableData, assert_activated, context, count};
use sepconv::{Activation, Choice, Conv2d, SeparableConv2d, kernels};

/// Those of a network's layers besides.
const OTHERS: [Activation; 10] = [
    Activation::Sigmoid,
    Activation::Tanh,
    Activation::HardSigmoid(0.2, 0.5),
    // An infinity times 0 is a NaN.
    Activation::HardSigmoid(0.0, 0.5),
    Activation::Elu(0.75),
    Activation::Gelu,
    Activation::Softplus,
    Activation::Mish,
    Activation::Linear(0.5, -1.5),
    Activation::HardSwishLinear(0.5, -1.5),
];

fn activations() -> impl Iterator<Item = Activation> {
    ACTIVATIONS.into_iter().chain(OTHERS)
}

/// The activations that a kernel is given: every tenth, another tenth for each kernel; all if the sweep is to be whole.
fn taken(kernel: usize) -> impl Iterator<Item = Activation> {
    let is_taken = move |index: usize| (index + kernel).is_multiple_of(common::every(10));
    activations().enumerate().filter(move |(index, _)| is_taken(*index)).map(|(_, activation)| activation)
}

/// Shape by shape, the layers by which every kernel of convolutions is met.
fn layers() -> [(Conv2d, [u32; 4]); 4] {
    [
        (Conv2d::new(4, 8, 3).padding(1), [1, 4, 5, 4]),
        (Conv2d::new(3, 3, 3).padding(1).groups(3), [1, 3, 5, 4]),
        (Conv2d::new(4, 8, 1), [1, 4, 5, 4]),
        (Conv2d::new(16, 16, 3).padding(1), [1, 16, 5, 4]),
    ]
}

/// The sums are zero, so that the activation sees the residual alone.
#[test]
fn of_convolutions() {
    let Some(context) = context() else { return };
    let mut met = BTreeSet::new();
    for (layer, shape) in layers() {
        let layer = layer.bias(false).residual(true);
        let supporting = kernels::supporting(&layer.geometry(shape).unwrap().into(), context.target());
        for kernel in supporting {
            if !met.insert(kernel.name) {
                continue;
            }
            for activation in taken(met.len()) {
                let layer = layer.activation(activation);
                let geometry = layer.geometry(shape).unwrap();
                let plan = layer.plan_with_kernel(context, shape, kernel.name).unwrap();
                let mut data = Data::new(&geometry, |count| vec![0.0; count]);
                data.residual = Some(ENDS.into_iter().cycle().take(count(plan.output_shape())).collect());
                for outputs in data.run(context, &plan) {
                    for (actual, x) in outputs.into_iter().zip(ENDS.into_iter().cycle()) {
                        assert_activated(activation, x, actual, kernel.name);
                    }
                }
            }
        }
    }
    let computes = |kernel: &&&kernels::Kernel| {
        layers()
            .iter()
            .any(|(layer, shape)| kernel.supports(&layer.geometry(*shape).unwrap().into(), context.target()).is_ok())
    };
    assert_eq!(met, kernels::ALL.iter().filter(computes).map(|kernel| kernel.name).collect());
    assert!(met.len() >= 6, "{met:?}");
}

/// Between the two parts it sees the depthwise part's bias alone.
#[test]
fn between_the_parts_of_separable_layers() {
    let Some(context) = context() else { return };
    let shape = [1, 1, 3, 4];
    for activation in activations() {
        let layer = SeparableConv2d::new(1, 4, 3).padding(1).pointwise_bias(false).depthwise_activation(activation);
        let parts = layer.geometry(shape).unwrap();
        let mut names = BTreeSet::new();
        for (choice, _) in Choice::all(&parts.into(), context.target()) {
            if !names.insert(choice.kernel.name) || !taken(names.len()).any(|taken| taken == activation) {
                continue;
            }
            let plan = layer.plan_with_choice(context, shape, choice).unwrap();
            for x in ENDS {
                let mut data = SeparableData::new((&parts.0, &parts.1), |count| vec![0.0; count]);
                data.depthwise_bias = Some(vec![x]);
                data.pointwise_weight.fill(1.0);
                for actual in data.run(context, (&parts.0, &parts.1), &plan).into_iter().flatten() {
                    assert_activated(activation, x, actual, plan.kernel());
                }
            }
        }
        assert!(names.contains("separable") && names.contains("chained"), "{names:?}");
    }
}
