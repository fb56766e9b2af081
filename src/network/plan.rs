//! `NetworkPlan`: a network planned for the shapes of its inputs.

use std::sync::Arc;

use super::lower::{Lowered, PlannedLayer, four};
use super::resolve::Resolved;
use crate::error::{Error, Result};
use crate::gpu::{Bound, Device, Plan, Tensor, Weights, Workspace};

/// A network planned for the shapes of its inputs, with its pipelines compiled. Bind it to as many sets of tensors as you
/// like. A clone is another handle to the same plan.
#[derive(Debug, Clone)]
pub struct NetworkPlan {
    plan: Plan,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    constants: Vec<Arc<[f32]>>,
    layers: Vec<PlannedLayer>,
}

/// An input or an output of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its sizes: as many as it has axes.
    pub shape: Vec<u32>,
    buffer: usize,
}

impl Port {
    /// The shape of the [`Tensor`] to bind: four sizes. Missing axes behind have size 1, and what is past the fourth axis is
    /// part of it.
    #[must_use]
    pub fn tensor_shape(&self) -> [u32; 4] {
        four(&self.shape)
    }
}

impl NetworkPlan {
    /// Compiles a lowered network, telling how many of how many pipelines are done.
    pub(super) fn new(
        device: &Device,
        resolved: &Resolved,
        lowered: Lowered,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Self> {
        let plan = Plan::with_progress(device, lowered.program, progress)?;
        let port = |(name, shape): (&String, &[u32]), &buffer: &usize| Port {
            name: name.clone(),
            shape: shape.to_vec(),
            buffer,
        };
        let inputs = resolved.inputs.iter().map(|(name, view)| (name, &view.shape[..]));
        let outputs = resolved.outputs.iter().map(|(name, known)| (name, known.shape()));
        let shared = Shared {
            inputs: inputs.zip(&lowered.inputs).map(|(end, buffer)| port(end, buffer)).collect(),
            outputs: outputs.zip(&lowered.outputs).map(|(end, buffer)| port(end, buffer)).collect(),
            constants: lowered.constants,
            layers: lowered.layers,
        };
        Ok(Self { plan, shared: Arc::new(shared) })
    }

    /// Its inputs, in the file's order.
    #[must_use]
    pub fn inputs(&self) -> &[Port] {
        &self.shared.inputs
    }

    /// Its outputs, in the file's order.
    #[must_use]
    pub fn outputs(&self) -> &[Port] {
        &self.shared.outputs
    }

    /// Its layers, in the order in which they run.
    #[must_use]
    pub fn layers(&self) -> &[PlannedLayer] {
        &self.shared.layers
    }

    /// How many steps a run takes.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.plan.whole_program().steps.len()
    }

    /// The bytes of device memory that each [`bind`](Self::bind) takes for what lies between layers, unless it is given a
    /// [`Workspace`].
    #[must_use]
    pub fn workspace_bytes(&self) -> u64 {
        self.plan.workspace_bytes()
    }

    /// The bytes of device memory that [`weights`](Self::weights) takes.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        self.plan.whole_program().weight_bytes()
    }

    /// The plan of the whole program, for [`Workspace::new`].
    #[must_use]
    pub fn as_plan(&self) -> &Plan {
        &self.plan
    }

    /// Uploads the network's weights and packs them. Afterwards only the form that runs is kept, so that they are packed once and
    /// for all. Bind them as often as you like, to this plan or to one of the same network for other shapes that reads them in the
    /// same layout.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] or [`Error::DeviceLost`].
    #[expect(clippy::missing_panics_doc, reason = "a program's buffers have lengths in 32 bits")]
    pub fn weights(&self) -> Result<Weights> {
        let device = self.plan.device();
        let tensor = |values: &Arc<[f32]>| {
            let length = u32::try_from(values.len()).expect("a buffer of the program, which has a length in 32 bits");
            Tensor::from_slice(device, [1, 1, 1, length], values)
        };
        let tensors = self.shared.constants.iter().map(tensor).collect::<Result<Vec<_>>>()?;
        self.plan.weights_of(&tensors)
    }

    /// Checks these tensors and makes everything that recording a run needs: one for each input and each output, by name.
    ///
    /// # Errors
    /// [`Error::UnknownTensor`] for a name that the network has not; [`Error::Node`], with the tensor's name, for one that
    /// is missing or has another shape than [`Port::tensor_shape`]; those of [`Plan::bind`].
    pub fn bind(&self, weights: &Weights, inputs: &[(&str, &Tensor)], outputs: &[(&str, &Tensor)]) -> Result<Bound> {
        self.bind_in(weights, inputs, outputs, None)
    }

    /// [`bind`](Self::bind) with memory that others use as well.
    ///
    /// # Errors
    /// Those of [`bind`](Self::bind).
    pub fn bind_in(
        &self,
        weights: &Weights,
        inputs: &[(&str, &Tensor)],
        outputs: &[(&str, &Tensor)],
        workspace: Option<&Workspace>,
    ) -> Result<Bound> {
        let mut ends = Vec::new();
        for (ports, tensors) in [(&self.shared.inputs, inputs), (&self.shared.outputs, outputs)] {
            if let Some((name, _)) = tensors.iter().find(|(name, _)| ports.iter().all(|port| port.name != *name)) {
                let known: Vec<_> = ports.iter().map(|port| port.name.as_str()).collect();
                return Err(Error::UnknownTensor { name: (*name).to_owned(), known: known.join(", ") });
            }
            for port in ports {
                let in_port = |error: Error| Error::Node { node: port.name.clone(), reason: error.to_string() };
                let tensor = tensors.iter().find(|(name, _)| *name == port.name).map(|(_, tensor)| *tensor);
                ends.push((port.buffer, self.plan.check_end(port.buffer, tensor).map_err(in_port)?));
            }
        }
        self.plan.bind_ends(Some(weights), &ends, workspace)
    }
}
