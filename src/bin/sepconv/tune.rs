//! `sepconv tune`: measures which kernel computes each layer fastest on this device, and whether a separable layer is
//! faster in one dispatch, and keeps it.

use std::path::{Path, PathBuf};

use sepconv::tune::{Tuned, inner_layers, tune_blocking};
use sepconv::{Choice, Context, Layer, Tuning};

use crate::arguments::{self, DeviceOption, TypeOption};
use crate::cache;
use crate::device::Device;
use crate::failure::{Failure, Outcome};
use crate::files;
use crate::networks::{self, InputShape};
use crate::output::{print, progress, table};
use crate::shapes::Shape;
use crate::shapes_file;

/// What `tune` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  sepconv tune
  sepconv tune --shapes layers.json --export my-gpu.txt
  sepconv tune model.onnx --input 1,3,224,224

Shapes are those of `sepconv bench`. The two parts of a separable layer are tuned as layers of their own, and then the
whole of it: `chained`, which is its two parts as they were found fastest, against each kernel that computes it in one
dispatch. So is the product that Winograd's method makes of a layer. The table is kept in the folder that SEPCONV_CACHE names, or else in the user's cache folder; `conv`,
`separable`, `run`, `compare`, `bench` and `plan` go by it unless --no-tune is given. A program can ship an exported table: see
sepconv::Tuning.")]
pub struct Arguments {
    /// A network whose layers are tuned: an .onnx file.
    #[arg(value_name = "MODEL.onnx", conflicts_with_all = ["shapes", "batch"])]
    model: Option<PathBuf>,
    /// The shape of a model's input, N,C,H,W, or NAME=SIZES for each of several [default: the model's own].
    #[arg(long, value_name = "N,C,H,W", value_parser = networks::input_shape, requires = "model", allow_hyphen_values = true)]
    input: Vec<InputShape>,
    /// A JSON array of layers to tune [default: layers of real networks].
    #[arg(long, value_name = "FILE.json")]
    shapes: Option<PathBuf>,
    /// Multiply every batch by this.
    #[arg(long, value_name = "N", default_value = "1", value_parser = arguments::number)]
    batch: u32,
    /// Measure the layers again that are in the table already.
    #[arg(long)]
    again: bool,
    /// Write the device's whole table to this file as well.
    #[arg(long, value_name = "OUT.txt")]
    export: Option<PathBuf>,
    #[command(flatten)]
    tensors: TypeOption,
    #[command(flatten)]
    device: DeviceOption,
}

/// Runs it.
pub fn run(arguments: &Arguments) -> Outcome {
    if let Some(path) = &arguments.export {
        let inputs = [&arguments.shapes, &arguments.model].map(Option::as_deref);
        let inputs: Vec<&Path> = inputs.into_iter().flatten().collect();
        files::check_place("--export", path, &inputs)?;
    }
    let shapes = match &arguments.model {
        Some(model) => layers_of(model, &arguments.input)?,
        None => shapes_file::load(arguments.shapes.as_deref(), arguments.batch)?,
    };
    let context =
        Device::open_adapter(arguments.device.device.as_deref(), false, arguments.tensors.dtype, "tune measures")?;
    let table = context.tuning().clone();
    // Before anything is measured, so that nothing is measured in vain.
    let kept_at = cache::keep_tuning(&table)?;
    let mut run = Run { context: &context, again: arguments.again, table, kept_at, rows: Vec::new() };

    let shapes: Vec<Shape> = shapes.into_iter().flat_map(|shape| with_inner_layers(&context, shape)).collect();
    let progress = progress(shapes.len());
    for shape in shapes {
        progress.set_message(shape.id.clone());
        run.add(shape)?;
        progress.inc(1);
    }
    progress.finish_and_clear();
    cache::keep_pipelines(&context);
    let Run { table, kept_at, rows, .. } = run;
    if let Some(path) = &arguments.export {
        files::write_whole("--export", path, table.to_string().as_bytes())?;
    }
    print(&text_of(&Device::Adapter(context).to_string(), &rows, &kept_at.display().to_string()))
}

/// The different layers of a network.
fn layers_of(model: &Path, inputs: &[InputShape]) -> Outcome<Vec<Shape>> {
    let network = networks::load(model)?;
    let given = networks::complete(&network, inputs)?;
    let given: Vec<(&str, &[u32])> = given.iter().map(|(name, shape)| (name.as_str(), &shape[..])).collect();
    let mut shapes: Vec<Shape> = Vec::new();
    for (id, layer) in network.layers(&given)? {
        if shapes.iter().all(|other| other.layer.text() != layer.text()) {
            shapes.push(Shape { id, layer });
        }
    }
    Ok(shapes)
}

/// A layer, and before it the layers that ways to compute it plan in their turn.
fn with_inner_layers(context: &Context, shape: Shape) -> Vec<Shape> {
    let name = |inner: Layer| match (shape.layer, inner) {
        (Layer::SeparableConv2d((depthwise, _)), Layer::Conv2d(part)) if part == depthwise => "depthwise",
        (Layer::SeparableConv2d(_), _) => "pointwise",
        _ => "product",
    };
    let inner = inner_layers(context, shape.layer).into_iter();
    let inner = inner.map(|layer| Shape { id: format!("{} {}", shape.id, name(layer)), layer });
    let mut shapes: Vec<Shape> = inner.collect();
    shapes.push(shape);
    shapes
}

/// The table, and what it got it from.
struct Run<'a> {
    context: &'a Context,
    /// Whether to measure what the table has already.
    again: bool,
    table: Tuning,
    kept_at: PathBuf,
    rows: Vec<Row>,
}

/// A layer and what the table has for it.
struct Row {
    shape: Shape,
    fastest: Choice,
    /// None if an earlier run measured it.
    measured: Option<Tuned>,
}

/// How many times as long as the fastest the planner's own choice takes.
fn ratio(measured: &Tuned) -> f64 {
    measured.trials[0].milliseconds / measured.best.milliseconds
}

impl Run<'_> {
    /// Adds a row for a layer, measured and kept if it is not yet in the table.
    fn add(&mut self, shape: Shape) -> Outcome {
        let (layer, target) = (shape.layer, self.context.target());
        // A layer that was among the earlier ones is not measured twice.
        let is_new = || self.rows.iter().all(|row| row.measured.is_none() || row.shape.layer != layer);
        let kept = self.table.choice(&layer, target).filter(|_| !(self.again && is_new()));
        let (fastest, measured) = if let Some(choice) = kept {
            (choice, None)
        } else {
            // By the table, so that the layers in it are computed as was found fastest.
            let tuned = tune_blocking(&self.context.with_tuning(self.table.clone()), layer);
            let tuned = tuned.map_err(|error| Failure::from(error).within(&format!("shape {}", shape.id)))?;
            // Another run may have kept something meanwhile.
            self.table = cache::tuning(&self.context.adapter_info());
            self.table.insert(&layer, target, tuned.best.choice);
            self.kept_at = cache::keep_tuning(&self.table)?;
            (tuned.best.choice, Some(tuned))
        };
        self.rows.push(Row { shape, fastest, measured });
        Ok(())
    }
}

fn text_of(device: &str, rows: &[Row], kept_at: &str) -> String {
    let header = ["layer", "fastest", "ms", "default", "default ms", "default / fastest", "tried"];
    let mut table = table(&header, [2, 4, 5, 6]);
    for Row { shape, fastest, measured } in rows {
        let mut cells = vec![shape.id.clone(), fastest.to_string()];
        cells.extend(measured.as_ref().map_or(vec!["kept".to_owned()], |measured| {
            vec![
                format!("{:.3}", measured.best.milliseconds),
                measured.trials[0].choice.to_string(),
                format!("{:.3}", measured.trials[0].milliseconds),
                format!("{:.2}", ratio(measured)),
                measured.trials.len().to_string(),
            ]
        }));
        table.add_row(cells);
    }
    let measured: Vec<_> = rows.iter().filter_map(|row| Some((&row.shape.id, row.measured.as_ref()?))).collect();
    let mut lines = vec![format!("Device: {device}\n\n{table}\n")];
    if let Some((name, worst)) = measured.iter().max_by(|(_, a), (_, b)| ratio(a).total_cmp(&ratio(b))) {
        let worst = ratio(worst);
        lines.push(format!("The default takes at most {worst:.2} times as long as the fastest (at {name})."));
    }
    for (name, measured) in &measured {
        for trial in measured.trials.iter().filter(|trial| !trial.is_right()) {
            lines.push(format!("WRONG: {} at {name}, {} times what rounding allows", trial.choice, trial.error));
        }
    }
    lines.push(format!("Each result was compared with the reference before its time counted. Kept in {kept_at}"));
    lines.join("\n")
}
