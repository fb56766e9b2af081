//! `sepconv tune`: measures which kernel computes each layer fastest on this device, and whether a separable layer is
//! faster in one dispatch, and keeps it.

use std::path::PathBuf;

use comfy_table::{CellAlignment, Table, presets};
use sepconv::tune::{Trial, Tuned, tune_blocking, tune_separable_blocking};
use sepconv::{Context, Tunable, Tuning};

use crate::arguments::{self, DeviceOption};
use crate::cache;
use crate::device::Device;
use crate::failure::{Failure, Outcome};
use crate::files;
use crate::output::{print, progress};
use crate::shapes::{self, Layer, Shape};

/// What `tune` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  sepconv tune
  sepconv tune --shapes layers.json --export my-gpu.txt

Shapes are those of `sepconv bench`. The two parts of a separable layer are tuned as layers of their own, and then the
whole of it: `chained`, which is its two parts as they were found fastest, against each kernel that computes it in one
dispatch. The table is kept in the folder that SEPCONV_CACHE names, or else in the user's cache folder; `conv`,
`separable`, `compare`, `bench` and `plan` go by it unless --no-tune is given. A program can ship an exported table: see
sepconv::Tuning.")]
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
    let shapes = shapes::load(arguments.shapes.as_deref(), arguments.batch)?.into_iter();
    let shapes = shapes.map(Shape::with_parts).collect::<Outcome<Vec<_>>>()?.into_iter().flatten();
    let shapes: Vec<Shape> = shapes.collect();
    if let Some(path) = &arguments.export {
        files::place("--export", path)?;
    }
    let Device::Adapter(context) = Device::open(arguments.device.device.as_deref(), false)? else {
        let message = "tune measures an adapter, and there is none (or --device is cpu): see `sepconv devices`";
        return Err(Failure::Request(message.to_owned()));
    };
    let table = context.tuning().clone();
    // Before anything is measured, so that nothing is measured in vain.
    let kept_at = cache::keep_tuning(&table)?;
    let mut run = Run { context: &context, again: arguments.again, table, kept_at, rows: Vec::new() };

    let progress = progress(shapes.len());
    for Shape { id, input, layer } in shapes {
        progress.set_message(id.clone());
        match layer {
            Layer::Normal(layer) => {
                run.add(id, &layer.geometry(input)?, |context| tune_blocking(context, &layer, input))?;
            }
            Layer::Separable(layer) => {
                run.add(id, &layer.geometry(input)?, |context| tune_separable_blocking(context, &layer, input))?;
            }
        }
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
    name: String,
    /// What the table knows it by.
    layer: String,
    fastest: String,
    /// None if an earlier run measured it.
    measured: Option<Measured>,
}

/// What was tried for a layer, the planner's own choice first.
struct Measured {
    best: Trial<String>,
    trials: Vec<Trial<String>>,
}

impl Measured {
    /// How many times as long as the fastest the planner's own choice takes.
    fn ratio(&self) -> f64 {
        self.trials[0].milliseconds / self.best.milliseconds
    }
}

impl Run<'_> {
    /// Adds a row for a layer, measured and kept if it is not yet in the table.
    fn add<Sizes: Tunable>(
        &mut self,
        name: String,
        sizes: &Sizes,
        measure: impl FnOnce(&Context) -> sepconv::Result<Tuned<Sizes>>,
    ) -> Outcome {
        let (layer, target) = (sizes.text(), self.context.target());
        // A layer that was among the earlier ones is not measured twice.
        let is_new = || self.rows.iter().all(|row| row.measured.is_none() || row.layer != layer);
        let kept = self.table.choice(sizes, target).filter(|_| !(self.again && is_new()));
        let (choice, measured) = if let Some(choice) = kept {
            (choice, None)
        } else {
            // By the table, so that a separable layer is chained of the parts that were found fastest.
            let tuned = measure(&self.context.with_tuning(self.table.clone()));
            let Tuned { best, trials, .. } =
                tuned.map_err(|error| Failure::from(error).within(&format!("shape {name}")))?;
            // Another run may have kept something meanwhile.
            self.table = cache::tuning(&self.context.adapter_info());
            self.table.insert(sizes, target, best.choice);
            self.kept_at = cache::keep_tuning(&self.table)?;
            let measured = Measured { best: named(best), trials: trials.into_iter().map(named).collect() };
            (best.choice, Some(measured))
        };
        self.rows.push(Row { name, layer, fastest: choice.to_string(), measured });
        Ok(())
    }
}

fn named(Trial { choice, error, milliseconds }: Trial<impl ToString>) -> Trial<String> {
    Trial { choice: choice.to_string(), error, milliseconds }
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
    for Row { name, fastest, measured, .. } in rows {
        let mut cells = vec![name.clone(), fastest.clone()];
        cells.extend(measured.as_ref().map_or(vec!["kept".to_owned()], |measured| {
            vec![
                format!("{:.3}", measured.best.milliseconds),
                measured.trials[0].choice.clone(),
                format!("{:.3}", measured.trials[0].milliseconds),
                format!("{:.2}", measured.ratio()),
                measured.trials.len().to_string(),
            ]
        }));
        table.add_row(cells);
    }
    for column in [2, 4, 5, 6] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let measured: Vec<_> = rows.iter().filter_map(|row| Some((&row.name, row.measured.as_ref()?))).collect();
    let mut lines = vec![format!("Device: {device}\n\n{table}\n")];
    if let Some((name, worst)) = measured.iter().max_by(|(_, a), (_, b)| a.ratio().total_cmp(&b.ratio())) {
        let worst = worst.ratio();
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
