//! What the tests share: a device, seeded data, and one layer run and compared.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use sepconv::reference::{self, Reference};
use sepconv::unstable::Planner;
use sepconv::{
    Activation, BinaryOperation, Bound, Choice, Context, Conv2d, DType, Error, Geometry, Layer, Operands, Parameters,
    Plan, PoolGeometry, Pooling, Residual, SeparableConv2d, Target, Tensor, Weights, kernels, verify,
};

pub mod golden;
pub mod winograd;

/// A GPU and devices in software, all with WebGPU's default limits: what they differ in is tiles and kernels.
pub fn targets() -> [Target; 4] {
    let kinds = [(false, None, false), (true, None, false), (true, Some(8), false), (true, Some(8), true)];
    kinds.map(|(software, subgroup_size, shader_int64)| {
        let mut target = Target::from(wgpu::Limits::default());
        (target.software, target.subgroup_size, target.shader_int64) = (software, subgroup_size, shader_int64);
        target
    })
}

/// Whether the tests are to do without a device.
pub fn skipped() -> bool {
    std::env::var("SEPCONV_TEST_GPU").is_ok_and(|value| value == "skip")
}

/// The device under test, or none if `SEPCONV_TEST_GPU=skip` says to do without. A missing adapter is a failure.
///
/// Each test gets one of two devices, in turn: a driver in software compiles the shaders of one device one after the
/// other, and those of two on two cores.
pub fn context() -> Option<&'static Context> {
    static CONTEXTS: [OnceLock<Option<Context>>; 2] = [OnceLock::new(), OnceLock::new()];
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static INDEX: usize = NEXT.fetch_add(1, Ordering::Relaxed) % CONTEXTS.len();
    }
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
    CONTEXTS[INDEX.with(|index| *index)].get_or_init(open).as_ref()
}

/// The same device with tensors of `f16`, or none if its shaders have none.
pub fn half(context: &Context) -> Option<Context> {
    let half = context.with_dtype(DType::F16);
    if !context.target().shader_f16 {
        assert!(half.is_err());
        eprintln!("{} has no f16: nothing is run with it", context.adapter_info().name);
        return None;
    }
    Some(half.unwrap())
}

/// Values as tensors of this type hold them.
pub fn rounded(dtype: DType, values: &[f32]) -> Vec<f32> {
    values.iter().map(|&value| dtype.round(value)).collect()
}

/// Whether the sweeps are to leave nothing out: `SEPCONV_TEST_SWEEP=whole`. A software driver takes a quarter of an hour to
/// compile all of their shaders, so that without it each case of a sweep is given to one kernel after the other in turn.
pub fn sweeps_whole() -> bool {
    std::env::var("SEPCONV_TEST_SWEEP").is_ok_and(|value| value == "whole")
}

/// How far it is from one case that a sweep takes to the next: so far, or 1 if it is to leave nothing out.
pub fn every(nth: usize) -> usize {
    if sweeps_whole() { 1 } else { nth }
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
        required_features: adapter.features()
            & (wgpu::Features::SUBGROUP | wgpu::Features::SHADER_INT64 | wgpu::Features::SHADER_F16),
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

/// A layer that takes a software driver a tenth of a second, and a GPU some milliseconds.
pub fn long_layer(context: &Context) -> Bound {
    let (channels, size) = if context.target().software { (32, 64) } else { (256, 128) };
    let (shape, layer) = ([1, channels, size, size], Conv2d::new(channels, channels, 3).padding(1).bias(false));
    let plan = layer.plan_with_kernel(context, shape, "direct").unwrap();
    let [input, output] = [shape, plan.output_shape()].map(|shape| Tensor::zeros(context, shape).unwrap());
    let weight = Tensor::zeros(context, [channels, channels, 3, 3]).unwrap();
    plan.bind(&plan.weights(&Parameters::new(&weight)).unwrap(), Operands::new(&input, &output)).unwrap()
}

/// A kernel's first variant.
pub fn first_of(kernel: &str) -> Choice {
    Choice::new(kernels::by_name(kernel).unwrap(), 0)
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

/// Every activation there is, with numbers for those that take some.
pub const FUNCTIONS: [Activation; 25] = [
    Activation::None,
    Activation::Relu,
    Activation::Relu6,
    Activation::LeakyRelu(0.1),
    Activation::Silu,
    Activation::HardSwish,
    Activation::Clamp(-0.75, 1.5),
    Activation::Sigmoid,
    Activation::Tanh,
    Activation::HardSigmoid(0.2, 0.5),
    Activation::Elu(0.75),
    Activation::Gelu,
    Activation::GeluTanh,
    Activation::Softplus,
    Activation::Mish,
    Activation::Linear(0.5, -1.5),
    Activation::Erf,
    Activation::Exp,
    Activation::Log,
    Activation::Sqrt,
    Activation::Abs,
    Activation::Reciprocal,
    Activation::Floor,
    Activation::Ceil,
    Activation::HardSwishLinear(0.5, -1.5),
];

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

/// Every operation on two tensors.
pub const OPERATIONS: [BinaryOperation; 8] = [
    BinaryOperation::Add,
    BinaryOperation::Sub,
    BinaryOperation::Mul,
    BinaryOperation::Div,
    BinaryOperation::Pow,
    BinaryOperation::Min,
    BinaryOperation::Max,
    BinaryOperation::PRelu,
];

/// The ends of what an `f32` holds, and what is near the limits of activations.
pub const ENDS: [f32; 18] = [
    f32::MAX,
    f32::MIN,
    1e38,
    -1e38,
    f32::MIN_POSITIVE,
    -f32::MIN_POSITIVE,
    1e-45,
    -1e-45,
    0.0,
    -0.0,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
    3.0,
    -3.0,
    6.0,
    80.0,
    -80.0,
];

/// What an activation of a value must give, as near as WGSL's own functions are to be. A device may take numbers below the
/// least normal one for zero.
pub fn assert_activated(activation: Activation, x: f32, actual: f32, what: &str) {
    let is_right = |x: f32| {
        let expected = activation.apply(x.into());
        let [rounded] = narrow(&[expected])[..] else { unreachable!() };
        let difference = (expected - f64::from(actual)).abs();
        (rounded.is_nan() && actual.is_nan())
            || rounded.to_bits() == actual.to_bits()
            || rounded.is_finite() && difference <= tolerance(activation, x.into(), expected)
    };
    let expected = activation.apply(x.into());
    let flushed = x.is_subnormal() && is_right(0.0_f32.copysign(x));
    assert!(is_right(x) || flushed, "{activation:?} of {x:e} is {expected:e}, not {actual:e}: {what}");
}

/// How far an activation's value may be off.
fn tolerance(activation: Activation, x: f64, expected: f64) -> f64 {
    // Past this, exp is 0 or infinite.
    let size = x.abs().min(104.0);
    // In units in the last place. WGSL allows exp 3 + 2|x| of them, log 3, division 2.5; the rest is sums and products.
    let units = match activation {
        Activation::None
        | Activation::Relu
        | Activation::Relu6
        | Activation::Clamp(..)
        | Activation::Abs
        | Activation::Floor
        | Activation::Ceil => 0.0,
        Activation::Silu | Activation::Sigmoid | Activation::Elu(_) | Activation::Softplus | Activation::Exp => {
            7.0 + 2.0 * size
        }
        // Its exp is squared.
        Activation::Mish => 8.0 + 4.0 * size,
        Activation::Gelu => 12.0 + 2.0 * size * size,
        Activation::GeluTanh => 7.0 + 2.0 * (1.6 * size + 0.072 * size.powi(3)).min(104.0) * 3.0,
        Activation::Tanh | Activation::Erf => 12.0,
        Activation::Log => 3.0,
        Activation::Sqrt => 4.5,
        Activation::Reciprocal => 2.5,
        _ => 4.0,
    };
    // What a difference loses, and log, which may be off by 2^-21 where it is near 0.
    let lost = match activation {
        Activation::Linear(slope, offset) | Activation::HardSigmoid(slope, offset) => {
            f64::from(f32::EPSILON) * (f64::from(slope) * x).abs().min(2.0 * f64::from(offset).abs())
        }
        // The product that it starts from is off by as many units as any.
        Activation::HardSwishLinear(slope, offset) => {
            let product = (f64::from(slope) * Activation::HardSwish.apply(x)).abs();
            units * f64::from(f32::EPSILON) * product.min(2.0 * f64::from(offset).abs())
        }
        Activation::Log if (0.5..=2.0).contains(&x) => 2.0_f64.powi(-21),
        _ => 0.0,
    };
    // What is made of a number that was taken for zero may be multiplied by x.
    units * f64::from(f32::EPSILON) * expected.abs() + lost + size.max(1.0) * f64::from(f32::MIN_POSITIVE)
}

/// Whether the activation of a whole number below 2^24 is one `f32`, whichever way it is computed.
fn is_exact(activation: Activation) -> bool {
    !matches!(activation, Activation::Silu | Activation::HardSwish)
}

/// Whether a layer of small whole numbers is rounded at most once. What is added behind a slope is rounded again.
fn has_one_rounding(geometry: &Geometry) -> bool {
    let is_sloped = matches!(geometry.activation, Activation::LeakyRelu(_));
    is_exact(geometry.activation) && !(is_sloped && geometry.residual == Residual::AfterActivation)
}

/// The data of one layer, in memory.
pub struct Data {
    pub geometry: Geometry,
    pub input: Vec<f32>,
    pub weight: Vec<f32>,
    pub bias: Option<Vec<f32>>,
    pub residual: Option<Vec<f32>>,
    pub input_scale: Option<Vec<f32>>,
}

impl Data {
    pub fn new(geometry: &Geometry, mut fill: impl FnMut(usize) -> Vec<f32>) -> Self {
        Self {
            geometry: *geometry,
            input: fill(count(geometry.input_shape())),
            weight: fill(count(geometry.weight_shape())),
            bias: geometry.bias.then(|| fill(count(geometry.bias_shape()))),
            residual: geometry.residual.is_some().then(|| fill(count(geometry.output_shape()))),
            input_scale: geometry.input_scale.then(|| fill(count(geometry.input_scale_shape()))),
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

    /// The same data as tensors of this type hold it.
    pub fn rounded(mut self, dtype: DType) -> Self {
        let optional = [&mut self.bias, &mut self.residual, &mut self.input_scale].into_iter().flatten();
        for values in [&mut self.input, &mut self.weight].into_iter().chain(optional) {
            *values = rounded(dtype, values);
        }
        self
    }

    pub fn reference(&self) -> Reference {
        let bias = self.bias.as_deref();
        let Some(scale) = &self.input_scale else {
            return reference::conv2d(&self.geometry, &self.input, &self.weight, bias, self.residual.as_deref());
        };
        let plane = self.input.len() / scale.len().max(1);
        let channels = self.input.chunks(plane.max(1)).zip(scale);
        let scaled = channels.flat_map(|(values, &scale)| values.iter().map(move |&x| f64::from(x) * f64::from(scale)));
        let residual: Option<Vec<f64>> =
            self.residual.as_ref().map(|residual| residual.iter().copied().map(f64::from).collect());
        reference::conv2d(&self.geometry, &scaled.collect::<Vec<_>>(), &self.weight, bias, residual.as_deref())
    }

    /// Runs a plan on this data three times, into an output that was poisoned with NaN, and returns the results.
    pub fn run(&self, context: &Context, plan: &Plan) -> [Vec<f32>; 3] {
        let g = &self.geometry;
        let tensor = |shape, data: &[f32]| Tensor::from_slice(context, shape, data).unwrap();
        let input = tensor(g.input_shape(), &self.input);
        let residual = self.residual.as_ref().map(|residual| tensor(g.output_shape(), residual));
        let scale = self.input_scale.as_ref().map(|scale| tensor(g.input_scale_shape(), scale));
        let weights = self.weights(context, plan);
        [(); 3].map(|()| {
            let output = poisoned(context, plan.output_shape());
            let operands = Operands::new(&input, &output).residual(&residual).input_scale(&scale);
            plan.bind(&weights, operands).unwrap().run().unwrap();
            output.read_blocking().unwrap()
        })
    }

    /// The layer's weights on a device, as a plan of it reads them.
    pub fn weights(&self, context: &Context, plan: &Plan) -> Weights {
        let tensor = |shape, data: &[f32]| Tensor::from_slice(context, shape, data).unwrap();
        let weight = tensor(self.geometry.weight_shape(), &self.weight);
        let bias = self.bias.as_ref().map(|bias| tensor(self.geometry.bias_shape(), bias));
        plan.weights(&Parameters::new(&weight).bias(&bias)).unwrap()
    }
}

/// A tensor of NaNs: an output that is not written whole stays wrong.
pub fn poisoned(context: &Context, shape: [u32; 4]) -> Tensor {
    Tensor::from_slice(context, shape, &vec![f32::NAN; count(shape)]).unwrap()
}

/// Compares a result with the reference, within the bound.
pub fn assert_close(expected: &Reference, activation: Activation, terms: u64, actual: &[f32], what: &str) {
    assert_close_of(DType::F32, expected, activation, terms, actual, what);
}

/// [`assert_close`] of a result of this type.
pub fn assert_close_of(
    dtype: DType,
    expected: &Reference,
    activation: Activation,
    terms: u64,
    actual: &[f32],
    what: &str,
) {
    let error = verify::largest_error_of(dtype, expected, activation, terms, actual);
    assert!(error <= 1.0, "the largest error is {error} times the bound: {what}");
}

/// Compares a result of this type with the reference, rounded once, bit for bit (but for the sign of zero).
pub fn assert_exact(dtype: DType, expected: &Reference, actual: &[f32], what: &str) {
    assert!(actual == rounded(dtype, &narrow(&expected.values)), "small integers are not exact: {what}");
}

/// The method of a kernel that does not keep to the bound of a sum, nor to integers: it has thirds in its weights.
fn method_of(kernel: &str) -> Option<&'static winograd::Method> {
    winograd::Method::of(kernel).filter(|_| kernel == "winograd_4x4")
}

/// Random data and small integers for one geometry, with what comes out.
pub struct Trial {
    geometry: Geometry,
    seed: u64,
    random: (Data, Reference),
    integers: Option<(Data, Reference)>,
}

impl Trial {
    pub fn new(dtype: DType, geometry: &Geometry, seed: u64) -> Self {
        let with_reference = |data: Data| {
            let data = data.rounded(dtype);
            let reference = data.reference();
            (data, reference)
        };
        Self {
            geometry: *geometry,
            seed,
            random: with_reference(Data::random(geometry, seed)),
            integers: has_one_rounding(geometry).then(|| with_reference(Data::integers(geometry, seed))),
        }
    }

    pub fn check(&self, context: &Context, plan: &Plan) {
        let geometry = &self.geometry;
        let what = format!("{} on {geometry:?}, seed {}", plan.kernel(), self.seed);
        let (data, expected) = &self.random;
        if let Some(method) = method_of(plan.kernel()) {
            for data in [Some(data), self.integers.as_ref().map(|(data, _)| data)].into_iter().flatten() {
                let (expected, terms) = method.expected(data);
                for actual in data.run(context, plan) {
                    assert_close_of(context.dtype(), &expected, geometry.activation, terms, &actual, &what);
                }
            }
            return;
        }
        for actual in data.run(context, plan) {
            let terms = Layer::from(*geometry).describe().terms();
            assert_close_of(context.dtype(), expected, geometry.activation, terms, &actual, &what);
        }
        let Some((data, expected)) = &self.integers else { return };
        for actual in data.run(context, plan) {
            assert_exact(context.dtype(), expected, &actual, &what);
        }
    }
}

/// Runs a plan on random data and on small integers and compares the results with the reference.
pub fn check_plan(context: &Context, geometry: &Geometry, plan: &Plan, seed: u64) {
    Trial::new(context.dtype(), geometry, seed).check(context, plan);
}

/// Every different plan of a layer with one kernel: a GPU's tiles and a software device's, wherever it runs.
pub fn plans(context: &Context, layer: &Conv2d, input_shape: [u32; 4], kernel: &str) -> sepconv::Result<Vec<Plan>> {
    let mut plans: Vec<Plan> = Vec::new();
    let by_name = kernels::by_name(kernel)?;
    let geometry = layer.geometry(input_shape)?.into();
    let contexts = [false, true].map(|software| context.with_software(software));
    for context in contexts.iter().filter(|context| by_name.supports(&geometry, context.target()).is_ok()) {
        let plan = layer.plan_with_kernel(context, input_shape, kernel)?;
        assert_eq!(plan.kernel(), kernel);
        if plans.iter().all(|other| other.program().steps != plan.program().steps) {
            plans.push(plan);
        }
    }
    Ok(plans)
}

/// Forces every kernel onto a layer: those that support it must be right, the others must refuse it, and the planner
/// must choose one that supports it.
pub fn check(context: &Context, layer: &Conv2d, input_shape: [u32; 4], seed: u64) {
    check_with(context, layer, input_shape, seed, |_, _| true);
}

/// [`check`] with these plans alone, by their kernel's name and their place among all that there are.
fn check_with(
    context: &Context,
    layer: &Conv2d,
    input_shape: [u32; 4],
    seed: u64,
    takes: impl Fn(&str, usize) -> bool,
) {
    let geometry = layer.geometry(input_shape).unwrap_or_else(|error| panic!("{layer:?} on {input_shape:?}: {error}"));
    let layer_of_kernels = geometry.into();
    let mut trial = None;
    let mut index = 0;
    for kernel in kernels::ALL {
        if let Err(reason) = kernel.supports(&layer_of_kernels, context.target()) {
            let refused = layer.plan_with_kernel(context, input_shape, kernel.name).err();
            let expected = Error::Unsupported { kernel: kernel.name, reason };
            assert_eq!(refused, Some(expected), "{} on {geometry:?}", kernel.name);
            continue;
        }
        for software in [false, true] {
            index += 1;
            let context = &context.with_software(software);
            let can = kernel.supports(&layer_of_kernels, context.target()).is_ok();
            if can && takes(kernel.name, index) {
                let plan = layer.plan_with_kernel(context, input_shape, kernel.name);
                let plan = plan.unwrap_or_else(|error| panic!("{} on {geometry:?}: {error}", kernel.name));
                assert_eq!(plan.kernel(), kernel.name);
                let trial = trial.get_or_insert_with(|| Trial::new(context.dtype(), &geometry, seed));
                trial.check(context, &plan);
            }
        }
    }
    let choices = Choice::all(&layer_of_kernels, context.target());
    assert_eq!(choices[0].0.kernel.name, own(&layer_of_kernels, context.target()), "chosen for {geometry:?}");
}

/// The kernel that the planner is to choose: of those that suit the layer one of the least rank, and of these the first.
pub fn own(layer: &Layer, target: &Target) -> &'static str {
    let suits = |kernel: &&&kernels::Kernel| kernel.supports(layer, target).is_ok() && kernel.suits(layer, target);
    kernels::ALL.iter().filter(suits).min_by_key(|kernel| kernel.rank).unwrap().name
}

/// The most sets of constants that a sweep has, and the most cases of one set, unless it is to be whole.
const STRUCTURES: usize = 4;
const CASES_OF_A_STRUCTURE: usize = 12;

/// [`check`] for each of these, its index as the seed. Unless the sweep is to be whole, each case has one of its kernels'
/// plans, the same for all cases that a kernel has the same constants for, and of many such sets, and of many cases of one
/// set, some are left out: so that few shaders are compiled.
pub fn check_all(context: &Context, cases: impl IntoIterator<Item = Case>) {
    let whole = sweeps_whole();
    let cases: Vec<Case> = cases.into_iter().collect();
    let structures: BTreeSet<u64> = cases.iter().map(structure).collect();
    let step = structures.len().div_ceil(STRUCTURES);
    let taken: BTreeSet<u64> = structures.into_iter().step_by(if whole { 1 } else { step }).collect();
    let of_a_structure = cases.iter().map(structure).fold(BTreeMap::new(), |mut counts, structure| {
        *counts.entry(structure).or_insert(0_usize) += 1;
        counts
    });
    let mut met = BTreeMap::new();
    for (case @ (layer, input_shape), seed) in cases.into_iter().zip(1..) {
        let structure = structure(&case);
        let index = met.entry(structure).or_insert(0);
        *index += 1;
        let step = of_a_structure[&structure].div_ceil(CASES_OF_A_STRUCTURE);
        if !whole && (!taken.contains(&structure) || *index % step > 0) {
            continue;
        }
        check_in_turn(context, &layer, input_shape, seed, structure);
    }
}

/// [`check`] with one of the plans, by the turn, unless the sweep is to be whole.
pub fn check_in_turn(context: &Context, layer: &Conv2d, input_shape: [u32; 4], seed: u64, turn: u64) {
    let whole = sweeps_whole();
    let geometry = layer.geometry(input_shape).unwrap();
    let plans = 2 * kernels::supporting(&geometry.into(), context.target()).len();
    let turn = usize::try_from(turn % plans as u64).unwrap();
    check_with(context, layer, input_shape, seed, |_, index| whole || index - 1 == turn);
}

/// A number for what kernels have as constants of a layer.
fn structure((layer, input_shape): &Case) -> u64 {
    let g = layer.geometry(*input_shape).unwrap();
    let window = (g.kernel_size, g.stride, g.dilation, g.padding_mode, g.groups > 1);
    let mut hasher = DefaultHasher::new();
    (window, g.bias, g.residual, g.input_scale, format!("{:?}", g.activation)).hash(&mut hasher);
    hasher.finish()
}

/// [`check`] for each of these with the kernel of this name alone, its index as the seed.
pub fn check_kernel(context: &Context, name: &str, cases: impl IntoIterator<Item = Case>) {
    for ((layer, input_shape), seed) in cases.into_iter().zip(1..) {
        check_with(context, &layer, input_shape, seed, |kernel, _| kernel == name);
    }
}

/// Every variant of every kernel, with a GPU's tiles and a software device's, since the tuner may take any; unless the
/// sweep is to be whole, every tenth.
pub fn check_variants(context: &Context, cases: impl IntoIterator<Item = Case>) {
    let (whole, mut met, mut forced) = (sweeps_whole(), 0, 0);
    for ((layer, shape), seed) in cases.into_iter().zip(1..) {
        let geometry = layer.geometry(shape).unwrap();
        let mut trial = None;
        for software in [false, true] {
            let context = context.with_software(software);
            for (choice, variant) in Choice::all(&geometry.into(), context.target()) {
                met += usize::from(choice.variant > 0);
                if !whole && (choice.variant == 0 || met % 10 > 0) {
                    continue;
                }
                let plan = layer.plan_with_choice(&context, shape, choice).unwrap();
                let is_own = |step: &sepconv::unstable::Step| step.constants.starts_with(&variant.constants);
                assert!(plan.program().steps.iter().any(is_own), "{choice}");
                let trial = trial.get_or_insert_with(|| Trial::new(context.dtype(), &geometry, seed));
                trial.check(&context, &plan);
                forced += usize::from(choice.variant > 0);
            }
        }
    }
    assert!(met > 100 && forced >= met / 11, "only {forced} of {met} are not the first of their kernel");
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
    pub fn run(&self, context: &Context, (depthwise, pointwise): (&Geometry, &Geometry), plan: &Plan) -> [Vec<f32>; 3] {
        let input_shape = depthwise.input_shape();
        let tensor = |shape, data: &[f32]| Tensor::from_slice(context, shape, data).unwrap();
        let optional = |shape, data: &Option<Vec<f32>>| data.as_ref().map(|data| tensor(shape, data));
        let input = tensor(input_shape, &self.input);
        let depthwise_weight = tensor(depthwise.weight_shape(), &self.depthwise_weight);
        let depthwise_bias = optional(depthwise.bias_shape(), &self.depthwise_bias);
        let pointwise_weight = tensor(pointwise.weight_shape(), &self.pointwise_weight);
        let pointwise_bias = optional(pointwise.bias_shape(), &self.pointwise_bias);
        let residual = optional(plan.output_shape(), &self.residual);
        let parameters = Parameters::separable(&depthwise_weight, &pointwise_weight);
        let parameters = parameters.depthwise_bias(&depthwise_bias).pointwise_bias(&pointwise_bias);
        let weights = plan.weights(&parameters).unwrap();
        [(); 3].map(|()| {
            let output = poisoned(context, plan.output_shape());
            plan.bind(&weights, Operands::new(&input, &output).residual(&residual)).unwrap().run().unwrap();
            output.read_blocking().unwrap()
        })
    }

    /// The data of the normal layer that computes the same.
    pub fn folded(&self, layer: &SeparableConv2d, geometry: Geometry) -> Data {
        let (weight, bias) = layer
            .fold_weights(
                &self.depthwise_weight,
                self.depthwise_bias.as_deref(),
                &self.pointwise_weight,
                self.pointwise_bias.as_deref(),
            )
            .unwrap();
        let has_bias = self.depthwise_bias.is_some() || self.pointwise_bias.is_some();
        let (input, residual) = (self.input.clone(), self.residual.clone());
        Data { geometry, input, weight, bias: has_bias.then_some(bias), residual, input_scale: None }
    }
}

/// Every way to plan a separable layer, the planner's own first; none for those that are not taken.
fn separable_plans(
    context: &Context,
    layer: &SeparableConv2d,
    input_shape: [u32; 4],
    takes: &impl Fn(usize) -> bool,
) -> Vec<Option<Plan>> {
    let parts @ (depthwise, pointwise) = layer.geometry(input_shape).unwrap();
    let planner = Planner::new(context.target().clone());
    let chosen = [depthwise, pointwise].map(|part| planner.plan(&part.into()).unwrap().kernel);
    let choices = Choice::all(&parts.into(), context.target());
    assert_eq!(choices[0].0.kernel.name, own(&parts.into(), context.target()));
    // The general one computes every layer that is no larger than the tests' own.
    assert!(choices.iter().any(|(choice, _)| choice.kernel.name == "separable"));
    for kernel in kernels::ALL {
        if let Err(reason) = kernel.supports(&parts.into(), context.target()) {
            let refused = layer.plan_with_kernel(context, input_shape, kernel.name).err();
            assert_eq!(refused, Some(Error::Unsupported { kernel: kernel.name, reason }));
        }
    }
    let plan = |(way, (choice, _)): (usize, (Choice, _))| {
        takes(way).then(|| {
            let plan = layer.plan_with_choice(context, input_shape, choice).unwrap();
            let kernel = choice.kernel.name;
            assert_eq!(plan.kernel(), if kernel == "chained" { chosen.join(" + ") } else { kernel.to_owned() });
            plan
        })
    };
    choices.into_iter().enumerate().map(plan).collect()
}

/// Runs a separable layer, in every way there is, and, where there is one, its equivalent normal layer under every kernel
/// that supports it, on random data and on small integers, and compares all of it with one reference.
pub fn check_separable(context: &Context, layer: &SeparableConv2d, input_shape: [u32; 4], seed: u64) {
    let ran = check_separable_with(context, layer, input_shape, seed, |_| true);
    assert!(ran > 1, "{layer:?}");
}

/// [`check_separable`] with one in twenty of the ways that there are, unless the sweep is to be whole; returns how many ran:
/// of one layer that may be none.
pub fn check_separable_in_turn(context: &Context, layer: &SeparableConv2d, input_shape: [u32; 4], seed: u64) -> usize {
    let whole = sweeps_whole();
    check_separable_with(context, layer, input_shape, seed, |way| whole || (way as u64 + seed).is_multiple_of(60))
}

/// [`check_separable`] with the planner's own way, unless the sweep is to be whole.
pub fn check_separable_as_planned(context: &Context, layer: &SeparableConv2d, input_shape: [u32; 4], seed: u64) {
    let whole = sweeps_whole();
    let ran = check_separable_with(context, layer, input_shape, seed, |way| whole || way == 0);
    assert!(ran > 0, "{layer:?}");
}

fn check_separable_with(
    context: &Context,
    layer: &SeparableConv2d,
    input_shape: [u32; 4],
    seed: u64,
    takes: impl Fn(usize) -> bool,
) -> usize {
    let mut ran = 0;
    let (depthwise, pointwise) = layer.geometry(input_shape).unwrap();
    let parts = (&depthwise, &pointwise);
    let terms = depthwise.terms() + pointwise.terms();
    let exact = keeps_integers(depthwise.activation) && has_one_rounding(&pointwise);

    for integers in [false, true] {
        if integers && !exact {
            continue;
        }
        let mut generator = Random(seed);
        let data = SeparableData::new(parts, |count| {
            let values = if integers { generator.integers(count) } else { generator.floats(count) };
            rounded(context.dtype(), &values)
        });
        let expected = data.reference(parts);
        let compare = |terms, actual: &[f32], what: &str| {
            let what = format!("{what}, {layer:?} on {input_shape:?}, seed {seed}");
            if integers {
                assert_exact(context.dtype(), &expected, actual, &what);
            } else {
                assert_close_of(context.dtype(), &expected, pointwise.activation, terms, actual, &what);
            }
        };
        let plans = separable_plans(context, layer, input_shape, &takes);
        let count = plans.len();
        for plan in plans.into_iter().flatten() {
            ran += 1;
            for actual in data.run(context, parts, &plan) {
                compare(terms, &actual, plan.kernel());
            }
        }
        // Its weights are products, which tensors of f16 would round once more.
        let Some(normal) = layer.equivalent().filter(|_| context.dtype() == DType::F32) else { continue };
        let geometry = normal.geometry(input_shape).unwrap();
        let folded = data.folded(layer, geometry);
        let supports = |kernel: &&&kernels::Kernel| kernel.supports(&geometry.into(), context.target()).is_ok();
        let ways = kernels::ALL.iter().filter(supports).zip(count..);
        let ways = ways.filter(|(kernel, _)| !integers || method_of(kernel.name).is_none());
        for (kernel, _) in ways.filter(|(_, way)| takes(*way)) {
            ran += 1;
            let plan = normal.plan_with_kernel(context, input_shape, kernel.name).unwrap();
            assert_eq!(plan.kernel(), kernel.name);
            for actual in folded.run(context, &plan) {
                // Folding rounds each weight once, as if its sum were longer by the terms of both parts.
                compare(terms + geometry.terms(), &actual, kernel.name);
            }
        }
    }
    ran
}

pub fn keeps_integers(activation: Activation) -> bool {
    matches!(activation, Activation::None | Activation::Relu | Activation::Relu6)
}

/// Runs a pool three times with every variant of its kernels, and compares the results with the reference: bit by bit if it
/// is a max pool.
pub fn check_pool(context: &Context, geometry: PoolGeometry, seed: u64) {
    let mut generator = Random(seed);
    let mut input = generator.floats(count(geometry.input_shape()));
    // What no other value is larger than, and what none may hide.
    for (place, value) in [(7, f32::INFINITY), (13, f32::NAN), (29, f32::NEG_INFINITY)] {
        if let Some(entry) = input.get_mut(place) {
            *entry = value;
        }
    }
    let input = rounded(context.dtype(), &input);
    let layer = Layer::from(geometry);
    let expected = layer.describe().reference(&[&input]);
    let tensor = Tensor::from_slice(context, geometry.input_shape(), &input).unwrap();
    for (choice, _) in Choice::all(&geometry.into(), context.target()) {
        let plan = context.plan_with(geometry, choice).unwrap();
        for _ in 0..3 {
            let output = poisoned(context, plan.output_shape());
            plan.bind(None, Operands::new(&tensor, &output)).unwrap().run().unwrap();
            let actual = output.read_blocking().unwrap();
            let terms = layer.describe().terms();
            let error = verify::largest_error_of(context.dtype(), &expected, Activation::None, terms, &actual);
            assert!(error <= 1.0, "{choice} on {geometry:?}, seed {seed}: {error} of the bound");
            let same = |(a, b): (&f32, &f64)| {
                f64::from(*a).total_cmp(b).is_eq() || (a.is_nan() && b.is_nan()) || (*a == 0.0 && *b == 0.0)
            };
            let differing = actual.iter().zip(&expected.values).position(|pair| !same(pair));
            if geometry.pooling == Pooling::Max {
                assert_eq!(differing, None, "{choice} on {geometry:?}, seed {seed}");
            }
        }
    }
}
