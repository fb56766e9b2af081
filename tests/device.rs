//! Devices and buffers that are the caller's own, tensors that do not fit, and devices that go away.

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use common::{Data, assert_close, context, count, first_of, foreign_device, narrow, noop_context, poisoned};
use sepconv::timing::measure_blocking;
use sepconv::{
    Bound, Context, Conv2d, Error, Geometry, Operands, Parameters, Plan, Result, SeparableConv2d, Target, Tensor,
    Weights, Workspace,
};
use wgpu::BufferUsages;

#[cfg(not(target_arch = "wasm32"))]
const _: () = {
    const fn shared_between_threads<T: Send + Sync>() {}
    shared_between_threads::<Context>();
    shared_between_threads::<Plan>();
    shared_between_threads::<Weights>();
    shared_between_threads::<Workspace>();
    shared_between_threads::<Bound>();
    shared_between_threads::<Tensor>();
};

const SHAPE: [u32; 4] = [2, 3, 9, 10];

fn layer() -> Conv2d {
    Conv2d::new(3, 5, 3).padding(1).residual(true)
}

/// A tensor of the caller's buffers, and the numbers around it.
struct Placed {
    tensor: Tensor,
    buffer: wgpu::Buffer,
}

/// What lies around a tensor and must stay.
const MARGIN: f32 = 77.0;

impl Placed {
    /// Puts values at a byte offset in a buffer of their own, margins on both sides.
    fn new(context: &Context, offset: usize, shape: [u32; 4], values: &[f32]) -> Self {
        let mut all = vec![MARGIN; offset / 4];
        all.extend(values);
        all.extend([MARGIN; 5]);
        let buffer = context.device().create_buffer(&wgpu::BufferDescriptor {
            label: Some("the caller's"),
            size: 4 * all.len() as u64,
            usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        context.queue().write_buffer(&buffer, 0, bytemuck::cast_slice(&all));
        let tensor = Tensor::from_buffer(context, &buffer, offset as u64, shape).unwrap();
        Self { tensor, buffer }
    }

    /// Replaces the values.
    fn write(&self, context: &Context, values: &[f32]) {
        context.queue().write_buffer(&self.buffer, self.tensor.offset(), bytemuck::cast_slice(values));
    }

    /// The values, if nothing around them has changed.
    fn read(&self, context: &Context) -> Vec<f32> {
        let length = u32::try_from(self.buffer.size() / 4).unwrap();
        let all = Tensor::from_buffer(context, &self.buffer, 0, [1, 1, 1, length]).unwrap().read_blocking().unwrap();
        let (before, rest) = all.split_at(usize::try_from(self.tensor.offset() / 4).unwrap());
        let (values, after) = rest.split_at(count(self.tensor.shape()));
        assert!(before.iter().chain(after).all(|&value| value == MARGIN), "the margin was written");
        values.to_vec()
    }
}

#[test]
fn a_foreign_device_with_buffers_at_odd_offsets() {
    let Some((device, queue)) = foreign_device(|_| ()) else { return };
    let context = Context::from_wgpu(device.clone(), queue.clone()).unwrap();
    for (kernel, layer, shape) in [
        ("gemm", layer(), SHAPE),
        ("pointwise", Conv2d::new(3, 5, 1).residual(true), SHAPE),
        ("tiled_gemm", Conv2d::new(3, 6, 3).padding(1).residual(true), SHAPE),
        // It reads and writes fours: what starts elsewhere is copied, to where it fits and back.
        ("tiled_pointwise", Conv2d::new(3, 6, 1).residual(true), [2, 3, 6, 10]),
        ("depthwise", Conv2d::new(3, 6, 3).groups(3).padding(1).residual(true), SHAPE),
        ("depthwise_fours", Conv2d::new(3, 6, 3).groups(3).padding(1).residual(true), [2, 3, 7, 12]),
        ("winograd", Conv2d::new(32, 33, 3).padding(1).residual(true), [1, 32, 13, 14]),
    ] {
        let plan = layer.plan_with_kernel(&context, shape, kernel).unwrap();
        let geometry = layer.geometry(shape).unwrap();
        let data = Data::random(&geometry, 5);
        let place = |offset, shape, values: &[f32]| Placed::new(&context, offset, shape, values);
        for shift in [0, 4, 12, 260, 1020] {
            let input = place(shift, shape, &data.input);
            let weight = place(shift + 4, geometry.weight_shape(), &data.weight);
            let bias = place(shift + 8, geometry.bias_shape(), data.bias.as_ref().unwrap());
            let residual = place(shift + 16, geometry.output_shape(), data.residual.as_ref().unwrap());
            let unwritten = vec![f32::NAN; count(geometry.output_shape())];
            let output = place(shift + 20, geometry.output_shape(), &unwritten);

            let weights = plan.weights(&Parameters::new(&weight.tensor).bias(&bias.tensor)).unwrap();
            let operands = Operands::new(&input.tensor, &output.tensor).residual(&residual.tensor);
            let bound = plan.bind(&weights, operands).unwrap();
            let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            bound.encode(&mut encoder);
            queue.submit([encoder.finish()]);
            let what = format!("{kernel}, shifted by {shift} bytes");
            let actual = output.read(&context);
            assert_close(&data.reference(), geometry.activation, geometry.terms(), &actual, &what);
        }
    }
}

/// Or else kernels would be missing from the tests without a word.
#[test]
fn a_context_has_all_of_its_adapter_that_kernels_use() {
    let Some(context) = context() else { return };
    let adapters = pollster::block_on(sepconv::adapters());
    assert_eq!(context.target(), &Target::from(&adapters[0]));
}

/// A kernel that reads or writes pairs or fours of values is given tensors that start within one: it stays, and has copies.
#[test]
fn tensors_that_start_within_a_pair_or_a_four() {
    let Some(context) = context() else { return };
    for (kernel, layer, shape) in [
        ("subgroup_pointwise", Conv2d::new(6, 9, 1), [2, 6, 3, 5]),
        ("subgroup_pointwise", Conv2d::new(16, 72, 1), [1, 16, 4, 5]),
        ("depthwise_fours", Conv2d::new(6, 12, 3).groups(6).padding(1), [2, 6, 5, 8]),
        ("depthwise_fours", Conv2d::new(6, 6, [3, 2]).groups(6).stride([1, 2]).bias(true), [1, 6, 9, 16]),
    ] {
        let plan = match layer.plan_with_kernel(context, shape, kernel) {
            Err(Error::Unsupported { .. }) if kernel == "subgroup_pointwise" => continue,
            plan => plan.unwrap(),
        };
        assert_eq!(plan.kernel(), kernel);
        let geometry = layer.geometry(shape).unwrap();
        let data = Data::random(&geometry, 6);
        for (input_shift, weight_shift) in [(0, 0), (4, 0), (0, 4), (12, 260), (8, 1016)] {
            let place = |offset, shape, values: &[f32]| Placed::new(context, offset, shape, values);
            let input = place(input_shift, shape, &data.input);
            let weight = place(weight_shift, geometry.weight_shape(), &data.weight);
            let bias = place(4, geometry.bias_shape(), data.bias.as_ref().unwrap());
            let output = place(4, plan.output_shape(), &vec![f32::NAN; count(plan.output_shape())]);
            let weights = plan.weights(&Parameters::new(&weight.tensor).bias(&bias.tensor)).unwrap();
            let bound = plan.bind(&weights, Operands::new(&input.tensor, &output.tensor)).unwrap();
            bound.run().unwrap();
            let what = format!("{layer:?}, input shifted by {input_shift} bytes, weight by {weight_shift}");
            let expected = data.reference();
            assert_close(&expected, geometry.activation, geometry.terms(), &output.read(context), &what);
            // The copies are made anew in each run.
            assert_eq!(plan.kernel(), kernel);
            let other = Data::random(&geometry, 7);
            input.write(context, &other.input);
            weight.write(context, &other.weight);
            bias.write(context, other.bias.as_ref().unwrap());
            bound.run().unwrap();
            let expected = other.reference();
            assert_close(&expected, geometry.activation, geometry.terms(), &output.read(context), &what);
        }
    }
}

/// Two layers of which the second takes what the first puts out, with the data of both.
struct Chain {
    plans: [Plan; 2],
    data: [Data; 2],
}

impl Chain {
    fn new(context: &Context) -> Self {
        let geometry = |layer: Conv2d, shape| layer.geometry(shape).unwrap();
        let first = geometry(Conv2d::new(3, 4, 3).padding(1), SHAPE);
        let geometries = [first, geometry(Conv2d::new(4, 2, 1).stride(2), first.output_shape())];
        let plans = geometries.map(|geometry| context.plan(geometry).unwrap());
        assert_ne!(plans[0].kernel(), plans[1].kernel(), "the chain is to change pipelines");
        // Whole numbers, so that the first layer's values are exact.
        Self { plans, data: geometries.map(|geometry| Data::integers(&geometry, 9)) }
    }

    /// Both layers bound to new tensors, and the tensor that the second writes.
    fn bind(&self, context: &Context) -> ([Bound; 2], Tensor) {
        let tensor = |shape, values: &[f32]| Tensor::from_slice(context, shape, values).unwrap();
        let mut input = tensor(SHAPE, &self.data[0].input);
        let bounds = [0, 1].map(|index| {
            let (plan, data) = (&self.plans[index], &self.data[index]);
            let output = poisoned(context, plan.output_shape());
            let bound = plan.bind(&data.weights(context, plan), Operands::new(&input, &output)).unwrap();
            input = output;
            bound
        });
        (bounds, input)
    }

    fn expected(&self) -> Vec<f32> {
        let input = narrow(&self.data[0].reference().values);
        let Data { geometry, weight, bias, .. } = &self.data[1];
        let (weight, bias) = (weight.clone(), bias.clone());
        let second = Data { geometry: *geometry, input, weight, bias, residual: None, input_scale: None };
        narrow(&second.reference().values)
    }
}

#[test]
fn two_plans_in_one_encoder_one_pass_or_one_by_one() {
    let Some(context) = context() else { return };
    let chain = Chain::new(context);
    let ways: [fn(&[Bound; 2], &mut wgpu::CommandEncoder); 2] = [
        |bounds, encoder| {
            for bound in bounds {
                bound.encode(encoder);
            }
        },
        |bounds, encoder| {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            for bound in bounds {
                bound.record(&mut pass);
            }
        },
    ];
    for way in ways {
        let (bounds, output) = chain.bind(context);
        let mut encoder = context.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        way(&bounds, &mut encoder);
        context.queue().submit([encoder.finish()]);
        assert_eq!(output.read_blocking().unwrap(), chain.expected());
    }
    let (bounds, output) = chain.bind(context);
    for bound in bounds {
        bound.run().unwrap();
    }
    assert_eq!(output.read_blocking().unwrap(), chain.expected());
}

#[test]
fn one_plan_bound_to_many_buffers() {
    let Some(context) = context() else { return };
    for (layer, shape, kernel) in
        [(Conv2d::new(3, 4, 3), SHAPE, "direct"), (Conv2d::new(16, 17, 3), [1, 16, 9, 8], "winograd")]
    {
        let plan = layer.plan_with_kernel(context, shape, kernel).unwrap();
        check_many(context, &layer.geometry(shape).unwrap(), &plan);
    }
}

/// Binds a plan to many sets of tensors and runs them in turn; what each keeps for itself is in no other's way.
fn check_many(context: &Context, geometry: &Geometry, plan: &Plan) {
    let all: Vec<_> = (1..=5).map(|seed| Data::random(geometry, seed)).collect();
    let bound: Vec<_> = all
        .iter()
        .map(|data| {
            let output = poisoned(context, plan.output_shape());
            let input = Tensor::from_slice(context, plan.input_shape(), &data.input).unwrap();
            (plan.bind(&data.weights(context, plan), Operands::new(&input, &output)).unwrap(), output)
        })
        .collect();
    // All of them are bound, and their other tensors dropped, before the first one runs.
    let mut encoders =
        [(); 2].map(|()| context.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default()));
    for (bound, _) in bound.iter().rev() {
        for encoder in &mut encoders {
            bound.clone().encode(encoder);
        }
    }
    context.queue().submit(encoders.map(wgpu::CommandEncoder::finish));
    let g = geometry;
    for (data, (_, output)) in all.iter().zip(&bound) {
        let actual = output.read_blocking().unwrap();
        assert_close(&data.reference(), g.activation, g.terms(), &actual, "one of many");
    }
}

#[test]
fn one_plan_in_many_threads() {
    let Some(context) = context() else { return };
    let plan = layer().plan(context, SHAPE).unwrap();
    std::thread::scope(|scope| {
        for stride in 1..=4 {
            let (plan, seed) = (&plan, stride.into());
            scope.spawn(move || common::check_plan(context, &layer().geometry(SHAPE).unwrap(), plan, seed));
            // Planning shares the cache of pipelines.
            scope.spawn(move || common::check_in_turn(context, &layer().stride(stride), SHAPE, seed, seed));
        }
    });
}

/// Tensors for `layer()`, each good.
struct Tensors {
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    residual: Tensor,
    output: Tensor,
}

impl Tensors {
    fn new(context: &Context, geometry: &Geometry) -> Self {
        let zeros = |shape: [u32; 4]| Tensor::zeros(context, shape).unwrap();
        Self {
            input: zeros(geometry.input_shape()),
            weight: zeros(geometry.weight_shape()),
            bias: zeros(geometry.bias_shape()),
            residual: zeros(geometry.output_shape()),
            output: zeros(geometry.output_shape()),
        }
    }

    fn parameters(&self) -> Parameters<'_> {
        Parameters::new(&self.weight).bias(&self.bias)
    }

    fn operands(&self) -> Operands<'_> {
        Operands::new(&self.input, &self.output).residual(&self.residual)
    }
}

#[test]
fn operands_that_do_not_fit_are_refused_by_name() {
    let Some(context) = context() else { return };
    let plan = layer().plan(context, SHAPE).unwrap();
    let good = Tensors::new(context, &layer().geometry(SHAPE).unwrap());
    let weights = plan.weights(&good.parameters()).unwrap();
    assert!(plan.bind(&weights, good.operands()).is_ok());
    let refused = |operands: Operands<'_>| plan.bind(&weights, operands).unwrap_err();
    let unpackable = |parameters: Parameters<'_>| plan.weights(&parameters).unwrap_err();

    let without = |argument| Error::Missing { argument };
    assert_eq!(unpackable(good.parameters().bias(None)), without("bias"));
    assert_eq!(unpackable(Parameters::default().bias(&good.bias)), without("weight"));
    assert_eq!(refused(good.operands().residual(None)), without("residual"));
    let bare = layer().bias(false).residual(false).plan(context, SHAPE).unwrap();
    let bare_weights = bare.weights(&Parameters::new(&good.weight)).unwrap();
    let bind = |operands| bare.bind(&bare_weights, operands);
    assert!(bind(Operands::new(&good.input, &good.output)).is_ok());
    assert_eq!(bare.weights(&good.parameters()).unwrap_err(), Error::Unexpected { argument: "bias" });
    assert_eq!(bind(good.operands()).unwrap_err(), Error::Unexpected { argument: "residual" });

    // As large as the right one, but of another shape.
    let turned = Tensor::zeros(context, [3, 2, 10, 9]).unwrap();
    let short = Tensor::zeros(context, [4]).unwrap();
    let Tensors { input, output, .. } = &good;
    let all = |input, output| Operands::new(input, output).residual(&good.residual);
    for (error, argument, shape, expected) in [
        (refused(all(&turned, output)), "input", turned.shape(), SHAPE),
        (unpackable(Parameters::new(&turned).bias(&good.bias)), "weight", turned.shape(), [5, 3, 3, 3]),
        (refused(all(input, &turned)), "output", turned.shape(), [2, 5, 9, 10]),
        (unpackable(good.parameters().bias(&short)), "bias", [1, 4, 1, 1], [1, 5, 1, 1]),
        (refused(good.operands().residual(&turned)), "residual", turned.shape(), [2, 5, 9, 10]),
    ] {
        assert_eq!(error, Error::Shape { argument, shape, expected });
    }

    assert_eq!(refused(good.operands().residual(output)), Error::SharedBuffer { argument: "residual" });
    // Two stretches of one buffer are no better than one, even where they do not meet.
    let arena = Tensor::zeros(context, [1, 1, 64, 64]).unwrap();
    let early = Tensor::from_buffer(context, arena.buffer(), 0, SHAPE).unwrap();
    let late = Tensor::from_buffer(context, arena.buffer(), 8192, [2, 5, 9, 10]).unwrap();
    assert_eq!(refused(all(&early, &late)), Error::SharedBuffer { argument: "input" });
    let early = Tensor::from_buffer(context, arena.buffer(), 0, [5, 3, 3, 3]).unwrap();
    let weights = plan.weights(&Parameters::new(&early).bias(&good.bias)).unwrap();
    assert_eq!(plan.bind(&weights, all(input, &late)).unwrap_err(), Error::SharedBuffer { argument: "weight" });
}

#[test]
fn separable_operands_that_do_not_fit_are_refused_by_name() {
    let Some(context) = context() else { return };
    let layer = SeparableConv2d::new(3, 5, 3);
    let (plan, geometry) = (layer.plan(context, SHAPE).unwrap(), layer.geometry(SHAPE).unwrap());
    let depthwise = Tensors::new(context, &geometry.0);
    let pointwise = Tensors::new(context, &geometry.1);
    let parameters = |depthwise_weight, pointwise_weight| {
        let parameters = Parameters::separable(depthwise_weight, pointwise_weight);
        parameters.depthwise_bias(&depthwise.bias).pointwise_bias(&pointwise.bias)
    };
    let good = || parameters(&depthwise.weight, &pointwise.weight);
    let weights = plan.weights(&good()).unwrap();
    let operands = Operands::new(&depthwise.input, &pointwise.output);
    assert!(plan.bind(&weights, operands).is_ok());
    let unpackable = |parameters: Parameters<'_>| plan.weights(&parameters).unwrap_err();
    let refused = |operands: Operands<'_>| plan.bind(&weights, operands).unwrap_err();
    let arena = Tensor::zeros(context, [1, 1, 64, 64]).unwrap();
    let early = Tensor::from_buffer(context, arena.buffer(), 0, SHAPE).unwrap();
    let late = Tensor::from_buffer(context, arena.buffer(), 8192, plan.output_shape()).unwrap();
    for (error, words) in [
        (unpackable(good().depthwise_bias(None)), "depthwise bias"),
        (unpackable(good().pointwise_bias(None)), "pointwise bias"),
        (refused(operands.residual(&pointwise.residual)), "pointwise residual"),
        (unpackable(parameters(&pointwise.weight, &pointwise.weight)), "depthwise weight"),
        (unpackable(parameters(&depthwise.weight, &depthwise.weight)), "pointwise weight"),
        (refused(Operands::new(&pointwise.output, &pointwise.output)), "input"),
        (refused(Operands::new(&depthwise.input, &depthwise.input)), "pointwise output"),
        (refused(Operands::new(&early, &late)), "depthwise input shares"),
        (unpackable(Parameters::new(&depthwise.weight)), "weight"),
    ] {
        let message = error.to_string();
        assert!(message.contains(words), "{message:?} does not name {words:?}");
    }
}

#[test]
fn stretches_of_a_buffer_that_cannot_be_tensors_are_refused() {
    let Some(context) = context() else { return };
    let buffer = |usage| {
        let size = 4096;
        context.device().create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
    };
    let storage = buffer(BufferUsages::STORAGE);
    let from = |buffer, offset, shape: [u32; 4]| {
        Tensor::from_buffer(context, buffer, offset, shape).map(|tensor| tensor.shape())
    };
    assert_eq!(from(&storage, 0, [1, 1, 32, 32]), Ok([1, 1, 32, 32]));
    assert_eq!(
        from(&storage, 4, [1, 1, 32, 32]),
        Err(Error::OutsideBuffer { argument: "tensor", end: 4100, size: 4096 })
    );
    let end = u64::MAX;
    let past = from(&storage, u64::MAX - 3, [1, 1, 1, 1]);
    assert_eq!(past, Err(Error::OutsideBuffer { argument: "tensor", end, size: 4096 }));
    for offset in [1, 2, 3, 6] {
        let misaligned = Error::Misaligned { argument: "tensor", offset, alignment: 4 };
        assert_eq!(from(&storage, offset, [1, 1, 1, 1]), Err(misaligned));
    }
    let copied = buffer(BufferUsages::COPY_DST);
    let usage = Error::Usage { argument: "tensor", usage: BufferUsages::STORAGE };
    assert_eq!(from(&copied, 0, [1, 1, 1, 1]), Err(usage));
    assert!(matches!(from(&storage, 0, [1, 0, 1, 1]), Err(Error::OutOfRange { .. })));
    assert!(matches!(from(&storage, 0, [i32::MAX as u32; 4]), Err(Error::Overflow { .. })));

    let bare = Tensor::from_buffer(context, &storage, 0, [1, 1, 1, 4]).unwrap();
    assert_eq!(bare.read_blocking(), Err(Error::Usage { argument: "tensor", usage: BufferUsages::COPY_SRC }));
    assert_eq!(bare.write(&[0.0; 4]), Err(Error::Usage { argument: "tensor", usage: BufferUsages::COPY_DST }));
    let length = Tensor::zeros(context, [1, 2, 3, 4]).unwrap().write(&[0.0; 25]).unwrap_err();
    assert_eq!(length, Error::Length { argument: "tensor", length: 25, shape: [1, 2, 3, 4], expected: 24 });
    let length = Tensor::from_slice(context, [1, 2, 3, 4], &[0.0; 23]).unwrap_err();
    assert_eq!(length, Error::Length { argument: "tensor", length: 23, shape: [1, 2, 3, 4], expected: 24 });
}

/// Handles of two devices may look alike, so that one device's buffer would be taken for another's.
#[test]
fn another_contexts_tensors_are_refused_by_name() {
    let (Some(context), Some((device, queue))) = (context(), foreign_device(|_| ())) else { return };
    let other = Context::from_wgpu(device, queue).unwrap();
    let (plan, geometry) = (layer().plan(context, SHAPE).unwrap(), layer().geometry(SHAPE).unwrap());
    let good = Tensors::new(context, &geometry);
    let theirs = Tensors::new(&other, &geometry);
    let weights = plan.weights(&good.parameters()).unwrap();
    let refused = |operands: Operands<'_>| plan.bind(&weights, operands).unwrap_err();
    let unpackable = |parameters: Parameters<'_>| plan.weights(&parameters).unwrap_err();
    let all = |input, output| Operands::new(input, output).residual(&good.residual);
    for (error, argument) in [
        (refused(all(&theirs.input, &good.output)), "input"),
        (unpackable(Parameters::new(&theirs.weight).bias(&good.bias)), "weight"),
        (refused(all(&good.input, &theirs.output)), "output"),
        (unpackable(good.parameters().bias(&theirs.bias)), "bias"),
        (refused(good.operands().residual(&theirs.residual)), "residual"),
    ] {
        assert_eq!(error, Error::OtherContext { argument });
    }
    let their_weights = layer().plan(&other, SHAPE).unwrap().weights(&theirs.parameters()).unwrap();
    let refused = plan.bind(&their_weights, good.operands()).unwrap_err();
    assert_eq!(refused, Error::OtherContext { argument: "weights" });
    // A clone and a stricter sibling are the same device.
    let sibling = context.clone().with_runtime_checks(true);
    assert!(layer().plan(&sibling, SHAPE).unwrap().bind(&weights, good.operands()).is_ok());
}

#[test]
fn another_contexts_tensors_are_refused_by_a_separable_plan() {
    let (Some(context), Some((device, queue))) = (context(), foreign_device(|_| ())) else { return };
    let other = Context::from_wgpu(device, queue).unwrap();
    let (layer, shape) = (SeparableConv2d::new(3, 5, 3).bias(false), [1, 3, 8, 8]);
    for kernel in ["chained", "separable"] {
        let plan = layer.plan_with_kernel(context, shape, kernel).unwrap();
        let (d, p) = layer.geometry(shape).unwrap();
        let shapes = [d.input_shape(), d.weight_shape(), p.weight_shape(), p.output_shape()];
        let ours = shapes.map(|shape| Tensor::zeros(context, shape).unwrap());
        let theirs = shapes.map(|shape| Tensor::zeros(&other, shape).unwrap());
        let bind = |[input, depthwise_weight, pointwise_weight, output]: [&Tensor; 4]| {
            let weights = plan.weights(&Parameters::separable(depthwise_weight, pointwise_weight))?;
            plan.bind(&weights, Operands::new(input, output))
        };
        assert!(bind(ours.each_ref()).is_ok(), "{kernel}");
        for (index, (part, argument)) in
            [("depthwise", "input"), ("depthwise", "weight"), ("pointwise", "weight"), ("pointwise", "output")]
                .into_iter()
                .enumerate()
        {
            let mut mixed = ours.each_ref();
            mixed[index] = &theirs[index];
            let message = bind(mixed).unwrap_err().to_string();
            let expected = Error::OtherContext { argument }.to_string();
            assert!(message.contains(part) && message.contains(&expected), "{kernel}: {message}");
        }
    }
}

/// The result of something that might never return.
fn in_time<T: Send + 'static>(task: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    let thread = std::thread::spawn(move || sender.send(task()));
    let result = receiver.recv_timeout(Duration::from_secs(60));
    result.unwrap_or_else(|error| match error {
        mpsc::RecvTimeoutError::Timeout => panic!("it hangs"),
        mpsc::RecvTimeoutError::Disconnected => std::panic::resume_unwind(thread.join().unwrap_err()),
    })
}

/// What there is before a device goes away.
struct Before {
    context: Context,
    plan: Plan,
    tensors: Tensors,
    weights: Weights,
    bound: Bound,
    /// A plan that packs its weights and needs a workspace, and tensors for it.
    packing: Plan,
    packed_tensors: Tensors,
    packed: Weights,
}

impl Before {
    fn new(context: Context) -> Self {
        let plan = layer().plan(&context, SHAPE).unwrap();
        let tensors = Tensors::new(&context, &layer().geometry(SHAPE).unwrap());
        let weights = plan.weights(&tensors.parameters()).unwrap();
        let bound = plan.bind(&weights, tensors.operands()).unwrap();
        let geometry = Conv2d::new(16, 16, 3).residual(true).geometry([1, 16, 5, 5]).unwrap();
        let packing = context.plan_with(geometry, first_of("winograd")).unwrap();
        let packed_tensors = Tensors::new(&context, &geometry);
        let packed = packing.weights(&packed_tensors.parameters()).unwrap();
        Self { context, plan, tensors, weights, bound, packing, packed_tensors, packed }
    }
}

type Named<T> = (&'static str, T);
type Call = fn(&Before) -> Result<()>;

#[test]
fn a_lost_device_is_an_error_of_every_call() {
    if common::skipped() {
        return;
    }
    let contexts: [Named<fn() -> Context>; 2] = [
        ("its own device", || Context::new_blocking().unwrap()),
        ("a foreign device", || {
            let (device, queue) = foreign_device(|_| ()).unwrap();
            Context::from_wgpu(device, queue).unwrap()
        }),
    ];
    let calls: [Named<Call>; 15] = [
        ("zeros", |before| Tensor::zeros(&before.context, SHAPE).map(drop)),
        ("from_slice", |before| Tensor::from_slice(&before.context, [3], &[1.0; 3]).map(drop)),
        ("plan, compiled before", |before| layer().plan(&before.context, SHAPE).map(drop)),
        ("plan", |before| layer().dilation(2).plan(&before.context, SHAPE).map(drop)),
        ("weights", |before| before.plan.weights(&before.tensors.parameters()).map(drop)),
        ("weights, packed", |before| before.packing.weights(&before.packed_tensors.parameters()).map(drop)),
        ("pack_now", |before| before.packed.pack_now()),
        ("workspace", |before| Workspace::new(&before.context, [&before.packing]).map(drop)),
        ("bind", |before| before.plan.bind(&before.weights, before.tensors.operands()).map(drop)),
        ("bind, with a workspace", |before| {
            before.packing.bind(&before.packed, before.packed_tensors.operands()).map(drop)
        }),
        ("run", |before| before.bound.run()),
        ("write", |before| before.tensors.bias.write(&[1.0; 5])),
        ("read", |before| before.tensors.output.read_blocking().map(drop)),
        ("wait", |before| pollster::block_on(before.context.wait())),
        ("wait, blocking", |before| before.context.wait_blocking()),
    ];
    for (whose, context) in contexts {
        // Each call is the first to meet the loss once, and meets one that is known once.
        for (name, call) in calls {
            let (result, again, lost) = in_time(move || {
                let before = Before::new(context());
                before.bound.run().unwrap();
                before.context.device().destroy();
                let result = call(&before);
                let read = before.tensors.output.read_blocking();
                assert!(matches!(read, Err(Error::DeviceLost { .. })), "{read:?}");
                let again = calls.map(|(_, call)| call(&before));
                (result, again, before.context.lost())
            });
            let Err(Error::DeviceLost { reason }) = result else { panic!("{name} on {whose}: {result:?}") };
            assert!(!reason.contains("memory") && !reason.contains("index"), "{name} on {whose}: {reason}");
            assert!(lost.is_some(), "{name} on {whose}");
            for ((next, _), result) in calls.into_iter().zip(again) {
                let lost = matches!(result, Err(Error::DeviceLost { .. }));
                assert!(lost, "{next} after {name} on {whose}: {result:?}");
            }
        }
    }
}

/// Destroyed while it computes, and met first by who waits for the result.
#[test]
fn a_device_that_is_lost_while_it_computes_ends_every_wait() {
    if common::skipped() {
        return;
    }
    let calls: [Named<Call>; 5] = [
        ("read", |before| before.tensors.output.read_blocking().map(drop)),
        ("read, async", |before| pollster::block_on(before.tensors.output.read()).map(drop)),
        ("wait", |before| pollster::block_on(before.context.wait())),
        ("wait, blocking", |before| before.context.wait_blocking()),
        ("run", |before| before.bound.run()),
    ];
    for (name, call) in calls {
        let result = in_time(move || {
            let before = Before::new(Context::new_blocking().unwrap());
            let long = common::long_layer(&before.context);
            before.context.wait_blocking().unwrap();
            (0..5).for_each(|_| long.run().unwrap());
            let done = Arc::new(AtomicBool::new(false));
            let flag = done.clone();
            before.context.queue().on_submitted_work_done(move || flag.store(true, Ordering::SeqCst));
            before.context.device().poll(wgpu::PollType::Poll).unwrap();
            // A fast one may be done already.
            let is_slow = before.context.adapter_info().device_type == wgpu::DeviceType::Cpu;
            assert!(!is_slow || !done.load(Ordering::SeqCst), "it is idle");
            before.context.device().destroy();
            call(&before)
        });
        let Err(Error::DeviceLost { reason }) = result else { panic!("{name}: {result:?}") };
        assert!(!reason.contains("memory") && !reason.contains("index"), "{name}: {reason}");
    }
}

#[test]
fn out_of_memory_is_an_error() {
    // A backend that computes nothing, but that allocates memory and says when there is none.
    let context = noop_context(wgpu::Limits { max_buffer_size: 1 << 62, ..Default::default() });
    let huge = [1 << 14, 1 << 14, 1 << 15, 1 << 16];
    let error = Tensor::zeros(&context, huge).unwrap_err();
    assert_eq!(error, Error::OutOfMemory { argument: "tensor", bytes: 1 << 61 });
    assert!(!error.is_request());
    // It is not the end of the device.
    assert_eq!(context.lost(), None);
    assert!(Tensor::zeros(&context, SHAPE).is_ok());
}

/// A heap that is really full, on a driver whose memory is this computer's: in a child, which gets little of it.
#[cfg(target_os = "linux")]
#[test]
fn a_full_memory_is_no_lost_device() {
    const CHILD: &str = "SEPCONV_TEST_CHILD";
    let Some(context) = context() else { return };
    if context.adapter_info().device_type != wgpu::DeviceType::Cpu {
        eprintln!("not run: a GPU's memory is not for a test to fill");
        return;
    }
    if std::process::Command::new("prlimit").arg("--version").output().is_err() {
        eprintln!("not run: there is no prlimit, of util-linux");
        return;
    }
    if std::env::var_os(CHILD).is_some() {
        fill_memory(context);
        return;
    }
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["a_full_memory_is_no_lost_device", "--exact", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let [out, err] = [child.stdout, child.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(child.status.success() && err.contains("tensors filled the memory"), "{out}\n{err}");
    eprintln!("{err}");
}

/// Makes tensors until there is no memory for another value.
#[cfg(target_os = "linux")]
fn fill_memory(context: &Context) {
    let check = || common::check(context, &layer(), SHAPE, 1);
    // So that a driver has loaded what it needs.
    check();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let used = status.lines().find_map(|line| line.strip_prefix("VmSize:")?.trim().strip_suffix(" kB")).unwrap();
    let limit = format!("--as={}", (used.parse::<u64>().unwrap() << 10) + (512 << 20));
    let own = std::process::id().to_string();
    let limited = std::process::Command::new("prlimit").args(["--pid", &own, &limit]).status();
    assert!(limited.unwrap().success());

    let (mut tensors, mut refused, mut length) = (Vec::with_capacity(1000), Vec::with_capacity(100), 1 << 24);
    while length > 0 {
        match Tensor::zeros(context, [length]) {
            Ok(tensor) => tensors.push(tensor),
            Err(error) => {
                refused.push((error, Error::OutOfMemory { argument: "tensor", bytes: 4 * u64::from(length) }));
                length /= 2;
            }
        }
    }
    let waited = context.wait_blocking();
    let made = tensors.len();
    // A panic needs memory too.
    drop(tensors);
    for (error, expected) in refused {
        assert_eq!(error, expected);
    }
    assert_eq!((waited, context.lost()), (Ok(()), None));
    eprintln!("{made} tensors filled the memory");
    check();
}

#[test]
fn every_set_of_tensors_is_timed() {
    let Some(context) = context() else { return };
    let plan = Conv2d::new(1, 1, 1).bias(false).plan(context, [1, 1, 1, 1]).unwrap();
    let one = Tensor::from_slice(context, [1, 1, 1, 1], &[1.0]).unwrap();
    let outputs = [(); 5].map(|()| poisoned(context, [1, 1, 1, 1]));
    let weights = plan.weights(&Parameters::new(&one)).unwrap();
    let sets = outputs.each_ref().map(|output| plan.bind(&weights, Operands::new(&one, output)).unwrap());
    let timing = measure_blocking(context, &sets, Duration::ZERO).unwrap();
    assert!(timing.wall.p10 > 0.0 && timing.wall.median <= timing.wall.p90, "{timing:?}");
    for output in &outputs {
        assert_eq!(output.read_blocking().unwrap(), [1.0]);
    }
    let error = measure_blocking(context, &[], Duration::ZERO).unwrap_err();
    assert!(matches!(error, Error::OutOfRange { argument: "the number of sets of tensors", value: 0, .. }), "{error}");
}

/// A storage buffer of another device, which has the same number in it that the buffers of this one have.
fn buffer_of(device: &wgpu::Device) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 64,
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    })
}

#[test]
fn a_buffer_of_another_device_is_refused() {
    let Some((device, queue)) = foreign_device(|_| ()) else { return };
    let context = Context::from_wgpu(device, queue).unwrap();
    let own = buffer_of(context.device());
    for _ in 0..2 {
        assert!(Tensor::from_buffer(&context, &own, 0, [16]).is_ok(), "asked again and again");
    }
    // Of another instance, and of the same one.
    let others = [foreign_device(|_| ()).unwrap().0, noop_context(wgpu::Limits::default()).device().clone()];
    for other in others {
        let buffer = buffer_of(&other);
        // `wgpu` hands the question to the other device, whose handler panics if it is not replaced.
        let ask = || Tensor::from_buffer(&context, &buffer, 0, [16]).map(drop);
        let asked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(ask));
        assert!(asked.is_err(), "{asked:?}");
        other.on_uncaptured_error(Arc::new(|_| ()));
        let refused = Tensor::from_buffer(&context, &buffer, 0, [16]).unwrap_err();
        assert_eq!(refused, Error::OtherContext { argument: "buffer" });
    }
    assert!(Tensor::from_buffer(&context, &own, 0, [16]).is_ok(), "and never mind the others");
}

#[test]
fn a_buffer_that_is_mapped_stays_mapped() {
    let Some((device, queue)) = foreign_device(|_| ()) else { return };
    let context = Context::from_wgpu(device, queue).unwrap();
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
    let descriptor = wgpu::BufferDescriptor { label: None, size: 8, usage, mapped_at_creation: true };
    let buffer = context.device().create_buffer(&descriptor);
    let view = buffer.slice(..).get_mapped_range_mut().unwrap();
    assert!(Tensor::from_buffer(&context, &buffer, 0, [2]).is_ok(), "with a view of it");
    drop(view);
    let tensor = Tensor::from_buffer(&context, &buffer, 0, [2]).unwrap();
    buffer.slice(..).get_mapped_range_mut().unwrap().copy_from_slice(bytemuck::cast_slice(&[1.0_f32, 2.0]));
    buffer.unmap();
    assert_eq!(tensor.read_blocking().unwrap(), [1.0, 2.0]);
}
