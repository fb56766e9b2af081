//! Measuring which candidate computes a layer fastest: which kernel, and which of its variants. Nothing is measured
//! unless somebody asks.

use std::time::Duration;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::gpu::{Bound, Tensor};
use crate::layer::Layer;
use crate::layer_tensors::LayerTensors;
use crate::sample::Sample;
use crate::timing::{Stopwatch, Timing, measure_in_turn, warm_up};
use crate::tuning::Choice;

/// One candidate, tried.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Trial {
    /// The kernel and its variant.
    pub choice: Choice,
    /// The largest error of its result as a multiple of the bound: at most 1 is right. Infinite if an output was not
    /// written, or if the device refused the kernel or had no memory for it.
    pub error: f64,
    /// How long it takes, in milliseconds: the median, by the same clock for all candidates, which is the device's if
    /// it has one. For a candidate that was wrong or [`TOO_SLOW`], the least of [`FIRST_RUNS`] by the caller's clock.
    pub milliseconds: f64,
}

impl Trial {
    /// Whether its result is within what rounding allows.
    #[must_use]
    pub fn is_right(&self) -> bool {
        // This is false for NaN.
        self.error <= 1.0
    }
}

/// What was tried for one layer.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Tuned {
    /// The layer.
    pub layer: Layer,
    /// Each candidate that was tried, the planner's own choice first.
    pub trials: Vec<Trial>,
    /// The fastest of those whose result was right.
    pub best: Trial,
}

/// The most candidates that are tried.
const CANDIDATES: usize = 6;

/// How often each candidate runs before the promising ones are timed. A single run may meet a disturbance.
pub const FIRST_RUNS: usize = 3;

/// A candidate whose first runs take this many times as long as another's is not timed further, unless it is the
/// planner's.
pub const TOO_SLOW: f64 = 3.0;

/// Another candidate must be this many times as fast as the planner's own choice: two measurements of one candidate may
/// differ by less.
const GAIN: f64 = 1.05;

/// For how long each candidate is measured.
const BUDGET: Duration = Duration::from_millis(200);

/// Tries the few candidates for a layer that a cost model finds cheapest, and says which was the fastest.
/// [`Tuning::insert`](crate::Tuning::insert) keeps it. A candidate may itself plan layers, such as the two parts of a
/// separable layer. It plans them by the context's [`Tuning`](crate::Tuning), so tune the layers that [`inner_layers`]
/// lists first.
///
/// Each candidate computes the whole layer, into an output of NaNs, before it may win. If that takes more than 2²⁶
/// multiply-adds, the reference computes only some outputs, evenly spread over images, channels, rows and columns.
/// Those are compared with it; the others must have been written.
///
/// # Errors
/// Those of [`Context::plan`] and [`Bound::run`]; [`Error::NoneRight`] if no result was right.
pub async fn tune(context: &Context, layer: impl Into<Layer>) -> Result<Tuned> {
    let layer = layer.into();
    layer.check()?;
    // What is past the device's limits is refused before any memory is filled.
    context.planner().plan(&layer)?;
    let data = Data::new(context, &layer)?;
    let mut ways = context.planner().ranked(&layer);
    ways.truncate(CANDIDATES);
    let mut trials = Vec::new();
    for choice in ways {
        let (error, milliseconds) = data.first_runs(context, choice).await?;
        trials.push(Trial { choice, error, milliseconds });
    }
    data.time_the_close(context, &mut trials).await?;
    Ok(Tuned { layer, best: fastest(&trials)?, trials })
}

/// [`tune`], waiting for it.
///
/// # Errors
/// Those of [`tune`].
#[cfg(not(target_arch = "wasm32"))]
pub fn tune_blocking(context: &Context, layer: impl Into<Layer>) -> Result<Tuned> {
    pollster::block_on(tune(context, layer))
}

/// The layers that a layer's candidates plan in their turn: the two parts of a separable layer, the product of
/// Winograd's method. Each comes once.
#[must_use]
pub fn inner_layers(context: &Context, layer: impl Into<Layer>) -> Vec<Layer> {
    context.planner().inner_layers(&layer.into())
}

/// The medians by one clock: the device's if all have it, else the caller's.
fn medians(timings: &[Timing]) -> Vec<f64> {
    let device: Option<Vec<f64>> = timings.iter().map(|timing| Some(timing.device?.median)).collect();
    device.unwrap_or_else(|| timings.iter().map(|timing| timing.wall.median).collect())
}

/// The fastest of those that are right: the first, unless another is clearly faster.
fn fastest(trials: &[Trial]) -> Result<Trial> {
    let best = trials.iter().filter(|trial| trial.is_right()).min_by(|a, b| a.milliseconds.total_cmp(&b.milliseconds));
    match (trials.first().filter(|first| first.is_right()), best) {
        (Some(first), Some(best)) if first.milliseconds <= GAIN * best.milliseconds => Ok(*first),
        (_, Some(best)) => Ok(*best),
        (_, None) => Err(Error::NoneRight { error: trials.iter().map(|trial| trial.error).fold(f64::NAN, f64::min) }),
    }
}

/// A layer's tensors, and what some of its outputs should be.
struct Data {
    layer: Layer,
    sample: Sample,
    tensors: LayerTensors,
}

impl Data {
    fn new(context: &Context, layer: &Layer) -> Result<Self> {
        let given = layer.describe().given();
        let rounded = |values: Vec<f32>| values.into_iter().map(|value| context.dtype().round(value)).collect();
        let values: Vec<Vec<f32>> =
            (1..).zip(&given).map(|(number, given)| rounded(data(number, given.shape))).collect();
        let tensors = LayerTensors::new(context, layer, &values)?;
        Ok(Self { layer: *layer, tensors, sample: Sample::new(layer, &values) })
    }

    /// Plans the layer with this choice and binds it to its tensors and to an output.
    fn bind(&self, context: &Context, choice: Choice, output: &Tensor) -> Result<Bound> {
        self.tensors.bind(&context.plan_with(self.layer, choice)?, output)
    }

    /// Computes the layer with this choice; returns the error of the result, and the least time of the runs that
    /// follow.
    async fn first_runs(&self, context: &Context, choice: Choice) -> Result<(f64, f64)> {
        // Of NaNs, so that a value that is not written shows.
        let nans = vec![f32::NAN; count(self.layer.output_shape())];
        let output = Tensor::from_slice(context, self.layer.output_shape(), &nans)?;
        let bound = match self.bind(context, choice, &output) {
            Ok(bound) => bound,
            Err(error) if is_refusal(&error) => return Ok((f64::INFINITY, f64::INFINITY)),
            Err(error) => return Err(error),
        };
        bound.run()?;
        let error = self.sample.error(context.dtype(), &output.read().await?);
        let stopwatch = Stopwatch::wall(context);
        warm_up(&stopwatch, std::iter::once(&bound), BUDGET / 4).await?;
        let mut milliseconds = f64::INFINITY;
        for _ in 0..FIRST_RUNS {
            milliseconds = milliseconds.min(stopwatch.time(&bound).await?);
        }
        Ok((error, milliseconds))
    }

    /// Times, in turn, those that are right and not far too slow.
    async fn time_the_close(&self, context: &Context, trials: &mut [Trial]) -> Result<()> {
        let right = trials.iter().filter(|trial| trial.is_right());
        let quickest = right.map(|trial| trial.milliseconds).fold(f64::INFINITY, f64::min);
        let is_close = |(index, trial): &(usize, &mut Trial)| *index == 0 || trial.milliseconds <= TOO_SLOW * quickest;
        let right = trials.iter_mut().enumerate().filter(|(_, trial)| trial.is_right());
        let mut close: Vec<&mut Trial> = right.filter(is_close).map(|(_, trial)| trial).collect();
        let output = Tensor::zeros(context, self.layer.output_shape())?;
        let bind = |trial: &&mut Trial| self.bind(context, trial.choice, &output);
        let bounds = close.iter().map(bind).collect::<Result<Vec<_>>>()?;
        let layers: Vec<&[Bound]> = bounds.iter().map(std::slice::from_ref).collect();
        let timings = measure_in_turn(context, &layers, BUDGET * u32::try_from(bounds.len()).unwrap_or(1)).await?;
        for (trial, median) in close.iter_mut().zip(medians(&timings)) {
            trial.milliseconds = median;
        }
        Ok(())
    }
}

/// Whether an error says that this candidate cannot compute the layer, though another may.
fn is_refusal(error: &Error) -> bool {
    match error {
        Error::Within { error, .. } => is_refusal(error),
        // Candidates differ in the memory that they take besides the layer's tensors.
        Error::Device { .. } | Error::OutOfMemory { .. } | Error::TooManyDispatches { .. } | Error::Limit { .. } => {
            true
        }
        _ => false,
    }
}

fn count(shape: [u32; 4]) -> usize {
    shape.iter().map(|&size| size as usize).product()
}

/// Values from -1 to 1 without a pattern that a convolution could cancel: Weyl's sequence, from a place that depends on
/// the tensor.
#[expect(clippy::cast_possible_truncation, reason = "any values will do")]
fn data(tensor: u32, shape: [u32; 4]) -> Vec<f32> {
    let first = f64::from(tensor) * std::f64::consts::SQRT_2;
    (0..count(shape)).map(|index| (first + index as f64 * 0.618_033_988_749_895).fract() as f32 * 2.0 - 1.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conv::Conv2d;
    use crate::kernels::ALL;
    use crate::pool::MaxPool2d;
    use crate::separable::SeparableConv2d;

    fn trials(trials: &[(f64, f64)]) -> Vec<Trial> {
        let choice = |variant| Choice::new(ALL[0], variant);
        let trial = |(variant, &(error, milliseconds))| Trial { choice: choice(variant), error, milliseconds };
        trials.iter().enumerate().map(trial).collect()
    }

    #[test]
    fn the_fastest_wins_if_it_is_right() {
        let best = |results: &[(f64, f64)]| fastest(&trials(results)).map(|trial| trial.choice.variant);
        assert_eq!(best(&[(0.1, 5.0), (0.2, 4.0), (0.9, 3.0), (1.0, 6.0)]), Ok(2));
        for wrong in [1.1, f64::INFINITY, f64::NAN] {
            assert_eq!(best(&[(0.1, 5.0), (wrong, 1.0), (0.2, 4.0)]), Ok(2), "{wrong}");
            assert_eq!(best(&[(wrong, 1.0), (0.1, 5.0)]), Ok(1), "{wrong}");
        }
        assert_eq!(best(&[(3.0, 1.0), (2.0, 1.0), (f64::NAN, 1.0)]), Err(Error::NoneRight { error: 2.0 }));
    }

    #[test]
    fn the_planners_own_choice_stays_unless_another_is_clearly_faster() {
        let best = |own, other| fastest(&trials(&[(0.0, own), (0.0, other)])).unwrap().choice.variant;
        assert_eq!((best(1.04, 1.0), best(1.06, 1.0), best(1.0, 2.0)), (0, 1, 0));
    }

    #[test]
    fn a_way_that_memory_or_a_limit_forbids_leaves_the_others() {
        let memory = Error::OutOfMemory { argument: "tensor", bytes: 1 };
        let within = Error::within("pointwise")(memory.clone());
        for refusal in [memory, within, Error::TooManyDispatches { dispatches: 2, maximum: 1 }] {
            assert!(is_refusal(&refusal), "{refusal}");
        }
        assert!(!is_refusal(&Error::DeviceLost { reason: String::new() }));
    }

    #[test]
    fn times_are_by_one_clock() {
        let spread = |median| crate::timing::Spread { median, p10: median, p90: median };
        let both = Timing { wall: spread(2.0), device: Some(spread(1.0)) };
        let wall = Timing { device: None, wall: spread(3.0) };
        assert_eq!(medians(&[both, both]), [1.0, 1.0]);
        assert_eq!(medians(&[both, wall]), [2.0, 3.0]);
    }

    /// A device that computes nothing: it answers everything at once, and wrong.
    fn idle_device() -> Context {
        let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
        Context::from_wgpu(device, queue).unwrap()
    }

    #[test]
    fn what_computes_nothing_never_wins() {
        let shape = [1, 3, 9, 9];
        let convolution = Conv2d::new(3, 8, 3).geometry(shape).unwrap().into();
        let separable = SeparableConv2d::new(3, 8, 3).geometry(shape).unwrap().into();
        for layer in [convolution, separable, MaxPool2d::new(2).geometry(shape).unwrap().into()] {
            let layer: Layer = layer;
            let tuned = tune_blocking(&idle_device(), layer);
            assert!(matches!(tuned, Err(Error::NoneRight { error }) if error > 1.0), "{tuned:?}");
        }
    }
}
