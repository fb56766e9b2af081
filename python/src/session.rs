//! `Session`: a network on a device, planned once for each set of shapes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use sepconv::network::Port;
use sepconv::unstable::text;
use sepconv::{Network, NetworkPlan, Result, Tensor, Weights, Workspace};

use crate::array::{self, Floats, Made};
use crate::device::Context;
use crate::error::raised;
use crate::network::{self, NetworkTime};
use crate::own::Own;

/// A network on a device.
#[pyclass(frozen, module = "sepconv._sepconv")]
pub struct Session(Own<Inner>);

struct Inner {
    context: sepconv::Context,
    network: Network,
    /// How many plans are kept.
    most: usize,
    /// The plans, each with the shapes of the inputs that it is for; the last that was used is the last.
    plans: Mutex<Vec<(Shapes, Entry)>>,
}

/// The sizes of every input, in the network's order.
type Shapes = Vec<Vec<u32>>;

/// A plan once it is made. Who wants it meanwhile waits, and plans nothing.
type Entry = Arc<Mutex<Option<Arc<Planned>>>>;

/// A network planned for the shapes of its inputs.
struct Planned {
    context: sepconv::Context,
    plan: NetworkPlan,
    weights: Weights,
    /// What lies between layers. All runs share it, since a device's queue does one after the other.
    workspace: Workspace,
    /// What no run is using.
    free: Mutex<Vec<Ends>>,
}

/// The tensors that one run writes and reads. Two runs at once have two of them, so that the one uploads while the other
/// computes.
struct Ends {
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
    bound: sepconv::Bound,
}

/// What a mutex guards is whole after a panic as well.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tensors with their names.
fn named<'a>(ports: &'a [Port], tensors: &'a [Tensor]) -> Vec<(&'a str, &'a Tensor)> {
    ports.iter().map(|port| port.name.as_str()).zip(tensors).collect()
}

impl Planned {
    fn new(inner: &Inner, shapes: &[(&str, &[u32])]) -> Result<Self> {
        let plan = inner.network.plan(&inner.context, shapes)?;
        let weights = plan.weights()?;
        let workspace = Workspace::new(&inner.context, [plan.as_plan()])?;
        Ok(Self { context: inner.context.clone(), plan, weights, workspace, free: Mutex::default() })
    }

    fn ends(&self) -> Result<Ends> {
        if let Some(ends) = lock(&self.free).pop() {
            return Ok(ends);
        }
        let tensors = |ports: &[Port]| {
            ports.iter().map(|port| Tensor::zeros(&self.context, port.tensor_shape())).collect::<Result<Vec<_>>>()
        };
        let (inputs, outputs) = (tensors(self.plan.inputs())?, tensors(self.plan.outputs())?);
        let (given, wanted) = (named(self.plan.inputs(), &inputs), named(self.plan.outputs(), &outputs));
        let bound = self.plan.bind_in(&self.weights, &given, &wanted, Some(&self.workspace))?;
        Ok(Ends { inputs, outputs, bound })
    }

    /// Uploads, submits once, and reads these outputs back.
    fn run(&self, values: &[&[f32]], wanted: &[usize]) -> Result<Vec<Vec<f32>>> {
        let ends = self.ends()?;
        for (tensor, values) in ends.inputs.iter().zip(values) {
            tensor.write(values)?;
        }
        ends.bound.run()?;
        let read = wanted.iter().map(|&output| ends.outputs[output].read_blocking()).collect();
        lock(&self.free).push(ends);
        read
    }
}

impl Inner {
    /// The plan for these shapes.
    fn planned(&self, shapes: &Shapes) -> Result<Arc<Planned>> {
        let entry = {
            let mut plans = lock(&self.plans);
            let entry = match plans.iter().position(|(other, _)| other == shapes) {
                Some(place) => plans.remove(place).1,
                None => Entry::default(),
            };
            if plans.len() >= self.most {
                plans.remove(0);
            }
            plans.push((shapes.clone(), entry.clone()));
            entry
        };
        let mut planned = lock(&entry);
        if let Some(planned) = &*planned {
            return Ok(planned.clone());
        }
        let names = self.network.input_names();
        let shapes: Vec<(&str, &[u32])> = names.into_iter().zip(shapes.iter().map(Vec::as_slice)).collect();
        Ok(planned.insert(Arc::new(Planned::new(self, &shapes)?)).clone())
    }
}

impl Session {
    fn get(&self) -> PyResult<&Inner> {
        self.0.get("a Session")
    }
}

#[pymethods]
impl Session {
    /// Reads a network from the bytes of an ONNX file. It keeps plans for so many sets of shapes.
    #[new]
    fn new(py: Python<'_>, context: &Context, model: &[u8], rounding: &str, plans: usize) -> PyResult<Self> {
        let context = context.get()?.clone();
        let rounding = text::rounding(rounding)
            .map_err(|reason| PyValueError::new_err(format!("rounding is {rounding:?}: {reason}")))?;
        let network = py.detach(|| Network::from_onnx(model)).map_err(raised)?.rounding(rounding);
        Ok(Self(Own::new(Inner { context, network, most: plans.max(1), plans: Mutex::default() })))
    }

    /// Each input's name and sizes; a size that the file leaves open is None.
    fn inputs(&self) -> PyResult<Vec<(String, Vec<Option<u32>>)>> {
        let network = &self.get()?.network;
        let shape = |name: &str| network.input_shape(name).unwrap_or_default().to_vec();
        Ok(network.input_names().into_iter().map(|name| (name.to_owned(), shape(name))).collect())
    }

    /// Each output's name and sizes; no sizes where they follow from some that the file leaves open, or has wrong.
    fn outputs(&self) -> PyResult<Vec<(String, Option<Vec<u32>>)>> {
        let network = &self.get()?.network;
        Ok(match network.output_shapes(&[]) {
            Ok(outputs) => outputs.into_iter().map(|(name, shape)| (name, Some(shape))).collect(),
            Err(_) => network.output_names().into_iter().map(|name| (name.to_owned(), None)).collect(),
        })
    }

    /// Runs the network on arrays in the order of its inputs, with Python free to do something else. Returns its outputs of
    /// these places, and the seconds that the library took of the call: upload, one submission, read-back.
    fn run<'py>(
        &self,
        py: Python<'py>,
        arrays: Vec<Floats<'py>>,
        wanted: Vec<usize>,
    ) -> PyResult<(Vec<Made<'py>>, f64)> {
        let inner = self.get()?;
        let shapes = arrays.iter().map(|array| array::shape("an input", array)).collect::<PyResult<Shapes>>()?;
        let values = arrays.iter().map(|array| array::values("an input", array)).collect::<PyResult<Vec<_>>>()?;
        let run = || {
            let planned = inner.planned(&shapes)?;
            let start = Instant::now();
            let made = planned.run(&values, &wanted)?;
            Ok((made, planned, start.elapsed().as_secs_f64()))
        };
        let (made, planned, seconds) = py.detach(run).map_err(raised)?;
        let made = made.into_iter().zip(&wanted);
        let made = made.map(|(values, &output)| array::made(py, values, &planned.plan.outputs()[output].shape));
        Ok((made.collect::<PyResult<_>>()?, seconds))
    }

    /// Times it on these inputs, and each of its layers on the values that get there.
    fn profile(&self, py: Python<'_>, feed: Vec<(String, Floats<'_>)>) -> PyResult<NetworkTime> {
        let inner = self.get()?;
        network::profile(py, &inner.context, &inner.network, &feed)
    }
}
