//! `sepconv bench`: every layer's time beside what this device can do at most.

mod comparison;
mod network;
mod overhead;
mod plot;
mod row;
mod timeline;

use std::path::{Path, PathBuf};

use sepconv::Context;
use sepconv::roofline::Roofline;
use serde_json::{Value, json};

use crate::arguments::{self, DeviceOption, TuningOption, TypeOption};
use crate::cache;
use crate::device::Device;
use crate::devices::limits;
use crate::failure::{Failure, Outcome};
use crate::files;
use crate::networks::{self, InputShape, PictureOptions};
use crate::output::{print, progress, table};
use crate::shapes::{Kernels, Shape};
use crate::shapes_file;
use comparison::Earlier;
pub use row::geometric_mean;
use row::{Row, time};

/// What `bench` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  sepconv bench
  sepconv bench --shapes layers.json --batch 32 --json result.json --svg result.svg
  sepconv bench --kernels all
  sepconv bench --kernels variants --json variants.json
  sepconv bench --compare result.json
  sepconv bench --overhead
  sepconv bench model.onnx --input 1,3,224,224 --json result.json --svg timeline.svg

A shape is a JSON object: id its name, kind one of these, n, c, h, w the input, and what else its kind has:
  conv            oc k s p d g bias activation residual input_scale rounding
  sep             oc k s p d m bias activation residual
  conv_transpose  oc k s p d g output_padding bias activation
  max_pool        k s p d
  average_pool    k s p d
  resize          size mode coordinates residual
  matmul          rows depth columns activation; it has n pairs of matrices, and no c, h, w
  perceptron      hidden oc bias hidden_activation activation: c, hidden and oc features, and no h, w
  reduce          reduction axes activation
  softmax         axes
  group_norm      g activation
  layer_norm      axes activation
  binary          operation axes activation residual
  unary           activation
  transpose       order
oc output channels; k, s, p, d kernel size, stride, padding and dilation, each one number or [height, width], p also
[top, left, bottom, right] or \"same\"; g groups; m the depth multiplier; bias and input_scale, true or false; residual, true,
false or \"after-activation\"; activation, as on the command line; rounding \"fast\" or \"exact\"; size [height, width]; mode and
coordinates as ONNX calls them; axes, letters of \"nchw\": what it goes along, or for a binary what the second tensor has;
order, such as \"nhwc\". Sizes must be given, all else has a default: bias true, a pool's s its k.

Each layer is compared with the reference, a large convolution in some outputs, spread evenly. It is timed with up to
16 sets of its tensors in turn, 128 MiB of them if 16 are that large, so that a run does not find its input in a cache;
after that every set's result must be the one that was compared. A layer's floor is the larger of its multiply-adds (a
pool's comparisons or additions) over the device's rate and its bytes over the device's bandwidth: input, parameters and
output once each, without the tensor between the two parts of a separable layer.

A row of the JSON result: median_ms, p10_ms and p90_ms are the caller's wall clock, recording to done; gpu_ms is the kernels
alone by the device's timestamps, or null without; clock says which of the two knows the kernels best, and gflop_s, gb_s and
roofline_percent are of that median and count the operations of the layer's definition; own_gflop_s counts those of the
kernel's method, of which winograd has fewer; candidate is true in rows that are not the planner's choice. Of a model, network
has median_ms, p10_ms and p90_ms of what a caller pays, upload to read-back, first_ms of the first run with planning and compiling,
program_ms of recording to done, and sum_of_layers_ms.

With --compare, exit status 1 if a layer is slower by more than the noise, once everything is written: that is, if nine
tenths of its runs took longer than nine tenths of the earlier ones did (p10_ms now above p90_ms then). A device may be
slow for as long as a layer is timed, so believe it when it happens again. Files without p90_ms are compared only.")]
pub struct Arguments {
    /// A network to time, whole and layer by layer, in place of layers: an .onnx file.
    #[arg(value_name = "MODEL.onnx", conflicts_with_all = ["shapes", "batch", "kernels", "compare", "overhead"])]
    model: Option<PathBuf>,
    /// The shape of a model's input, N,C,H,W, or NAME=SIZES for each of several [default: the model's own].
    #[arg(long, value_name = "N,C,H,W", value_parser = networks::input_shape, requires = "model", allow_hyphen_values = true)]
    input: Vec<InputShape>,
    /// What a model is run on: .safetensors, .npy, .png or .jpg, as for `sepconv run` [default: numbers without a pattern].
    #[arg(long, value_name = "FILE", requires = "model", conflicts_with = "input")]
    on: Option<PathBuf>,
    /// A JSON array of layers to time [default: layers of real networks].
    #[arg(long, value_name = "FILE.json")]
    shapes: Option<PathBuf>,
    /// Multiply every batch by this.
    #[arg(long, value_name = "N", default_value = "1", value_parser = arguments::number)]
    batch: u32,
    /// What a layer is timed with.
    #[arg(long, value_name = "WHICH", default_value = "chosen", ignore_case = true)]
    kernels: Kernels,
    /// Write the result to this file as well.
    #[arg(long, value_name = "OUT.json")]
    json: Option<PathBuf>,
    /// Draw the layers under the device's limits, as a roofline plot; those of a model one after the other, as a timeline.
    #[arg(long, value_name = "OUT.svg")]
    svg: Option<PathBuf>,
    #[arg(
        long,
        value_name = "OLD.json",
        help = "Compare with an earlier result of --json, or with another program's: lines of {\"id\": …, \"median_ms\": …}"
    )]
    compare: Option<PathBuf>,
    /// Time instead what the host spends on a dispatch, and what the checks cost that this library leaves out.
    #[arg(long, conflicts_with_all = ["svg", "compare"])]
    overhead: bool,
    #[command(flatten)]
    device: DeviceOption,
    #[command(flatten)]
    tuning: TuningOption,
    #[command(flatten)]
    tensors: TypeOption,
}

/// Runs it.
pub fn run(arguments: &Arguments) -> Outcome {
    let inputs = [&arguments.shapes, &arguments.compare, &arguments.model, &arguments.on].map(Option::as_deref);
    let inputs: Vec<&Path> = inputs.into_iter().flatten().collect();
    for (argument, path) in [("--json", &arguments.json), ("--svg", &arguments.svg)] {
        path.as_ref().map_or(Ok(()), |path| files::check_place(argument, path, &inputs))?;
    }
    if let (Some(json), Some(svg)) = (&arguments.json, &arguments.svg)
        && files::is_same(json, svg)
    {
        return Err(Failure::Request("--json and --svg name the same file; each needs its own".to_owned()));
    }
    if let Some(model) = &arguments.model {
        return time_network(arguments, model);
    }
    let shapes = shapes_file::load(arguments.shapes.as_deref(), arguments.batch)?;
    let earlier = arguments.compare.as_ref().map(|path| Earlier::read(path, &shapes)).transpose()?;
    let device = arguments.device.device.as_deref();
    let context = Device::open_adapter(device, arguments.tuning.no_tune, arguments.tensors.dtype, "bench times")?;
    if arguments.overhead {
        let measured = overhead::measure(&context, &shapes, arguments.kernels)?;
        print(&format!("{}\n\n{measured}", heading(&context)))?;
        return write_json(arguments, &context, measured.json());
    }
    let (roofline, rows) = time_all(&context, &shapes, arguments.kernels)?;

    print(&text_of(&context, &roofline, &rows))?;
    write_json(arguments, &context, json_of(&context, &roofline, &rows))?;
    if let Some(path) = &arguments.svg {
        let svg = plot::svg(&Device::Adapter(context.clone()).to_string(), &roofline, &rows)?;
        files::write_whole("--svg", path, svg.as_bytes())?;
    }
    earlier.map_or(Ok(()), |earlier| earlier.compare(&context, &rows))
}

/// A whole network and its layers.
fn time_network(arguments: &Arguments, model: &Path) -> Outcome {
    let network = networks::load(model)?;
    let given = match &arguments.on {
        Some(path) => networks::read_inputs(&network, path, &PictureOptions::default())?,
        None => networks::made_up(&network, &arguments.input, None, ", or --on an input")?,
    };
    let device = arguments.device.device.as_deref();
    let context = Device::open_adapter(device, arguments.tuning.no_tune, arguments.tensors.dtype, "bench times")?;
    let roofline = Roofline::measure_blocking(&context)?;
    let timed = network::measure(&context, &network, &given, &roofline)?;
    cache::keep_pipelines(&context);
    print(&network::text(&timed, &heading(&context)))?;
    write_json(arguments, &context, network::json(&timed))?;
    arguments.svg.as_ref().map_or(Ok(()), |path| {
        let device = Device::Adapter(context.clone()).to_string();
        let name = model.file_name().map_or(model.display().to_string(), |name| name.display().to_string());
        let svg = timeline::svg(&format!("{name} on {device}"), &timed.layers)?;
        files::write_whole("--svg", path, svg.as_bytes())
    })
}

/// The device's limits, and every layer's times.
fn time_all<'a>(context: &Context, shapes: &'a [Shape], kernels: Kernels) -> Outcome<(Roofline, Vec<Row<'a>>)> {
    let progress = progress(1 + shapes.len());
    progress.set_message("the device's limits");
    let roofline = Roofline::measure_blocking(context)?;
    progress.inc(1);
    let mut rows = Vec::new();
    for shape in shapes {
        progress.set_message(shape.id.clone());
        let candidates = shape.candidates(context, kernels)?;
        let timings = time(context, &candidates.iter().collect::<Vec<_>>())?;
        for (index, (candidate, timing)) in candidates.into_iter().zip(timings).enumerate() {
            rows.push(Row {
                shape,
                is_chosen: index == 0,
                sets: candidate.sets(),
                timing,
                bytes: shape.bytes(context.dtype()),
                floor: roofline.floor(shape.bytes(context.dtype()), shape.multiply_adds()),
                operations: candidate.operations,
                predicted: candidate.predicted,
                kernel: candidate.kernel,
                variant: candidate.variant,
            });
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    cache::keep_pipelines(context);
    Ok((roofline, rows))
}

/// What ran this, and where.
fn heading(context: &Context) -> String {
    format!("Device: {}\nHost: {}", Device::Adapter(Box::new(context.clone())), host())
}

/// The host's system and processor, and this command's version.
fn host() -> String {
    let threads = std::thread::available_parallelism().map_or("?".to_owned(), |threads| threads.to_string());
    let (system, architecture) = (std::env::consts::OS, std::env::consts::ARCH);
    format!("{system} {architecture}, {threads} hardware threads, sepconv {}", env!("CARGO_PKG_VERSION"))
}

fn text_of(context: &Context, roofline: &Roofline, rows: &[Row]) -> String {
    let mut header =
        vec!["layer", "kernel", "ms", "p10", "p90", "device ms", "GFLOP/s", "own", "GB/s", "% of roofline"];
    // A device in software has no predictions.
    let is_predicted = rows.iter().any(|row| row.predicted.is_some());
    header.extend(is_predicted.then_some("predicted ms"));
    let mut table = table(&header, 2..header.len());
    for row in rows {
        let wall = row.timing.wall;
        let predicted = row.predicted.map_or("-".to_owned(), |seconds| format!("{:.3}", 1e3 * seconds));
        let cells = [
            row.shape.id.clone(),
            row.label(),
            format!("{:.3}", wall.median),
            format!("{:.3}", wall.p10),
            format!("{:.3}", wall.p90),
            row.timing.device.map_or("-".to_owned(), |device| format!("{:.3}", device.median)),
            format!("{:.2}", row.gflop_s()),
            format!("{:.2}", row.own_gflop_s()),
            format!("{:.2}", row.gb_s()),
            format!("{:.1}", row.roofline_percent()),
        ];
        table.add_row(cells.into_iter().chain(is_predicted.then_some(predicted)));
    }
    let model = context.target().gpu().name;
    let prediction =
        format!("predicted ms: what the model of GPUs predicts of one like the {model}; no measurement.\n");
    let over_floor = rows.iter().filter(|row| row.is_chosen).map(|row| row.seconds() / row.floor);
    format!(
        "{}\nLimits, measured: {:.2} GB/s copied, {:.1} GFLOP/s multiplied and added\n\n{table}\n\n\
         ms, p10, p90: the caller's wall clock, recording to done. device ms: GPU timestamps around the kernels.\n\
         GFLOP/s: the operations of the layer's definition, by the device's clock if it has one, as is all that follows.\n\
         own: those of the kernel's method, fewer for winograd.\n{}\
         A kernel in brackets is not the planner's choice. Time over floor, geometric mean: {:.2}",
        heading(context),
        roofline.bytes_per_second / 1e9,
        roofline.operations_per_second / 1e9,
        if is_predicted { prediction } else { String::new() },
        geometric_mean(over_floor)
    )
}

/// Writes what was measured, with what it was measured on, to the file of `--json`.
fn write_json(arguments: &Arguments, context: &Context, mut measured: Value) -> Outcome {
    let Some(path) = &arguments.json else { return Ok(()) };
    let info = context.adapter_info();
    measured["adapter"] = info.name.into();
    measured["dtype"] = context.dtype().to_string().into();
    measured["driver"] = format!("{} {}", info.driver, info.driver_info).into();
    measured["backend"] = format!("{:?}", info.backend).into();
    measured["host"] = host().into();
    files::write_whole("--json", path, format!("{measured:#}\n").as_bytes())
}

fn json_of(context: &Context, roofline: &Roofline, rows: &[Row]) -> Value {
    json!({
        "limits": limits(context.limits()).into_iter().collect::<std::collections::BTreeMap<_, _>>(),
        "copy_gb_s": roofline.bytes_per_second / 1e9,
        "fma_gflop_s": roofline.operations_per_second / 1e9,
        "rows": rows.iter().map(|row| {
            let wall = row.timing.wall;
            let mut value = json!({
                "id": row.shape.id,
                "input_shape": row.shape.layer.input_shape(),
                "kernel": row.kernel,
                "variant": row.variant,
                "median_ms": wall.median,
                "p10_ms": wall.p10,
                "p90_ms": wall.p90,
                "gpu_ms": row.timing.device.map(|device| device.median),
                "gflop_s": row.gflop_s(),
                "own_gflop_s": row.own_gflop_s(),
                "gb_s": row.gb_s(),
                "roofline_percent": row.roofline_percent(),
                "clock": row.timing.best().1.to_string(),
                "sets": row.sets,
            });
            if !row.is_chosen {
                value["candidate"] = true.into();
            }
            if let Some(seconds) = row.predicted {
                value["predicted_ms"] = (1e3 * seconds).into();
            }
            value
        }).collect::<Vec<_>>(),
    })
}
