//! Every kernel, forced onto every layer: right where it supports it, a refusal where it does not.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{
    ACTIVATIONS, Case, check, check_all, check_kernel, check_pool, check_separable, check_separable_as_planned,
    check_separable_in_turn, check_variants, context,
};
use sepconv::{
    Activation, AveragePool2d, Choice, Conv2d, Error, MaxPool2d, Padding, PaddingMode, Residual, SeparableConv2d,
    kernels,
};

const PADDING_MODES: [PaddingMode; 4] =
    [PaddingMode::Zeros, PaddingMode::Reflect, PaddingMode::Replicate, PaddingMode::Circular];

/// A depthwise layer: every channel has `multiplier` filters of its own.
fn depthwise(channels: u32, multiplier: u32, kernel_size: impl Into<sepconv::Size>) -> Conv2d {
    Conv2d::new(channels, channels * multiplier, kernel_size).groups(channels)
}

#[test]
fn the_starting_example() {
    let Some(context) = context() else { return };
    let shape = [1, 3, 64, 64];
    check(context, &Conv2d::new(3, 4, 3).padding(1), shape, 1);
    check_separable(context, &SeparableConv2d::new(3, 4, 3).padding(1), shape, 2);
}

/// The sizes along one axis at which a kernel's grid or constants change, each with both neighbours; and a prime.
fn sizes_around_tiles(kernel: &kernels::Kernel, case: impl Fn(u32) -> Case) -> Vec<u32> {
    const FURTHEST: u32 = 300;
    let edges = if common::sweeps_whole() { 3 } else { 1 };
    let variants = |size: u32| {
        let (layer, shape) = case(size);
        let geometry = layer.geometry(shape).unwrap();
        common::targets().map(|target| {
            let supports = kernel.supports(&geometry.into(), &target).is_ok();
            supports.then(|| kernel.variants(&geometry.into(), &target))
        })
    };
    let places = (2..FURTHEST).filter(|&size| variants(size) != variants(size + 1)).take(edges);
    let mut sizes: Vec<u32> = places.flat_map(|size| [size - 1, size, size + 1]).chain([37]).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

#[test]
fn sizes_around_every_tile() {
    let Some(context) = context() else { return };
    let layers: [fn(u32) -> Conv2d; 6] = [
        |_| Conv2d::new(2, 5, 3).padding(1),
        |_| depthwise(2, 2, 3).padding(1),
        |_| depthwise(2, 1, 3).padding([1, 2]).stride([3, 2]),
        |_| Conv2d::new(3, 5, 1),
        |_| Conv2d::new(2, 5, 1),
        |_| Conv2d::new(4, 6, 1).groups(2).stride(2),
    ];
    let cases = |layer: fn(u32) -> Conv2d, axis: usize| {
        move |size| {
            let layer = layer(size);
            let geometry = layer.geometry([2, 2, 5, 5]).or_else(|_| layer.geometry([2, 3, 5, 5]));
            let channels = geometry.or_else(|_| layer.geometry([2, 4, 5, 5])).unwrap().in_channels;
            let mut shape = [2, channels, 5, 5];
            shape[axis] = size;
            (layer, shape)
        }
    };
    for (index, kernel) in kernels::ALL.iter().enumerate() {
        let check = |case: &dyn Fn(u32) -> Case| {
            check_kernel(context, kernel.name, sizes_around_tiles(kernel, case).into_iter().map(case));
        };
        // One along each axis in turn, unless the sweep is to be whole.
        let is_taken = |turn: usize| (turn + index).is_multiple_of(common::every(layers.len()));
        for (turn, layer) in layers.into_iter().enumerate() {
            if is_taken(turn) {
                check(&cases(layer, 2));
            }
            if is_taken(turn + 3) {
                check(&cases(layer, 3));
            }
        }
        let by_channels: [fn(u32) -> Case; 3] = [
            |size| (Conv2d::new(2, size, 3).padding(1), [2, 2, 5, 4]),
            |size| (Conv2d::new(2, 2 * size, 1).groups(2), [2, 2, 5, 4]),
            |size| (depthwise(size, 1, 3).padding(1), [2, size, 5, 4]),
        ];
        for case in by_channels.into_iter().skip(index % common::every(3)).step_by(common::every(3)) {
            check(&case);
        }
    }
}

#[test]
fn channels_one_to_nine_and_past_vector_edges() {
    let Some(context) = context() else { return };
    let few = (1..=9).flat_map(|inputs| (1..=9).map(move |outputs| (inputs, outputs)));
    let many = [(15, 17), (16, 16), (17, 15), (31, 33), (32, 3), (33, 31), (63, 2), (64, 4), (65, 5), (3, 64), (2, 65)];
    check_all(
        context,
        few.chain(many).flat_map(|(inputs, outputs)| {
            [
                (Conv2d::new(inputs, outputs, 3).padding(1), [1, inputs, 4, 5]),
                (Conv2d::new(inputs, outputs, 1), [2, inputs, 4, 5]),
            ]
        }),
    );
}

/// Odd and even channels, pixels and images: what comes in pairs and what does not.
#[test]
fn pairs_of_channels_and_of_pixels() {
    let Some(context) = context() else { return };
    let planes = [[1, 1], [1, 2], [3, 3], [2, 4], [3, 5], [4, 4], [7, 7], [9, 17], [13, 10]];
    let layers = [(2, 4, 1), (4, 4, 2), (6, 9, 1), (10, 68, 1), (12, 24, 3), (16, 130, 2), (18, 12, 2), (64, 65, 1)];
    check_all(
        context,
        planes.into_iter().step_by(common::every(3)).flat_map(|[height, width]| {
            layers.into_iter().flat_map(move |(inputs, outputs, groups)| {
                let layer = Conv2d::new(inputs, outputs, 1).groups(groups).residual(groups == 2);
                [1, 3].map(|batch| (layer, [batch, inputs, height, width]))
            })
        }),
    );
}

/// Layers whose input is multiplied channel by channel, by each kernel that can: fours of pixels of two images, groups, sums
/// that are split, filters that reach into padding.
#[test]
fn the_input_may_be_scaled() {
    let Some(context) = context() else { return };
    let pixels = |inputs, outputs| Conv2d::new(inputs, outputs, 1).input_scale(true);
    let wide = |kernel_size: u32| Conv2d::new(6, 9, kernel_size).groups(3).input_scale(true);
    let cases = [
        (pixels(6, 9), [3, 6, 4, 5]),
        (pixels(16, 20).groups(2).residual(true).activation(Activation::HardSwish), [2, 16, 6, 6]),
        (pixels(64, 65), [2, 64, 7, 7]),
        (pixels(18, 12).stride(2), [2, 18, 5, 7]),
        (pixels(256, 8), [3, 256, 3, 4]),
        (wide(3).padding(1).residual(true), [2, 6, 5, 6]),
        (wide(2).padding([1, 2]).stride(2).padding_mode(PaddingMode::Reflect), [2, 6, 7, 6]),
        (Conv2d::new(6, 6, 3).groups(6).padding(1).input_scale(true), [2, 6, 5, 8]),
    ];
    for ((layer, shape), seed) in cases.into_iter().zip(1..) {
        common::check(context, &layer, shape, seed);
    }
    // Zero padding stays zero whatever it is multiplied by.
    let (layer, shape) = (wide(3).padding(1).bias(false), [1, 6, 5, 6]);
    let geometry = layer.geometry(shape).unwrap();
    let data = common::Data::new(&geometry, |count| vec![1.0; count]);
    let data = common::Data { input_scale: Some(vec![f32::INFINITY; 6]), ..data };
    for kernel in kernels::supporting(&geometry.into(), context.target()) {
        for plan in common::plans(context, &layer, shape, kernel.name).unwrap() {
            for actual in data.run(context, &plan) {
                assert!(actual.iter().all(|&value| value == f32::INFINITY), "{}: {actual:?}", kernel.name);
            }
        }
    }
}

/// Every tile of the kernels that multiply from workgroup memory: fours of pixels and of channels and some more, groups of
/// few channels, and sums that end within what is fetched at once.
#[test]
fn every_tile_of_pixels_and_channels() {
    let Some(context) = context() else { return };
    let per_group = [(5, 4, 9), (40, 7, 3), (3, 12, 2), (18, 16, 2), (33, 130, 1)];
    let cases = per_group.into_iter().flat_map(|(inputs, outputs, groups)| {
        let channels = groups * inputs;
        let layer = |kernel_size: u32| Conv2d::new(channels, groups * outputs, kernel_size).groups(groups);
        [
            (layer(1).residual(true), [3, channels, 6, 10]),
            (layer(1).activation(Activation::Relu6), [1, channels, 2, 2]),
            (layer(3).padding(1).residual(true), [2, channels, 7, 9]),
            (layer(3).padding([2, 1]).stride(2).padding_mode(PaddingMode::Reflect), [2, channels, 9, 8]),
        ]
    });
    let context = context.with_software(false);
    let mut ran = BTreeMap::new();
    for (index, (layer, shape)) in cases.enumerate() {
        let geometry = layer.geometry(shape).unwrap();
        let choices = Choice::all(&geometry.into(), context.target());
        let tiled = choices.into_iter().filter(|(choice, _)| choice.kernel.name.starts_with("tiled"));
        for (turn, (choice, variant)) in tiled.enumerate() {
            let constant = |name| variant.constants.iter().find(|(other, _)| *other == name).unwrap().1;
            let tile = ["PIXEL_TILES", "CHANNEL_TILES", "PIXEL_FOURS", "CHANNEL_TILE", "SPLIT"].map(constant);
            let times = ran.entry((choice.kernel.name, tile)).or_insert(0);
            // Each tile of each kernel once, and then in turn, unless the sweep is to be whole.
            if *times == 0 || (turn + index).is_multiple_of(common::every(96)) {
                *times += 1;
                let plan = layer.plan_with_choice(&context, shape, choice).unwrap();
                common::check_plan(&context, &geometry, &plan, index as u64);
            }
        }
    }
    assert_eq!(ran.len(), 2 * 7, "two kernels of seven tiles: {ran:?}");
}

/// Sums in 2, 4, 8 and 16 parts: of groups, of several images, of planes that are fours of pixels and of others, of windows,
/// and with all that follows a sum. The parts are f32 whatever tensors hold.
#[test]
fn sums_split_over_workgroups() {
    let Some(context) = context() else { return };
    let context = context.with_software(false);
    let cases = [
        (Conv2d::new(1024, 20, 1).residual(true).activation(Activation::Silu), [2, 1024, 3, 4]),
        (Conv2d::new(528, 13, 1).bias(false), [1, 528, 7, 7]),
        (Conv2d::new(96, 24, 3).groups(3).padding(1).activation(Activation::Relu), [2, 96, 5, 6]),
        (Conv2d::new(32, 9, 3).padding(1).stride(2).padding_mode(PaddingMode::Reflect), [1, 32, 9, 8]),
    ];
    let kernel = kernels::by_name("split_sums").unwrap();
    let mut parts_seen = BTreeSet::new();
    let contexts = [Some(context.clone()), common::half(&context).filter(|_| common::sweeps_whole())];
    let runs = contexts.iter().flatten().flat_map(|context| cases.into_iter().zip(1..).map(move |run| (context, run)));
    for (context, ((layer, shape), seed)) in runs {
        let geometry = layer.geometry(shape).unwrap();
        for (index, variant) in kernel.variants(&geometry.into(), context.target()).into_iter().enumerate() {
            let parts = variant.constants.iter().find(|(name, _)| *name == "PARTS").unwrap().1;
            parts_seen.insert(parts);
            let plan = layer.plan_with_choice(context, shape, Choice::new(kernel, index)).unwrap();
            assert_eq!(plan.program().steps.last().unwrap().shader.name, "split_sums");
            let parts_of_sums = u64::from(parts) * common::count(geometry.output_shape()) as u64;
            assert_eq!(plan.workspace_bytes(), 4 * parts_of_sums);
            common::check_plan(context, &geometry, &plan, seed);
        }
    }
    assert_eq!(parts_seen, [2, 4, 8, 16].into());
    let odd = Conv2d::new(45, 20, 1).geometry([1, 45, 4, 4]).unwrap();
    assert!(kernel.supports(&odd.into(), context.target()).unwrap_err().contains("even number of input channels"));
}

#[test]
fn uneven_channels_per_group() {
    let Some(context) = context() else { return };
    let per_group = [(1, 3), (3, 1), (2, 5), (5, 2), (4, 7), (7, 9), (8, 8), (9, 17)];
    check_all(
        context,
        [2, 3, 5].into_iter().flat_map(|groups| {
            per_group.into_iter().flat_map(move |(inputs, outputs)| {
                [1, 3].map(|kernel_size| {
                    let layer = Conv2d::new(groups * inputs, groups * outputs, kernel_size).groups(groups);
                    (layer.padding(kernel_size / 2), [2, groups * inputs, 5, 6])
                })
            })
        }),
    );
}

#[test]
fn depth_multipliers() {
    let Some(context) = context() else { return };
    let channels = [1, 2, 3, 4, 5, 8, 9];
    check_all(
        context,
        (1..=4).flat_map(|multiplier| {
            channels.map(|channels| (depthwise(channels, multiplier, 3).padding(1), [2, channels, 9, 7]))
        }),
    );
}

/// Rows that are whole fours and rows that are not, at every side of a plane; windows that start anywhere in a four.
#[test]
fn depthwise_rows() {
    let Some(context) = context() else { return };
    let mut cases = Vec::new();
    for kernel_size in [1, 2, 3, 5, 7] {
        for padding in [Padding::Same, Padding::SameLower] {
            for (stride, dilation) in [(1, 1), (2, 1), (1, 2), (2, 2)] {
                let layer = depthwise(2, 1, kernel_size).padding(padding).stride(stride).dilation(dilation);
                cases.extend(
                    [[7, 8], [19, 16], [5, 4], [7, 7], [14, 14]].map(|[height, width]| (layer, [2, 2, height, width])),
                );
            }
        }
    }
    // The first column's window starts in each place of a four, and fours lie outside of the input at either side.
    for left in 0..=9 {
        let right = (10_u32 - left) % 4;
        cases.push((depthwise(2, 2, [3, 3]).padding([1, left, 1, right]), [1, 2, 6, 8]));
        cases.push((depthwise(2, 1, [3, 5]).padding([0, left, 2, right + 2]).stride([3, 1]), [1, 2, 9, 12]));
        cases.push((
            depthwise(1, 3, [4, 3]).padding([2, left, 1, right]).dilation([2, 1]).stride([3, 1]),
            [2, 1, 11, 8],
        ));
    }
    for activation in ACTIVATIONS {
        let layer = depthwise(3, 2, 3).padding(1).activation(activation);
        cases.push((layer.residual(true), [2, 3, 5, 8]));
        cases.push((layer.bias(false), [2, 3, 5, 8]));
    }
    let last = depthwise(3, 2, 3).padding(1).activation(Activation::Relu6).residual(Residual::AfterActivation);
    cases.push((last, [2, 3, 5, 8]));
    // A row of outputs that sees no row of the input, a stride past the window, more rows than a tile has.
    cases.push((depthwise(2, 1, 3).padding([5, 1, 4, 1]), [1, 2, 3, 8]));
    cases.push((depthwise(2, 1, 2).stride([5, 4]).padding([1, 2, 0, 2]), [1, 2, 23, 16]));
    cases.push((depthwise(70, 1, 3).padding(1), [1, 70, 41, 8]));
    let taken = |kernel: &kernels::Kernel| {
        let supports = |(layer, shape): &Case| {
            layer.geometry(*shape).is_ok_and(|g| kernel.supports(&g.into(), context.target()).is_ok())
        };
        cases.iter().filter(|case| supports(case)).count()
    };
    // Every third of them if the sweep is to be whole, else fewer: each takes a driver in software a second or two.
    let step = 3 * common::every(16);
    for (turn, kernel) in ["depthwise_fours", "depthwise_columns"].into_iter().enumerate() {
        check_kernel(context, kernel, cases.iter().copied().skip(turn).step_by(step));
    }
    assert!(taken(kernels::by_name("depthwise_fours").unwrap()) > 80);
}

#[test]
fn named_padding_by_stride_dilation_and_parity() {
    let Some(context) = context() else { return };
    let mut cases = Vec::new();
    for padding in [Padding::Same, Padding::SameLower, Padding::Valid] {
        for stride in 1..=3 {
            for dilation in 1..=2 {
                for kernel_size in 1..=4 {
                    for [height, width] in [[8, 11], [9, 10], [10, 9], [7, 8]] {
                        for layer in [Conv2d::new(2, 5, kernel_size), depthwise(2, 1, kernel_size)] {
                            let layer = layer.padding(padding).stride(stride).dilation(dilation);
                            let shape = [1, 2, height, width];
                            let output = layer.geometry(shape).unwrap().output;
                            if padding != Padding::Valid {
                                let expected = [height.div_ceil(stride), width.div_ceil(stride)];
                                assert_eq!(output, expected.into(), "{layer:?} on {shape:?}");
                            }
                            cases.push((layer, shape));
                        }
                    }
                }
            }
        }
    }
    check_all(context, cases);
}

#[test]
fn groups_by_bias_by_residual_by_activation() {
    let Some(context) = context() else { return };
    let mut cases = Vec::new();
    for groups in [1, 2, 6] {
        for kernel_size in [1, 3] {
            for bias in [false, true] {
                for residual in [Residual::None, Residual::BeforeActivation, Residual::AfterActivation] {
                    for activation in ACTIVATIONS {
                        let layer = Conv2d::new(6, 12, kernel_size).groups(groups).padding(kernel_size / 2);
                        let layer = layer.bias(bias).residual(residual).activation(activation);
                        cases.push((layer, [2, 6, 5, 6]));
                    }
                }
            }
        }
    }
    // Behind some functions there is no residual. A bias is no matter to one that is behind.
    cases.retain(|(layer, shape)| {
        layer.geometry(*shape).is_ok() && (layer.bias || layer.residual != Residual::AfterActivation)
    });
    check_all(context, cases);
}

/// Kernel sizes of every kind: even, odd, flat, tall, large.
const KERNEL_SIZES: [[u32; 2]; 13] =
    [[1, 1], [2, 2], [3, 3], [4, 4], [5, 5], [7, 7], [11, 11], [1, 2], [1, 7], [7, 1], [2, 5], [5, 2], [4, 1]];

#[test]
fn kernel_sizes() {
    let Some(context) = context() else { return };
    check_all(
        context,
        KERNEL_SIZES.into_iter().flat_map(|[height, width]| {
            [
                (Conv2d::new(3, 5, [height, width]).padding([height / 2, width / 2]), [1, 3, 13, 12]),
                (Conv2d::new(2, 5, [height, width]), [2, 2, 11, 14]),
                (depthwise(3, 2, [height, width]).padding([height / 2, width / 2]), [1, 3, 13, 12]),
                (depthwise(2, 1, [height, width]).stride([2, 1]).padding([height - 1, width - 1]), [2, 2, 11, 14]),
            ]
        }),
    );
}

#[test]
fn padding_modes_by_kernel_size() {
    let Some(context) = context() else { return };
    let [height, width] = [6, 7];
    let mut cases = Vec::new();
    for mode in PADDING_MODES {
        let most = match mode {
            PaddingMode::Reflect => [height - 1, width - 1],
            PaddingMode::Circular => [height, width],
            _ => [height + 3, width + 4],
        };
        for [kernel_height, kernel_width] in KERNEL_SIZES {
            let moderate = [(kernel_height / 2).min(most[0]), (kernel_width / 2).min(most[1])];
            let [top, left] = [kernel_height.min(most[0]), (kernel_width / 3).min(most[1])];
            let uneven = [top, left, (kernel_height - 1).min(most[0]), kernel_width.min(most[1])];
            for layer in
                [Conv2d::new(2, 5, [kernel_height, kernel_width]), depthwise(2, 1, [kernel_height, kernel_width])]
            {
                let layer = layer.padding_mode(mode);
                for padding in [Padding::from(moderate), uneven.into(), most.into()] {
                    cases.push((layer.padding(padding), [2, 2, height, width]));
                }
            }
        }
        for layer in [Conv2d::new(2, 5, 3), depthwise(2, 1, 3)] {
            cases.push((layer.padding_mode(mode).padding(Padding::Same).dilation(2), [1, 2, height, width]));
            cases.push((layer.padding_mode(mode).padding(Padding::SameLower).stride(2), [1, 2, height, width]));
            cases.push((layer.padding_mode(mode).padding(most).stride([2, 3]), [1, 2, height, width]));
        }
    }
    check_all(context, cases.into_iter().filter(|(layer, shape)| layer.geometry(*shape).is_ok()));
}

/// Layers at the edge of what there is, and layers that differ along the two axes in everything.
fn edges() -> Vec<Case> {
    vec![
        // One pixel in.
        (Conv2d::new(3, 5, 1), [1, 3, 1, 1]),
        (Conv2d::new(3, 5, 3).padding(1), [1, 3, 1, 1]),
        (depthwise(3, 2, 3).padding(1), [3, 3, 1, 1]),
        (depthwise(3, 1, 3).padding(1).padding_mode(PaddingMode::Replicate), [1, 3, 1, 1]),
        (Conv2d::new(1, 1, 3).padding(1).padding_mode(PaddingMode::Circular), [1, 1, 1, 1]),
        // One row, one column.
        (Conv2d::new(2, 5, 3).padding([1, 0]), [2, 2, 1, 9]),
        (depthwise(2, 1, 3).padding([0, 1]), [2, 2, 9, 1]),
        // One pixel out.
        (Conv2d::new(2, 5, [5, 6]), [2, 2, 5, 6]),
        (depthwise(2, 3, [5, 6]), [2, 2, 5, 6]),
        // Outputs that see nothing but padding.
        (Conv2d::new(2, 5, 3).padding(3), [2, 2, 4, 5]),
        (Conv2d::new(2, 5, 2).padding([5, 2, 3, 4]), [1, 2, 3, 2]),
        (depthwise(2, 2, 3).padding([4, 3, 5, 6]), [2, 2, 4, 5]),
        (Conv2d::new(3, 2, 1).padding(1), [1, 3, 4, 4]),
        (depthwise(3, 1, 1).padding(2).activation(Activation::Silu), [1, 3, 4, 4]),
        // A stride past the kernel, past the input.
        (Conv2d::new(2, 5, 2).stride(3), [1, 2, 11, 10]),
        (depthwise(2, 1, 2).stride([3, 4]), [1, 2, 11, 13]),
        (Conv2d::new(3, 4, 1).stride([3, 2]), [2, 3, 10, 9]),
        (Conv2d::new(3, 4, 1).stride(50), [2, 3, 10, 9]),
        (depthwise(3, 2, 3).stride(50).padding(1), [2, 3, 10, 9]),
        // Taps far apart, some or all of them in the padding.
        (Conv2d::new(2, 5, 3).dilation([3, 2]), [1, 2, 12, 11]),
        (depthwise(2, 2, 3).dilation([2, 3]).padding([2, 3]), [1, 2, 12, 11]),
        (depthwise(2, 1, 3).dilation(20).padding(20), [1, 2, 5, 6]),
        (Conv2d::new(2, 2, 3).dilation(9).padding(9), [1, 2, 4, 4]),
        // Every parameter unlike its neighbour.
        (
            Conv2d::new(6, 9, [3, 2]).stride([2, 1]).padding([1, 0, 2, 3]).dilation([1, 3]).groups(3).residual(true),
            [2, 6, 9, 12],
        ),
        (
            Conv2d::new(4, 10, [2, 5])
                .stride([1, 3])
                .padding([0, 3, 1, 2])
                .dilation([4, 1])
                .groups(2)
                .padding_mode(PaddingMode::Reflect)
                .activation(Activation::LeakyRelu(-0.3)),
            [3, 4, 11, 8],
        ),
        (
            depthwise(5, 3, [4, 3])
                .stride([3, 2])
                .padding([2, 1, 0, 4])
                .dilation([2, 3])
                .padding_mode(PaddingMode::Circular)
                .residual(true)
                .activation(Activation::Relu6),
            [3, 5, 17, 14],
        ),
        (
            depthwise(3, 2, [2, 7])
                .stride([1, 2])
                .padding([7, 2, 4, 0])
                .dilation([3, 1])
                .padding_mode(PaddingMode::Replicate)
                .bias(false)
                .activation(Activation::Clamp(-0.5, 0.25)),
            [2, 3, 6, 13],
        ),
        (Conv2d::new(10, 14, 1).stride([2, 3]).groups(2).residual(true).activation(Activation::Relu), [3, 10, 7, 11]),
        // Limits that are no limits.
        (Conv2d::new(2, 2, 1).activation(Activation::Clamp(f32::NEG_INFINITY, 0.0)), [1, 2, 3, 3]),
        (Conv2d::new(2, 2, 1).activation(Activation::Clamp(0.5, 0.5)), [1, 2, 3, 3]),
    ]
}

#[test]
fn edges_and_asymmetry() {
    let Some(context) = context() else { return };
    check_all(context, edges());
}

/// The tuner may take any of them.
#[test]
fn every_variant() {
    let Some(context) = context() else { return };
    let wide = [
        (Conv2d::new(40, 70, 3).padding(1), [2, 40, 9, 10]),
        (Conv2d::new(70, 140, 1), [3, 70, 5, 7]),
        (Conv2d::new(70, 76, 1).input_scale(true), [3, 70, 4, 7]),
        (Conv2d::new(24, 20, 3).padding(1).input_scale(true), [2, 24, 4, 7]),
        (depthwise(5, 2, 3).padding(1), [2, 5, 33, 19]),
    ];
    check_variants(context, edges().into_iter().chain(wide));
}

#[test]
fn with_runtime_checks_too() {
    let Some(context) = context() else { return };
    let context = context.with_runtime_checks(true);
    let modes = PADDING_MODES.into_iter().flat_map(|mode| {
        [Conv2d::new(3, 5, 3), depthwise(3, 1, 3)].map(|layer| (layer.padding(1).padding_mode(mode), [2, 3, 18, 35]))
    });
    // Every third of them, unless the sweep is to be whole.
    let activations = ACTIVATIONS.into_iter().step_by(common::every(3));
    let activations =
        activations.map(|activation| (Conv2d::new(3, 9, 1).activation(activation).residual(true), [2, 3, 17, 16]));
    // Without them all edges are checked.
    check_all(&context, edges().into_iter().step_by(3).chain(modes).chain(activations));
}

#[test]
fn many_channels() {
    let Some(context) = context() else { return };
    check_all(
        context,
        [
            (Conv2d::new(96, 64, 3).padding(1), [1, 96, 8, 9]),
            (Conv2d::new(512, 130, 1), [1, 512, 7, 7]),
            (Conv2d::new(1030, 3, 1), [1, 1030, 2, 3]),
            (Conv2d::new(128, 192, 1).groups(4).activation(Activation::Relu), [2, 128, 9, 9]),
            (depthwise(257, 2, 3).padding(1), [1, 257, 9, 10]),
            (Conv2d::new(160, 320, 3).groups(32).padding(1).stride(2), [1, 160, 9, 8]),
        ],
    );
}

/// Tiles of 2 x 2 outputs and of 4 x 4, cut at every side; each padding mode, activation, group and batch; and a layer that it
/// suits.
#[test]
fn winograd() {
    let Some(context) = context() else { return };
    let layer = |inputs, outputs| Conv2d::new(inputs, outputs, 3).padding(1);
    let mut cases = vec![
        (layer(16, 16), [1, 16, 1, 1]),
        (layer(16, 17).padding(0), [1, 16, 3, 3]),
        (layer(17, 16).padding([0, 1, 2, 3]), [2, 17, 5, 8]),
        (layer(16, 20).padding(4), [1, 16, 2, 3]),
        (layer(33, 65).bias(false), [3, 33, 6, 7]),
        (layer(48, 60).groups(3).residual(true), [2, 48, 7, 6]),
        (layer(130, 130).activation(Activation::Relu), [1, 130, 13, 14]),
    ];
    for mode in PADDING_MODES {
        for [height, width] in [[4, 5], [5, 4]] {
            cases.push((layer(16, 16).padding_mode(mode), [1, 16, height, width]));
            cases.push((layer(16, 16).padding_mode(mode).padding([3, 2, 1, 3]), [1, 16, height, width]));
        }
    }
    // One of the two each, unless the sweep is to be whole.
    for (index, activation) in ACTIVATIONS.into_iter().enumerate() {
        if index % 2 == 0 || common::sweeps_whole() {
            cases.push((layer(16, 32).groups(2).activation(activation).residual(true), [1, 16, 5, 5]));
        }
        if index % 2 == 1 || common::sweeps_whole() {
            cases.push((layer(20, 18).activation(activation), [2, 20, 3, 6]));
        }
    }
    let checked = if common::sweeps_whole() { 7 } else { 3 };
    check_kernel(&context.with_runtime_checks(true), "winograd", cases[..checked].iter().copied());
    check_kernel(context, "winograd", cases.iter().copied().step_by(common::every(8)));
    check_kernel(context, "winograd_4x4", cases.into_iter().skip(2).step_by(common::every(16)));
}

/// The tiles overlap, but the transforms cancel nothing: a value counts for no output but those whose window it is in.
#[test]
fn winograd_keeps_what_is_not_finite_to_its_windows() {
    let Some(context) = context() else { return };
    let (layer, shape) = (Conv2d::new(16, 16, 3).padding(1), [1, 16, 10, 10]);
    let plan = layer.plan_with_kernel(context, shape, "winograd").unwrap();
    for (place, value) in [(44, f32::INFINITY), (45, f32::NAN), (54, f32::NEG_INFINITY), (155, f32::NAN)] {
        let mut data = common::Data::random(&layer.geometry(shape).unwrap(), 1);
        data.input[place] = value;
        let expected = data.reference();
        for actual in data.run(context, &plan) {
            let differing = actual.iter().zip(&expected.values).position(|(a, b)| a.is_finite() != b.is_finite());
            assert_eq!(differing, None, "{value} at {place}");
        }
    }
}

/// Where most of a filter is zero it cannot keep to the size of the products; to that of the values and weights it must.
#[test]
fn winograd_errs_by_the_values_and_weights_of_a_window() {
    let Some(context) = context() else { return };
    for (channels, tap) in [(16, 3), (32, 4), (128, 0)] {
        let shape = [1, channels, 10, 11];
        let layer = Conv2d::new(channels, 17, 3).padding(1);
        let plan = layer.plan_with_kernel(context, shape, "winograd").unwrap();
        let geometry = layer.geometry(shape).unwrap();
        let mut data = common::Data::random(&geometry, tap as u64);
        data.input.iter_mut().step_by(2).for_each(|value| *value *= 1e-4);
        for filter in data.weight.chunks_mut(9) {
            let only = filter[tap];
            filter.fill(0.0);
            filter[tap] = only;
        }
        let mut expected = data.reference();
        // As if each value of a window were multiplied by all of the filter.
        let sums = data.weight.chunks(9).flat_map(|filter| [filter.iter().map(|weight| weight.abs()).sum::<f32>(); 9]);
        let (input, bias) = (data.input.clone(), data.bias.clone());
        let whole = common::Data { geometry, weight: sums.collect(), input, bias, residual: None, input_scale: None };
        expected.magnitudes = whole.reference().magnitudes;
        for actual in data.run(context, &plan) {
            common::assert_close(&expected, geometry.activation, geometry.terms(), &actual, "a filter of one tap");
        }
    }
}

/// What a fast path does not support it must not be given: [`check`] asserts it for each case above, this one that the
/// cases reach every limit of every kernel.
#[test]
fn every_kernel_but_the_last_refuses_something_and_takes_something() {
    let layers = [
        (Conv2d::new(3, 4, 3), [1, 3, 9, 9]),
        (Conv2d::new(3, 4, 1), [1, 3, 9, 9]),
        (Conv2d::new(4, 4, 1), [1, 4, 9, 9]),
        (Conv2d::new(4, 4, 1), [1, 4, 8, 9]),
        (Conv2d::new(4, 4, 1).padding(1), [1, 4, 9, 9]),
        (Conv2d::new(4, 4, 1).stride(2), [1, 4, 9, 9]),
        (depthwise(3, 2, 3), [1, 3, 9, 9]),
        (depthwise(3, 2, 3).padding(1), [1, 3, 9, 8]),
        (depthwise(1, 1, [1, 62]), [1, 1, 3, 80]),
        (depthwise(1, 1, [1, 61]), [1, 1, 3, 80]),
        (depthwise(1, 1, [65, 1]), [1, 1, 80, 3]),
        (depthwise(1, 1, [2, 2]).dilation(64), [1, 1, 70, 70]),
        (depthwise(1, 1, [2, 2]).stride([1, 30]), [1, 1, 9, 70]),
        (Conv2d::new(16, 16, 3), [1, 16, 4, 4]),
    ];
    let [.., target] = common::targets();
    let refusals = |kernel: &kernels::Kernel| {
        let geometry = |(layer, shape): Case| layer.geometry(shape).unwrap();
        layers.into_iter().filter(|&case| kernel.supports(&geometry(case).into(), &target).is_err()).count()
    };
    let one_convolution = Conv2d::new(1, 1, 1).geometry([1; 4]).unwrap().into();
    let (mut fast, mut last) = (0, Vec::new());
    for kernel in kernels::ALL {
        // What computes layers of another kind refuses all of these.
        match refusals(kernel) {
            0 => last.push(kernel.name),
            count if count == layers.len() => assert!(kernel.supports(&one_convolution, &target).is_err()),
            _ => fast += 1,
        }
    }
    assert_eq!((last.as_slice(), fast), (&["direct"][..], 12));
    if let Some(context) = context() {
        check_all(context, layers);
    }
}

#[test]
fn a_kernel_that_is_not_there_is_refused_by_name() {
    let Some(context) = context() else { return };
    let error = Conv2d::new(1, 1, 1).plan_with_kernel(context, [1, 1, 1, 1], "Direct").unwrap_err();
    assert!(matches!(&error, Error::UnknownKernel { name, .. } if name == "Direct"), "{error}");
}

#[test]
fn separable_layers() {
    let Some(context) = context() else { return };
    let (mut seed, mut ran) = (0, 0);
    let mut check = |layer: SeparableConv2d, shape| {
        seed += 1;
        ran += check_separable_in_turn(context, &layer, shape, seed);
    };
    for multiplier in 1..=4 {
        for (depthwise_bias, pointwise_bias) in [(false, false), (false, true), (true, false), (true, true)] {
            let layer = SeparableConv2d::new(3, 5, 3).padding(1).depth_multiplier(multiplier);
            check(layer.depthwise_bias(depthwise_bias).pointwise_bias(pointwise_bias), [2, 3, 9, 10]);
        }
    }
    for between in ACTIVATIONS {
        for after in ACTIVATIONS {
            let layer = SeparableConv2d::new(3, 5, 3).padding(1).depthwise_activation(between).activation(after);
            check(layer, [1, 3, 5, 6]);
            check(layer.residual(true), [1, 3, 5, 6]);
        }
    }
    for mode in PADDING_MODES {
        check(SeparableConv2d::new(3, 4, [5, 4]).padding([2, 3, 1, 4]).padding_mode(mode).stride([2, 1]), [2, 3, 9, 8]);
    }
    for padding in [Padding::Same, Padding::SameLower, Padding::Valid] {
        check(SeparableConv2d::new(4, 6, [3, 2]).padding(padding).stride([2, 3]).dilation([2, 1]), [2, 4, 10, 11]);
    }
    let last = SeparableConv2d::new(3, 5, 3).padding(1).activation(Activation::HardSwish);
    check(last.residual(Residual::AfterActivation), [2, 3, 6, 8]);
    check(SeparableConv2d::new(1, 1, 1), [1, 1, 1, 1]);
    check(SeparableConv2d::new(2, 3, [70, 1]).depth_multiplier(2), [1, 2, 75, 3]);
    check(SeparableConv2d::new(64, 128, 3).padding(1).stride(2).activation(Activation::Relu6), [1, 64, 14, 14]);
    assert!(ran > 5, "only {ran} ways of {seed} layers ran");
}

/// One dispatch for a small layer in software; two for a large one. What a GPU gets, tests/choices.rs says.
#[test]
fn where_the_planner_fuses() {
    let Some(context) = context() else { return };
    let kernel = |software, layer: SeparableConv2d, shape| {
        layer.plan(&context.with_software(software), shape).unwrap().kernel().to_owned()
    };
    let large = (SeparableConv2d::new(8, 12, 3).padding(1), [1, 8, 70, 70]);
    check_separable_as_planned(&context.with_software(false), &large.0, large.1, 7);

    let small = (SeparableConv2d::new(64, 24, 3).padding(1), [1, 64, 14, 14]);
    let has_subgroups = context.target().subgroup_size == Some(8);
    for (layer, shape) in [small, (SeparableConv2d::new(3, 4, 3).padding(1), [1, 3, 64, 64])] {
        assert_eq!(kernel(true, layer, shape) == "subgroup_separable", has_subgroups, "{layer:?}");
    }
    check_separable_as_planned(context, &small.0, small.1, 8);
    assert_ne!(kernel(true, large.0, large.1), "separable");
}

/// A driver may leave a loop after 65,535 rounds without a word.
#[test]
fn sums_too_long_for_one_invocation() {
    let Some(context) = common::context() else { return };
    // A GPU may split sums sooner, over workgroups.
    let in_software = context.with_software(true);
    let layers = [
        (Conv2d::new(1 << 14, 8, 1), [1, 1 << 14, 1, 1], 1),
        (Conv2d::new(66_000, 8, 1), [1, 66_000, 1, 2], 5),
        // Cut at an odd channel.
        (Conv2d::new(16_386, 8, 1), [1, 16_386, 1, 2], 2),
        (Conv2d::new(66_000, 3, 1).residual(true).activation(Activation::Relu), [1, 66_000, 1, 1], 5),
        (Conv2d::new(1450, 8, 7), [1, 1450, 7, 8], 5),
        (Conv2d::new(2, 4, 128), [1, 2, 129, 128], 2),
        (Conv2d::new(40_000, 8, 1).groups(2).bias(false), [2, 40_000, 1, 1], 2),
    ];
    for (layer, shape, parts) in layers {
        assert_eq!(layer.plan(&in_software, shape).unwrap().program().parts, parts, "{layer:?}");
    }
    check_all(context, layers.map(|(layer, shape, _)| (layer, shape)));
}

#[test]
fn max_pools() {
    let Some(context) = context() else { return };
    let cases = [
        (MaxPool2d::new(2), [1, 3, 8, 10]),
        (MaxPool2d::new(2), [2, 5, 7, 9]),
        (MaxPool2d::new(3).stride(2).padding(1), [2, 4, 13, 14]),
        (MaxPool2d::new([1, 4]).stride([1, 3]).padding([0, 2]), [1, 2, 5, 17]),
        (MaxPool2d::new(3).stride(1).padding(Padding::Same).dilation(2), [1, 3, 9, 8]),
        (MaxPool2d::new(2).stride(3).padding(Padding::SameLower), [3, 1, 10, 11]),
        (MaxPool2d::new([4, 2]).padding([3, 0, 1, 1]).dilation([1, 3]), [1, 2, 6, 12]),
        // Windows that see nothing but padding.
        (MaxPool2d::new(2).padding(4), [1, 2, 3, 3]),
        (MaxPool2d::new(1), [1, 1, 1, 1]),
        (MaxPool2d::new(13).stride(1).padding(6), [1, 16, 13, 13]),
        (MaxPool2d::new(3).stride(2).padding(1).ceil_mode(true), [2, 3, 12, 14]),
        (MaxPool2d::new(2).stride(3).ceil_mode(true), [1, 3, 6, 7]),
    ];
    for ((layer, shape), seed) in cases.into_iter().zip(1..) {
        let geometry = layer.geometry(shape).unwrap();
        check_pool(context, geometry, seed);
        check_pool(&context.with_runtime_checks(true), geometry, seed);
    }
}

#[test]
fn average_pools() {
    let Some(context) = context() else { return };
    let cases = [
        (AveragePool2d::new(2), [1, 3, 8, 10]),
        (AveragePool2d::new(2).ceil_mode(true), [2, 5, 7, 9]),
        (AveragePool2d::new(3).stride(2).padding(1), [2, 4, 13, 14]),
        // The last windows reach past the padding, by one place and by more.
        (AveragePool2d::new(3).stride(2).padding(1).ceil_mode(true), [2, 4, 12, 14]),
        (AveragePool2d::new([2, 5]).stride([3, 4]).ceil_mode(true), [1, 3, 7, 14]),
        (AveragePool2d::new([1, 4]).stride([1, 3]).padding([0, 2]), [1, 2, 5, 17]),
        (AveragePool2d::new(3).stride(1).padding(Padding::Same).dilation(2), [1, 3, 9, 8]),
        (AveragePool2d::new(2).stride(3).padding(Padding::SameLower).ceil_mode(true), [3, 1, 10, 11]),
        (AveragePool2d::new([4, 2]).padding([3, 0, 1, 1]).dilation([1, 3]).ceil_mode(true), [1, 2, 6, 12]),
        // Windows that see nothing but padding.
        (AveragePool2d::new(2).padding(4), [1, 2, 3, 3]),
        (AveragePool2d::new(1), [1, 1, 1, 1]),
        (AveragePool2d::new(13).stride(1).padding(6), [1, 16, 13, 13]),
        // The mean of each plane.
        (AveragePool2d::new([20, 20]), [2, 7, 20, 20]),
        (AveragePool2d::new(2), [0, 7, 20, 20]),
    ];
    for ((layer, shape), seed) in cases.into_iter().zip(1..) {
        for count_padding in [false, true] {
            let geometry = layer.count_padding(count_padding).geometry(shape).unwrap();
            check_pool(context, geometry, seed);
            check_pool(&context.with_runtime_checks(true), geometry, seed);
        }
    }
}
