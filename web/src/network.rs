//! `Network` and `NetworkPlan`: whole networks from ONNX files.

use std::cell::OnceCell;
use std::collections::HashSet;

use js_sys::{Array, ArrayBuffer, Function, Uint8Array};
use sepconv::network::{PlannedLayer, Port};
use sepconv::unstable::text;
use sepconv::{Geometry, Layer, tune};
use wasm_bindgen::prelude::{JsCast, JsValue, wasm_bindgen};

use crate::context::Context;
use crate::plan::{Bound, Held, Weights, held};
use crate::value::{Fields, Result, entries, object, read, refused, sizes, thrown};

/// A network: operations over named tensors.
#[wasm_bindgen]
pub struct Network(sepconv::Network);

#[wasm_bindgen]
impl Network {
    /// Reads a network from the bytes of an ONNX file.
    #[wasm_bindgen(js_name = fromOnnx)]
    pub fn from_onnx(
        #[wasm_bindgen(unchecked_param_type = "ArrayBuffer | Uint8Array")] bytes: &JsValue,
    ) -> Result<Network> {
        if !bytes.is_instance_of::<ArrayBuffer>() && !bytes.is_instance_of::<Uint8Array>() {
            return Err(refused("bytes must be an ArrayBuffer or a Uint8Array"));
        }
        sepconv::Network::from_onnx(&Uint8Array::new(bytes).to_vec()).map(Self).map_err(thrown)
    }

    /// The names of its inputs.
    #[wasm_bindgen(getter, js_name = inputNames)]
    pub fn input_names(&self) -> Vec<String> {
        self.0.input_names().into_iter().map(str::to_owned).collect()
    }

    /// The names of its outputs.
    #[wasm_bindgen(getter, js_name = outputNames)]
    pub fn output_names(&self) -> Vec<String> {
        self.0.output_names().into_iter().map(str::to_owned).collect()
    }

    /// The sizes that the file declares for an input, null where it leaves one open; undefined if there is no such input.
    #[wasm_bindgen(js_name = inputShape, unchecked_return_type = "(number | null)[] | undefined")]
    pub fn input_shape(&self, name: &str) -> Option<Array> {
        let size = |size: &Option<u32>| size.map_or(JsValue::NULL, JsValue::from);
        self.0.input_shape(name).map(|shape| shape.iter().map(size).collect())
    }

    /// The same network with these tensors of the file as its only outputs.
    #[wasm_bindgen(js_name = withOutputs)]
    #[expect(clippy::needless_pass_by_value, reason = "an array of strings comes no other way")]
    pub fn with_outputs(&self, names: Vec<String>) -> Result<Network> {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.0.with_outputs(&names).map(Self).map_err(thrown)
    }

    /// The same network with normal layers in the place of its separable ones: it computes the same, with more work.
    pub fn folded(&self) -> Network {
        Self(self.0.clone().folded())
    }

    /// Compiles the network for inputs of these shapes, in the background. An input that is not named has the shape that the
    /// file declares. `progress` is told how many of how many pipelines are compiled.
    pub async fn plan(
        &self,
        context: &Context,
        #[wasm_bindgen(unchecked_optional_param_type = "Record<string, ArrayLike<number>>")] shapes: JsValue,
        #[wasm_bindgen(unchecked_optional_param_type = "(done: number, of: number) => void")] progress: JsValue,
    ) -> Result<NetworkPlan> {
        let tell = teller(progress)?;
        let plan = self.0.plan_async(&context.0, &borrowed(&named_shapes(&shapes)?), &tell).await.map_err(thrown)?;
        Ok(NetworkPlan { context: context.0.clone(), plan, weights: OnceCell::new() })
    }

    /// Measures which way to compute each layer is the fastest, which takes minutes, and returns the same device with layers
    /// planned so. `progress` is told how many of how many layers are measured; keep `tuning` of what is returned.
    pub async fn tune(
        &self,
        context: &Context,
        #[wasm_bindgen(unchecked_optional_param_type = "Record<string, ArrayLike<number>>")] shapes: JsValue,
        #[wasm_bindgen(unchecked_optional_param_type = "(done: number, of: number) => void")] progress: JsValue,
    ) -> Result<Context> {
        let tell = teller(progress)?;
        let layers = self.0.layers(&borrowed(&named_shapes(&shapes)?)).map_err(thrown)?;
        let with_inner = |(_, layer)| tune::inner_layers(&context.0, layer).into_iter().chain([layer]);
        let mut seen = HashSet::new();
        let layers: Vec<Layer> =
            layers.into_iter().flat_map(with_inner).filter(|layer| seen.insert(layer.text())).collect();
        let mut tuned = context.0.clone();
        for (index, layer) in layers.iter().enumerate() {
            let best = tune::tune(&tuned, *layer).await.map_err(thrown)?.best;
            let mut table = tuned.tuning().clone();
            table.insert(layer, tuned.target(), best.choice);
            tuned = tuned.with_tuning(table);
            tell(index + 1, layers.len());
        }
        Ok(Context(tuned))
    }
}

/// What tells a caller's function how far it is. What that function throws is lost: the work goes on.
fn teller(progress: JsValue) -> Result<impl Fn(usize, usize)> {
    if !progress.is_undefined() && !progress.is_function() {
        return Err(refused("progress must be a function"));
    }
    Ok(move |done: usize, of: usize| {
        if let Some(progress) = progress.dyn_ref::<Function>() {
            let _ = progress.call2(&JsValue::UNDEFINED, &(done as f64).into(), &(of as f64).into());
        }
    })
}

/// Shapes by name.
fn named_shapes(value: &JsValue) -> Result<Vec<(String, Vec<u32>)>> {
    let shape = |(name, shape): (String, JsValue)| {
        let sizes = read(&name, &shape, text::numbers)?;
        Ok((name, sizes))
    };
    entries("shapes", value)?.into_iter().map(shape).collect()
}

fn borrowed(shapes: &[(String, Vec<u32>)]) -> Vec<(&str, &[u32])> {
    shapes.iter().map(|(name, shape)| (name.as_str(), &shape[..])).collect()
}

/// A network planned for the shapes of its inputs, with its pipelines compiled.
#[wasm_bindgen]
pub struct NetworkPlan {
    context: sepconv::Context,
    plan: sepconv::NetworkPlan,
    /// Uploaded when they are first needed.
    weights: OnceCell<sepconv::Weights>,
}

#[wasm_bindgen]
impl NetworkPlan {
    /// Its inputs, in the file's order.
    #[wasm_bindgen(getter, unchecked_return_type = "Port[]")]
    pub fn inputs(&self) -> Result<Array> {
        ports(self.plan.inputs())
    }

    /// Its outputs, in the file's order.
    #[wasm_bindgen(getter, unchecked_return_type = "Port[]")]
    pub fn outputs(&self) -> Result<Array> {
        ports(self.plan.outputs())
    }

    /// Its layers, in the order in which they run.
    #[wasm_bindgen(getter, unchecked_return_type = "NetworkLayer[]")]
    pub fn layers(&self) -> Result<Array> {
        let number = |count: u64| JsValue::from_f64(count as f64);
        let layer = |planned: &PlannedLayer| {
            let [depthwise, pointwise, normal, other] = shares(&planned.layer).map(number);
            let work = [("depthwise", depthwise), ("pointwise", pointwise), ("normal", normal), ("other", other)];
            object([
                ("name", JsValue::from(&planned.name[..])),
                ("kernel", JsValue::from(&planned.kernel[..])),
                ("steps", number(planned.steps as u64)),
                ("parameters", number(planned.parameters)),
                ("multiplyAdds", object(work)?.into()),
            ])
        };
        self.plan.layers().iter().map(layer).collect()
    }

    /// How many dispatches a run takes.
    #[wasm_bindgen(getter)]
    pub fn steps(&self) -> f64 {
        self.plan.steps() as f64
    }

    /// The bytes of device memory that its weights take.
    #[wasm_bindgen(getter, js_name = weightBytes)]
    pub fn weight_bytes(&self) -> f64 {
        self.plan.weight_bytes() as f64
    }

    /// The bytes of device memory that each `bind` takes for what lies between layers.
    #[wasm_bindgen(getter, js_name = workspaceBytes)]
    pub fn workspace_bytes(&self) -> f64 {
        self.plan.workspace_bytes() as f64
    }

    /// Its weights, which are uploaded once. `bind` takes them by itself; give them to a plan of the same network for other
    /// shapes, and they are not uploaded again.
    pub fn weights(&self) -> Result<Weights> {
        if let Some(weights) = self.weights.get() {
            return Ok(Weights(weights.clone()));
        }
        let weights = self.plan.weights().map_err(thrown)?;
        Ok(Weights(self.weights.get_or_init(|| weights).clone()))
    }

    /// Makes everything that running it takes. A tensor that is not given is made, and is there under its name.
    pub fn bind(
        &self,
        #[wasm_bindgen(unchecked_optional_param_type = "NetworkOperands")] operands: &JsValue,
    ) -> Result<Bound> {
        let fields = Fields::new("operands", operands, &["inputs", "outputs", "weights"])?;
        let weights = match held(&fields, "weights", "Weights", Held::weights)? {
            Some(weights) => weights.0,
            None => self.weights()?.0,
        };
        let tensors = |argument: &str, ports: &[Port]| {
            let names: Vec<_> = ports.iter().map(|port| port.name.as_str()).collect();
            let given = Fields::new(argument, &fields.value(argument)?.unwrap_or(JsValue::UNDEFINED), &names)?;
            let tensor = |port: &Port| {
                let tensor = match held(&given, &port.name, "a Tensor", Held::tensor)? {
                    Some(tensor) => tensor.0,
                    None => sepconv::Tensor::zeros(&self.context, port.tensor_shape()).map_err(thrown)?,
                };
                Ok((port.name.clone(), tensor))
            };
            ports.iter().map(tensor).collect::<Result<Vec<_>>>()
        };
        let (inputs, outputs) = (tensors("inputs", self.plan.inputs())?, tensors("outputs", self.plan.outputs())?);
        let [given, wanted] =
            [&inputs, &outputs].map(|ends| ends.iter().map(|(name, tensor)| (&name[..], tensor)).collect::<Vec<_>>());
        let bound = self.plan.bind(&weights, &given, &wanted).map_err(thrown)?;
        Ok(Bound { program: bound, inputs, outputs })
    }
}

fn ports(ports: &[Port]) -> Result<Array> {
    let port = |port: &Port| {
        object([
            ("name", JsValue::from(&port.name[..])),
            ("shape", sizes(&port.shape)),
            ("tensorShape", sizes(&port.tensor_shape())),
        ])
    };
    ports.iter().map(port).collect()
}

/// How many of a layer's multiply-adds are a depthwise, a pointwise, a normal convolution's, and another layer's.
fn shares(layer: &Layer) -> [u64; 4] {
    let convolution = |geometry: &Geometry| {
        let work = geometry.multiply_adds();
        if geometry.groups == geometry.in_channels && geometry.groups > 1 {
            [work, 0, 0, 0]
        } else if geometry.kernel_size == 1.into() {
            [0, work, 0, 0]
        } else {
            [0, 0, work, 0]
        }
    };
    match layer {
        Layer::Conv2d(geometry) => convolution(geometry),
        Layer::SeparableConv2d((depthwise, pointwise)) => [depthwise.multiply_adds(), pointwise.multiply_adds(), 0, 0],
        other => [0, 0, 0, other.multiply_adds()],
    }
}
