//! Every kernel of a layer besides convolutions, forced onto layers of its kind and compared with the reference.

mod common;

use common::{OPERATIONS, Random, context};
use sepconv::reference::Reference;
use sepconv::unstable::{Describe, Given};
use sepconv::{Activation, Binary, BinaryOperation, Choice, Context, Error, Layer, Operands, Tensor, Unary, verify};

/// Computes a layer in every variant of every kernel that supports it, three times, with and without runtime checks, from
/// values that `fill` makes, and gives each result to `compare`, with the reference and the kernel's name.
fn compute(
    context: &Context,
    layer: Layer,
    mut fill: impl FnMut(&Given, usize) -> Vec<f32>,
    compare: impl Fn(&Reference, &[f32], &str),
) {
    let given = layer.describe().given();
    let values: Vec<_> = given.iter().map(|given| fill(given, common::count(given.shape))).collect();
    let slices: Vec<_> = values.iter().map(Vec::as_slice).collect();
    let expected = layer.describe().reference(&slices);
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
                compare(&expected, &output.read_blocking().unwrap(), choice.kernel.name);
            }
        }
    }
}

/// [`compute`], the results being as near to the reference as rounding allows.
fn check_with(context: &Context, layer: Layer, fill: impl FnMut(&Given, usize) -> Vec<f32>) {
    let (activation, terms) = (layer.describe().activation(), layer.describe().terms());
    compute(context, layer, fill, |expected, actual, kernel| {
        let error = verify::largest_error(expected, activation, terms, actual);
        assert!(error <= 1.0, "{kernel} of {}: {error} of the bound", layer.text());
    });
}

/// [`compute`] from whole numbers, the results being the reference's to the last bit.
fn check_exact(context: &Context, layer: impl Into<Layer>, seed: u64) {
    let (layer, mut random) = (layer.into(), Random(seed));
    compute(
        context,
        layer,
        |_, count| random.integers(count),
        |expected, actual, kernel| {
            assert_eq!(actual, common::narrow(&expected.values), "{kernel} of {}", layer.text());
        },
    );
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

/// Two shapes, and how many axes they are seen with.
type Broadcast = ([&'static [u32]; 2], usize);

const BROADCASTS: [Broadcast; 13] = [
    // The same shape.
    ([&[2, 3, 5, 7], &[2, 3, 5, 7]], 1),
    ([&[1], &[1]], 0),
    // A scalar on either side.
    ([&[2, 3, 50], &[1, 1, 1]], 1),
    ([&[1, 1], &[30, 9]], 1),
    // One value for each channel, for each row, for each column.
    ([&[2, 3, 5, 7], &[1, 3, 1, 1]], 3),
    ([&[1, 3, 5, 7], &[1, 3, 1, 1]], 2),
    ([&[2, 3, 5, 7], &[2, 3, 5, 1]], 2),
    ([&[2, 3, 5, 7], &[1, 1, 1, 7]], 2),
    // Both are broadcast.
    ([&[9, 1], &[1, 33]], 2),
    ([&[4, 1, 6], &[1, 5, 6]], 3),
    ([&[2, 1, 3, 1, 4], &[1, 5, 1, 2, 1]], 5),
    ([&[2, 3, 2, 3, 2], &[2, 1, 2, 1, 2]], 5),
    ([&[2, 3, 2, 3, 2, 300], &[1, 3, 1, 3, 1, 300]], 6),
];

#[test]
fn operations_on_two_tensors() {
    let Some(context) = context() else { return };
    for (shapes, axes) in BROADCASTS {
        let layer = |operation, activation| Binary::new(operation, shapes, activation).unwrap();
        let sizes = layer(BinaryOperation::Add, Activation::None).sizes;
        assert_eq!(sizes.iter().skip_while(|&&size| size == 1).count(), axes, "{shapes:?}");
        for (index, operation) in OPERATIONS.into_iter().enumerate() {
            // Each shape has every third operation, in turn.
            if !common::sweeps_whole() && !(index + sizes[5] as usize).is_multiple_of(3) {
                continue;
            }
            check(context, layer(operation, Activation::None), index as u64);
            check(context, layer(operation, Activation::Sigmoid), index as u64);
            if ![BinaryOperation::Div, BinaryOperation::Pow].contains(&operation) {
                check_exact(context, layer(operation, Activation::Clamp(-5.0, 6.0)), index as u64);
            }
        }
    }
}

/// Every pair of numbers that have rules of their own.
#[test]
fn operations_on_numbers_with_rules_of_their_own() {
    const NUMBERS: [f32; 26] = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        2.0,
        -2.0,
        3.0,
        -3.0,
        4.0,
        5.0,
        -5.0,
        0.5,
        -0.5,
        2.5,
        -2.5,
        0.1,
        1.000_000_1,
        0.999_999_9,
        16_777_215.0,
        16_777_216.0,
        -16_777_215.0,
        1e30,
        -1e-30,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
    ];
    let Some(context) = context() else { return };
    let count = u32::try_from(NUMBERS.len()).unwrap();
    for operation in OPERATIONS {
        let layer = Binary::new(operation, [&[count, 1], &[1, count]], Activation::None).unwrap();
        check_with(context, layer.into(), |_, _| NUMBERS.to_vec());
    }
}

/// Whole exponents up to 3 are products, so that squares of whole numbers are whole.
#[test]
fn powers_of_whole_numbers_are_whole() {
    let Some(context) = context() else { return };
    let layer = Binary::new(BinaryOperation::Pow, [&[9, 1], &[1, 4]], Activation::None).unwrap();
    let whole = |given: &Given, count: usize| -> Vec<f32> {
        let first = if given.name == "input" { -4.0 } else { 0.0 };
        (0..count).map(|index| first + index as f32).collect()
    };
    compute(context, layer.into(), whole, |expected, actual, kernel| {
        assert_eq!(actual, common::narrow(&expected.values), "{kernel}");
    });
}

#[test]
fn shapes_that_do_not_go_together_are_refused() {
    let new = |a: &[u32], b: &[u32]| Binary::new(BinaryOperation::Add, [a, b], Activation::None);
    let refused: [[&[u32]; 2]; 4] =
        [[&[2, 3], &[3]], [&[2, 3], &[2, 4]], [&[2, 3], &[3, 2]], [&[2, 1, 2, 1, 2, 1, 2], &[1, 2, 1, 2, 1, 2, 1]]];
    for [a, b] in refused {
        assert_eq!(new(a, b), Err(Error::Unbroadcast { a: a.to_vec(), b: b.to_vec() }));
    }
    for [a, b] in [[&[0], &[0]], [&[1], &[0]], [&[0], &[1]]] {
        assert!(matches!(new(a, b), Err(Error::OutOfRange { argument: "size", value: 0, .. })), "{a:?} {b:?}");
    }
    assert!(new(&[1 << 30, 8], &[1 << 30, 8]).is_err() && new(&[1 << 30, 1], &[1, 8]).is_err());
    let infinite = Binary::new(BinaryOperation::Add, [&[2], &[2]], Activation::Elu(f32::INFINITY));
    assert!(matches!(infinite, Err(Error::NotFinite { .. })));
    let mut altered = new(&[2, 3], &[1, 3]).unwrap();
    altered.sizes[2] = 0;
    assert!(altered.check().is_err());
}
