//! `sepconv separable`: a depthwise-separable convolution of a file's tensors.

use std::path::PathBuf;

use sepconv::{Activation, SeparableConv2d};

use crate::arguments::{self, DeviceOption, LayerOptions, OverwriteOption, TuningOption, TypeOption};
use crate::conv::report;
use crate::device::Device;
use crate::failure::{Failure, Outcome};
use crate::files::{self, Format, check_out};
use crate::tensors::{Array, Tensors};

/// What `separable` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  sepconv separable layer.safetensors --out result.safetensors --padding 1 --depthwise-activation relu6")]
pub struct Arguments {
    /// A .safetensors file with the tensors `input`, `depthwise.weight` (C times multiplier, 1, KH, KW),
    /// `pointwise.weight` (O, C times multiplier, 1, 1) and, if there are any, `depthwise.bias` and `pointwise.bias`.
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// The file to write: .safetensors (as tensor `output`) or .npy.
    #[arg(long, value_name = "OUT")]
    out: PathBuf,
    /// Applied between the two parts; `--activation` is applied at the end.
    #[arg(long, value_name = "FUNCTION", default_value = "none", value_parser = arguments::activation, allow_hyphen_values = true)]
    depthwise_activation: Activation,
    #[command(flatten)]
    layer: LayerOptions,
    /// Use this kernel, or fail if it does not support the layer: see `sepconv kernels`, those of a separable layer.
    #[arg(long, value_name = "NAME", value_parser = arguments::kernel_name)]
    kernel: Option<String>,
    #[command(flatten)]
    overwrite: OverwriteOption,
    #[command(flatten)]
    device: DeviceOption,
    #[command(flatten)]
    tuning: TuningOption,
    #[command(flatten)]
    tensors: TypeOption,
}

/// Runs it.
pub fn run(arguments: &Arguments) -> Outcome {
    let kernel = arguments.kernel.as_deref();
    arguments.tuning.check(arguments.device.device.as_deref())?;
    arguments.layer.check_padding_mode()?;
    check_out(&arguments.out, &[Format::Safetensors, Format::Npy], &[&arguments.input], arguments.overwrite)?;
    let mut tensors = Tensors::open(&arguments.input)?;
    let input = tensors.required("input")?;
    let depthwise = tensors.required("depthwise.weight")?;
    let pointwise = tensors.required("pointwise.weight")?;
    let (depthwise_bias, pointwise_bias) = (tensors.optional("depthwise.bias")?, tensors.optional("pointwise.bias")?);

    let input_shape = input.four_axes("input")?;
    let shapes = (depthwise.four_axes("depthwise.weight")?, pointwise.four_axes("pointwise.weight")?);
    let layer = layer(arguments, input_shape, shapes)?
        .depthwise_bias(depthwise_bias.is_some())
        .pointwise_bias(pointwise_bias.is_some());
    let parts = layer.geometry(input_shape)?;
    check_bias("depthwise.bias", depthwise_bias.as_ref(), shapes.0[0])?;
    check_bias("pointwise.bias", pointwise_bias.as_ref(), shapes.1[0])?;

    let device = Device::open(arguments.device.device.as_deref(), arguments.tuning.no_tune, arguments.tensors.dtype)?;
    let parameters = [(&depthwise, &depthwise_bias), (&pointwise, &pointwise_bias)]
        .map(|(weight, bias)| (weight.values.as_slice(), bias.as_ref().map(|bias| bias.values.as_slice())));
    let output = device.compute(parts, kernel, &input.values, &parameters)?;
    files::write(&arguments.out, output.shape, &output.values)?;
    report(&arguments.out, output.shape, &output.kernel, &device)
}

/// The layer that these shapes describe.
fn layer(
    arguments: &Arguments,
    [_, channels, ..]: [u32; 4],
    (depthwise, pointwise): ([u32; 4], [u32; 4]),
) -> Outcome<SeparableConv2d> {
    let [filters, inputs, height, width] = depthwise;
    if inputs != 1 || channels == 0 || filters == 0 || filters % channels != 0 {
        let message = format!(
            "tensor depthwise.weight has shape {depthwise:?}; it must be [channels * multiplier, 1, height, width] for \
             the input's {channels} channels"
        );
        return Err(Failure::Request(message));
    }
    let [out_channels, mixed, ..] = pointwise;
    if mixed != filters || pointwise[2..] != [1, 1] {
        let message = format!(
            "tensor pointwise.weight has shape {pointwise:?}; it must be [out_channels, {filters}, 1, 1], to take what \
             depthwise.weight makes"
        );
        return Err(Failure::Request(message));
    }
    let options = &arguments.layer;
    let layer = SeparableConv2d::new(channels, out_channels, [height, width])
        .depth_multiplier(filters / channels)
        .stride(options.stride)
        .dilation(options.dilation)
        .padding_mode(options.padding_mode.unwrap_or_default())
        .depthwise_activation(arguments.depthwise_activation)
        .activation(options.activation);
    Ok(match options.padding {
        None => layer,
        Some(padding) => layer.padding(padding),
    })
}

fn check_bias(name: &str, bias: Option<&Array>, channels: u32) -> Outcome {
    let length = bias.map(|bias| bias.one_axis(name)).transpose()?;
    match length.filter(|&length| length != u64::from(channels)) {
        None => Ok(()),
        Some(length) => Err(Failure::Request(format!(
            "tensor {name} has {length} values; it must have one per channel, {channels}"
        ))),
    }
}
