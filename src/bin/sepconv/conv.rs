//! `sepconv conv`: one normal, grouped or depthwise convolution of a file's tensors, or a filter over a picture.

use std::path::{Path, PathBuf};

use sepconv::{Conv2d, Geometry, Padding, PaddingMode, Size};

use crate::arguments::{ConvOptions, DeviceOption, OverwriteOption, TuningOption, TypeOption};
use crate::device::Device;
use crate::failure::{Failure, Outcome};
use crate::files::{self, Format, check_out};
use crate::npy;
use crate::output::print;
use crate::picture::{self, Filter, Picture};
use crate::tensors::{Array, Tensors};

/// What `conv` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  sepconv conv layer.safetensors --out result.safetensors --padding 1 --stride 2
  sepconv conv input.npy --weight weight.npy --out result.npy --padding same --activation relu
  sepconv conv photograph.jpg --filter sobel --out edges.png

A picture is turned as its EXIF orientation says. Red, green and blue are filtered; alpha is not, and is what lies under the
middle of the window. A PNG file of 16 bits gives one of 16 bits.")]
pub struct Arguments {
    /// A .safetensors file with the tensors `input`, `weight` and, if there is one, `bias`; an .npy file with the input;
    /// or a .png or .jpg picture.
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// The file to write: .safetensors (as tensor `output`) or .npy; .png for a picture.
    #[arg(long, value_name = "OUT")]
    out: PathBuf,
    /// The weight, where IN is an .npy file: shape O,I,KH,KW.
    #[arg(long, value_name = "FILE.npy")]
    weight: Option<PathBuf>,
    /// The bias, where IN is an .npy file: one value per output channel.
    #[arg(long, value_name = "FILE.npy")]
    bias: Option<PathBuf>,
    /// The filter, where IN is a picture.
    #[arg(long, value_name = "NAME", help = filter_help(), value_parser = picture::filter, conflicts_with_all = ["weight", "bias", "groups", "rounding"])]
    filter: Option<&'static Filter>,
    #[command(flatten)]
    options: ConvOptions,
    #[command(flatten)]
    overwrite: OverwriteOption,
    #[command(flatten)]
    device: DeviceOption,
    #[command(flatten)]
    tuning: TuningOption,
    #[command(flatten)]
    tensors: TypeOption,
}

/// The filters, for `--help`.
fn filter_help() -> String {
    let filters = picture::FILTERS.each_ref().map(|filter| format!("{} ({})", filter.name, filter.about));
    format!("The filter, where IN is a picture: {}", filters.join("; "))
}

/// Runs it.
pub fn run(arguments: &Arguments) -> Outcome {
    arguments.tuning.check(arguments.device.device.as_deref())?;
    if let Some(filter) = arguments.filter {
        return filter_picture(arguments, filter);
    }
    check_input(arguments)?;
    let inputs = [Some(&arguments.input), arguments.weight.as_ref(), arguments.bias.as_ref()];
    let inputs: Vec<&Path> = inputs.into_iter().flatten().map(PathBuf::as_path).collect();
    check_out(&arguments.out, &[Format::Safetensors, Format::Npy], &inputs, arguments.overwrite)?;
    let (input, weight, bias) = load(arguments)?;
    let input_shape = input.four_axes("input")?;
    let bias_length = bias.as_ref().map(|bias| bias.one_axis("bias")).transpose()?;
    let layer = arguments.options.layer(weight.four_axes("weight")?, bias_length)?;
    let geometry = layer.geometry(input_shape)?;

    let device = Device::open(arguments.device.device.as_deref(), arguments.tuning.no_tune, arguments.tensors.dtype)?;
    let kernel = arguments.options.kernel.as_deref();
    let parameters = (weight.values.as_slice(), bias.as_ref().map(|bias| bias.values.as_slice()));
    let output = device.compute(geometry, kernel, &input.values, &[parameters])?;
    files::write(&arguments.out, output.shape, &output.values)?;
    report(&arguments.out, output.shape, &output.kernel, &device)
}

/// Says in a line what ran and what it made.
pub fn report(path: &Path, shape: [u32; 4], kernel: &str, device: &Device) -> Outcome {
    device.keep_pipelines();
    print(&format!("{}: {shape:?}, kernel {kernel}, on {device}", path.display()))
}

/// Refuses an input of no format that is read, and an option that goes with another one.
fn check_input(arguments: &Arguments) -> Outcome {
    let path = arguments.input.display();
    let refused = |message: String| Err(Failure::Request(message));
    match Format::of(&arguments.input) {
        Some(Format::Npy) if arguments.weight.is_none() => {
            refused("--weight is missing; an .npy input needs it".to_owned())
        }
        Some(Format::Npy) => Ok(()),
        Some(Format::Safetensors) => {
            for (name, option) in [("weight", &arguments.weight), ("bias", &arguments.bias)] {
                if option.is_some() {
                    return refused(format!(
                        "--{name} goes with an .npy input; a .safetensors file has its own `{name}`"
                    ));
                }
            }
            Ok(())
        }
        Some(Format::Png | Format::Jpeg) => {
            let names = picture::FILTERS.each_ref().map(|filter| filter.name).join(", ");
            refused(format!("--filter is missing; {path} is a picture, which needs one of {names}"))
        }
        None => {
            let message = "its name must end in .safetensors or .npy, or it must be a picture with --filter";
            refused(format!("IN is {path}; {message}"))
        }
    }
}

/// Input, weight and, if there is one, bias.
fn load(arguments: &Arguments) -> Outcome<(Array, Array, Option<Array>)> {
    if let Some(weight) = &arguments.weight {
        let bias = arguments.bias.as_deref().map(npy::read).transpose()?;
        return Ok((npy::read(&arguments.input)?, npy::read(weight)?, bias));
    }
    let mut tensors = Tensors::open(&arguments.input)?;
    Ok((tensors.required("input")?, tensors.required("weight")?, tensors.optional("bias")?))
}

/// A depthwise convolution of a picture's three channels, its edges repeated unless the options say otherwise.
fn filter_picture(arguments: &Arguments, filter: &Filter) -> Outcome {
    check_out(&arguments.out, &[Format::Png], &[&arguments.input], arguments.overwrite)?;
    let picture = picture::load(&arguments.input)?;
    let options = &arguments.options;
    let mut layer = options.layer.clone();
    layer.padding = layer.padding.or(Some(Padding::Same));
    layer.padding_mode = layer.padding_mode.or(Some(PaddingMode::Replicate));
    let layer = layer.apply(Conv2d::new(3, 3, 5).groups(3));
    let geometry = layer.geometry([1, 3, picture.height, picture.width])?;

    let device = Device::open(arguments.device.device.as_deref(), arguments.tuning.no_tune, arguments.tensors.dtype)?;
    let (weight, bias) = (filter.taps.repeat(3), [filter.bias; 3]);
    let parameters = [(weight.as_slice(), Some(bias.as_slice()))];
    let output = device.compute(geometry, options.kernel.as_deref(), &picture.values, &parameters)?;
    let Size { height, width } = geometry.output;
    let alpha = picture.alpha.as_deref().map(|alpha| under_the_middle(&geometry, alpha));
    let filtered = Picture { height, width, values: output.values, alpha, is_deep: picture.is_deep };
    picture::save(&arguments.out, &filtered.pixels())?;
    report(&arguments.out, output.shape, &output.kernel, &device)
}

/// The values of a plane that lie under the middle of each window; at the edge where that is in the padding.
fn under_the_middle(geometry: &Geometry, plane: &[f32]) -> Vec<f32> {
    let axis = |outputs: u32, size: u32, kernel: u32, stride: u32, dilation: u32, padding: u32| {
        let position = move |output: u32| {
            let position = u64::from(output) * u64::from(stride) + u64::from(kernel / 2) * u64::from(dilation);
            position.saturating_sub(padding.into()).min(u64::from(size) - 1)
        };
        (0..outputs).map(position)
    };
    let Geometry { input, output, kernel_size, stride, dilation, padding, .. } = *geometry;
    let rows = axis(output.height, input.height, kernel_size.height, stride.height, dilation.height, padding.top);
    rows.flat_map(|row| {
        let columns = axis(output.width, input.width, kernel_size.width, stride.width, dilation.width, padding.left);
        columns.map(move |column| row * u64::from(input.width) + column)
    })
    .map(|index| plane[usize::try_from(index).unwrap_or(usize::MAX)])
    .collect()
}
