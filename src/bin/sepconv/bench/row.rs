//! One layer's times with one kernel, and how they are taken.

use std::time::Duration;

use sepconv::Context;
use sepconv::timing::Timing;

use crate::failure::{Failure, Outcome};
use crate::shapes::{self, Candidate, Shape};

/// For how long each layer is timed with each kernel.
const BUDGET: Duration = Duration::from_millis(800);

/// One layer's times with one kernel.
pub struct Row<'a> {
    pub shape: &'a Shape,
    pub kernel: String,
    /// The constants in which the kernel's variants differ.
    pub variant: String,
    /// The floating-point operations of the kernel's method, if it makes another number of them than the definition has.
    pub operations: Option<u64>,
    /// How many seconds the model of GPUs predicts; none in software.
    pub predicted: Option<f64>,
    pub is_chosen: bool,
    /// Those of all that the layer is given and of its output.
    pub bytes: u64,
    /// How many sets of tensors took turns.
    pub sets: usize,
    pub timing: Timing,
    /// The least seconds that the device's limits allow.
    pub floor: f64,
}

/// The times of right results, taken in turn. A wrong one has none.
pub fn time(context: &Context, candidates: &[&Candidate]) -> Outcome<Vec<Timing>> {
    let mut budget = Duration::ZERO;
    for Candidate { id, error, .. } in candidates {
        if error.is_nan() || *error > 1.0 {
            return Err(Failure::Computation(format!("shape {id}: its largest error is {error} times the bound")));
        }
        budget += BUDGET;
    }
    shapes::measure_in_turn(context, candidates, budget)
}

impl Row<'_> {
    /// The kernel and its variant, in brackets if the planner chose another.
    pub fn label(&self) -> String {
        let label = [self.kernel.as_str(), &self.variant].join(" ");
        if self.is_chosen { label.trim_end().to_owned() } else { format!("({})", label.trim_end()) }
    }

    /// The kernels' time, in seconds: the device's, or the caller's where the device has no clock.
    pub fn seconds(&self) -> f64 {
        self.timing.best().0.median / 1e3
    }

    /// Of the operations that the layer's definition has.
    pub fn gflop_s(&self) -> f64 {
        2.0 * self.shape.multiply_adds() as f64 / self.seconds() / 1e9
    }

    /// Of the operations that the kernel's method has.
    pub fn own_gflop_s(&self) -> f64 {
        self.operations.map_or(self.gflop_s(), |operations| operations as f64 / self.seconds() / 1e9)
    }

    pub fn gb_s(&self) -> f64 {
        self.bytes as f64 / self.seconds() / 1e9
    }

    pub fn roofline_percent(&self) -> f64 {
        100.0 * self.floor / self.seconds()
    }
}

/// The geometric mean of numbers above 0.
pub fn geometric_mean(numbers: impl IntoIterator<Item = f64>) -> f64 {
    let logarithms: Vec<f64> = numbers.into_iter().map(f64::ln).collect();
    (logarithms.iter().sum::<f64>() / logarithms.len() as f64).exp()
}
