//! Layers to be timed, each compared with the reference before.

use std::path::Path;
use std::time::{Duration, Instant};

use sepconv::reference::Reference;
use sepconv::timing::{self, Timing};
use sepconv::unstable::LayerTensors;
use sepconv::unstable::text;
use sepconv::{
    AveragePool2d, Bound, Choice, Context, Conv2d, Layer, MaxPool2d, Plan, SeparableConv2d, Tensor, kernels, verify,
};
use serde_json::Value;

use crate::failure::{Failure, Outcome};
use crate::files;

/// A layer and its name.
pub struct Shape {
    pub id: String,
    pub layer: Layer,
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
        let id = parse_id(value).map_err(refused)?;
        if shapes.iter().any(|other| other.id == id) {
            return Err(refused(format!("id is {id:?}, which another shape has")));
        }
        let layer = parse_layer(value, batch).map_err(refused)?.map_err(|error| failed(&id, error))?;
        shapes.push(Shape { id, layer });
    }
    Ok(shapes)
}

/// What a shape may have.
const KEYS: [&str; 17] = [
    "id",
    "kind",
    "n",
    "c",
    "h",
    "w",
    "oc",
    "k",
    "s",
    "p",
    "d",
    "g",
    "m",
    "bias",
    "activation",
    "residual",
    "rounding",
];

fn parse_id(value: &Value) -> Result<String, String> {
    let keys = value.as_object().ok_or("it must be a JSON object")?.keys();
    if let Some(key) = keys.into_iter().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(format!("{key:?} is no key of a shape; its keys are {}", KEYS.join(", ")));
    }
    let id = value["id"].as_str().ok_or("id is missing; it must be a text")?;
    if id.chars().any(char::is_control) {
        return Err(format!("id is {id:?}; it must be without control characters"));
    }
    Ok(id.to_owned())
}

/// The layer of a shape, and what is wrong with its sizes.
fn parse_layer(value: &Value, batch: u32) -> Result<sepconv::Result<Layer>, String> {
    let number = |name: &str, default: Option<u32>| match (&value[name], default) {
        (Value::Null, Some(default)) => Ok(default),
        (Value::Null, None) => Err(format!("{name} is missing; it must be a whole number")),
        (number, _) => number
            .as_u64()
            .and_then(|number| u32::try_from(number).ok())
            .ok_or_else(|| format!("{name} is {number}; it must be a whole number below 2^32")),
    };
    let images = number("n", Some(1))?.checked_mul(batch).ok_or("n times --batch is past 2^32")?;
    if images == 0 {
        return Err("n times --batch is 0; it must be at least 1".to_owned());
    }
    let channels = number("c", None)?;
    let input = [images, channels, number("h", None)?, number("w", None)?];
    let kernel = argument(value, "k", text::size)?.ok_or("k is missing; it must be one number or [height, width]")?;
    let stride = argument(value, "s", text::size)?;
    let padding = argument(value, "p", text::padding)?.unwrap_or(0.into());
    let dilation = argument(value, "d", text::size)?.unwrap_or(1.into());
    let none = |keys: &[&str], kind: &str| match keys.iter().find(|key| !value[**key].is_null()) {
        Some(key) => Err(format!("{key} is {}; a {kind} has none", value[*key])),
        None => Ok(()),
    };
    let flag = |name: &str, default: bool| match &value[name] {
        Value::Null => Ok(default),
        flag => flag.as_bool().ok_or_else(|| format!("{name} is {flag}; it must be true or false")),
    };
    let (bias, residual) = (flag("bias", true)?, flag("residual", false)?);
    let activation = argument(value, "activation", text::activation)?.unwrap_or_default();
    let kind = value["kind"].as_str().map(text::word);
    Ok(match kind.as_deref() {
        Some("conv") => {
            none(&["m"], "conv")?;
            let layer = Conv2d::new(channels, number("oc", None)?, kernel).groups(number("g", Some(1))?);
            layer
                .stride(stride.unwrap_or(1.into()))
                .padding(padding)
                .dilation(dilation)
                .bias(bias)
                .activation(activation)
                .residual(residual)
                .rounding(argument(value, "rounding", text::rounding)?.unwrap_or_default())
                .geometry(input)
                .map(Layer::from)
        }
        Some("sep") => {
            none(&["rounding"], "sep")?;
            let groups = number("g", Some(1))?;
            if groups != 1 {
                return Err(format!("g is {groups}; a separable layer has 1"));
            }
            let layer = SeparableConv2d::new(channels, number("oc", None)?, kernel);
            let layer = layer.depth_multiplier(number("m", Some(1))?).stride(stride.unwrap_or(1.into()));
            let layer = layer.bias(bias).activation(activation).residual(residual);
            layer.padding(padding).dilation(dilation).geometry(input).map(Layer::from)
        }
        Some("maxpool") => {
            none(&["oc", "g", "m", "bias", "activation", "residual", "rounding"], "max pool")?;
            let layer = MaxPool2d::new(kernel).stride(stride.unwrap_or(kernel));
            layer.padding(padding).dilation(dilation).geometry(input).map(Layer::from)
        }
        Some("averagepool") => {
            none(&["oc", "g", "m", "bias", "activation", "residual", "rounding"], "average pool")?;
            let layer = AveragePool2d::new(kernel).stride(stride.unwrap_or(kernel));
            layer.padding(padding).dilation(dilation).geometry(input).map(Layer::from)
        }
        _ => {
            let kind = &value["kind"];
            return Err(format!("kind is {kind}; it must be \"conv\", \"sep\", \"max_pool\" or \"average_pool\""));
        }
    })
}

/// An argument as on the command line: one number, a list of them or a word; none if it is not there.
fn argument<T>(value: &Value, key: &str, read: fn(&str) -> Result<T, String>) -> Result<Option<T>, String> {
    let argument = &value[key];
    let text = match argument {
        Value::Null => return Ok(None),
        Value::Array(list) => list.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        Value::String(word) => word.clone(),
        other => other.to_string(),
    };
    read(&text).map(Some).map_err(|reason| format!("{key} is {argument}: {reason}"))
}

/// What is wrong with a layer, by its name.
fn failed(id: &str, error: sepconv::Error) -> Failure {
    Failure::from(error).within(&format!("shape {id}"))
}

impl Shape {
    /// The planner's choice first; with `all`, every other kernel that supports the layer too.
    pub fn candidates(&self, context: &Context, all: bool) -> Outcome<Vec<Candidate>> {
        let mut plans = vec![context.plan(self.layer).map_err(|error| failed(&self.id, error))?];
        for kernel in kernels::supporting(&self.layer, context.target()).into_iter().filter(|_| all) {
            let plan =
                context.plan_with(self.layer, Choice::new(kernel, 0)).map_err(|error| failed(&self.id, error))?;
            if plan.kernel() != plans[0].kernel() {
                plans.push(plan);
            }
        }
        let data = self.data();
        let set = |_| LayerTensors::new(context, &self.layer, &data);
        let sets = (0..set_count(self.bytes())).map(set).collect::<sepconv::Result<Vec<_>>>()?;
        let data: Vec<&[f32]> = data.iter().map(Vec::as_slice).collect();
        let expected = self.layer.describe().reference(&data);
        plans.iter().map(|plan| self.candidate(context, plan, &sets, &expected)).collect()
    }

    /// Binds a plan to every set, with an output of its own, and compares the first one's result with the reference.
    fn candidate(
        &self,
        context: &Context,
        plan: &Plan,
        sets: &[LayerTensors],
        expected: &Reference,
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
        let layer = self.layer.describe();
        let error = verify::largest_error(expected, layer.activation(), layer.terms(), &result);
        Ok(Candidate { id, kernel, operations, error, bounds, outputs, result })
    }

    /// Values for all that the layer is given, in its order.
    fn data(&self) -> Vec<Vec<f32>> {
        self.layer.describe().given().iter().map(|given| values(given.shape)).collect()
    }

    /// The milliseconds that the reference takes for the layer.
    pub fn time_reference(&self) -> f64 {
        let data = self.data();
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

    /// The bytes of all that it is given and of its output, once each: not of the tensor between two parts.
    pub fn bytes(&self) -> u64 {
        let layer = self.layer.describe();
        let given: u64 = layer.given().iter().map(|given| count(given.shape)).sum();
        (given + count(layer.output_shape())).saturating_mul(4)
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
    /// The floating-point operations of the kernel's method, if it makes another number of them than the definition has.
    pub operations: Option<u64>,
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
    use sepconv::Activation;

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
        assert_eq!([1 << 15, 32 << 20, 128 << 20, 200 << 20].map(set_count), [16, 4, 1, 1]);
    }

    #[test]
    fn what_follows_the_sums_is_said_too() {
        let shapes = r#"[{"id": "a", "kind": "conv", "c": 2, "h": 8, "w": 8, "oc": 4, "k": 3, "p": 1, "bias": false,
                          "activation": "ReLU", "residual": true},
                         {"id": "b", "kind": "sep", "c": 2, "h": 8, "w": 8, "oc": 4, "k": 3, "p": 1, "bias": false,
                          "activation": "relu", "residual": true},
                         {"id": "c", "kind": "conv", "c": 2, "h": 8, "w": 8, "oc": 4, "k": 3, "p": 1}]"#;
        let [a, b, c]: [Shape; 3] = parse(shapes, "the test", 1).unwrap().try_into().ok().unwrap();
        let conv = Conv2d::new(2, 4, 3).padding(1).bias(false).activation(Activation::Relu).residual(true);
        assert_eq!(a.layer, conv.geometry([1, 2, 8, 8]).unwrap().into());
        let separable = SeparableConv2d::new(2, 4, 3).padding(1).bias(false).activation(Activation::Relu);
        assert_eq!(b.layer, separable.residual(true).geometry([1, 2, 8, 8]).unwrap().into());
        assert!(b.is_separable_form_of(&a) && !b.is_separable_form_of(&c));
        assert_eq!((a.parameters(), c.parameters()), (72, 76));
        assert_eq!(a.bytes(), 4 * (128 + 72 + 256 + 256));
        for kind in ["max_pool", "average_pool"] {
            let exact =
                format!(r#"[{{"id": "a", "kind": "{kind}", "c": 1, "h": 9, "w": 9, "k": 2, "rounding": "exact"}}]"#);
            assert!(parse(&exact, "it", 1).is_err_and(|refused| refused.to_string().contains("rounding")), "{kind}");
        }
        let pool = r#"[{"id": "a", "kind": "Max-Pool", "c": 1, "h": 9, "w": 9, "k": 2, "bias": false}]"#;
        let refused = parse(pool, "the test", 1).map(drop).unwrap_err().to_string();
        assert!(refused.contains("bias is false; a max pool has none"), "{refused}");
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
            let candidates = shape.candidates(&context, true).unwrap();
            candidates.into_iter().map(|candidate| candidate.kernel).collect::<Vec<_>>()
        };
        let (any, exact) = (kernels(&a), kernels(&c));
        assert_eq!(exact, any.iter().filter(|kernel| *kernel != "winograd").cloned().collect::<Vec<_>>());
        assert_eq!(any.len(), exact.len() + 1, "{any:?}");
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
    fn each_axis_may_have_its_own_sizes() {
        let shapes = r#"[{"id": "a", "kind": "conv", "c": 4, "h": 20, "w": 18, "oc": 8, "k": [1, 7], "s": [2, 1],
                          "p": [0, 3], "d": [1, 2], "g": 2},
                         {"id": "b", "kind": "sep", "c": 3, "h": 9, "w": 8, "oc": 4, "k": 3, "p": [1, 2, 0, 3], "m": 2},
                         {"id": "c", "kind": "max_pool", "c": 2, "h": 8, "w": 9, "k": [2, 3], "p": "same"},
                         {"id": "d", "kind": "average_pool", "c": 2, "h": 8, "w": 9, "k": 3, "s": 2, "p": 1}]"#;
        let [a, b, c, d]: [Shape; 4] = parse(shapes, "the test", 1).unwrap().try_into().ok().unwrap();
        let conv = Conv2d::new(4, 8, [1, 7]).stride([2, 1]).padding([0, 3]).dilation([1, 2]).groups(2);
        assert_eq!(a.layer, conv.geometry([1, 4, 20, 18]).unwrap().into());
        let separable = SeparableConv2d::new(3, 4, 3).padding([1, 2, 0, 3]).depth_multiplier(2);
        assert_eq!(b.layer, separable.geometry([1, 3, 9, 8]).unwrap().into());
        let pool = MaxPool2d::new([2, 3]).padding(sepconv::Padding::Same);
        assert_eq!(c.layer, pool.geometry([1, 2, 8, 9]).unwrap().into());
        let mean = AveragePool2d::new(3).stride(2).padding(1);
        assert_eq!(d.layer, mean.geometry([1, 2, 8, 9]).unwrap().into());
        for (key, value, reason) in [
            ("k", "[1, 2, 3]", "k is [1,2,3]: it has 3 numbers"),
            ("k", "null", "k is missing"),
            ("s", "-1", "s is -1: it must be a whole number"),
            ("d", "[1.5, 2]", "d is [1.5,2]: it must be a whole number"),
            ("p", "[1, 2, 3]", "p is [1,2,3]: it has 3 numbers"),
            ("p", "\"some\"", "p is \"some\": it must be"),
            ("m", "2", "m is 2; a conv has none"),
            ("bias", "1", "bias is 1; it must be true or false"),
            ("residual", "\"yes\"", "residual is \"yes\"; it must be true or false"),
            ("activation", "\"relu7\"", "activation is \"relu7\": it must be none"),
            ("rounding", "\"down\"", "rounding is \"down\": it must be"),
        ] {
            let text = format!(
                r#"[{{"id": "a", "kind": "conv", "c": 1, "h": 9, "w": 9, "oc": 1, "k": 1, "{key}": {value}}}]"#
            );
            let refused = parse(&text, "the test", 1).map(drop).unwrap_err().to_string();
            assert!(refused.starts_with(&format!("the test: shape 0: {reason}")), "{refused}");
        }
    }

    #[test]
    fn what_a_layer_costs() {
        let shapes = r#"[{"id": "a", "kind": "conv", "c": 2, "h": 8, "w": 8, "oc": 4, "k": 3, "p": 1},
                         {"id": "b", "kind": "sep", "c": 2, "h": 8, "w": 8, "oc": 4, "k": 3, "p": 1},
                         {"id": "c", "kind": "max_pool", "c": 2, "h": 8, "w": 8, "k": 2}]"#;
        let shapes = parse(shapes, "the test", 2).unwrap();
        let costs = shapes.iter().map(|shape| (shape.parameters(), shape.multiply_adds(), shape.bytes()));
        let expected = [
            (76, 2 * 64 * 4 * 18, 4 * (256 + 76 + 512)),
            (32, 2 * 64 * (2 * 9 + 4 * 2), 4 * (256 + 32 + 512)),
            (0, 2 * 2 * 16 * 4, 4 * (256 + 64)),
        ];
        assert_eq!(costs.collect::<Vec<_>>(), expected);
        assert!(shapes[1].is_separable_form_of(&shapes[0]) && !shapes[2].is_separable_form_of(&shapes[0]));
    }
}
