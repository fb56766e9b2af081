//! `sepconv separate`: a trained network with separable layers in the place of normal ones, where that saves more than it
//! loses.

mod inputs;
mod plot;
mod report;

use std::path::{Path, PathBuf};

use sepconv::unstable::separate;
use sepconv::unstable::separation::{Goal, Run, Sample, Whole, measure};
use sepconv::{DType, Network};

use crate::arguments::{DeviceOption, TuningOption, number};
use crate::cache;
use crate::device::Device;
use crate::failure::{Failure, Outcome};
use crate::files;
use crate::networks::{self, InputShape, PictureOptions, input_shape};
use crate::output::{complain, print, progress, shown};
use report::Report;

/// What `separate` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  sepconv separate upscaler.onnx --calibrate photographs/*.png --out separable.onnx
  sepconv separate upscaler.onnx --calibrate a.png b.png --check c.png --upscaler 2 --max-error 0.01 --out separable.onnx
  sepconv separate model.onnx --input 1,3,224,224 --speed-up 1.5 --svg curve.svg --out separable.onnx

A layer of k x k windows is taken apart by input channels: each gets T filters of its own, T from 1 to k x k, and a pointwise
layer adds up their results. With --calibrate filters and shares are those that are nearest to the layer's outputs on these
inputs, and the error of the network is its outputs' on them: the root of the mean square of what changed, as a part of that of
the outputs. Without it the error is that of each layer's weights, and the network is checked on random values. Layers are
changed one after the other, the least loss for each millisecond saved first. That is a curve of error against time, of which
the fastest setting within --max-error is written, or the one with the least error that is --speed-up times as fast.

In the file each layer that is changed becomes two Conv nodes, NAME_depthwise and NAME_pointwise, which any program that reads
ONNX runs; all else is as it was.")]
pub struct Arguments {
    #[command(flatten)]
    model: networks::ModelArgument,
    /// The file to write: .onnx.
    #[arg(long, value_name = "OUT.onnx")]
    out: PathBuf,
    /// Inputs like those that the network is for: pictures (.png, .jpg), .npy or .safetensors.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    calibrate: Vec<PathBuf>,
    /// Inputs that errors are measured on [default: those of --calibrate].
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "calibrate")]
    check: Vec<PathBuf>,
    /// The network makes pictures N times as large. Its pictures are then made N times smaller first, and what it makes of
    /// them is compared with the pictures themselves as well.
    #[arg(long, value_name = "N", value_parser = number, requires = "calibrate")]
    upscaler: Option<u32>,
    /// The shape of an input where the model does not say it, without --calibrate: `1,3,224,224` or `NAME=1,3,224,224`.
    #[arg(long, value_name = "SHAPE", value_parser = input_shape, conflicts_with = "calibrate")]
    input: Vec<InputShape>,
    /// The largest error, from 0 to 1: of the network's outputs with --calibrate, else of each layer's weights
    /// [default: 0.01].
    #[arg(long, value_name = "E", value_parser = share, allow_hyphen_values = true, conflicts_with = "speed_up")]
    max_error: Option<f64>,
    /// How many times as fast the network must become.
    #[arg(long, value_name = "S", value_parser = times, allow_hyphen_values = true)]
    speed_up: Option<f64>,
    #[command(flatten)]
    picture: PictureOptions,
    /// Draw error against time.
    #[arg(long, value_name = "OUT.svg")]
    svg: Option<PathBuf>,
    /// Print one JSON object instead of tables.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceOption,
    #[command(flatten)]
    tuning: TuningOption,
}

fn share(text: &str) -> Result<f64, String> {
    let value: Option<f64> = text.trim().parse().ok();
    value.filter(|value| (0.0..=1.0).contains(value)).ok_or_else(|| "it must be a number from 0 to 1".to_owned())
}

fn times(text: &str) -> Result<f64, String> {
    let value: Option<f64> = text.trim().parse().ok();
    let fits = |value: &f64| value.is_finite() && *value >= 1.0;
    value.filter(fits).ok_or_else(|| "it must be a number of at least 1".to_owned())
}

/// The error that is allowed where nobody says so.
const MAX_ERROR: f64 = 0.01;

/// Runs it.
pub fn run(arguments: &Arguments) -> Outcome {
    check_arguments(arguments)?;
    let path = &arguments.model.model;
    let network = networks::load(path)?;
    let bytes = files::read(path)?;
    let within = |error: sepconv::Error| Failure::from(error).within(&path.display().to_string());
    let convolutions = separate::convolutions(&bytes).map_err(within)?;
    if convolutions.normal.is_empty() {
        let reasons: Vec<String> =
            convolutions.others.iter().map(|(name, reason)| format!("{name}: {reason}")).collect();
        let reasons = if reasons.is_empty() { "it has no convolutions".to_owned() } else { reasons.join("; ") };
        return Err(Failure::Request(format!("MODEL {} has no layer to change: {reasons}", path.display())));
    }
    let (calibration, checks) = samples(arguments, &network)?;
    let device = arguments.device.device.as_deref();
    let context = Device::open_adapter(device, arguments.tuning.no_tune, DType::F32, "separate measures on")?;
    let is_calibrated = !arguments.calibrate.is_empty();
    let bar = progress(1);
    let shown = shown(&bar);
    let normal = &convolutions.normal;
    let (measured, mut others) = measure(&context, &network, normal, &calibration, is_calibrated, &shown)?;
    others.splice(0..0, convolutions.others.clone());
    for layer in measured.iter().filter(|layer| is_calibrated && !layer.is_fitted).map(|measured| measured.layer) {
        let terms: u32 = layer.shape[1..].iter().product();
        complain(&format!("note: {}: its windows have {terms} values; it is not fitted to its outputs", layer.name));
    }
    let goal = match (arguments.max_error, arguments.speed_up) {
        (_, Some(speed_up)) => Goal::SpeedUp(speed_up),
        (error, None) => Goal::MaxError(error.unwrap_or(MAX_ERROR)),
    };
    let largest = largest_value(arguments);
    let whole = Whole::new(&context, &network, &checks, largest)?;
    let fit = is_calibrated.then_some(&calibration[..]);
    let run =
        Run { context: &context, network: &network, bytes: &bytes, measured: &measured, whole: &whole, goal, fit };
    let curve = run.curve(&shown)?;
    bar.finish_and_clear();
    let device = Device::Adapter(context.clone()).to_string();
    let report = Report { device, measured: &measured, others, curve, goal, is_calibrated };
    cache::keep_pipelines(&context);
    if let Some(svg) = &arguments.svg {
        files::write_whole("--svg", svg, plot::svg(&report)?.as_bytes())?;
    }
    if let Some(chosen) = report.curve.chosen {
        files::write_whole("--out", &arguments.out, &report.curve.points[chosen].file)?;
    }
    print(&if arguments.json { format!("{:#}", report.json()) } else { report.text(&arguments.out) })?;
    report.outcome(&arguments.out)
}

fn check_arguments(arguments: &Arguments) -> Outcome {
    arguments.tuning.check(arguments.device.device.as_deref())?;
    let Arguments { model, out, svg, calibrate, check, .. } = arguments;
    if !networks::is_model(out) {
        return Err(Failure::Request(format!("--out is {}; its name must end in .onnx", out.display())));
    }
    let read = std::iter::once(&model.model).chain(calibrate).chain(check);
    let read: Vec<&Path> = read.map(PathBuf::as_path).collect();
    files::check_place("--out", out, &read)?;
    if let Some(svg) = svg {
        files::check_place("--svg", svg, &read)?;
        if svg == out {
            return Err(Failure::Request("--out and --svg name the same file; each needs its own".to_owned()));
        }
    }
    if arguments.upscaler.is_some_and(|times| times < 2) {
        return Err(Failure::Request(
            "--upscaler is less than 2; it is how many times as large pictures become".to_owned(),
        ));
    }
    let has_picture = calibrate.iter().chain(check).any(|path| networks::is_picture(path));
    match arguments.picture.first() {
        Some(option) if !has_picture => {
            Err(Failure::Request(format!("{option} goes with pictures, which --calibrate gives")))
        }
        _ => Ok(()),
    }
}

/// What layers are fitted to, and what errors are measured on.
fn samples(arguments: &Arguments, network: &Network) -> Outcome<(Vec<Sample>, Vec<Sample>)> {
    let Arguments { calibrate, check, picture, upscaler, .. } = arguments;
    if calibrate.is_empty() {
        let random = || inputs::random(network, &arguments.input);
        return Ok((vec![random()?], vec![random()?]));
    }
    let check = if check.is_empty() { calibrate } else { check };
    let read = |argument, paths| inputs::read(argument, network, paths, picture, *upscaler);
    Ok((read("--calibrate", calibrate)?, read("--check", check)?))
}

/// The largest value of a picture's pixels; none where no pictures are given.
fn largest_value(arguments: &Arguments) -> Option<f64> {
    let mut given = arguments.calibrate.iter().chain(&arguments.check);
    given.any(|path| networks::is_picture(path)).then(|| f64::from(arguments.picture.largest()))
}
