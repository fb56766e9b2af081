//! Random layers: every kernel that supports one must agree with the reference, the others must refuse it.

mod common;

use common::{ACTIVATIONS, Case, check_in_turn, check_plan, context};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;
use sepconv::unstable::Planner;
use sepconv::{Conv2d, Error, Padding, PaddingMode, Residual};

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, rng_seed: RngSeed::Fixed(2026), ..Default::default() }
}

fn pair(sizes: std::ops::RangeInclusive<u32>) -> impl Strategy<Value = [u32; 2]> {
    [sizes.clone(), sizes]
}

fn padding() -> impl Strategy<Value = Padding> {
    prop_oneof![
        3 => [0_u32..=5, 0_u32..=5, 0_u32..=5, 0_u32..=5].prop_map(Padding::from),
        1 => select(vec![Padding::Same, Padding::SameLower, Padding::Valid]),
    ]
}

/// Groups with their channels in and out: as often depthwise as not.
fn channels() -> impl Strategy<Value = (u32, u32, u32)> {
    prop_oneof![(1_u32..=4, 1_u32..=6, 1_u32..=9), (1_u32..=9, Just(1_u32), 1_u32..=4)]
}

/// Kernel sizes: as often 1 x 1 as not.
fn kernel_size() -> impl Strategy<Value = [u32; 2]> {
    prop_oneof![1 => Just([1, 1]), 2 => pair(1..=6)]
}

/// Any layer on any small shape, fitting or not.
fn anything() -> impl Strategy<Value = Case> {
    layers(channels(), (kernel_size(), pair(1..=4), pair(1..=3), padding()))
}

/// A layer for `winograd`, of the channels that it takes and some more.
fn for_winograd() -> impl Strategy<Value = Case> {
    layers((1_u32..=2, 16_u32..=20, 16_u32..=20), (Just([3, 3]), Just([1, 1]), Just([1, 1]), padding()))
}

/// Layers with groups and channels of these, and kernel size, stride, dilation and padding of those.
fn layers(
    channels: impl Strategy<Value = (u32, u32, u32)>,
    window: impl Strategy<Value = ([u32; 2], [u32; 2], [u32; 2], Padding)>,
) -> impl Strategy<Value = Case> {
    let modes = [PaddingMode::Zeros, PaddingMode::Reflect, PaddingMode::Replicate, PaddingMode::Circular];
    let residuals = [Residual::None, Residual::BeforeActivation, Residual::AfterActivation];
    let epilogue =
        (any::<[bool; 2]>(), select(residuals.to_vec()), select(ACTIVATIONS.to_vec()), select(modes.to_vec()));
    (channels, window, epilogue, 1_u32..=3, pair(1..=20)).prop_map(|(channels, window, epilogue, batch, size)| {
        let (groups, inputs, outputs) = channels;
        let (kernel_size, stride, dilation, padding) = window;
        let ([bias, input_scale], residual, activation, padding_mode) = epilogue;
        let layer = Conv2d::new(groups * inputs, groups * outputs, kernel_size)
            .groups(groups)
            .stride(stride)
            .dilation(dilation)
            .padding(padding)
            .bias(bias)
            .residual(residual)
            .input_scale(input_scale)
            .activation(activation)
            .padding_mode(padding_mode);
        (layer, [batch, groups * inputs, size[0], size[1]])
    })
}

/// Those that fit their shape.
fn valid(cases: impl Strategy<Value = Case>) -> impl Strategy<Value = Case> {
    cases.prop_filter("the kernel must fit", |(layer, shape)| layer.geometry(*shape).is_ok())
}

proptest! {
    #![proptest_config(config(if common::sweeps_whole() { 64 } else { 20 }))]
    #[test]
    fn every_kernel_agrees_with_the_reference((layer, shape) in valid(anything()), seed in any::<u64>()) {
        if let Some(context) = context() {
            check_in_turn(context, &layer, shape, seed, seed);
        }
    }
}

proptest! {
    #![proptest_config(config(16))]
    #[test]
    fn winograd_agrees_with_the_reference((layer, shape) in valid(for_winograd()), seed in any::<u64>()) {
        let layer = layer.input_scale(false);
        if let Some(context) = context() {
            let plan = layer.plan_with_kernel(context, shape, "winograd").unwrap();
            check_plan(context, &layer.geometry(shape).unwrap(), &plan, seed);
        }
    }
}

proptest! {
    #![proptest_config(config(512))]
    #[test]
    fn geometry_keeps_its_promises((layer, shape) in anything()) {
        match layer.geometry(shape) {
            Ok(geometry) => {
                let axes = [
                    (geometry.input.height, geometry.padding.top, geometry.padding.bottom, geometry.kernel_size.height,
                     geometry.dilation.height, geometry.stride.height, geometry.output.height),
                    (geometry.input.width, geometry.padding.left, geometry.padding.right, geometry.kernel_size.width,
                     geometry.dilation.width, geometry.stride.width, geometry.output.width),
                ];
                for (input, before, after, kernel, dilation, stride, output) in axes {
                    // The last window ends inside the padded input; one more would not.
                    let end = |output: u32| (output - 1) * stride + (kernel - 1) * dilation + 1;
                    prop_assert!(output >= 1 && end(output) <= input + before + after);
                    prop_assert!(end(output + 1) > input + before + after);
                }
            }
            Err(Error::KernelTooLarge { span, padded, .. }) => prop_assert!(span > padded),
            Err(Error::OutOfRange { argument, value, maximum, .. }) => {
                prop_assert!(argument.starts_with("padding ") && value > maximum, "{argument}");
            }
            Err(error) => prop_assert!(false, "{error}"),
        }
    }

    /// No number, however wild, makes describing or planning a layer panic.
    #[test]
    fn any_numbers_are_an_answer_or_an_error(numbers in prop::collection::vec(wild(), 18), named in any::<bool>()) {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r] = numbers.try_into().unwrap();
        let layer = Conv2d::new(a, b, [c, d]).stride([e, f]).dilation([g, h]).groups(i);
        let layer = if named { layer.padding(Padding::Same) } else { layer.padding([j, k, l, m]) };
        let shapes = [[n, o, p, q], [n, a, p, q], [1, a, r, r]];
        for shape in shapes {
            if let Ok(geometry) = layer.geometry(shape) {
                let _ = Planner::new(wgpu::Limits::default().into()).plan(&geometry.into());
                let _ = (geometry.parameters(), geometry.multiply_adds(), geometry.bytes(), geometry.arithmetic_intensity());
            }
        }
    }
}

/// Small numbers, and those at the edges of what is representable.
fn wild() -> impl Strategy<Value = u32> {
    prop_oneof![
        6 => 1_u32..=8,
        1 => any::<u32>(),
        1 => select(vec![0, 255, 256, 65_535, 65_536, 0x7FFF_FFFE, 0x7FFF_FFFF, 0x8000_0000, u32::MAX]),
    ]
}
