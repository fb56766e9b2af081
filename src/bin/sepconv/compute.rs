//! One layer computed on a device, or by the reference.

use sepconv::unstable::LayerTensors;
use sepconv::{Choice, Geometry, Layer, Tensor, kernels, reference};

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

/// The weight of a convolution, and its bias if it has one.
pub type Values<'a> = (&'a [f32], Option<&'a [f32]>);

/// The convolutions that a layer is made of, each taking what the one before it makes.
pub fn parts(layer: &Layer) -> Vec<Geometry> {
    match layer {
        Layer::Conv2d(geometry) => vec![*geometry],
        Layer::SeparableConv2d((depthwise, pointwise)) => vec![*depthwise, *pointwise],
        _ => Vec::new(),
    }
}

impl Device {
    /// Computes a layer of convolutions, given the values of each, with the kernel of this name if there is one.
    pub fn compute(
        &self,
        layer: impl Into<Layer>,
        kernel: Option<&str>,
        input: &[f32],
        parameters: &[Values],
    ) -> Outcome<Output> {
        let layer = layer.into();
        let shape = layer.output_shape();
        let Self::Adapter(context) = self else {
            let parts = parts(&layer);
            parts.iter().try_for_each(|part| check_reference(part, kernel))?;
            let values = rounded(&by_reference(&parts, input, parameters));
            return Ok(Output { shape, values, kernel: "reference".to_owned() });
        };
        let plan = match kernel {
            None => context.plan(layer)?,
            Some(name) => context.plan_with(layer, Choice::new(kernels::by_name(name)?, 0))?,
        };
        let output = Tensor::zeros(context, shape)?;
        let parameters = parameters.iter().flat_map(|(weight, bias)| [Some(*weight), *bias]);
        let given: Vec<&[f32]> = [input].into_iter().chain(parameters.flatten()).collect();
        LayerTensors::new(context, &layer, &given)?.bind(&plan, &output)?.run()?;
        Ok(Output { shape, values: output.read_blocking()?, kernel: plan.kernel().to_owned() })
    }
}

/// What the reference makes of an input with some convolutions, one after the other.
pub fn by_reference(parts: &[Geometry], input: &[f32], parameters: &[Values]) -> Vec<f64> {
    let input = input.iter().copied().map(f64::from).collect();
    parts.iter().zip(parameters).fold(input, |input: Vec<f64>, (part, (weight, bias))| {
        reference::conv2d(part, &input, weight, *bias, None).values
    })
}

/// The most bytes of a tensor that the reference is given. It takes twice as much for its input, in `f64`, and four times
/// as much for its results, with their bounds; and no device stands in the way of a request that this computer has no
/// memory for.
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
