//! A whole network on a device, and each of its layers there by itself.

use std::time::{Duration, Instant};

use sepconv::network::{Port, ReferenceLayer};
use sepconv::timing::{Spread, repeat};
use sepconv::unstable::LayerTensors;
use sepconv::{Bound, Context, Network, NetworkPlan, Plan, Tensor, verify};

use crate::failure::{Failure, Outcome};
use crate::networks::{self, Given};
use crate::output::progress;

/// An output's name, sizes and values.
pub struct Output {
    pub name: String,
    pub shape: Vec<u32>,
    pub values: Vec<f32>,
}

/// A network with its tensors on a device.
pub struct OnDevice {
    pub plan: NetworkPlan,
    inputs: Vec<(Tensor, Vec<f32>)>,
    outputs: Vec<(String, Vec<u32>, Tensor)>,
    bound: Bound,
}

impl OnDevice {
    /// Plans a network for these inputs, with a progress bar, and binds it.
    pub fn new(context: &Context, network: &Network, given: &[Given]) -> Outcome<Self> {
        let shapes = networks::shapes(given);
        let bar = progress(1);
        bar.set_message("compiling");
        let plan = network.plan_with_progress(context, &shapes, &|done, all| {
            bar.set_length(all as u64);
            bar.set_position(done as u64);
        })?;
        bar.finish_and_clear();
        let weights = plan.weights()?;
        let mut inputs = Vec::new();
        for port in plan.inputs() {
            let given = given.iter().find(|given| given.name == port.name).expect("every input was read");
            let expected = given.shape.iter().map(|&size| u64::from(size)).product::<u64>();
            if given.values.len() as u64 != expected {
                return Err(Failure::Request(format!("tensor {} has {} values", given.name, given.values.len())));
            }
            inputs.push((Tensor::from_slice(context, port.tensor_shape(), &given.values)?, given.values.clone()));
        }
        let output =
            |port: &Port| Ok((port.name.clone(), port.shape.clone(), Tensor::zeros(context, port.tensor_shape())?));
        let outputs = plan.outputs().iter().map(output).collect::<sepconv::Result<Vec<_>>>()?;
        let ends: Vec<_> =
            plan.inputs().iter().zip(&inputs).map(|(port, (tensor, _))| (port.name.as_str(), tensor)).collect();
        let out: Vec<_> = outputs.iter().map(|(name, _, tensor)| (name.as_str(), tensor)).collect();
        let bound = plan.bind(&weights, &ends, &out)?;
        Ok(Self { plan, inputs, outputs, bound })
    }

    /// [`new`](Self::new) and a first run: what it makes, and the milliseconds that all of it takes.
    pub fn first_run(context: &Context, network: &Network, given: &[Given]) -> Outcome<(Self, Vec<Vec<f32>>, f64)> {
        let ((on_device, values), milliseconds) = timed(|| {
            let on_device = Self::new(context, network, given)?;
            let values = on_device.once()?;
            Outcome::Ok((on_device, values))
        })?;
        Ok((on_device, values, milliseconds))
    }

    /// The milliseconds of runs for about so long, as a caller pays for them: see [`once`](Self::once).
    pub fn times(&self, budget: Duration) -> sepconv::Result<Spread> {
        repeat(budget, || Ok([timed(|| self.once())?.1])).map(|[times]| times)
    }

    /// The whole program, without upload and read-back.
    pub fn bound(&self) -> &Bound {
        &self.bound
    }

    /// Upload, one submission, read-back: what a caller pays.
    pub fn once(&self) -> sepconv::Result<Vec<Vec<f32>>> {
        for (tensor, values) in &self.inputs {
            tensor.write(values)?;
        }
        self.bound.run()?;
        self.outputs.iter().map(|(_, _, tensor)| tensor.read_blocking()).collect()
    }

    /// The outputs with these values.
    pub fn outputs(&self, values: Vec<Vec<f32>>) -> Vec<Output> {
        let named = self.outputs.iter().zip(values);
        named.map(|((name, shape, _), values)| Output { name: name.clone(), shape: shape.clone(), values }).collect()
    }
}

/// What something makes, and the milliseconds that it takes.
pub fn timed<T, E>(make: impl FnOnce() -> Result<T, E>) -> Result<(T, f64), E> {
    let start = Instant::now();
    let value = make()?;
    Ok((value, start.elapsed().as_secs_f64() * 1e3))
}

/// A layer of a network, planned and bound to the values that get there, and the largest error of its result as a multiple
/// of its bound.
pub fn layer(context: &Context, layer: &ReferenceLayer<'_>) -> sepconv::Result<(Plan, Bound, f64)> {
    let plan = context.plan(*layer.layer)?;
    let nans = vec![f32::NAN; layer.expected.values.len()];
    let output = Tensor::from_slice(context, layer.layer.output_shape(), &nans)?;
    let bound = LayerTensors::new(context, layer.layer, layer.given)?.bind(&plan, &output)?;
    bound.run()?;
    let (activation, terms) = (layer.layer.describe().activation(), layer.layer.describe().terms());
    let error = verify::largest_error(layer.expected, activation, terms, &output.read_blocking()?);
    Ok((plan, bound, error))
}

/// Bytes as a reader likes them.
pub fn megabytes(bytes: u64) -> String {
    format!("{:.2} MB", bytes as f64 / 1e6)
}
