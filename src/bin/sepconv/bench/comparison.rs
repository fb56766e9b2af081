//! `sepconv bench --compare`: these times beside earlier ones, or beside another program's.

use std::path::Path;

use sepconv::Context;
use serde_json::{Deserializer, Value};

use super::row::{Row, geometric_mean};
use crate::failure::{Failure, Outcome};
use crate::files;
use crate::output::{complain, print, table};
use crate::shapes::Shape;

/// What a file holds: a result of `--json`, or JSON objects with `id` and `median_ms`, one after another.
pub struct Earlier {
    name: String,
    /// What a result of `--json` says it was measured on: adapter and driver.
    device: Option<[String; 2]>,
    times: Vec<Time>,
}

/// An earlier time, in milliseconds.
struct Time {
    id: String,
    median: f64,
    /// A tenth of the runs were slower; none where the file does not say.
    p90: Option<f64>,
    /// None where the file does not say.
    input_shape: Option<Value>,
}

impl Earlier {
    /// Reads a file, of which some layers must be among these shapes, with the same input.
    pub fn read(path: &Path, shapes: &[Shape]) -> Outcome<Self> {
        let name = path.display().to_string();
        let earlier = Self::parse(&files::read_text(path)?, &name)
            .and_then(|earlier| earlier.check(shapes).map(|()| earlier))
            .map_err(|reason| Failure::Request(format!("--compare {name}: {reason}")))?;
        Ok(earlier)
    }

    fn parse(text: &str, name: &str) -> Result<Self, String> {
        let values: Result<Vec<Value>, _> = Deserializer::from_str(text).into_iter().collect();
        let values = values.map_err(|error| format!("not JSON: {error}"))?;
        let (device, rows) = match &values[..] {
            [result] if result["rows"].is_array() => {
                let text = |key: &str| result[key].as_str().map(str::to_owned).ok_or(format!("{key} is missing"));
                (Some([text("adapter")?, text("driver")?]), result["rows"].as_array().map_or(&[][..], Vec::as_slice))
            }
            rows => (None, rows),
        };
        let mut times: Vec<Time> = Vec::new();
        for (index, row) in rows.iter().enumerate().filter(|(_, row)| row["candidate"] != true) {
            let time = Time::parse(row).map_err(|reason| format!("row {index}: {reason}"))?;
            if times.iter().any(|other| other.id == time.id) {
                return Err(format!("row {index}: id is {:?}, which another row has", time.id));
            }
            times.push(time);
        }
        Ok(Self { name: name.to_owned(), device, times })
    }

    fn check(&self, shapes: &[Shape]) -> Result<(), String> {
        let mut common = 0;
        for shape in shapes {
            let Some(time) = self.time(&shape.id) else { continue };
            common += 1;
            let input = Value::from(shape.layer.input_shape().to_vec());
            if let Some(earlier) = time.input_shape.as_ref().filter(|earlier| **earlier != input) {
                return Err(format!("shape {}: its input was {earlier}; now it is {input}", shape.id));
            }
        }
        if common == 0 {
            return Err("it has a time of none of these layers: an id and a median_ms each".to_owned());
        }
        Ok(())
    }

    fn time(&self, id: &str) -> Option<&Time> {
        self.times.iter().find(|time| time.id == id)
    }

    /// Prints both times of every layer that both have.
    ///
    /// A layer that is slower by more than the noise is a failure, whose message names it.
    pub fn compare(&self, context: &Context, rows: &[Row]) -> Outcome {
        let info = context.adapter_info();
        let now = [info.name, format!("{} {}", info.driver, info.driver_info)];
        if let Some(device) = self.device.as_ref().filter(|device| **device != now) {
            let [before, now] = [device, &now].map(|[adapter, driver]| format!("{adapter}, driver {driver}"));
            complain(&format!("warning: {} was measured on {before}; this device is {now}", self.name));
        }
        let mut table = table(&["layer", "before ms", "now ms", "before / now", ""], 1..4);
        let (mut ratios, mut slower, mut missing) = (Vec::new(), Vec::new(), Vec::new());
        for row in rows.iter().filter(|row| row.is_chosen) {
            let id = row.shape.id.as_str();
            let Some(time) = self.time(id) else {
                missing.push(id);
                continue;
            };
            let wall = row.timing.wall;
            let is_slower = time.p90.is_some_and(|p90| wall.p10 > p90);
            ratios.push((time.median / wall.median, id));
            slower.extend(is_slower.then_some(id));
            table.add_row([
                id.to_owned(),
                format!("{:.3}", time.median),
                format!("{:.3}", wall.median),
                format!("{:.3}", time.median / wall.median),
                if is_slower { "slower".to_owned() } else { String::new() },
            ]);
        }
        let (smallest, of) = ratios.iter().copied().min_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((f64::NAN, "none"));
        let mean = geometric_mean(ratios.iter().map(|(ratio, _)| *ratio));
        let noise = if self.times.iter().all(|time| time.p90.is_none()) {
            "How much the times before vary is not said."
        } else if slower.is_empty() {
            "No layer is slower by more than the noise."
        } else {
            "Some layers are slower by more than the noise."
        };
        let mut lines = vec![
            format!("\nBeside {}\n\n{table}\n", self.name),
            format!(
                "before / now: geometric mean {mean:.3}, smallest {smallest:.3} ({of}); above 1 is faster now. {noise}"
            ),
        ];
        if !missing.is_empty() {
            lines.push(format!("Not in {}: {}", self.name, missing.join(", ")));
        }
        print(&lines.join("\n"))?;
        if slower.is_empty() {
            return Ok(());
        }
        let (count, all) = (slower.len(), ratios.len());
        let message = format!("{count} of {all} layers are slower than in {} by more than the noise: ", self.name);
        Err(Failure::Computation(message + &slower.join(", ")))
    }
}

impl Time {
    fn parse(row: &Value) -> Result<Self, String> {
        let id = row["id"].as_str().ok_or("id is missing; it must be a text")?.to_owned();
        let milliseconds = |key: &str| match &row[key] {
            Value::Null => Ok(None),
            value => match value.as_f64().filter(|number| *number > 0.0) {
                Some(number) => Ok(Some(number)),
                None => Err(format!("{key} is {value}; it must be a number above 0")),
            },
        };
        Ok(Self {
            id,
            median: milliseconds("median_ms")?.ok_or("median_ms is missing; it must be a number above 0")?,
            p90: milliseconds("p90_ms")?,
            input_shape: row.get("input_shape").cloned(),
        })
    }
}
