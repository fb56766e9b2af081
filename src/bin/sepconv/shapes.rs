//! Layers to be timed, each compared with the reference before.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sepconv::timing::{self, Timing};
use sepconv::unstable::{LayerTensors, Planner, Sample};
use sepconv::{Bound, Choice, Context, DType, Layer, Plan, Tensor, kernels};

use crate::failure::{Failure, Outcome};

/// Which candidates a layer is timed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kernels {
    /// The planner's choice.
    Chosen,
    /// Also every other kernel that supports the layer.
    All,
    /// Also every variant of every kernel that supports the layer.
    Variants,
}

/// A layer and its name.
pub struct Shape {
    pub id: String,
    pub layer: Layer,
}

/// What is wrong with a layer, by its name.
pub fn failed(id: &str, error: sepconv::Error) -> Failure {
    Failure::from(error).within(&format!("shape {id}"))
}

impl Shape {
    /// The planner's choice first, then the others that are asked for.
    pub fn candidates(&self, context: &Context, which: Kernels) -> Outcome<Vec<Candidate>> {
        let planner = Planner::new(context.target().clone()).with_tuning(Arc::new(context.tuning().clone()));
        let (own, _) = planner.planned(&self.layer).map_err(|error| failed(&self.id, error))?;
        let plan = context.plan_with(self.layer, own).map_err(|error| failed(&self.id, error))?;
        let mut plans = vec![(own, plan)];
        let others: Vec<Choice> = match which {
            Kernels::Chosen => Vec::new(),
            Kernels::All => {
                let kernels = kernels::supporting(&self.layer, context.target()).into_iter();
                kernels.map(|kernel| Choice::new(kernel, 0)).collect()
            }
            Kernels::Variants => Choice::all(&self.layer, context.target()).into_iter().map(|(way, _)| way).collect(),
        };
        for choice in others {
            let plan = match context.plan_with(self.layer, choice) {
                // Another may need no more than there is.
                Err(error) if error.is_request() => continue,
                plan => plan.map_err(|error| failed(&self.id, error))?,
            };
            if choice != own && (which == Kernels::Variants || plan.kernel() != plans[0].1.kernel()) {
                plans.push((choice, plan));
            }
        }
        let data = self.data(context.dtype());
        let set = |_| LayerTensors::new(context, &self.layer, &data);
        let sets = (0..set_count(self.bytes(context.dtype()))).map(set).collect::<sepconv::Result<Vec<_>>>()?;
        let expected = Sample::new(&self.layer, &data);
        let candidate = |(choice, plan): &(Choice, Plan)| {
            let made = self.candidate(context, plan, &sets, &expected)?;
            let variant = planner.variant_text(&self.layer, *choice);
            Ok(Candidate { variant, predicted: planner.predicted(&self.layer, *choice), ..made })
        };
        plans.iter().map(candidate).collect()
    }

    /// Binds a plan to every set, with an output of its own, and compares the first one's result with the reference.
    fn candidate(
        &self,
        context: &Context,
        plan: &Plan,
        sets: &[LayerTensors],
        expected: &Sample,
    ) -> Outcome<Candidate> {
        let (mut bounds, mut outputs) = (Vec::new(), Vec::new());
        for tensors in sets {
            let output = poisoned(context, plan.output_shape())?;
            bounds.push(tensors.bind(plan, &output)?);
            outputs.push(output);
        }
        bounds[0].run()?;
        let result = outputs[0].read_blocking()?;
        let (id, kernel) = (self.id.clone(), plan.kernel().to_owned());
        let operations = plan.program().operations;
        let error = expected.error(context.dtype(), &result);
        Ok(Candidate {
            id,
            kernel,
            variant: String::new(),
            operations,
            predicted: None,
            error,
            bounds,
            outputs,
            result,
        })
    }

    /// Values for all that the layer is given, in its order, which tensors of this type hold.
    fn data(&self, dtype: DType) -> Vec<Vec<f32>> {
        let rounded = |values: Vec<f32>| values.into_iter().map(|value| dtype.round(value)).collect();
        self.layer.describe().given().iter().map(|given| rounded(values(given.shape))).collect()
    }

    /// The milliseconds that the reference takes for the layer.
    pub fn time_reference(&self) -> f64 {
        let data = self.data(DType::F32);
        let data: Vec<&[f32]> = data.iter().map(Vec::as_slice).collect();
        let start = Instant::now();
        std::hint::black_box(self.layer.describe().reference(&data));
        start.elapsed().as_secs_f64() * 1e3
    }

    /// Learned numbers.
    pub fn parameters(&self) -> u64 {
        let given = self.layer.describe().given();
        given.iter().filter(|given| given.is_parameter).map(|given| count(given.shape)).sum()
    }

    /// Multiply-adds; of a layer that has none, its operations.
    pub fn multiply_adds(&self) -> u64 {
        self.layer.multiply_adds()
    }

    /// The bytes of all that it is given and of its output, once each, as tensors of this type: not of the tensor between two
    /// parts.
    pub fn bytes(&self, dtype: DType) -> u64 {
        let layer = self.layer.describe();
        let given: u64 = layer.given().iter().map(|given| count(given.shape)).sum();
        (given + count(layer.output_shape())).saturating_mul(dtype.bytes())
    }

    /// Whether this is the separable form of this normal layer: the same sizes, weights apart.
    pub fn is_separable_form_of(&self, normal: &Self) -> bool {
        let (Layer::SeparableConv2d((depthwise, pointwise)), Layer::Conv2d(normal)) = (&self.layer, &normal.layer)
        else {
            return false;
        };
        let mut equivalent = *depthwise;
        (equivalent.out_channels, equivalent.groups) = (pointwise.out_channels, 1);
        (equivalent.activation, equivalent.residual) = (pointwise.activation, pointwise.residual);
        // A separable layer has no kernel that is less exact.
        equivalent.rounding = normal.rounding;
        equivalent == *normal
    }
}

/// One way to compute a layer, ready to be timed.
pub struct Candidate {
    /// The layer's name.
    pub id: String,
    pub kernel: String,
    /// The constants in which the kernel's variants differ.
    pub variant: String,
    /// The floating-point operations of the kernel's method, if it makes another number of them than the definition has.
    pub operations: Option<u64>,
    /// How many seconds the model of GPUs predicts; none in software, and where it knows no kernel of the layer.
    pub predicted: Option<f64>,
    /// The largest error of its result as a multiple of the bound: at most 1 is right.
    pub error: f64,
    /// The layer bound to each of several sets of tensors with the same values: see [`set_count`].
    bounds: Vec<Bound>,
    /// The output of each set.
    outputs: Vec<Tensor>,
    /// What the first set's output was when it was compared with the reference.
    result: Vec<f32>,
}

impl Candidate {
    /// How many sets of tensors take turns.
    pub fn sets(&self) -> usize {
        self.bounds.len()
    }

    /// [`measure_in_turn`], of this one alone.
    pub fn measure(&self, context: &Context, budget: Duration) -> Outcome<Timing> {
        Ok(measure_in_turn(context, &[self], budget)?.swap_remove(0))
    }
}

/// Times candidates in turn, each with its sets in turn, for about `budget` together, and then asserts that each set has
/// the result that was compared with the reference.
pub fn measure_in_turn(context: &Context, candidates: &[&Candidate], budget: Duration) -> Outcome<Vec<Timing>> {
    let layers: Vec<&[Bound]> = candidates.iter().map(|candidate| candidate.bounds.as_slice()).collect();
    let timings = pollster::block_on(timing::measure_in_turn(context, &layers, budget))?;
    for Candidate { id, kernel, outputs, result, .. } in candidates {
        for (set, output) in outputs.iter().enumerate() {
            if output.read_blocking()? != *result {
                let message = format!("shape {id}, kernel {kernel}: the timed result of set {set} is another one");
                return Err(Failure::Computation(message));
            }
        }
    }
    Ok(timings)
}

/// The sets of a layer's tensors take this many bytes together, more than the last cache of most devices holds …
const BYTES_OF_SETS: u64 = 128 << 20;

/// … but there are no more of them than this.
const MAXIMUM_SETS: u64 = 16;

/// How many sets of its tensors a layer of so many bytes is timed with, in turn, so that none is still in a cache when it
/// comes round again. A layer of less than `BYTES_OF_SETS / MAXIMUM_SETS` bytes may be.
fn set_count(bytes: u64) -> u64 {
    BYTES_OF_SETS.div_ceil(bytes).min(MAXIMUM_SETS)
}

fn count(shape: [u32; 4]) -> u64 {
    shape.into_iter().map(u64::from).product()
}

/// The same values at every run, from -1 to 1.
fn values(shape: [u32; 4]) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(1);
    (0..count(shape)).map(|_| 2.0 * random.f32() - 1.0).collect()
}

/// A tensor in which a value that is never written shows.
fn poisoned(context: &Context, shape: [u32; 4]) -> Outcome<Tensor> {
    let nans: Vec<f32> = (0..count(shape)).map(|_| f32::NAN).collect();
    Ok(Tensor::from_slice(context, shape, &nans)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes_file::parse;

    /// A device on which nothing is computed, so that every output stays as it was.
    fn idle_context() -> Context {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends: wgpu::Backends::NOOP,
            backend_options: wgpu::BackendOptions { noop: wgpu::NoopBackendOptions::enabled(), ..Default::default() },
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default())).unwrap();
        let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor::default())).unwrap();
        Context::from_wgpu(device, queue).unwrap()
    }

    /// A layer too large is the request's mistake; a device that is gone is not.
    #[test]
    fn a_layer_that_cannot_be_planned_is_named() {
        let context = idle_context();
        let shape = r#"[{"id": "a", "kind": "conv", "c": 2, "h": 8, "w": 8, "oc": 2, "k": 1},
                        {"id": "b", "kind": "conv", "c": 1, "h": 1000000, "w": 1000000, "oc": 1, "k": 1}]"#;
        let shapes = parse(shape, "the test", 1).unwrap();
        let failure = |index: usize| shapes[index].candidates(&context, Kernels::Chosen).map(drop).unwrap_err();
        let too_large = failure(1);
        assert!(too_large.status() == 2 && too_large.to_string().starts_with("shape b: input"), "{too_large}");
        context.device().destroy();
        let lost = failure(0);
        assert!(lost.status() == 1 && lost.to_string().starts_with("shape a: the device was lost"), "{lost}");
    }

    #[test]
    fn a_timed_result_that_is_another_one_is_found() {
        let context = idle_context();
        let shape = r#"[{"id": "a", "kind": "conv", "c": 2, "h": 8, "w": 8, "oc": 2, "k": 1}]"#;
        let shapes = parse(shape, "the test", 1).unwrap();
        let mut candidate = shapes[0].candidates(&context, Kernels::Chosen).unwrap().swap_remove(0);
        assert!(candidate.error > 1.0, "the poison stays");
        candidate.result = vec![0.0; candidate.result.len()];
        let failure = candidate.measure(&context, Duration::ZERO).unwrap_err().to_string();
        assert!(failure.contains("shape a") && failure.contains("set 0"), "{failure}");
    }

    #[test]
    fn small_layers_have_many_sets_and_large_ones_one() {
        assert_eq!([1 << 15, 32 << 20, 128 << 20, 200 << 20].map(set_count), [16, 4, 1, 1]);
    }

    #[test]
    fn a_convolution_may_have_to_be_exact() {
        let shapes = r#"[{"id": "a", "kind": "conv", "c": 16, "h": 12, "w": 12, "oc": 16, "k": 3, "p": 1},
                         {"id": "b", "kind": "conv", "c": 16, "h": 12, "w": 12, "oc": 16, "k": 3, "p": 1,
                          "rounding": "fast"},
                         {"id": "c", "kind": "conv", "c": 16, "h": 12, "w": 12, "oc": 16, "k": 3, "p": 1,
                          "rounding": "Exact"},
                         {"id": "d", "kind": "sep", "c": 16, "h": 12, "w": 12, "oc": 16, "k": 3, "p": 1}]"#;
        let [a, b, c, d]: [Shape; 4] = parse(shapes, "the test", 1).unwrap().try_into().ok().unwrap();
        assert!(a.layer == b.layer && a.layer != c.layer);
        assert!(d.is_separable_form_of(&a) && d.is_separable_form_of(&c));
        let context = idle_context();
        let kernels = |shape: &Shape| {
            let candidates = shape.candidates(&context, Kernels::All).unwrap();
            candidates.into_iter().map(|candidate| candidate.kernel).collect::<Vec<_>>()
        };
        let (any, exact) = (kernels(&a), kernels(&c));
        assert_eq!(exact, any.iter().filter(|kernel| !kernel.starts_with("winograd")).cloned().collect::<Vec<_>>());
        assert_eq!(any.len(), exact.len() + 2, "{any:?}");
        for (kind, reason) in
            [("sep", "rounding is \"exact\"; a sep has none"), ("max_pool", "oc is 1; a max pool has")]
        {
            let text = format!(
                r#"[{{"id": "a", "kind": "{kind}", "c": 1, "h": 9, "w": 9, "oc": 1, "k": 1, "rounding": "exact"}}]"#
            );
            let refused = parse(&text, "the test", 1).map(drop).unwrap_err().to_string();
            assert!(refused.contains(reason), "{refused}");
        }
    }

    #[test]
    fn what_a_layer_costs() {
        let shapes = r#"[{"id": "a", "kind": "conv", "c": 2, "h": 8, "w": 8, "oc": 4, "k": 3, "p": 1},
                         {"id": "b", "kind": "sep", "c": 2, "h": 8, "w": 8, "oc": 4, "k": 3, "p": 1},
                         {"id": "c", "kind": "max_pool", "c": 2, "h": 8, "w": 8, "k": 2}]"#;
        let shapes = parse(shapes, "the test", 2).unwrap();
        let costs = shapes.iter().map(|shape| (shape.parameters(), shape.multiply_adds(), shape.bytes(DType::F32)));
        let expected = [
            (76, 2 * 64 * 4 * 18, 4 * (256 + 76 + 512)),
            (32, 2 * 64 * (2 * 9 + 4 * 2), 4 * (256 + 32 + 512)),
            (0, 2 * 2 * 16 * 4, 4 * (256 + 64)),
        ];
        assert_eq!(costs.collect::<Vec<_>>(), expected);
        assert_eq!(shapes[0].bytes(DType::F16), 2 * (256 + 76 + 512));
        assert!(shapes[1].is_separable_form_of(&shapes[0]) && !shapes[2].is_separable_form_of(&shapes[0]));
    }
}
