//! `sepconv bench`: every layer's time beside what this device can do at most.

use std::path::PathBuf;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use sepconv::Context;
use sepconv::roofline::Roofline;
use sepconv::timing::{Timing, measure_blocking};
use serde_json::{Value, json};

use crate::arguments::{self, DeviceOption, TuningOption};
use crate::cache;
use crate::device::Device;
use crate::devices::limits;
use crate::failure::{Failure, Outcome};
use crate::files;
use crate::output::{print, progress};
use crate::shapes::{self, Candidate};

/// What `bench` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  sepconv bench
  sepconv bench --shapes layers.json --batch 32 --json result.json
  sepconv bench --kernels all

A shape is a JSON object: kind `conv` or `sep`; n, c, h, w the input; oc output channels; k, s, p, d kernel size,
stride, padding and dilation; g groups.")]
pub struct Arguments {
    /// A JSON array of layers to time [default: layers of real networks].
    #[arg(long, value_name = "FILE.json")]
    shapes: Option<PathBuf>,
    /// Multiply every batch by this.
    #[arg(long, value_name = "N", default_value = "1", value_parser = arguments::number)]
    batch: u32,
    /// `chosen`: the planner's choice; `all`: also every other kernel that supports the layer.
    #[arg(long, value_name = "WHICH", default_value = "chosen", value_parser = ["chosen", "all"])]
    kernels: String,
    /// Write the result to this file as well.
    #[arg(long, value_name = "OUT.json")]
    json: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceOption,
    #[command(flatten)]
    tuning: TuningOption,
}

/// For how long each layer is timed.
const BUDGET: Duration = Duration::from_millis(800);

/// One layer's times with one kernel.
struct Row {
    id: String,
    kernel: String,
    is_chosen: bool,
    timing: Timing,
    bytes: u64,
    multiply_adds: u64,
    /// The least seconds that the device's limits allow.
    floor: f64,
}

/// Runs it.
pub fn run(arguments: &Arguments) -> Outcome {
    let shapes = shapes::load(arguments.shapes.as_deref(), arguments.batch)?;
    let device = Device::open(arguments.device.device.as_deref(), arguments.tuning.no_tune)?;
    let Device::Adapter(context) = device else {
        let message = "bench times an adapter, and there is none (or --device is cpu): see `sepconv devices`";
        return Err(Failure::Request(message.to_owned()));
    };
    let progress = progress(1 + shapes.len());
    progress.set_message("the device's limits");
    let roofline = Roofline::measure_blocking(&context)?;
    progress.inc(1);
    let mut rows = Vec::new();
    for shape in &shapes {
        progress.set_message(shape.id.clone());
        for candidate in shape.candidates(&context, arguments.kernels == "all")? {
            rows.push(time(&context, &roofline, &shape.id, &candidate)?);
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    cache::keep_pipelines(&context);

    let device = Device::Adapter(context.clone()).to_string();
    print(&text_of(&device, &roofline, &rows))?;
    match &arguments.json {
        None => Ok(()),
        Some(path) => {
            files::write_whole("--json", path, format!("{:#}\n", json_of(&context, &roofline, &rows)).as_bytes())
        }
    }
}

fn time(context: &Context, roofline: &Roofline, id: &str, candidate: &Candidate) -> Outcome<Row> {
    let error = candidate.error;
    if error.is_nan() || error > 1.0 {
        return Err(Failure::Computation(format!("shape {id}: its largest error is {error} times the bound")));
    }
    Ok(Row {
        id: id.to_owned(),
        kernel: candidate.kernel.clone(),
        is_chosen: candidate.is_chosen,
        timing: measure_blocking(context, &candidate.bound, BUDGET)?,
        bytes: candidate.bytes,
        multiply_adds: candidate.multiply_adds,
        floor: roofline.floor(candidate.bytes, candidate.multiply_adds),
    })
}

impl Row {
    /// The caller's time, in seconds.
    fn seconds(&self) -> f64 {
        self.timing.wall.median / 1e3
    }

    fn gflop_s(&self) -> f64 {
        2.0 * self.multiply_adds as f64 / self.seconds() / 1e9
    }

    fn gb_s(&self) -> f64 {
        self.bytes as f64 / self.seconds() / 1e9
    }

    fn roofline_percent(&self) -> f64 {
        100.0 * self.floor / self.seconds()
    }
}

/// The geometric mean of the chosen kernels' time as a multiple of its floor.
fn mean_over_floor(rows: &[Row]) -> f64 {
    let logarithms: Vec<f64> =
        rows.iter().filter(|row| row.is_chosen).map(|row| (row.seconds() / row.floor).ln()).collect();
    (logarithms.iter().sum::<f64>() / logarithms.len() as f64).exp()
}

fn text_of(device: &str, roofline: &Roofline, rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header([
        "layer",
        "kernel",
        "ms",
        "p10",
        "p90",
        "device ms",
        "GFLOP/s",
        "GB/s",
        "% of roofline",
    ]);
    for row in rows {
        let wall = row.timing.wall;
        table.add_row([
            row.id.clone(),
            if row.is_chosen { row.kernel.clone() } else { format!("({})", row.kernel) },
            format!("{:.3}", wall.median),
            format!("{:.3}", wall.p10),
            format!("{:.3}", wall.p90),
            row.timing.device.map_or("-".to_owned(), |device| format!("{:.3}", device.median)),
            format!("{:.2}", row.gflop_s()),
            format!("{:.2}", row.gb_s()),
            format!("{:.1}", row.roofline_percent()),
        ]);
    }
    for column in 2..9 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    format!(
        "Device: {device}\nLimits, measured: {:.2} GB/s copied, {:.1} GFLOP/s multiplied and added\n\n{table}\n\n\
         ms, p10, p90: the caller's wall clock, recording to done. device ms: GPU timestamps around the kernels.\n\
         A kernel in brackets is not the planner's choice. Time over floor, geometric mean: {:.2}",
        roofline.bytes_per_second / 1e9,
        roofline.operations_per_second / 1e9,
        mean_over_floor(rows)
    )
}

fn json_of(context: &Context, roofline: &Roofline, rows: &[Row]) -> Value {
    let info = context.adapter_info();
    json!({
        "adapter": info.name,
        "driver": format!("{} {}", info.driver, info.driver_info),
        "backend": format!("{:?}", info.backend),
        "limits": limits(context.limits()).into_iter().collect::<std::collections::BTreeMap<_, _>>(),
        "copy_gb_s": roofline.bytes_per_second / 1e9,
        "fma_gflop_s": roofline.operations_per_second / 1e9,
        "rows": rows.iter().map(|row| {
            let wall = row.timing.wall;
            let mut value = json!({
                "id": row.id,
                "kernel": row.kernel,
                "median_ms": wall.median,
                "p10_ms": wall.p10,
                "p90_ms": wall.p90,
                "gpu_ms": row.timing.device.map(|device| device.median),
                "gflop_s": row.gflop_s(),
                "gb_s": row.gb_s(),
                "roofline_percent": row.roofline_percent(),
                "clock": row.timing.best().1.to_string(),
            });
            if !row.is_chosen {
                value["candidate"] = true.into();
            }
            value
        }).collect::<Vec<_>>(),
    })
}
