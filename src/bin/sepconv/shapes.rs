//! Layers to be timed, each compared with the reference before.

use std::path::Path;
use std::time::Instant;

use sepconv::{
    Activation, Bound, Context, Conv2d, Geometry, Operands, SeparableConv2d, SeparableOperands, Tensor, kernels,
    reference, verify,
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
pub enum Layer {
    Normal(Conv2d),
    Separable(SeparableConv2d),
}

/// One way to compute a layer, ready to be timed.
pub struct Candidate {
    pub kernel: String,
    /// Whether the planner chose it.
    pub is_chosen: bool,
    pub bound: Bound,
    /// The largest error of its result as a multiple of the bound: at most 1 is right.
    pub error: f64,
    pub parameters: u64,
    /// See [`bytes`].
    pub bytes: u64,
    pub multiply_adds: u64,
}

/// The layers that come with the command.
const SHAPES: &str = include_str!("../../../benches/shapes.json");

/// The layers of a shapes file, or those that come with the command.
pub fn load(path: Option<&Path>, batch: u32) -> Outcome<Vec<Shape>> {
    let Some(path) = path else { return parse(SHAPES, "the layers that come with it", batch) };
    let name = path.display().to_string();
    let text = String::from_utf8(files::read(path)?);
    parse(&text.map_err(|_| Failure::Request(format!("{name}: not UTF-8 text")))?, &name, batch)
}

/// Reads the layers of a shapes file; `name` is for messages.
fn parse(text: &str, name: &str, batch: u32) -> Outcome<Vec<Shape>> {
    let refused = |reason: String| Failure::Request(format!("{name}: {reason}"));
    let value: Value = serde_json::from_str(text).map_err(|error| refused(format!("not JSON: {error}")))?;
    let list = value.as_array().filter(|list| !list.is_empty());
    let list = list.ok_or_else(|| refused("it must be a JSON array of shapes".to_owned()))?;
    list.iter()
        .enumerate()
        .map(|(index, shape)| Shape::parse(shape, batch).map_err(|reason| refused(format!("shape {index}: {reason}"))))
        .collect()
}

impl Shape {
    fn parse(value: &Value, batch: u32) -> Result<Self, String> {
        let id = value["id"].as_str().ok_or("id is missing; it must be a text")?.to_owned();
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
            Some("sep") => Layer::Separable(
                SeparableConv2d::new(channels, out_channels, kernel).stride(stride).padding(padding).dilation(dilation),
            ),
            _ => return Err(format!("kind is {}; it must be \"conv\" or \"sep\"", value["kind"])),
        };
        let input = [images, channels, number("h", None)?, number("w", None)?];
        Ok(Self { id, input, layer })
    }

    /// The normal layers that this is made of, each with a name and its input's shape.
    pub fn layers(&self) -> Outcome<Vec<(String, Conv2d, [u32; 4])>> {
        let refused = |error| Failure::Request(format!("shape {}: {error}", self.id));
        match &self.layer {
            Layer::Normal(layer) => {
                layer.geometry(self.input).map_err(refused)?;
                Ok(vec![(self.id.clone(), *layer, self.input)])
            }
            Layer::Separable(layer) => {
                let (_, pointwise) = layer.geometry(self.input).map_err(refused)?;
                let (first, second) = layer.layers()?;
                Ok(vec![
                    (format!("{} depthwise", self.id), first, self.input),
                    (format!("{} pointwise", self.id), second, pointwise.input_shape()),
                ])
            }
        }
    }

    /// The planner's choice first; with `all`, every other kernel that supports the layer too.
    pub fn candidates(&self, context: &Context, all: bool) -> Outcome<Vec<Candidate>> {
        let refused = |error| Failure::Request(format!("shape {}: {error}", self.id));
        match &self.layer {
            Layer::Normal(layer) => {
                let geometry = layer.geometry(self.input).map_err(refused)?;
                let chosen = layer.plan(context, self.input)?.kernel();
                let target = context.target();
                let supported = kernels::ALL.into_iter().filter(|kernel| (kernel.supports)(&geometry, target).is_ok());
                let others = supported.map(|kernel| kernel.name).filter(|&name| all && name != chosen);
                let names: Vec<_> = [chosen].into_iter().chain(others).collect();
                self.normal(context, layer, &names)
            }
            Layer::Separable(layer) => {
                layer.geometry(self.input).map_err(refused)?;
                Ok(vec![self.separable(context, layer)?])
            }
        }
    }

    fn normal(&self, context: &Context, layer: &Conv2d, names: &[&'static str]) -> Outcome<Vec<Candidate>> {
        let geometry = layer.geometry(self.input)?;
        let [x, w, b] = [geometry.input_shape(), geometry.weight_shape(), geometry.bias_shape()].map(values);
        let input = Tensor::from_slice(context, geometry.input_shape(), &x)?;
        let weight = Tensor::from_slice(context, geometry.weight_shape(), &w)?;
        let bias = Tensor::from_slice(context, geometry.bias_shape(), &b)?;
        let expected = reference::conv2d(&geometry, &x, &w, Some(&b), None);
        let mut candidates = Vec::new();
        for name in names {
            let is_chosen = candidates.is_empty();
            let plan = if is_chosen {
                layer.plan(context, self.input)?
            } else {
                layer.plan_with_kernel(context, self.input, name)?
            };
            let output = poisoned(context, plan.output_shape())?;
            let bound = plan.bind(Operands::new(&input, &weight, &output).bias(&bias))?;
            candidates.push(Candidate {
                kernel: (*name).to_owned(),
                is_chosen,
                error: error(context, &bound, &output, &expected, geometry.terms())?,
                bound,
                parameters: geometry.parameters(),
                bytes: bytes(&[geometry]),
                multiply_adds: geometry.multiply_adds(),
            });
        }
        Ok(candidates)
    }

    fn separable(&self, context: &Context, layer: &SeparableConv2d) -> Outcome<Candidate> {
        let plan = layer.plan(context, self.input)?;
        let (d, p) = plan.geometry();
        let shapes = [d.input_shape(), d.weight_shape(), d.bias_shape(), p.weight_shape(), p.bias_shape()];
        let [x, dw, db, pw, pb] = shapes.map(values);
        let tensor = |shape, values: &[f32]| Tensor::from_slice(context, shape, values);
        let (input, output) = (tensor(d.input_shape(), &x)?, poisoned(context, p.output_shape())?);
        let bound = plan.bind(SeparableOperands {
            input: &input,
            depthwise_weight: &tensor(d.weight_shape(), &dw)?,
            depthwise_bias: Some(&tensor(d.bias_shape(), &db)?),
            pointwise_weight: &tensor(p.weight_shape(), &pw)?,
            pointwise_bias: Some(&tensor(p.bias_shape(), &pb)?),
            residual: None,
            output: &output,
        })?;
        let expected = verify::separable_reference((d, p), &x, (&dw, Some(&db)), (&pw, Some(&pb)));
        Ok(Candidate {
            kernel: plan.kernel(),
            is_chosen: true,
            error: error(context, &bound, &output, &expected, d.terms() + p.terms())?,
            bound,
            parameters: d.parameters() + p.parameters(),
            bytes: bytes(&[*d, *p]),
            multiply_adds: d.multiply_adds() + p.multiply_adds(),
        })
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

/// Runs a bound layer and returns the largest error of its output as a multiple of the bound.
fn error(
    context: &Context,
    bound: &Bound,
    output: &Tensor,
    expected: &reference::Reference,
    terms: u64,
) -> Outcome<f64> {
    bound.run()?;
    Ok(verify::largest_error(expected, Activation::None, terms, &output.read_blocking(context)?))
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
