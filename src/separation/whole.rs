//! A whole network beside the original: how far its outputs are from the original's, and how long both take.

use std::time::Duration;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::gpu::Bound;
use crate::network::Network;
use crate::on_device::{Array, OnDevice};

use super::choose::Setting;
use super::layers::in_turn;
use super::sample::Sample;

/// A setting, measured.
#[derive(Debug)]
pub struct Point {
    /// Which layers are separable.
    pub setting: Setting,
    /// What its layers that could change take together, by their own times.
    pub estimate: f64,
    /// What the whole network takes.
    pub milliseconds: f64,
    /// What it loses.
    pub fidelity: Fidelity,
    /// The bytes of its file.
    pub file: Vec<u8>,
}

/// How near the outputs are to the original's.
#[derive(Debug, Clone, Copy)]
pub struct Fidelity {
    /// The root of the mean square of the differences, as a part of that of the outputs.
    pub error: f64,
    /// The largest difference of a value.
    pub largest_difference: f64,
    /// The root of the mean square of the differences.
    pub rms_difference: f64,
    /// The peak signal-to-noise ratio to the original's outputs, in dB, where they are pictures.
    pub psnr: Option<f64>,
    /// The same to the pictures that an upscaler should make.
    pub psnr_to_truth: Option<f64>,
}

/// The original network and what it makes of the inputs.
#[derive(Debug)]
pub struct Whole<'a> {
    context: &'a Context,
    samples: &'a [Sample],
    original: Vec<Vec<Array>>,
    /// The largest value of a pixel.
    peak: Option<f64>,
}

impl<'a> Whole<'a> {
    /// `largest` is the largest value of the pixels of pictures that are given.
    ///
    /// # Errors
    /// Those of [`OnDevice::new`] and of running it; [`Error::Node`] for an upscaler whose output is not as large as the
    /// picture that it should make.
    pub fn new(context: &'a Context, network: &Network, samples: &'a [Sample], largest: Option<f64>) -> Result<Self> {
        let original = outputs(context, network, samples)?;
        for (sample, outputs) in samples.iter().zip(&original) {
            check_truth(sample, outputs)?;
        }
        let peak = largest.filter(|largest| original.iter().flatten().all(|output| is_picture(output, *largest)));
        Ok(Self { context, samples, original, peak })
    }

    /// How near a network's outputs are to the original's.
    pub(super) fn fidelity(&self, network: &Network) -> Result<Fidelity> {
        let outputs = outputs(self.context, network, self.samples)?;
        let mut own = Difference::default();
        let mut truth = Difference::default();
        for ((sample, outputs), original) in self.samples.iter().zip(&outputs).zip(&self.original) {
            for (output, original) in outputs.iter().zip(original) {
                own.add(&original.values, &output.values);
            }
            if let (Some(expected), [output]) = (&sample.truth, &outputs[..]) {
                truth.add(expected, &output.values);
            }
        }
        let psnr_to_truth = self.peak.filter(|_| truth.count > 0).map(|peak| truth.psnr(peak));
        Ok(Fidelity {
            error: if own.lost > 0.0 { (own.lost / own.energy).sqrt() } else { own.lost },
            largest_difference: own.largest,
            rms_difference: (own.lost / own.count.max(1) as f64).sqrt(),
            psnr: self.peak.map(|peak| own.psnr(peak)),
            psnr_to_truth,
        })
    }

    /// The times of networks on the first input, in turn, in milliseconds.
    pub(super) fn times(&self, networks: &[Network]) -> Result<Vec<f64>> {
        let on_device = |network| OnDevice::new(self.context, network, &self.samples[0].given, &|_, _, _| ());
        let on_device = networks.iter().map(on_device).collect::<Result<Vec<_>>>()?;
        let bound: Vec<&Bound> = on_device.iter().map(OnDevice::bound).collect();
        in_turn(self.context, &bound, BUDGET)
    }
}

/// For how long each network is timed.
const BUDGET: Duration = Duration::from_millis(500);

/// What a network makes of each of the inputs.
fn outputs(context: &Context, network: &Network, samples: &[Sample]) -> Result<Vec<Vec<Array>>> {
    let run = |Sample { given, .. }: &Sample| {
        let on_device = OnDevice::new(context, network, given, &|_, _, _| ())?;
        Ok(on_device.outputs(on_device.once()?))
    };
    samples.iter().map(run).collect()
}

/// Refuses an upscaler whose output is not as large as the picture.
fn check_truth(sample: &Sample, outputs: &[Array]) -> Result<()> {
    let Some(truth) = &sample.truth else { return Ok(()) };
    let shapes: Vec<String> = outputs.iter().map(|output| format!("{:?}", output.shape)).collect();
    if let [output] = outputs
        && output.values.len() == truth.len()
    {
        return Ok(());
    }
    let input = &sample.given[0];
    let reason = format!(
        "the network makes {} of an input of {:?}, and not one picture as many times as large",
        shapes.join(" and "),
        input.shape
    );
    Err(Error::Node { node: input.name.clone(), reason })
}

/// Whether an output is planes of grey or of colours, with values of about this range.
fn is_picture(output: &Array, largest: f64) -> bool {
    let fits = |&value: &f32| (-0.5 * largest..=1.5 * largest).contains(&f64::from(value));
    matches!(output.shape[..], [_, 1 | 3, _, _]) && output.values.iter().all(fits)
}

/// The differences of many values.
#[derive(Default)]
struct Difference {
    count: u64,
    energy: f64,
    lost: f64,
    largest: f64,
}

impl Difference {
    fn add(&mut self, expected: &[f32], actual: &[f32]) {
        for (&expected, &actual) in expected.iter().zip(actual) {
            let (expected, actual) = (f64::from(expected), f64::from(actual));
            self.energy += expected * expected;
            self.lost += (expected - actual).powi(2);
            self.largest = self.largest.max((expected - actual).abs());
        }
        self.count += expected.len() as u64;
    }

    fn psnr(&self, peak: f64) -> f64 {
        10.0 * (peak * peak * self.count as f64 / self.lost).log10()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_measured() {
        let mut difference = Difference::default();
        difference.add(&[3.0, 4.0], &[3.0, 3.5]);
        assert!((difference.energy, difference.lost, difference.largest) == (25.0, 0.25, 0.5));
        // A mean square of 1/8.
        assert!((difference.psnr(1.0) - 9.0309).abs() < 1e-4);
    }
}
