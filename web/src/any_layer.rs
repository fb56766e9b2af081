//! `Layer`: a layer of any kind, with the sizes of what it is given.

use std::collections::BTreeMap;

use js_sys::{Array, Float32Array};
use sepconv::unstable::Given;
use sepconv::unstable::layer_text::{self, Argument};
use sepconv::verify;
use wasm_bindgen::prelude::{JsCast, JsValue, wasm_bindgen};

use crate::context::Context;
use crate::plan::{self, Plan};
use crate::value::{Fields, Result, entries, object, refused, sizes, thrown, written};

/// A layer of any kind that has kernels, described as in the command's shapes files.
#[wasm_bindgen]
pub struct Layer(sepconv::Layer);

#[wasm_bindgen]
impl Layer {
    /// Checks the description and resolves every size.
    #[wasm_bindgen(constructor)]
    pub fn new(#[wasm_bindgen(unchecked_param_type = "LayerDescription")] description: &JsValue) -> Result<Layer> {
        let argument = |(name, value): (String, JsValue)| {
            let text = written(&value);
            (!value.is_undefined()).then(|| (name, Argument { shown: format!("{text:?}"), text }))
        };
        let arguments: BTreeMap<_, _> = entries("description", description)?.into_iter().filter_map(argument).collect();
        let layer = layer_text::read(&arguments).map_err(|reason| refused(&reason))?;
        layer.map(Self).map_err(thrown)
    }

    /// The tensors that it is bound to, but for its output.
    #[wasm_bindgen(getter, unchecked_return_type = "Given[]")]
    pub fn given(&self) -> Result<Array> {
        let given = |given: &Given| object([("name", name(given).into()), ("shape", sizes(&given.shape))]);
        self.0.describe().given().iter().map(given).collect()
    }

    /// `[batch, channels, height, width]`
    #[wasm_bindgen(getter, js_name = outputShape)]
    pub fn output_shape(&self) -> Vec<u32> {
        self.0.output_shape().to_vec()
    }

    /// Its multiply-adds; of a layer that has none, its operations.
    #[wasm_bindgen(getter, js_name = multiplyAdds)]
    pub fn multiply_adds(&self) -> f64 {
        self.0.multiply_adds() as f64
    }

    /// Every way to compute the layer on a device, the planner's own choice first.
    #[wasm_bindgen(unchecked_return_type = "Way[]")]
    pub fn ways(&self, context: &Context) -> Result<Array> {
        plan::ways(context, self.0)
    }

    /// Compiles the layer: in the way that seems best, or in this one.
    pub fn plan(
        &self,
        context: &Context,
        #[wasm_bindgen(unchecked_optional_param_type = "Way")] way: &JsValue,
    ) -> Result<Plan> {
        Plan::of(context, self.0, way)
    }

    /// The largest error of a result as a multiple of what rounding allows; a right result has at most 1.
    #[wasm_bindgen(js_name = largestError)]
    pub fn largest_error(
        &self,
        #[wasm_bindgen(unchecked_param_type = "Record<string, Float32Array>")] values: &JsValue,
        output: &[f32],
    ) -> Result<f64> {
        largest_error(self.0, values, output)
    }
}

/// What JavaScript calls a tensor that a layer is given.
fn name(Given { part, name, .. }: &Given) -> String {
    let words = part.iter().copied().chain(name.split('_'));
    let written = words.enumerate().map(|(place, word)| match (place, word.split_at(1)) {
        (0, _) => word.to_owned(),
        (_, (first, others)) => first.to_uppercase() + others,
    });
    written.collect()
}

/// The largest error of a layer's result, from the values of all that it was given.
pub(crate) fn largest_error(layer: impl Into<sepconv::Layer>, values: &JsValue, output: &[f32]) -> Result<f64> {
    let layer = layer.into();
    let layer = layer.describe();
    let given = layer.given();
    let names: Vec<_> = given.iter().map(name).collect();
    let fields = Fields::new("values", values, &names.iter().map(String::as_str).collect::<Vec<_>>())?;
    let numbers = given.iter().zip(&names).map(|(given, name)| floats(&fields, name, given.shape));
    let numbers = numbers.collect::<Result<Vec<_>>>()?;
    let expected = layer.reference(&numbers.iter().map(Vec::as_slice).collect::<Vec<_>>());
    Ok(verify::largest_error(&expected, layer.activation(), layer.terms(), output))
}

/// The numbers of a tensor, as many as its shape takes.
fn floats(fields: &Fields, name: &str, shape: [u32; 4]) -> Result<Vec<f32>> {
    let value = fields.value(name)?.ok_or_else(|| refused(&format!("{name} is missing; it must be a Float32Array")))?;
    let array = value.dyn_ref::<Float32Array>();
    let values = array.ok_or_else(|| refused(&format!("{name} must be a Float32Array")))?.to_vec();
    let (length, expected) = (values.len(), shape.map(u64::from).iter().product::<u64>());
    if length as u64 != expected {
        return Err(refused(&format!("{name} has {length} values; its shape {shape:?} takes {expected}")));
    }
    Ok(values)
}
