//! What is measured of a network: its profile, a table of the fastest kernels, and its separable form.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use sepconv::roofline::Roofline;
use sepconv::tune::{inner_layers, tune_blocking};
use sepconv::unstable::separation::{Goal, Run, Sample, Whole, measure};
use sepconv::unstable::{Array, Profile, separate as file};
use sepconv::{Layer, Network, Result};

use crate::array::{Floats, shape, values};
use crate::device::Context;
use crate::error::raised;

/// Inputs by their names.
type Feed<'py> = Vec<(String, Floats<'py>)>;

fn arrays(feed: &Feed<'_>) -> PyResult<Vec<Array>> {
    let array = |(name, floats): &(String, Floats<'_>)| {
        Ok(Array { name: name.clone(), shape: shape(name, floats)?, values: values(name, floats)?.to_vec() })
    };
    feed.iter().map(array).collect()
}

/// Nobody is told.
fn silent(_: &str, _: usize, _: usize) {}

/// A layer's name, kind, kernel, milliseconds, floor in milliseconds, and error as a multiple of its bound.
type LayerTime = (String, &'static str, String, f64, f64, f64);

/// The layers; the milliseconds of a run as a caller pays for it, of the program by itself, and of the first run; steps; bytes of
/// weights, and of what lies between layers.
pub type NetworkTime = (Vec<LayerTime>, f64, f64, f64, usize, u64, u64);

/// Times a network on these inputs, and each of its layers on the values that get there.
pub fn profile(
    py: Python<'_>,
    context: &sepconv::Context,
    network: &Network,
    feed: &Feed<'_>,
) -> PyResult<NetworkTime> {
    let given = arrays(feed)?;
    let measure = || {
        let roofline = Roofline::measure_blocking(context)?;
        Profile::measure(context, network, &given, &roofline, &silent)
    };
    let profile: Profile = py.detach(measure).map_err(raised)?;
    let Profile { layers, caller, whole, first_ms, steps, weight_bytes, workspace_bytes, .. } = profile;
    let layers = layers.into_iter().map(|row| {
        let kind = row.layer.kind();
        (row.name, kind, row.kernel, row.median_ms, row.floor_ms, row.error)
    });
    Ok((layers.collect(), caller.median, whole.median, first_ms, steps, weight_bytes, workspace_bytes))
}

/// A table of which kernel computes each layer of a network fastest on this device, as text.
#[pyfunction]
pub fn tune(py: Python<'_>, context: &Context, model: &[u8], shapes: Vec<(String, Vec<u32>)>) -> PyResult<String> {
    let context = context.get()?;
    let network = Network::from_onnx(model).map_err(raised)?;
    let shapes: Vec<(&str, &[u32])> = shapes.iter().map(|(name, shape)| (name.as_str(), &shape[..])).collect();
    let mut layers: Vec<Layer> = Vec::new();
    for (_, layer) in network.layers(&shapes).map_err(raised)? {
        for layer in inner_layers(context, layer).into_iter().chain([layer]) {
            if layers.iter().all(|other| other.text() != layer.text()) {
                layers.push(layer);
            }
        }
    }
    let mut table = context.tuning().clone();
    for layer in layers {
        // Whoever waits may have had enough.
        py.check_signals()?;
        let tuned = py.detach(|| tune_blocking(&context.with_tuning(table.clone()), layer)).map_err(raised)?;
        table.insert(&layer, context.target(), tuned.best.choice);
    }
    Ok(table.to_string())
}

/// The file of a network with separable layers in the place of normal ones, the names of those with their numbers of filters,
/// the error, and the milliseconds before and after; None if no setting that fits is faster.
type Separated = Option<(Vec<u8>, Vec<(String, u32)>, f64, f64, f64)>;

/// Puts separable layers in the place of normal ones, fitted to the samples if `is_calibrated`.
#[pyfunction]
pub fn separate(
    py: Python<'_>,
    context: &Context,
    model: &[u8],
    samples: Vec<Feed<'_>>,
    is_calibrated: bool,
    max_error: Option<f64>,
    speed_up: Option<f64>,
) -> PyResult<Separated> {
    let context = context.get()?;
    let given: Vec<Vec<Array>> = samples.iter().map(arrays).collect::<PyResult<_>>()?;
    let samples: Vec<Sample> = given.into_iter().map(|given| Sample { given, truth: None }).collect();
    let goal = match (max_error, speed_up) {
        (_, Some(times)) => Goal::SpeedUp(times),
        (error, None) => Goal::MaxError(error.unwrap_or(0.01)),
    };
    let network = Network::from_onnx(model).map_err(raised)?;
    let convolutions = file::convolutions(model).map_err(raised)?;
    if convolutions.normal.is_empty() {
        let others = convolutions.others.iter().map(|(name, reason)| format!("{name}: {reason}"));
        let reasons = others.collect::<Vec<_>>().join("; ");
        return Err(PyValueError::new_err(format!("the model has no layer to change: {reasons}")));
    }
    let run = || -> Result<Separated> {
        let normal = &convolutions.normal;
        let (measured, _) = measure(context, &network, normal, &samples, is_calibrated, &silent)?;
        let whole = Whole::new(context, &network, &samples, None)?;
        let fit = is_calibrated.then_some(&samples[..]);
        let run = Run { context, network: &network, bytes: model, measured: &measured, whole: &whole, goal, fit };
        let mut curve = run.curve(&silent)?;
        let before = curve.points[0].milliseconds;
        let Some(chosen) = curve.chosen else { return Ok(None) };
        let point = curve.points.swap_remove(chosen);
        let changed = measured.iter().zip(&point.setting).filter_map(|(measured, form)| {
            let separated = &measured.forms[(*form)?].separated;
            Some((measured.layer.name.clone(), separated.depth_multiplier))
        });
        let changed = changed.collect();
        Ok(Some((point.file, changed, point.fidelity.error, before, point.milliseconds)))
    };
    py.detach(run).map_err(raised)
}
