//! How long a bound layer takes: how long its caller waits, and how long the device alone takes, if it can tell.

use std::fmt;
use std::time::Duration;

use web_time::Instant;

use crate::error::{Error, Result};
use crate::gpu::{Bound, Device, Wait};
use crate::size::check_range;

/// Which clock a time was taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// The device's timestamps around the compute pass.
    Device,
    /// The caller's clock around recording, submitting and waiting.
    Wall,
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Device => "GPU timestamps",
            Self::Wall => "wall clock",
        })
    }
}

/// The median and the spread of some times, in milliseconds unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Spread {
    /// Half the samples were faster.
    pub median: f64,
    /// A tenth of the samples were faster.
    pub p10: f64,
    /// A tenth of the samples were slower.
    pub p90: f64,
}

impl Spread {
    /// The spread of at least one sample.
    fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let at = |tenths: usize| samples[(samples.len() - 1) * tenths / 10];
        Self { median: at(5), p10: at(1), p90: at(9) }
    }
}

/// The times of one layer.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Timing {
    /// What a caller waits for: recording, submitting, and the device to be done.
    pub wall: Spread,
    /// What the device takes by its own clock; none where it has no timestamps, or ones that cannot be true.
    pub device: Option<Spread>,
}

impl Timing {
    /// The device's time where there is one, else the caller's, with the clock it is from.
    #[must_use]
    pub fn best(&self) -> (Spread, Clock) {
        self.device.map_or((self.wall, Clock::Wall), |device| (device, Clock::Device))
    }
}

/// A GPU that had nothing to do runs at a lower clock at first: an H200 at less than a quarter of its own, for up to 70 ms.
const WARM_UP: Duration = Duration::from_millis(200);

/// Times a layer that is bound to one or more sets of tensors. The sets take turns: if together they are larger than
/// the device's caches, no run finds its tensors there. Each set first runs once unmeasured, and a GPU goes on with that for up
/// to 0.2 seconds. Then at least 3 and at most 100 runs are measured by each clock, for about `budget` in all.
///
/// # Errors
/// Those of [`Bound::run`]; [`Error::OutOfRange`] if there is no set.
pub async fn measure(device: &Device, sets: &[Bound], budget: Duration) -> Result<Timing> {
    Ok(measure_in_turn(device, &[sets], budget).await?.swap_remove(0))
}

/// [`measure`], waiting for it.
///
/// # Errors
/// Those of [`measure`].
#[cfg(not(target_arch = "wasm32"))]
pub fn measure_blocking(device: &Device, sets: &[Bound], budget: Duration) -> Result<Timing> {
    pollster::block_on(measure(device, sets, budget))
}

/// [`measure`] for several layers, for about `budget` in all. They take turns, one run each, so that a disturbance
/// meets them all alike.
///
/// # Errors
/// Those of [`measure`].
pub async fn measure_in_turn(device: &Device, layers: &[&[Bound]], budget: Duration) -> Result<Vec<Timing>> {
    for sets in layers {
        check_range("the number of sets of tensors", sets.len() as u64, 1, u64::MAX)?;
    }
    let caller = Stopwatch::wall(device);
    warm_up(&caller, layers.iter().copied().flatten(), budget).await?;
    let walls = sample(&caller, layers, budget / 2).await?.into_iter().map(Spread::of);
    let device = match Stopwatch::device(device)? {
        None => None,
        Some(device) => Some(sample(&device, layers, budget / 2).await?),
    };
    let timings = walls.enumerate().map(|(index, wall)| {
        let times = device.as_ref().map(|times| times[index].clone());
        // Some drivers answer zero, or count in another unit than they say.
        let plausible = |time: &f64| *time > 0.0 && *time < 2.0 * wall.p90;
        Timing { wall, device: times.filter(|times| times.iter().all(plausible)).map(Spread::of) }
    });
    Ok(timings.collect())
}

/// Runs each bound layer once, and on a GPU all of them again, for up to `WARM_UP` or `budget`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 1 to 16")]
pub(crate) async fn warm_up(
    stopwatch: &Stopwatch<'_>,
    layers: impl Iterator<Item = &Bound> + Clone,
    budget: Duration,
) -> Result<()> {
    let is_software = stopwatch.device.adapter_info().device_type == wgpu::DeviceType::Cpu;
    let (start, budget) = (Instant::now(), WARM_UP.min(budget));
    for bound in layers.clone() {
        stopwatch.time(bound).await?;
    }
    let once = start.elapsed();
    // A device that is waited for after each run has too little to do for its full clock.
    let rounds = (budget.as_secs_f64() / once.as_secs_f64().max(1e-9)).clamp(1.0, 16.0) as usize;
    while !is_software && start.elapsed() < budget {
        for _ in 0..rounds {
            layers.clone().try_for_each(Bound::run)?;
        }
        stopwatch.device.wait_by(Wait::InPlace).await?;
    }
    Ok(())
}

/// At least 3 runs, at most 100, for about `budget` from now.
fn runs(budget: Duration) -> impl Iterator<Item = usize> {
    let start = Instant::now();
    (0..100).take_while(move |&run| run < 3 || start.elapsed() < budget)
}

/// The times of each layer. The layers take turns, and so do the sets of each.
async fn sample(stopwatch: &Stopwatch<'_>, layers: &[&[Bound]], budget: Duration) -> Result<Vec<Vec<f64>>> {
    let mut samples = vec![Vec::new(); layers.len()];
    for round in runs(budget) {
        for (sets, times) in layers.iter().zip(&mut samples) {
            times.push(stopwatch.time(&sets[round % sets.len()]).await?);
        }
    }
    Ok(samples)
}

/// The spread of each of the numbers that `once` returns: at least 3 runs, at most 100, for about `budget`.
///
/// # Errors
/// Those of `once`.
pub fn repeat<const COUNT: usize>(
    budget: Duration,
    mut once: impl FnMut() -> Result<[f64; COUNT]>,
) -> Result<[Spread; COUNT]> {
    let mut samples = [const { Vec::new() }; COUNT];
    for _ in runs(budget) {
        for (samples, sample) in samples.iter_mut().zip(once()?) {
            samples.push(sample);
        }
    }
    Ok(samples.map(Spread::of))
}

/// Times single runs by one clock.
#[derive(Debug)]
pub struct Stopwatch<'a> {
    device: &'a Device,
    stamps: Option<Stamps>,
}

impl<'a> Stopwatch<'a> {
    /// By the caller's clock: recording, submitting and waiting.
    #[must_use]
    pub fn wall(device: &'a Device) -> Self {
        Self { device, stamps: None }
    }

    /// By the device's clock, if it was opened with [`wgpu::Features::TIMESTAMP_QUERY`].
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] or [`Error::DeviceLost`].
    pub fn device(device: &'a Device) -> Result<Option<Self>> {
        if !device.device().features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            return Ok(None);
        }
        Ok(Some(Self { device, stamps: Some(Stamps::new(device)?) }))
    }

    /// Runs a layer once, waits for it, and returns its milliseconds. Natively it blocks this thread, so that no other
    /// one is in what it measures.
    ///
    /// # Errors
    /// Those of [`Bound::run`], and [`Error::OtherContext`] for a layer of another device.
    pub async fn time(&self, bound: &Bound) -> Result<f64> {
        if !bound.device().is_same(self.device) {
            return Err(Error::OtherContext { argument: "the bound layer" });
        }
        if let Some(stamps) = &self.stamps {
            return stamps.time(self.device, bound).await;
        }
        let start = Instant::now();
        let submission = bound.submit()?;
        self.device.wait_for(submission, Wait::InPlace).await?;
        Ok(start.elapsed().as_secs_f64() * 1e3)
    }
}

/// Two timestamps and where they are read.
#[derive(Debug)]
struct Stamps {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    readable: wgpu::Buffer,
}

/// Two timestamps of eight bytes.
const STAMPS_BYTES: u64 = 16;

impl Stamps {
    fn new(device: &Device) -> Result<Self> {
        device.guarded("timestamps", STAMPS_BYTES, || {
            let device = device.device();
            let buffer = |usage| {
                device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("sepconv timestamps"),
                    size: STAMPS_BYTES,
                    usage,
                    mapped_at_creation: false,
                })
            };
            Self {
                queries: device.create_query_set(&wgpu::QuerySetDescriptor {
                    label: Some("sepconv timestamps"),
                    ty: wgpu::QueryType::Timestamp,
                    count: 2,
                }),
                resolved: buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC),
                readable: buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST),
            }
        })
    }

    /// Runs a layer once and returns the milliseconds between its two timestamps.
    async fn time(&self, device: &Device, bound: &Bound) -> Result<f64> {
        let submission = device.guarded("a timed submission", 0, || {
            let mut encoder = device.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            bound.record(&mut encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: Some("sepconv"),
                timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                    query_set: &self.queries,
                    beginning_of_pass_write_index: Some(0),
                    end_of_pass_write_index: Some(1),
                }),
            }));
            encoder.resolve_query_set(&self.queries, 0..2, &self.resolved, 0);
            encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.readable, 0, STAMPS_BYTES);
            device.queue().submit([encoder.finish()])
        })?;
        let stamps: Vec<u64> = device.download(&self.readable, submission, Wait::InPlace).await?;
        let ticks = stamps[1].saturating_sub(stamps[0]) as f64;
        Ok(ticks * f64::from(device.queue().get_timestamp_period()) / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_of_samples() {
        let spread = Spread::of((0..=10).rev().map(f64::from).collect());
        assert_eq!(spread, Spread { median: 5.0, p10: 1.0, p90: 9.0 });
        assert_eq!(Spread::of(vec![7.0]), Spread { median: 7.0, p10: 7.0, p90: 7.0 });
    }

    #[test]
    fn a_time_without_timestamps_is_the_callers() {
        let wall = Spread { median: 2.0, p10: 1.0, p90: 3.0 };
        assert_eq!(Timing { wall, device: None }.best(), (wall, Clock::Wall));
        let device = Spread { median: 1.0, p10: 1.0, p90: 1.0 };
        assert_eq!(Timing { wall, device: Some(device) }.best(), (device, Clock::Device));
    }
}
