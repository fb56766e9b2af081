//! `sepconv bench MODEL.onnx`: a whole network as a caller pays for it, and each of its layers and their steps by itself.

use sepconv::roofline::Roofline;
use sepconv::timing::Spread;
use sepconv::unstable::{Array, Profile};
use sepconv::{Context, Network};
use serde_json::{Value, json};

use crate::failure::{Failure, Outcome};
use crate::on_device::megabytes;
use crate::output::{progress, shown, table};

/// Times a network and its layers. One that is wrong is a failure.
pub fn measure(context: &Context, network: &Network, given: &[Array], roofline: &Roofline) -> Outcome<Profile> {
    let bar = progress(1);
    let profile = Profile::measure(context, network, given, roofline, &shown(&bar))?;
    bar.finish_and_clear();
    match profile.wrong() {
        None => Ok(profile),
        Some(layer) => {
            let message = format!("layer {}: its largest error is {} times the bound", layer.name, layer.error);
            Err(Failure::Computation(message))
        }
    }
}

/// The table, under a heading that says what it was measured on.
pub fn text(profile: &Profile, heading: &str) -> String {
    let header = ["layer", "kind", "kernel", "ms", "share %", "floor ms", "error / bound"];
    let mut table = table(&header, 3..header.len());
    let sum = profile.sum_ms();
    for layer in &profile.layers {
        table.add_row([
            layer.name.clone(),
            layer.layer.kind().to_owned(),
            layer.kernel.clone(),
            format!("{:.3}", layer.median_ms),
            format!("{:.1}", 100.0 * layer.median_ms / sum),
            format!("{:.3}", layer.floor_ms),
            format!("{:.3}", layer.error),
        ]);
        for step in &layer.steps {
            let share = format!("{:.1}", 100.0 * step.median_ms / sum);
            table.add_row([
                String::new(),
                "  step".to_owned(),
                step.name.clone(),
                format!("{:.3}", step.median_ms),
                share,
            ]);
        }
    }
    let Spread { median, p10, p90, .. } = profile.caller;
    [
            format!("{heading}\n\n{table}\n"),
            format!("A run, as a caller pays      {median:.2} ms (p10 {p10:.2}, p90 {p90:.2}): upload, one submission, read-back"),
            format!("The program by itself        {:.2} ms, {:.2} times the sum of its layers' own, {sum:.2} ms", profile.whole.median, profile.whole.median / sum),
            format!("The first run                {:.0} ms, with planning and compiling", profile.first_ms),
            format!("Steps                        {}", profile.steps),
            format!("Memory                       {} of weights, {} between layers", megabytes(profile.weight_bytes), megabytes(profile.workspace_bytes)),
            "Each layer was compared with the reference on the values that get there. Its floor is the larger of its\n\
             operations over the device's rate and its bytes over the device's bandwidth. Under a layer of several steps\n\
             stands each of them, timed by itself."
                .to_owned(),
        ]
        .join("\n")
}

/// All of it.
pub fn json(profile: &Profile) -> Value {
    let sum = profile.sum_ms();
    json!({
        "network": {
            "median_ms": profile.caller.median,
            "p10_ms": profile.caller.p10,
            "p90_ms": profile.caller.p90,
            "first_ms": profile.first_ms,
            "program_ms": profile.whole.median,
            "sum_of_layers_ms": sum,
            "steps": profile.steps,
            "weight_bytes": profile.weight_bytes,
            "workspace_bytes": profile.workspace_bytes,
        },
        "layers": profile.layers.iter().map(|layer| json!({
            "name": layer.name,
            "kind": layer.layer.kind(),
            "kernel": layer.kernel,
            "median_ms": layer.median_ms,
            "share_percent": 100.0 * layer.median_ms / sum,
            "floor_ms": layer.floor_ms,
            "error": layer.error,
            "steps": layer.steps.iter().map(|step| json!({
                "name": step.name,
                "median_ms": step.median_ms,
                "share_percent": 100.0 * step.median_ms / sum,
            })).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
    })
}
