//! `Plan`, `Weights` and `Bound`: a layer of any kind on a device.

use js_sys::Array;
use sepconv::unstable::text;
use sepconv::{Choice, Layer, Operands, Parameters, kernels};
use wasm_bindgen::prelude::{JsCast, JsValue, wasm_bindgen};

use crate::context::{Context, Tensor};
use crate::value::{Fields, Result, object, refused, thrown};

/// A layer planned for one input shape, its kernel compiled.
#[wasm_bindgen]
pub struct Plan(sepconv::Plan);

/// What the weights and biases of any kind of layer are called.
const PARAMETERS: [&str; 9] = [
    "weight",
    "bias",
    "depthwiseWeight",
    "depthwiseBias",
    "pointwiseWeight",
    "pointwiseBias",
    "scale",
    "hiddenWeight",
    "hiddenBias",
];

#[wasm_bindgen]
impl Plan {
    /// The name of the kernel that computes it, or of several with ` + ` between them.
    #[wasm_bindgen(getter)]
    pub fn kernel(&self) -> String {
        self.0.kernel().to_owned()
    }

    /// `[batch, channels, height, width]`
    #[wasm_bindgen(getter, js_name = outputShape)]
    pub fn output_shape(&self) -> Vec<u32> {
        self.0.output_shape().to_vec()
    }

    /// The bytes of device memory that `weights` takes for packed weights; 0 for most kernels.
    #[wasm_bindgen(getter, js_name = packedWeightBytes)]
    pub fn packed_weight_bytes(&self) -> f64 {
        self.0.packed_weight_bytes() as f64
    }

    /// The bytes of device memory that each `bind` takes for what is between steps; 0 for most kernels.
    #[wasm_bindgen(getter, js_name = workspaceBytes)]
    pub fn workspace_bytes(&self) -> f64 {
        self.0.workspace_bytes() as f64
    }

    /// Checks these weights and biases against the plan and packs them as its kernel reads them. Bind them as often as
    /// you like.
    pub fn weights(
        &self,
        #[wasm_bindgen(unchecked_param_type = "LayerParameters")] parameters: &JsValue,
    ) -> Result<Weights> {
        let fields = Fields::new("parameters", parameters, &PARAMETERS)?;
        self.pack(&tensors(&fields, PARAMETERS)?).map(Weights)
    }

    /// Checks these tensors against the plan and makes everything that running it takes. Weights and biases that are
    /// given one by one are packed first.
    pub fn bind(&self, #[wasm_bindgen(unchecked_param_type = "Operands")] operands: &JsValue) -> Result<Bound> {
        let names = ["input", "residual", "inputScale", "other", "output", "weights"];
        let fields = Fields::new("operands", operands, &[&names[..], &PARAMETERS].concat())?;
        let [input, residual, input_scale, other, output] =
            tensors(&fields, ["input", "residual", "inputScale", "other", "output"])?;
        let missing = |name| move || refused(&format!("{name} is missing; it must be a Tensor"));
        let (input, output) = (input.ok_or_else(missing("input"))?, output.ok_or_else(missing("output"))?);
        let parameters = tensors(&fields, PARAMETERS)?;
        let single = PARAMETERS.iter().zip(&parameters).find(|(_, tensor)| tensor.is_some());
        let weights = match (held(&fields, "weights", "Weights", Held::weights)?, single) {
            (Some(_), Some((name, _))) => {
                return Err(refused(&format!("{name} and weights are both given; it must be one or the other")));
            }
            (None, Some(_)) => Some(self.pack(&parameters)?),
            (weights, None) => weights.map(|weights| weights.0),
        };
        let operands = Operands::new(&input, &output).residual(&residual).input_scale(&input_scale).other(&other);
        let bound = self.0.bind(&weights, operands).map_err(thrown)?;
        let alone = |name: &str, tensor| vec![(name.to_owned(), tensor)];
        Ok(Bound { program: bound, inputs: alone("input", input), outputs: alone("output", output) })
    }
}

impl Plan {
    /// Plans a layer in the way that seems best, or in this one.
    pub(crate) fn of(context: &Context, layer: impl Into<Layer>, way: &JsValue) -> Result<Self> {
        let plan = match read_way(way)? {
            None => context.0.plan(layer),
            Some((kernel, variant)) => {
                kernels::by_name(&kernel).and_then(|kernel| context.0.plan_with(layer, Choice::new(kernel, variant)))
            }
        };
        plan.map(Self).map_err(thrown)
    }

    /// Packs what has a tensor of the [`PARAMETERS`].
    fn pack(&self, tensors: &[Option<sepconv::Tensor>; 9]) -> Result<sepconv::Weights> {
        let [weight, bias, depthwise_weight, depthwise_bias, pointwise_weight, pointwise_bias, scale, ..] = tensors;
        let [.., hidden_weight, hidden_bias] = tensors;
        let parameters = match (weight, depthwise_weight, pointwise_weight) {
            (None, None, None) => Parameters::default(),
            (Some(weight), None, None) => Parameters::new(weight),
            (None, Some(depthwise), Some(pointwise)) => Parameters::separable(depthwise, pointwise),
            _ => return Err(refused("a layer takes weight, or else both depthwiseWeight and pointwiseWeight")),
        };
        let parameters = parameters.bias(bias).scale(scale).hidden_weight(hidden_weight).hidden_bias(hidden_bias);
        let parameters = parameters.depthwise_bias(depthwise_bias).pointwise_bias(pointwise_bias);
        self.0.weights(&parameters).map_err(thrown)
    }
}

/// Weights and biases, packed for the kernel that will read them.
#[wasm_bindgen]
#[derive(Clone)]
pub struct Weights(pub(crate) sepconv::Weights);

#[wasm_bindgen]
impl Weights {
    /// Packs them again, after their tensors have been written.
    pub fn pack(&self) -> Result<()> {
        self.0.pack_now().map_err(thrown)
    }

    /// Another handle to the same memory.
    pub fn handle(&self) -> Weights {
        self.clone()
    }
}

/// A plan with its tensors.
#[wasm_bindgen]
pub struct Bound {
    pub(crate) program: sepconv::Bound,
    pub(crate) inputs: Vec<(String, sepconv::Tensor)>,
    pub(crate) outputs: Vec<(String, sepconv::Tensor)>,
}

#[wasm_bindgen]
impl Bound {
    /// Submits all of it at once, without waiting for it: reading an output waits.
    pub fn run(&self) -> Result<()> {
        self.program.run().map_err(thrown)
    }

    /// The tensor of an input; of the only one, if it is not named.
    pub fn input(&self, name: Option<String>) -> Result<Tensor> {
        named(&self.inputs, "input", name)
    }

    /// The tensor of an output; of the only one, if it is not named.
    pub fn output(&self, name: Option<String>) -> Result<Tensor> {
        named(&self.outputs, "output", name)
    }
}

/// The tensor of this name, or the only one.
fn named(tensors: &[(String, sepconv::Tensor)], kind: &str, name: Option<String>) -> Result<Tensor> {
    let found = match &name {
        Some(name) => tensors.iter().find(|(other, _)| other == name),
        None => tensors.first().filter(|_| tensors.len() == 1),
    };
    found.map(|(_, tensor)| Tensor(tensor.clone())).ok_or_else(|| {
        let known: Vec<_> = tensors.iter().map(|(name, _)| name.as_str()).collect();
        refused(&format!("name is {:?}; it must be an {kind}: {}", name.unwrap_or_default(), known.join(", ")))
    })
}

/// Every way to compute a layer on a device, the planner's own choice first.
pub(crate) fn ways(context: &Context, layer: impl Into<Layer>) -> Result<Array> {
    let way = |(Choice { kernel, variant, .. }, _)| {
        object([("kernel", kernel.name.into()), ("variant", JsValue::from_f64(variant as f64))])
    };
    Choice::all(&layer.into(), context.0.target()).into_iter().map(way).collect()
}

/// One of [`ways`], the best variant where it names none; none of `undefined`.
fn read_way(value: &JsValue) -> Result<Option<(String, usize)>> {
    let fields = Fields::new("way", value, &["kernel", "variant"])?;
    let Some(kernel) = fields.read("kernel", |text| Ok(text.to_owned()))? else { return Ok(None) };
    Ok(Some((kernel, fields.read("variant", text::number)?.unwrap_or(0) as usize)))
}

#[wasm_bindgen]
extern "C" {
    /// A `Tensor` or `Weights` as JavaScript holds it: turning that into the Rust value would take it from its owner.
    pub type Held;

    #[wasm_bindgen(method, catch, js_name = handle)]
    pub fn tensor(this: &Held) -> Result<Tensor>;

    #[wasm_bindgen(method, catch, js_name = handle)]
    pub fn weights(this: &Held) -> Result<Weights>;
}

/// A handle to what JavaScript holds as a property, none where that is undefined.
pub(crate) fn held<T>(fields: &Fields, name: &str, kind: &str, handle: fn(&Held) -> Result<T>) -> Result<Option<T>> {
    let handle = |value: JsValue| handle(value.unchecked_ref());
    let handle = fields.value(name)?.map(handle).transpose();
    handle.map_err(|_| refused(&format!("{name} must be {kind}")))
}

/// The tensors of these names, those that there are.
fn tensors<const N: usize>(fields: &Fields, names: [&str; N]) -> Result<[Option<sepconv::Tensor>; N]> {
    let mut tensors = [const { None }; N];
    for (tensor, name) in tensors.iter_mut().zip(names) {
        *tensor = held(fields, name, "a Tensor", Held::tensor)?.map(|tensor| tensor.0);
    }
    Ok(tensors)
}
