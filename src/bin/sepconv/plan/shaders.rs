//! `sepconv plan --shapes FILE --wgsl DIR`: the shaders of layers, for a target and without any device.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use sepconv::unstable::{Planner, Step};
use sepconv::{Choice, DType, Error};
use serde_json::{Value, json};

use super::target;
use crate::failure::{Failure, Outcome};
use crate::files;
use crate::output::print;
use crate::shapes::Shape;
use crate::shapes_file;

/// What describes one layer or a model, or how it is planned for a device. Where one of these is given, clap asks for no
/// `--shapes`, so that each option says it.
const OF_ONE_LAYER: [&str; 11] = [
    "model",
    "input",
    "weight",
    "bias",
    "LayerOptions",
    "groups",
    "rounding",
    "kernel",
    "DeviceOption",
    "TuningOption",
    "json",
];

/// What is planned, for what, and where the shaders go.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Layers in the place of one layer's shapes, a JSON array as `sepconv bench` takes: writes their shaders, or prints
    /// what the model of GPUs predicts of them.
    #[arg(long, value_name = "FILE.json", requires = "made", conflicts_with_all = OF_ONE_LAYER)]
    pub shapes: Option<PathBuf>,
    /// What the shapes are planned for: `gpu`, `software`, and the GPUs that the model knows, such as `h100`, have WebGPU's
    /// default limits, and f16 in shaders; a file has limits and features as `sepconv devices --json` prints them of an
    /// adapter.
    #[arg(long, value_name = "TARGET", default_value = "gpu", requires = "shapes", conflicts_with_all = OF_ONE_LAYER)]
    pub target: String,
    /// `chosen`: the planner's choice; `all`: every kernel that supports a shape, in every variant.
    #[arg(long, value_name = "WHICH", default_value = "chosen", requires = "shapes", conflicts_with_all = OF_ONE_LAYER, value_parser = ["chosen", "all"], ignore_case = true)]
    kernels: String,
    /// The folder for the shaders and for `index.json`, which says which steps run each of them.
    #[arg(long, value_name = "DIR", group = "made", requires = "shapes", conflicts_with_all = OF_ONE_LAYER)]
    wgsl: Option<PathBuf>,
    /// Print how long each shape should take on a GPU by a model, which knows tensors of f32. That is no measurement.
    #[arg(long, group = "made", requires = "shapes", conflicts_with = "dtype", conflicts_with_all = OF_ONE_LAYER)]
    pub predicted: bool,
    /// A table as `sepconv tune --export` writes it: print what the model predicts of its choices, too.
    #[arg(long, value_name = "FILE.txt", requires = "predicted", conflicts_with = "wgsl")]
    pub beside: Option<PathBuf>,
}

/// The list of all steps, and what it is called.
const INDEX: &str = "index.json";

/// Plans the layers of `shapes`, and writes every shader of their steps and the index.
pub fn run(options: &Options, shapes: &Path, dtype: DType) -> Outcome {
    let target = &options.target;
    let mut named = target::named(target)?;
    if dtype == DType::F16 && !named.shader_f16 {
        return Err(Error::NoF16 { device: format!("--target {target}") }.into());
    }
    named.dtype = dtype;
    let planner = Planner::new(named);
    let layers = shapes_file::load(Some(shapes), 1)?;
    let mut shaders = Shaders::default();
    for shape in &layers {
        let failed = |error| Failure::from(error).within(&format!("--target {target}: shape {}", shape.id));
        let programs = if options.kernels.eq_ignore_ascii_case("all") {
            let choices = Choice::all(&shape.layer, planner.target()).into_iter().map(|(choice, _)| choice);
            choices.map(|choice| Ok((choice, planner.plan_with(&shape.layer, choice)?))).collect()
        } else {
            planner.planned(&shape.layer).map(|own| vec![own])
        };
        for (choice, program) in programs.map_err(failed)? {
            program.prepare.iter().chain(&program.steps).for_each(|step| shaders.add(shape, choice, step));
        }
    }
    let folder = options.wgsl.as_deref().unwrap_or(Path::new("."));
    shaders.write(folder, shapes)?;
    let (steps, count) = (shaders.index.len(), shaders.files.len());
    print(&format!("{} shapes, {steps} steps, {count} shaders in {}", layers.len(), folder.display()))
}

/// Shaders by their texts, and the steps that run them.
#[derive(Default)]
struct Shaders {
    /// From a text to the name of its file.
    files: HashMap<String, String>,
    /// How many texts a kernel has.
    counts: BTreeMap<&'static str, usize>,
    index: Vec<Value>,
}

impl Shaders {
    fn add(&mut self, shape: &Shape, choice: Choice, step: &Step) {
        let kernel = step.shader.name;
        let file = self.files.entry(step.wgsl()).or_insert_with(|| {
            let count = self.counts.entry(kernel).or_default();
            *count += 1;
            format!("{kernel}-{count}.wgsl")
        });
        self.index.push(json!({
            "id": shape.id,
            "candidate": choice.to_string(),
            "kernel": kernel,
            "constants": step.constants.iter().copied().collect::<BTreeMap<_, _>>(),
            "file": file,
            "entry": step.entry_point,
            "workgroup": step.workgroup(),
            "grid": step.grid,
        }));
    }

    /// Writes the shaders, and then the index, so that it names none that is not there. Refused is a place where one of
    /// them cannot be, before any is written.
    fn write(&self, folder: &Path, shapes: &Path) -> Outcome {
        fs::create_dir_all(folder)
            .map_err(|error| Failure::Request(format!("--wgsl {}: {error}", folder.display())))?;
        let names = self.files.values().map(String::as_str).chain([INDEX]);
        names.map(|name| folder.join(name)).try_for_each(|path| files::check_place("--wgsl", &path, &[shapes]))?;
        for (text, name) in &self.files {
            files::write_whole("--wgsl", &folder.join(name), text.as_bytes())?;
        }
        // One step in each line.
        let lines: Vec<String> = self.index.iter().map(Value::to_string).collect();
        files::write_whole("--wgsl", &folder.join(INDEX), format!("[\n{}\n]\n", lines.join(",\n")).as_bytes())
    }
}
