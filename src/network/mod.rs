//! `Network`: a graph of layers over named tensors, planned as one program.
//!
//! ```text
//! graph     operations over named tensors, built in code or read from a file
//!   │ resolve: shapes become known, constants are folded, views cost nothing
//! layers    what the planner knows how to lower
//!   │ simplify: fewer layers that compute the same
//!   │ lower: each by the planner, put together
//! program   one, with memory that layers share
//! ```

mod fold;
mod graph;
mod known;
mod lower;
mod movement;
mod numbers;
#[cfg(feature = "onnx")]
pub(crate) mod onnx;
mod operation;
mod plan;
mod reference;
mod resolve;
mod shape;
mod simplify;

use std::sync::Arc;

pub use lower::PlannedLayer;
pub use operation::Operation;
pub use plan::{NetworkPlan, Port};
pub use reference::{ReferenceLayer, ReferenceOutput};

use crate::context::Context;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::layer::Layer;
#[cfg(feature = "unstable")]
use crate::planner::Planner;
use crate::rounding::Rounding;
use graph::{Constant, Graph, GraphTensor, Node, TensorKind};
use resolve::Resolved;

/// A graph of layers over named tensors, built in code or read from an ONNX file.
///
/// ```
/// use sepconv::{Activation, Network, Operation, Size};
///
/// let mut network = Network::new();
/// let x = network.input("picture", &[Some(1), Some(3), None, None]);
/// let weight = network.constant("weight", &[8, 3, 3, 3], vec![0.1; 216])?;
/// let convolution = Operation::Conv2d {
///     stride: Size::from(2),
///     padding: 1.into(),
///     dilation: Size::from(1),
///     groups: 1,
/// };
/// let y = network.node("first", convolution, [x, weight])?;
/// let y = network.node("relu", Operation::Function(Activation::Relu), [y])?;
/// network.output("features", y)?;
/// assert_eq!(network.input_names(), ["picture"]);
/// # Ok::<(), sepconv::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Network {
    graph: Arc<Graph>,
}

/// A tensor of a [`Network`] that is being built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value(usize);

impl Network {
    /// A network without nodes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn graph_mut(&mut self) -> &mut Graph {
        Arc::make_mut(&mut self.graph)
    }

    /// Adds an input. A size that is `None` is given when the network is planned.
    pub fn input(&mut self, name: &str, shape: &[Option<u32>]) -> Value {
        let graph = self.graph_mut();
        let tensor = graph.tensor(name, TensorKind::Input(shape.to_vec()));
        graph.inputs.push(tensor);
        Value(tensor)
    }

    /// Adds a tensor that never changes, such as a weight.
    ///
    /// # Errors
    /// [`Error::Node`] if there are not as many values as the shape takes.
    pub fn constant(&mut self, name: &str, shape: &[u32], values: impl Into<Arc<[f32]>>) -> Result<Value> {
        let values = values.into();
        check_values(name, shape, values.len())?;
        let constant = Constant::floats(shape, values);
        Ok(Value(self.graph_mut().tensor(name, TensorKind::Constant(constant))))
    }

    /// Adds whole numbers that never change: sizes, axes, places.
    ///
    /// # Errors
    /// [`Error::Node`] if there are not as many values as the shape takes.
    pub fn integers(&mut self, name: &str, shape: &[u32], values: impl Into<Arc<[i64]>>) -> Result<Value> {
        let values = values.into();
        check_values(name, shape, values.len())?;
        let constant = Constant::integers(shape, values);
        Ok(Value(self.graph_mut().tensor(name, TensorKind::Constant(constant))))
    }

    /// Adds a node with one output. An input that may be left out is `None`.
    ///
    /// # Errors
    /// [`Error::Node`] for a value that this network has not.
    pub fn node<I: Into<Option<Value>>>(
        &mut self,
        name: &str,
        operation: Operation,
        inputs: impl IntoIterator<Item = I>,
    ) -> Result<Value> {
        Ok(self.node_of(name, operation, inputs, 1)?[0])
    }

    /// Adds a node with several outputs: [`Operation::Split`].
    ///
    /// # Errors
    /// [`Error::Node`] for a value that this network has not.
    pub fn node_of<I: Into<Option<Value>>>(
        &mut self,
        name: &str,
        operation: Operation,
        inputs: impl IntoIterator<Item = I>,
        outputs: usize,
    ) -> Result<Vec<Value>> {
        let inputs: Vec<_> = inputs.into_iter().map(|input| input.into().map(|Value(tensor)| tensor)).collect();
        let graph = self.graph_mut();
        if inputs.iter().flatten().any(|&tensor| tensor >= graph.tensors.len()) {
            return Err(Error::Node {
                node: name.to_owned(),
                reason: "an input is none of this network's values".to_owned(),
            });
        }
        let outputs: Vec<usize> = (0..outputs.max(1)).map(|_| graph.tensor(name, TensorKind::Made)).collect();
        let values = outputs.iter().copied().map(Value).collect();
        graph.nodes.push(Node { name: name.to_owned(), operation, inputs, outputs });
        Ok(values)
    }

    /// Says that a tensor is an output.
    ///
    /// # Errors
    /// [`Error::Node`] for a value that this network has not.
    pub fn output(&mut self, name: &str, Value(tensor): Value) -> Result<()> {
        let graph = self.graph_mut();
        if tensor >= graph.tensors.len() {
            return Err(Error::Node {
                node: name.to_owned(),
                reason: "it is none of this network's values".to_owned(),
            });
        }
        graph.outputs.push((name.to_owned(), tensor));
        Ok(())
    }

    /// Reads a network from the bytes of an ONNX file, opset 7 or later.
    ///
    /// # Errors
    /// [`Error::Model`] if the bytes are damaged or no model; [`Error::UnsupportedModel`], which lists everything that the
    /// model needs and this library lacks.
    #[cfg(feature = "onnx")]
    pub fn from_onnx(bytes: &[u8]) -> Result<Self> {
        Ok(Self { graph: Arc::new(onnx::read(bytes)?) })
    }

    /// The same network with these tensors as its only outputs, by the names that they have in the file: what is inside of
    /// it. What they do not need is not computed.
    ///
    /// # Errors
    /// [`Error::UnknownTensor`] for a name that none of its tensors has.
    pub fn with_outputs(&self, names: &[&str]) -> Result<Self> {
        let mut network = self.clone();
        let graph = network.graph_mut();
        let find = |name: &&str| {
            let tensor = graph.tensors.iter().position(|tensor| tensor.name == *name);
            let known = || self.output_names().join(", ");
            let unknown = || Error::UnknownTensor { name: (*name).to_owned(), known: known() };
            Ok(((*name).to_owned(), tensor.ok_or_else(unknown)?))
        };
        graph.outputs = names.iter().map(find).collect::<Result<_>>()?;
        Ok(network)
    }

    /// The same network with convolutions whose rounding errors may be so large. Default [`Rounding::Fast`].
    #[must_use]
    pub fn rounding(mut self, rounding: Rounding) -> Self {
        self.graph_mut().rounding = rounding;
        self
    }

    /// The same network with normal layers in the place of its separable ones, to see what these save: it computes the
    /// same, with more multiply-adds and more parameters.
    ///
    /// A depthwise layer and the pointwise one that alone reads it become one layer, as long as no function is between.
    /// Any other depthwise layer gets filters that are zero for all channels but its own.
    #[must_use]
    pub fn folded(mut self) -> Self {
        self.graph_mut().is_folded = true;
        self
    }

    /// The names of its inputs.
    #[must_use]
    pub fn input_names(&self) -> Vec<&str> {
        self.graph.inputs.iter().map(|&tensor| self.graph.tensors[tensor].name.as_str()).collect()
    }

    /// The names of its outputs.
    #[must_use]
    pub fn output_names(&self) -> Vec<&str> {
        self.graph.outputs.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// The shape of an input as it was declared; `None` stands for a size that is given when the network is planned.
    #[must_use]
    pub fn input_shape(&self, name: &str) -> Option<&[Option<u32>]> {
        let mut inputs = self.graph.inputs.iter().map(|&tensor| &self.graph.tensors[tensor]);
        match &inputs.find(|tensor| tensor.name == name)?.kind {
            TensorKind::Input(shape) => Some(shape),
            _ => None,
        }
    }

    /// Plans the network for inputs of these shapes and compiles it: every layer, in one program. An input whose shape is
    /// not given has the one that it was declared with.
    ///
    /// # Errors
    /// [`Error::UnknownTensor`] for a name that is no input's; [`Error::Node`], which names the node that cannot have these
    /// shapes; those of [`Context::plan`].
    pub fn plan(&self, context: &Context, shapes: &[(&str, &[u32])]) -> Result<NetworkPlan> {
        self.plan_with_progress(context, shapes, &|_, _| ())
    }

    /// [`plan`](Self::plan), telling how many of how many pipelines are compiled. That takes most of the time, and several
    /// threads do it.
    ///
    /// # Errors
    /// Those of [`plan`](Self::plan).
    pub fn plan_with_progress(
        &self,
        context: &Context,
        shapes: &[(&str, &[u32])],
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<NetworkPlan> {
        let resolved = self.resolve(shapes, context.dtype())?;
        let lowered = lower::lower(&resolved, context.planner())?;
        NetworkPlan::new(context, &resolved, lowered, progress)
    }

    /// [`plan_with_progress`](Self::plan_with_progress) for a browser, which compiles all pipelines at once and meanwhile
    /// does other things.
    ///
    /// # Errors
    /// Those of [`plan`](Self::plan).
    #[cfg(target_arch = "wasm32")]
    pub async fn plan_async(
        &self,
        context: &Context,
        shapes: &[(&str, &[u32])],
        progress: &dyn Fn(usize, usize),
    ) -> Result<NetworkPlan> {
        let resolved = self.resolve(shapes, context.dtype())?;
        let lowered = lower::lower(&resolved, context.planner())?;
        crate::gpu::browser::compile_program(context, &lowered.program, progress).await?;
        NetworkPlan::new(context, &resolved, lowered, &|_, _| ())
    }

    /// Computes the network in `f64` on the CPU, each layer from the `f32` values of the one before: the definition that
    /// results are compared with. `visit` sees every layer in turn.
    ///
    /// # Errors
    /// [`Error::Node`] for an input that is missing or has another length than its shape; those of [`plan`](Self::plan), but
    /// for the device's own.
    pub fn reference(
        &self,
        inputs: &[(&str, &[u32], &[f32])],
        visit: impl FnMut(&ReferenceLayer<'_>) -> Result<()>,
    ) -> Result<Vec<ReferenceOutput>> {
        self.reference_of(DType::F32, inputs, visit)
    }

    /// [`reference`](Self::reference) with tensors of this type: what is given, every constant, and what each layer makes are
    /// rounded to it.
    ///
    /// # Errors
    /// Those of [`reference`](Self::reference).
    pub fn reference_of(
        &self,
        dtype: DType,
        inputs: &[(&str, &[u32], &[f32])],
        visit: impl FnMut(&ReferenceLayer<'_>) -> Result<()>,
    ) -> Result<Vec<ReferenceOutput>> {
        let shapes: Vec<(&str, &[u32])> = inputs.iter().map(|(name, shape, _)| (*name, *shape)).collect();
        reference::run(&self.resolve(&shapes, dtype)?, dtype, inputs, visit)
    }

    /// [`plan`](Self::plan) without a device: what would run, and what each layer would become.
    ///
    /// # Errors
    /// Those of [`plan`](Self::plan), but for the device's own.
    #[cfg(feature = "unstable")]
    pub fn program(
        &self,
        planner: &Planner,
        shapes: &[(&str, &[u32])],
    ) -> Result<(crate::program::Program, Vec<PlannedLayer>)> {
        let lowered = lower::lower(&self.resolve(shapes, planner.target().dtype)?, planner)?;
        Ok((lowered.program, lowered.layers))
    }

    /// The layers that a plan for inputs of these shapes has, where tensors are `f32`, with the names of the nodes that they began as.
    ///
    /// # Errors
    /// Those of [`plan`](Self::plan), but for the planner's and the device's own.
    pub fn layers(&self, shapes: &[(&str, &[u32])]) -> Result<Vec<(String, Layer)>> {
        Ok(self.resolve(shapes, DType::F32)?.layers.into_iter().map(|layer| (layer.name, layer.layer)).collect())
    }

    /// The names and shapes of its outputs for inputs of these shapes.
    ///
    /// # Errors
    /// Those of [`plan`](Self::plan), but for the planner's and the device's own.
    #[cfg(feature = "unstable")]
    pub fn output_shapes(&self, shapes: &[(&str, &[u32])]) -> Result<Vec<(String, Vec<u32>)>> {
        let outputs = self.resolve(shapes, DType::F32)?.outputs;
        Ok(outputs.into_iter().map(|(name, known)| (name, known.shape().to_vec())).collect())
    }

    /// The layers for inputs of these shapes and tensors of this type.
    fn resolve(&self, shapes: &[(&str, &[u32])], dtype: DType) -> Result<Resolved> {
        let shapes = self.shapes(shapes)?;
        let mut resolved = resolve::resolve(&self.graph, &shapes).map_err(|(node, reason)| {
            let reason = format!("{reason}{}", self.unlike_declared(&shapes));
            Error::Node { node, reason }
        })?;
        simplify::simplify(&mut resolved, dtype);
        if self.graph.is_folded {
            fold::fold(&mut resolved);
        }
        Ok(resolved)
    }

    /// What a message adds where an input is not as the network declares it, which may be why a node cannot be computed.
    fn unlike_declared(&self, shapes: &[(String, Vec<u32>)]) -> String {
        let unlike = shapes.iter().filter_map(|(name, shape)| {
            let declared = self.input_shape(name)?;
            let is_like = declared.len() == shape.len()
                && declared.iter().zip(shape).all(|(declared, size)| declared.is_none_or(|declared| declared == *size));
            let size = |size: &Option<u32>| size.map_or("?".to_owned(), |size| size.to_string());
            let declared = declared.iter().map(size).collect::<Vec<_>>().join(", ");
            (!is_like).then(|| format!("; input {name:?} is {shape:?}, and the network declares [{declared}]"))
        });
        unlike.collect()
    }

    /// The shape of each input: the caller's, or else the declared one.
    fn shapes(&self, given: &[(&str, &[u32])]) -> Result<Vec<(String, Vec<u32>)>> {
        let names = self.input_names();
        if let Some((name, _)) = given.iter().find(|(name, _)| !names.contains(name)) {
            return Err(Error::UnknownTensor { name: (*name).to_owned(), known: names.join(", ") });
        }
        let shape = |tensor: &GraphTensor| {
            let name = tensor.name.as_str();
            let wanted = given.iter().find(|(other, _)| *other == name).map(|(_, shape)| shape.to_vec());
            let declared = || match &tensor.kind {
                TensorKind::Input(shape) => shape.iter().copied().collect::<Option<Vec<u32>>>(),
                _ => None,
            };
            let in_node = |reason: String| Error::Node { node: name.to_owned(), reason };
            let shape =
                wanted.or_else(declared).ok_or_else(|| in_node("its shape is not known; give one".to_owned()))?;
            if shape.contains(&0) || shape.len() > shape::RANK || shape::checked_count(&shape).is_none() {
                return Err(in_node(format!(
                    "its shape is {shape:?}; each size must be at least 1, all values fewer than 2^31, and axes at most {}",
                    shape::RANK
                )));
            }
            Ok((name.to_owned(), shape))
        };
        self.graph.inputs.iter().map(|&tensor| shape(&self.graph.tensors[tensor])).collect()
    }
}

fn check_values(name: &str, shape: &[u32], length: usize) -> Result<()> {
    if shape::checked_count(shape) == Some(length as u64) {
        return Ok(());
    }
    let reason = format!("it has {length} values, which shape {shape:?} does not take");
    Err(Error::Node { node: name.to_owned(), reason })
}
