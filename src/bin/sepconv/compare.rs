//! `sepconv compare`: what the separable form of a layer saves on this device.

mod layers;
mod person;
mod photograph;

use std::path::PathBuf;

use comfy_table::Table;
use sepconv::{Conv2d, SeparableConv2d, Summary};
use serde_json::{Value, json};

use crate::arguments::{TuningOption, TypeOption};
use crate::device::Device;
use crate::failure::{Failure, Outcome};
use crate::on_device::megabytes;
use crate::output::{complain, print, progress, table};
use crate::picture::{self, Picture};
use layers::{Cost, LAYERS, Pair};

/// What `compare` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The picture to filter, PNG or JPEG, scaled to at most 1024 pixels a side [default: a portrait that comes with
    /// sepconv].
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// The folder that the feature maps are written to, as PNG files.
    #[arg(long, value_name = "FOLDER", default_value = "feature-maps")]
    out: PathBuf,
    /// The adapter to use: part of its name, or `cpu` for the reference.
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    #[command(flatten)]
    tuning: TuningOption,
    #[command(flatten)]
    tensors: TypeOption,
    /// Print one JSON object instead of tables.
    #[arg(long)]
    json: bool,
}

/// NASA's portrait of the astronaut Eileen Collins, in the public domain, 512 × 512.
const PORTRAIT: &[u8] = include_bytes!("../../../assets/astronaut.jpg");

/// A larger picture is scaled to this many pixels along its longer side: the reference computes it too.
const LARGEST_SIDE: u32 = 1024;

/// Runs it.
pub fn run(arguments: &Arguments) -> Outcome {
    arguments.tuning.check(arguments.device.as_deref())?;
    let picture = match &arguments.image {
        Some(path) => picture::load(path)?,
        None => picture::decode(PORTRAIT, "the portrait")?,
    };
    if picture.alpha.is_some() {
        complain("note: alpha is left out: the feature maps are of red, green and blue");
    }
    if picture.is_deep {
        complain("note: the feature maps have 8 bits, and the picture 16");
    }
    let picture = photograph::at_most(picture, LARGEST_SIDE);
    photograph::check_folder(&arguments.out, arguments.image.as_deref())?;
    let device = Device::open(arguments.device.as_deref(), arguments.tuning.no_tune, arguments.tensors.dtype)?;
    let (normal, separable) = starting_example()?;

    let progress = progress(2 + LAYERS.len());
    progress.set_message("photograph");
    let photograph = photograph::compute(&device, &picture)?;
    let files = photograph.write(&picture, &arguments.out)?;
    progress.inc(1);
    let mut costs = Vec::new();
    for layer in &LAYERS {
        progress.set_message(layer.name);
        costs.push(Pair::measure(layer, &device)?);
        progress.inc(1);
    }
    progress.set_message("a network");
    let person = person::compute(&device, &picture)?;
    person.write(&picture, &arguments.out)?;
    progress.finish_and_clear();
    device.keep_pipelines();

    let report = Report { device: &device, picture: &picture, normal, separable, photograph, files, costs, person };
    print(&if arguments.json { format!("{:#}", report.json()) } else { report.text(arguments) })?;
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
    costs: Vec<Pair>,
    person: person::Person,
}

impl Report<'_> {
    /// The names of the results whose error is above its bound; NaN is above any.
    fn wrong(&self) -> Vec<String> {
        let photograph = self.photograph.errors.iter().map(|(name, error)| ((*name).to_owned(), Some(*error)));
        let layers = self.costs.iter().flat_map(|Pair { layer, normal, separable }| {
            [("normal", normal), ("separable", separable)].map(|(form, c)| (format!("{} {form}", layer.name), c.error))
        });
        let is_wrong = |error: Option<f64>| error.is_some_and(|error| error.is_nan() || error > 1.0);
        let person = [("the network".to_owned(), self.person.error)];
        photograph.chain(layers).chain(person).filter(|(_, error)| is_wrong(*error)).map(|(name, _)| name).collect()
    }

    fn text(&self, arguments: &Arguments) -> String {
        let (height, width) = (self.picture.height, self.picture.width);
        let errors = self.photograph.errors.map(|(way, error)| format!("   {way:<36}largest error {error:.3}"));
        [
            "1. The starting example: 3 to 4 channels, 64 x 64, 3 x 3, padding 1, with bias\n".to_owned(),
            format!("{}\n\n{}\n", self.normal, self.separable),
            format!("   Parameters: {} against {}.\n", self.normal.parameters(), self.separable.parameters()),
            format!("2. One function of the photograph ({width} x {height}), computed three ways\n"),
            errors.join("\n"),
            format!("\n   Feature maps in {}: {}\n", arguments.out.display(), self.files.join(", ")),
            "3. Layers, normal and separable: 3 x 3, padding 1, with bias, batch 1\n".to_owned(),
            self.table().to_string(),
            "\n   Errors are multiples of the bound that rounding allows: at most 1 is right.\n".to_owned(),
            self.network(),
            format!("5. Device: {}. Times: {}.", self.device, self.clock()),
        ]
        .join("\n")
    }

    /// The part about the network.
    fn network(&self) -> String {
        let person = &self.person;
        let parameters = megabytes(person.weight_bytes);
        let mut lines =
            vec!["4. A whole network: MediaPipe's selfie segmentation finds the person in the photograph\n".to_owned()];
        lines.push(match person.steps {
            Some(steps) => format!(
                "   {} layers in {steps} steps, one submission; {parameters} of weights, {} between layers",
                person.layers,
                megabytes(person.workspace_bytes)
            ),
            None => format!("   {} layers, by the reference", person.layers),
        });
        let first = format!("   first run {:.0} ms, with planning and compiling", person.first_ms);
        lines.push(match person.times {
            Some(times) => format!("{first}; then {:.2} ms: upload, run, read-back", times.median),
            None => first,
        });
        lines.extend(person.error.map(|error| format!("   largest error of a layer {error:.3}")));
        lines.push(format!("   The person before another background, and the mask: {}\n", person::FILE));
        lines.join("\n")
    }

    fn table(&self) -> Table {
        let header = ["layer", "form", "parameters", "multiply-adds", "MB", "ms", "speed-up", "kernel", "error"];
        let mut table = table(&header, [2, 3, 4, 5, 6, 8]);
        for pair @ Pair { layer, normal, separable } in &self.costs {
            for (form, cost) in [("normal", normal), ("separable", separable)] {
                table.add_row([
                    layer.name.to_owned(),
                    form.to_owned(),
                    cost.parameters.to_string(),
                    cost.multiply_adds.to_string(),
                    format!("{:.2}", cost.bytes as f64 / 1e6),
                    format!("{:.3}", pair.milliseconds(cost)),
                    if form == "normal" { "1.00".to_owned() } else { format!("{:.2}", pair.speed_up()) },
                    cost.kernel.clone(),
                    cost.error.map_or("-".to_owned(), |error| format!("{error:.3}")),
                ]);
            }
        }
        table
    }

    fn clock(&self) -> String {
        let mut clocks: Vec<String> = self.costs.iter().map(|pair| pair.clock().to_string()).collect();
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
        let cost = |pair: &Pair, cost: &Cost| {
            json!({
                "parameters": cost.parameters,
                "multiply_adds": cost.multiply_adds,
                "bytes": cost.bytes,
                "milliseconds": pair.milliseconds(cost),
                "clock": pair.clock().to_string(),
                "kernel": cost.kernel,
                "error": cost.error,
            })
        };
        json!({
            "device": self.device.to_string(),
            "dtype": self.device.dtype().to_string(),
            "starting_example": { "normal": summary(&self.normal), "separable": summary(&self.separable) },
            "photograph": {
                "height": self.picture.height,
                "width": self.picture.width,
                "errors": self.photograph.errors.iter()
                    .map(|(name, error)| json!({ "way": name, "error": error })).collect::<Vec<_>>(),
                "files": self.files,
            },
            "layers": self.costs.iter().map(|pair| json!({
                "name": pair.layer.name,
                "input_shape": pair.layer.input_shape(),
                "out_channels": pair.layer.out_channels,
                "stride": pair.layer.stride,
                "normal": cost(pair, &pair.normal),
                "separable": cost(pair, &pair.separable),
                "speed_up": pair.speed_up(),
            })).collect::<Vec<_>>(),
            "network": {
                "layers": self.person.layers,
                "steps": self.person.steps,
                "weight_bytes": self.person.weight_bytes,
                "workspace_bytes": self.person.workspace_bytes,
                "first_ms": self.person.first_ms,
                "median_ms": self.person.times.map(|times| times.median),
                "error": self.person.error,
                "file": person::FILE,
            },
            "right": self.wrong().is_empty(),
        })
    }
}
