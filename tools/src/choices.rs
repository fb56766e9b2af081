//! The planner's choices beside what was measured: a file of `sepconv bench --kernels variants --json` has the times of every
//! variant that a layer has on a GPU, so it says how long the choice took, and how long the fastest.

use std::path::Path;

use sepconv::unstable::{Gpu, Planner};
use sepconv::{Choice, Conv2d, Layer, SeparableConv2d, Target};
use serde_json::Value;

use crate::Outcome;

/// A layer that was measured in every variant.
#[derive(Debug)]
pub struct Measured {
    /// The layer's name.
    pub id: String,
    /// The planner's choice for it: the kernel and the constants in which its variants differ.
    pub chosen: String,
    /// The microseconds that the model predicts for it.
    pub predicted: f64,
    /// Those that it took.
    pub took: f64,
    /// The fastest, and those that it took.
    pub fastest: (String, f64),
    /// Of each variant with a prediction, the measured time over it.
    pub ratios: Vec<f64>,
}

/// Kernels that were made anew since they were measured, on the day that the result's name has: these times are not theirs.
const MADE_ANEW: [(&str, &str); 2] = [("2026-11-26", "depthwise_fours"), ("2026-11-26", "depthwise_columns")];

/// The layers of a file of measurements, with what the planner chooses for this GPU. Of a file of layers, the convolutions and
/// separable layers whose sizes are numbers are taken.
///
/// # Errors
/// If a file cannot be read, or has no time of a choice.
pub fn measured(gpu: &str, shapes: &Path, path: &Path) -> Outcome<Vec<Measured>> {
    let gpu = Gpu::by_name(gpu).ok_or_else(|| format!("{gpu} is not in the model's table"))?;
    let (shapes, results) = (read(shapes)?, read(path)?);
    let limits = results["limits"].as_object().ok_or("the result has no limits")?;
    let limit = |name: &str| limits.get(name).and_then(Value::as_u64).and_then(|limit| u32::try_from(limit).ok());
    let own = sepconv::wgpu::Limits::default();
    let target = Target::from(sepconv::wgpu::Limits {
        max_compute_invocations_per_workgroup: limit("max_compute_invocations_per_workgroup")
            .unwrap_or(own.max_compute_invocations_per_workgroup),
        max_compute_workgroup_storage_size: limit("max_compute_workgroup_storage_size")
            .unwrap_or(own.max_compute_workgroup_storage_size),
        max_storage_buffer_binding_size: 1 << 30,
        max_buffer_size: 1 << 32,
        ..own
    });
    let planner = Planner::new(target.taken_for(gpu));
    let rows = results["rows"].as_array().ok_or("the result has no rows")?;
    let is_as_now = |row: &&Value| {
        let kernel = row["kernel"].as_str().unwrap_or_default();
        !MADE_ANEW.iter().any(|(day, name)| path.to_string_lossy().contains(day) && kernel.contains(name))
    };
    let rows: Vec<&Value> = rows.iter().filter(is_as_now).collect();
    let layers = shapes.as_array().ok_or("the shapes are no array")?.iter().filter_map(|shape| {
        let id = shape["id"].as_str()?;
        let of_layer: Vec<&Value> = rows.iter().copied().filter(|row| row["id"] == id).collect();
        let batch = of_layer.first()?["input_shape"][0].as_u64()?;
        Some((id, layer(shape, u32::try_from(batch).ok()?)?, of_layer))
    });
    layers.map(|(id, layer, rows)| compare(&planner, id, &layer, &rows)).collect()
}

fn read(path: &Path) -> Outcome<Value> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// None for a layer of another kind.
fn layer(shape: &Value, batch: u32) -> Option<Layer> {
    let number = |key: &str, default: u32| match &shape[key] {
        Value::Null => Some(default),
        value => value.as_u64().and_then(|number| u32::try_from(number).ok()),
    };
    let (channels, out_channels, kernel_size) = (number("c", 1)?, number("oc", 1)?, number("k", 1)?);
    let (stride, padding, dilation) = (number("s", 1)?, number("p", 0)?, number("d", 1)?);
    let input = [batch, channels, number("h", 1)?, number("w", 1)?];
    if shape["kind"] == "conv" {
        let layer = Conv2d::new(channels, out_channels, kernel_size).groups(number("g", 1)?);
        layer.stride(stride).padding(padding).dilation(dilation).geometry(input).ok().map(Layer::from)
    } else if shape["kind"] == "sep" {
        let layer = SeparableConv2d::new(channels, out_channels, kernel_size).stride(stride).padding(padding);
        layer.geometry(input).ok().map(Layer::from)
    } else {
        None
    }
}

/// The planner's choice beside the fastest of these rows.
fn compare(planner: &Planner, id: &str, layer: &Layer, rows: &[&Value]) -> Outcome<Measured> {
    let own = planner.choice(layer).map_err(|error| format!("{id}: {error}"))?;
    let (mut chosen, mut ratios) = (None, Vec::new());
    for (choice, _) in Choice::all(layer, planner.target()) {
        // Of a chained layer only the kernels of its parts are known, not their variants.
        if choice.kernel.name == "chained" {
            continue;
        }
        let Ok(program) = planner.plan_with(layer, choice) else { continue };
        let label = label(&program.kernel, &planner.variant_text(layer, choice));
        let Some(took) = rows.iter().find(|row| self::label_of(row) == label).and_then(|row| microseconds(row)) else {
            continue;
        };
        let Some(predicted) = planner.predicted(layer, choice).map(|seconds| 1e6 * seconds) else { continue };
        ratios.push(took / predicted);
        if choice == own {
            chosen = Some((label, predicted, took));
        }
    }
    let times = rows.iter().filter_map(|row| Some((label_of(row), microseconds(row)?)));
    // What has to be asked for is never chosen.
    let fastest = times.filter(|(label, _)| !label.starts_with("winograd_4x4")).min_by(|(_, a), (_, b)| a.total_cmp(b));
    let fastest = fastest.ok_or_else(|| format!("{id}: it has no times"))?;
    let (chosen, predicted, took) = chosen.unwrap_or_else(|| {
        let predicted = planner.predicted(layer, own).map_or(f64::NAN, |seconds| 1e6 * seconds);
        (format!("{own}, not measured"), predicted, f64::NAN)
    });
    Ok(Measured { id: id.to_owned(), chosen, predicted, took, fastest, ratios })
}

fn microseconds(row: &Value) -> Option<f64> {
    Some(1e3 * row["gpu_ms"].as_f64()?)
}

fn label_of(row: &Value) -> String {
    label(row["kernel"].as_str().unwrap_or_default(), row["variant"].as_str().unwrap_or_default())
}

fn label(kernel: &str, constants: &str) -> String {
    format!("{kernel} {constants}").trim_end().to_owned()
}

/// The geometric mean of numbers above 0.
#[must_use]
pub fn geometric_mean(numbers: &[f64]) -> f64 {
    (numbers.iter().map(|number| number.ln()).sum::<f64>() / numbers.len() as f64).exp()
}
