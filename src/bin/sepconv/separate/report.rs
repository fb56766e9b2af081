//! What `separate` prints.

use std::path::Path;

use comfy_table::Table;
use sepconv::unstable::separation::{Candidate, Curve, Fidelity, Form, Goal, Measured, Point};
use serde_json::{Value, json};

use crate::failure::{Failure, Outcome};
use crate::output::table;

/// Everything that was measured.
pub struct Report<'a> {
    pub device: String,
    pub measured: &'a [Measured<'a>],
    /// Convolutions that stay as they are, and why.
    pub others: Vec<(String, String)>,
    /// Of its points the chosen one is written.
    pub curve: Curve,
    pub goal: Goal,
    pub is_calibrated: bool,
}

impl Report<'_> {
    /// How many times as fast as the original a point is.
    pub fn speed_up(&self, point: &Point) -> f64 {
        self.curve.points[0].milliseconds / point.milliseconds
    }

    /// How much nearer to the true pictures the original is, in dB.
    pub fn decibels_lost(&self, point: &Point) -> Option<f64> {
        Some(self.curve.points[0].fidelity.psnr_to_truth? - point.fidelity.psnr_to_truth?)
    }

    pub fn text(&self, out: &Path) -> String {
        let layers = if self.is_calibrated {
            "Each layer that could change, on this device: its time and, for each number T of filters for a channel, time and \
             error of the separable form. Errors are those of the layer's outputs on the inputs of --calibrate."
        } else {
            "Each layer that could change, on this device: its time and, for each number T of filters for a channel, time and \
             error of the separable form. Errors are those of the weights."
        };
        let curve = if self.is_calibrated {
            "Error against time of the whole network. The error is that of its outputs, as a part of them."
        } else {
            "Error against time of the whole network, on random values, which say little about real ones."
        };
        let mut lines = vec![format!("Device: {}\n\n{layers}\n\n{}\n", self.device, self.layers())];
        if !self.others.is_empty() {
            lines.push("These stay as they are:".to_owned());
            lines.extend(self.others.iter().map(|(name, reason)| format!("  {name}: {reason}")));
            lines.push(String::new());
        }
        lines.push(format!("{curve}\n\n{}\n", self.curve()));
        if let Some(chosen) = self.curve.chosen {
            let point = &self.curve.points[chosen];
            let Fidelity { error, largest_difference, rms_difference, .. } = point.fidelity;
            lines.push(format!("Written: {}, marked *. {}", out.display(), self.changed(point)));
            lines.push(format!(
                "Beside the original, on the same inputs: {:.2} ms instead of {:.2} ms, {:.2} times as fast; \
                 largest difference {largest_difference:.4}, root of the mean square {rms_difference:.5}, error {:.3} %.",
                point.milliseconds,
                self.curve.points[0].milliseconds,
                self.speed_up(point),
                100.0 * error
            ));
            if let Some(psnr) = point.fidelity.psnr {
                lines.push(format!("Its pictures differ from the original's by a PSNR of {psnr:.2} dB."));
            }
            if let (Some(own), Some(original), Some(lost)) =
                (point.fidelity.psnr_to_truth, self.curve.points[0].fidelity.psnr_to_truth, self.decibels_lost(point))
            {
                lines.push(format!(
                    "To the true pictures it has {own:.2} dB, the original {original:.2} dB: {lost:.2} dB lost."
                ));
            }
        }
        lines.join("\n")
    }

    /// Which layers a point changed.
    fn changed(&self, point: &Point) -> String {
        let changed = self.measured.iter().zip(&point.setting);
        let changed = changed.filter_map(|(measured, form)| {
            Some(format!("{} (T = {})", measured.layer.name, measured.forms[(*form)?].separated.depth_multiplier))
        });
        let changed: Vec<String> = changed.collect();
        format!("{} of {} layers are separable: {}.", changed.len(), self.measured.len(), changed.join(", "))
    }

    fn layers(&self) -> Table {
        let most = self.measured.iter().map(|measured| measured.forms.len()).max().unwrap_or(0);
        let mut header = vec!["layer".to_owned(), "sizes".to_owned(), "ms".to_owned()];
        header.extend((1..=most).map(|multiplier| format!("T = {multiplier}")));
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        let mut table = table(&header, 2..header.len());
        for measured in self.measured {
            let g = &measured.geometry;
            let mut cells = vec![
                measured.layer.name.clone(),
                format!("{} to {}, {} x {}", g.in_channels, g.out_channels, g.kernel_size.height, g.kernel_size.width),
                format!("{:.2}", measured.milliseconds),
            ];
            let form = |form: &Form| format!("{:.2}, {:.1} %", form.milliseconds, 100.0 * form.separated.error);
            cells.extend(measured.forms.iter().map(form));
            cells.resize(header.len(), String::new());
            table.add_row(cells);
        }
        table
    }

    fn curve(&self) -> Table {
        let has = |value: fn(&Fidelity) -> Option<f64>| value(&self.curve.points[0].fidelity).is_some();
        let has_psnr = has(|fidelity| fidelity.psnr);
        let has_truth = has(|fidelity| fidelity.psnr_to_truth);
        let mut header = vec!["", "separable layers", "ms", "speed-up", "error"];
        if has_psnr {
            header.push("dB to the original");
        }
        if has_truth {
            header.extend(["dB to the truth", "dB lost"]);
        }
        let mut table = table(&header, 1..header.len());
        for (index, point) in self.curve.points.iter().enumerate() {
            let mut cells = vec![
                if self.curve.chosen == Some(index) { "*".to_owned() } else { String::new() },
                point.setting.iter().flatten().count().to_string(),
                format!("{:.2}", point.milliseconds),
                format!("{:.2}", self.speed_up(point)),
                format!("{:.3} %", 100.0 * point.fidelity.error),
            ];
            let decibels = |value: Option<f64>| match value {
                Some(value) if value.is_finite() => format!("{value:.2}"),
                _ => "-".to_owned(),
            };
            if has_psnr {
                cells.push(decibels(point.fidelity.psnr));
            }
            if has_truth {
                cells.extend([decibels(point.fidelity.psnr_to_truth), decibels(self.decibels_lost(point))]);
            }
            table.add_row(cells);
        }
        table
    }

    /// Whether something was written, or why not.
    pub fn outcome(&self, out: &Path) -> Outcome {
        if self.curve.chosen.is_some() {
            return Ok(());
        }
        let fastest = self.curve.points.iter().map(|point| self.speed_up(point)).fold(0.0, f64::max);
        let why = match self.goal {
            _ if self.curve.points.len() == 1
                && self.measured.iter().all(|measured| measured.least() >= measured.milliseconds) =>
            {
                "nothing is gained: on this device every layer is as fast as it is".to_owned()
            }
            Goal::MaxError(most) => format!("nothing is gained within --max-error {most}"),
            Goal::SpeedUp(times) => format!("--speed-up is {times}; the fastest setting is {fastest:.2} times as fast"),
        };
        Err(Failure::Computation(format!("{} is not written: {why}", out.display())))
    }

    pub fn json(&self) -> Value {
        let setting = |point: &Point| {
            let ways = self.measured.iter().zip(&point.setting);
            let ways = ways.filter_map(|(measured, form)| {
                Some((measured.layer.name.clone(), json!(measured.forms[(*form)?].separated.depth_multiplier)))
            });
            ways.collect::<serde_json::Map<String, Value>>()
        };
        let point = |point: &Point| {
            json!({
                "depth_multipliers": setting(point),
                "milliseconds": point.milliseconds,
                "speed_up": self.speed_up(point),
                "layers_milliseconds": point.estimate,
                "error": point.fidelity.error,
                "largest_difference": point.fidelity.largest_difference,
                "rms_difference": point.fidelity.rms_difference,
                "psnr": point.fidelity.psnr.filter(|psnr| psnr.is_finite()),
                "psnr_to_truth": point.fidelity.psnr_to_truth,
                "decibels_lost": self.decibels_lost(point),
            })
        };
        let layer = |(measured, candidate): (&Measured<'_>, &Candidate)| {
            json!({
                "name": measured.layer.name,
                "input_shape": measured.geometry.input_shape(),
                "weight_shape": measured.geometry.weight_shape(),
                "fitted": measured.is_fitted,
                "milliseconds": measured.milliseconds,
                "forms": measured.forms.iter().zip(&candidate.ways).map(|(form, way)| json!({
                    "depth_multiplier": form.separated.depth_multiplier,
                    "milliseconds": form.milliseconds,
                    "error": form.separated.error,
                    "loss": way.loss,
                })).collect::<Vec<_>>(),
            })
        };
        json!({
            "device": self.device,
            "calibrated": self.is_calibrated,
            "layers": self.measured.iter().zip(&self.curve.candidates).map(layer).collect::<Vec<_>>(),
            "unchanged": self.others.iter().map(|(name, reason)| json!({ "name": name, "reason": reason })).collect::<Vec<_>>(),
            "curve": self.curve.points.iter().map(point).collect::<Vec<_>>(),
            "chosen": self.curve.chosen,
        })
    }
}
