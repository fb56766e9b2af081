//! `sepconv run`: a whole network from a file, on a device.

use std::path::{Path, PathBuf};
use std::time::Duration;

use image::{DynamicImage, GrayImage, Luma, Rgb, RgbImage};
use sepconv::timing::{Spread, repeat};
use sepconv::unstable::text::rounding;
use sepconv::unstable::{Array, inputs, timed};
use sepconv::{Context, Network, Rounding};
use serde_json::{Value, json};

use crate::arguments::{DeviceOption, OverwriteOption, TuningOption, TypeOption};
use crate::device::Device;
use crate::failure::{Failure, Outcome};
use crate::files::{self, Format, check_out};
use crate::networks::{self, Given, PictureOptions};
use crate::on_device::{self, megabytes};
use crate::output::print;
use crate::picture;

/// What `run` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  sepconv run model.onnx inputs.safetensors --out outputs.safetensors
  sepconv run classifier.onnx photograph.jpg --out scores.npy --size 224,224 --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225
  sepconv run segmentation.onnx photograph.jpg --out mask.png --time

Inputs have the names and shapes of the model's. A safetensors file may also call them `input:NAME`. The shape of what is
given counts, whatever the model declares. All outputs are written by name to a .safetensors file; .npy and .png take the
only output of a model. A .png is of one plane or three of values from 0 to 1.")]
pub struct Arguments {
    #[command(flatten)]
    model: networks::ModelArgument,
    /// What it is run on: .safetensors with a tensor for each input, .npy or a picture (.png, .jpg) for the only one.
    #[arg(value_name = "INPUT")]
    input: PathBuf,
    /// The file to write: .safetensors, .npy or .png.
    #[arg(long, value_name = "OUT")]
    out: PathBuf,
    #[command(flatten)]
    picture: PictureOptions,
    /// `fast`, or `exact` to do without kernels whose rounding errors may pass the bound of a sum (`winograd`).
    #[arg(long, value_name = "WHICH", default_value = "fast", value_parser = rounding)]
    rounding: Rounding,
    /// Run it again and again, for a second or so, and say how long a run takes.
    #[arg(long)]
    time: bool,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
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
    let inputs: [&Path; 2] = [&arguments.model.model, &arguments.input];
    arguments.tuning.check(arguments.device.device.as_deref())?;
    check_out(&arguments.out, &[Format::Safetensors, Format::Npy, Format::Png], &inputs, arguments.overwrite)?;
    let network = networks::load(&arguments.model.model)?.rounding(arguments.rounding);
    let format = Format::of(&arguments.out);
    let names = network.output_names();
    if format != Some(Format::Safetensors) && names.len() != 1 {
        let message = format!(
            "--out is {}; the model has the outputs {}, which only a .safetensors file takes",
            arguments.out.display(),
            names.join(", ")
        );
        return Err(Failure::Request(message));
    }
    let given = networks::read_inputs(&network, &arguments.input, &arguments.picture)?;
    let device = Device::open(arguments.device.device.as_deref(), arguments.tuning.no_tune, arguments.tensors.dtype)?;
    let ran = match &device {
        Device::Adapter(context) => on_adapter(context, &network, &given, arguments.time)?,
        Device::Reference => by_reference(&network, &given, arguments.time)?,
    };
    // What cannot be written is refused before anything is.
    write(&arguments.out, &ran.outputs)?;
    device.keep_pipelines();
    if arguments.json {
        return print(&format!("{:#}", to_json(&ran, &device)));
    }
    print(&to_text(arguments, &ran, &device))
}

/// What came of a run.
struct Ran {
    outputs: Vec<Array>,
    /// How many steps a run takes; none for the reference.
    steps: Option<usize>,
    /// What lies between layers, and the weights, in bytes.
    workspace_bytes: u64,
    weight_bytes: u64,
    /// Planning, compiling and the first run, once the model is read, in milliseconds.
    first_ms: f64,
    /// Upload, one submission, read-back, in milliseconds.
    times: Option<Spread>,
}

/// For how long a network is timed.
const BUDGET: Duration = Duration::from_secs(1);

fn on_adapter(context: &Context, network: &Network, given: &[Given], is_timed: bool) -> Outcome<Ran> {
    let (on_device, values, first_ms) = on_device::first_run(context, network, given)?;
    Ok(Ran {
        outputs: on_device.outputs(values),
        steps: Some(on_device.plan().steps()),
        workspace_bytes: on_device.plan().workspace_bytes(),
        weight_bytes: on_device.plan().weight_bytes(),
        first_ms,
        times: is_timed.then(|| on_device.times(BUDGET)).transpose()?,
    })
}

fn by_reference(network: &Network, given: &[Given], is_timed: bool) -> Outcome<Ran> {
    let inputs = inputs(given);
    let run = || network.reference(&inputs, |_| Ok(()));
    let (outputs, first_ms) = timed(run)?;
    let times = || repeat(BUDGET, || Ok([timed(run)?.1])).map(|[times]| times);
    let outputs =
        outputs.into_iter().map(|output| Array { name: output.name, shape: output.shape, values: output.values });
    Ok(Ran {
        outputs: outputs.collect(),
        steps: None,
        workspace_bytes: 0,
        weight_bytes: 0,
        first_ms,
        times: is_timed.then(times).transpose()?,
    })
}

/// Writes all outputs to a safetensors file, or the only one to an npy file or as a picture.
fn write(path: &Path, outputs: &[Array]) -> Outcome {
    match (Format::of(path), outputs) {
        (Some(Format::Png), [output]) => picture::save(path, &as_picture(path, output)?),
        (Some(Format::Npy), [output]) => files::write_arrays(path, &[(&output.name, &output.shape, &output.values)]),
        _ => {
            let arrays: Vec<_> =
                outputs.iter().map(|output| (output.name.as_str(), &output.shape[..], &output.values[..])).collect();
            files::write_arrays(path, &arrays)
        }
    }
}

/// Planes as a picture: one as grey, three as red, green and blue.
fn as_picture(path: &Path, output: &Array) -> Outcome<DynamicImage> {
    let [1, channels @ (1 | 3), height, width] = output.shape[..] else {
        let message = format!(
            "--out is {}; output {} has shape {:?}, and a picture takes 1,1,H,W or 1,3,H,W",
            path.display(),
            output.name,
            output.shape
        );
        return Err(Failure::Request(message));
    };
    let plane = height as usize * width as usize;
    let at = |channel: usize, x: u32, y: u32| {
        picture::byte(output.values[channel * plane + y as usize * width as usize + x as usize])
    };
    Ok(if channels == 1 {
        GrayImage::from_fn(width, height, |x, y| Luma([at(0, x, y)])).into()
    } else {
        RgbImage::from_fn(width, height, |x, y| Rgb([0, 1, 2].map(|channel| at(channel, x, y)))).into()
    })
}

/// The places and values of the five largest of a vector of scores; none for another tensor.
fn best(output: &Array) -> Option<Vec<(usize, f32)>> {
    const FEWEST: usize = 6;
    let is_vector = output.shape.iter().filter(|&&size| size > 1).count() == 1;
    if !is_vector || output.values.len() < FEWEST {
        return None;
    }
    let mut ranked: Vec<(usize, f32)> = output.values.iter().copied().enumerate().collect();
    ranked.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    ranked.truncate(5);
    Some(ranked)
}

fn to_text(arguments: &Arguments, ran: &Ran, device: &Device) -> String {
    let mut lines = Vec::new();
    for output in &ran.outputs {
        lines.push(format!("{}: {:?}", output.name, output.shape));
        if let Some(best) = best(output) {
            lines.extend(best.iter().map(|(place, value)| format!("  {place:>6}  {value:.4}")));
        }
    }
    let how = ran.steps.map_or("by the reference".to_owned(), |steps| {
        let [weights, between] = [ran.weight_bytes, ran.workspace_bytes].map(megabytes);
        let steps = if steps == 1 { "1 step".to_owned() } else { format!("{steps} steps") };
        format!("{steps}, {weights} of weights, {between} between layers")
    });
    lines.push(format!("{}: {how}, on {device}", arguments.out.display()));
    lines.push(format!("first run {:.1} ms, with planning and compiling", ran.first_ms));
    if let Some(times) = ran.times {
        let Spread { median, p10, p90, .. } = times;
        let what = if ran.steps.is_some() { "upload, one submission, read-back" } else { "by the reference" };
        lines.push(format!("a run {median:.2} ms (p10 {p10:.2}, p90 {p90:.2}): {what}"));
    }
    lines.join("\n")
}

fn to_json(ran: &Ran, device: &Device) -> Value {
    json!({
        "device": device.to_string(),
        "dtype": device.dtype().to_string(),
        "steps": ran.steps,
        "weight_bytes": ran.weight_bytes,
        "workspace_bytes": ran.workspace_bytes,
        "first_ms": ran.first_ms,
        "median_ms": ran.times.map(|times| times.median),
        "p10_ms": ran.times.map(|times| times.p10),
        "p90_ms": ran.times.map(|times| times.p90),
        "outputs": ran.outputs.iter().map(|output| json!({
            "name": output.name,
            "shape": output.shape,
            "best": best(output).map(|best| best.iter()
                .map(|(place, value)| json!({ "place": place, "value": value })).collect::<Vec<_>>()),
        })).collect::<Vec<_>>(),
    })
}
