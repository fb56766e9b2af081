//! `Profile`: how long a whole network takes as a caller pays for it, and each of its layers and their steps by itself.

use std::time::Duration;

use crate::context::Context;
use crate::error::Result;
use crate::gpu::Bound;
use crate::layer::Layer;
use crate::network::{Network, ReferenceLayer};
use crate::on_device::{self, Array, OnDevice, Progress};
use crate::roofline::Roofline;
use crate::timing::{self, Spread, Timing};

/// For how long each layer is timed, and for how long the whole network.
const LAYER_BUDGET: Duration = Duration::from_millis(150);
const NETWORK_BUDGET: Duration = Duration::from_secs(3);

/// A layer of a network, timed by itself.
#[derive(Debug, Clone)]
pub struct LayerProfile {
    /// The name of the node that it began as.
    pub name: String,
    /// What it computes.
    pub layer: Layer,
    /// The kernel that computes it.
    pub kernel: String,
    /// Milliseconds, by the clock that knows the kernels best.
    pub median_ms: f64,
    /// The least milliseconds that the device's limits allow.
    pub floor_ms: f64,
    /// The largest error against the reference on the values that get there, as a multiple of its bound.
    pub error: f64,
    /// Its steps, where it takes more than one.
    pub steps: Vec<StepProfile>,
}

/// A step of a layer, timed by itself.
#[derive(Debug, Clone)]
pub struct StepProfile {
    /// The shader that it runs.
    pub name: String,
    /// Milliseconds, by the clock that knows the kernels best.
    pub median_ms: f64,
}

/// A network, timed.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Its layers, in the order in which they run.
    pub layers: Vec<LayerProfile>,
    /// Upload, one submission, read-back, in milliseconds.
    pub caller: Spread,
    /// Recording to done, without upload and read-back.
    pub whole: Spread,
    /// Planning, compiling and the first run, once the model is read.
    pub first_ms: f64,
    /// How many steps a run takes.
    pub steps: usize,
    /// The bytes of its weights on the device.
    pub weight_bytes: u64,
    /// The bytes of what lies between layers.
    pub workspace_bytes: u64,
}

impl Profile {
    /// Times a network on these inputs and its layers on the values that get there, each compared with the reference before.
    ///
    /// # Errors
    /// Those of [`OnDevice::new`], [`OnDevice::once`] and [`Network::reference`].
    pub fn measure(
        context: &Context,
        network: &Network,
        given: &[Array],
        roofline: &Roofline,
        progress: Progress<'_>,
    ) -> Result<Self> {
        let (on_device, _, first_ms) = OnDevice::first_run(context, network, given, progress)?;
        let (plan, mut layers) = (on_device.plan(), Vec::new());
        network.reference_of(context.dtype(), &on_device::inputs(given), |layer| {
            progress(layer.name, layers.len(), plan.layers().len());
            layers.push(row(context, layer, roofline)?);
            Ok(())
        })?;
        let caller = on_device.times(NETWORK_BUDGET)?;
        let bound = std::slice::from_ref(on_device.bound());
        let whole = timing::measure_blocking(context, bound, NETWORK_BUDGET)?.best().0;
        let (steps, weight_bytes, workspace_bytes) = (plan.steps(), plan.weight_bytes(), plan.workspace_bytes());
        Ok(Self { layers, caller, whole, first_ms, steps, weight_bytes, workspace_bytes })
    }

    /// The milliseconds of all layers, each by itself.
    #[must_use]
    pub fn sum_ms(&self) -> f64 {
        self.layers.iter().map(|layer| layer.median_ms).sum()
    }

    /// The first layer whose error passes its bound, if there is one.
    #[must_use]
    pub fn wrong(&self) -> Option<&LayerProfile> {
        self.layers.iter().find(|layer| layer.error.is_nan() || layer.error > 1.0)
    }
}

fn row(context: &Context, layer: &ReferenceLayer<'_>, roofline: &Roofline) -> Result<LayerProfile> {
    let (plan, bound, error) = on_device::layer_on(context, layer)?;
    let steps = steps(context, &bound)?;
    let timing = timing::measure_blocking(context, &[bound], LAYER_BUDGET)?;
    let values = layer.given.iter().map(|values| values.len() as u64).sum::<u64>() + layer.expected.values.len() as u64;
    Ok(LayerProfile {
        name: layer.name.to_owned(),
        layer: *layer.layer,
        kernel: plan.kernel().to_owned(),
        median_ms: timing.best().0.median,
        floor_ms: 1e3 * roofline.floor(context.dtype().bytes() * values, layer.layer.multiply_adds()),
        error,
        steps,
    })
}

/// The steps of a layer that takes more than one. They take turns.
fn steps(context: &Context, bound: &Bound) -> Result<Vec<StepProfile>> {
    let (names, steps): (Vec<_>, Vec<_>) = bound.steps().unzip();
    if steps.len() < 2 {
        return Ok(Vec::new());
    }
    let sets: Vec<&[Bound]> = steps.iter().map(std::slice::from_ref).collect();
    let timings = pollster::block_on(timing::measure_in_turn(context, &sets, LAYER_BUDGET))?;
    let profile = |(name, timing): (String, Timing)| StepProfile { name, median_ms: timing.best().0.median };
    Ok(names.into_iter().zip(timings).map(profile).collect())
}
