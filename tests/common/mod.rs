//! What the tests share: a device, seeded data, and one layer run and compared.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::sync::OnceLock;

use sepconv::reference::{self, Reference};
use sepconv::{
    Activation, Context, Conv2d, Error, Geometry, Operands, Plan, SeparableChoice, SeparableConv2d, SeparableOperands,
    SeparablePlan, Tensor, kernels, verify,
};

pub mod golden;

/// A GPU and devices in software, all with WebGPU's default limits: what they differ in is tiles and kernels.
pub fn targets() -> [kernels::Target; 4] {
    let kinds = [(false, None, false), (true, None, false), (true, Some(8), false), (true, Some(8), true)];
    kinds.map(|(software, subgroup_size, shader_int64)| kernels::Target {
        limits: wgpu::Limits::default(),
        software,
        subgroup_size,
        shader_int64,
    })
}

/// Whether the tests are to do without a device.
pub fn skipped() -> bool {
    std::env::var("SEPCONV_TEST_GPU").is_ok_and(|value| value == "skip")
}

/// The device under test, or none if `SEPCONV_TEST_GPU=skip` says to do without. A missing adapter is a failure.
pub fn context() -> Option<&'static Context> {
    static CONTEXT: OnceLock<Option<Context>> = OnceLock::new();
    let open = || {
        if skipped() {
            eprintln!("SEPCONV_TEST_GPU=skip: nothing is run on a device");
            return None;
        }
        let context = Context::new_blocking().expect("an adapter; SEPCONV_TEST_GPU=skip does without");
        let info = context.adapter_info();
        eprintln!("device: {} ({}, {}, {:?})", info.name, info.driver, info.driver_info, info.backend);
        Some(context)
    };
    CONTEXT.get_or_init(open).as_ref()
}

/// A device of the caller's own, on the adapter under test, with these limits changed and with the features that bring
/// kernels; none if told to do without.
pub fn foreign_device(change: impl FnOnce(&mut wgpu::Limits)) -> Option<(wgpu::Device, wgpu::Queue)> {
    if skipped() {
        return None;
    }
    let adapters = pollster::block_on(sepconv::adapters());
    let adapter = adapters.first().expect("an adapter; SEPCONV_TEST_GPU=skip does without");
    let mut limits = adapter.limits();
    change(&mut limits);
    let descriptor = wgpu::DeviceDescriptor {
        required_features: adapter.features() & (wgpu::Features::SUBGROUP | wgpu::Features::SHADER_INT64),
        required_limits: limits,
        ..Default::default()
    };
    Some(pollster::block_on(adapter.request_device(&descriptor)).expect("a device with lower limits"))
}

/// A device that computes nothing, for planning at any limits.
pub fn noop_context(limits: wgpu::Limits) -> Context {
    let noop = wgpu::NoopBackendOptions { limits: Some(limits.clone()), ..wgpu::NoopBackendOptions::enabled() };
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: wgpu::Backends::NOOP,
        // The default flags cap buffers at 4 GiB.
        flags: wgpu::InstanceFlags::empty(),
        backend_options: wgpu::BackendOptions { noop, ..Default::default() },
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default())).unwrap();
    let descriptor = wgpu::DeviceDescriptor { required_limits: limits, ..Default::default() };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
    Context::from_wgpu(device, queue).unwrap()
}

/// A small generator of reproducible data: `SplitMix64` (Steele, Lea and Flood 2014).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Values from -1 to 1.
    pub fn floats(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0).collect()
    }

    /// Whole numbers from -4 to 4: their products sum exactly up to 2^20 terms.
    pub fn integers(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| (self.next() % 9) as f32 - 4.0).collect()
    }
}

pub fn count(shape: [u32; 4]) -> usize {
    shape.iter().map(|&size| size as usize).product()
}

/// Each value rounded once.
#[expect(clippy::cast_possible_truncation, reason = "rounded is what it is to be")]
pub fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&value| value as f32).collect()
}

/// A layer and the shape of its input.
pub type Case = (Conv2d, [u32; 4]);

/// Every activation, with limits and slopes that random data and small integers cross.
pub const ACTIVATIONS: [Activation; 7] = [
    Activation::None,
    Activation::Relu,
    Activation::Relu6,
    Activation::Silu,
    Activation::HardSwish,
    Activation::LeakyRelu(0.1),
    Activation::Clamp(-0.75, 1.5),
];

/// Whether the activation of a whole number below 2^24 is one `f32`, whichever way it is computed.
fn is_exact(activation: Activation) -> bool {
    !matches!(activation, Activation::Silu | Activation::HardSwish)
}

/// The data of one layer, in memory.
pub struct Data {
    pub input: Vec<f32>,
    pub weight: Vec<f32>,
    pub bias: Option<Vec<f32>>,
    pub residual: Option<Vec<f32>>,
}

impl Data {
    pub fn new(geometry: &Geometry, mut fill: impl FnMut(usize) -> Vec<f32>) -> Self {
        Self {
            input: fill(count(geometry.input_shape())),
            weight: fill(count(geometry.weight_shape())),
            bias: geometry.bias.then(|| fill(count(geometry.bias_shape()))),
            residual: geometry.residual.then(|| fill(count(geometry.output_shape()))),
        }
    }

    pub fn random(geometry: &Geometry, seed: u64) -> Self {
        let mut generator = Random(seed);
        Self::new(geometry, |count| generator.floats(count))
    }

    pub fn integers(geometry: &Geometry, seed: u64) -> Self {
        let mut generator = Random(seed);
        Self::new(geometry, |count| generator.integers(count))
    }

    pub fn reference(&self, geometry: &Geometry) -> Reference {
        reference::conv2d(geometry, &self.input, &self.weight, self.bias.as_deref(), self.residual.as_deref())
    }

    /// Runs a plan on this data three times, into an output that was poisoned with NaN, and returns the results.
    pub fn run(&self, context: &Context, plan: &Plan) -> [Vec<f32>; 3] {
        let geometry = plan.geometry();
        let tensor = |shape, data: &[f32]| Tensor::from_slice(context, shape, data).unwrap();
        let input = tensor(geometry.input_shape(), &self.input);
        let weight = tensor(geometry.weight_shape(), &self.weight);
        let bias = self.bias.as_ref().map(|bias| tensor(geometry.bias_shape(), bias));
        let residual = self.residual.as_ref().map(|residual| tensor(geometry.output_shape(), residual));
        [(); 3].map(|()| {
            let output = poisoned(context, plan.output_shape());
            let operands = Operands::new(&input, &weight, &output).bias(&bias).residual(&residual);
            plan.bind(operands).unwrap().run().unwrap();
            output.read_blocking(context).unwrap()
        })
    }
}

/// A tensor of NaNs: an output that is not written whole stays wrong.
pub fn poisoned(context: &Context, shape: [u32; 4]) -> Tensor {
    Tensor::from_slice(context, shape, &vec![f32::NAN; count(shape)]).unwrap()
}

/// Compares a result with the reference, within the bound.
pub fn assert_close(expected: &Reference, activation: Activation, terms: u64, actual: &[f32], what: &str) {
    let error = verify::largest_error(expected, activation, terms, actual);
    assert!(error <= 1.0, "the largest error is {error} times the bound: {what}");
}

/// Compares a result with the reference, rounded once, bit for bit (but for the sign of zero).
pub fn assert_exact(expected: &Reference, actual: &[f32], what: &str) {
    assert!(actual == narrow(&expected.values), "small integers are not exact: {what}");
}

/// Random data and small integers for one geometry, with what comes out.
pub struct Trial {
    seed: u64,
    random: (Data, Reference),
    integers: Option<(Data, Reference)>,
}

impl Trial {
    pub fn new(geometry: &Geometry, seed: u64) -> Self {
        let with_reference = |data: Data| {
            let reference = data.reference(geometry);
            (data, reference)
        };
        Self {
            seed,
            random: with_reference(Data::random(geometry, seed)),
            integers: is_exact(geometry.activation).then(|| with_reference(Data::integers(geometry, seed))),
        }
    }

    pub fn check(&self, context: &Context, plan: &Plan) {
        let geometry = plan.geometry();
        let what = format!("{} on {geometry:?}, seed {}", plan.kernel(), self.seed);
        let (data, expected) = &self.random;
        for actual in data.run(context, plan) {
            assert_close(expected, geometry.activation, geometry.terms(), &actual, &what);
        }
        let Some((data, expected)) = &self.integers else { return };
        for actual in data.run(context, plan) {
            assert_exact(expected, &actual, &what);
        }
    }
}

/// Runs a plan on random data and on small integers and compares the results with the reference.
pub fn check_plan(context: &Context, plan: &Plan, seed: u64) {
    Trial::new(plan.geometry(), seed).check(context, plan);
}

/// Every different plan of a layer with one kernel: a GPU's tiles and a software device's, wherever it runs.
pub fn plans(context: &Context, layer: &Conv2d, input_shape: [u32; 4], kernel: &str) -> sepconv::Result<Vec<Plan>> {
    let mut plans: Vec<Plan> = Vec::new();
    for software in [false, true] {
        let plan = layer.plan_with_kernel(&context.with_software(software), input_shape, kernel)?;
        assert_eq!(plan.kernel(), kernel);
        if plans.iter().all(|other| other.schedule().parts[0].variant != plan.schedule().parts[0].variant) {
            plans.push(plan);
        }
    }
    Ok(plans)
}

/// Forces every kernel onto a layer: those that support it must be right, the others must refuse it, and the planner
/// must choose one that supports it.
pub fn check(context: &Context, layer: &Conv2d, input_shape: [u32; 4], seed: u64) {
    let geometry = layer.geometry(input_shape).unwrap_or_else(|error| panic!("{layer:?} on {input_shape:?}: {error}"));
    let trial = Trial::new(&geometry, seed);
    let mut suiting = Vec::new();
    for kernel in kernels::ALL {
        let plans = plans(context, layer, input_shape, kernel.name);
        match (kernel.supports)(&geometry, context.target()) {
            Ok(()) => {
                for plan in plans.unwrap_or_else(|error| panic!("{} on {geometry:?}: {error}", kernel.name)) {
                    trial.check(context, &plan);
                }
                if (kernel.suits)(&geometry, context.target()) {
                    suiting.push(kernel.name);
                }
            }
            Err(reason) => {
                let expected = Error::Unsupported { kernel: kernel.name, reason };
                assert_eq!(plans.err(), Some(expected), "{} on {geometry:?}", kernel.name);
            }
        }
    }
    let chosen = layer.plan(context, input_shape).unwrap();
    assert_eq!(Some(&chosen.kernel()), suiting.first(), "the kernel chosen for {geometry:?}");
}

/// [`check`] for each of these, its index as the seed.
pub fn check_all(context: &Context, cases: impl IntoIterator<Item = Case>) {
    for ((layer, input_shape), seed) in cases.into_iter().zip(1..) {
        check(context, &layer, input_shape, seed);
    }
}

/// The data of one separable layer, in memory.
pub struct SeparableData {
    pub input: Vec<f32>,
    pub depthwise_weight: Vec<f32>,
    pub depthwise_bias: Option<Vec<f32>>,
    pub pointwise_weight: Vec<f32>,
    pub pointwise_bias: Option<Vec<f32>>,
    pub residual: Option<Vec<f32>>,
}

impl SeparableData {
    pub fn new((depthwise, pointwise): (&Geometry, &Geometry), mut fill: impl FnMut(usize) -> Vec<f32>) -> Self {
        let first = Data::new(depthwise, &mut fill);
        let second = Data::new(pointwise, &mut fill);
        Self {
            input: first.input,
            depthwise_weight: first.weight,
            depthwise_bias: first.bias,
            pointwise_weight: second.weight,
            pointwise_bias: second.bias,
            residual: second.residual,
        }
    }

    pub fn reference(&self, parts: (&Geometry, &Geometry)) -> Reference {
        verify::separable_reference(
            parts,
            &self.input,
            (&self.depthwise_weight, self.depthwise_bias.as_deref()),
            (&self.pointwise_weight, self.pointwise_bias.as_deref()),
            self.residual.as_deref(),
        )
    }

    /// Runs a plan three times, into a poisoned output.
    pub fn run(&self, context: &Context, plan: &SeparablePlan) -> [Vec<f32>; 3] {
        let (depthwise, pointwise) = plan.geometry();
        let input_shape = depthwise.input_shape();
        let tensor = |shape, data: &[f32]| Tensor::from_slice(context, shape, data).unwrap();
        let optional = |shape, data: &Option<Vec<f32>>| data.as_ref().map(|data| tensor(shape, data));
        let input = tensor(input_shape, &self.input);
        let depthwise_weight = tensor(depthwise.weight_shape(), &self.depthwise_weight);
        let depthwise_bias = optional(depthwise.bias_shape(), &self.depthwise_bias);
        let pointwise_weight = tensor(pointwise.weight_shape(), &self.pointwise_weight);
        let pointwise_bias = optional(pointwise.bias_shape(), &self.pointwise_bias);
        let residual = optional(plan.output_shape(), &self.residual);
        [(); 3].map(|()| {
            let output = poisoned(context, plan.output_shape());
            let operands = SeparableOperands {
                input: &input,
                depthwise_weight: &depthwise_weight,
                depthwise_bias: depthwise_bias.as_ref(),
                pointwise_weight: &pointwise_weight,
                pointwise_bias: pointwise_bias.as_ref(),
                residual: residual.as_ref(),
                output: &output,
            };
            plan.bind(operands).unwrap().run().unwrap();
            output.read_blocking(context).unwrap()
        })
    }

    /// The data of the normal layer that computes the same.
    pub fn folded(&self, layer: &SeparableConv2d) -> Data {
        let (weight, bias) = layer
            .fold_weights(
                &self.depthwise_weight,
                self.depthwise_bias.as_deref(),
                &self.pointwise_weight,
                self.pointwise_bias.as_deref(),
            )
            .unwrap();
        let has_bias = self.depthwise_bias.is_some() || self.pointwise_bias.is_some();
        Data { input: self.input.clone(), weight, bias: has_bias.then_some(bias), residual: self.residual.clone() }
    }
}

/// Every different plan of a separable layer: the planner's own, two dispatches, and each fused kernel's variants.
pub fn separable_plans(context: &Context, layer: &SeparableConv2d, input_shape: [u32; 4]) -> Vec<SeparablePlan> {
    let own = layer.plan(context, input_shape).unwrap();
    let chained = layer.plan_with_choice(context, input_shape, SeparableChoice::Chained).unwrap();
    let (depthwise, pointwise) = chained.geometry();
    let chosen = [depthwise, pointwise].map(|part| kernels::choose(part, context.target()).name);
    assert_eq!(chained.kernel(), chosen.join(" + "));
    let geometries = (*depthwise, *pointwise);
    let mut plans = vec![own, chained];
    for kernel in kernels::SEPARABLE {
        let supported = (kernel.supports)(&geometries, context.target());
        let variants = supported.map_or(1, |()| (kernel.variants)(&geometries, context.target()).len());
        for variant in 0..variants {
            match layer.plan_with_choice(context, input_shape, SeparableChoice::Fused { kernel, variant }) {
                Ok(plan) => {
                    assert_eq!((plan.kernel().as_str(), supported), (kernel.name, Ok(())));
                    plans.push(plan);
                }
                Err(error) => assert!(matches!(error, Error::Unsupported { .. }), "{error}"),
            }
        }
    }
    // The general one computes every layer that is no larger than the tests' own.
    assert!(plans.iter().any(|plan| plan.kernel() == "separable"));
    plans
}

/// Runs a separable layer, in every way there is, and, where there is one, its equivalent normal layer under every kernel that supports it,
/// on random data and on small integers, and compares all of it with one reference.
pub fn check_separable(context: &Context, layer: &SeparableConv2d, input_shape: [u32; 4], seed: u64) {
    let (depthwise, pointwise) = layer.geometry(input_shape).unwrap();
    let parts = (&depthwise, &pointwise);
    let terms = depthwise.terms() + pointwise.terms();
    let exact = keeps_integers(depthwise.activation) && is_exact(pointwise.activation);

    for integers in [false, true] {
        if integers && !exact {
            continue;
        }
        let mut generator = Random(seed);
        let data =
            SeparableData::new(
                parts,
                |count| {
                    if integers { generator.integers(count) } else { generator.floats(count) }
                },
            );
        let expected = data.reference(parts);
        let compare = |terms, actual: &[f32], what: &str| {
            let what = format!("{what}, {layer:?} on {input_shape:?}, seed {seed}");
            if integers {
                assert_exact(&expected, actual, &what);
            } else {
                assert_close(&expected, pointwise.activation, terms, actual, &what);
            }
        };
        for plan in separable_plans(context, layer, input_shape) {
            for actual in data.run(context, &plan) {
                compare(terms, &actual, &plan.kernel());
            }
        }
        let Some(normal) = layer.equivalent() else { continue };
        let geometry = normal.geometry(input_shape).unwrap();
        let folded = data.folded(layer);
        for kernel in kernels::ALL.into_iter().filter(|kernel| (kernel.supports)(&geometry, context.target()).is_ok()) {
            let plan = normal.plan_with_kernel(context, input_shape, kernel.name).unwrap();
            assert_eq!(plan.kernel(), kernel.name);
            for actual in folded.run(context, &plan) {
                // Folding rounds each weight once, as if its sum were longer by the terms of both parts.
                compare(terms + geometry.terms(), &actual, kernel.name);
            }
        }
    }
}

fn keeps_integers(activation: Activation) -> bool {
    matches!(activation, Activation::None | Activation::Relu | Activation::Relu6)
}
