//! Any layer at any binding limit: the steps of its program, computed here as their uniforms and bindings say, make what the
//! reference makes. No device: a value that is read outside of its binding, or in a row that is not bound, is an error.

mod common;

use common::{Data, Random, SeparableData, count};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;
use sepconv::unstable::{Binding, Kind, Planner, Program, Step};
use sepconv::{AveragePool2d, Choice, Conv2d, DType, Error, Layer, MaxPool2d, PaddingMode, SeparableConv2d, kernels};

/// The words of `extent` in shaders/shared/extent.wgsl that a step's sizes are in, behind the first workgroup and the offsets.
const WORDS: [&str; 24] = [
    "batch",
    "in_channels",
    "in_height",
    "in_width",
    "out_channels",
    "out_height",
    "out_width",
    "in_channels_per_group",
    "out_channels_per_group",
    "top",
    "left",
    "first_row",
    "last_row",
    "first_in_channel",
    "last_in_channel",
    "depth_multiplier",
    "activation_low",
    "activation_high",
    "between_low",
    "between_high",
    "count_top",
    "count_left",
    "count_height",
    "count_width",
];

/// A step, and the values of the program's buffers.
struct Run<'a> {
    step: &'a Step,
    memory: &'a mut [Vec<f64>],
}

impl Run<'_> {
    fn word(&self, name: &str) -> i64 {
        let index = WORDS.iter().position(|word| *word == name).unwrap();
        self.step.uniform[10 + index].cast_signed().into()
    }

    /// A shader without a constant is one for windows of one value.
    fn constant(&self, name: &str, without: u32) -> i64 {
        let found = self.step.constants.iter().find(|(constant, _)| *constant == name);
        found.map_or(without, |(_, value)| *value).into()
    }

    fn binding(&self, number: u32) -> Binding {
        *self.step.bindings.iter().find(|binding| binding.number == number).unwrap()
    }

    /// Where the value that a shader counts as `index` is in its buffer.
    fn place(binding: &Binding, index: i64) -> usize {
        let place = u64::try_from(index).ok().and_then(|index| index.checked_sub(binding.skipped));
        let place = place.filter(|place| *place < binding.slice.length);
        let place = place.unwrap_or_else(|| panic!("{index} is outside of {binding:?}"));
        usize::try_from(binding.slice.start + place).unwrap()
    }

    fn read(&self, number: u32, index: i64) -> f64 {
        let binding = self.binding(number);
        self.memory[binding.slice.buffer][Self::place(&binding, index)]
    }

    fn write(&mut self, index: i64, value: f64) {
        let binding = self.binding(5);
        self.memory[binding.slice.buffer][Self::place(&binding, index)] = value;
    }

    /// The index along an axis that a position means; none in zero padding.
    fn source(&self, position: i64, size: i64) -> Option<i64> {
        let last = size - 1;
        match self.constant("PADDING_MODE", 0) {
            0 => (0..size).contains(&position).then_some(position),
            1 => Some(last - (last - position.abs()).abs()),
            2 => Some(position.clamp(0, last)),
            _ => Some(position.rem_euclid(size)),
        }
    }

    /// The values under the window of an output, each with its tap, of one plane of the input.
    fn window(&self, plane: i64, row: i64, column: i64) -> Vec<(i64, f64)> {
        let axis = |side, start, output, size| {
            let [kernel, stride, dilation] =
                ["KERNEL", "STRIDE", "DILATION"].map(|name| self.constant(&format!("{name}_{side}"), 1));
            let position = move |tap| self.word(start) + output * stride + tap * dilation;
            (0..kernel).map(move |tap| self.source(position(tap), self.word(size))).collect::<Vec<_>>()
        };
        let rows = axis("HEIGHT", "top", row, "in_height");
        let columns = axis("WIDTH", "left", column, "in_width");
        let mut values = Vec::new();
        for (line, row) in (0..).step_by(columns.len()).zip(rows) {
            let Some(row) = row else { continue };
            assert!((self.word("first_row")..=self.word("last_row")).contains(&row), "row {row} is not bound");
            let start = (plane * self.word("in_height") + row) * self.word("in_width");
            let found = columns.iter().zip(line..).filter_map(|(column, tap)| Some((tap, start + (*column)?)));
            values.extend(found.map(|(tap, index)| (tap, self.read(1, index))));
        }
        values
    }

    /// How many places of a window an average pool counts, but at least 1.
    fn counted(&self, row: i64, column: i64) -> f64 {
        let axis = |side, start, output, size| {
            let [stride, dilation] = ["STRIDE", "DILATION"].map(|name| self.constant(&format!("{name}_{side}"), 1));
            let place = |tap| self.word(start) + output * stride + tap * dilation;
            let taps = 0..self.constant(&format!("WHOLE_{side}"), 1);
            taps.filter(|&tap| (0..self.word(size)).contains(&place(tap))).count()
        };
        let rows = axis("HEIGHT", "count_top", row, "count_height");
        (rows * axis("WIDTH", "count_left", column, "count_width")).max(1) as f64
    }

    fn taps(&self) -> i64 {
        self.constant("KERNEL_HEIGHT", 1) * self.constant("KERNEL_WIDTH", 1)
    }

    /// The weight of an output channel for a term of its sum: as the layer has it, or packed.
    fn weight(&self, channel: i64, term: i64) -> f64 {
        let (terms, channels) = (self.word("in_channels_per_group") * self.taps(), self.word("out_channels_per_group"));
        let index = if self.step.shader.name.starts_with("tiled") {
            let padded = (channels + 3) / 4 * 4;
            (channel / channels * terms + term) * padded + channel % channels
        } else {
            channel * terms + term
        };
        self.read(2, index)
    }

    /// The sum of products of a convolution's output.
    fn convolution(&self, image: i64, channel: i64, row: i64, column: i64) -> f64 {
        let per_group = self.word("in_channels_per_group");
        let first = image * self.word("in_channels") + channel / self.word("out_channels_per_group") * per_group;
        let of_channel = |c: i64| {
            let window = self.window(first + c, row, column).into_iter();
            let scale = if self.constant("HAS_INPUT_SCALE", 0) == 1 { self.read(6, first + c) } else { 1.0 };
            window.map(move |(tap, value)| scale * value * self.weight(channel, c * self.taps() + tap)).sum::<f64>()
        };
        (self.word("first_in_channel")..self.word("last_in_channel")).map(of_channel).sum()
    }

    /// The same of a separable layer in one step.
    fn separable(&self, image: i64, channel: i64, row: i64, column: i64) -> f64 {
        let (channels, multiplier) = (self.word("in_channels"), self.word("depth_multiplier"));
        let of_between = |m: i64| {
            let window = self.window(image * channels + m / multiplier, row, column).into_iter();
            let sum: f64 = window.map(|(tap, value)| value * self.read(6, m * self.taps() + tap)).sum();
            let bias = if self.constant("HAS_BETWEEN_BIAS", 0) == 1 { self.read(7, m) } else { 0.0 };
            (sum + bias) * self.read(2, channel * channels * multiplier + m)
        };
        (self.word("first_in_channel") * multiplier..self.word("last_in_channel") * multiplier).map(of_between).sum()
    }

    fn value(&self, index: i64, [image, channel, row, column]: [i64; 4]) -> f64 {
        let is = |constant| self.constant(constant, 0) == 1;
        let begun = if is("CONTINUES") { Some(self.read(5, index)) } else { None };
        match self.step.shader.name {
            "crop" => {
                let line = channel * self.word("in_height") + row + self.word("top");
                return self.read(1, line * self.word("in_width") + column + self.word("left"));
            }
            "pool" => {
                let window = self.window(image * self.word("out_channels") + channel, row, column);
                let values = window.into_iter().map(|(_, value)| value);
                if !is("IS_AVERAGE") {
                    return values.fold(begun.unwrap_or(f64::NEG_INFINITY), f64::max);
                }
                let sum = begun.unwrap_or(0.0) + values.sum::<f64>();
                return if is("FINISHES") { sum / self.counted(row, column) } else { sum };
            }
            // They read pixels by their place alone.
            "pointwise" | "tiled_pointwise" | "subgroup_pointwise" => {
                assert_eq!((self.word("top"), self.word("left")), (0, 0));
            }
            _ => {}
        }
        let is_fused = self.step.shader.name.ends_with("separable");
        let sum = if is_fused { Self::separable } else { Self::convolution };
        let bias = if is("HAS_BIAS") && begun.is_none() { self.read(3, channel) } else { 0.0 };
        let residual = if is("HAS_RESIDUAL") && is("FINISHES") { self.read(4, index) } else { 0.0 };
        sum(self, image, channel, row, column) + begun.unwrap_or(bias) + residual
    }

    /// Packs weights: each value of the output by its axes, of which the last one comes first, or zero.
    fn rearrange(&mut self) {
        let words: Vec<i64> = self.step.uniform[10..].iter().map(|word| word.cast_signed().into()).collect();
        let axes = usize::try_from(self.constant("AXES", 1)).unwrap();
        for index in 0..words[0] {
            let (mut place, mut rest, mut is_inside) = (words[1], index, true);
            for axis in words[6..].chunks(8).take(axes) {
                let [size, stride, first, step, input_size] = axis[..5] else { unreachable!() };
                let along = first + rest % size * step;
                rest /= size;
                is_inside &= (0..input_size).contains(&along);
                place += along * stride;
            }
            let value = if is_inside { self.read(1, place) } else { 0.0 };
            self.write(index, value);
        }
    }

    fn run(&mut self) {
        if self.step.shader.name == "rearrange" {
            return self.rearrange();
        }
        // A step that packs has planes without images.
        let batch = self.word("batch").max(1);
        let sizes = ["out_channels", "out_height", "out_width"].map(|name| self.word(name));
        let [channels, height, width] = sizes;
        for index in 0..batch * channels * height * width {
            let (line, plane) = (index / width, index / width / height);
            let value = self.value(index, [plane / channels, plane % channels, line % height, index % width]);
            self.write(index, value);
        }
    }
}

/// What a program makes of these tensors, each given by its part and its name.
fn run(program: &Program, tensors: &[(Option<&str>, &str, &[f32])]) -> Vec<f64> {
    let fill = |buffer: &sepconv::unstable::Buffer| {
        let is_given = matches!(buffer.kind, Kind::Parameter | Kind::Input);
        let (part, name) = (buffer.name.part, buffer.name.name);
        let given = tensors.iter().find(|tensor| is_given && (tensor.0, tensor.1) == (part, name));
        given.map_or_else(
            || vec![f64::NAN; usize::try_from(buffer.length()).unwrap()],
            |(.., values)| values.iter().copied().map(f64::from).collect(),
        )
    };
    let mut memory: Vec<Vec<f64>> = program.buffers.iter().map(fill).collect();
    for step in program.prepare.iter().chain(&program.steps) {
        // No grid here is so large that it is cut.
        assert_eq!(step.uniform[..3], [0; 3]);
        Run { step, memory: &mut memory }.run();
    }
    let output = program.find(Kind::Output, "output").unwrap();
    memory.swap_remove(output)
}

/// A planner for a device with all that kernels need, with bindings of so many values: of `f16` if that is even, so that sums
/// that are cut have a tensor of their own.
fn planner(values: u32) -> Planner {
    let [.., mut target] = common::targets();
    (target.shader_f16, target.dtype) = (true, if values.is_multiple_of(2) { DType::F16 } else { DType::F32 });
    target.limits.max_storage_buffer_binding_size =
        u64::from(target.limits.min_storage_buffer_offset_alignment) + 4 * u64::from(values);
    Planner::new(target)
}

/// Plans a layer with every kernel and compares what their programs make; returns how many programs there are and how many
/// parts they have.
fn check(planner: &Planner, layer: &Layer, tensors: &[(Option<&str>, &str, &[f32])], expected: &[f64]) {
    for kernel in kernels::supporting(layer, planner.target()) {
        match planner.plan_with(layer, Choice::new(kernel, 0)) {
            Ok(program) => assert_eq!(run(&program, tensors), expected, "{}, {} parts", program.kernel, program.parts),
            Err(Error::Limit { .. } | Error::Within { .. }) => {}
            Err(error) => panic!("{}: {error}", kernel.name),
        }
    }
}

/// Window, stride, dilation and padding: without rows of padding as often as with.
fn window() -> impl Strategy<Value = ([u32; 2], [u32; 2], [u32; 2], [u32; 4])> {
    let padding = prop_oneof![[0_u32..1, 0_u32..4, 0_u32..1, 0_u32..4], [0_u32..9, 0_u32..4, 0_u32..9, 0_u32..4]];
    ([1_u32..7, 1_u32..5], [1_u32..5, 1_u32..4], [1_u32..6, 1_u32..4], padding)
}

fn padding_mode() -> impl Strategy<Value = PaddingMode> {
    select(vec![PaddingMode::Zeros, PaddingMode::Reflect, PaddingMode::Replicate, PaddingMode::Circular])
}

fn plane() -> impl Strategy<Value = [u32; 3]> {
    (1_u32..4, 1_u32..25, 1_u32..13).prop_map(|(batch, height, width)| [batch, height, width])
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1000,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(2026),
        max_global_rejects: 100_000,
        ..Default::default()
    })]

    #[test]
    fn convolutions(
        (groups, inputs, outputs, [batch, height, width]) in (1_u32..4, 1_u32..5, 1_u32..6, plane()),
        ((kernel, stride, dilation, padding), mode) in (window(), padding_mode()),
        ([bias, residual, input_scale], values, seed) in (any::<[bool; 3]>(), 4_u32..160, any::<u64>()),
    ) {
        let layer = Conv2d::new(groups * inputs, groups * outputs, kernel).groups(groups).stride(stride).dilation(dilation);
        let layer = layer.padding(padding).padding_mode(mode).bias(bias).residual(residual);
        let layer = layer.input_scale(input_scale);
        let geometry = layer.geometry([batch, groups * inputs, height, width]);
        prop_assume!(geometry.is_ok());
        let data = Data::integers(&geometry.unwrap(), seed);
        let none = Vec::new();
        let optional = [&data.bias, &data.residual, &data.input_scale];
        let [bias, residual, scale] = optional.map(|tensor| tensor.as_ref().unwrap_or(&none).as_slice());
        let tensors = [("input", data.input.as_slice()), ("weight", &data.weight), ("bias", bias), ("residual", residual)];
        let tensors = tensors.into_iter().chain([("input_scale", scale)]).collect::<Vec<_>>();
        let tensors: Vec<_> = tensors.into_iter().map(|(name, values)| (None, name, values)).collect();
        check(&planner(values), &data.geometry.into(), &tensors, &data.reference().values);
    }

    #[test]
    fn separable_convolutions(
        (inputs, outputs, multiplier, [batch, height, width]) in (1_u32..9, 1_u32..9, 1_u32..4, plane()),
        ((kernel, stride, dilation, padding), mode) in (window(), padding_mode()),
        (biases, residual, values, seed) in (any::<[bool; 2]>(), any::<bool>(), 4_u32..160, any::<u64>()),
    ) {
        let layer = SeparableConv2d::new(inputs, outputs, kernel).depth_multiplier(multiplier).stride(stride);
        let layer = layer.dilation(dilation).padding(padding).padding_mode(mode).residual(residual);
        let layer = layer.depthwise_bias(biases[0]).pointwise_bias(biases[1]);
        let parts = layer.geometry([batch, inputs, height, width]);
        prop_assume!(parts.is_ok());
        let (depthwise, pointwise) = parts.unwrap();
        let mut random = Random(seed);
        let data = SeparableData::new((&depthwise, &pointwise), |count| random.integers(count));
        let none = Vec::new();
        let [depthwise_bias, pointwise_bias, residual] = [&data.depthwise_bias, &data.pointwise_bias, &data.residual]
            .map(|tensor| tensor.as_ref().unwrap_or(&none).as_slice());
        let tensors = [
            (Some("depthwise"), "input", data.input.as_slice()),
            (Some("depthwise"), "weight", &data.depthwise_weight),
            (Some("depthwise"), "bias", depthwise_bias),
            (Some("pointwise"), "weight", &data.pointwise_weight),
            (Some("pointwise"), "bias", pointwise_bias),
            (Some("pointwise"), "residual", residual),
        ];
        let expected = data.reference((&depthwise, &pointwise)).values;
        check(&planner(values), &(depthwise, pointwise).into(), &tensors, &expected);
    }

    #[test]
    fn pools(
        (channels, [batch, height, width]) in (1_u32..9, plane()),
        (kernel, stride, dilation, padding) in window(),
        (average, ceil_mode) in (any::<Option<bool>>(), any::<bool>()),
        (values, seed) in (4_u32..160, any::<u64>()),
    ) {
        let shape = [batch, channels, height, width];
        let geometry = if let Some(count_padding) = average {
            let pool = AveragePool2d::new(kernel).stride(stride).dilation(dilation).padding(padding);
            pool.ceil_mode(ceil_mode).count_padding(count_padding).geometry(shape)
        } else {
            let pool = MaxPool2d::new(kernel).stride(stride).dilation(dilation).padding(padding);
            pool.ceil_mode(ceil_mode).geometry(shape)
        };
        prop_assume!(geometry.is_ok());
        let geometry = geometry.unwrap();
        let input = Random(seed).integers(count(geometry.input_shape()));
        let expected = Layer::from(geometry).describe().reference(&[&input]).values;
        check(&planner(values), &geometry.into(), &[(None, "input", &input)], &expected);
    }
}
