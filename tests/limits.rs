//! Devices with limits far below any real one's: what does not fit is cut, or refused by name before anything runs.

mod common;

use std::collections::BTreeSet;

use common::{Case, check_plan, count, foreign_device, noop_context};
use sepconv::{Context, Conv2d, Error, PaddingMode, Plan, Role, Schedule, SeparableConv2d, Tensor, kernels};

/// A layer or two for each kernel, of several tiles along every axis.
fn layers() -> [Case; 7] {
    let shape = [2, 6, 19, 70];
    let pairs = Conv2d::new(8, 136, 1).groups(2).residual(true);
    [
        (Conv2d::new(6, 10, 3).padding(1).groups(2).residual(true), shape),
        (Conv2d::new(6, 12, 3).padding([1, 2]).groups(6).residual(true), shape),
        (Conv2d::new(6, 18, [2, 3]).stride([3, 2]).groups(6).padding_mode(PaddingMode::Reflect).padding(1), shape),
        (Conv2d::new(6, 17, 1), shape),
        // Odd planes of pairs of channels: more pixels than channels, and fewer.
        (pairs, [3, 8, 9, 17]),
        (pairs, [3, 8, 5, 7]),
        (Conv2d::new(6, 20, 1).groups(2).stride(2).bias(false), shape),
    ]
}

/// Every plan of a layer there is on a device, with each kernel that supports it.
fn plans(context: &Context, (layer, shape): Case) -> Vec<Plan> {
    let geometry = layer.geometry(shape).unwrap();
    let supporting = kernels::ALL.into_iter().filter(|kernel| (kernel.supports)(&geometry, context.target()).is_ok());
    supporting.flat_map(|kernel| common::plans(context, &layer, shape, kernel.name).unwrap()).collect()
}

/// Asserts that a schedule keeps to the limits and that its parts cover the output once, each grid covered once.
fn check_schedule(schedule: &Schedule, limits: &wgpu::Limits) {
    let alignment = u64::from(limits.min_storage_buffer_offset_alignment);
    let workgroups = limits.max_compute_workgroups_per_dimension;
    let mut covered: Vec<(u64, u64)> = Vec::new();
    for part in schedule.packing.iter().chain(&schedule.parts) {
        for stretch in [part.input, part.weight, part.output] {
            let bytes = 4 * stretch.start % alignment + 4 * stretch.length;
            assert!(bytes <= limits.max_storage_buffer_binding_size, "{bytes} bytes: {stretch:?}");
        }
        if part.kernel.reads_pairs {
            let [input, weight] = [part.input.start, part.weight.start];
            assert!(input.is_multiple_of(2) && weight.is_multiple_of(2), "{part:?} starts within a pair");
        }
        if part.output.of == Role::Output {
            covered.push((part.output.start, part.output.start + part.output.length));
        }
        let volume = |sizes: [u64; 3]| sizes.iter().product::<u64>();
        let total: u64 = part.dispatches.iter().map(|dispatch| volume(dispatch.workgroups.map(u64::from))).sum();
        assert_eq!(total, volume(part.variant.grid));
        assert!(part.dispatches.iter().all(|dispatch| dispatch.workgroups.iter().all(|&n| n <= workgroups)));
    }
    covered.sort_unstable();
    assert!(covered.windows(2).all(|pair| pair[0].1 == pair[1].0), "{covered:?}");
    assert_eq!(covered.first().map(|first| first.0), Some(0));
    assert_eq!(covered.last().map(|last| last.1), Some(count(schedule.geometry.output_shape()) as u64));
}

#[test]
fn a_grid_past_the_workgroup_limit_is_folded() {
    for workgroups in [1, 2, 3] {
        let limited = foreign_device(|limits| limits.max_compute_workgroups_per_dimension = workgroups);
        let Some((device, queue)) = limited else { return };
        let context = Context::from_wgpu(device, queue).unwrap();
        assert_eq!(context.limits().max_compute_workgroups_per_dimension, workgroups);
        let mut folded = BTreeSet::new();
        for case in layers() {
            for plan in plans(&context, case) {
                let [part] = plan.schedule().parts.as_slice() else { panic!("{plan:?} has several parts") };
                let boxes: u64 = part.variant.grid.iter().map(|size| size.div_ceil(workgroups.into())).product();
                if boxes > 1 {
                    folded.insert(plan.kernel());
                }
                assert_eq!(part.dispatches.len() as u64, boxes, "{}", plan.kernel());
                check_schedule(plan.schedule(), context.limits());
                check_plan(&context, &plan, boxes);
            }
        }
        let supporting = kernels::ALL.iter().filter(|kernel| supports_some(kernel, context.target()));
        assert_eq!(folded, supporting.map(|kernel| kernel.name).collect(), "those that were folded");
    }
}

fn supports_some(kernel: &kernels::Kernel, target: &kernels::Target) -> bool {
    layers().into_iter().any(|(layer, shape)| (kernel.supports)(&layer.geometry(shape).unwrap(), target).is_ok())
}

/// A layer, the bytes that a binding may have beside an alignment, and the parts that it must then be cut to.
struct Cut {
    what: &'static str,
    layer: Conv2d,
    shape: [u32; 4],
    bytes: u64,
    parts: usize,
}

fn cuts() -> [Cut; 11] {
    let cut = |what, layer, shape, bytes, parts| Cut { what, layer, shape, bytes, parts };
    // 3 x 7 x 9 values: 756 bytes an image, which is a multiple of no alignment.
    let dense = Conv2d::new(3, 2, 3).padding(1).residual(true);
    let grouped = Conv2d::new(6, 9, 3).padding(1).groups(3).residual(true);
    [
        cut("nothing", dense, [5, 3, 7, 9], 756 * 5, 1),
        cut("images, two at a time", dense, [5, 3, 7, 9], 756 * 3 - 4, 3),
        cut("images, one by one", dense, [5, 3, 7, 9], 756, 5),
        // 6 channels in, 9 out, 7 x 9: 504 bytes a group in, 756 out; 648 bytes of weights.
        cut("groups, two at a time", grouped, [2, 6, 7, 9], 1512, 4),
        cut("groups, one by one", grouped, [2, 6, 7, 9], 1511, 6),
        cut("channels of a group", grouped, [2, 6, 7, 9], 755, 12),
        // 17 channels in, 5 x 3: 1020 bytes in, 60 a channel out; 68 bytes of weights a channel.
        cut("channels by their output and weights", Conv2d::new(17, 40, 1), [1, 17, 5, 3], 1020, 3),
        // 18 channels in, 5 x 3, likewise: 72 bytes of weights a channel.
        cut("channels of pairs", Conv2d::new(18, 40, 1), [1, 18, 5, 3], 1080, 3),
        // 4 channels in, 9 out a group, 5 x 3: 240 bytes in, 540 out.
        cut("groups of pairs", Conv2d::new(12, 27, 1).groups(3), [3, 12, 5, 3], 1080, 6),
        // 1 channel in, 4 out, 2 x 2 to 20 x 20: 1600 bytes a channel out.
        cut("channels by their output", Conv2d::new(1, 4, 3).padding(10), [1, 1, 2, 2], 3600, 2),
        // Depthwise with a multiplier of 2, 5 x 7: 140 bytes in, 280 out a group.
        cut("depthwise groups", Conv2d::new(5, 10, 3).padding(1).groups(5), [3, 5, 5, 7], 563, 9),
    ]
}

#[test]
fn a_tensor_past_the_binding_limit_is_cut() {
    let mut misaligned = 0;
    for Cut { what, layer, shape, bytes, parts } in cuts() {
        let limited = foreign_device(|limits| {
            limits.max_storage_buffer_binding_size = bytes + u64::from(limits.min_storage_buffer_offset_alignment);
        });
        let Some((device, queue)) = limited else { return };
        let context = Context::from_wgpu(device, queue).unwrap();
        let alignment = u64::from(context.limits().min_storage_buffer_offset_alignment);
        for plan in plans(&context, (layer, shape)) {
            let schedule = plan.schedule();
            assert_eq!(schedule.parts.len(), parts, "{what}, {}", plan.kernel());
            check_schedule(schedule, context.limits());
            misaligned += schedule.parts.iter().filter(|part| 4 * part.output.start % alignment != 0).count();
            check_plan(&context, &plan, bytes);
        }
    }
    assert!(misaligned > 0, "every slice started where a binding may start");
}

#[test]
fn both_limits_at_once() {
    let limited = foreign_device(|limits| {
        limits.max_storage_buffer_binding_size = 32 * 1024;
        limits.max_compute_workgroups_per_dimension = 1;
    });
    let Some((device, queue)) = limited else { return };
    let context = Context::from_wgpu(device, queue).unwrap();
    for case in layers() {
        for plan in plans(&context, case) {
            let parts = &plan.schedule().parts;
            let dispatches: usize = parts.iter().map(|part| part.dispatches.len()).sum();
            assert!(1 < parts.len() && parts.len() < dispatches, "{} fits in one of the limits", plan.kernel());
            check_schedule(plan.schedule(), context.limits());
            check_plan(&context, &plan, 3);
        }
    }
}

/// Its workspace is cut by images, its passes' grids and its product's by the workgroups.
#[test]
fn winograds_passes_keep_to_both_limits() {
    let (layer, shape) = (Conv2d::new(32, 20, 3).padding(1).residual(true), [5, 32, 9, 10]);
    // An image is 11,520 bytes in and 51,200 transformed: 16 places of 32 channels and 5 x 5 tiles.
    for (binding, pieces) in [(1 << 20, 1), (2 * 51_200, 3), (51_200, 5)] {
        let limited = foreign_device(|limits| {
            limits.max_storage_buffer_binding_size = binding + u64::from(limits.min_storage_buffer_offset_alignment);
            limits.max_compute_workgroups_per_dimension = 3;
        });
        let Some((device, queue)) = limited else { return };
        let context = Context::from_wgpu(device, queue).unwrap();
        let plan = layer.plan_with_kernel(&context, shape, "winograd").unwrap();
        let schedule = plan.schedule();
        let outputs = schedule.parts.iter().filter(|part| part.output.of == Role::Output);
        assert_eq!(outputs.count(), pieces, "at {binding} bytes");
        let images = 5u64.div_ceil(pieces as u64);
        assert_eq!(plan.workspace_bytes(), images * 4 * 16 * 25 * (32 + 20));
        assert_eq!(plan.packed_weight_bytes(), 4 * 16 * 32 * 20);
        check_schedule(schedule, context.limits());
        check_plan(&context, &plan, binding);
    }
    let limits = limits(51_199, 65_535);
    let refused = layer.plan_with_kernel(&noop_context(limits), shape, "winograd");
    assert!(matches!(refused, Err(Error::Unsupported { kernel: "winograd", .. })), "{refused:?}");
}

/// WebGPU's guaranteed limits, with these two changed.
fn limits(binding: u64, workgroups: u32) -> wgpu::Limits {
    wgpu::Limits {
        max_storage_buffer_binding_size: binding,
        max_compute_workgroups_per_dimension: workgroups,
        max_buffer_size: 1 << 40,
        ..Default::default()
    }
}

#[test]
fn any_limits_are_kept_or_refused_by_name() {
    let large = [
        (Conv2d::new(3, 32, 3).padding(1).stride(2), [1, 3, 4096, 4096]),
        (Conv2d::new(256, 512, 3).padding(1), [64, 256, 56, 56]),
        (Conv2d::new(1024, 1024, 3).padding(1).groups(1024), [16, 1024, 64, 64]),
        (Conv2d::new(2048, 4096, 1), [8, 2048, 64, 64]),
        (Conv2d::new(1, 1, 1), [1, 1, 1, 100_000_000]),
        (Conv2d::new(1, 1, 1), [1, 1, 100_000_000, 1]),
        (Conv2d::new(1, 1, 1), [70_000, 1, 100, 1]),
    ];
    let (mut kept, mut refused) = (0, 0);
    for binding in [1 << 10, 1 << 16, 1 << 20, 1 << 27, (1 << 31) - 1, 1 << 40] {
        for workgroups in [1, 16, 65_535] {
            let limits = limits(binding, workgroups);
            for (layer, shape) in large.into_iter().chain(layers()) {
                let geometry = layer.geometry(shape).unwrap();
                let [.., everything] = common::targets();
                let target = kernels::Target { limits: limits.clone(), ..everything };
                for kernel in kernels::ALL.into_iter().filter(|kernel| (kernel.supports)(&geometry, &target).is_ok()) {
                    match Schedule::new(&geometry, &target, Some(kernel.name)) {
                        Ok(schedule) => {
                            assert_eq!(schedule.kernel.name, kernel.name);
                            check_schedule(&schedule, &limits);
                            kept += 1;
                        }
                        Err(Error::Limit { argument, bytes, limit, maximum }) => {
                            assert!(["input", "weight", "output"].contains(&argument), "{argument}");
                            assert_eq!(limit, "max_storage_buffer_binding_size");
                            assert!(bytes > maximum && maximum <= binding);
                            refused += 1;
                        }
                        Err(Error::TooManyDispatches { dispatches, maximum }) => {
                            assert!(dispatches > maximum);
                            refused += 1;
                        }
                        Err(error) => panic!("{geometry:?}: {error}"),
                    }
                }
            }
        }
    }
    assert!(kept > 100 && refused > 20, "{kept} kept, {refused} refused");
}

#[test]
fn a_device_that_computes_nothing_plans_all_the_same() {
    for workgroups in [2, 65_535] {
        let context = noop_context(limits(1 << 16, workgroups));
        for case in layers() {
            for plan in plans(&context, case) {
                check_schedule(plan.schedule(), context.limits());
            }
        }
    }
}

#[test]
fn what_fits_no_buffer_is_refused_before_anything_runs() {
    let context = noop_context(wgpu::Limits { max_buffer_size: 4096, ..limits(4096, 65_535) });
    let refused = |layer: Conv2d, shape: [u32; 4]| layer.plan(&context, shape).unwrap_err();
    let limit = |argument, bytes| Error::Limit { argument, bytes, limit: "max_buffer_size", maximum: 4096 };
    assert_eq!(refused(Conv2d::new(1, 1, 3), [1, 1, 33, 32]), limit("input", 4224));
    assert_eq!(refused(Conv2d::new(3, 3, 20).padding(10), [1, 3, 2, 2]), limit("weight", 14_400));
    assert_eq!(refused(Conv2d::new(1, 1, 1).padding(20), [1, 1, 2, 2]), limit("output", 7056));
    assert_eq!(Tensor::zeros(&context, [1, 1, 33, 32]).unwrap_err(), limit("tensor", 4224));
    assert_eq!(Tensor::from_slice(&context, [1, 1, 33, 32], &[0.0; 33 * 32]).unwrap_err(), limit("tensor", 4224));
    assert!(Tensor::zeros(&context, [1, 1, 32, 32]).is_ok());
}

/// A layer whose tensors fit but not what Winograd's method would make of them is another kernel's.
#[test]
fn a_workspace_past_the_largest_buffer_is_not_planned() {
    // An image is 1 MiB in and out, and 4 MiB transformed: 16 places of 64 channels and 32 x 32 tiles.
    let (layer, shape) = (Conv2d::new(64, 64, 3).padding(1).bias(false), [1, 64, 64, 64]);
    let geometry = layer.geometry(shape).unwrap();
    for (bytes, supported) in [((1 << 22) - 4, false), (1 << 22, true)] {
        let target = kernels::Target {
            software: true,
            ..wgpu::Limits { max_buffer_size: bytes, ..limits(1 << 27, 65_535) }.into()
        };
        let schedule = Schedule::new(&geometry, &target, None).unwrap();
        assert_eq!(schedule.kernel.name == "winograd", supported, "at {bytes} bytes");
    }
    // Nor more images at a time than such a buffer holds.
    let geometry = layer.geometry([7, 64, 64, 64]).unwrap();
    let limits = wgpu::Limits { max_buffer_size: 9 << 20, ..limits(1 << 27, 65_535) };
    let schedule = Schedule::new(&geometry, &limits.into(), Some("winograd")).unwrap();
    assert_eq!(schedule.workspace_bytes(), 2 * 2 * (4 << 20));
}

#[test]
fn shapes_without_a_byte_size_are_refused() {
    let context = noop_context(limits(4096, 65_535));
    let most = i32::MAX as u32;
    for shape in [[most; 4], [1 << 20, 1 << 20, 1 << 20, 4]] {
        let overflow = Error::Overflow { argument: "tensor", shape };
        assert_eq!(Tensor::zeros(&context, shape).unwrap_err(), overflow);
        assert_eq!(Tensor::from_slice(&context, shape, &[]).unwrap_err(), overflow);
    }
    for shape in [[0, 1, 1, 1], [1, 1, 1, 0], [1, u32::MAX, 1, 1]] {
        assert!(matches!(Tensor::zeros(&context, shape), Err(Error::OutOfRange { .. })), "{shape:?}");
    }
    let overflow = |layer: Conv2d, shape| layer.plan(&context, shape).unwrap_err();
    let refused = overflow(Conv2d::new(most, 1, 1), [most, most, most, 1]);
    assert!(matches!(refused, Error::Overflow { argument: "input", .. }), "{refused}");
    let refused = overflow(Conv2d::new(most, most, [1 << 16, 1]).padding([1 << 16, 0]), [1, most, 1, 1]);
    assert!(matches!(refused, Error::Overflow { argument: "weight", .. }), "{refused}");
    let refused = overflow(Conv2d::new(1, most, 1).padding(1 << 20), [1 << 10, 1, 1, 1]);
    assert!(matches!(refused, Error::Overflow { argument: "output", .. }), "{refused}");
    let refused = overflow(Conv2d::new(1, 1, 1).padding(u32::MAX), [1, 1, 1, 1]);
    assert!(matches!(refused, Error::OutOfRange { argument: "padded input size", .. }), "{refused}");
    let refused = overflow(Conv2d::new(1, 1, 3).dilation(most), [1, 1, 9, 9]);
    assert!(matches!(refused, Error::KernelTooLarge { axis: "height", .. }), "{refused}");
}

#[test]
fn a_device_with_too_little_is_refused_by_the_limits_name() {
    let default = wgpu::Limits::default;
    for (limit, limits, has) in [
        (
            "max_storage_buffers_per_shader_stage",
            wgpu::Limits { max_storage_buffers_per_shader_stage: 4, ..default() },
            4,
        ),
        ("max_compute_workgroup_size_x", wgpu::Limits { max_compute_workgroup_size_x: 63, ..default() }, 63),
        (
            "min_storage_buffer_offset_alignment",
            wgpu::Limits { min_storage_buffer_offset_alignment: 4, ..default() },
            4,
        ),
    ] {
        let descriptor = wgpu::DeviceDescriptor { required_limits: limits, ..Default::default() };
        let (device, queue) = wgpu::Device::noop(&descriptor);
        let error = Context::from_wgpu(device, queue).unwrap_err();
        let named = matches!(error, Error::OutOfRange { argument, value, .. } if (argument, value) == (limit, has));
        assert!(named, "{error}");
    }
}

/// A kernel that takes more than a device has leaves the layer to another one.
#[test]
fn what_a_kernel_lacks_is_found_when_planning() {
    type Lower = fn(&mut wgpu::Limits);
    let lowered: [Lower; 6] = [
        |limits| limits.max_compute_workgroup_size_x = 64,
        |limits| limits.max_compute_invocations_per_workgroup = 64,
        |limits| limits.max_compute_workgroup_size_y = 8,
        |limits| limits.max_compute_workgroup_size_z = 2,
        |limits| limits.max_bindings_per_bind_group = 6,
        |limits| limits.max_storage_buffers_per_shader_stage = 5,
    ];
    for lower in lowered {
        let Some((device, queue)) = foreign_device(lower) else { return };
        let context = Context::from_wgpu(device, queue).unwrap().with_software(false);
        for (layer, shape) in [
            (Conv2d::new(512, 16, 3), [1, 512, 5, 5]),
            (Conv2d::new(64, 16, 3), [1, 64, 20, 20]),
            (Conv2d::new(128, 128, 3), [1, 128, 16, 16]),
            (Conv2d::new(8, 8, 3).groups(8), [1, 8, 16, 16]),
        ] {
            layer.plan(&context, shape).unwrap();
        }
        SeparableConv2d::new(32, 128, 3).plan(&context, [1, 32, 80, 80]).unwrap();
    }
}
