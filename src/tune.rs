//! Measuring which kernel, and which of its variants, computes a layer fastest, and whether a separable layer is faster as
//! one dispatch. Nothing is measured unasked.

use std::time::Duration;

use crate::bound::Bound;
use crate::context::Context;
use crate::conv::Conv2d;
use crate::error::{Error, Result};
use crate::geometry::{Activation, Geometry, values};
use crate::kernels::{self, Passes, Target, Variant, winograd};
use crate::plan::Operands;
use crate::reference::{self, Reference};
use crate::schedule::{Choice, Schedule};
use crate::separable::{SeparableConv2d, SeparableOperands};
use crate::separable_choice::SeparableChoice;
use crate::tensor::Tensor;
use crate::timing::{Stopwatch, Timing, measure_in_turn};
use crate::tuning::Tunable;
use crate::verify;

/// One way to compute a layer, tried.
#[derive(Debug, Clone, Copy)]
pub struct Trial<Way = Choice> {
    /// The kernel and its variant; of a separable layer also whether it is fused.
    pub choice: Way,
    /// The largest error of its result as a multiple of the bound: at most 1 is right. Infinite if an output was not
    /// written, or if the device refused the kernel or had no memory for it.
    pub error: f64,
    /// How long it takes, in milliseconds: the median by one clock for all, the device's where it has one; for one that
    /// was wrong or [`TOO_SLOW`], the least of [`FIRST_RUNS`] by the caller's clock.
    pub milliseconds: f64,
}

impl<Way> Trial<Way> {
    /// Whether its result is within what rounding allows.
    #[must_use]
    pub fn is_right(&self) -> bool {
        // Not for NaN.
        self.error <= 1.0
    }
}

/// What was tried for one layer: a convolution, or a separable layer of two.
#[derive(Debug, Clone)]
pub struct Tuned<Layer: Tunable = Geometry> {
    /// The layer's sizes.
    pub geometry: Layer,
    /// Each way that was tried; the planner's own choice first.
    pub trials: Vec<Trial<Layer::Choice>>,
    /// The fastest of those whose result was right.
    pub best: Trial<Layer::Choice>,
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
    let (sample, bind) = conv2d_sample(context, layer, &geometry)?;
    let trials = try_all(context, &sample, candidates(&geometry, context.target()), bind).await?;
    Ok(Tuned { geometry, best: fastest(&trials)?, trials })
}

/// [`tune`], waiting for it.
///
/// # Errors
/// Those of [`tune`].
#[cfg(not(target_arch = "wasm32"))]
pub fn tune_blocking(context: &Context, layer: &Conv2d, input_shape: [u32; 4]) -> Result<Tuned> {
    pollster::block_on(tune(context, layer, input_shape))
}

/// Tries every way to compute a separable layer, in one dispatch and in two, and says which was the fastest, just as
/// [`tune`] does. What is chained is so by the context's [`Tuning`](crate::Tuning) of the two parts: tune those first.
///
/// # Errors
/// Those of [`SeparableConv2d::plan`] and [`Bound::run`]; [`Error::NoneRight`] if no result was right.
pub async fn tune_separable(
    context: &Context,
    layer: &SeparableConv2d,
    input_shape: [u32; 4],
) -> Result<Tuned<(Geometry, Geometry)>> {
    let geometry = layer.geometry(input_shape)?;
    let ways: Vec<_> = SeparableChoice::all(&geometry, context.target()).into_iter().map(|(way, _)| way).collect();
    // What is past the device's limits is refused before any memory is filled.
    if ways[0] == SeparableChoice::Chained {
        for (name, part) in [("depthwise", &geometry.0), ("pointwise", &geometry.1)] {
            Schedule::new(part, context.target(), None).map_err(Error::within(name))?;
        }
    }
    let (sample, bind) = separable_sample(context, layer, &geometry)?;
    let trials = try_all(context, &sample, ways, bind).await?;
    Ok(Tuned { geometry, best: fastest(&trials)?, trials })
}

/// [`tune_separable`], waiting for it.
///
/// # Errors
/// Those of [`tune_separable`].
#[cfg(not(target_arch = "wasm32"))]
pub fn tune_separable_blocking(
    context: &Context,
    layer: &SeparableConv2d,
    input_shape: [u32; 4],
) -> Result<Tuned<(Geometry, Geometry)>> {
    pollster::block_on(tune_separable(context, layer, input_shape))
}

/// Compares what each way computes with a sample of what it should be, and times those that are right and not far too
/// slow.
async fn try_all<Way: Copy>(
    context: &Context,
    sample: &Sample,
    ways: Vec<Way>,
    bind: impl Fn(Way, &Tensor) -> Result<Bound>,
) -> Result<Vec<Trial<Way>>> {
    let mut trials = Vec::new();
    for choice in ways {
        let (error, milliseconds) = sample.first_runs(context, |output| bind(choice, output)).await?;
        trials.push(Trial { choice, error, milliseconds });
    }
    let right = trials.iter().filter(|trial| trial.is_right());
    let quickest = right.map(|trial| trial.milliseconds).fold(f64::INFINITY, f64::min);
    let is_close = |(index, trial): &(usize, &mut Trial<Way>)| *index == 0 || trial.milliseconds <= TOO_SLOW * quickest;
    let right = trials.iter_mut().enumerate().filter(|(_, trial)| trial.is_right());
    let mut close: Vec<&mut Trial<Way>> = right.filter(is_close).map(|(_, trial)| trial).collect();
    let output = Tensor::zeros(context, sample.output_shape)?;
    let bounds = close.iter().map(|trial| bind(trial.choice, &output)).collect::<Result<Vec<_>>>()?;
    let layers: Vec<&[Bound]> = bounds.iter().map(std::slice::from_ref).collect();
    let timings = measure_in_turn(context, &layers, BUDGET * u32::try_from(bounds.len()).unwrap_or(1)).await?;
    for (trial, median) in close.iter_mut().zip(medians(&timings)) {
        trial.milliseconds = median;
    }
    Ok(trials)
}

/// The medians by one clock: the device's if all have it, else the caller's.
fn medians(timings: &[Timing]) -> Vec<f64> {
    let device: Option<Vec<f64>> = timings.iter().map(|timing| Some(timing.device?.median)).collect();
    device.unwrap_or_else(|| timings.iter().map(|timing| timing.wall.median).collect())
}

/// The fastest right one; the first, unless another is clearly faster.
fn fastest<Way: Copy>(trials: &[Trial<Way>]) -> Result<Trial<Way>> {
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

/// What some of a layer's outputs should be.
struct Sample {
    output_shape: [u32; 4],
    activation: Activation,
    /// See [`verify::largest_error`].
    terms: u64,
    /// The outputs that are compared.
    outputs: Vec<usize>,
    expected: Reference,
}

/// The multiply-adds that the reference does in some tenths of a second.
const MULTIPLY_ADDS: u64 = 1 << 26;

/// A sample of a convolution, and what binds the layer, in one way, to the tensors that it is of and to an output.
fn conv2d_sample(
    context: &Context,
    layer: &Conv2d,
    geometry: &Geometry,
) -> Result<(Sample, impl Fn(Choice, &Tensor) -> Result<Bound>)> {
    let mut fill = Fill { context, tensors: 0 };
    let (input, x) = fill.tensor(geometry.input_shape())?;
    let (weight, w) = fill.tensor(geometry.weight_shape())?;
    let (bias, b) = fill.optional(geometry.bias, geometry.bias_shape())?;
    let (residual, r) = fill.optional(geometry.residual, geometry.output_shape())?;
    let outputs = spread(values(geometry.output_shape()), MULTIPLY_ADDS / geometry.terms());
    let sample = Sample {
        output_shape: geometry.output_shape(),
        activation: geometry.activation,
        terms: geometry.terms(),
        expected: reference::conv2d_at(geometry, outputs.iter().copied(), &x, &w, b.as_deref(), r.as_deref()),
        outputs,
    };
    let input_shape = geometry.input_shape();
    let bind = move |choice, output: &Tensor| {
        let plan = layer.plan_with_choice(context, input_shape, choice)?;
        plan.bind(Operands::new(&input, &weight, output).bias(&bias).residual(&residual))
    };
    Ok((sample, bind))
}

/// A sample of a separable layer, likewise: all channels of some pixels, so that of what is between no more than those
/// pixels' values is needed.
fn separable_sample(
    context: &Context,
    layer: &SeparableConv2d,
    (d, p): &(Geometry, Geometry),
) -> Result<(Sample, impl Fn(SeparableChoice, &Tensor) -> Result<Bound>)> {
    let mut fill = Fill { context, tensors: 0 };
    let (input, x) = fill.tensor(d.input_shape())?;
    let (depthwise_weight, dw) = fill.tensor(d.weight_shape())?;
    let (depthwise_bias, db) = fill.optional(d.bias, d.bias_shape())?;
    let (pointwise_weight, pw) = fill.tensor(p.weight_shape())?;
    let (pointwise_bias, pb) = fill.optional(p.bias, p.bias_shape())?;
    let (residual, r) = fill.optional(p.residual, p.output_shape())?;
    // Per pixel, values and magnitudes of the pointwise part each.
    let multiply_adds = values(d.weight_shape()).saturating_add(2 * values(p.weight_shape()));
    let all_pixels = values([d.batch, 1, d.output.height, d.output.width]);
    let pixels = spread(all_pixels, MULTIPLY_ADDS / multiply_adds);
    let (depthwise, pointwise) = ((dw.as_slice(), db.as_deref()), (pw.as_slice(), pb.as_deref()));
    let sample = Sample {
        output_shape: p.output_shape(),
        activation: p.activation,
        terms: d.terms() + p.terms(),
        expected: verify::separable_reference_at((d, p), &pixels, &x, depthwise, pointwise, r.as_deref()),
        outputs: verify::outputs_at(p, &pixels),
    };
    let input_shape = d.input_shape();
    let bind = move |choice, output: &Tensor| {
        layer.plan_with_choice(context, input_shape, choice)?.bind(SeparableOperands {
            input: &input,
            depthwise_weight: &depthwise_weight,
            depthwise_bias: depthwise_bias.as_ref(),
            pointwise_weight: &pointwise_weight,
            pointwise_bias: pointwise_bias.as_ref(),
            residual: residual.as_ref(),
            output,
        })
    };
    Ok((sample, bind))
}

impl Sample {
    /// Computes the layer in one way and compares the result: its error. Then times the next runs.
    async fn first_runs(&self, context: &Context, bind: impl FnOnce(&Tensor) -> Result<Bound>) -> Result<(f64, f64)> {
        // Of NaNs, so that a value that is not written shows.
        let nans = vec![f32::NAN; count(self.output_shape)];
        let output = Tensor::from_slice(context, self.output_shape, &nans)?;
        let bound = match bind(&output) {
            Ok(bound) => bound,
            Err(error) if is_refusal(&error) => return Ok((f64::INFINITY, f64::INFINITY)),
            Err(error) => return Err(error),
        };
        bound.run()?;
        let error = self.error(&output.read(context).await?);
        let stopwatch = Stopwatch::wall(context);
        let mut milliseconds = f64::INFINITY;
        for _ in 0..FIRST_RUNS {
            milliseconds = milliseconds.min(stopwatch.time(&bound).await?);
        }
        Ok((error, milliseconds))
    }

    fn error(&self, actual: &[f32]) -> f64 {
        // All values are finite, so that a NaN is an output that was not written.
        if actual.iter().any(|value| value.is_nan()) {
            return f64::INFINITY;
        }
        let sampled: Vec<f32> = self.outputs.iter().map(|&output| actual[output]).collect();
        verify::largest_error(&self.expected, self.activation, self.terms, &sampled)
    }
}

/// Whether an error says that a layer cannot be computed in one way, though it may be in another.
fn is_refusal(error: &Error) -> bool {
    match error {
        Error::Within { error, .. } => is_refusal(error),
        // Ways differ in the memory that they take besides the layer's tensors.
        Error::Device { .. } | Error::OutOfMemory { .. } | Error::TooManyDispatches { .. } | Error::Limit { .. } => {
            true
        }
        _ => false,
    }
}

/// Makes a layer's tensors, no two of which begin with the same values.
struct Fill<'a> {
    context: &'a Context,
    /// How many it has made.
    tensors: u32,
}

impl Fill<'_> {
    fn tensor(&mut self, shape: [u32; 4]) -> Result<(Tensor, Vec<f32>)> {
        self.tensors += 1;
        let values = data(self.tensors, shape);
        Ok((Tensor::from_slice(self.context, shape, &values)?, values))
    }

    fn optional(&mut self, is_there: bool, shape: [u32; 4]) -> Result<(Option<Tensor>, Option<Vec<f32>>)> {
        Ok(is_there.then(|| self.tensor(shape)).transpose()?.unzip())
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

/// Values from -1 to 1 without a pattern that a convolution could cancel: Weyl's sequence, from some place on.
#[expect(clippy::cast_possible_truncation, reason = "any values will do")]
fn data(tensor: u32, shape: [u32; 4]) -> Vec<f32> {
    let first = f64::from(tensor) * std::f64::consts::SQRT_2;
    (0..count(shape)).map(|index| (first + index as f64 * 0.618_033_988_749_895).fract() as f32 * 2.0 - 1.0).collect()
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
        let tuned = tune_separable_blocking(&idle_device(), &SeparableConv2d::new(3, 8, 3), [1, 3, 9, 9]);
        assert!(matches!(tuned, Err(Error::NoneRight { error }) if error > 1.0), "{tuned:?}");
    }

    /// What is right passes; what is not written, or off by little, does not.
    fn check_sample(sample: &Sample) {
        #[expect(clippy::cast_possible_truncation, reason = "the nearest f32 is what is right")]
        let right: Vec<f32> = sample.expected.values.iter().map(|&value| value as f32).collect();
        let mut whole = vec![0.0; count(sample.output_shape)];
        for (&output, value) in sample.outputs.iter().zip(&right) {
            whole[output] = *value;
        }
        assert!(sample.error(&whole) <= 1.0);
        for index in [0, 100, whole.len() - 1] {
            for wrong in [f32::NAN, whole[index] + 1e-3] {
                let mut actual = whole.clone();
                actual[index] = wrong;
                assert!(sample.error(&actual) > 1.0, "{index} is {wrong}");
            }
        }
    }

    #[test]
    fn a_wrong_or_missing_output_is_an_error() {
        let (context, layer) = (idle_device(), Conv2d::new(2, 4, 3).residual(true));
        let geometry = layer.geometry([1, 2, 9, 9]).unwrap();
        check_sample(&conv2d_sample(&context, &layer, &geometry).unwrap().0);
        let layer = SeparableConv2d::new(2, 4, 3).residual(true).activation(Activation::LeakyRelu(0.1));
        let geometry = layer.geometry([2, 2, 9, 9]).unwrap();
        check_sample(&separable_sample(&context, &layer, &geometry).unwrap().0);
    }
}
