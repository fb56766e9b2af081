//! What the tests share: a device, seeded data, and one layer run and compared.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::sync::OnceLock;

use sepconv::{Context, Conv2d, Geometry, Operands, Plan, Tensor, reference, verify};

/// The device under test, or none if `SEPCONV_TEST_GPU=skip` says to do without. A missing adapter is a failure.
pub fn context() -> Option<&'static Context> {
    static CONTEXT: OnceLock<Option<Context>> = OnceLock::new();
    let open = || {
        if std::env::var("SEPCONV_TEST_GPU").is_ok_and(|value| value == "skip") {
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

/// A small generator of reproducible data: SplitMix64 (Steele, Lea and Flood 2014).
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

    pub fn reference(&self, geometry: &Geometry) -> reference::Reference {
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
            let output = tensor(plan.output_shape(), &vec![f32::NAN; count(plan.output_shape())]);
            let operands = Operands::new(&input, &weight, &output).bias(&bias).residual(&residual);
            plan.bind(operands).unwrap().run().unwrap();
            output.read_blocking(context).unwrap()
        })
    }
}

/// Runs a layer on random data and on small integers, with this kernel, and compares it with the reference.
pub fn check(context: &Context, layer: &Conv2d, input_shape: [u32; 4], kernel: &str, seed: u64) {
    let plan = layer.plan_with_kernel(context, input_shape, kernel).unwrap();
    assert_eq!(plan.kernel(), kernel);
    check_plan(context, &plan, seed);
}

/// [`check`] for a plan that was made already.
pub fn check_plan(context: &Context, plan: &Plan, seed: u64) {
    let geometry = plan.geometry();
    let what = || format!("{} on {geometry:?}, seed {seed}", plan.kernel());

    let random = Data::new(geometry, |count| Random(seed).floats(count));
    let expected = random.reference(geometry);
    for actual in random.run(context, plan) {
        let error = verify::largest_error(&expected, geometry.activation, geometry.terms(), &actual);
        assert!(error <= 1.0, "the largest error is {error} times the bound: {}", what());
    }

    if !matches!(geometry.activation, sepconv::Activation::Silu | sepconv::Activation::HardSwish) {
        let mut generator = Random(seed);
        let integers = Data::new(geometry, |count| generator.integers(count));
        let expected = integers.reference(geometry).values;
        for actual in integers.run(context, plan) {
            let actual: Vec<f64> = actual.into_iter().map(f64::from).collect();
            assert!(actual == expected, "small integers are not exact: {}", what());
        }
    }
}
