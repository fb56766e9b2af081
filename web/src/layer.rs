//! The layers and their geometry.

use js_sys::{Array, Float32Array};
use sepconv::unstable::text;
use sepconv::{reference, verify};
use wasm_bindgen::prelude::{JsCast, JsValue, wasm_bindgen};

use crate::context::Context;
use crate::plan::{self, Plan};
use crate::value::{Fields, Result, flag, read, refused, shape, thrown};

/// A layer with those options that are given. Of each: its name, what reads it, the layer's own method.
macro_rules! with_options {
    ($layer:expr, $options:expr, $($name:literal $parse:path => $method:ident,)*) => {{
        let (mut layer, fields) = ($layer, Fields::new("options", $options, &[$($name),*])?);
        $(
            if let Some(value) = fields.read($name, $parse)? {
                layer = layer.$method(value);
            }
        )*
        layer
    }};
}

/// What each kind of layer has, to be planned on a context.
macro_rules! planned {
    ($($layer:ident)*) => {
        $(
            #[wasm_bindgen]
            impl $layer {
                /// Every way to compute the layer on a device, the planner's own choice first.
                #[wasm_bindgen(unchecked_return_type = "Way[]")]
                pub fn ways(
                    &self,
                    context: &Context,
                    #[wasm_bindgen(unchecked_param_type = "Shape", js_name = inputShape)] input_shape: &JsValue,
                ) -> Result<Array> {
                    plan::ways(context, self.0.geometry(shape("inputShape", input_shape)?).map_err(thrown)?)
                }

                /// Compiles the layer for an input shape: in the way that seems best, or in this one.
                pub fn plan(
                    &self,
                    context: &Context,
                    #[wasm_bindgen(unchecked_param_type = "Shape", js_name = inputShape)] input_shape: &JsValue,
                    #[wasm_bindgen(unchecked_optional_param_type = "Way")] way: &JsValue,
                ) -> Result<Plan> {
                    Plan::of(context, self.0.geometry(shape("inputShape", input_shape)?).map_err(thrown)?, way)
                }
            }
        )*
    };
}

planned! { Conv2d SeparableConv2d MaxPool2d }

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
        sides(self.0.padding)
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

/// One max pool with every size known.
#[wasm_bindgen]
pub struct PoolGeometry(sepconv::PoolGeometry);

#[wasm_bindgen]
impl PoolGeometry {
    /// `[batch, channels, height, width]`
    #[wasm_bindgen(getter, js_name = inputShape)]
    pub fn input_shape(&self) -> Vec<u32> {
        self.0.input_shape().to_vec()
    }

    /// `[batch, channels, height, width]`
    #[wasm_bindgen(getter, js_name = outputShape)]
    pub fn output_shape(&self) -> Vec<u32> {
        self.0.output_shape().to_vec()
    }

    /// `[top, left, bottom, right]`
    #[wasm_bindgen(getter)]
    pub fn padding(&self) -> Vec<u32> {
        sides(self.0.padding)
    }
}

/// `[top, left, bottom, right]`
fn sides(sides: sepconv::Sides) -> Vec<u32> {
    vec![sides.top, sides.left, sides.bottom, sides.right]
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
        let layer = sepconv::Conv2d::new(
            read("inChannels", in_channels, text::number)?,
            read("outChannels", out_channels, text::number)?,
            read("kernelSize", kernel_size, text::size)?,
        );
        Ok(Self(with_options! {
            layer, options,
            "stride" text::size => stride,
            "padding" text::padding => padding,
            "dilation" text::size => dilation,
            "paddingMode" text::padding_mode => padding_mode,
            "activation" text::activation => activation,
            "bias" flag => bias,
            "residual" flag => residual,
            "groups" text::number => groups,
            "rounding" text::rounding => rounding,
        }))
    }

    /// Checks the layer against an input shape and resolves every size.
    pub fn geometry(
        &self,
        #[wasm_bindgen(unchecked_param_type = "Shape", js_name = inputShape)] input_shape: &JsValue,
    ) -> Result<Geometry> {
        self.0.geometry(shape("inputShape", input_shape)?).map(Geometry).map_err(thrown)
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
        let layer = sepconv::SeparableConv2d::new(
            read("inChannels", in_channels, text::number)?,
            read("outChannels", out_channels, text::number)?,
            read("kernelSize", kernel_size, text::size)?,
        );
        Ok(Self(with_options! {
            layer, options,
            "stride" text::size => stride,
            "padding" text::padding => padding,
            "dilation" text::size => dilation,
            "paddingMode" text::padding_mode => padding_mode,
            "activation" text::activation => activation,
            // Of both parts, before that of each.
            "bias" flag => bias,
            "residual" flag => residual,
            "depthMultiplier" text::number => depth_multiplier,
            "depthwiseActivation" text::activation => depthwise_activation,
            "depthwiseBias" flag => depthwise_bias,
            "pointwiseBias" flag => pointwise_bias,
        }))
    }

    /// Checks both parts against an input shape and resolves every size.
    pub fn geometry(
        &self,
        #[wasm_bindgen(unchecked_param_type = "Shape", js_name = inputShape)] input_shape: &JsValue,
    ) -> Result<SeparableGeometry> {
        let (depthwise, pointwise) = self.0.geometry(shape("inputShape", input_shape)?).map_err(thrown)?;
        Ok(SeparableGeometry(depthwise, pointwise))
    }

    /// The largest error of a result as a multiple of what rounding allows; a right result has at most 1.
    #[wasm_bindgen(js_name = largestError)]
    pub fn largest_error(
        &self,
        #[wasm_bindgen(unchecked_param_type = "Shape", js_name = inputShape)] input_shape: &JsValue,
        #[wasm_bindgen(unchecked_param_type = "SeparableValues")] values: &JsValue,
        output: &[f32],
    ) -> Result<f64> {
        let (d, p) = self.0.geometry(shape("inputShape", input_shape)?).map_err(thrown)?;
        let names = ["input", "depthwiseWeight", "depthwiseBias", "pointwiseWeight", "pointwiseBias", "residual"];
        let fields = Fields::new("values", values, &names)?;
        let input = floats(&fields, "input", true, d.input_shape())?.unwrap_or_default();
        let d_weight = floats(&fields, "depthwiseWeight", true, d.weight_shape())?.unwrap_or_default();
        let d_bias = floats(&fields, "depthwiseBias", d.bias, d.bias_shape())?;
        let p_weight = floats(&fields, "pointwiseWeight", true, p.weight_shape())?.unwrap_or_default();
        let p_bias = floats(&fields, "pointwiseBias", p.bias, p.bias_shape())?;
        let residual = floats(&fields, "residual", p.residual, p.output_shape())?;
        let (depthwise, pointwise) = ((&d_weight[..], d_bias.as_deref()), (&p_weight[..], p_bias.as_deref()));
        let expected = verify::separable_reference((&d, &p), &input, depthwise, pointwise, residual.as_deref());
        Ok(verify::largest_error(&expected, p.activation, d.terms() + p.terms(), output))
    }
}

/// A max pool in PyTorch's words.
#[wasm_bindgen]
pub struct MaxPool2d(sepconv::MaxPool2d);

#[wasm_bindgen]
impl MaxPool2d {
    /// A pool with a window of `kernelSize`, which is also its stride unless the options say otherwise.
    #[wasm_bindgen(constructor)]
    pub fn new(
        #[wasm_bindgen(unchecked_param_type = "Size", js_name = kernelSize)] kernel_size: &JsValue,
        #[wasm_bindgen(unchecked_optional_param_type = "MaxPool2dOptions")] options: &JsValue,
    ) -> Result<MaxPool2d> {
        let layer = sepconv::MaxPool2d::new(read("kernelSize", kernel_size, text::size)?);
        Ok(Self(with_options! {
            layer, options,
            "stride" text::size => stride,
            "padding" text::padding => padding,
            "dilation" text::size => dilation,
        }))
    }

    /// Checks the layer against an input shape and resolves every size.
    pub fn geometry(
        &self,
        #[wasm_bindgen(unchecked_param_type = "Shape", js_name = inputShape)] input_shape: &JsValue,
    ) -> Result<PoolGeometry> {
        self.0.geometry(shape("inputShape", input_shape)?).map(PoolGeometry).map_err(thrown)
    }

    /// 0 for a result that is right, which is exact; otherwise infinity.
    #[wasm_bindgen(js_name = largestError)]
    #[expect(clippy::float_cmp, reason = "nothing is rounded")]
    pub fn largest_error(
        &self,
        #[wasm_bindgen(unchecked_param_type = "Shape", js_name = inputShape)] input_shape: &JsValue,
        #[wasm_bindgen(unchecked_param_type = "PoolValues")] values: &JsValue,
        output: &[f32],
    ) -> Result<f64> {
        let g = self.0.geometry(shape("inputShape", input_shape)?).map_err(thrown)?;
        let fields = Fields::new("values", values, &["input"])?;
        let expected = reference::max_pool2d(&g, &floats(&fields, "input", true, g.input_shape())?.unwrap_or_default());
        let is_same = |(a, b): (&f32, &f32)| a == b || (a.is_nan() && b.is_nan());
        let is_right = expected.len() == output.len() && expected.iter().zip(output).all(is_same);
        Ok(if is_right { 0.0 } else { f64::INFINITY })
    }
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
