//! Layers to be timed, each compared with the reference before.

use std::path::Path;
use std::time::{Duration, Instant};

use sepconv::timing::{self, Timing};
use sepconv::{
    Activation, Bound, Context, Conv2d, Geometry, Operands, Plan, SeparableChoice, SeparableConv2d, SeparableOperands,
    SeparablePlan, Tensor, kernels, reference, verify,
};
use serde_json::Value;

use crate::failure::{Failure, Outcome};
use crate::files;

/// A layer, its input's shape and its name.
pub struct Shape {
    pub id: String,
    pub input: [u32; 4],
    pub layer: Layer,
}

/// A layer of either form.
#[derive(Clone, Copy)]
pub enum Layer {
    Normal(Conv2d),
    Separable(SeparableConv2d),
}

/// The layers that come with the command.
const SHAPES: &str = include_str!("../../../benches/shapes.json");

/// The layers of a shapes file, or those that come with the command.
pub fn load(path: Option<&Path>, batch: u32) -> Outcome<Vec<Shape>> {
    match path {
        None => parse(SHAPES, "the layers that come with it", batch),
        Some(path) => parse(&files::read_text(path)?, &path.display().to_string(), batch),
    }
}

/// Reads the layers of a shapes file; `name` is for messages.
fn parse(text: &str, name: &str, batch: u32) -> Outcome<Vec<Shape>> {
    let refused = |reason: String| Failure::Request(format!("{name}: {reason}"));
    let value: Value = serde_json::from_str(text).map_err(|error| refused(format!("not JSON: {error}")))?;
    let list = value.as_array().filter(|list| !list.is_empty());
    let list = list.ok_or_else(|| refused("it must be a JSON array of shapes".to_owned()))?;
    let mut shapes: Vec<Shape> = Vec::new();
    for (index, value) in list.iter().enumerate() {
        let refused = |reason: String| refused(format!("shape {index}: {reason}"));
        let shape = Shape::parse(value, batch).map_err(refused)?;
        if shapes.iter().any(|other| other.id == shape.id) {
            return Err(refused(format!("id is {:?}, which another shape has", shape.id)));
        }
        shapes.push(shape);
    }
    Ok(shapes)
}

/// What a shape may have.
const KEYS: [&str; 12] = ["id", "kind", "n", "c", "h", "w", "oc", "k", "s", "p", "d", "g"];

impl Shape {
    fn parse(value: &Value, batch: u32) -> Result<Self, String> {
        let keys = value.as_object().ok_or("it must be a JSON object")?.keys();
        if let Some(key) = keys.into_iter().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(format!("{key:?} is no key of a shape; its keys are {}", KEYS.join(", ")));
        }
        let id = value["id"].as_str().ok_or("id is missing; it must be a text")?.to_owned();
        if id.chars().any(char::is_control) {
            return Err(format!("id is {id:?}; it must be without control characters"));
        }
        let number = |name: &str, default: Option<u32>| match (&value[name], default) {
            (Value::Null, Some(default)) => Ok(default),
            (Value::Null, None) => Err(format!("{name} is missing; it must be a whole number")),
            (number, _) => number
                .as_u64()
                .and_then(|number| u32::try_from(number).ok())
                .ok_or_else(|| format!("{name} is {number}; it must be a whole number below 2^32")),
        };
        let (channels, out_channels, kernel) = (number("c", None)?, number("oc", None)?, number("k", None)?);
        let images = number("n", Some(1))?.checked_mul(batch).ok_or("n times --batch is past 2^32")?;
        let (stride, padding) = (number("s", Some(1))?, number("p", Some(0))?);
        let (dilation, groups) = (number("d", Some(1))?, number("g", Some(1))?);
        let layer = match value["kind"].as_str() {
            Some("conv") => Layer::Normal(
                Conv2d::new(channels, out_channels, kernel)
                    .stride(stride)
                    .padding(padding)
                    .dilation(dilation)
                    .groups(groups),
            ),
            Some("sep") if groups != 1 => return Err(format!("g is {groups}; a separable layer has 1")),
            Some("sep") => Layer::Separable(
                SeparableConv2d::new(channels, out_channels, kernel).stride(stride).padding(padding).dilation(dilation),
            ),
            _ => return Err(format!("kind is {}; it must be \"conv\" or \"sep\"", value["kind"])),
        };
        let input = [images, channels, number("h", None)?, number("w", None)?];
        Ok(Self { id, input, layer })
    }

    /// The layer, checked; before a separable one its two parts, which it may be chained of.
    pub fn with_parts(self) -> Outcome<Vec<Self>> {
        let part = |name, layer, input| Self { id: format!("{} {name}", self.id), input, layer: Layer::Normal(layer) };
        let mut shapes = match &self.layer {
            Layer::Normal(layer) => {
                layer.geometry(self.input).map_err(|error| self.failed(error))?;
                Vec::new()
            }
            Layer::Separable(layer) => {
                let (_, pointwise) = layer.geometry(self.input).map_err(|error| self.failed(error))?;
                let (first, second) = layer.layers()?;
                vec![part("depthwise", first, self.input), part("pointwise", second, pointwise.input_shape())]
            }
        };
        shapes.push(self);
        Ok(shapes)
    }

    /// The planner's choice first; with `all`, every other kernel that supports the layer too.
    pub fn candidates(&self, context: &Context, all: bool) -> Outcome<Vec<Candidate>> {
        match &self.layer {
            Layer::Normal(layer) => self.normal(context, layer, all),
            Layer::Separable(layer) => self.separable(context, layer, all),
        }
    }

    /// What is wrong with the layer, by its name.
    fn failed(&self, error: sepconv::Error) -> Failure {
        Failure::from(error).within(&format!("shape {}", self.id))
    }

    fn normal(&self, context: &Context, layer: &Conv2d, all: bool) -> Outcome<Vec<Candidate>> {
        let geometry = layer.geometry(self.input).map_err(|error| self.failed(error))?;
        let mut plans = vec![layer.plan(context, self.input).map_err(|error| self.failed(error))?];
        for kernel in kernels::ALL.into_iter().filter(|kernel| (kernel.supports)(&geometry, context.target()).is_ok()) {
            if all && kernel.name != plans[0].kernel() {
                plans.push(layer.plan_with_kernel(context, self.input, kernel.name)?);
            }
        }
        let shapes = [geometry.input_shape(), geometry.weight_shape(), geometry.bias_shape()];
        let data @ [x, w, b] = &shapes.map(values);
        let work = Work {
            shape: self,
            expected: reference::conv2d(&geometry, x, w, Some(b), None),
            sets: upload_sets(context, &[geometry], shapes, data)?,
            parts: vec![geometry],
        };
        let candidate = |plan: &Plan| {
            let bind = |[input, weight, bias]: &[Tensor; 3], output: &Tensor| {
                plan.bind(Operands::new(input, weight, output).bias(bias))
            };
            work.candidate(context, plan.kernel().to_owned(), bind)
        };
        plans.iter().map(candidate).collect()
    }

    fn separable(&self, context: &Context, layer: &SeparableConv2d, all: bool) -> Outcome<Vec<Candidate>> {
        let parts @ (d, p) = &layer.geometry(self.input).map_err(|error| self.failed(error))?;
        let mut plans = vec![layer.plan(context, self.input).map_err(|error| self.failed(error))?];
        for (choice, _) in SeparableChoice::all(parts, context.target()).into_iter().filter(|_| all) {
            if !matches!(choice, SeparableChoice::Fused { variant: 1.., .. }) {
                let plan = layer.plan_with_choice(context, self.input, choice)?;
                if plan.kernel() != plans[0].kernel() {
                    plans.push(plan);
                }
            }
        }
        let shapes = [d.input_shape(), d.weight_shape(), d.bias_shape(), p.weight_shape(), p.bias_shape()];
        let data @ [x, dw, db, pw, pb] = &shapes.map(values);
        let work = Work {
            shape: self,
            expected: verify::separable_reference((d, p), x, (dw, Some(db)), (pw, Some(pb)), None),
            sets: upload_sets(context, &[*d, *p], shapes, data)?,
            parts: vec![*d, *p],
        };
        let candidate = |plan: &SeparablePlan| {
            let bind = |[input, dw, db, pw, pb]: &[Tensor; 5], output: &Tensor| {
                plan.bind(SeparableOperands {
                    input,
                    depthwise_weight: dw,
                    depthwise_bias: Some(db),
                    pointwise_weight: pw,
                    pointwise_bias: Some(pb),
                    residual: None,
                    output,
                })
            };
            work.candidate(context, plan.kernel(), bind)
        };
        plans.iter().map(candidate).collect()
    }

    /// Whether it has a depthwise and a pointwise part.
    pub fn is_separable(&self) -> bool {
        matches!(self.layer, Layer::Separable(_))
    }

    /// Whether this is the separable form of this normal layer: the same sizes, weights apart.
    pub fn is_separable_form_of(&self, normal: &Self) -> bool {
        match (&self.layer, &normal.layer) {
            (Layer::Separable(own), Layer::Normal(normal_layer)) => {
                self.input == normal.input && own.equivalent() == Some(*normal_layer)
            }
            _ => false,
        }
    }

    /// The milliseconds that the reference takes, and what the layer costs.
    pub fn time_reference(&self) -> Outcome<(f64, Vec<Geometry>)> {
        let run = |geometry: &Geometry, input: &[f64]| {
            let [weight, bias] = [geometry.weight_shape(), geometry.bias_shape()].map(values);
            reference::conv2d(geometry, input, &weight, Some(&bias), None).values
        };
        let parts = match &self.layer {
            Layer::Normal(layer) => vec![layer.geometry(self.input)?],
            Layer::Separable(layer) => layer.geometry(self.input).map(|(d, p)| vec![d, p])?,
        };
        let input: Vec<f64> = values(self.input).into_iter().map(f64::from).collect();
        let start = Instant::now();
        parts.iter().fold(input, |input, geometry| run(geometry, &input));
        Ok((start.elapsed().as_secs_f64() * 1e3, parts))
    }
}

/// What every candidate of one layer has in common.
struct Work<'a, Tensors> {
    shape: &'a Shape,
    /// The normal layers that it is made of, in order.
    parts: Vec<Geometry>,
    expected: reference::Reference,
    /// Its tensors without the output, several times over.
    sets: Vec<Tensors>,
}

impl<Tensors> Work<'_, Tensors> {
    /// Binds a plan to every set, with an output of its own, and compares the first one's result with the reference.
    fn candidate(
        &self,
        context: &Context,
        kernel: String,
        bind: impl Fn(&Tensors, &Tensor) -> sepconv::Result<Bound>,
    ) -> Outcome<Candidate> {
        let total = |of: fn(&Geometry) -> u64| self.parts.iter().map(of).sum();
        let output_shape = self.parts[self.parts.len() - 1].output_shape();
        let (mut bounds, mut outputs) = (Vec::new(), Vec::new());
        for tensors in &self.sets {
            let output = poisoned(context, output_shape)?;
            bounds.push(bind(tensors, &output)?);
            outputs.push(output);
        }
        bounds[0].run()?;
        let result = outputs[0].read_blocking(context)?;
        let terms = total(Geometry::terms);
        Ok(Candidate {
            id: self.shape.id.clone(),
            kernel,
            error: verify::largest_error(&self.expected, Activation::None, terms, &result),
            parameters: total(Geometry::parameters),
            bytes: bytes(&self.parts),
            multiply_adds: total(Geometry::multiply_adds),
            bounds,
            outputs,
            result,
        })
    }
}

/// One way to compute a layer, ready to be timed.
pub struct Candidate {
    /// The layer's name.
    pub id: String,
    pub kernel: String,
    /// The largest error of its result as a multiple of the bound: at most 1 is right.
    pub error: f64,
    pub parameters: u64,
    /// See [`bytes`].
    pub bytes: u64,
    pub multiply_adds: u64,
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
            if output.read_blocking(context)? != *result {
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

/// How many sets of its tensors a layer is timed with, in turn, so that none is still in a cache when it comes round
/// again. A layer of less than `BYTES_OF_SETS / MAXIMUM_SETS` bytes may be.
fn set_count(parts: &[Geometry]) -> u64 {
    BYTES_OF_SETS.div_ceil(bytes(parts)).min(MAXIMUM_SETS)
}

/// The tensors of these shapes and values, once for each set.
fn upload_sets<const COUNT: usize>(
    context: &Context,
    parts: &[Geometry],
    shapes: [[u32; 4]; COUNT],
    data: &[Vec<f32>; COUNT],
) -> Outcome<Vec<[Tensor; COUNT]>> {
    let tensor = |(shape, values): (&[u32; 4], &Vec<f32>)| Tensor::from_slice(context, *shape, values);
    let set = |_| {
        let tensors = shapes.iter().zip(data).map(tensor).collect::<sepconv::Result<Vec<_>>>()?;
        Ok(tensors.try_into().expect("one tensor for each shape"))
    };
    (0..set_count(parts)).map(set).collect()
}

/// The bytes of a layer's input, parameters and output once each: not of the tensor between two parts.
pub fn bytes(parts: &[Geometry]) -> u64 {
    let all: u64 = parts.iter().map(Geometry::bytes).sum();
    let between = parts.windows(2).map(|pair| pair[0].output_shape().map(u64::from).iter().product::<u64>());
    all - 8 * between.sum::<u64>()
}

/// The same values at every run, from -1 to 1.
fn values(shape: [u32; 4]) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(1);
    let count = shape.iter().map(|&size| size as usize).product();
    std::iter::repeat_with(|| 2.0 * random.f32() - 1.0).take(count).collect()
}

/// A tensor in which a value that is never written shows.
fn poisoned(context: &Context, shape: [u32; 4]) -> Outcome<Tensor> {
    let count = shape.iter().map(|&size| size as usize).product();
    Ok(Tensor::from_slice(context, shape, &vec![f32::NAN; count])?)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let failure = |index: usize| shapes[index].candidates(&context, false).map(drop).unwrap_err();
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
        let mut candidate = shapes[0].candidates(&context, false).unwrap().swap_remove(0);
        assert!(candidate.error > 1.0, "the poison stays");
        candidate.result = vec![0.0; candidate.result.len()];
        let failure = candidate.measure(&context, Duration::ZERO).unwrap_err().to_string();
        assert!(failure.contains("shape a") && failure.contains("set 0"), "{failure}");
    }

    #[test]
    fn small_layers_have_many_sets_and_large_ones_one() {
        let sets = |size| set_count(&[Conv2d::new(1, 1, 1).geometry([1, 1, size, size]).unwrap()]);
        assert_eq!((sets(64), sets(2048), sets(4096), sets(5000)), (16, 4, 1, 1));
    }
}
