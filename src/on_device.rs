//! A whole network on a device, and each of its layers there by itself.

use std::time::Duration;

use web_time::Instant;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::gpu::{Bound, Plan, Tensor};
use crate::layer_tensors::LayerTensors;
use crate::network::{Network, NetworkPlan, Port, ReferenceLayer};
use crate::timing::{Spread, repeat};
use crate::verify;

/// An input's or an output's name, sizes and values.
#[derive(Debug, Clone)]
pub struct Array {
    /// Its name.
    pub name: String,
    /// As many sizes as it has axes.
    pub shape: Vec<u32>,
    /// As many values as the sizes take.
    pub values: Vec<f32>,
}

/// The shapes of inputs, as a plan takes them.
#[must_use]
pub fn shapes(given: &[Array]) -> Vec<(&str, &[u32])> {
    given.iter().map(|given| (given.name.as_str(), &given.shape[..])).collect()
}

/// Inputs as the reference takes them.
#[must_use]
pub fn inputs(given: &[Array]) -> Vec<(&str, &[u32], &[f32])> {
    given.iter().map(|given| (given.name.as_str(), &given.shape[..], &given.values[..])).collect()
}

/// What is told of work that takes a while: what is done now, how much is done, and how much there is.
pub type Progress<'a> = &'a (dyn Fn(&str, usize, usize) + Sync);

/// A network with its tensors on a device.
#[derive(Debug)]
pub struct OnDevice {
    plan: NetworkPlan,
    inputs: Vec<(Tensor, Vec<f32>)>,
    outputs: Vec<(String, Vec<u32>, Tensor)>,
    bound: Bound,
}

impl OnDevice {
    /// Plans a network for these inputs and binds it.
    ///
    /// # Errors
    /// Those of [`Network::plan`]; [`Error::Node`] for an input that is missing or has another length than its shape.
    pub fn new(context: &Context, network: &Network, given: &[Array], progress: Progress<'_>) -> Result<Self> {
        let plan =
            network.plan_with_progress(context, &shapes(given), &|done, all| progress("compiling", done, all))?;
        let weights = plan.weights()?;
        let mut inputs = Vec::new();
        for port in plan.inputs() {
            let in_input = |reason: String| Error::Node { node: port.name.clone(), reason };
            let given = given.iter().find(|given| given.name == port.name);
            let given = given.ok_or_else(|| in_input("this input is missing".to_owned()))?;
            let expected = given.shape.iter().map(|&size| u64::from(size)).product::<u64>();
            if given.values.len() as u64 != expected {
                return Err(in_input(format!("it has {} values; its shape takes {expected}", given.values.len())));
            }
            inputs.push((Tensor::from_slice(context, port.tensor_shape(), &given.values)?, given.values.clone()));
        }
        let output =
            |port: &Port| Ok((port.name.clone(), port.shape.clone(), Tensor::zeros(context, port.tensor_shape())?));
        let outputs = plan.outputs().iter().map(output).collect::<Result<Vec<_>>>()?;
        let ends: Vec<_> =
            plan.inputs().iter().zip(&inputs).map(|(port, (tensor, _))| (port.name.as_str(), tensor)).collect();
        let out: Vec<_> = outputs.iter().map(|(name, _, tensor)| (name.as_str(), tensor)).collect();
        let bound = plan.bind(&weights, &ends, &out)?;
        Ok(Self { plan, inputs, outputs, bound })
    }

    /// [`new`](Self::new) and a first run: what it makes, and the milliseconds that all of it takes.
    ///
    /// # Errors
    /// Those of [`new`](Self::new) and of [`once`](Self::once).
    pub fn first_run(
        context: &Context,
        network: &Network,
        given: &[Array],
        progress: Progress<'_>,
    ) -> Result<(Self, Vec<Vec<f32>>, f64)> {
        let ((on_device, values), milliseconds) = timed(|| {
            let on_device = Self::new(context, network, given, progress)?;
            let values = on_device.once()?;
            Result::Ok((on_device, values))
        })?;
        Ok((on_device, values, milliseconds))
    }

    /// The milliseconds of runs for about so long, as a caller pays for them: see [`once`](Self::once).
    ///
    /// # Errors
    /// Those of [`once`](Self::once).
    pub fn times(&self, budget: Duration) -> Result<Spread> {
        repeat(budget, || Ok([timed(|| self.once())?.1])).map(|[times]| times)
    }

    /// What was planned.
    #[must_use]
    pub fn plan(&self) -> &NetworkPlan {
        &self.plan
    }

    /// The whole program, without upload and read-back.
    #[must_use]
    pub fn bound(&self) -> &Bound {
        &self.bound
    }

    /// Upload, one submission, read-back: what a caller pays.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] or [`Error::DeviceLost`].
    pub fn once(&self) -> Result<Vec<Vec<f32>>> {
        for (tensor, values) in &self.inputs {
            tensor.write(values)?;
        }
        self.bound.run()?;
        self.outputs.iter().map(|(_, _, tensor)| tensor.read_blocking()).collect()
    }

    /// The outputs with these values.
    #[must_use]
    pub fn outputs(&self, values: Vec<Vec<f32>>) -> Vec<Array> {
        let named = self.outputs.iter().zip(values);
        named.map(|((name, shape, _), values)| Array { name: name.clone(), shape: shape.clone(), values }).collect()
    }
}

/// What something makes, and the milliseconds that it takes.
///
/// # Errors
/// Those of what makes it.
pub fn timed<T, E>(make: impl FnOnce() -> std::result::Result<T, E>) -> std::result::Result<(T, f64), E> {
    let start = Instant::now();
    let value = make()?;
    Ok((value, start.elapsed().as_secs_f64() * 1e3))
}

/// A layer of a network, planned and bound to the values that get there, and the largest error of its result as a multiple
/// of its bound.
///
/// # Errors
/// Those of [`Context::plan`] and of running it.
pub fn layer_on(context: &Context, layer: &ReferenceLayer<'_>) -> Result<(Plan, Bound, f64)> {
    let plan = context.plan(*layer.layer)?;
    let nans = vec![f32::NAN; layer.expected.values.len()];
    let output = Tensor::from_slice(context, layer.layer.output_shape(), &nans)?;
    let bound = LayerTensors::new(context, layer.layer, layer.given)?.bind(&plan, &output)?;
    bound.run()?;
    let (activation, terms) = (layer.layer.describe().activation(), layer.layer.describe().terms());
    let error = verify::largest_error_of(context.dtype(), layer.expected, activation, terms, &output.read_blocking()?);
    Ok((plan, bound, error))
}
