//! The options that the subcommands share, and how their values are read.

pub use sepconv::unstable::text::{activation, number, shape};
use sepconv::unstable::text::{dtype, numbers, padding, padding_mode, rounding, size, word};
use sepconv::{Activation, Conv2d, DType, Padding, PaddingMode, Rounding, Size, kernels};

use crate::failure::{Failure, Outcome};

/// What a layer has besides its weights' shape.
#[derive(Debug, Clone, clap::Args)]
pub struct LayerOptions {
    /// Step of the window: `2`, or `1,2` for height,width.
    #[arg(long, value_name = "S", default_value = "1", value_parser = size, allow_hyphen_values = true)]
    pub stride: Size,
    /// Distance between filter taps: `2`, or `1,2` for height,width.
    #[arg(long, value_name = "D", default_value = "1", value_parser = size, allow_hyphen_values = true)]
    pub dilation: Size,
    /// Rows and columns added around the input: `1`, `1,2` for height,width, `1,0,2,3` for top,left,bottom,right,
    /// `same`, `same-lower` or `valid` [default: none, but `same` for a picture].
    #[arg(long, value_name = "P", value_parser = padding, allow_hyphen_values = true)]
    pub padding: Option<Padding>,
    /// What stands in the padding: `zeros`, `reflect`, `replicate` or `circular` [default: zeros, but `replicate` for a
    /// picture].
    #[arg(long, value_name = "MODE", value_parser = padding_mode, allow_hyphen_values = true)]
    pub padding_mode: Option<PaddingMode>,
    /// Applied to each output: `none`, `relu`, `relu6`, `silu`, `hardswish`, `leaky-relu` (or `leaky-relu=SLOPE`), `sigmoid`,
    /// `tanh`, `hardsigmoid`, `elu` (or `elu=SCALE`), `gelu`, `softplus`, `mish`, or `clamp=LOW,HIGH`.
    #[arg(long, value_name = "FUNCTION", default_value = "none", value_parser = activation, allow_hyphen_values = true)]
    pub activation: Activation,
}

impl LayerOptions {
    /// Refuses a `--padding-mode` that nothing is padded with.
    pub fn check_padding_mode(&self) -> Outcome {
        if self.padding_mode.is_some() && self.padding.is_none() {
            let message = "--padding-mode goes with --padding; without it nothing is padded";
            return Err(Failure::Request(message.to_owned()));
        }
        Ok(())
    }

    /// A layer with these options.
    pub fn apply(&self, layer: Conv2d) -> Conv2d {
        layer
            .stride(self.stride)
            .dilation(self.dilation)
            .padding(self.padding.unwrap_or(Padding::Valid))
            .padding_mode(self.padding_mode.unwrap_or_default())
            .activation(self.activation)
    }
}

/// What one normal layer has besides its weights' shape.
#[derive(Debug, Clone, clap::Args)]
pub struct ConvOptions {
    #[command(flatten)]
    pub layer: LayerOptions,
    /// Groups of channels that are convolved apart from each other.
    #[arg(long, value_name = "G", default_value = "1", value_parser = number, allow_hyphen_values = true)]
    pub groups: u32,
    /// `fast`, or `exact` to do without kernels whose rounding errors may pass the bound of a sum (`winograd`, `winograd_4x4`).
    #[arg(long, value_name = "WHICH", default_value = "fast", value_parser = rounding)]
    pub rounding: Rounding,
    /// Use this kernel, or fail if it does not support the layer: see `sepconv kernels`, those of one convolution.
    #[arg(long, value_name = "NAME", value_parser = kernel_name)]
    pub kernel: Option<String>,
}

impl ConvOptions {
    /// The layer that these shapes and options describe: the one place where `conv` and `plan` get it from.
    pub fn layer(&self, weight_shape: [u32; 4], bias_length: Option<u64>) -> Outcome<Conv2d> {
        self.layer.check_padding_mode()?;
        if let Some(length) = bias_length.filter(|&length| length != u64::from(weight_shape[0])) {
            let expected = weight_shape[0];
            let message = format!("bias has {length} values; it must have one per output channel, {expected}");
            return Err(Failure::Request(message));
        }
        let layer = Conv2d::from_weight_shape(weight_shape, self.groups)?;
        Ok(self.layer.apply(layer).rounding(self.rounding).bias(bias_length.is_some()))
    }
}

/// Which device computes.
#[derive(Debug, Clone, clap::Args)]
pub struct DeviceOption {
    /// The adapter to use: part of its name, or `cpu` for the reference [default: the best adapter there is].
    #[arg(long, value_name = "NAME")]
    pub device: Option<String>,
}

/// What tensors hold.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct TypeOption {
    /// What tensors hold on the device: `f32`, or `f16`, which takes half as many bytes. Sums are f32, and so is what is
    /// written.
    #[arg(long, value_name = "TYPE", default_value = "f32", value_parser = dtype)]
    pub dtype: DType,
}

/// Whether the layers that `sepconv tune` measured are planned as it found best.
#[derive(Debug, Clone, clap::Args)]
pub struct TuningOption {
    /// Plan every layer as seems best, whatever `sepconv tune` found on this device.
    #[arg(long)]
    pub no_tune: bool,
}

impl TuningOption {
    /// Refuses `--no-tune` where no table is looked at. A kernel that is named may still plan layers within its own.
    pub fn check(&self, device: Option<&str>) -> Outcome {
        if self.no_tune && device.is_some_and(is_cpu) {
            let message = "--no-tune goes with an adapter; the CPU reference has no kernels to choose from";
            return Err(Failure::Request(message.to_owned()));
        }
        Ok(())
    }
}

/// Whether the output may be one of the inputs.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct OverwriteOption {
    /// Write OUT even where it is a file that is read.
    #[arg(long)]
    pub overwrite_input: bool,
}

/// Whether a `--device` names the reference.
pub fn is_cpu(name: &str) -> bool {
    word(name) == "cpu"
}

/// A kernel's name, as people write it.
#[expect(clippy::unnecessary_wraps, reason = "what clap takes")]
pub fn kernel_name(text: &str) -> Result<String, String> {
    let known = kernels::ALL.iter().find(|kernel| word(kernel.name) == word(text));
    Ok(known.map_or(text, |kernel| kernel.name).to_owned())
}

/// The length of a bias: one number, since a bias has one axis.
pub fn length(text: &str) -> Result<u64, String> {
    match numbers(text)?[..] {
        [length] => Ok(length.into()),
        ref list => Err(format!("it has {} sizes; a bias has 1, its length", list.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::length;

    #[test]
    fn a_length_is_one_number() {
        assert_eq!(length("4"), Ok(4));
        for text in ["", "4,4", "-1", "x"] {
            assert!(length(text).is_err(), "{text:?}");
        }
    }
}
