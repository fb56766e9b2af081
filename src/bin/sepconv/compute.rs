//! One layer computed on a device, or by the reference.

use sepconv::{Conv2d, Operands, Plan, SeparableConv2d, SeparableOperands, Tensor, reference};

use crate::device::Device;
use crate::failure::{Failure, Outcome};

/// A result and what made it.
pub struct Output {
    /// `[batch, channels, height, width]`
    pub shape: [u32; 4],
    pub values: Vec<f32>,
    /// The kernels that ran.
    pub kernel: String,
}

/// The values of a separable layer's parts.
pub struct SeparableWeights<'a> {
    pub depthwise: &'a [f32],
    pub depthwise_bias: Option<&'a [f32]>,
    pub pointwise: &'a [f32],
    pub pointwise_bias: Option<&'a [f32]>,
}

impl Device {
    /// Computes a normal layer, with the kernel of this name if there is one.
    pub fn conv2d(
        &self,
        layer: &Conv2d,
        kernel: Option<&str>,
        (input_shape, input): ([u32; 4], &[f32]),
        weight: &[f32],
        bias: Option<&[f32]>,
    ) -> Outcome<Output> {
        let geometry = layer.geometry(input_shape)?;
        let shape = geometry.output_shape();
        let context = match (self, kernel) {
            (Self::Adapter(context), _) => context,
            (Self::Reference, Some(_)) => {
                let message = "--kernel names a kernel of an adapter; the CPU reference has none".to_owned();
                return Err(Failure::Request(message));
            }
            (Self::Reference, None) => {
                let values = rounded(&reference::conv2d(&geometry, input, weight, bias, None).values);
                return Ok(Output { shape, values, kernel: "reference".to_owned() });
            }
        };
        let plan: Plan = match kernel {
            None => layer.plan(context, input_shape)?,
            Some(kernel) => layer.plan_with_kernel(context, input_shape, kernel)?,
        };
        let input = Tensor::from_slice(context, input_shape, input)?;
        let weight = Tensor::from_slice(context, geometry.weight_shape(), weight)?;
        let bias = bias.map(|bias| Tensor::from_slice(context, geometry.bias_shape(), bias)).transpose()?;
        let output = Tensor::zeros(context, shape)?;
        plan.bind(Operands::new(&input, &weight, &output).bias(&bias))?.run()?;
        Ok(Output { shape, values: output.read_blocking(context)?, kernel: plan.kernel().to_owned() })
    }

    /// Computes a separable layer.
    pub fn separable(
        &self,
        layer: &SeparableConv2d,
        (input_shape, input): ([u32; 4], &[f32]),
        weights: &SeparableWeights<'_>,
    ) -> Outcome<Output> {
        let (depthwise, pointwise) = layer.geometry(input_shape)?;
        let shape = pointwise.output_shape();
        let Self::Adapter(context) = self else {
            let between = reference::conv2d(&depthwise, input, weights.depthwise, weights.depthwise_bias, None).values;
            let values =
                reference::conv2d(&pointwise, &between, weights.pointwise, weights.pointwise_bias, None).values;
            return Ok(Output { shape, values: rounded(&values), kernel: "reference".to_owned() });
        };
        let plan = layer.plan(context, input_shape)?;
        let tensor = |shape, values: &[f32]| Tensor::from_slice(context, shape, values);
        let optional = |shape, values: Option<&[f32]>| values.map(|values| tensor(shape, values)).transpose();
        let input = tensor(input_shape, input)?;
        let depthwise_weight = tensor(depthwise.weight_shape(), weights.depthwise)?;
        let depthwise_bias = optional(depthwise.bias_shape(), weights.depthwise_bias)?;
        let pointwise_weight = tensor(pointwise.weight_shape(), weights.pointwise)?;
        let pointwise_bias = optional(pointwise.bias_shape(), weights.pointwise_bias)?;
        let output = Tensor::zeros(context, shape)?;
        let operands = SeparableOperands {
            input: &input,
            depthwise_weight: &depthwise_weight,
            depthwise_bias: depthwise_bias.as_ref(),
            pointwise_weight: &pointwise_weight,
            pointwise_bias: pointwise_bias.as_ref(),
            residual: None,
            output: &output,
        };
        plan.bind(operands)?.run()?;
        let kernel = format!("{} + {}", plan.depthwise().kernel(), plan.pointwise().kernel());
        Ok(Output { shape, values: output.read_blocking(context)?, kernel })
    }
}

/// The reference's values, as an `f32` result holds them.
#[expect(clippy::cast_possible_truncation, reason = "the one rounding of the result")]
fn rounded(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&value| value as f32).collect()
}
