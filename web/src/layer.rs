//! The layers and their geometry.

use js_sys::Array;
use sepconv::unstable::text::{self, flag};
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};

use crate::any_layer;
use crate::context::Context;
use crate::plan::{self, Plan};
use crate::value::{Fields, Result, read, shape, thrown};

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

/// What each kind of layer has, to be planned on a context; its type of values is for TypeScript.
macro_rules! planned {
    ($($layer:ident $values:tt,)*) => {
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

                /// The largest error of a result as a multiple of what rounding allows; a right result has at most 1.
                #[wasm_bindgen(js_name = largestError)]
                pub fn largest_error(
                    &self,
                    #[wasm_bindgen(unchecked_param_type = "Shape", js_name = inputShape)] input_shape: &JsValue,
                    #[wasm_bindgen(unchecked_param_type = $values)] values: &JsValue,
                    output: &[f32],
                ) -> Result<f64> {
                    let geometry = self.0.geometry(shape("inputShape", input_shape)?).map_err(thrown)?;
                    any_layer::largest_error(geometry, values, output)
                }
            }
        )*
    };
}

planned! { Conv2d "Values", SeparableConv2d "SeparableValues", MaxPool2d "PoolValues", }

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

    /// Bytes that must move: input, its scale, parameters and residual read once, output written once.
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
            "residual" text::residual => residual,
            "inputScale" flag => input_scale,
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
            "residual" text::residual => residual,
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
}
