//! `sepconv bench MODEL.onnx`: a whole network as a caller pays for it, and each of its layers by itself.

use std::time::Duration;

use sepconv::network::ReferenceLayer;
use sepconv::roofline::Roofline;
use sepconv::timing::{self, Spread};
use sepconv::{Context, Layer, Network};
use serde_json::{Value, json};

use crate::failure::{Failure, Outcome};
use crate::networks::{self, Given};
use crate::on_device::{self, OnDevice, megabytes};
use crate::output::{progress, table};
use crate::plan::kind;

/// For how long each layer is timed, and for how long the whole network.
const LAYER_BUDGET: Duration = Duration::from_millis(150);
const NETWORK_BUDGET: Duration = Duration::from_secs(3);

/// A layer of a network, timed by itself.
pub struct LayerRow {
    pub name: String,
    layer: Layer,
    kernel: String,
    /// Milliseconds, by the clock that knows the kernels best.
    pub median_ms: f64,
    /// The least milliseconds that the device's limits allow.
    floor_ms: f64,
    /// The largest error against the reference on the values that get there, as a multiple of its bound.
    error: f64,
}

/// A network, timed.
pub struct Timed {
    pub layers: Vec<LayerRow>,
    /// Upload, one submission, read-back, in milliseconds.
    caller: Spread,
    /// Recording to done, without upload and read-back.
    whole: Spread,
    /// Planning, compiling and the first run, once the model is read.
    first_ms: f64,
    steps: usize,
    weight_bytes: u64,
    workspace_bytes: u64,
}

/// Times a network and its layers, each compared with the reference before.
pub fn measure(context: &Context, network: &Network, given: &[Given], roofline: &Roofline) -> Outcome<Timed> {
    let (on_device, _, first_ms) = OnDevice::first_run(context, network, given)?;
    let layers = layers(context, network, given, roofline, on_device.plan.layers().len())?;
    let caller = on_device.times(NETWORK_BUDGET)?;
    let bound = std::slice::from_ref(on_device.bound());
    let whole = timing::measure_blocking(context, bound, NETWORK_BUDGET)?;
    Ok(Timed {
        layers,
        caller,
        whole: whole.best().0,
        first_ms,
        steps: on_device.plan.steps(),
        weight_bytes: on_device.plan.weight_bytes(),
        workspace_bytes: on_device.plan.workspace_bytes(),
    })
}

/// Each of so many layers on the values that get there.
fn layers(
    context: &Context,
    network: &Network,
    given: &[Given],
    roofline: &Roofline,
    count: usize,
) -> Outcome<Vec<LayerRow>> {
    let bar = progress(count);
    let mut rows = Vec::new();
    network.reference(&networks::inputs(given), |layer| {
        bar.set_message(layer.name.to_owned());
        rows.push(row(context, layer, roofline)?);
        bar.inc(1);
        Ok(())
    })?;
    bar.finish_and_clear();
    match rows.iter().find(|row| row.error.is_nan() || row.error > 1.0) {
        None => Ok(rows),
        Some(row) => {
            let message = format!("layer {}: its largest error is {} times the bound", row.name, row.error);
            Err(Failure::Computation(message))
        }
    }
}

fn row(context: &Context, layer: &ReferenceLayer<'_>, roofline: &Roofline) -> sepconv::Result<LayerRow> {
    let (plan, bound, error) = on_device::layer(context, layer)?;
    let timing = timing::measure_blocking(context, &[bound], LAYER_BUDGET)?;
    let values = layer.given.iter().map(|values| values.len() as u64).sum::<u64>() + layer.expected.values.len() as u64;
    Ok(LayerRow {
        name: layer.name.to_owned(),
        layer: *layer.layer,
        kernel: plan.kernel().to_owned(),
        median_ms: timing.best().0.median,
        floor_ms: 1e3 * roofline.floor(4 * values, layer.layer.multiply_adds()),
        error,
    })
}

impl Timed {
    fn sum_ms(&self) -> f64 {
        self.layers.iter().map(|layer| layer.median_ms).sum()
    }

    /// The table, under a heading that says what it was measured on.
    pub fn text(&self, heading: &str) -> String {
        let header = ["layer", "kind", "kernel", "ms", "share %", "floor ms", "error / bound"];
        let mut table = table(&header, 3..header.len());
        let sum = self.sum_ms();
        for layer in &self.layers {
            table.add_row([
                layer.name.clone(),
                kind(&layer.layer).to_owned(),
                layer.kernel.clone(),
                format!("{:.3}", layer.median_ms),
                format!("{:.1}", 100.0 * layer.median_ms / sum),
                format!("{:.3}", layer.floor_ms),
                format!("{:.3}", layer.error),
            ]);
        }
        let Spread { median, p10, p90, .. } = self.caller;
        [
            format!("{heading}\n\n{table}\n"),
            format!("A run, as a caller pays      {median:.2} ms (p10 {p10:.2}, p90 {p90:.2}): upload, one submission, read-back"),
            format!("The program by itself        {:.2} ms, {:.2} times the sum of its layers' own, {sum:.2} ms", self.whole.median, self.whole.median / sum),
            format!("The first run                {:.0} ms, with planning and compiling", self.first_ms),
            format!("Steps                        {}", self.steps),
            format!("Memory                       {} of weights, {} between layers", megabytes(self.weight_bytes), megabytes(self.workspace_bytes)),
            "Each layer was compared with the reference on the values that get there. Its floor is the larger of its\n\
             operations over the device's rate and its bytes over the device's bandwidth."
                .to_owned(),
        ]
        .join("\n")
    }

    pub fn json(&self) -> Value {
        let sum = self.sum_ms();
        json!({
            "network": {
                "median_ms": self.caller.median,
                "p10_ms": self.caller.p10,
                "p90_ms": self.caller.p90,
                "first_ms": self.first_ms,
                "program_ms": self.whole.median,
                "sum_of_layers_ms": sum,
                "steps": self.steps,
                "weight_bytes": self.weight_bytes,
                "workspace_bytes": self.workspace_bytes,
            },
            "layers": self.layers.iter().map(|layer| json!({
                "name": layer.name,
                "kind": kind(&layer.layer),
                "kernel": layer.kernel,
                "median_ms": layer.median_ms,
                "share_percent": 100.0 * layer.median_ms / sum,
                "floor_ms": layer.floor_ms,
                "error": layer.error,
            })).collect::<Vec<_>>(),
        })
    }
}
