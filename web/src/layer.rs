//! `Conv2d` and `SeparableConv2d`, their geometry, plans and bound plans.

use js_sys::{Array, Float32Array, Object, Reflect};
use sepconv::{Choice, SeparableChoice, kernels, reference, text, verify};
use wasm_bindgen::prelude::{JsCast, JsValue, wasm_bindgen};

use crate::context::{Context, Held};
use crate::value::{Fields, Result, flag, read, refused, shape, thrown};

/// The options of either kind of layer that both have, applied to one.
macro_rules! with_layer_options {
    ($layer:expr, $fields:expr) => {{
        let (mut layer, fields) = ($layer, $fields);
        if let Some(stride) = fields.read("stride", text::size)? {
            layer = layer.stride(stride);
        }
        if let Some(padding) = fields.read("padding", text::padding)? {
            layer = layer.padding(padding);
        }
        if let Some(dilation) = fields.read("dilation", text::size)? {
            layer = layer.dilation(dilation);
        }
        if let Some(mode) = fields.read("paddingMode", text::padding_mode)? {
            layer = layer.padding_mode(mode);
        }
        if let Some(activation) = fields.read("activation", text::activation)? {
            layer = layer.activation(activation);
        }
        if let Some(bias) = fields.read("bias", flag)? {
            layer = layer.bias(bias);
        }
        if let Some(residual) = fields.read("residual", flag)? {
            layer = layer.residual(residual);
        }
        layer
    }};
}

/// One convolution with every size known.
#[wasm_bindgen]
pub struct Geometry(sepconv::Geometry);

#[wasm_bindgen]
impl Geometry {
    /// `[batch, in_channels, height, width]`
    #[wasm_bindgen(getter, js_name = inputShape)]
    pub fn input_shape(&self) -> Vec<u32> {
        self.0.input_shape().to_vec()
    }

    /// `[out_channels, in_channels / groups, kernel height, kernel width]`
    #[wasm_bindgen(getter, js_name = weightShape)]
    pub fn weight_shape(&self) -> Vec<u32> {
        self.0.weight_shape().to_vec()
    }

    /// `[1, out_channels, 1, 1]`
    #[wasm_bindgen(getter, js_name = biasShape)]
    pub fn bias_shape(&self) -> Vec<u32> {
        self.0.bias_shape().to_vec()
    }

    /// `[batch, out_channels, height, width]`
    #[wasm_bindgen(getter, js_name = outputShape)]
    pub fn output_shape(&self) -> Vec<u32> {
        self.0.output_shape().to_vec()
    }

    /// `[top, left, bottom, right]`
    #[wasm_bindgen(getter)]
    pub fn padding(&self) -> Vec<u32> {
        let sides = self.0.padding;
        vec![sides.top, sides.left, sides.bottom, sides.right]
    }

    /// Learned numbers: weights, and biases if there are any.
    #[wasm_bindgen(getter)]
    pub fn parameters(&self) -> f64 {
        self.0.parameters() as f64
    }

    /// One per weight and output position, padding counted, biases not.
    #[wasm_bindgen(getter, js_name = multiplyAdds)]
    pub fn multiply_adds(&self) -> f64 {
        self.0.multiply_adds() as f64
    }

    /// Bytes that must move: input, parameters and residual read once, output written once.
    #[wasm_bindgen(getter)]
    pub fn bytes(&self) -> f64 {
        self.0.bytes() as f64
    }
}

/// The two geometries of a separable layer.
#[wasm_bindgen]
pub struct SeparableGeometry(sepconv::Geometry, sepconv::Geometry);

#[wasm_bindgen]
impl SeparableGeometry {
    /// The filters, one input channel each.
    #[wasm_bindgen(getter)]
    pub fn depthwise(&self) -> Geometry {
        Geometry(self.0)
    }

    /// The 1 × 1 convolution that mixes their results.
    #[wasm_bindgen(getter)]
    pub fn pointwise(&self) -> Geometry {
        Geometry(self.1)
    }
}

/// A convolution layer in PyTorch's words.
#[wasm_bindgen]
pub struct Conv2d(sepconv::Conv2d);

#[wasm_bindgen]
impl Conv2d {
    /// A layer from `inChannels` to `outChannels` with a filter of `kernelSize`.
    #[wasm_bindgen(constructor)]
    pub fn new(
        #[wasm_bindgen(unchecked_param_type = "number", js_name = inChannels)] in_channels: &JsValue,
        #[wasm_bindgen(unchecked_param_type = "number", js_name = outChannels)] out_channels: &JsValue,
        #[wasm_bindgen(unchecked_param_type = "Size", js_name = kernelSize)] kernel_size: &JsValue,
        #[wasm_bindgen(unchecked_optional_param_type = "Conv2dOptions")] options: &JsValue,
    ) -> Result<Conv2d> {
        let names = ["stride", "padding", "dilation", "paddingMode", "activation", "bias", "residual", "groups"];
        let fields = Fields::new("options", options, &names)?;
        let layer = sepconv::Conv2d::new(
            read("inChannels", in_channels, text::number)?,
            read("outChannels", out_channels, text::number)?,
            read("kernelSize", kernel_size, text::size)?,
        );
        let layer = with_layer_options!(layer, &fields);
        Ok(Self(layer.groups(fields.read("groups", text::number)?.unwrap_or(1))))
    }

    /// Checks the layer against an input shape and resolves every size.
    pub fn geometry(
        &self,
        #[wasm_bindgen(unchecked_param_type = "Shape", js_name = inputShape)] input_shape: &JsValue,
    ) -> Result<Geometry> {
        self.0.geometry(shape("inputShape", input_shape)?).map(Geometry).map_err(thrown)
    }

    /// Every way to compute the layer on a device, the planner's own choice first.
    #[wasm_bindgen(unchecked_return_type = "Way[]")]
    pub fn ways(
        &self,
        context: &Context,
        #[wasm_bindgen(unchecked_param_type = "Shape", js_name = inputShape)] input_shape: &JsValue,
    ) -> Result<Array> {
        let geometry = self.0.geometry(shape("inputShape", input_shape)?).map_err(thrown)?;
        let choices = Choice::all(&geometry, context.0.target()).into_iter();
        choices.map(|(Choice { kernel, variant }, _)| way(kernel.name, variant)).collect()
    }

    /// Compiles the layer for an input shape: in the way that seems best, or in this one.
    pub fn plan(
        &self,
        context: &Context,
        #[wasm_bindgen(unchecked_param_type = "Shape", js_name = inputShape)] input_shape: &JsValue,
        #[wasm_bindgen(unchecked_optional_param_type = "Way")] way: &JsValue,
    ) -> Result<Plan> {
        let shape = shape("inputShape", input_shape)?;
        let plan = match read_way(way)? {
            None => self.0.plan(&context.0, shape),
            Some((kernel, variant)) => kernels::by_name(&kernel)
                .and_then(|kernel| self.0.plan_with_choice(&context.0, shape, Choice { kernel, variant })),
        };
        plan.map(Plan).map_err(thrown)
    }

    /// The largest error of a result as a multiple of what rounding allows; a right result has at most 1.
    #[wasm_bindgen(js_name = largestError)]
    pub fn largest_error(
        &self,
        #[wasm_bindgen(unchecked_param_type = "Shape", js_name = inputShape)] input_shape: &JsValue,
        #[wasm_bindgen(unchecked_param_type = "Values")] values: &JsValue,
        output: &[f32],
    ) -> Result<f64> {
        let g = self.0.geometry(shape("inputShape", input_shape)?).map_err(thrown)?;
        let fields = Fields::new("values", values, &["input", "weight", "bias", "residual"])?;
        let input = floats(&fields, "input", true, g.input_shape())?.unwrap_or_default();
        let weight = floats(&fields, "weight", true, g.weight_shape())?.unwrap_or_default();
        let bias = floats(&fields, "bias", g.bias, g.bias_shape())?;
        let residual = floats(&fields, "residual", g.residual, g.output_shape())?;
        let expected = reference::conv2d(&g, &input, &weight, bias.as_deref(), residual.as_deref());
        Ok(verify::largest_error(&expected, g.activation, g.terms(), output))
    }
}

/// A depthwise-separable convolution: one filter per input channel, then a 1 × 1 convolution.
#[wasm_bindgen]
pub struct SeparableConv2d(sepconv::SeparableConv2d);

#[wasm_bindgen]
impl SeparableConv2d {
    /// A layer from `inChannels` to `outChannels` with a depthwise filter of `kernelSize`.
    #[wasm_bindgen(constructor)]
    pub fn new(
        #[wasm_bindgen(unchecked_param_type = "number", js_name = inChannels)] in_channels: &JsValue,
        #[wasm_bindgen(unchecked_param_type = "number", js_name = outChannels)] out_channels: &JsValue,
        #[wasm_bindgen(unchecked_param_type = "Size", js_name = kernelSize)] kernel_size: &JsValue,
        #[wasm_bindgen(unchecked_optional_param_type = "SeparableConv2dOptions")] options: &JsValue,
    ) -> Result<SeparableConv2d> {
        let names = [
            "stride",
            "padding",
            "dilation",
            "paddingMode",
            "activation",
            "bias",
            "residual",
            "depthMultiplier",
            "depthwiseActivation",
            "depthwiseBias",
            "pointwiseBias",
        ];
        let fields = Fields::new("options", options, &names)?;
        let layer = sepconv::SeparableConv2d::new(
            read("inChannels", in_channels, text::number)?,
            read("outChannels", out_channels, text::number)?,
            read("kernelSize", kernel_size, text::size)?,
        );
        let mut layer = with_layer_options!(layer, &fields);
        if let Some(multiplier) = fields.read("depthMultiplier", text::number)? {
            layer = layer.depth_multiplier(multiplier);
        }
        if let Some(activation) = fields.read("depthwiseActivation", text::activation)? {
            layer = layer.depthwise_activation(activation);
        }
        if let Some(bias) = fields.read("depthwiseBias", flag)? {
            layer = layer.depthwise_bias(bias);
        }
        if let Some(bias) = fields.read("pointwiseBias", flag)? {
            layer = layer.pointwise_bias(bias);
        }
        Ok(Self(layer))
    }

    /// Checks both parts against an input shape and resolves every size.
    pub fn geometry(
        &self,
        #[wasm_bindgen(unchecked_param_type = "Shape", js_name = inputShape)] input_shape: &JsValue,
    ) -> Result<SeparableGeometry> {
        let (depthwise, pointwise) = self.0.geometry(shape("inputShape", input_shape)?).map_err(thrown)?;
        Ok(SeparableGeometry(depthwise, pointwise))
    }

    /// Every way to compute the layer on a device: in one dispatch, where it can be, and as two layers, `chained`.
    #[wasm_bindgen(unchecked_return_type = "Way[]")]
    pub fn ways(
        &self,
        context: &Context,
        #[wasm_bindgen(unchecked_param_type = "Shape", js_name = inputShape)] input_shape: &JsValue,
    ) -> Result<Array> {
        let geometries = self.0.geometry(shape("inputShape", input_shape)?).map_err(thrown)?;
        let target = context.0.target();
        let way = |choice| match choice {
            SeparableChoice::Chained => way(sepconv::CHAINED, 0),
            SeparableChoice::Fused { kernel, variant } => way(kernel.name, variant),
        };
        SeparableChoice::all(&geometries, target).into_iter().map(|(choice, _)| way(choice)).collect()
    }

    /// Compiles the layer for an input shape: in the way that seems best, or in this one.
    pub fn plan(
        &self,
        context: &Context,
        #[wasm_bindgen(unchecked_param_type = "Shape", js_name = inputShape)] input_shape: &JsValue,
        #[wasm_bindgen(unchecked_optional_param_type = "Way")] way: &JsValue,
    ) -> Result<SeparablePlan> {
        let shape = shape("inputShape", input_shape)?;
        let plan = match read_way(way)? {
            None => self.0.plan(&context.0, shape),
            Some((kernel, variant)) => SeparableChoice::by_name(&kernel, variant)
                .and_then(|choice| self.0.plan_with_choice(&context.0, shape, choice)),
        };
        plan.map(SeparablePlan).map_err(thrown)
    }

    /// The largest error of a result as a multiple of what rounding allows; a right result has at most 1. For a layer
    /// without a residual.
    #[wasm_bindgen(js_name = largestError)]
    pub fn largest_error(
        &self,
        #[wasm_bindgen(unchecked_param_type = "Shape", js_name = inputShape)] input_shape: &JsValue,
        #[wasm_bindgen(unchecked_param_type = "SeparableValues")] values: &JsValue,
        output: &[f32],
    ) -> Result<f64> {
        let (d, p) = self.0.geometry(shape("inputShape", input_shape)?).map_err(thrown)?;
        if p.residual {
            return Err(refused("a separable layer with a residual has no reference; compare its two parts"));
        }
        let names = ["input", "depthwiseWeight", "depthwiseBias", "pointwiseWeight", "pointwiseBias"];
        let fields = Fields::new("values", values, &names)?;
        let [input, d_weight, p_weight] =
            [("input", d.input_shape()), ("depthwiseWeight", d.weight_shape()), ("pointwiseWeight", p.weight_shape())]
                .map(|(name, shape)| floats(&fields, name, true, shape).map(Option::unwrap_or_default));
        let d_bias = floats(&fields, "depthwiseBias", d.bias, d.bias_shape())?;
        let p_bias = floats(&fields, "pointwiseBias", p.bias, p.bias_shape())?;
        let expected = verify::separable_reference(
            (&d, &p),
            &input?,
            (&d_weight?, d_bias.as_deref()),
            (&p_weight?, p_bias.as_deref()),
            None,
        );
        Ok(verify::largest_error(&expected, p.activation, d.terms() + p.terms(), output))
    }
}

/// A layer planned for one input shape, its kernel compiled.
#[wasm_bindgen]
pub struct Plan(sepconv::Plan);

#[wasm_bindgen]
impl Plan {
    /// The name of the kernel that computes it.
    #[wasm_bindgen(getter)]
    pub fn kernel(&self) -> String {
        self.0.kernel().to_owned()
    }

    /// `[batch, out_channels, height, width]`
    #[wasm_bindgen(getter, js_name = outputShape)]
    pub fn output_shape(&self) -> Vec<u32> {
        self.0.output_shape().to_vec()
    }

    /// Checks these tensors against the plan and makes everything that running it takes.
    pub fn bind(&self, #[wasm_bindgen(unchecked_param_type = "Operands")] operands: &JsValue) -> Result<Bound> {
        let fields = Fields::new("operands", operands, &["input", "weight", "bias", "residual", "output"])?;
        let [input, weight, output] = ["input", "weight", "output"].map(|name| tensor(&fields, name));
        let (input, weight, output) = (input?, weight?, output?);
        let (bias, residual) = (optional_tensor(&fields, "bias")?, optional_tensor(&fields, "residual")?);
        let operands = sepconv::Operands::new(&input, &weight, &output).bias(bias.as_ref()).residual(residual.as_ref());
        self.0.bind(operands).map(Bound).map_err(thrown)
    }
}

/// A separable layer planned for one input shape.
#[wasm_bindgen]
pub struct SeparablePlan(sepconv::SeparablePlan);

#[wasm_bindgen]
impl SeparablePlan {
    /// The name of the kernel that computes it, or of the two.
    #[wasm_bindgen(getter)]
    pub fn kernel(&self) -> String {
        self.0.kernel()
    }

    /// `[batch, out_channels, height, width]`
    #[wasm_bindgen(getter, js_name = outputShape)]
    pub fn output_shape(&self) -> Vec<u32> {
        self.0.output_shape().to_vec()
    }

    /// Checks these tensors against the plan and makes everything that running it takes.
    pub fn bind(
        &self,
        #[wasm_bindgen(unchecked_param_type = "SeparableOperands")] operands: &JsValue,
    ) -> Result<Bound> {
        let names =
            ["input", "depthwiseWeight", "depthwiseBias", "pointwiseWeight", "pointwiseBias", "residual", "output"];
        let fields = Fields::new("operands", operands, &names)?;
        let [depthwise_bias, pointwise_bias, residual] =
            ["depthwiseBias", "pointwiseBias", "residual"].map(|name| optional_tensor(&fields, name));
        let (depthwise_bias, pointwise_bias, residual) = (depthwise_bias?, pointwise_bias?, residual?);
        let operands = sepconv::SeparableOperands {
            input: &tensor(&fields, "input")?,
            depthwise_weight: &tensor(&fields, "depthwiseWeight")?,
            depthwise_bias: depthwise_bias.as_ref(),
            pointwise_weight: &tensor(&fields, "pointwiseWeight")?,
            pointwise_bias: pointwise_bias.as_ref(),
            residual: residual.as_ref(),
            output: &tensor(&fields, "output")?,
        };
        self.0.bind(operands).map(Bound).map_err(thrown)
    }
}

/// A plan with its tensors.
#[wasm_bindgen]
pub struct Bound(pub(crate) sepconv::Bound);

#[wasm_bindgen]
impl Bound {
    /// Submits the layer, without waiting for it: reading the output waits.
    pub fn run(&self) -> Result<()> {
        self.0.run().map_err(thrown)
    }
}

/// A kernel and which of its variants, as JavaScript has it.
fn way(kernel: &str, variant: usize) -> Result<JsValue> {
    let way = Object::new();
    Reflect::set(&way, &"kernel".into(), &kernel.into())?;
    Reflect::set(&way, &"variant".into(), &JsValue::from_f64(variant as f64))?;
    Ok(way.into())
}

/// What [`way`] made, the best variant where it names none; none of `undefined`.
fn read_way(value: &JsValue) -> Result<Option<(String, usize)>> {
    let fields = Fields::new("way", value, &["kernel", "variant"])?;
    let Some(kernel) = fields.read("kernel", |text| Ok(text.to_owned()))? else { return Ok(None) };
    Ok(Some((kernel, fields.read("variant", text::number)?.unwrap_or(0) as usize)))
}

fn optional_tensor(fields: &Fields, name: &str) -> Result<Option<sepconv::Tensor>> {
    let Some(value) = fields.value(name)? else { return Ok(None) };
    let handle = value.unchecked_ref::<Held>().handle();
    handle.map(|tensor| Some(tensor.tensor)).map_err(|_| refused(&format!("{name} must be a Tensor")))
}

fn tensor(fields: &Fields, name: &str) -> Result<sepconv::Tensor> {
    optional_tensor(fields, name)?.ok_or_else(|| refused(&format!("{name} is missing; it must be a Tensor")))
}

/// The numbers of a tensor that a layer has or has not, as many as its shape takes.
fn floats(fields: &Fields, name: &'static str, wanted: bool, shape: [u32; 4]) -> Result<Option<Vec<f32>>> {
    let value = fields.value(name)?;
    match (wanted, &value) {
        (true, None) => return Err(thrown(sepconv::Error::Missing { argument: name })),
        (false, Some(_)) => return Err(thrown(sepconv::Error::Unexpected { argument: name })),
        _ => {}
    }
    let Some(value) = value else { return Ok(None) };
    let array = value.dyn_ref::<Float32Array>();
    let values = array.ok_or_else(|| refused(&format!("{name} must be a Float32Array")))?.to_vec();
    let (length, expected) = (values.len(), shape.map(u64::from).iter().product());
    if length as u64 != expected {
        return Err(thrown(sepconv::Error::Length { argument: name, length, shape, expected }));
    }
    Ok(Some(values))
}
