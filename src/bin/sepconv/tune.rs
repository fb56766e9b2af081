//! `sepconv tune`: measures which kernel computes each layer fastest on this device, and keeps it.

use std::path::PathBuf;

use comfy_table::{CellAlignment, Table, presets};
use sepconv::Choice;
use sepconv::tune::{Tuned, tune_blocking};

use crate::arguments::{self, DeviceOption};
use crate::cache;
use crate::device::Device;
use crate::failure::{Failure, Outcome};
use crate::files;
use crate::output::{print, progress};
use crate::shapes;

/// What `tune` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  sepconv tune
  sepconv tune --shapes layers.json --export my-gpu.txt

Shapes are those of `sepconv bench`. The two parts of a separable layer are tuned as layers of their own, which counts
where they are two dispatches. The table is kept in the folder that SEPCONV_CACHE names, or else in the user's
cache folder; `conv`, `separable`, `compare`, `bench` and `plan` go by it unless --no-tune is given. A program can ship
an exported table: see sepconv::Tuning.")]
pub struct Arguments {
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
    device: DeviceOption,
}

/// Runs it.
pub fn run(arguments: &Arguments) -> Outcome {
    let shapes = shapes::load(arguments.shapes.as_deref(), arguments.batch)?;
    let layers = shapes.iter().map(shapes::Shape::layers).collect::<Outcome<Vec<_>>>()?.concat();
    if let Some(path) = &arguments.export {
        files::place("--export", path)?;
    }
    let Device::Adapter(context) = Device::open(arguments.device.device.as_deref(), false)? else {
        let message = "tune measures an adapter, and there is none (or --device is cpu): see `sepconv devices`";
        return Err(Failure::Request(message.to_owned()));
    };
    let mut table = context.tuning().clone();
    // Before anything is measured, so that nothing is measured in vain.
    let mut kept_at = cache::keep_tuning(&table)?;

    let progress = progress(layers.len());
    let mut rows = Vec::new();
    for (name, layer, input_shape) in layers {
        progress.set_message(name.clone());
        let geometry = layer.geometry(input_shape)?;
        // A layer that was among the earlier ones is not measured twice.
        let is_new = || rows.iter().all(|row: &Row| row.tuned.as_ref().is_none_or(|tuned| tuned.geometry != geometry));
        let kept = table.choice(&geometry, context.target()).filter(|_| !(arguments.again && is_new()));
        rows.push(if let Some(choice) = kept {
            Row { name, choice, tuned: None }
        } else {
            let tuned = tune_blocking(&context, &layer, input_shape)?;
            let choice = tuned.best.choice;
            // Another run may have kept something meanwhile.
            table = cache::tuning(&context.adapter_info());
            table.insert(&geometry, context.target(), choice);
            kept_at = cache::keep_tuning(&table)?;
            Row { name, choice, tuned: Some(tuned) }
        });
        progress.inc(1);
    }
    progress.finish_and_clear();
    cache::keep_pipelines(&context);
    if let Some(path) = &arguments.export {
        files::write_whole("--export", path, table.to_string().as_bytes())?;
    }
    print(&text_of(&Device::Adapter(context).to_string(), &rows, &kept_at.display().to_string()))
}

/// A layer and what the table has for it.
struct Row {
    name: String,
    choice: Choice,
    /// None if an earlier run measured it.
    tuned: Option<Tuned>,
}

fn text_of(device: &str, rows: &[Row], kept_at: &str) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header([
        "layer",
        "fastest",
        "ms",
        "default",
        "default ms",
        "default / fastest",
        "tried",
    ]);
    for Row { name, choice, tuned } in rows {
        let mut cells = vec![name.clone(), choice.to_string()];
        cells.extend(tuned.as_ref().map_or(vec!["kept".to_owned()], |tuned| {
            vec![
                format!("{:.3}", tuned.best.milliseconds),
                tuned.trials[0].choice.to_string(),
                format!("{:.3}", tuned.trials[0].milliseconds),
                format!("{:.2}", ratio(tuned)),
                tuned.trials.len().to_string(),
            ]
        }));
        table.add_row(cells);
    }
    for column in [2, 4, 5, 6] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let measured: Vec<_> = rows.iter().filter_map(|row| Some((&row.name, row.tuned.as_ref()?))).collect();
    let mut lines = vec![format!("Device: {device}\n\n{table}\n")];
    if let Some((name, worst)) = measured.iter().max_by(|(_, a), (_, b)| ratio(a).total_cmp(&ratio(b))) {
        let worst = ratio(worst);
        lines.push(format!("The default takes at most {worst:.2} times as long as the fastest (at {name})."));
    }
    for (name, tuned) in &measured {
        for trial in tuned.trials.iter().filter(|trial| !trial.is_right()) {
            lines.push(format!("WRONG: {} at {name}, {} times what rounding allows", trial.choice, trial.error));
        }
    }
    lines.push(format!("Each result was compared with the reference before its time counted. Kept in {kept_at}"));
    lines.join("\n")
}

/// How many times as long as the fastest the planner's own choice takes.
fn ratio(tuned: &Tuned) -> f64 {
    tuned.trials[0].milliseconds / tuned.best.milliseconds
}
