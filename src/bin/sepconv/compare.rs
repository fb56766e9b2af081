//! `sepconv compare`: what the separable form of a layer saves on this device.

mod layers;
mod photograph;

use std::path::PathBuf;

use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use sepconv::{Conv2d, SeparableConv2d, Summary};
use serde_json::{Value, json};

use crate::device::Device;
use crate::failure::{Failure, Outcome};
use crate::picture::{self, Picture};
use layers::{Cost, LAYERS, Layer};

/// What `compare` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The picture to filter, PNG or JPEG [default: a portrait that comes with sepconv].
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// The folder that the feature maps are written to, as PNG files.
    #[arg(long, value_name = "FOLDER", default_value = "feature-maps")]
    out: PathBuf,
    /// The adapter to use: part of its name, or `cpu` for the reference.
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// Print one JSON object instead of tables.
    #[arg(long)]
    json: bool,
}

/// NASA's portrait of the astronaut Eileen Collins, in the public domain, 512 × 512.
const PORTRAIT: &[u8] = include_bytes!("../../../assets/astronaut.jpg");

/// Runs it.
pub fn run(arguments: &Arguments) -> Outcome {
    let picture = match &arguments.image {
        Some(path) => picture::load(path)?,
        None => picture::decode(PORTRAIT, "the portrait")?,
    };
    let device = Device::open(arguments.device.as_deref())?;
    let (normal, separable) = starting_example()?;

    let progress = ProgressBar::new(1 + LAYERS.len() as u64).with_style(
        ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    progress.set_message("photograph");
    let photograph = photograph::compute(&device, &picture)?;
    let files = photograph.write(&picture, &arguments.out)?;
    progress.inc(1);
    let mut costs = Vec::new();
    for layer in &LAYERS {
        progress.set_message(layer.name);
        costs.push((layer, layer.normal(&device)?, layer.separable(&device)?));
        progress.inc(1);
    }
    progress.finish_and_clear();

    let report = Report { device: &device, picture: &picture, normal, separable, photograph, files, costs };
    if arguments.json {
        println!("{:#}", report.json());
    } else {
        report.print(arguments);
    }
    let wrong = report.wrong();
    if wrong.is_empty() { Ok(()) } else { Err(Failure::Computation(format!("wrong results: {}", wrong.join(", ")))) }
}

/// The layer of the README, both forms.
fn starting_example() -> Outcome<(Summary, Summary)> {
    let input = [1, 3, 64, 64];
    let normal = Summary::new(input).conv2d("normal", &Conv2d::new(3, 4, 3).padding(1))?;
    let separable = Summary::new(input).separable("separable", &SeparableConv2d::new(3, 4, 3).padding(1))?;
    Ok((normal, separable))
}

/// Everything that was computed.
struct Report<'a> {
    device: &'a Device,
    picture: &'a Picture,
    normal: Summary,
    separable: Summary,
    photograph: photograph::Result,
    files: Vec<String>,
    costs: Vec<(&'a Layer, Cost, Cost)>,
}

impl Report<'_> {
    /// The names of the results whose error is above its bound; NaN is above any.
    fn wrong(&self) -> Vec<String> {
        let photograph = self.photograph.errors.iter().map(|(name, error)| ((*name).to_owned(), *error));
        let layers = self.costs.iter().flat_map(|(layer, normal, separable)| {
            [("normal", normal), ("separable", separable)].map(|(form, c)| (format!("{} {form}", layer.name), c.error))
        });
        photograph.chain(layers).filter(|(_, error)| !(*error <= 1.0)).map(|(name, _)| name).collect()
    }

    fn print(&self, arguments: &Arguments) {
        println!("1. The starting example: 3 to 4 channels, 64 x 64, 3 x 3, padding 1, with bias\n");
        println!("{}\n{}\n", self.normal, self.separable);
        println!("Parameters: {} against {}.\n", self.normal.parameters(), self.separable.parameters());

        let (height, width) = (self.picture.height, self.picture.width);
        println!("2. One function of the photograph ({width} x {height}), three ways, on {}\n", self.device);
        for (name, error) in self.photograph.errors {
            println!("   {name:<36}largest error {error:.3} of the bound");
        }
        println!("\n   Feature maps in {}: {}\n", arguments.out.display(), self.files.join(", "));

        println!("3. Layers, normal and separable: 3 x 3, padding 1, with bias, batch 1\n");
        println!("{}\n", self.table());
        println!("   An error is a multiple of the bound that rounding allows; at most 1 is right.");
        println!("\n4. Device: {}. Times: {}.", self.device, self.clock());
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN).set_header([
            "layer",
            "form",
            "parameters",
            "multiply-adds",
            "MB",
            "ms",
            "speed-up",
            "kernel",
            "error",
        ]);
        for (layer, normal, separable) in &self.costs {
            for (form, cost) in [("normal", normal), ("separable", separable)] {
                table.add_row([
                    layer.name.to_owned(),
                    form.to_owned(),
                    cost.parameters.to_string(),
                    cost.multiply_adds.to_string(),
                    format!("{:.2}", cost.bytes as f64 / 1e6),
                    format!("{:.3}", cost.milliseconds),
                    format!("{:.2}", normal.milliseconds / cost.milliseconds),
                    cost.kernel.clone(),
                    format!("{:.3}", cost.error),
                ]);
            }
        }
        for column in [2, 3, 4, 5, 6, 8] {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }

    fn clock(&self) -> String {
        let mut clocks: Vec<String> =
            self.costs.iter().flat_map(|(_, n, s)| [n.clock.to_string(), s.clock.to_string()]).collect();
        clocks.sort();
        clocks.dedup();
        clocks.join(" and ")
    }

    fn json(&self) -> Value {
        let summary = |summary: &Summary| {
            json!({
                "layers": summary.rows().iter().map(|row| json!({
                    "name": row.name,
                    "output_shape": row.geometry.output_shape(),
                    "parameters": row.geometry.parameters(),
                    "multiply_adds": row.geometry.multiply_adds(),
                })).collect::<Vec<_>>(),
                "parameters": summary.parameters(),
                "multiply_adds": summary.multiply_adds(),
                "input_bytes": summary.input_bytes(),
                "forward_backward_bytes": summary.forward_backward_bytes(),
                "parameter_bytes": summary.parameter_bytes(),
                "total_bytes": summary.total_bytes(),
            })
        };
        let cost = |cost: &Cost| {
            json!({
                "parameters": cost.parameters,
                "multiply_adds": cost.multiply_adds,
                "bytes": cost.bytes,
                "milliseconds": cost.milliseconds,
                "clock": cost.clock.to_string(),
                "kernel": cost.kernel,
                "error": cost.error,
            })
        };
        json!({
            "device": self.device.to_string(),
            "starting_example": { "normal": summary(&self.normal), "separable": summary(&self.separable) },
            "photograph": {
                "height": self.picture.height,
                "width": self.picture.width,
                "errors": self.photograph.errors.iter()
                    .map(|(name, error)| json!({ "way": name, "error": error })).collect::<Vec<_>>(),
                "files": self.files,
            },
            "layers": self.costs.iter().map(|(layer, normal, separable)| json!({
                "name": layer.name,
                "input_shape": layer.input_shape(),
                "out_channels": layer.out_channels,
                "stride": layer.stride,
                "normal": cost(normal),
                "separable": cost(separable),
                "speed_up": normal.milliseconds / separable.milliseconds,
            })).collect::<Vec<_>>(),
            "right": self.wrong().is_empty(),
        })
    }
}
