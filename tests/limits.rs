//! Devices with limits far below any real one's: what does not fit is cut, or refused by name before anything runs.

mod common;

use std::collections::BTreeSet;

use common::{Case, Random, SeparableData, check_plan, count, first_of, foreign_device, noop_context, poisoned};
use sepconv::roofline::Roofline;
use sepconv::unstable::{Kind, LayerTensors, Memory, Planner, Program, Step};
use sepconv::{
    Activation, AveragePool2d, Binary, BinaryOperation, Choice, Context, Conv2d, ConvTranspose2d, Coordinates, DType,
    Error, Interpolation, Layer, MaxPool2d, Normalise, Operands, PaddingMode, Parameters, Perceptron, Reduce,
    Reduction, Resize2d, SeparableConv2d, Softmax, Target, Tensor, Unary, kernels, reference,
};

/// A layer or two for each kernel, of several tiles along every axis.
fn layers() -> [Case; 10] {
    let shape = [2, 6, 19, 70];
    let pairs = Conv2d::new(8, 136, 1).groups(2).residual(true);
    [
        (Conv2d::new(6, 10, 3).padding(1).groups(2).residual(true), shape),
        (Conv2d::new(6, 12, 3).padding([1, 2]).groups(6).residual(true), shape),
        (Conv2d::new(6, 18, [2, 3]).stride([3, 2]).groups(6).padding_mode(PaddingMode::Reflect).padding(1), shape),
        (Conv2d::new(6, 17, 1), shape),
        // Planes of fours of pixels, groups of fours of channels and some more.
        (Conv2d::new(6, 18, 1).groups(3).residual(true), [2, 6, 18, 70]),
        // Odd planes of pairs of channels: more pixels than channels, and fewer.
        (pairs, [3, 8, 9, 17]),
        (pairs, [3, 8, 5, 7]),
        (pairs.input_scale(true), [3, 8, 5, 8]),
        (Conv2d::new(6, 10, 3).padding(1).groups(2).input_scale(true), shape),
        (Conv2d::new(6, 20, 1).groups(2).stride(2).bias(false), shape),
    ]
}

/// One way to compute a layer: a device that is taken for a GPU or for one in software, and its program with some kernel.
type Way = (Context, Program);

/// Every different way to compute a layer on a device, with each kernel that supports it.
fn ways(context: &Context, (layer, shape): Case) -> Vec<Way> {
    let layer = layer.geometry(shape).unwrap().into();
    let mut ways: Vec<Way> = Vec::new();
    for kernel in kernels::supporting(&layer, context.target()) {
        for software in [false, true] {
            let context = context.with_software(software);
            if kernel.supports(&layer, context.target()).is_err() {
                continue;
            }
            let planner = Planner::new(context.target().clone());
            let program = planner.plan_with(&layer, Choice::new(kernel, 0)).unwrap();
            check_program(&program, context.limits());
            if ways.iter().all(|(_, other)| (&other.kernel, &other.steps) != (&program.kernel, &program.steps)) {
                ways.push((context, program));
            }
        }
    }
    ways
}

/// Runs a layer one of these ways and compares it with the reference.
fn check(case @ (layer, shape): Case, (context, program): &Way, seed: u64) {
    let plan = layer.plan_with_kernel(context, shape, &program.kernel).unwrap();
    assert_eq!(plan.program().steps, program.steps, "{case:?}");
    check_plan(context, &layer.geometry(shape).unwrap(), &plan, seed);
}

/// The one way whose turn it is.
fn in_turn(ways: &[Way], seed: u64) -> &[Way] {
    let turn = usize::try_from(seed % ways.len() as u64).unwrap();
    &ways[turn..=turn]
}

/// Runs a layer one of these ways, or every way if the sweep is to be whole; returns the kernels that ran.
fn check_in_turn(case: Case, ways: &[Way], seed: u64) -> BTreeSet<String> {
    let taken = if common::sweeps_whole() { ways } else { in_turn(ways, seed) };
    for way in taken {
        check(case, way, seed);
    }
    taken.iter().map(|(_, program)| program.kernel.clone()).collect()
}

/// The adapter under test with bindings of so many bytes beside an alignment; none if told to do without.
fn bound_to(bytes: u64) -> Option<Context> {
    let (device, queue) = foreign_device(|limits| {
        limits.max_storage_buffer_binding_size = bytes + u64::from(limits.min_storage_buffer_offset_alignment);
    })?;
    Some(Context::from_wgpu(device, queue).unwrap())
}

/// The grid that the steps of one part are cut from: together they cover it once.
fn grid(steps: &[&Step], workgroups: u32) -> [u64; 3] {
    assert!(steps.iter().all(|step| step.grid.iter().all(|&size| size <= workgroups)));
    let end = |step: &Step, axis: usize| u64::from(step.uniform[axis]) + u64::from(step.grid[axis]);
    let grid = [0, 1, 2].map(|axis| steps.iter().map(|step| end(step, axis)).max().unwrap());
    let volume = |sizes: [u64; 3]| sizes.iter().product::<u64>();
    assert_eq!(steps.iter().map(|step| volume(step.grid.map(u64::from))).sum::<u64>(), volume(grid));
    let starts: BTreeSet<_> = steps.iter().map(|step| &step.uniform[..3]).collect();
    assert_eq!(starts.len(), steps.len(), "two boxes start at one place");
    // Besides where they start and end they are the same.
    let is_first =
        |step: &&Step| Step { uniform: steps[0].uniform.clone(), grid: steps[0].grid, ..(*step).clone() } == *steps[0];
    assert!(steps.iter().all(|step| is_first(step) && step.uniform[3..] == steps[0].uniform[3..]));
    grid
}

/// The steps of each part.
fn steps_of_parts(program: &Program) -> Vec<Vec<&Step>> {
    let of_part = |part| program.steps.iter().filter(|step| step.part == part).collect();
    (0..program.parts).map(of_part).collect()
}

/// Asserts that all that a program binds fits, and is there.
fn check_bindings(program: &Program, limits: &wgpu::Limits) {
    let alignment = u64::from(limits.min_storage_buffer_offset_alignment);
    for binding in program.prepare.iter().chain(&program.steps).flat_map(|step| &step.bindings) {
        let slice = binding.slice;
        // Wherever its tensor starts: at the worst just before where a binding may.
        let bytes = alignment - 4 + program.buffers[slice.buffer].dtype.bytes() * slice.length;
        assert!(bytes <= limits.max_storage_buffer_binding_size, "{bytes} bytes: {binding:?}");
        assert!(slice.start + slice.length <= program.buffers[slice.buffer].length(), "{binding:?}");
    }
}

/// Asserts that a program keeps to the limits, that what it writes is written once, and that each grid is covered once.
fn check_program(program: &Program, limits: &wgpu::Limits) {
    check_bindings(program, limits);
    for step in program.prepare.iter().chain(&program.steps) {
        for binding in &step.bindings {
            let slice = binding.slice;
            if step.shader.name == "subgroup_pointwise" && binding.number < 3 {
                assert!(slice.start.is_multiple_of(2) && binding.alignment == 2, "{binding:?} starts within a pair");
            }
            let reads_fours = step.shader.name == "tiled_pointwise" && ![3, 6].contains(&binding.number);
            if reads_fours || step.shader.name == "tiled_gemm" && binding.number == 2 {
                assert!(slice.start.is_multiple_of(4) && binding.alignment == 4, "{binding:?} starts within a four");
            }
        }
        assert!(step.grid.iter().all(|&size| size <= limits.max_compute_workgroups_per_dimension));
        // The first channel that it sums over, and the one behind the last.
        let [first, end] = [step.uniform[23], step.uniform[24]];
        let tile = step.constants.iter().find(|(name, _)| *name == "TERM_TILE").map_or(1, |(_, tile)| *tile);
        assert!((end - first).is_multiple_of(tile), "a sum of pairs over channels {first} to {end}: {step:?}");
    }
    for steps in steps_of_parts(program) {
        grid(&steps, limits.max_compute_workgroups_per_dimension);
    }
    for (index, buffer) in program.buffers.iter().enumerate() {
        if !matches!(buffer.kind, Kind::Parameter | Kind::Input) {
            check_covered(&written(program, index), buffer.length());
        }
    }
}

/// The stretches of a buffer that are written, in the order in which they are. One that is written again at once is a sum
/// that is cut, or a grid.
fn written(program: &Program, buffer: usize) -> Vec<(u64, u64)> {
    let bindings = program.prepare.iter().chain(&program.steps).flat_map(|step| &step.bindings);
    let slices =
        bindings.filter(|binding| binding.writes && binding.slice.buffer == buffer).map(|binding| binding.slice);
    let mut stretches: Vec<_> = slices.map(|slice| (slice.start, slice.start + slice.length)).collect();
    stretches.dedup();
    stretches
}

/// Asserts that stretches cover so many values, each once.
fn check_covered(stretches: &[(u64, u64)], length: u64) {
    let mut sorted = stretches.to_vec();
    sorted.sort_unstable();
    let end = sorted.iter().fold(0, |end, &(start, next)| {
        assert_eq!(start, end, "{sorted:?}");
        next
    });
    assert_eq!(end, length, "{sorted:?}");
}

#[test]
fn a_grid_past_the_workgroup_limit_is_folded() {
    for workgroups in [1, 2, 3] {
        let limited = foreign_device(|limits| limits.max_compute_workgroups_per_dimension = workgroups);
        let Some((device, queue)) = limited else { return };
        let context = Context::from_wgpu(device, queue).unwrap();
        assert_eq!(context.limits().max_compute_workgroups_per_dimension, workgroups);
        let mut folded = BTreeSet::new();
        for (case, seed) in layers().into_iter().zip(u64::from(workgroups)..) {
            let ways = ways(&context, case);
            for (_, program) in &ways {
                assert_eq!(program.parts, 1, "{program:?}");
                let kernel = kernels::by_name(&program.kernel).unwrap();
                let grid = grid(&program.steps.iter().collect::<Vec<_>>(), workgroups);
                assert!(first_grids(kernel, &context, case).contains(&grid), "{grid:?}: {program:?}");
                let boxes: u64 = grid.iter().map(|size| size.div_ceil(workgroups.into())).product();
                if boxes > 1 {
                    folded.insert(kernel.name);
                }
                assert_eq!(program.steps.len() as u64, boxes, "{}", program.kernel);
            }
            // Each layer on one of the three devices, unless the sweep is to be whole.
            if seed % 3 == 0 || common::sweeps_whole() {
                check_in_turn(case, &ways, seed);
            }
        }
        let supporting = kernels::ALL.iter().filter(|kernel| supports_some(kernel, context.target()));
        assert_eq!(folded, supporting.map(|kernel| kernel.name).collect(), "those that were folded");
    }
}

/// The grids of a kernel's first variants, with a GPU's tiles and with a software device's.
fn first_grids(
    kernel: &kernels::Kernel,
    context: &Context,
    (layer, [batch, channels, height, width]): Case,
) -> [[u64; 3]; 2] {
    let is_pixelwise = layer.kernel_size == 1.into() && layer.stride == 1.into();
    // A layer of single pixels is computed as one row.
    let plane = if is_pixelwise { [1, height * width] } else { [height, width] };
    let layer = layer.geometry([batch, channels, plane[0], plane[1]]).unwrap().into();
    [false, true].map(|software| kernel.variants(&layer, context.with_software(software).target())[0].grid)
}

fn supports_some(kernel: &kernels::Kernel, target: &Target) -> bool {
    let layers = layers().map(|(layer, shape)| layer.geometry(shape).unwrap().into());
    layers.iter().any(|layer| kernel.supports(layer, target).is_ok())
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
        // 17 channels in, 5 x 3: 1020 bytes in, 60 a channel out; 68 bytes of weights a channel. 15 channels fit, and 12 of
        // those that are packed in fours.
        cut("channels by their output and weights", Conv2d::new(17, 36, 1), [1, 17, 5, 3], 1020, 3),
        // 18 channels in, 5 x 3, likewise: 72 bytes of weights a channel.
        cut("channels of pairs", Conv2d::new(18, 36, 1), [1, 18, 5, 3], 1080, 3),
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
        let Some(context) = bound_to(bytes) else { return };
        let alignment = u64::from(context.limits().min_storage_buffer_offset_alignment);
        let ways = ways(&context, (layer, shape));
        for (_, program) in &ways {
            assert_eq!(program.parts, parts, "{what}, {}", program.kernel);
            let outputs = program.steps.iter().flat_map(|step| &step.bindings).filter(|binding| binding.writes);
            misaligned += outputs.filter(|output| 4 * output.slice.start % alignment != 0).count();
        }
        check_in_turn((layer, shape), &ways, bytes);
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
    for (case, seed) in layers().into_iter().zip(1_u64..) {
        let ways = ways(&context, case);
        for (_, Program { kernel, parts, steps, .. }) in &ways {
            assert!(1 < *parts && *parts < steps.len(), "{kernel} fits in one of the limits");
        }
        if seed.is_multiple_of(common::every(2) as u64) {
            check_in_turn(case, &ways, seed);
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
        // On a GPU its tiles come in fours, so there are more bytes.
        let context = Context::from_wgpu(device, queue).unwrap().with_software(true);
        let plan = layer.plan_with_kernel(&context, shape, "winograd").unwrap();
        let program = plan.program();
        let output = program.find(Kind::Output, "output").unwrap();
        assert_eq!(written(program, output).len(), pieces, "at {binding} bytes");
        let images = 5u64.div_ceil(pieces as u64);
        assert_eq!(plan.workspace_bytes(), images * 4 * 16 * 25 * (32 + 20));
        assert_eq!(plan.packed_weight_bytes(), 4 * 16 * 32 * 20);
        check_program(program, context.limits());
        check_plan(&context, &layer.geometry(shape).unwrap(), &plan, binding);
    }
    let limits = limits(51_199, 65_535);
    let refused = layer.plan_with_kernel(&noop_context(limits), shape, "winograd");
    assert!(matches!(refused, Err(Error::Unsupported { kernel: "winograd", .. })), "{refused:?}");
}

/// On a GPU: 16 MiB at a time, in images or in rows of tiles, and a product in fours of tiles whose weights are packed once.
/// With tiles of 4 x 4 it is as much at a time of less.
#[test]
fn winograd_on_a_gpu_keeps_its_workspace_small() {
    let [target, ..] = common::targets();
    let planner = Planner::new(target);
    let layer = |channels| Conv2d::new(channels, channels, 3).padding(1);
    for (kernel, layer, shape, pieces) in [
        ("winograd", layer(64), [1, 64, 224, 224], 7),
        ("winograd", layer(512), [32, 512, 14, 14], 7),
        ("winograd", layer(128), [3, 128, 27, 25], 1),
        ("winograd_4x4", layer(64), [1, 64, 224, 224], 4),
        ("winograd_4x4", layer(512), [32, 512, 14, 14], 5),
        ("winograd_4x4", layer(128), [3, 128, 27, 25], 1),
    ] {
        let program = planner.plan_with(&layer.geometry(shape).unwrap().into(), first_of(kernel)).unwrap();
        let bytes = Memory::new(&program).bytes();
        assert!(bytes <= 16 << 20, "{bytes} bytes: {layer:?}");
        check_program(&program, &planner.target().limits);
        let shaders: Vec<_> = program.steps.iter().map(|step| step.shader.name).collect();
        assert_eq!(shaders, [kernel, "tiled_pointwise", kernel].repeat(pieces), "{layer:?}");
        let packing: Vec<_> = program.prepare.iter().map(|step| step.shader.name).collect();
        assert_eq!(packing, [kernel, "rearrange"], "{layer:?}");
    }

    let Some(context) = common::context() else { return };
    let context = context.with_software(false);
    // 92 rows of 93 tiles, of which 88 would fit; an odd number of tiles, of channels that tiled_pointwise takes.
    let rows =
        |kernel, side| (kernel, Conv2d::new(16, 16, 3).padding([1, 2]).residual(true), [1, 16, side, side + 1], 2);
    let fours = |kernel| (kernel, Conv2d::new(40, 33, 3).padding(1), [3, 40, 5, 5], 1);
    // Or 62 rows of 63 tiles, of which 57 would fit.
    let cases = [rows("winograd", 183), fours("winograd"), rows("winograd_4x4", 248), fours("winograd_4x4")];
    for ((kernel, layer, shape, pieces), seed) in cases.into_iter().zip(1..) {
        let plan = layer.plan_with_kernel(&context, shape, kernel).unwrap();
        let count = plan.program().steps.iter().filter(|step| step.entry_point == "transform_output").count();
        assert_eq!(count, pieces, "{layer:?}");
        check_plan(&context, &layer.geometry(shape).unwrap(), &plan, seed);
    }
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
    for (first, binding) in [1 << 10, 1 << 16, 1 << 20, 1 << 27, (1 << 31) - 1, 1 << 40].into_iter().enumerate() {
        for (second, workgroups) in [1, 16, 65_535].into_iter().enumerate() {
            let limits = limits(binding, workgroups);
            for (index, (layer, shape)) in large.into_iter().chain(layers()).enumerate() {
                // Each layer at one of the three grids with each binding, unless the sweep is to be whole.
                if (index + first + second) % 3 > 0 && !common::sweeps_whole() {
                    continue;
                }
                let layer: Layer = layer.geometry(shape).unwrap().into();
                let [.., mut target] = common::targets();
                target.limits = limits.clone();
                let planner = Planner::new(target.clone());
                for kernel in kernels::ALL.iter().filter(|kernel| kernel.supports(&layer, &target).is_ok()) {
                    match planner.plan_with(&layer, Choice::new(kernel, 0)) {
                        Ok(program) => {
                            assert_eq!(program.kernel, kernel.name);
                            check_program(&program, &limits);
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
                        Err(error) => panic!("{layer:?}: {error}"),
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
            assert!(!ways(&context, case).is_empty());
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
    let planner = |bytes| {
        let limits = wgpu::Limits { max_buffer_size: bytes, ..limits(1 << 27, 65_535) };
        let mut target = Target::from(limits);
        target.software = true;
        Planner::new(target)
    };
    let geometry = layer.geometry(shape).unwrap().into();
    for (bytes, supported) in [((1 << 22) - 4, false), (1 << 22, true)] {
        let program = planner(bytes).plan(&geometry).unwrap();
        assert_eq!(program.kernel == "winograd", supported, "at {bytes} bytes");
    }
    // Nor more images at a time than such a buffer holds.
    let geometry = layer.geometry([7, 64, 64, 64]).unwrap().into();
    let program = planner(9 << 20).plan_with(&geometry, first_of("winograd")).unwrap();
    assert_eq!(Memory::new(&program).bytes(), 2 * 2 * (4 << 20));
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
    for shape in [[0, 0, 1, 1], [1, 1, 1, 0], [1, u32::MAX, 1, 1]] {
        assert!(matches!(Tensor::zeros(&context, shape), Err(Error::OutOfRange { .. })), "{shape:?}");
    }
    assert!(Tensor::zeros(&context, [0, 1, 1, 1]).is_ok(), "a batch may be empty");
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
        |limits| limits.max_bindings_per_bind_group = 7,
        |limits| limits.max_storage_buffers_per_shader_stage = 6,
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
        // Its workgroups are smaller.
        check_layer(&context, Perceptron::new(2, [70, 18, 90]).unwrap().into(), 1);
    }
}

const PADDING_MODES: [PaddingMode; 4] =
    [PaddingMode::Zeros, PaddingMode::Reflect, PaddingMode::Replicate, PaddingMode::Circular];

/// The ways to compute a layer that must be cut on a device.
fn cut_ways(context: &Context, case: Case, seed: u64) -> Vec<Way> {
    // With them, what is read outside of a binding is not zero, as on some drivers, but the last value in it.
    let ways = ways(&context.with_runtime_checks(seed % 2 == 1), case);
    for (_, program) in &ways {
        assert!(program.parts > 1, "{} has one part: {case:?}", program.kernel);
    }
    ways
}

/// [`check_in_turn`] for a layer that must be cut on a device.
fn check_cut(context: &Context, case: Case, seed: u64) -> BTreeSet<String> {
    check_in_turn(case, &cut_ways(context, case, seed), seed)
}

/// Windows of every kind over 2, 4 or 3 channels.
fn windows() -> Vec<Case> {
    let sizes = [[3, 3], [1, 1], [5, 2], [2, 4], [4, 1]];
    let groups = [(2, 5, 1), (4, 8, 2), (3, 3, 3), (2, 4, 2), (2, 3, 1), (3, 6, 3)];
    let mut cases = Vec::new();
    for mode in PADDING_MODES {
        for stride in 1..=3 {
            for dilation in 1..=2 {
                let index = cases.len();
                let (channels, out_channels, groups) = groups[index % groups.len()];
                let layer = Conv2d::new(channels, out_channels, sizes[index % sizes.len()]).groups(groups);
                let layer = layer.stride([stride, 4 - stride]).dilation([dilation, 3 - dilation]);
                let layer = layer.padding([2, 1, 3, 2]).padding_mode(mode).residual(index % 2 == 0);
                let activation = common::ACTIVATIONS[index % common::ACTIVATIONS.len()];
                cases.push((layer.activation(activation), [2, channels, 23, 13]));
            }
        }
    }
    // As many as there are plans of such a layer, so that each has its turn.
    for stride in 1..=9 {
        for groups in [1, 2] {
            cases.push((Conv2d::new(2, 8, 1).stride(stride).groups(groups).residual(true), [2, 2, 23, 13]));
        }
    }
    cases
}

/// Planes of 23 rows of 13 values, cut to at most 10 rows, and to at most 4: less than most windows see, which are then cut
/// to rows of taps.
#[test]
fn planes_are_cut_by_rows() {
    let mut ran = BTreeSet::new();
    for rows in [10, 4] {
        let Some(context) = bound_to(4 * 13 * rows) else { return };
        let planner = Planner::new(context.target().clone());
        let (mut windows_cut, mut ran_here) = (0, BTreeSet::new());
        for (case, seed) in windows().into_iter().zip(rows..) {
            let ways = cut_ways(&context, case, seed);
            // Each kernel once, unless the sweep is to be whole.
            if common::sweeps_whole() || !ran_here.contains(&in_turn(&ways, seed)[0].1.kernel) {
                ran_here.extend(check_in_turn(case, &ways, seed));
            }
            // Planned and not compiled, which takes long.
            let program = planner.plan(&case.0.geometry(case.1).unwrap().into()).unwrap();
            windows_cut += usize::from(!program.prepare.is_empty());
        }
        ran.append(&mut ran_here);
        assert!(windows_cut > if rows == 4 { 10 } else { 0 }, "{windows_cut} have their windows cut at {rows} rows");
    }
    let Some(context) = common::context() else { return };
    let wanted = ["depthwise", "depthwise_columns", "tiled_gemm", "pointwise", "gemm", "direct", "subgroup_gemm"];
    let supported = wanted.into_iter().filter(|name| supports_some(kernels::by_name(name).unwrap(), context.target()));
    assert_eq!(ran, supported.map(str::to_owned).collect());
}

/// What else a plane can be: far larger than its input or its output, all padding, one row or one value high.
#[test]
fn planes_of_every_sort_are_cut_by_rows() {
    let Some(context) = bound_to(4 * 40) else { return };
    let cases = [
        // A large output of a small input, and a small one of a large.
        (Conv2d::new(1, 4, 3).padding(10), [1, 1, 3, 4]),
        (Conv2d::new(2, 4, 3).stride(7), [1, 2, 40, 20]),
        // Of an input that is bound whole, without rows of padding.
        (Conv2d::new(1, 4, 1).padding([0, 19]), [1, 1, 9, 1]),
        (Conv2d::new(2, 4, [3, 1]).padding([0, 18]).stride([2, 1]), [2, 2, 10, 2]),
        // Pairs of channels, of which the last rows of both would fit in a binding.
        (Conv2d::new(4, 5, 2), [1, 4, 14, 10]),
        (Conv2d::new(4, 5, 1), [1, 4, 14, 10]),
        // Rows of outputs that see padding alone.
        (Conv2d::new(1, 4, 2).padding([9, 0, 9, 0]), [2, 1, 9, 10]),
        (Conv2d::new(1, 5, 2).padding([30, 0, 0, 1]).padding_mode(PaddingMode::Replicate), [1, 1, 9, 10]),
        // Rows of whole fours.
        (Conv2d::new(2, 4, 3).groups(2).padding(1), [1, 2, 20, 8]),
        // Windows that are higher than what is bound, and that go around.
        (Conv2d::new(1, 4, [7, 1]).padding([6, 0]).padding_mode(PaddingMode::Reflect), [1, 1, 9, 10]),
        (Conv2d::new(1, 4, [7, 1]).padding([9, 0]).padding_mode(PaddingMode::Circular), [1, 1, 9, 10]),
        (Conv2d::new(1, 4, [2, 1]).dilation([8, 1]).padding([9, 0]).padding_mode(PaddingMode::Circular), [1, 1, 9, 10]),
        (Conv2d::new(2, 4, [2, 3]).dilation([20, 1]).stride([2, 1]), [1, 2, 41, 9]),
        // One row fits.
        (Conv2d::new(3, 4, 3).padding(1).residual(true), [1, 3, 5, 40]),
        (Conv2d::new(3, 3, 3).padding(1).groups(3).activation(Activation::Silu), [2, 3, 5, 40]),
        (Conv2d::new(3, 4, 1), [2, 3, 5, 40]),
        (Conv2d::new(3, 4, 1).input_scale(true), [2, 3, 5, 40]),
        // Rows of one value.
        (Conv2d::new(2, 4, [3, 1]).padding([1, 0]).bias(false), [1, 2, 100, 1]),
        // Many channels of rows, of which no two are bound at once.
        (Conv2d::new(13, 4, [1, 3]).padding([0, 1]).residual(true), [1, 13, 6, 10]),
        (Conv2d::new(13, 4, [1, 3]).padding([0, 1]).input_scale(true), [1, 13, 6, 10]),
    ];
    for (case, seed) in cases.into_iter().zip(1..).step_by(common::every(3)) {
        check_cut(&context, case, seed);
    }
}

/// Layers of single pixels, of pairs of channels where they fit.
#[test]
fn layers_of_single_pixels_are_cut() {
    // 9 x 5: 180 bytes a plane. 9 x 4 are fours of pixels, too.
    for (turn, bytes) in [180 * 7, 180 * 3, 180, 60].into_iter().enumerate() {
        let Some(context) = bound_to(bytes) else { return };
        let layers = [
            (Conv2d::new(10, 20, 1), 5),
            (Conv2d::new(12, 40, 1).groups(2).bias(false), 5),
            (Conv2d::new(12, 20, 1), 4),
            (Conv2d::new(14, 40, 1).groups(2).bias(false), 4),
        ];
        // One of them in turn, unless the sweep is to be whole.
        for (layer, width) in layers.into_iter().skip(turn % common::every(4)).step_by(common::every(4)) {
            let shape = [2, layer.in_channels, 9, width];
            check_cut(&context, (layer.residual(true).activation(Activation::Relu), shape), turn as u64);
        }
    }
}

/// A group's input that does not fit is summed some channels at a time.
#[test]
fn a_sum_past_the_binding_limit_is_cut_by_channels() {
    // 6 x 7: 168 bytes a channel.
    for (channels_at_once, parts) in [(4, [3, 9]), (1, [11, 33])] {
        let Some(context) = bound_to(168 * channels_at_once) else { return };
        let layer = Conv2d::new(11, 4, [1, 2]).padding([0, 1, 0, 0]).residual(true).activation(Activation::HardSwish);
        let cases = [(layer, [1, 11, 6, 7]), (layer.padding_mode(PaddingMode::Circular), [3, 11, 6, 7])];
        for ((case, seed), parts) in cases.into_iter().zip(1..).zip(parts) {
            // As many for the outputs, of which all four fit, or one.
            let outputs = if channels_at_once == 1 { 4 } else { 1 };
            let plan = case.0.plan(&context, case.1).unwrap();
            assert_eq!(plan.program().parts, parts * outputs, "{}", plan.kernel());
            if (seed + channels_at_once).is_multiple_of(common::every(2) as u64) {
                check_cut(&context, case, seed);
            }
        }
    }
}

/// Windows of more taps than one invocation may sum.
#[test]
fn windows_past_the_longest_sum_are_cut() {
    let Some(context) = common::context() else { return };
    for (layer, shape, parts) in [
        (Conv2d::new(2, 5, 363).padding(180).residual(true).activation(Activation::Relu), [1, 2, 4, 5], 2 * 9),
        (Conv2d::new(2, 4, 363).padding(180).groups(2), [2, 2, 4, 5], 9),
        (Conv2d::new(3, 4, 182).padding(90).padding_mode(PaddingMode::Replicate), [1, 3, 3, 4], 3 * 3),
        (Conv2d::new(3, 3, 182).padding([90, 2]).groups(3).residual(true), [1, 3, 3, 180], 3),
        // A row of taps is too long itself.
        (Conv2d::new(1, 4, [2, 20_000]).padding([1, 9_999]), [1, 1, 2, 3], 4),
    ] {
        let ways = ways(context, (layer, shape));
        for (_, program) in &ways {
            assert_eq!(program.parts, parts, "{}, {layer:?}", program.kernel);
        }
        check_in_turn((layer, shape), &ways, 363);
    }
}

/// Windows that are cut, of planes that are cut by rows.
#[test]
fn long_windows_are_cut_by_rows_too() {
    // 131 rows of 129 values; a filter of 130 x 128 is 66,560 bytes.
    let Some(context) = bound_to(67_000) else { return };
    // Even ones: with runtime checks llvmpipe has too few rounds of its loops for the longest sums.
    for (mode, seed) in PADDING_MODES.into_iter().zip([2, 4, 6, 8]).step_by(common::every(4)) {
        let layer = Conv2d::new(1, 4, [130, 128]).padding([3, 1]).padding_mode(mode).residual(true);
        check_cut(&context, (layer, [1, 1, 131, 129]), seed);
    }
}

/// [`check_cut`] for a separable layer; returns the kernels that there are.
fn check_separable_cut(
    context: &Context,
    (layer, shape): (&SeparableConv2d, [u32; 4]),
    seed: u64,
) -> BTreeSet<&'static str> {
    let parts = layer.geometry(shape).unwrap();
    let (depthwise, pointwise) = (&parts.0, &parts.1);
    let mut random = Random(seed);
    let data = SeparableData::new((depthwise, pointwise), |count| random.floats(count));
    let expected = data.reference((depthwise, pointwise));
    let context = &context.with_runtime_checks(seed % 2 == 1);
    let planner = Planner::new(context.target().clone());
    let ways = Choice::all(&parts.into(), context.target());
    let turn = seed % ways.len() as u64;
    for (index, (choice, _)) in (0..).zip(&ways) {
        let program = planner.plan_with(&parts.into(), *choice).unwrap();
        let least = if choice.kernel.name == "chained" { 2 } else { 1 };
        assert!(program.parts > least, "{choice} is not cut: {layer:?} on {shape:?}");
        check_program(&program, context.limits());
        // One way for a few layers, unless the sweep is to be whole.
        if !common::sweeps_whole() && (seed % 34 != 7 || index != turn) {
            continue;
        }
        let plan = layer.plan_with_choice(context, shape, *choice).unwrap();
        let what = format!("{choice}, {layer:?} on {shape:?}, seed {seed}");
        for actual in data.run(context, (depthwise, pointwise), &plan) {
            let terms = depthwise.terms() + pointwise.terms();
            common::assert_close(&expected, pointwise.activation, terms, &actual, &what);
        }
    }
    ways.into_iter().map(|(choice, _)| choice.kernel.name).collect()
}

#[test]
fn separable_layers_are_cut() {
    let mut seed = 0;
    for (what, layer, shape, bytes) in [
        // 6 x 6: 144 bytes a plane.
        ("images", SeparableConv2d::new(4, 5, 3).padding(1), [3, 4, 6, 6], 144 * 5),
        ("output channels", SeparableConv2d::new(2, 12, 3).padding(1), [2, 2, 6, 6], 144 * 3),
        ("input channels", SeparableConv2d::new(12, 2, 3).padding(1), [2, 12, 6, 6], 144 * 3),
        ("both kinds of channels", SeparableConv2d::new(9, 10, 3).padding(1), [1, 9, 6, 6], 9 * 4 * 9),
        // 20 rows of 40 bytes.
        ("rows, 7 at a time", SeparableConv2d::new(3, 5, 3).padding(1), [1, 3, 20, 10], 280),
        ("rows, 3 at a time", SeparableConv2d::new(3, 5, 3).padding(1), [2, 3, 20, 10], 120),
        ("rows of a small input", SeparableConv2d::new(2, 3, 3).padding(8), [1, 2, 3, 4], 4 * 20 * 2),
    ] {
        let Some(context) = bound_to(bytes) else { return };
        for layer in [
            layer,
            layer.residual(true).depthwise_activation(Activation::Relu6).activation(Activation::Silu),
            layer.depthwise_bias(false).stride([2, 1]).activation(Activation::LeakyRelu(0.1)),
            layer.pointwise_bias(false).padding_mode(PaddingMode::Replicate),
            layer.padding([2, 2, 1, 0]).padding_mode(PaddingMode::Reflect).residual(true),
        ] {
            seed += 1;
            let kernels = check_separable_cut(&context, (&layer, shape), seed);
            assert!(kernels.contains("separable") && kernels.contains("chained"), "{what}: {kernels:?}");
            let has_subgroups = context.target().subgroup_size == Some(8);
            assert_eq!(kernels.contains("subgroup_separable"), has_subgroups, "{what}: {kernels:?}");
        }
    }
}

/// What else there is of separable layers: multipliers, dilation, and rows that go around, which no single dispatch has.
#[test]
fn separable_layers_are_cut_by_rows_whatever_they_are() {
    // 20 rows of 40 bytes.
    let Some(context) = bound_to(7 * 40) else { return };
    let layer = SeparableConv2d::new(3, 5, 3).padding(1);
    for (layer, seed) in [
        layer.depth_multiplier(2),
        layer.depth_multiplier(3).dilation([3, 1]).padding([3, 1]).residual(true),
        layer.stride([3, 2]).dilation([1, 2]).padding_mode(PaddingMode::Replicate),
        SeparableConv2d::new(3, 5, [2, 5]).padding([0, 4, 1, 0]).padding_mode(PaddingMode::Reflect),
        SeparableConv2d::new(3, 5, 1).activation(Activation::HardSwish),
        // Their windows are higher than what is bound.
        SeparableConv2d::new(3, 5, [8, 1]).padding([4, 0]),
        layer.dilation([6, 1]).padding([6, 1]).padding_mode(PaddingMode::Reflect),
    ]
    .into_iter()
    .zip(1..)
    {
        check_separable_cut(&context, (&layer, [2, 3, 20, 10]), seed);
    }
    let around = layer.padding_mode(PaddingMode::Circular);
    let kernels = check_separable_cut(&context, (&around, [2, 3, 20, 10]), 9);
    assert_eq!(kernels, BTreeSet::from(["chained"]));
}

/// Runs a max pool, and average pools with the same windows, that are cut to at least so many parts.
fn check_pool(context: &Context, pool: &MaxPool2d, shape: [u32; 4], least_parts: usize) {
    let plan = pool.plan(context, shape).unwrap();
    assert!(plan.program().parts >= least_parts, "{} parts: {pool:?} on {shape:?}", plan.program().parts);
    check_program(plan.program(), context.limits());
    let mean = AveragePool2d::new(pool.kernel_size).stride(pool.stride).padding(pool.padding).dilation(pool.dilation);
    let mean = mean.ceil_mode(pool.ceil_mode);
    let means = [true, false].map(|count_padding| mean.count_padding(count_padding).geometry(shape).unwrap());
    for geometry in [pool.geometry(shape).unwrap(), means[0], means[1]] {
        common::check_pool(context, geometry, 7);
    }
}

#[test]
fn pools_are_cut() {
    let pool = MaxPool2d::new(3).stride(2).padding(1);
    // 9 x 11: 396 bytes a plane.
    for (bytes, parts) in
        [(1 << 20, 1), (396 * 4 * 2, 2), (396 * 4, 3), (396 * 3, 6), (396, 12), (44 * 5, 24), (44 * 2, 84)]
    {
        let Some(context) = bound_to(bytes) else { return };
        check_pool(&context, &pool, [3, 4, 9, 11], parts);
        if parts == 1 {
            assert_eq!(pool.plan(&context, [3, 4, 9, 11]).unwrap().program().parts, 1);
        }
        for pool in [
            MaxPool2d::new(2),
            MaxPool2d::new([5, 3]).stride([1, 3]).padding([2, 1, 4, 0]),
            MaxPool2d::new([1, 8]).stride([2, 1]).padding([0, 4]),
            MaxPool2d::new([2, 3]).stride([3, 1]).dilation([4, 2]).padding([1, 2]),
            // Windows of padding alone.
            MaxPool2d::new(2).padding([5, 4]),
            MaxPool2d::new([4, 1]).stride(1).dilation([2, 1]).padding([6, 0]),
            MaxPool2d::new(3).stride([4, 2]).padding([1, 1, 2, 0]).ceil_mode(true),
            MaxPool2d::new([2, 4]).stride([5, 3]).ceil_mode(true),
        ] {
            check_pool(&context, &pool, [3, 4, 9, 11], 1);
        }
    }
    // Windows of more values than one invocation looks at.
    let Some(context) = common::context() else { return };
    check_pool(context, &MaxPool2d::new(150).stride(1).padding(75), [1, 2, 5, 6], 2);
}

/// Layers of networks, each longer along its first axis than what comes behind it.
fn layers_of_networks() -> Vec<Layer> {
    let (relu, none) = (Activation::Relu, Activation::None);
    let binary = |shapes: [&[u32]; 2]| Binary::new(BinaryOperation::Mul, shapes, relu).unwrap();
    let (planes, linear) = ([5, 7].into(), Interpolation::Linear);
    let resize = Resize2d::new(9, planes, [8, 9].into(), Coordinates::HalfPixel, linear).unwrap();
    let transposed = |bias: bool| {
        let change = |layer: &mut ConvTranspose2d| {
            (layer.groups, layer.stride, layer.bias) = (2, 2.into(), bias);
        };
        ConvTranspose2d::new([5, 6, 4, 5], 4, 3).unwrap().with(0.into(), change).unwrap().into()
    };
    let mut centred = Reduce::new(Reduction::Mean, [13, 20, 3]).unwrap();
    centred.activation = relu;
    vec![
        Unary::new([3, 5, 9, 7], Activation::Sigmoid).unwrap().into(),
        binary([&[945], &[945]]).residual(true).into(),
        // What serves all is not cut.
        binary([&[9, 5, 21], &[1, 5, 1]]).residual(true).into(),
        binary([&[9, 1, 21], &[9, 5, 21]]).into(),
        binary([&[1, 9, 105], &[1, 9, 1]]).into(),
        Binary::new(BinaryOperation::Sub, [&[2, 1, 300], &[1, 2, 300]], none).unwrap().into(),
        centred.into(),
        Reduce::new(Reduction::Max, [95, 9, 1]).unwrap().into(),
        Softmax::new([7, 30, 4], false).unwrap().into(),
        Perceptron::new(90, [5, 3, 7]).unwrap().into(),
        Normalise::instance([6, 3, 5, 7], 1e-3).unwrap().into(),
        Normalise::group([7, 6, 3, 5], 2, 1e-3).unwrap().into(),
        Normalise::layer(11, 60, 1e-3).unwrap().into(),
        resize.into(),
        resize.residual(true).into(),
        transposed(true),
        transposed(false),
    ]
}

/// Runs a layer in every way and compares it with the reference; returns the steps of each.
fn check_layer(context: &Context, layer: Layer, seed: u64) -> Vec<usize> {
    let (mut random, dtype) = (Random(seed), context.dtype());
    let given = layer.describe().given().into_iter();
    let values: Vec<Vec<f32>> = given.map(|given| common::rounded(dtype, &random.floats(count(given.shape)))).collect();
    let expected = layer.describe().reference(&values.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let tensors = LayerTensors::new(context, &layer, &values).unwrap();
    let check = |(choice, _): (Choice, _)| {
        let plan = context.plan_with(layer, choice).unwrap();
        check_bindings(plan.program(), context.limits());
        let output = poisoned(context, layer.output_shape());
        tensors.bind(&plan, &output).unwrap().run().unwrap();
        let (activation, terms) = (layer.describe().activation(), layer.describe().terms());
        let what = format!("{} by {choice}", layer.text());
        let actual = output.read_blocking().unwrap();
        common::assert_close_of(dtype, &expected, activation, terms, &actual, &what);
        plan.program().steps.len()
    };
    Choice::all(&layer, context.target()).into_iter().map(check).collect()
}

/// What is larger than a binding is halved until it fits, with every way to compute it.
#[test]
fn layers_of_networks_are_cut() {
    for (bytes, is_cut) in [(1 << 20, false), (2400, true), (1700, true)] {
        let Some(context) = bound_to(bytes) else { return };
        for (layer, seed) in layers_of_networks().into_iter().zip(1..) {
            let steps = check_layer(&context, layer, seed);
            assert!(steps.iter().all(|&steps| (steps > 1) == is_cut), "{steps:?} steps: {}", layer.text());
        }
    }
    // Where two bytes are a value, parts that meet within four bytes.
    let Some(context) = bound_to(700) else { return };
    if let Ok(half) = context.with_dtype(DType::F16) {
        for layer in [
            Layer::from(Softmax::new([2, 301, 1], false).unwrap()),
            Binary::new(BinaryOperation::Mul, [&[3, 201], &[1, 201]], Activation::None).unwrap().residual(true).into(),
            Unary::new([1, 1, 1, 1001], Activation::Relu).unwrap().into(),
        ] {
            assert!(check_layer(&half, layer, 1).iter().all(|&steps| steps > 1), "{}", layer.text());
        }
    }
    // One row that does not fit is refused by name.
    let Some(context) = bound_to(1700) else { return };
    for layer in [Layer::from(Softmax::new([2, 500, 1], false).unwrap()), Normalise::layer(3, 500, 0.1).unwrap().into()]
    {
        let refused = context.plan(layer).unwrap_err();
        let whole = 4 * count(layer.input_shape()) as u64;
        assert!(matches!(refused, Error::Limit { argument: "input", bytes, .. } if bytes == whole), "{refused:?}");
    }
}

/// An empty batch is computed by no step, and reads back empty.
#[test]
fn an_empty_batch_has_an_empty_output() {
    let Some(context) = common::context() else { return };
    let empty = |[_, channels, height, width]: [u32; 4]| [0, channels, height, width];
    let winograd = (Conv2d::new(16, 16, 3).padding(1), [2, 16, 9, 9]);
    let mut kernels = BTreeSet::new();
    for (layer, shape) in layers().into_iter().chain([winograd]) {
        let case = (layer, empty(shape));
        for way @ (context, program) in &ways(context, case) {
            assert!(program.steps.is_empty(), "{program:?}");
            let plan = layer.plan_with_kernel(context, case.1, &program.kernel).unwrap();
            assert_eq!((plan.workspace_bytes(), plan.input_shape()), (0, case.1));
            check(case, way, 1);
            kernels.insert(program.kernel.clone());
        }
    }
    let of_convolutions = |kernel: &&&kernels::Kernel| {
        let mut layers = layers().into_iter().chain([winograd]);
        layers.any(|(layer, shape)| kernel.supports(&layer.geometry(shape).unwrap().into(), context.target()).is_ok())
    };
    assert_eq!(kernels, kernels::ALL.iter().filter(of_convolutions).map(|kernel| kernel.name.to_owned()).collect());

    let (layer, shape) = (SeparableConv2d::new(3, 5, 3).padding(1).residual(true), [0, 3, 9, 9]);
    let parts = layer.geometry(shape).unwrap();
    let data = SeparableData::new((&parts.0, &parts.1), |count| Random(1).floats(count));
    for (choice, _) in Choice::all(&parts.into(), context.target()) {
        let plan = layer.plan_with_choice(context, shape, choice).unwrap();
        assert!(plan.program().steps.is_empty(), "{:?}", plan.program());
        assert_eq!(data.run(context, (&parts.0, &parts.1), &plan), [(); 3].map(|()| Vec::<f32>::new()), "{choice}");
    }
    check_pool(context, &MaxPool2d::new(2), shape, 0);
    // Into the encoder of a caller, between other layers.
    let plan = MaxPool2d::new(2).plan(context, shape).unwrap();
    let [input, output] = [shape, plan.output_shape()].map(|shape| Tensor::zeros(context, shape).unwrap());
    let bound = plan.bind(None, Operands::new(&input, &output)).unwrap();
    let mut encoder = context.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    bound.encode(&mut encoder);
    context.queue().submit([encoder.finish()]);
    assert_eq!(output.read_blocking(), Ok(Vec::new()));
}

/// As large as WebGPU guarantees that a binding may be, so that it is past what fits wherever it starts.
#[test]
fn many_channels_of_large_planes_are_planned() {
    let planner = Planner::new(limits(128 << 20, 65_535).into());
    for (layer, shape) in [
        (Conv2d::new(512, 512, 3).padding(1), [1, 512, 256, 256]),
        (Conv2d::new(512, 64, 1), [1, 512, 256, 256]),
        (Conv2d::new(512, 512, 3).padding(1).groups(512), [1, 512, 256, 256]),
        (Conv2d::new(3, 2, 3).padding(1), [1, 3, 8192, 8192]),
        // Most of its rows near an edge see both edges.
        (Conv2d::new(1, 1, 363).padding(181).padding_mode(PaddingMode::Circular), [1, 1, 8192, 8192]),
    ] {
        let layer = layer.geometry(shape).unwrap().into();
        for (choice, _) in Choice::all(&layer, planner.target()) {
            let program = planner.plan_with(&layer, choice).unwrap();
            assert!(program.parts >= 2, "{choice}");
            check_program(&program, &planner.target().limits);
        }
    }
}

/// Runs a layer on one large image and compares some thousand outputs: the corners of each plane, what lies at both sides
/// of the edges of each part, and others all over it.
fn check_large(layer: &Conv2d, shape: [u32; 4]) {
    let Some(context) = common::context() else { return };
    let geometry = layer.geometry(shape).unwrap();
    let bytes = 4 * count(shape).max(count(geometry.output_shape())) as u64;
    if bytes > context.limits().max_buffer_size {
        println!("not run: a tensor of {bytes} bytes is larger than this device's buffers");
        return;
    }
    let data = common::Data::random(&geometry, 4096);
    let plan = match layer.plan(context, shape) {
        Err(Error::OutOfMemory { .. }) => return println!("not run: there is no memory for it"),
        plan => plan.unwrap(),
    };
    check_program(plan.program(), context.limits());
    let tensor = |shape, values: &[f32]| Tensor::from_slice(context, shape, values);
    let tensors = || {
        let weight = tensor(geometry.weight_shape(), &data.weight)?;
        let bias = tensor(geometry.bias_shape(), data.bias.as_ref().unwrap())?;
        let (input, output) = (tensor(shape, &data.input)?, poisoned(context, plan.output_shape()));
        let weights = plan.weights(&Parameters::new(&weight).bias(&bias))?;
        Ok((output.clone(), plan.bind(&weights, Operands::new(&input, &output))?))
    };
    let (output, bound) = match tensors() {
        Err(Error::OutOfMemory { .. }) => return println!("not run: there is no memory for it"),
        made => made.unwrap(),
    };
    bound.run().unwrap();
    let actual = output.read_blocking().unwrap();
    let outputs = some_outputs(plan.program(), geometry.output_shape());
    println!("{} on {shape:?}: {} parts, {} outputs compared", plan.kernel(), plan.program().parts, outputs.len());
    let picked: Vec<f32> = outputs.iter().map(|&output| actual[output]).collect();
    let expected = reference::conv2d_at(&geometry, outputs, &data.input, &data.weight, data.bias.as_deref(), None);
    common::assert_close(&expected, geometry.activation, geometry.terms(), &picked, plan.kernel());
    assert!(!actual.iter().any(|value| value.is_nan()), "an output is not written");
}

fn some_outputs(program: &Program, shape: [u32; 4]) -> Vec<usize> {
    let (length, width) = (count(shape), shape[3] as usize);
    let plane = shape[2] as usize * width;
    let index = |value: u64| usize::try_from(value).unwrap();
    let output = program.find(Kind::Output, "output").unwrap();
    let parts = written(program, output).into_iter().map(|(start, _)| index(start));
    let planes = (0..length).step_by(plane);
    // Both ends of the rows before and behind each edge, and their middles.
    let rows = planes.chain(parts).flat_map(|start| [start.wrapping_sub(width), start, start + width]);
    let near = rows.flat_map(|start| [0, 1, width / 2, width - 2, width - 1].map(|column| start.wrapping_add(column)));
    // A prime that no size is a multiple of.
    let spread = (0..length).step_by(length / 4000 / 2 * 2 + 1);
    let outputs: BTreeSet<usize> = near.chain(spread).filter(|&output| output < length).collect();
    outputs.into_iter().collect()
}

#[test]
fn an_image_of_4096_by_4096() {
    check_large(&Conv2d::new(3, 2, 3).padding(1), [1, 3, 4096, 4096]);
}

#[test]
#[ignore = "minutes; .ci/run runs it"]
fn an_image_of_8192_by_8192() {
    check_large(&Conv2d::new(3, 1, 3).padding(1), [1, 3, 8192, 8192]);
}

#[test]
#[ignore = "minutes; .ci/run runs it"]
fn an_image_of_2048_by_2048_with_64_channels() {
    check_large(&Conv2d::new(64, 1, 3).padding(1), [1, 64, 2048, 2048]);
}

/// What 64 invocations a workgroup, the least that a device may have, can still measure.
#[test]
fn a_roofline_needs_no_more_than_the_kernels_do() {
    let least = |limits: &mut wgpu::Limits| {
        limits.max_compute_invocations_per_workgroup = 64;
        limits.max_compute_workgroup_size_x = 64;
    };
    let Some((device, queue)) = foreign_device(least) else { return };
    let context = Context::from_wgpu(device, queue).unwrap();
    let roofline = Roofline::measure_blocking(&context).unwrap();
    assert!(roofline.bytes_per_second > 1e6 && roofline.operations_per_second > 1e6, "{roofline:?}");
}
