//! Every kernel of a layer besides convolutions, forced onto layers of its kind and compared with the reference.

mod common;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{FUNCTIONS, OPERATIONS, Random, context};
use sepconv::reference::Reference;
use sepconv::unstable::{Describe, Given, LayerTensors};
use sepconv::{
    Activation, AveragePool2d, Axis, Binary, BinaryOperation, Choice, Context, ConvTranspose2d, Coordinates, DType,
    Error, Interpolation, Layer, MatMul, MaxPool2d, Nearest, Normalise, Padding, PaddingMode, Perceptron, Rearrange,
    Reduce, Reduction, Resize2d, Sides, Softmax, Tensor, Unary, verify,
};

/// A tensor behind so many other values of its buffer, a multiple of 4 bytes, with as many behind it.
fn placed(context: &Context, offset: usize, shape: [u32; 4], values: &[f32]) -> Tensor {
    let margin = vec![f32::NAN; offset];
    let all = [&margin, values, &margin].concat();
    let whole = Tensor::from_slice(context, [u32::try_from(all.len()).unwrap(), 1, 1, 1], &all).unwrap();
    Tensor::from_buffer(context, whole.buffer(), context.dtype().bytes() * offset as u64, shape).unwrap()
}

/// How many layers were asked for. Where a sweep is not whole, every other one is computed: in its first variant and in one of
/// the others in turn, and each with runtime checks or without.
static TURN: AtomicUsize = AtomicUsize::new(0);

/// Computes a layer in every variant of every kernel that supports it, three times, with and without runtime checks, at the
/// start of its tensors' buffers and amid them, from values that `fill` makes, and gives each result to `compare`, with the reference and the kernel's name.
fn compute(
    context: &Context,
    layer: Layer,
    mut fill: impl FnMut(&Given, usize) -> Vec<f32>,
    compare: impl Fn(&Reference, &[f32], &str),
) {
    let given = layer.describe().given();
    let dtype = context.dtype();
    let values: Vec<_> =
        given.iter().map(|given| common::rounded(dtype, &fill(given, common::count(given.shape)))).collect();
    let slices: Vec<_> = values.iter().map(Vec::as_slice).collect();
    let expected = layer.describe().reference(&slices);
    let choices = Choice::all(&layer, context.target());
    assert!(!choices.is_empty(), "no kernel for {}", layer.text());
    let (asked, count) = (TURN.fetch_add(1, Ordering::Relaxed), choices.len());
    let step = if dtype == DType::F32 { common::every(6) } else { 1 };
    if !asked.is_multiple_of(step) {
        return;
    }
    let turn = asked / step;
    for (index, (choice, _)) in choices.into_iter().enumerate() {
        for checks in [false, true] {
            let is_its_turn = [0, turn % count].contains(&index) && ((turn + index) % 2 == 1) == checks;
            if !common::sweeps_whole() && !is_its_turn {
                continue;
            }
            let context = &context.with_runtime_checks(checks);
            let offset = match dtype {
                _ if !checks => 0,
                DType::F32 => 3,
                _ => 6,
            };
            let plan = context.plan_with(layer, choice).unwrap();
            assert!(plan.kernel().contains(choice.kernel.name), "{} is planned as {}", layer.text(), plan.kernel());
            let given = given.iter().zip(&values);
            let tensors = given.map(|(given, values)| (*given, placed(context, offset, given.shape, values)));
            let tensors = LayerTensors::of(tensors.collect());
            for _ in 0..3 {
                let poison = vec![f32::NAN; common::count(layer.output_shape())];
                let output = placed(context, offset, layer.output_shape(), &poison);
                tensors.bind(&plan, &output).unwrap().run().unwrap();
                compare(&expected, &output.read_blocking().unwrap(), choice.kernel.name);
                for place in [0, (dtype.bytes() * (offset + poison.len()) as u64).next_multiple_of(4)] {
                    let margin = Tensor::from_buffer(context, output.buffer(), place, [1, 1, 1, 3]);
                    let is_left = |values: Vec<f32>| values.iter().all(|value| value.is_nan());
                    assert!(offset == 0 || is_left(margin.unwrap().read_blocking().unwrap()), "{}", layer.text());
                }
            }
        }
    }
}

/// [`compute`], the results being as near to the reference as rounding allows.
fn check_with(context: &Context, layer: Layer, fill: impl FnMut(&Given, usize) -> Vec<f32>) {
    let (activation, terms) = (layer.describe().activation(), layer.describe().terms());
    compute(context, layer, fill, |expected, actual, kernel| {
        let error = verify::largest_error_of(context.dtype(), expected, activation, terms, actual);
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
            let expected = common::rounded(context.dtype(), &common::narrow(&expected.values));
            assert_eq!(actual, expected, "{kernel} of {}", layer.text());
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
        for activation in FUNCTIONS {
            check(context, Unary::new(shape, activation).unwrap(), 1);
        }
    }
}

/// The ends of an `f32`, three numbers between any power of two and the next, on both sides of zero, and many near it.
#[test]
fn functions_at_every_magnitude() {
    let Some(context) = context() else { return };
    let powers = (-126..=127).flat_map(|power| [1.0, 1.1, 1.7].map(|factor| factor * 2.0_f32.powi(power)));
    let near = (0..=4000).map(|index| index as f32 / 37.0);
    let both = powers.chain(near).flat_map(|x| [x, -x]);
    let values: Vec<f32> = common::ENDS.into_iter().chain(both).collect();
    let shape = [1, 1, 1, u32::try_from(values.len()).unwrap()];
    for activation in FUNCTIONS {
        let layer = Unary::new(shape, activation).unwrap();
        compute(
            context,
            layer.into(),
            |_, _| values.clone(),
            |_, actual, kernel| {
                // A driver that reads a logarithm off the exponent's bits has a finite one for those below the least normal number.
                let is_open = |x: f32| activation == Activation::Log && x.is_subnormal();
                for (&x, &actual) in values.iter().zip(actual).filter(|(x, _)| !is_open(**x)) {
                    common::assert_activated(activation, x, actual, kernel);
                }
            },
        );
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
            check(context, layer(operation, Activation::Sigmoid).residual(true), index as u64);
            if ![BinaryOperation::Div, BinaryOperation::Pow].contains(&operation) {
                let layer = layer(operation, Activation::Clamp(-5.0, 6.0));
                check_exact(context, layer.residual(index % 2 == 0), index as u64);
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

/// An axis of a rearrangement: how many places the output and the input have, how far apart neighbours are in the input, the
/// first place and the step.
fn axis(size: u32, input_size: u32, input_stride: u32, first: i32, step: i32) -> Axis {
    let mut axis = Axis::new(size, input_stride);
    (axis.input_size, axis.first, axis.step) = (input_size, first, step);
    axis
}

/// Axes that are copied whole.
fn whole(axes: &[(u32, u32)]) -> Vec<Axis> {
    axes.iter().map(|&(size, stride)| Axis::new(size, stride)).collect()
}

/// Rearranges an input whose values all differ, and compares the result with the reference bit by bit.
fn check_rearranged(context: &Context, layer: Rearrange) {
    let differing = |_: &Given, count: usize| (1..=count).map(|index| index as f32).collect();
    compute(context, layer.into(), differing, |expected, actual, kernel| {
        assert_eq!(actual, common::narrow(&expected.values), "{kernel} of {}", layer.text());
    });
}

/// With how many axes the shader computes a rearrangement, and whether without padding.
fn axes_of(layer: Rearrange) -> (u32, bool) {
    let [target, ..] = common::targets();
    let (_, variant) = &Choice::all(&layer.into(), &target)[0];
    let constant = |name: &str| variant.constants.iter().find(|(other, _)| *other == name).unwrap().1;
    (constant("AXES"), constant("IS_INSIDE") == 1)
}

#[test]
fn transposes_slices_and_repeats() {
    let Some(context) = context() else { return };
    let strides = [(2, 60), (3, 20), (4, 5), (5, 1)];
    let mut met = BTreeSet::new();
    for order in 0..256_usize {
        let order = [order >> 6, order >> 4 & 3, order >> 2 & 3, order & 3];
        if BTreeSet::from(order).len() == 4 {
            let layer = Rearrange::new(120, &whole(&order.map(|axis| strides[axis]))).unwrap();
            met.insert(axes_of(layer));
            check_rearranged(context, layer);
        }
    }
    assert_eq!(met, BTreeSet::from([(1, true), (2, true), (3, true), (4, true)]));
    for (length, axes, needed) in [
        (1, whole(&[(1, 1)]), 1),
        // A matrix transposed, a batch of them, and a channel's pixels brought together.
        (33 * 70, whole(&[(70, 1), (33, 70)]), 2),
        (3 * 33 * 70, whole(&[(3, 33 * 70), (1, 9), (70, 1), (33, 70)]), 3),
        (2 * 12 * 5 * 7, whole(&[(2, 420), (3, 140), (5, 7), (2, 70), (7, 1), (2, 35)]), 5),
        (64, whole(&[(2, 1), (2, 2), (2, 4), (2, 8), (2, 16), (2, 32)]), 6),
        // Slices: a run, every second, backwards, backwards by threes.
        (100, vec![axis(31, 100, 1, 7, 1)], 1),
        (6 * 50, vec![axis(4, 6, 50, 1, 1), axis(24, 50, 1, 1, 2)], 2),
        (6 * 50, vec![axis(6, 6, 50, 5, -1), axis(50, 50, 1, 49, -1)], 1),
        (6 * 50, vec![axis(6, 6, 50, 5, -1), axis(17, 50, 1, 49, -3)], 2),
        // Repeats: of each value, of the whole, of one.
        (300, vec![axis(300, 300, 1, 0, 1), axis(4, 1, 0, 0, 0)], 2),
        (300, vec![axis(4, 1, 0, 0, 0), axis(300, 300, 1, 0, 1)], 2),
        (9, vec![axis(5, 1, 0, 0, 0), axis(60, 9, 1, 3, 0)], 1),
        // One of several along an axis in the middle.
        (7 * 8 * 9, vec![axis(7, 7, 72, 0, 1), axis(1, 8, 9, 5, 1), axis(9, 9, 1, 0, 1)], 2),
    ] {
        let layer = Rearrange::new(length, &axes).unwrap();
        assert_eq!(axes_of(layer), (needed, true), "{axes:?}");
        check_rearranged(context, layer);
    }
}

#[test]
fn padding_of_every_mode() {
    let Some(context) = context() else { return };
    let modes = [PaddingMode::Zeros, PaddingMode::Reflect, PaddingMode::Replicate, PaddingMode::Circular];
    for mode in modes {
        for (length, axes, needed) in [
            // Planes with margins, at one axis and at both; then transposed, backwards, and by twos.
            (2 * 3 * 5 * 6, vec![axis(6, 6, 30, 0, 1), axis(5, 5, 6, 0, 1), axis(11, 6, 1, -3, 1)], 2),
            (
                2 * 3 * 5 * 6,
                vec![axis(2, 2, 90, 0, 1), axis(3, 3, 30, 0, 1), axis(9, 5, 6, -2, 1), axis(8, 6, 1, -1, 1)],
                3,
            ),
            (5 * 6, vec![axis(10, 6, 1, -2, 1), axis(9, 5, 6, -3, 1)], 2),
            (5 * 6, vec![axis(9, 5, 6, 7, -1), axis(10, 6, 1, 7, -1)], 2),
            (5 * 6, vec![axis(4, 5, 6, 6, -2), axis(5, 6, 1, -1, 2)], 2),
            // Margins before and behind, at six axes.
            (64, (0..6).map(|place| axis(3, 2, 1 << place, if place % 2 == 0 { -1 } else { 0 }, 1)).collect(), 6),
            // Beside an axis that runs backwards and one that is repeated.
            (5 * 6, vec![axis(4, 1, 0, 0, 0), axis(5, 5, 6, 4, -1), axis(9, 6, 1, -2, 1)], 3),
            // Nothing but padding along an axis of one place.
            (5 * 6, vec![axis(1, 5, 6, -2, 1), axis(6, 6, 1, 0, 1)], 2),
        ] {
            for value in if mode == PaddingMode::Zeros { vec![0.0, -2.5, f32::NEG_INFINITY] } else { vec![9.0] } {
                let layer = Rearrange::new(length, &axes).unwrap().padding(mode, value);
                assert_eq!((axes_of(layer), layer.is_inside()), ((needed, false), false), "{axes:?}");
                check_rearranged(context, layer);
            }
        }
        // Of any mode, as there is none.
        let inside = Rearrange::new(30, &whole(&[(6, 1), (5, 6)])).unwrap().padding(mode, 1.0);
        assert_eq!(axes_of(inside), (2, true));
        check_rearranged(context, inside);
    }
}

#[test]
fn rearrangements_out_of_range_are_refused() {
    let refused = |length, axes: &[Axis], name: &str| match Rearrange::new(length, axes) {
        Err(Error::OutOfRange { argument, .. } | Error::Overflow { argument, .. }) => assert_eq!(argument, name),
        other => panic!("{other:?} for {axes:?}"),
    };
    refused(9, &[], "axes");
    refused(9, &whole(&[(1, 1); 7]), "axes");
    refused(0, &whole(&[(1, 1)]), "input");
    refused(9, &whole(&[(0, 1)]), "size");
    refused(9, &[axis(9, 0, 1, 0, 1)], "input size");
    refused(9, &whole(&[(10, 1)]), "input");
    refused(9, &whole(&[(5, 2), (2, 2)]), "input");
    refused(9, &whole(&[(1 << 30, u32::MAX); 6]), "output");
    refused(9, &[axis(1, i32::MAX as u32, u32::MAX, 0, 1); 6], "input");
    refused(9, &whole(&[(1 << 11, 0), (1 << 11, 0), (1 << 11, 0), (1, 0), (1, 0), (1, 0)]), "output");
    refused(9, &[axis(3, 9, 1, i32::MIN, 1)], "place");
    refused(9, &[axis(3, 9, 1, i32::MAX, 1)], "place");
    refused(9, &[axis(3, 9, 1, 0, i32::MIN)], "place");
    for (first, mode, most) in [(-8, PaddingMode::Reflect, 8), (-9, PaddingMode::Circular, 9)] {
        let new = |first| Rearrange::new(9, &[axis(9, 9, 1, first, 1)]).unwrap().padding(mode, 0.0);
        assert_eq!(new(first).check(), Ok(()));
        let (argument, value) = ("padding", u64::from(first.unsigned_abs()) + 1);
        assert_eq!(new(first - 1).check(), Err(Error::OutOfRange { argument, value, minimum: 0, maximum: most }));
        // The last place shown is the first one and 8.
        assert_eq!(new(-first).check(), Ok(()));
        assert!(new(1 - first).check().is_err());
    }
}

fn sides([top, left, bottom, right]: [u32; 4]) -> Sides {
    Sides { top, left, bottom, right }
}

/// [`check`] and [`check_exact`], with the variants for this device and those for a GPU.
fn check_sums(context: &Context, layer: impl Into<Layer>, seed: u64) {
    let step = common::every(2);
    let layer = layer.into();
    // One of the two in turn, unless the sweep is to be whole.
    let kinds = [true, false].into_iter().skip(usize::from(seed % 2 == 1) % step).step_by(step);
    for context in kinds.map(|software| context.with_software(software)) {
        let context = &context;
        check(context, layer, seed);
        if common::keeps_integers(layer.describe().activation()) {
            check_exact(context, layer, seed);
        }
    }
}

/// The input's shape, the output channels, the kernel's size, and the output padding with what else is changed.
type Transposed = ([u32; 4], u32, [u32; 2], [u32; 2], fn(&mut ConvTranspose2d));

const TRANSPOSED: [Transposed; 22] = [
    ([1, 1, 1, 1], 1, [1, 1], [0, 0], |_| {}),
    ([2, 3, 5, 7], 4, [2, 2], [0, 0], |layer| layer.stride = 2.into()),
    ([1, 24, 8, 8], 24, [2, 2], [0, 0], |layer| layer.stride = 2.into()),
    ([1, 24, 9, 7], 1, [2, 2], [0, 0], |layer| (layer.stride, layer.activation) = (2.into(), Activation::Sigmoid)),
    // Windows that do not overlap: in groups, and not square.
    ([2, 16, 5, 3], 6, [3, 2], [0, 0], |layer| (layer.stride, layer.groups) = ([3, 2].into(), 2)),
    ([2, 9, 3, 4], 5, [2, 4], [0, 0], |layer| {
        (layer.stride, layer.bias, layer.activation) = ([2, 4].into(), false, Activation::HardSwish);
    }),
    // Past the edges of the tiles of channels and of pixels.
    ([2, 5, 9, 33], 29, [3, 3], [0, 0], |layer| (layer.stride, layer.bias) = (2.into(), false)),
    ([1, 5, 17, 33], 9, [1, 1], [0, 0], |_| {}),
    ([1, 4, 16, 16], 8, [4, 4], [0, 0], |layer| (layer.stride, layer.padding) = (2.into(), sides([1; 4]))),
    ([1, 4, 5, 6], 3, [3, 3], [1, 1], |layer| (layer.stride, layer.padding) = (2.into(), sides([1; 4]))),
    ([1, 2, 6, 5], 2, [3, 3], [0, 0], |layer| layer.padding = sides([1; 4])),
    ([2, 6, 4, 5], 4, [3, 2], [0, 1], |layer| (layer.stride, layer.groups) = ([1, 2].into(), 2)),
    // Every channel by itself.
    ([2, 6, 5, 4], 6, [4, 3], [1, 0], |layer| {
        (layer.stride, layer.groups, layer.activation) = ([3, 2].into(), 6, Activation::HardSwish);
    }),
    ([1, 4, 5, 6], 12, [3, 3], [0, 0], |layer| (layer.groups, layer.bias) = (4, false)),
    // Outputs between the windows, which see no tap.
    ([1, 2, 5, 4], 3, [2, 1], [2, 3], |layer| layer.stride = [3, 4].into()),
    ([1, 2, 3, 3], 3, [1, 1], [0, 0], |layer| (layer.stride, layer.activation) = (3.into(), Activation::Relu6)),
    // Dilations: without a divisor in common with the stride, with one, and a multiple of it.
    ([1, 3, 6, 5], 5, [3, 4], [0, 0], |layer| (layer.stride, layer.dilation) = (2.into(), 3.into())),
    ([1, 3, 6, 5], 5, [3, 4], [1, 2], |layer| (layer.stride, layer.dilation) = ([4, 6].into(), [6, 4].into())),
    ([2, 3, 5, 6], 2, [3, 3], [0, 0], |layer| {
        (layer.stride, layer.dilation, layer.padding) = ([2, 3].into(), [4, 3].into(), sides([3, 1, 2, 5]));
    }),
    ([1, 2, 7, 6], 2, [4, 5], [0, 0], |layer| layer.dilation = [2, 3].into()),
    // More is taken off than one stride.
    ([1, 3, 8, 9], 2, [3, 5], [0, 0], |layer| (layer.stride, layer.padding) = (2.into(), sides([5, 0, 0, 7]))),
    ([0, 3, 4, 4], 2, [2, 2], [0, 0], |layer| layer.stride = 2.into()),
];

#[test]
fn transposed_convolutions() {
    let Some(context) = context() else { return };
    for ((shape, channels, kernel, more, change), seed) in TRANSPOSED.into_iter().zip(1..) {
        let layer = ConvTranspose2d::new(shape, channels, kernel).unwrap().with(more.into(), change).unwrap();
        check_sums(context, layer, seed);
    }
}

/// Numbers worked out by hand, as ONNX's `ConvTranspose` and PyTorch's `ConvTranspose2d` give them.
#[test]
fn transposed_convolutions_by_hand() {
    let Some(context) = context() else { return };
    let whole = |_: &Given, count: usize| (1..=count).map(|index| index as f32).collect();
    let check = |layer: ConvTranspose2d, shape: [u32; 4], expected: &[f32]| {
        assert_eq!(layer.output_shape(), shape);
        compute(context, layer.into(), whole, |reference, actual, _| {
            assert_eq!((actual, common::narrow(&reference.values).as_slice()), (expected, expected));
        });
    };
    let layer = |shape, channels, kernel: u32| {
        ConvTranspose2d::new(shape, channels, kernel).unwrap().with(0.into(), |layer| layer.bias = false).unwrap()
    };
    // 1 2 / 3 4, each by a filter 1 2 / 3 4: side by side, and overlapping.
    let apart = layer([1, 1, 2, 2], 1, 2).with(0.into(), |layer| layer.stride = 2.into()).unwrap();
    let side_by_side = [1, 2, 2, 4, 3, 4, 6, 8, 3, 6, 4, 8, 9, 12, 12, 16].map(|value: u8| f32::from(value));
    check(apart, [1, 1, 4, 4], &side_by_side);
    check(layer([1, 1, 2, 2], 1, 2), [1, 1, 3, 3], &[1.0, 4.0, 4.0, 6.0, 20.0, 16.0, 9.0, 24.0, 16.0]);
    // The same without its first row and its last column, and with a row of nothing.
    let cut = layer([1, 1, 2, 2], 1, 2).with([1, 0].into(), |layer| layer.padding = sides([1, 0, 0, 1])).unwrap();
    check(cut, [1, 1, 3, 2], &[6.0, 20.0, 9.0, 24.0, 0.0, 0.0]);
    // Two input channels, two output channels: 1 and 2 by weights 1 2 and 3 4, and biases 1 2.
    let channels = ConvTranspose2d::new([1, 2, 1, 1], 2, 1).unwrap();
    check(channels, [1, 2, 1, 1], &[1.0 + 6.0 + 1.0, 2.0 + 8.0 + 2.0]);
    // In two groups each input channel has weights of its own.
    let grouped = layer([1, 2, 1, 1], 4, 1).with(0.into(), |layer| layer.groups = 2).unwrap();
    check(grouped, [1, 4, 1, 1], &[1.0, 2.0, 6.0, 8.0]);
}

#[test]
fn transposed_convolutions_out_of_range_are_refused() {
    let refused = |channels, more: [u32; 2], change: fn(&mut ConvTranspose2d)| {
        ConvTranspose2d::new([1, 6, 4, 5], channels, 3).and_then(|layer| layer.with(more.into(), change)).unwrap_err()
    };
    let argument = |error| match error {
        Error::OutOfRange { argument, .. } | Error::NotDivisible { argument, .. } => argument,
        other => panic!("{other:?}"),
    };
    assert_eq!(argument(refused(0, [0; 2], |_| {})), "out_channels");
    assert_eq!(argument(refused(2, [0; 2], |layer| layer.groups = 0)), "groups");
    assert_eq!(argument(refused(2, [0; 2], |layer| layer.groups = 4)), "in_channels");
    assert_eq!(argument(refused(2, [0; 2], |layer| layer.groups = 3)), "out_channels");
    assert_eq!(argument(refused(2, [0; 2], |layer| layer.stride.width = 0)), "stride width");
    assert_eq!(argument(refused(2, [0; 2], |layer| layer.dilation.height = 0)), "dilation height");
    assert_eq!(argument(refused(2, [0; 2], |layer| layer.kernel_size.height = 0)), "kernel_size height");
    assert_eq!(argument(refused(2, [0; 2], |layer| layer.padding.top = 6)), "output size");
    assert_eq!(argument(refused(2, [u32::MAX, 0], |_| {})), "output size");
    assert!(matches!(refused(2, [0; 2], |layer| layer.activation = Activation::Clamp(1.0, 0.0)), Error::Clamp { .. }));
    // What the kernel cannot compute, it says.
    let target = common::targets()[0].clone();
    for layer in [
        ConvTranspose2d::new([1, 16_385, 1, 1], 1, 2).unwrap(),
        ConvTranspose2d::new([1, 1, 1, 1], 1, 1)
            .unwrap()
            .with([9, 9].into(), |layer| layer.stride = 300.into())
            .unwrap(),
        ConvTranspose2d::new([1, 1, 1, 1], 1, [2, 1])
            .unwrap()
            .with(0.into(), |layer| (layer.dilation, layer.padding.top) = ([1 << 30, 1].into(), 1 << 30))
            .unwrap(),
    ] {
        assert!(Choice::all(&layer.into(), &target).is_empty(), "{layer:?}");
    }
}

/// ONNX's own examples of `AveragePool` and `MaxPool`, and windows at the edges.
#[test]
fn pools_by_hand() {
    let Some(context) = context() else { return };
    let check = |layer: Layer, shape: [u32; 4], expected: &[f32]| {
        assert_eq!(layer.output_shape(), shape, "{}", layer.text());
        let whole = |_: &Given, count: usize| (1..=count).map(|index| index as f32).collect();
        compute(context, layer, whole, |reference, actual, _| {
            assert_eq!(
                (actual, common::narrow(&reference.values).as_slice()),
                (expected, expected),
                "{}",
                layer.text()
            );
        });
    };
    let mean = |pool: AveragePool2d, [height, width]: [u32; 2]| pool.geometry([1, 1, height, width]).unwrap().into();
    let max = |pool: MaxPool2d, [height, width]: [u32; 2]| pool.geometry([1, 1, height, width]).unwrap().into();

    // averagepool_2d_ceil and maxpool_2d_ceil: 4 x 4, whose last windows see one row and one column less.
    let pool = AveragePool2d::new(3).stride(2).ceil_mode(true).count_padding(false);
    check(mean(pool, [4, 4]), [1, 1, 2, 2], &[6.0, 7.5, 12.0, 13.5]);
    check(mean(pool.count_padding(true), [4, 4]), [1, 1, 2, 2], &[6.0, 7.5, 12.0, 13.5]);
    let pool = MaxPool2d::new(3).stride(2).ceil_mode(true);
    check(max(pool, [4, 4]), [1, 1, 2, 2], &[11.0, 12.0, 15.0, 16.0]);
    check(max(pool.ceil_mode(false), [4, 4]), [1, 1, 1, 1], &[11.0]);

    // averagepool_2d_precomputed_strides, _same_upper and _pads.
    let pool = AveragePool2d::new(2).stride(2).count_padding(false);
    check(mean(pool, [5, 5]), [1, 1, 2, 2], &[4.0, 6.0, 14.0, 16.0]);
    let pool = AveragePool2d::new(3).stride(2).padding(Padding::Same).count_padding(false);
    check(mean(pool, [5, 5]), [1, 1, 3, 3], &[4.0, 5.5, 7.0, 11.5, 13.0, 14.5, 19.0, 20.5, 22.0]);
    #[rustfmt::skip]
    let padded = [
        7.0, 7.5, 8.0, 8.5, 9.0,
        9.5, 10.0, 10.5, 11.0, 11.5,
        12.0, 12.5, 13.0, 13.5, 14.0,
        14.5, 15.0, 15.5, 16.0, 16.5,
        17.0, 17.5, 18.0, 18.5, 19.0,
    ];
    let pool = AveragePool2d::new(5).stride(1).padding(2).count_padding(false);
    check(mean(pool, [5, 5]), [1, 1, 5, 5], &padded);
    // averagepool_2d_precomputed_pads_count_include_pad: zeros count.
    #[rustfmt::skip]
    let zeros = [
        2.52, 3.6, 4.8, 4.08, 3.24,
        4.56, 6.4, 8.4, 7.04, 5.52,
        7.2, 10.0, 13.0, 10.8, 8.4,
        6.96, 9.6, 12.4, 10.24, 7.92,
        6.12, 8.4, 10.8, 8.88, 6.84,
    ];
    check(mean(pool.count_padding(true), [5, 5]), [1, 1, 5, 5], &zeros);

    // 1 2 3 4 5 6 with a zero on either side: a second window would start at the zero after them, and is left out.
    let pool = AveragePool2d::new([1, 2]).padding([0, 1]).stride([1, 7]).ceil_mode(true);
    check(mean(pool, [1, 6]), [1, 1, 1, 1], &[0.5]);
    check(mean(pool.stride([1, 5]), [1, 6]), [1, 1, 1, 2], &[0.5, 5.5]);
    // The last window has the last value, the zero after it, and a place past that, which never counts.
    let pool = AveragePool2d::new([1, 3]).padding([0, 1]).stride([1, 3]).ceil_mode(true);
    check(mean(pool, [1, 6]), [1, 1, 1, 3], &[1.0, 4.0, 3.0]);
    check(mean(pool.count_padding(false), [1, 6]), [1, 1, 1, 3], &[1.5, 4.0, 6.0]);
    // With a dilation it may have nothing but what lies past the padding.
    let pool = MaxPool2d::new([1, 2]).stride([1, 4]).dilation([1, 2]).ceil_mode(true);
    check(max(pool, [1, 5]), [1, 1, 1, 2], &[3.0, 5.0]);
}

#[test]
fn pools_out_of_range_are_refused() {
    let shape = [1, 2, 5, 6];
    let argument = |result: sepconv::Result<_>| match result {
        Err(Error::OutOfRange { argument, .. }) => argument,
        other => panic!("{other:?}"),
    };
    let pool = AveragePool2d::new(3).ceil_mode(true);
    assert_eq!(argument(AveragePool2d::new(0).geometry(shape)), "kernel_size height");
    assert_eq!(argument(pool.stride([1, 0]).geometry(shape)), "stride width");
    assert_eq!(argument(pool.dilation([0, 1]).geometry(shape)), "dilation height");
    assert_eq!(argument(pool.geometry([1, 0, 5, 6])), "input channels");
    // Rounding up is no way round a window that does not fit.
    assert!(matches!(AveragePool2d::new(6).ceil_mode(true).geometry(shape), Err(Error::KernelTooLarge { .. })));
    // The window that is added would end past what a shader can compute with.
    let long = AveragePool2d::new([1, 1 << 30]).padding([0, 0, 0, 1 << 30]).ceil_mode(true).stride([1, (1 << 30) + 1]);
    assert_eq!(argument(long.geometry([1, 1, 1, (1 << 30) - 1 + 4])), "padded input size");
    let geometry = pool.geometry(shape).unwrap();
    assert_eq!(geometry.output_shape(), [1, 2, 2, 2]);
    for alter in [
        |geometry: &mut sepconv::PoolGeometry| geometry.ceil_mode = false,
        |geometry: &mut sepconv::PoolGeometry| geometry.output.height = 3,
    ] {
        let mut altered = geometry;
        alter(&mut altered);
        assert_eq!(altered.check(), Err(Error::Altered));
    }
}

/// Every reduction.
const REDUCTIONS: [Reduction; 7] = [
    Reduction::Sum,
    Reduction::Mean,
    Reduction::Max,
    Reduction::Min,
    Reduction::Product,
    Reduction::SumOfSquares,
    Reduction::SumOfAbsolutes,
];

/// `[outer, length, inner]`: sizes of 1, odd sizes, and those around the edges of fours, teams and workgroups.
const ALONG_AN_AXIS: [[u32; 3]; 21] = [
    [1, 1, 1],
    [1, 2, 1],
    [1, 1, 5],
    [65, 1, 1],
    [3, 3, 1],
    [17, 4, 1],
    [5, 5, 3],
    [7, 15, 1],
    [1, 16, 300],
    [66, 17, 1],
    [2, 49, 1],
    [129, 63, 1],
    [2, 64, 65],
    [4, 65, 1],
    [3, 67, 7],
    [1, 127, 2],
    [3, 255, 1],
    [2, 256, 1],
    [2, 257, 3],
    [2, 1025, 1],
    [1, 3001, 2],
];

#[test]
fn reductions() {
    let Some(context) = context() else { return };
    for (index, reduction) in REDUCTIONS.into_iter().enumerate() {
        for (place, sizes) in ALONG_AN_AXIS.into_iter().enumerate() {
            // Each reduction has every third of the sizes, in turn.
            if common::sweeps_whole() || (index + place).is_multiple_of(3) {
                let mut layer = Reduce::new(reduction, sizes).unwrap();
                check(context, layer, place as u64);
                layer.activation = Activation::Sigmoid;
                check(context, layer, place as u64);
            }
        }
    }
}

#[test]
fn reductions_of_whole_numbers_are_exact() {
    let Some(context) = context() else { return };
    let exact = [Reduction::Sum, Reduction::Max, Reduction::Min, Reduction::SumOfSquares, Reduction::SumOfAbsolutes];
    for (index, reduction) in exact.into_iter().enumerate() {
        for (place, sizes) in ALONG_AN_AXIS.into_iter().enumerate() {
            if common::sweeps_whole() || (index + place).is_multiple_of(2) {
                check_exact(context, Reduce::new(reduction, sizes).unwrap(), place as u64);
            }
        }
    }
    // A product of powers of two is one.
    for sizes in [[3, 21, 1], [2, 70, 3], [1, 300, 1]] {
        let layer = Reduce::new(Reduction::Product, sizes).unwrap();
        let mut random = Random(5);
        let mut power = || [-1.0, 0.5, 2.0, 1.0][usize::try_from(random.next() % 4).unwrap()];
        let powers = |_: &Given, count| (0..count).map(|_| power()).collect();
        compute(context, layer.into(), powers, |expected, actual, kernel| {
            let expected = common::rounded(context.dtype(), &common::narrow(&expected.values));
            assert_eq!(actual, expected, "{kernel} of {}", layer.text());
        });
    }
}

/// More values than a loop of llvmpipe has rounds.
#[test]
fn long_reductions() {
    let Some(context) = context() else { return };
    for sizes in [[2, 70_000, 1], [1, 300_000, 1], [1, 70_000, 3], [1, 300_000, 2]] {
        for reduction in [Reduction::Sum, Reduction::Max, Reduction::SumOfAbsolutes] {
            check_exact(context, Reduce::new(reduction, sizes).unwrap(), 7);
        }
        check(context, Reduce::new(Reduction::Mean, sizes).unwrap(), 7);
    }
    // What no team can read is refused, and not left unfinished.
    let layer = Reduce::new(Reduction::Sum, [1, 1 << 26, 1]).unwrap();
    assert!(matches!(context.plan(layer), Err(Error::Altered | Error::Unsupported { .. })), "{layer:?}");
}

/// A NaN and infinities among the values, at every place of a four and in several members' shares.
#[test]
fn reductions_of_numbers_with_rules_of_their_own() {
    let Some(context) = context() else { return };
    for reduction in [Reduction::Max, Reduction::Min, Reduction::Sum, Reduction::Mean, Reduction::SumOfSquares] {
        for sizes in [[12, 7, 1], [12, 130, 1], [3, 70, 4]] {
            let [_, length, inner] = sizes.map(|size| size as usize);
            let special = [f32::NAN, f32::NEG_INFINITY, f32::INFINITY];
            let fill = |_: &Given, count: usize| -> Vec<f32> {
                let mut values = Random(3).floats(count);
                for (result, &number) in (0..count / length).zip(special.iter().cycle()) {
                    let place = result * 11 % length;
                    values[(result / inner * length + place) * inner + result % inner] = number;
                }
                values
            };
            check_with(context, Reduce::new(reduction, sizes).unwrap().into(), fill);
        }
        // Nothing but minus infinity.
        let layer = Reduce::new(reduction, [2, 9, 1]).unwrap();
        check_with(context, layer.into(), |_, count| vec![f32::NEG_INFINITY; count]);
    }
}

#[test]
fn reductions_out_of_range_are_refused() {
    let new = |sizes| Reduce::new(Reduction::Sum, sizes);
    for sizes in [[0, 1, 1], [1, 0, 1], [1, 1, 0], [1 << 31, 1, 1]] {
        assert!(matches!(new(sizes), Err(Error::OutOfRange { argument: "size", .. })), "{sizes:?}");
    }
    assert!(matches!(new([1 << 16, 1 << 16, 1]), Err(Error::Overflow { argument: "input", .. })));
    let mut infinite = new([1, 2, 3]).unwrap();
    infinite.activation = Activation::Elu(f32::INFINITY);
    assert!(matches!(infinite.check(), Err(Error::NotFinite { .. })));
}

/// `[rows, depth, columns]`: sizes of 1, odd sizes, and those around the edges of tiles and workgroups.
const PRODUCTS: [[u32; 3]; 14] = [
    [1, 1, 1],
    [1, 7, 1],
    [5, 1, 3],
    [1, 130, 257],
    [2, 9, 64],
    [3, 33, 65],
    [4, 16, 4],
    [5, 8, 63],
    [7, 40, 31],
    [8, 3, 64],
    [9, 64, 33],
    [16, 17, 100],
    [33, 5, 129],
    [65, 12, 15],
];

#[test]
fn products_of_matrices() {
    let Some(context) = context() else { return };
    for (place, sizes) in PRODUCTS.into_iter().enumerate() {
        let mut layer = MatMul::new(sizes).unwrap();
        check_exact(context, layer, place as u64);
        for transposed in [[false, true], [true, false], [true, true]] {
            layer.transposed = transposed;
            check_exact(context, layer, place as u64);
        }
        layer.transposed[0] = place % 2 == 0;
        layer.bias = true;
        check_exact(context, layer, place as u64);
        layer.activation = Activation::Sigmoid;
        check(context, layer, place as u64);
    }
}

/// One matrix for all products, for those along one axis of the batch, or one for each.
#[test]
fn batches_of_products() {
    let Some(context) = context() else { return };
    for batch in [[1, 3], [3, 1], [2, 3]] {
        for flags in 0..16 {
            let mut layer = MatMul::new([5, 6, 9]).unwrap();
            layer.batch = batch;
            layer.varies = [[flags & 1 > 0, flags & 2 > 0], [flags & 4 > 0, flags & 8 > 0]];
            layer.transposed = [flags & 2 > 0, flags & 4 > 0];
            layer.bias = flags & 1 > 0;
            check_exact(context, layer, flags);
        }
    }
}

/// Sums that are cut, each part adding to what is stored.
#[test]
fn long_products() {
    let Some(context) = context() else { return };
    for (place, sizes) in [[3, 8192, 5], [4, 8193, 2], [1, 70_000, 3], [9, 20_000, 2]].into_iter().enumerate() {
        let mut layer = MatMul::new(sizes).unwrap();
        layer.transposed[1] = place % 2 == 0;
        layer.bias = true;
        layer.activation = Activation::Clamp(-200.0, 300.0);
        check_exact(context, layer, place as u64);
    }
}

/// What is read again past an edge brings no NaN or infinity to other outputs.
#[test]
fn products_with_infinities_and_a_nan() {
    let Some(context) = context() else { return };
    for sizes in [[5, 6, 70], [3, 5, 3]] {
        let [rows, depth, columns] = sizes.map(|size| size as usize);
        let layer = MatMul::new(sizes).unwrap();
        check_with(context, layer.into(), |given, count| {
            let mut values = Random(4).floats(count);
            if given.name == "input" {
                values[(rows - 1) * depth] = f32::NAN;
            } else {
                (values[0], values[(depth - 1) * columns + 1]) = (f32::INFINITY, f32::NEG_INFINITY);
            }
            values
        });
    }
}

/// Each of three sizes is refused by name below 1 and from 2^31 on.
fn each_size_is_in_range<L: PartialEq + std::fmt::Debug>(
    arguments: [&'static str; 3],
    new: impl Fn([u32; 3]) -> sepconv::Result<L>,
) {
    for (place, argument) in arguments.into_iter().enumerate() {
        for value in [0, 1 << 31] {
            let mut sizes = [2; 3];
            sizes[place] = value;
            let expected = Error::OutOfRange { argument, value: value.into(), minimum: 1, maximum: (1 << 31) - 1 };
            assert_eq!(new(sizes), Err(expected));
        }
    }
}

#[test]
fn products_out_of_range_are_refused() {
    each_size_is_in_range(["rows", "depth", "columns"], MatMul::new);
    for (sizes, name) in
        [([1 << 17, 1 << 16, 1], "input"), ([1, 1 << 16, 1 << 17], "other"), ([1 << 17, 1, 1 << 16], "output")]
    {
        assert!(matches!(MatMul::new(sizes), Err(Error::Overflow { argument, .. }) if argument == name), "{sizes:?}");
    }
    let layer = MatMul::new([2, 3, 4]).unwrap();
    let alterations: [fn(&mut MatMul); 4] = [
        |layer| layer.batch[0] = 0,
        |layer| layer.batch[1] = 1 << 31,
        |layer| layer.batch = [1 << 16; 2],
        |layer| layer.activation = Activation::LeakyRelu(f32::NAN),
    ];
    for alter in alterations {
        let mut altered = layer;
        alter(&mut altered);
        assert!(altered.check().is_err(), "{altered:?}");
    }
}

/// Sizes below, at and past a team's and a workgroup's, with and without biases.
#[test]
fn perceptrons() {
    let Some(context) = context() else { return };
    let sizes =
        [[1, 1, 1], [3, 2, 5], [16, 8, 16], [67, 24, 67], [96, 24, 96], [300, 257, 300], [9, 700, 3], [1001, 3, 513]];
    for (place, sizes) in (0..).zip(sizes) {
        for (biases, batch) in [([true, true], 1), ([true, false], 3), ([false, true], 2), ([false, false], 1)] {
            let mut layer = Perceptron::new(batch, sizes).unwrap();
            [layer.hidden_bias, layer.bias] = biases;
            check_exact(context, layer, place);
            (layer.hidden_activation, layer.activation) = (Activation::Relu, Activation::HardSigmoid(0.2, 0.5));
            check(context, layer, place);
        }
        for (hidden, activation) in [
            (Activation::Silu, Activation::Sigmoid),
            (Activation::HardSwish, Activation::Linear(0.5, -1.5)),
            (Activation::Sigmoid, Activation::Gelu),
            (Activation::Clamp(-1.0, 2.0), Activation::Tanh),
            (Activation::LeakyRelu(0.1), Activation::None),
        ] {
            let mut layer = Perceptron::new(2, sizes).unwrap();
            (layer.hidden_activation, layer.activation) = (hidden, activation);
            check(context, layer, place);
        }
    }
}

/// What is read again past an edge brings no NaN or infinity to other images and features.
#[test]
fn perceptrons_with_infinities_and_a_nan() {
    let Some(context) = context() else { return };
    for sizes in [[5, 3, 9], [17, 6, 5], [40, 11, 3], [7, 300, 2], [1, 1, 1], [2, 2, 2]] {
        let [in_features, hidden_features, _] = sizes.map(|size| size as usize);
        check_with(context, Perceptron::new(4, sizes).unwrap().into(), |given, count| {
            let mut values = Random(4).floats(count);
            match (given.part, given.name) {
                (None, "input") => (values[0], values[2 * in_features]) = (f32::NAN, f32::INFINITY),
                (None, "weight") => values[hidden_features - 1] = f32::NEG_INFINITY,
                _ => {}
            }
            values
        });
    }
}

#[test]
fn perceptrons_out_of_range_are_refused() {
    each_size_is_in_range(["in_features", "hidden_features", "out_features"], |sizes| Perceptron::new(1, sizes));
    assert!(matches!(Perceptron::new(0, [2; 3]), Err(Error::OutOfRange { argument: "batch", .. })));
    for (batch, sizes, name) in [
        (1 << 17, [1 << 16, 1, 1], "input"),
        (1, [1 << 17, 1 << 16, 1], "hidden weight"),
        (1, [1, 1 << 17, 1 << 16], "weight"),
        (1 << 17, [1, 1, 1 << 16], "output"),
    ] {
        assert!(matches!(Perceptron::new(batch, sizes), Err(Error::Overflow { argument, .. }) if argument == name));
    }
    let mut altered = Perceptron::new(2, [3, 4, 5]).unwrap();
    altered.hidden_activation = Activation::LeakyRelu(f32::NAN);
    assert!(altered.check().is_err());
    let Some(context) = context() else { return };
    for (sizes, needs) in [
        ([1, 2049, 1], "it needs at most 2,048 hidden features"),
        ([1 << 20, 3, 1], "it needs at most 2,097,152 weights"),
    ] {
        let refused = context.plan(Perceptron::new(1, sizes).unwrap()).unwrap_err().to_string();
        assert!(refused.ends_with(needs), "{refused}");
    }
}

fn check_scaled(context: &Context, layer: impl Into<Layer>, seed: u64, size: f32) {
    let mut random = Random(seed);
    check_with(context, layer.into(), |_, count| random.floats(count).iter().map(|x| x * size).collect());
}

#[test]
fn softmax() {
    let Some(context) = context() else { return };
    for (place, sizes) in ALONG_AN_AXIS.into_iter().enumerate() {
        for is_log in [false, true] {
            let layer = Softmax::new(sizes, is_log).unwrap();
            for size in [1.0, 20.0, 1e4] {
                check_scaled(context, layer, place as u64, size);
            }
            // All alike.
            check_with(context, layer.into(), |_, count| vec![-1e4; count]);
        }
    }
    // What one invocation may read, and more values than a loop of llvmpipe has rounds.
    for sizes in [[1, 43_690, 1], [2, 70_000, 1], [1, 43_690, 3]] {
        check_scaled(context, Softmax::new(sizes, false).unwrap(), 1, 9.0);
        check_scaled(context, Softmax::new(sizes, true).unwrap(), 1, 9.0);
    }
}

/// Entries of minus infinity have no share; a NaN, an infinity, or nothing but minus infinity makes a row of NaNs.
#[test]
fn softmax_of_numbers_with_rules_of_their_own() {
    let Some(context) = context() else { return };
    for (sizes, is_log) in [([8, 7, 1], false), ([8, 130, 1], true), ([2, 70, 4], false)] {
        let layer = Softmax::new(sizes, is_log).unwrap();
        let [_, length, inner] = sizes.map(|size| size as usize);
        check_with(context, layer.into(), |_, count| {
            let mut values = Random(3).floats(count);
            for (index, value) in values.iter_mut().enumerate() {
                let (row, place) = (index / (length * inner) * inner + index % inner, index / inner % length);
                match row {
                    0 if place == 3 => *value = f32::NAN,
                    1 if place == length - 1 => *value = f32::INFINITY,
                    2 => *value = f32::NEG_INFINITY,
                    3 if place % 2 == 0 => *value = f32::NEG_INFINITY,
                    4 => *value *= f32::MAX,
                    5 if place != 1 => *value = f32::NEG_INFINITY,
                    _ => {}
                }
            }
            values
        });
    }
}

#[test]
fn softmax_out_of_range_is_refused() {
    for sizes in [[0, 1, 1], [1, 0, 1], [1, 1, 0], [1, 1 << 31, 1]] {
        assert!(matches!(Softmax::new(sizes, true), Err(Error::OutOfRange { argument: "size", .. })), "{sizes:?}");
    }
    assert!(matches!(Softmax::new([1, 1 << 16, 1 << 16], false), Err(Error::Overflow { argument: "input", .. })));
}

fn norms() -> Vec<Normalise> {
    let instances = [[1, 1, 1, 1], [2, 3, 1, 5], [1, 65, 4, 4], [1, 2, 7, 9], [2, 1, 5, 13], [1, 3, 31, 33]];
    let layers = [[1, 1], [65, 3], [7, 17], [3, 64], [2, 257], [1, 3000]];
    let groups = [([1, 4, 1, 1], 2), ([2, 6, 3, 5], 3), ([1, 32, 8, 8], 8), ([2, 8, 9, 9], 1), ([1, 5, 3, 3], 5)];
    let instances = instances.map(|shape| Normalise::instance(shape, 1e-5));
    let layers = layers.map(|[rows, length]| Normalise::layer(rows, length, 1e-3));
    let groups = groups.map(|(shape, groups)| Normalise::group(shape, groups, 1e-5));
    instances.into_iter().chain(layers).chain(groups).map(Result::unwrap).collect()
}

#[test]
fn normalised_rows() {
    let Some(context) = context() else { return };
    for (place, mut layer) in norms().into_iter().enumerate() {
        check(context, layer, place as u64);
        check_scaled(context, layer, place as u64, 1e4);
        // Rows of equal values have variance 0.
        check_with(context, layer.into(), |given, count| {
            if given.name == "input" { vec![0.3; count] } else { Random(place as u64).floats(count) }
        });
        // A mean much larger than the deviation: by the mean of the squares, the variance would have no digit left.
        let mut random = Random(place as u64);
        check_with(context, layer.into(), |given, count| {
            let shift = if given.name == "input" { 4096.0 } else { 0.0 };
            random.floats(count).iter().map(|x| x + shift).collect()
        });
        layer.activation = Activation::Silu;
        check(context, layer, place as u64);
    }
    // What one invocation may read, and more values than a loop of llvmpipe has rounds.
    check(context, Normalise::layer(1, 43_690, 1e-5).unwrap(), 1);
    check(context, Normalise::instance([1, 2, 250, 280], 1e-5).unwrap(), 2);
}

/// Of whole numbers with a whole mean and a deviation that is a power of two, each step is exact but for the root.
#[test]
fn normalised_rows_are_right_in_every_place() {
    let Some(context) = context() else { return };
    for (layer, length) in [
        (Normalise::layer(3, 64, 0.0), 64),
        (Normalise::instance([1, 2, 256, 256], 0.0), 1 << 16),
        (Normalise::group([2, 4, 32, 32], 2, 0.0), 2048),
    ] {
        let layer = layer.unwrap();
        let mut random = Random(8);
        let fill = |given: &Given, count: usize| -> Vec<f32> {
            if given.name == "input" {
                // As many of 5 as of 1, in another order for each row.
                let step = |index: usize| (index % length * 37 + index / length * 11) % length;
                (0..count).map(|index| if step(index) < length / 2 { 5.0 } else { 1.0 }).collect()
            } else {
                random.integers(count)
            }
        };
        compute(context, layer.into(), fill, |expected, actual, kernel| {
            for (place, (expected, actual)) in expected.values.iter().zip(actual).enumerate() {
                let error = (f64::from(*actual) - expected).abs();
                assert!(error < 1e-5, "{kernel} of {} at {place}: {actual} and not {expected}", layer.text());
            }
        });
    }
}

/// A NaN or an infinity makes its row NaN, and no other.
#[test]
fn normalised_rows_keep_a_nan() {
    let Some(context) = context() else { return };
    for layer in [Normalise::layer(5, 9, 1e-5), Normalise::instance([1, 5, 10, 13], 1e-5)] {
        let layer = layer.unwrap();
        let length = layer.length as usize;
        check_with(context, layer.into(), |given, count| {
            let mut values = Random(6).floats(count);
            if given.name == "input" {
                (values[length + 3], values[4 * length - 1]) = (f32::NAN, f32::INFINITY);
            }
            values
        });
    }
}

#[test]
fn norms_out_of_range_are_refused() {
    for shape in [[0, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 0]] {
        assert!(Normalise::instance(shape, 1e-5).is_err(), "{shape:?}");
        assert!(Normalise::group(shape, 1, 1e-5).is_err(), "{shape:?}");
    }
    assert!(Normalise::layer(0, 3, 1e-5).is_err() && Normalise::layer(3, 0, 1e-5).is_err());
    for shape in [[1 << 16, 1 << 16, 1, 1], [1, 1, 1 << 16, 1 << 16], [1, 1 << 30, 1 << 30, 1 << 30]] {
        assert!(
            matches!(Normalise::instance(shape, 1e-5), Err(Error::Overflow { argument: "input", .. })),
            "{shape:?}"
        );
        assert!(
            matches!(Normalise::group(shape, 1, 1e-5), Err(Error::Overflow { argument: "input", .. })),
            "{shape:?}"
        );
    }
    for groups in [0, 4, 12] {
        let expected = Error::NotDivisible { argument: "channels", value: 6, groups };
        assert_eq!(Normalise::group([1, 6, 2, 2], groups, 1e-5), Err(expected));
    }
    for epsilon in [-1e-5, f32::NAN, f32::INFINITY] {
        assert!(matches!(Normalise::layer(2, 3, epsilon), Err(Error::NotFinite { argument: "epsilon", .. })));
    }
    let layer = Normalise::group([2, 6, 3, 5], 3, 1e-5).unwrap();
    let alterations: [fn(&mut Normalise); 5] = [
        |layer| layer.groups = 1,
        |layer| layer.run = 0,
        |layer| layer.periods = 4,
        |layer| layer.length += 1,
        |layer| layer.activation = Activation::Elu(f32::NAN),
    ];
    for alter in alterations {
        let mut altered = layer;
        alter(&mut altered);
        assert!(altered.check().is_err(), "{altered:?}");
    }
}

const COORDINATES: [Coordinates; 5] = [
    Coordinates::HalfPixel,
    Coordinates::PytorchHalfPixel,
    Coordinates::AlignCorners,
    Coordinates::Asymmetric,
    Coordinates::HalfPixelForNearest,
];

const NEAREST: [Nearest; 4] = [Nearest::RoundPreferFloor, Nearest::RoundPreferCeil, Nearest::Floor, Nearest::Ceil];

fn cubic(exclude_outside: bool) -> Interpolation {
    Interpolation::Cubic { coefficient: -0.75, exclude_outside }
}

fn interpolations() -> impl Iterator<Item = Interpolation> {
    let others = [Interpolation::Linear, cubic(false), cubic(true)];
    NEAREST.map(Interpolation::Nearest).into_iter().chain(others)
}

#[test]
fn resizing() {
    let Some(context) = context() else { return };
    for (planes, input, output) in [
        (1, [1, 1], [1, 1]),
        (3, [1, 1], [4, 5]),
        (5, [6, 7], [1, 1]),
        (4, [5, 7], [5, 7]),
        (6, [4, 5], [8, 15]),
        // Smaller by whole numbers and by fractions; larger along one axis and smaller along the other.
        (2, [12, 15], [4, 5]),
        (7, [13, 17], [5, 4]),
        (2, [3, 40], [7, 9]),
        (9, [7, 3], [16, 20]),
        // 49 times the f32 nearest to 1/49 is below 1.
        (1, [2, 3], [98, 147]),
        (1, [33, 1], [64, 2]),
    ] {
        for (coordinates, seed) in COORDINATES.into_iter().zip(1..) {
            for interpolation in interpolations() {
                let layer = Resize2d::new(planes, input.into(), output.into(), coordinates, interpolation).unwrap();
                check(context, layer.residual(seed % 2 == 0), seed);
            }
        }
    }
}

/// A file may say another scale than the sizes give.
#[test]
fn resizing_by_a_scale_of_its_own() {
    let Some(context) = context() else { return };
    for (input, output, scale) in [
        ([5, 3], [12, 7], [2.5, 2.5]),
        ([5, 5], [3, 3], [0.6, 0.7]),
        ([4, 4], [9, 2], [2.25, 0.500_000_06]),
        // Places far outside of the input, which cubics may leave out altogether.
        ([4, 4], [9, 9], [0.3, 4.0]),
    ] {
        for coordinates in COORDINATES {
            for interpolation in interpolations() {
                let mut layer = Resize2d::new(2, input.into(), output.into(), coordinates, interpolation).unwrap();
                layer.scale = scale;
                check(context, layer, 3);
            }
        }
    }
}

/// ONNX's own examples of `Resize`, from its operators' documentation.
#[test]
fn resizing_by_hand() {
    let Some(context) = context() else { return };
    let check = |layer: Resize2d, expected: &[f32]| {
        let whole = |_: &Given, count: usize| (1..=count).map(|index| index as f32).collect();
        let near = |actual: &[f32]| {
            // They are given to so many digits.
            assert_eq!(actual.len(), expected.len());
            let pairs = actual.iter().zip(expected);
            let differing =
                pairs.filter(|(actual, expected)| (*actual - *expected).abs() > 2e-6 * expected.abs().max(1.0));
            assert_eq!(differing.collect::<Vec<_>>(), [], "{}", layer.text());
        };
        compute(context, layer.into(), whole, |reference, actual, _| {
            near(&common::narrow(&reference.values));
            near(actual);
        });
    };
    let resize = |input: [u32; 2], output: [u32; 2], scale: Option<[f32; 2]>, coordinates, interpolation| {
        let mut layer = Resize2d::new(1, input.into(), output.into(), coordinates, interpolation).unwrap();
        layer.scale = scale.unwrap_or(layer.scale);
        layer
    };
    let nearest = Interpolation::Nearest;
    let (half_pixel, asymmetric) = (Coordinates::HalfPixel, Coordinates::Asymmetric);

    // resize_upsample_scales_nearest.
    let enlarged = [
        [1.0, 1.0, 1.0, 2.0, 2.0, 2.0],
        [1.0, 1.0, 1.0, 2.0, 2.0, 2.0],
        [3.0, 3.0, 3.0, 4.0, 4.0, 4.0],
        [3.0, 3.0, 3.0, 4.0, 4.0, 4.0],
    ];
    check(resize([2, 2], [4, 6], None, half_pixel, nearest(Nearest::RoundPreferFloor)), enlarged.as_flattened());
    // resize_downsample_scales_nearest.
    let scale = Some([0.6, 0.6]);
    check(resize([2, 4], [1, 2], scale, half_pixel, nearest(Nearest::RoundPreferFloor)), &[1.0, 3.0]);
    // resize_upsample_sizes_nearest_ceil_half_pixel, _floor_align_corners and _round_prefer_ceil_asymmetric: 4 x 4 to 8 x 8.
    let rows = |rows: [usize; 8], columns: [usize; 8]| -> Vec<f32> {
        rows.iter().flat_map(|row| columns.map(|column| (4 * row + column + 1) as f32)).collect()
    };
    let at = |places: [usize; 8]| rows(places, places);
    let wide = |coordinates, nearest| resize([4, 4], [8, 8], None, coordinates, Interpolation::Nearest(nearest));
    check(wide(half_pixel, Nearest::Ceil), &at([0, 1, 1, 2, 2, 3, 3, 3]));
    check(wide(Coordinates::AlignCorners, Nearest::Floor), &at([0, 0, 0, 1, 1, 2, 2, 3]));
    check(wide(asymmetric, Nearest::RoundPreferCeil), &at([0, 1, 1, 2, 2, 3, 3, 3]));
    check(wide(asymmetric, Nearest::RoundPreferFloor), &at([0, 0, 1, 1, 2, 2, 3, 3]));
    check(wide(Coordinates::HalfPixelForNearest, Nearest::Floor), &at([0, 0, 1, 1, 2, 2, 3, 3]));

    // resize_upsample_scales_linear, and _linear_align_corners.
    let lines = [[1.0, 1.25, 1.75, 2.0], [1.5, 1.75, 2.25, 2.5], [2.5, 2.75, 3.25, 3.5], [3.0, 3.25, 3.75, 4.0]];
    check(resize([2, 2], [4, 4], None, half_pixel, Interpolation::Linear), lines.as_flattened());
    let corners = [
        [1.0, 1.333_333_3, 1.666_666_7, 2.0],
        [1.666_666_7, 2.0, 2.333_333_3, 2.666_666_7],
        [2.333_333_3, 2.666_666_7, 3.0, 3.333_333_3],
        [3.0, 3.333_333_3, 3.666_666_7, 4.0],
    ];
    check(resize([2, 2], [4, 4], None, Coordinates::AlignCorners, Interpolation::Linear), corners.as_flattened());
    // resize_downsample_scales_linear. Of its corners, the last one is the input's, whatever the scale says.
    check(resize([2, 4], [1, 2], scale, half_pixel, Interpolation::Linear), &[2.666_666_5, 4.333_333_5]);
    check(resize([2, 4], [1, 2], scale, Coordinates::AlignCorners, Interpolation::Linear), &[1.0, 4.0]);
    // resize_downsample_sizes_linear_pytorch_half_pixel.
    let pytorch = resize([4, 4], [3, 1], None, Coordinates::PytorchHalfPixel, Interpolation::Linear);
    check(pytorch, &[1.666_666_6, 7.0, 12.333_333]);

    // resize_downsample_scales_cubic, and _cubic_A_n0p5_exclude_outside.
    let scale = Some([0.8, 0.8]);
    let cubics =
        [[1.471_191_4, 2.781_25, 4.082_519_5], [6.711_426, 8.021_484, 9.322_754], [11.916_504, 13.226_563, 14.527_832]];
    check(resize([4, 4], [3, 3], scale, half_pixel, cubic(false)), cubics.as_flattened());
    let excluding = Interpolation::Cubic { coefficient: -0.5, exclude_outside: true };
    let excluded = [
        [1.368_126_8, 2.669_501_4, 4.013_336_7],
        [6.573_625_4, 7.875, 9.218_835],
        [11.948_967, 13.250_341, 14.594_177],
    ];
    check(resize([4, 4], [3, 3], scale, half_pixel, excluding), excluded.as_flattened());
}

#[test]
fn resizing_out_of_range_is_refused() {
    let new = |planes, input: [u32; 2], output: [u32; 2], coordinates| {
        Resize2d::new(planes, input.into(), output.into(), coordinates, Interpolation::Linear)
    };
    let argument = |result: sepconv::Result<_>| match result {
        Err(
            Error::OutOfRange { argument, .. } | Error::NotFinite { argument, .. } | Error::Overflow { argument, .. },
        ) => argument,
        other => panic!("{other:?}"),
    };
    let half_pixel = Coordinates::HalfPixel;
    assert_eq!(argument(new(0, [1, 1], [1, 1], half_pixel)), "planes");
    for (input, output) in [([0, 1], [1, 1]), ([1, 0], [1, 1]), ([1, 1], [0, 1]), ([1, 1], [1, 0])] {
        for coordinates in COORDINATES {
            assert!(new(1, input, output, coordinates).is_err(), "{input:?} {output:?} {coordinates:?}");
        }
    }
    assert_eq!(argument(new(1, [1, 1], [1 << 16, 1 << 16], half_pixel)), "output");
    assert_eq!(argument(new(1, [1, 1 << 29], [1, 1], half_pixel)), "scale");
    assert_eq!(argument(new(1, [1, 1 << 29], [1, 2], Coordinates::AlignCorners)), "scale");
    let layer = new(2, [3, 4], [6, 8], half_pixel).unwrap();
    for scale in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let mut altered = layer;
        altered.scale[1] = scale;
        assert!(matches!(altered.check(), Err(Error::NotFinite { argument: "scale", .. })), "{scale}");
    }
    for (scale, name) in [(1e-30, "scale"), (1e30, "scale")] {
        let mut altered = layer;
        altered.scale[0] = scale;
        assert_eq!(argument(altered.check().map(|()| altered)), name);
    }
    let mut far = new(1, [1, 1], [1, 1 << 20], half_pixel).unwrap();
    far.scale[1] = 1.0 / 4096.0;
    assert_eq!(argument(far.check().map(|()| far)), "place");
}

/// Each kind of layer with tensors of f16. A long product is cut, and what its parts store stays f32.
#[test]
fn tensors_of_f16() {
    let Some(half) = context().and_then(common::half) else { return };
    let context = &half;
    for (shape, seed) in [([1, 1, 1, 1], 1), ([1, 3, 5, 7], 2)] {
        check(context, Unary::new(shape, Activation::Gelu).unwrap(), seed);
    }
    for (operation, seed) in OPERATIONS.into_iter().zip(1..).step_by(common::every(3)) {
        check(context, Binary::new(operation, [&[2, 3, 5, 7], &[1, 3, 1, 1]], Activation::None).unwrap(), seed);
    }
    for (transposed, seed) in TRANSPOSED.into_iter().zip(1..).step_by(common::every(8)) {
        let (shape, channels, kernel, more, change) = transposed;
        let layer = ConvTranspose2d::new(shape, channels, kernel).unwrap().with(more.into(), change).unwrap();
        check_sums(context, layer, seed);
    }
    for (reduction, sizes) in REDUCTIONS.into_iter().zip(ALONG_AN_AXIS.into_iter().rev()).step_by(common::every(2)) {
        check(context, Reduce::new(reduction, sizes).unwrap(), 3);
    }
    for sizes in [[5, 7, 9], [33, 5, 129], [3, 8193, 5]] {
        let mut layer = MatMul::new(sizes).unwrap();
        (layer.bias, layer.transposed[1]) = (true, sizes[0] == 5);
        check(context, layer, 4);
    }
    for is_log in [false, true] {
        check_scaled(context, Softmax::new([3, 67, 7], is_log).unwrap(), 5, 20.0);
    }
    for layer in norms().into_iter().step_by(common::every(6)) {
        check(context, layer, 6);
    }
    for interpolation in interpolations().step_by(common::every(4)) {
        let layer = Resize2d::new(7, [13, 17].into(), [5, 4].into(), Coordinates::HalfPixel, interpolation).unwrap();
        check(context, layer, 7);
    }
    let transpose = Rearrange::new(105, &[Axis::new(7, 1), Axis::new(5, 7), Axis::new(3, 35)]).unwrap();
    check_exact(context, transpose, 8);
    check(context, MaxPool2d::new(2).geometry([1, 3, 5, 7]).unwrap(), 9);
}

/// The ends of an `f32`, of which many are past what an `f16` holds, and the ends of that.
#[test]
fn functions_at_the_ends_of_f16() {
    let Some(half) = context().and_then(common::half) else { return };
    let own = [65_504.0, -65_504.0, 60_000.0, 2.0_f32.powi(-14), 6e-8, -6e-8, 11.0, 12.0, -11.0, 250.0, 256.0];
    let values: Vec<f32> = common::ENDS.into_iter().chain(own).collect();
    let shape = [1, 1, 1, u32::try_from(values.len()).unwrap()];
    for activation in FUNCTIONS {
        check_with(&half, Unary::new(shape, activation).unwrap().into(), |_, _| values.clone());
    }
}
