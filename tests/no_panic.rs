//! No size that can be asked for makes planning panic.

use proptest::prelude::*;
use sepconv::unstable::Planner;
use sepconv::{Activation, AveragePool2d, Conv2d, MaxPool2d, Padding, PaddingMode, SeparableConv2d, Summary, Target};

/// Small sizes, which get far, and any others.
fn size() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 0_u32..20, 1 => any::<u32>(), 1 => (0_u32..4).prop_map(|less| u32::MAX - less), 1 => Just(1 << 31)]
}

fn pair() -> impl Strategy<Value = [u32; 2]> {
    [size(), size()]
}

fn padding() -> impl Strategy<Value = Padding> {
    prop_oneof![
        [size(), size(), size(), size()].prop_map(Padding::from),
        Just(Padding::Same),
        Just(Padding::SameLower),
        Just(Padding::Valid),
    ]
}

fn padding_mode() -> impl Strategy<Value = PaddingMode> {
    use PaddingMode::{Circular, Reflect, Replicate, Zeros};
    prop_oneof![Just(Zeros), Just(Reflect), Just(Replicate), Just(Circular)]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(20_000) })]

    #[test]
    fn planning_never_panics(
        (input, weight, groups) in ([size(), size(), size(), size()], [size(), size(), size(), size()], size()),
        (stride, dilation, padding, mode) in (pair(), pair(), padding(), padding_mode()),
        (low, high, binding, workgroups) in (any::<f32>(), any::<f32>(), any::<u32>(), 1_u32..70_000),
    ) {
        let planner = Planner::new(Target::from(wgpu::Limits {
            max_storage_buffer_binding_size: binding.into(),
            max_buffer_size: u64::MAX,
            max_compute_workgroups_per_dimension: workgroups,
            ..Default::default()
        }));
        let options = |layer: Conv2d| {
            layer.stride(stride).dilation(dilation).padding(padding).padding_mode(mode).residual(stride[0] % 2 == 0)
                .activation(Activation::Clamp(low, high))
        };
        // What the shape of the weight says, and the same with its channels made to fit the input.
        let fitting = Conv2d::new(input[1], weight[0], [weight[2], weight[3]]).groups(groups);
        for layer in Conv2d::from_weight_shape(weight, groups).into_iter().chain([fitting]) {
            // Nor does an empty batch.
            for batch in [input[0], 0] {
                if let Ok(geometry) = options(layer).geometry([batch, input[1], input[2], input[3]]) {
                    let _ = planner.plan(&geometry.into());
                    let _ = geometry.arithmetic_intensity();
                }
            }
        }
        let separable = SeparableConv2d::new(input[1], weight[0], [weight[2], weight[3]])
            .depth_multiplier(weight[1]).stride(stride).dilation(dilation).padding(padding);
        if let Ok((depthwise, pointwise)) = separable.geometry(input) {
            let _ = (planner.plan(&depthwise.into()), planner.plan(&pointwise.into()));
            let _ = planner.plan(&(depthwise, pointwise).into());
        }
        let pool = MaxPool2d::new([weight[2], weight[3]]).stride(stride).dilation(dilation).padding(padding);
        let mean = AveragePool2d::new([weight[2], weight[3]]).stride(stride).dilation(dilation).padding(padding);
        let pools = [false, true].map(|ceil_mode| pool.ceil_mode(ceil_mode).geometry(input));
        let means = [false, true].map(|ceil_mode| mean.ceil_mode(ceil_mode).count_padding(ceil_mode).geometry(input));
        for geometry in pools.into_iter().chain(means).flatten() {
            let _ = planner.plan(&geometry.into());
        }
    }
}

/// Each tensor is below 2^63 bytes; all of them together are above 2^64.
#[test]
fn a_sum_of_bytes_does_not_overflow() {
    let shape = [i32::MAX.unsigned_abs(), 1, 1 << 15, (1 << 15) - 1];
    let geometry = Conv2d::new(1, 1, 1).residual(true).geometry(shape).unwrap();
    assert_eq!(geometry.bytes(), u64::MAX);
    assert!(geometry.arithmetic_intensity() > 0.0);
    let layer = Conv2d::new(1, 1, 1);
    let summary = Summary::new(shape).conv2d("first", &layer).unwrap().conv2d("second", &layer).unwrap();
    assert_eq!((summary.bytes(), summary.total_bytes()), (u64::MAX, u64::MAX));
    assert!(summary.to_string().contains("second"));
}
