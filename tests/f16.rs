//! Tensors of `f16`: what they hold, who takes them, and every kernel of a convolution with them.

mod common;

use common::{Data, Random, check_kernel, check_pool, check_separable, context, foreign_device, half, noop_context};
use sepconv::{
    Activation, AveragePool2d, Choice, Context, Conv2d, DType, Error, MatMul, MaxPool2d, Operands, PaddingMode,
    Parameters, Residual, SeparableConv2d, Tensor, kernels, verify,
};

fn contexts() -> Option<(&'static Context, Context)> {
    let context = context()?;
    Some((context, half(context)?))
}

#[test]
fn tensors_hold_rounded_values_of_any_number() {
    let Some((context, half)) = contexts() else { return };
    assert_eq!((context.dtype(), half.dtype()), (DType::F32, DType::F16));
    for length in [1, 2, 3, 7, 64, 1001] {
        let shape = [1, 1, 1, length];
        let values = Random(length.into()).floats(length as usize);
        let rounded = common::rounded(DType::F16, &values);
        let tensor = Tensor::from_slice(&half, shape, &values).unwrap();
        assert_eq!((tensor.dtype(), tensor.buffer().size()), (DType::F16, u64::from(length).next_multiple_of(2) * 2));
        assert_eq!(tensor.read_blocking().unwrap(), rounded);
        let zeros = Tensor::zeros(&half, shape).unwrap();
        assert_eq!(zeros.read_blocking().unwrap(), vec![0.0; length as usize]);
        zeros.write(&values).unwrap();
        assert_eq!(zeros.read_blocking().unwrap(), rounded);
        // Its type is the tensor's own: a clone of the context knows it as well.
        assert_eq!(half.clone().with_runtime_checks(true).dtype(), DType::F16);
    }
    let special = [f32::NAN, f32::INFINITY, -0.0, 1e5, 65_504.0, 1e-8, 6e-8];
    let read = Tensor::from_slice(&half, [1, 1, 1, 7], &special).unwrap().read_blocking().unwrap();
    assert!(read[0].is_nan());
    assert_eq!(read[1..], [f32::INFINITY, 0.0, f32::INFINITY, 65_504.0, 0.0, 2.0_f32.powi(-24)]);
}

/// An odd number of values takes two bytes more, which no other tensor may have.
#[test]
fn tensors_in_one_buffer_keep_out_of_each_other() {
    let Some((_, half)) = contexts() else { return };
    let whole = Tensor::from_slice(&half, [1, 1, 1, 8], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]).unwrap();
    let middle = Tensor::from_buffer(&half, whole.buffer(), 4, [1, 1, 1, 3]).unwrap();
    assert_eq!(middle.read_blocking().unwrap(), [3.0, 4.0, 5.0]);
    middle.write(&[-3.0, -4.0, -5.0]).unwrap();
    let read = whole.read_blocking().unwrap();
    assert_eq!((&read[..5], &read[6..]), (&[1.0, 2.0, -3.0, -4.0, -5.0][..], &[7.0, 8.0][..]));
    let misaligned = Tensor::from_buffer(&half, whole.buffer(), 2, [1, 1, 1, 3]).unwrap_err();
    assert_eq!(misaligned, Error::Misaligned { argument: "tensor", offset: 2, alignment: 4 });
    let buffer = half.device().create_buffer(&sepconv::wgpu::BufferDescriptor {
        label: None,
        size: 6,
        usage: sepconv::wgpu::BufferUsages::STORAGE,
        mapped_at_creation: false,
    });
    let outside = Tensor::from_buffer(&half, &buffer, 0, [1, 1, 1, 3]).unwrap_err();
    assert_eq!(outside, Error::OutsideBuffer { argument: "tensor", end: 8, size: 6 });
}

#[test]
fn a_tensor_of_another_type_is_refused_by_name() {
    let Some((context, half)) = contexts() else { return };
    let shape = [1, 4, 6, 6];
    let plan = Conv2d::new(4, 4, 3).residual(true).padding(1).plan(&half, shape).unwrap();
    assert_eq!(plan.dtype(), DType::F16);
    let tensors =
        |context: &Context| [shape, [4, 4, 3, 3], [1, 4, 1, 1]].map(|shape| Tensor::zeros(context, shape).unwrap());
    let [wide, wide_weight, wide_bias] = tensors(context);
    let [input, weight, bias] = tensors(&half);
    let [output, residual] = [(); 2].map(|()| Tensor::zeros(&half, shape).unwrap());
    let refused = |argument| Error::OtherType { argument, dtype: DType::F32, expected: DType::F16 };
    assert_eq!(plan.weights(&Parameters::new(&wide_weight).bias(&bias)).unwrap_err(), refused("weight"));
    assert_eq!(plan.weights(&Parameters::new(&weight).bias(&wide_bias)).unwrap_err(), refused("bias"));
    let weights = plan.weights(&Parameters::new(&weight).bias(&bias)).unwrap();
    for (argument, operands) in [
        ("input", Operands::new(&wide, &output).residual(&residual)),
        ("residual", Operands::new(&input, &output).residual(&wide)),
        ("output", Operands::new(&input, &wide).residual(&residual)),
    ] {
        let error = plan.bind(&weights, operands).unwrap_err();
        assert_eq!(error, refused(argument));
        assert!(error.to_string().contains("holds f32; this plan's tensors hold f16"), "{error}");
    }
    let plan = Conv2d::new(4, 4, 3).residual(true).padding(1).plan(context, shape).unwrap();
    let error = plan.bind(&weights, Operands::new(&wide, &wide).residual(&wide)).unwrap_err();
    assert!(matches!(error, Error::OtherLayout { .. }), "{error}");
}

#[test]
fn a_device_without_f16_is_named() {
    let context = noop_context(sepconv::wgpu::Limits::default());
    let error = context.with_dtype(DType::F16).unwrap_err();
    assert_eq!(error, Error::NoF16 { device: context.adapter_info().name });
    assert!(error.is_request() && error.to_string().contains("SHADER_F16"), "{error}");
    assert!(context.with_dtype(DType::F32).is_ok());
    // A target that a caller has changed is found where it is planned for.
    let mut target = context.target().clone();
    target.dtype = DType::F16;
    let layer = Conv2d::new(1, 1, 1).geometry([1; 4]).unwrap().into();
    let planned = sepconv::unstable::Planner::new(target).plan(&layer);
    assert!(matches!(planned, Err(Error::NoF16 { .. })), "{planned:?}");
}

/// Each product is one rounding away from what is stored.
#[test]
fn what_is_stored_is_the_nearest() {
    let Some((_, half)) = contexts() else { return };
    let shape = [1, 1, 1, 4096];
    let input: Vec<f32> = (0..4096).map(|index| index as f32 / 8.0 - 100.0).collect();
    for scale in [1.0, 0.333, 1e-3, 1e-4, 1e-6, 6e-8, 100.0, 300.0] {
        let geometry = Conv2d::new(1, 1, 1).bias(false).geometry(shape).unwrap();
        let data =
            Data { geometry, input: input.clone(), weight: vec![scale], bias: None, residual: None, input_scale: None };
        let data = data.rounded(DType::F16);
        let expected = data.reference();
        for actual in data.run(&half, &half.plan(geometry).unwrap()) {
            common::assert_close_of(DType::F16, &expected, Activation::None, 1, &actual, &format!("times {scale}"));
        }
    }
}

/// One layer for each kernel of a convolution, of odd sizes where it takes them.
fn layers() -> Vec<(&'static str, Conv2d, [u32; 4])> {
    let depthwise = |channels, kernel_size: u32| Conv2d::new(channels, channels, kernel_size).groups(channels);
    let wide = Conv2d::new(36, 24, 1);
    vec![
        ("depthwise_fours", depthwise(3, 3).padding(1).activation(Activation::Relu6), [2, 3, 7, 12]),
        ("depthwise_fours", depthwise(5, 5).padding(2).stride(2).residual(true), [1, 5, 9, 8]),
        ("depthwise_columns", depthwise(3, 3).padding(1).padding_mode(PaddingMode::Reflect), [2, 3, 7, 9]),
        ("depthwise", depthwise(3, 3).padding(1).stride([1, 2]).activation(Activation::Silu), [2, 3, 7, 9]),
        ("winograd", Conv2d::new(16, 17, 3).padding(1).residual(true), [1, 16, 7, 9]),
        ("winograd_4x4", Conv2d::new(16, 17, 3).padding(1).residual(true), [2, 16, 7, 9]),
        ("tiled_pointwise", wide.residual(true).activation(Activation::HardSwish), [3, 36, 2, 6]),
        ("tiled_pointwise", wide.input_scale(true).activation(Activation::Relu6), [2, 36, 2, 6]),
        ("tiled_pointwise", wide.residual(Residual::AfterActivation).activation(Activation::Silu), [2, 36, 2, 6]),
        ("gemm", wide.residual(Residual::AfterActivation).activation(Activation::Silu), [2, 36, 3, 5]),
        ("tiled_gemm", Conv2d::new(6, 18, 3).padding(1).groups(2).residual(true), [1, 6, 7, 5]),
        ("tiled_gemm", Conv2d::new(6, 18, 3).padding(1).groups(2).input_scale(true), [2, 6, 7, 5]),
        ("pointwise", wide.stride(2).bias(false), [1, 36, 5, 7]),
        ("gemm", Conv2d::new(5, 9, 3).padding(1).dilation(2), [3, 5, 7, 9]),
        ("direct", Conv2d::new(3, 3, [2, 3]).padding_mode(PaddingMode::Circular).padding(1), [3, 3, 5, 7]),
        ("subgroup_gemm", Conv2d::new(5, 9, 3).padding(1).activation(Activation::LeakyRelu(0.1)), [1, 5, 7, 9]),
    ]
}

#[test]
fn every_kernel_of_a_convolution() {
    let Some((context, half)) = contexts() else { return };
    for (name, layer, shape) in layers().into_iter().step_by(common::every(2)) {
        let kernel = kernels::by_name(name).unwrap();
        let geometry = layer.geometry(shape).unwrap().into();
        let supports = kernel.supports(&geometry, half.target());
        assert_eq!(supports, kernel.supports(&geometry, context.target()), "{name}");
        check_kernel(&half, name, [(layer, shape)]);
    }
    // Two values of f16 are no integer of 64 bits.
    let pairs = kernels::by_name("subgroup_pointwise").unwrap();
    let layer = Conv2d::new(36, 24, 1).geometry([1, 36, 5, 7]).unwrap().into();
    assert!(pairs.supports(&layer, half.target()).is_err());
}

#[test]
fn one_value() {
    let Some((_, half)) = contexts() else { return };
    common::check_in_turn(&half, &Conv2d::new(1, 1, 1).residual(true), [1; 4], 1, 1);
}

#[test]
fn separable_layers_and_what_is_between_their_parts() {
    let Some((_, half)) = contexts() else { return };
    let layer = SeparableConv2d::new(6, 20, 3).padding(1).depthwise_activation(Activation::Relu);
    common::check_separable_in_turn(&half, &layer.residual(true), [1, 6, 9, 8], 1);
    if common::sweeps_whole() {
        for software in [false, true] {
            let half = half.with_software(software);
            check_separable(&half, &layer.activation(Activation::Silu), [2, 6, 7, 9], 2);
            check_separable(&half, &SeparableConv2d::new(3, 40, 5).padding(2).stride(2), [2, 3, 15, 13], 3);
        }
    }
}

#[test]
fn pools() {
    let Some((_, half)) = contexts() else { return };
    let shape = [2, 3, 9, 7];
    check_pool(&half, MaxPool2d::new(3).stride(2).padding(1).geometry(shape).unwrap(), 1);
    check_pool(&half, AveragePool2d::new([2, 3]).geometry(shape).unwrap(), 2);
}

/// A part of a sum is stored as f32: here it is past what an f16 holds, and one of f16 would lose the small values.
#[test]
fn sums_that_are_cut_stay_f32() {
    let Some((_, half)) = contexts() else { return };
    let channels = 40_000;
    let shape = [1, channels, 1, 3];
    let layer = Conv2d::new(channels, 5, 1).residual(true).activation(Activation::Relu6);
    let geometry = layer.geometry(shape).unwrap();
    let mut data = Data::random(&geometry, 3);
    for (index, weight) in data.weight.iter_mut().enumerate() {
        let channel = index % channels as usize;
        *weight = if channel < channels as usize / 2 { 16.0 } else { -16.0 };
    }
    // Each first half of a sum is 320,000, and so is each second one, but for little.
    for (index, value) in data.input.iter_mut().enumerate() {
        *value = if index % 7 == 0 { 0.999 } else { 1.0 };
    }
    let data = data.rounded(DType::F16);
    let expected = data.reference();
    for (choice, _) in Choice::all(&geometry.into(), half.target()) {
        if choice.variant > 0 && !common::sweeps_whole() {
            continue;
        }
        let plan = half.plan_with(geometry, choice).unwrap();
        let is_sum = |step: &sepconv::unstable::Step| step.elements.output == DType::F32;
        assert!(plan.program().steps.iter().filter(|step| is_sum(step)).count() >= 3, "{choice}");
        for actual in data.run(&half, &plan) {
            common::assert_close_of(DType::F16, &expected, Activation::Relu6, geometry.terms(), &actual, plan.kernel());
        }
    }
    // A mean of 40,000 values, and a product of 20,000 terms.
    check_pool(&half, AveragePool2d::new(200).geometry([1, 2, 201, 201]).unwrap(), 4);
    let steps = |context: &Context| context.plan(MatMul::new([3, 20_000, 5]).unwrap()).unwrap().program().steps.len();
    assert_eq!(steps(&half), steps(&half.with_dtype(DType::F32).unwrap()) + 1, "the last step rounds the sums");
}

/// Odd planes, so that parts start amid a word of 32 bits.
#[test]
fn layers_that_are_cut() {
    for (binding, changes) in [(4096, 1), (1536, 2)].into_iter().skip(common::every(2) - 1) {
        let opened = foreign_device(|limits| limits.max_storage_buffer_binding_size = binding);
        let Some((device, queue)) = opened else { return };
        let context = Context::from_wgpu(device, queue).unwrap();
        let Some(half) = half(&context) else { return };
        for (layer, shape, kernel) in [
            (Conv2d::new(3, 9, 3).padding(1), [3, 3, 15, 13], "gemm"),
            (Conv2d::new(9, 9, 3).padding(1).groups(9).residual(true), [3, 9, 11, 9], "depthwise"),
            (Conv2d::new(24, 9, 1).residual(true), [2, 24, 9, 7], "pointwise"),
            (Conv2d::new(4, 12, 1).residual(true), [3, 4, 6, 6], "tiled_pointwise"),
        ] {
            let plan = layer.plan_with_kernel(&half, shape, kernel).unwrap();
            assert!(plan.program().parts > changes, "{kernel}: {}", plan.program().parts);
            common::check_plan(&half, &layer.geometry(shape).unwrap(), &plan, binding);
        }
    }
}

/// Nothing hides a NaN or an infinity, and what is past the largest number is that or infinite.
#[test]
fn numbers_with_rules_of_their_own() {
    let Some((_, half)) = contexts() else { return };
    let layers = layers().into_iter().filter(|(name, ..)| !name.starts_with("winograd"));
    for (name, layer, shape) in layers.step_by(common::every(2)) {
        let layer = layer.activation(Activation::None);
        let geometry = layer.geometry(shape).unwrap();
        let mut data = Data::random(&geometry, 5);
        for (index, value) in [(3, f32::NAN), (17, f32::INFINITY), (40, f32::NEG_INFINITY)] {
            data.input[index] = value;
        }
        for value in &mut data.input[70..] {
            *value *= 6e4;
        }
        let data = data.rounded(DType::F16);
        let expected = data.reference();
        let plan = layer.plan_with_kernel(&half, shape, name).unwrap();
        for actual in data.run(&half, &plan) {
            let error = verify::largest_error_of(DType::F16, &expected, Activation::None, geometry.terms(), &actual);
            assert!(error <= 1.0, "{name}: {error}");
        }
    }
}
