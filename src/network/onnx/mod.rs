//! Networks from ONNX files. The crate rten-onnx decodes them; nothing of it is public.

mod attributes;
mod guard;
mod operators;
#[cfg(feature = "unstable")]
pub mod separate;
mod tensor;

use std::collections::{BTreeMap, HashMap, HashSet};

use rten_onnx::onnx::{GraphProto, ModelProto, ValueInfoProto};

use super::graph::{Graph, Node, TensorKind};
use crate::error::{Error, Result};
use attributes::{Attributes, is_standard, node_name};

/// The first and the last version of the standard operators that is understood.
const OPSETS: std::ops::RangeInclusive<i64> = 7..=28;

/// Reads a graph from the bytes of a file.
pub(super) fn read(bytes: &[u8]) -> Result<Graph> {
    let damaged = |reason: String| Error::Model { reason };
    guard::check(bytes).map_err(damaged)?;
    let model = ModelProto::parse_buf(bytes).map_err(|error| damaged(error.to_string()))?;
    let graph = model.graph.ok_or_else(|| damaged("it has no graph; is it an ONNX file?".to_owned()))?;
    let standard = model.opset_import.iter().find(|opset| is_standard(opset.domain.as_deref()));
    let opset = standard.and_then(|opset| opset.version).unwrap_or(0);
    if !OPSETS.contains(&opset) {
        let (first, last) = (OPSETS.start(), OPSETS.end());
        return Err(damaged(format!("its opset is {opset}; it must be from {first} to {last}")));
    }
    Reader { graph: Graph::default(), tensors: HashMap::new(), made: HashSet::new(), missing: BTreeMap::new() }
        .read(&graph, opset)
}

struct Reader {
    graph: Graph,
    /// The tensor of each name.
    tensors: HashMap<String, usize>,
    /// The names of constants, inputs and nodes' outputs: each is made once.
    made: HashSet<String>,
    /// What is not supported, and which nodes need it.
    missing: BTreeMap<String, Vec<String>>,
}

impl Reader {
    fn read(mut self, file: &GraphProto, opset: i64) -> Result<Graph> {
        for tensor in &file.initializer {
            let name = tensor.name.clone().unwrap_or_default();
            self.make(&name)?;
            match tensor::constant(tensor) {
                Ok(constant) => {
                    let index = self.graph.tensor(&name, TensorKind::Constant(constant));
                    self.tensors.insert(name, index);
                }
                Err(reason) => self.lacks(format!("a constant: {reason}"), &name),
            }
        }
        for input in &file.input {
            let name = input.name.clone().unwrap_or_default();
            // Older files list their weights as inputs too.
            if self.made.insert(name.clone()) {
                let index = self.graph.tensor(&name, TensorKind::Input(shape_of(input)));
                self.graph.inputs.push(index);
                self.tensors.insert(name, index);
            }
        }
        for (number, node) in file.node.iter().enumerate() {
            let kind = node.op_type.clone().unwrap_or_default();
            let name = node_name(number, node);
            let inputs: Vec<Option<usize>> = node.input.iter().map(|input| self.input(input)).collect();
            let mut attributes = Attributes::new(node);
            // Dropout is the identity, unless it is told to train.
            if kind == "Dropout" && inputs.get(2).copied().flatten().is_some_and(|mode| !self.is_zero(mode)) {
                self.lacks("Dropout with training_mode".to_owned(), &name);
            }
            let read = if is_standard(node.domain.as_deref()) {
                operators::read(
                    &kind,
                    &mut attributes,
                    opset,
                    &mut |constant| self.graph.tensor(&name, TensorKind::Constant(constant)),
                    inputs,
                )
            } else {
                Err(vec![format!("operator {kind} of {}", node.domain.as_deref().unwrap_or_default())])
            };
            match read {
                Ok((operation, inputs)) => {
                    for what in attributes.unread() {
                        self.lacks(format!("{kind} with {what}"), &name);
                    }
                    let outputs = self.outputs(&node.output)?;
                    self.graph.nodes.push(Node { name, operation, inputs, outputs });
                }
                Err(reasons) => {
                    for reason in reasons {
                        self.lacks(reason, &name);
                    }
                    self.outputs(&node.output)?;
                }
            }
        }
        if file.output.is_empty() {
            return Err(Error::Model { reason: "it has no outputs".to_owned() });
        }
        for output in &file.output {
            let name = output.name.clone().unwrap_or_default();
            if self.graph.outputs.iter().any(|(other, _)| *other == name) {
                return Err(Error::Model { reason: format!("it has the output {name:?} twice") });
            }
            match self.tensors.get(&name) {
                Some(&tensor) => self.graph.outputs.push((name, tensor)),
                None => return Err(Error::Model { reason: format!("no node makes its output {name:?}") }),
            }
        }
        if self.missing.is_empty() {
            return Ok(self.graph);
        }
        let missing = self.missing.into_iter().map(|(what, nodes)| format!("{what} (in {})", shortened(&nodes)));
        Err(Error::UnsupportedModel { missing: missing.collect() })
    }

    fn lacks(&mut self, what: String, node: &str) {
        self.missing.entry(what).or_default().push(node.to_owned());
    }

    /// Whether a tensor is a constant 0.
    fn is_zero(&self, tensor: usize) -> bool {
        let TensorKind::Constant(constant) = &self.graph.tensors[tensor].kind else { return false };
        constant.as_integers() == Some(&[0])
    }

    /// The tensor of a name; none for an input that is left out.
    fn input(&mut self, name: &str) -> Option<usize> {
        if name.is_empty() {
            return None;
        }
        if let Some(&tensor) = self.tensors.get(name) {
            return Some(tensor);
        }
        // Nobody makes it, or a later node does: planning says so, with the node's name.
        let index = self.graph.tensor(name, TensorKind::Made);
        self.tensors.insert(name.to_owned(), index);
        Some(index)
    }

    fn make(&mut self, name: &str) -> Result<()> {
        if self.made.insert(name.to_owned()) {
            return Ok(());
        }
        Err(Error::Model { reason: format!("two of its tensors have the name {name:?}") })
    }

    fn outputs(&mut self, names: &[String]) -> Result<Vec<usize>> {
        // Outputs that nobody wants have no name, and come last.
        let wanted = names.iter().take_while(|name| !name.is_empty());
        wanted
            .map(|name| {
                self.make(name)?;
                let index = self.graph.tensor(name, TensorKind::Made);
                self.tensors.insert(name.clone(), index);
                Ok(index)
            })
            .collect()
    }
}

/// The declared sizes of an input; none for one that is only named.
fn shape_of(input: &ValueInfoProto) -> Vec<Option<u32>> {
    let shape =
        input.r#type.as_ref().and_then(|r#type| r#type.tensor_type.as_ref()).and_then(|tensor| tensor.shape.as_ref());
    let sizes = shape.map_or(&[][..], |shape| &shape.dim);
    sizes.iter().map(|size| size.dim_value.and_then(|size| u32::try_from(size).ok()).filter(|&size| size > 0)).collect()
}

/// The first names of a list.
fn shortened(names: &[String]) -> String {
    const SHOWN: usize = 4;
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
