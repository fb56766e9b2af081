//! One layer computed on a device, or by the reference.

use sepconv::{Conv2d, Geometry, Operands, Plan, SeparableConv2d, SeparableOperands, Tensor, reference};

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
        let context = match self {
            Self::Adapter(context) => context,
            Self::Reference => {
                check_reference(&geometry, kernel)?;
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
            check_reference(&depthwise, None)?;
            check_reference(&pointwise, None)?;
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
        let kernel = plan.kernel();
        Ok(Output { shape, values: output.read_blocking(context)?, kernel })
    }
}

/// The most bytes of a tensor that the reference is given. It takes four times as much for its results, in `f64` and
/// with their bounds, and no device stands in the way of a request that this computer has no memory for.
const MAXIMUM_REFERENCE: u64 = 1 << 30;

/// Refuses what the reference cannot do.
pub fn check_reference(geometry: &Geometry, kernel: Option<&str>) -> Outcome {
    if kernel.is_some() {
        let message = "--kernel names a kernel of an adapter; the CPU reference has none";
        return Err(Failure::Request(message.to_owned()));
    }
    let bytes = |shape: [u32; 4]| shape.iter().fold(4, |bytes: u64, &size| bytes.saturating_mul(size.into()));
    // For each row and column of the output it lists where each tap of the filter reads.
    let taps = |outputs: u32, taps: u32| bytes([outputs, taps, 4, 1]);
    let (output, filter) = (geometry.output, geometry.kernel_size);
    for (what, bytes) in [
        ("input", bytes(geometry.input_shape())),
        ("weight", bytes(geometry.weight_shape())),
        ("output", bytes(geometry.output_shape())),
        ("kernel_size height times output height", taps(output.height, filter.height)),
        ("kernel_size width times output width", taps(output.width, filter.width)),
    ] {
        if bytes > MAXIMUM_REFERENCE {
            let message = format!("{what} needs {bytes} bytes; the CPU reference allows {MAXIMUM_REFERENCE}");
            return Err(Failure::Request(message));
        }
    }
    Ok(())
}

/// The reference's values, as an `f32` result holds them.
#[expect(clippy::cast_possible_truncation, reason = "the one rounding of the result")]
fn rounded(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&value| value as f32).collect()
}
