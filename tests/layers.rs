//! Every kernel of a layer besides convolutions, forced onto layers of its kind and compared with the reference.

mod common;

use common::{Random, context};
use sepconv::unstable::Given;
use sepconv::{Activation, Choice, Context, Layer, Operands, Tensor, Unary, verify};

/// Computes a layer in every variant of every kernel that supports it, three times, with and without runtime checks, from
/// values that `fill` makes, and compares each result with the reference.
fn check_with(context: &Context, layer: Layer, mut fill: impl FnMut(&Given, usize) -> Vec<f32>) {
    let given = layer.describe().given();
    let values: Vec<_> = given.iter().map(|given| fill(given, common::count(given.shape))).collect();
    let slices: Vec<_> = values.iter().map(Vec::as_slice).collect();
    let expected = layer.describe().reference(&slices);
    let (activation, terms) = (layer.describe().activation(), layer.describe().terms());
    let choices = Choice::all(&layer, context.target());
    assert!(!choices.is_empty(), "no kernel for {}", layer.text());
    for (choice, _) in choices {
        for checks in [false, true] {
            let context = &context.with_runtime_checks(checks);
            let plan = context.plan_with(layer, choice).unwrap();
            assert!(plan.kernel().contains(choice.kernel.name), "{} is planned as {}", layer.text(), plan.kernel());
            let tensors: Vec<_> = given
                .iter()
                .zip(&values)
                .map(|(given, values)| (given, Tensor::from_slice(context, given.shape, values).unwrap()))
                .collect();
            let input = |name: &str| tensors.iter().find(|(given, _)| given.name == name).map(|(_, tensor)| tensor);
            let parameters = tensors.iter().filter(|(given, _)| given.is_parameter);
            let parameters = parameters
                .map(|(given, tensor)| (sepconv::unstable::Name { part: given.part, name: given.name }, tensor));
            let weights = plan.weights(&parameters.collect()).unwrap();
            for _ in 0..3 {
                let output = common::poisoned(context, layer.output_shape());
                let operands = Operands::new(input("input").unwrap(), &output).other(input("other"));
                plan.bind(&weights, operands).unwrap().run().unwrap();
                let error = verify::largest_error(&expected, activation, terms, &output.read_blocking().unwrap());
                assert!(error <= 1.0, "{} of {}: {error} of the bound", choice.kernel.name, layer.text());
            }
        }
    }
}

/// [`check_with`] random values from -1 to 1.
fn check(context: &Context, layer: impl Into<Layer>, seed: u64) {
    let mut random = Random(seed);
    check_with(context, layer.into(), |_, count| random.floats(count));
}

#[test]
fn functions() {
    let Some(context) = context() else { return };
    for shape in [[1, 1, 1, 1], [1, 3, 5, 7], [2, 4, 16, 33]] {
        check(context, Unary::new(shape, Activation::Sigmoid).unwrap(), 1);
    }
}
