//! Measuring which kernel, and which of its variants, computes a layer fastest. Nothing is measured unasked.

use std::time::Duration;

use crate::bound::Bound;
use crate::context::Context;
use crate::conv::Conv2d;
use crate::error::{Error, Result};
use crate::geometry::{Geometry, values};
use crate::kernels::{self, Passes, Target, Variant, winograd};
use crate::plan::Operands;
use crate::reference::{self, Reference};
use crate::schedule::{Choice, Schedule};
use crate::tensor::Tensor;
use crate::timing::{Stopwatch, Timing, measure_in_turn};
use crate::verify;

/// One way to compute a layer, tried.
#[derive(Debug, Clone, Copy)]
pub struct Trial {
    /// The kernel and its variant.
    pub choice: Choice,
    /// The largest error of its result as a multiple of the bound: at most 1 is right. Infinite if an output was not
    /// written, or if the device refused the kernel.
    pub error: f64,
    /// How long it takes, in milliseconds: the median by one clock for all, the device's where it has one; for one that
    /// was wrong or [`TOO_SLOW`], the least of [`FIRST_RUNS`] by the caller's clock.
    pub milliseconds: f64,
}

impl Trial {
    /// Whether its result is within what rounding allows.
    #[must_use]
    pub fn is_right(&self) -> bool {
        // Not for NaN.
        self.error <= 1.0
    }
}

/// What was tried for one layer.
#[derive(Debug, Clone)]
pub struct Tuned {
    /// The layer's sizes.
    pub geometry: Geometry,
    /// Each way that was tried; the planner's own choice first.
    pub trials: Vec<Trial>,
    /// The fastest of those whose result was right.
    pub best: Trial,
}

/// At most so many ways are tried.
const CANDIDATES: usize = 6;

/// So often each way is run before those that are worth it are measured. A single run may meet a disturbance.
pub const FIRST_RUNS: usize = 3;

/// A way whose first runs take so many times longer than another's is not measured further, unless it is the planner's.
pub const TOO_SLOW: f64 = 3.0;

/// Another way must be so much faster than the planner's own choice: less is within what two measurements differ by.
const GAIN: f64 = 1.05;

/// For how long each way is measured.
const BUDGET: Duration = Duration::from_millis(200);

/// Tries the few ways to compute a layer that a cost model finds cheapest, and says which was the fastest.
/// [`Tuning::insert`](crate::Tuning::insert) keeps it.
///
/// Each way computes the whole layer, into an output of NaNs, before it may win. If that takes more than 2²⁶
/// multiply-adds, the reference computes a part of the outputs, evenly spread over images, channels, rows and columns:
/// each of those is compared with it, and of the others it is checked that they were written.
///
/// # Errors
/// Those of [`Conv2d::plan`] and [`Bound::run`]; [`Error::NoneRight`] if no result was right.
pub async fn tune(context: &Context, layer: &Conv2d, input_shape: [u32; 4]) -> Result<Tuned> {
    let geometry = layer.geometry(input_shape)?;
    // What is past the device's limits is refused before any memory is filled.
    Schedule::new(&geometry, context.target(), None)?;
    let sample = Sample::new(context, &geometry)?;
    let mut trials = Vec::new();
    for choice in candidates(&geometry, context.target()) {
        trials.push(sample.first_runs(context, layer, choice).await?);
    }
    let right = trials.iter().filter(|trial| trial.is_right());
    let quickest = right.map(|trial| trial.milliseconds).fold(f64::INFINITY, f64::min);
    let is_close = |(index, trial): &(usize, &mut Trial)| *index == 0 || trial.milliseconds <= TOO_SLOW * quickest;
    let right = trials.iter_mut().enumerate().filter(|(_, trial)| trial.is_right());
    let mut close: Vec<&mut Trial> = right.filter(is_close).map(|(_, trial)| trial).collect();
    let output = Tensor::zeros(context, geometry.output_shape())?;
    let bind = |trial: &&mut Trial| sample.bind(context, layer, trial.choice, &output);
    let bounds = close.iter().map(bind).collect::<Result<Vec<_>>>()?;
    let layers: Vec<&[Bound]> = bounds.iter().map(std::slice::from_ref).collect();
    let timings = measure_in_turn(context, &layers, BUDGET * u32::try_from(bounds.len()).unwrap_or(1)).await?;
    for (trial, median) in close.iter_mut().zip(medians(&timings)) {
        trial.milliseconds = median;
    }
    let best = fastest(&trials)?;
    Ok(Tuned { geometry, trials, best })
}

/// [`tune`], waiting for it.
///
/// # Errors
/// Those of [`tune`].
#[cfg(not(target_arch = "wasm32"))]
pub fn tune_blocking(context: &Context, layer: &Conv2d, input_shape: [u32; 4]) -> Result<Tuned> {
    pollster::block_on(tune(context, layer, input_shape))
}

/// The medians by one clock: the device's if all have it, else the caller's.
fn medians(timings: &[Timing]) -> Vec<f64> {
    let device: Option<Vec<f64>> = timings.iter().map(|timing| Some(timing.device?.median)).collect();
    device.unwrap_or_else(|| timings.iter().map(|timing| timing.wall.median).collect())
}

/// The fastest right one; the first, unless another is clearly faster.
fn fastest(trials: &[Trial]) -> Result<Trial> {
    let best = trials.iter().filter(|trial| trial.is_right()).min_by(|a, b| a.milliseconds.total_cmp(&b.milliseconds));
    match (trials.first().filter(|first| first.is_right()), best) {
        (Some(first), Some(best)) if first.milliseconds <= GAIN * best.milliseconds => Ok(*first),
        (_, Some(best)) => Ok(*best),
        (_, None) => Err(Error::NoneRight { error: trials.iter().map(|trial| trial.error).fold(f64::NAN, f64::min) }),
    }
}

/// The planner's own choice, and of the others those that should cost least.
fn candidates(geometry: &Geometry, target: &Target) -> Vec<Choice> {
    let mut ways = Choice::all(geometry, target);
    let cost = |(choice, variant): &(Choice, Variant)| match choice.kernel.passes {
        Passes::One => cost(geometry, target, variant),
        // Its product has 16 terms where the layer has 36. What the transforms cost is left to the measurement.
        Passes::Winograd => winograd::product(geometry).map_or(f64::INFINITY, |product| {
            let variants = (kernels::choose(&product, target).variants)(&product, target);
            cost(&product, target, &variants[0]) * 16.0 / 36.0
        }),
    };
    ways[1..].sort_by(|a, b| cost(a).total_cmp(&cost(b)));
    ways.into_iter().take(CANDIDATES).map(|(choice, _)| choice).collect()
}

/// How many multiply-adds a load takes the time of.
const LOAD: f64 = 8.0;

/// How many workgroups keep a device busy: a GPU; a processor, which has some cores.
const BUSY: [f64; 2] = [256.0, 16.0];

/// What a variant should cost, to compare it with another of the same layer: operations, loads and idle time for each
/// output and term.
///
/// A workgroup that makes U outputs makes U multiply-adds for each term, and if they are a square of channels by pixels
/// it reads twice √U values for them. U is the layer's outputs by the workgroups there are, so that a tile that is partly
/// idle has a smaller one. With too few workgroups a part of the device waits.
fn cost(geometry: &Geometry, target: &Target, variant: &Variant) -> f64 {
    let workgroups: f64 = variant.grid.iter().map(|&size| size as f64).product();
    let outputs = values(geometry.output_shape()) as f64 / workgroups;
    let idle = (BUSY[usize::from(target.software)] / workgroups).max(1.0);
    (1.0 + LOAD * 2.0 / outputs.sqrt()) * idle
}

/// A layer's tensors, and what some of its outputs should be.
struct Sample {
    geometry: Geometry,
    input: Tensor,
    weight: Tensor,
    bias: Option<Tensor>,
    residual: Option<Tensor>,
    /// The outputs that are compared.
    outputs: Vec<usize>,
    expected: Reference,
}

/// The multiply-adds that the reference does in some tenths of a second.
const MULTIPLY_ADDS: u64 = 1 << 26;

impl Sample {
    fn new(context: &Context, geometry: &Geometry) -> Result<Self> {
        let tensor = |shape| {
            let data = data(shape);
            Ok((Tensor::from_slice(context, shape, &data)?, data))
        };
        let optional = |present: bool, shape| present.then(|| tensor(shape)).transpose();
        let (input, x) = tensor(geometry.input_shape())?;
        let (weight, w) = tensor(geometry.weight_shape())?;
        let (bias, b) = optional(geometry.bias, geometry.bias_shape())?.unzip();
        let (residual, r) = optional(geometry.residual, geometry.output_shape())?.unzip();
        let outputs = spread(values(geometry.output_shape()), MULTIPLY_ADDS / geometry.terms());
        let expected = reference::conv2d_at(geometry, outputs.iter().copied(), &x, &w, b.as_deref(), r.as_deref());
        Ok(Self { geometry: *geometry, input, weight, bias, residual, outputs, expected })
    }

    /// The layer in one way.
    fn bind(&self, context: &Context, layer: &Conv2d, choice: Choice, output: &Tensor) -> Result<Bound> {
        let plan = layer.plan_with_choice(context, self.geometry.input_shape(), choice)?;
        let operands = Operands::new(&self.input, &self.weight, output);
        plan.bind(operands.bias(&self.bias).residual(&self.residual))
    }

    /// Computes the layer in one way, compares the result, and times the next runs.
    async fn first_runs(&self, context: &Context, layer: &Conv2d, choice: Choice) -> Result<Trial> {
        let shape = self.geometry.output_shape();
        // Of NaNs, so that a value that is not written shows.
        let output = Tensor::from_slice(context, shape, &vec![f32::NAN; count(shape)])?;
        let bound = match self.bind(context, layer, choice, &output) {
            Ok(bound) => bound,
            Err(Error::Device { .. } | Error::TooManyDispatches { .. }) => {
                return Ok(Trial { choice, error: f64::INFINITY, milliseconds: f64::INFINITY });
            }
            Err(error) => return Err(error),
        };
        bound.run()?;
        let error = self.error(&output.read(context).await?);
        let stopwatch = Stopwatch::wall(context);
        let mut milliseconds = f64::INFINITY;
        for _ in 0..FIRST_RUNS {
            milliseconds = milliseconds.min(stopwatch.time(&bound).await?);
        }
        Ok(Trial { choice, error, milliseconds })
    }

    fn error(&self, actual: &[f32]) -> f64 {
        // All values are finite, so that a NaN is an output that was not written.
        if actual.iter().any(|value| value.is_nan()) {
            return f64::INFINITY;
        }
        let sampled: Vec<f32> = self.outputs.iter().map(|&output| actual[output]).collect();
        verify::largest_error(&self.expected, self.geometry.activation, self.geometry.terms(), &sampled)
    }
}

/// About `wanted` of `count` outputs, and the last, at steps that have no factor in common with any of the output's
/// sizes, so that all rows, columns and channels are met alike.
fn spread(count: u64, wanted: u64) -> Vec<usize> {
    let mut step = count.div_ceil(wanted.max(1));
    while common_divisor(step, count) > 1 {
        step += 1;
    }
    let index = |output: u64| usize::try_from(output).expect("an index into values in memory");
    let mut outputs: Vec<usize> = (0..index(count)).step_by(index(step)).collect();
    if outputs.last() != Some(&index(count - 1)) {
        outputs.push(index(count - 1));
    }
    outputs
}

fn common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

fn count(shape: [u32; 4]) -> usize {
    shape.iter().map(|&size| size as usize).product()
}

/// Values from -1 to 1 without a pattern that a convolution could cancel: Weyl's sequence.
#[expect(clippy::cast_possible_truncation, reason = "any values will do")]
fn data(shape: [u32; 4]) -> Vec<f32> {
    (0..count(shape)).map(|index| (index as f64 * 0.618_033_988_749_895).fract() as f32 * 2.0 - 1.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::ALL;

    fn trials(trials: &[(f64, f64)]) -> Vec<Trial> {
        let choice = |variant| Choice { kernel: ALL[0], variant };
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
    fn times_are_by_one_clock() {
        let spread = |median| crate::timing::Spread { median, p10: median, p90: median };
        let both = Timing { wall: spread(2.0), device: Some(spread(1.0)) };
        let wall = Timing { device: None, wall: spread(3.0) };
        assert_eq!(medians(&[both, both]), [1.0, 1.0]);
        assert_eq!(medians(&[both, wall]), [2.0, 3.0]);
    }

    #[test]
    fn a_sample_meets_every_row_column_and_channel() {
        assert_eq!(spread(7, 100), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(spread(1, 0), [0]);
        let (channels, height, width) = (6, 10, 8);
        let outputs = spread(channels * height * width, 120);
        assert!((60..=121).contains(&outputs.len()) && outputs.last() == Some(&479), "{outputs:?}");
        let met = |of: fn(usize) -> usize| {
            outputs.iter().map(|&output| of(output)).collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!((met(|o| o % 8).len(), met(|o| o / 8 % 10).len(), met(|o| o / 80).len()), (8, 10, 6));
    }

    #[test]
    fn loads_and_idle_time_cost() {
        let geometry = Conv2d::new(64, 64, 3).padding(1).geometry([16, 64, 64, 64]).unwrap();
        let target: Target = wgpu::Limits::default().into();
        let cost = |workgroups| cost(&geometry, &target, &Variant { constants: Vec::new(), grid: [1, workgroups, 1] });
        assert!(cost(4096) > cost(2048), "smaller tiles, or partly idle ones, have more loads");
        assert!(cost(64) > cost(256), "few workgroups leave a GPU idle");
    }

    #[test]
    fn candidates_are_few_and_the_planners_own_comes_first() {
        let target: Target = wgpu::Limits::default().into();
        for (layer, channels) in [(Conv2d::new(8, 8, 1), 8), (Conv2d::new(8, 16, 3).groups(8), 8)] {
            let geometry = layer.geometry([1, channels, 9, 9]).unwrap();
            let candidates = candidates(&geometry, &target);
            assert!((2..=CANDIDATES).contains(&candidates.len()), "{candidates:?}");
            let own = &Choice::all(&geometry, &target)[0].0;
            assert_eq!((candidates[0].kernel.name, candidates[0].variant), (own.kernel.name, own.variant));
        }
    }

    /// A device that computes nothing: whatever it is asked is answered at once, and wrong.
    fn idle_device() -> Context {
        let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
        Context::from_wgpu(device, queue).unwrap()
    }

    #[test]
    fn what_computes_nothing_never_wins() {
        let tuned = tune_blocking(&idle_device(), &Conv2d::new(3, 8, 3), [1, 3, 9, 9]);
        assert!(matches!(tuned, Err(Error::NoneRight { error }) if error > 1.0), "{tuned:?}");
    }

    #[test]
    fn a_wrong_or_missing_output_is_an_error() {
        let geometry = Conv2d::new(2, 4, 3).residual(true).geometry([1, 2, 9, 9]).unwrap();
        let sample = Sample::new(&idle_device(), &geometry).unwrap();
        #[expect(clippy::cast_possible_truncation, reason = "the nearest f32 is what is right")]
        let right: Vec<f32> = sample.expected.values.iter().map(|&value| value as f32).collect();
        assert!(sample.error(&right) <= 1.0);
        for index in [0, 100, right.len() - 1] {
            for wrong in [f32::NAN, right[index] + 1e-3] {
                let mut actual = right.clone();
                actual[index] = wrong;
                assert!(sample.error(&actual) > 1.0, "{index} is {wrong}");
            }
        }
    }
}
