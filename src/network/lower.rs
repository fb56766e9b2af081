//! From layers to one program.

use std::collections::HashMap;
use std::sync::Arc;

use super::known::{Known, View};
use super::resolve::{Resolved, ResolvedLayer, Source};
use super::shape::count;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::layer::Layer;
use crate::layers::rearrange::Rearrange;
use crate::planner::Planner;
use crate::program::{Kind, Name, Program, Slice};

/// A network's program, and what its buffers are.
#[derive(Debug)]
pub(crate) struct Lowered {
    pub program: Program,
    /// The buffer of each input.
    pub inputs: Vec<usize>,
    /// The buffer of each output.
    pub outputs: Vec<usize>,
    /// The values of each parameter, in the order of the program's buffers.
    pub constants: Vec<Arc<[f32]>>,
    /// What each layer became.
    pub layers: Vec<PlannedLayer>,
}

/// A layer of a planned network.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PlannedLayer {
    /// The name of the node that it began as; others may have become part of it.
    pub name: String,
    /// What it computes.
    pub layer: Layer,
    /// The kernel that computes it, or several with ` + ` between them.
    pub kernel: String,
    /// How many steps it takes.
    pub steps: usize,
    /// The values of its weights, biases and other constants.
    pub parameters: u64,
    /// The bytes of its packed weights.
    pub packed_weight_bytes: u64,
}

/// Four sizes of a tensor of any rank: missing axes behind have size 1, and what is past the fourth axis is part of it.
pub(crate) fn four(shape: &[u32]) -> [u32; 4] {
    let mut sizes = [1; 4];
    for (at, &size) in shape.iter().enumerate() {
        sizes[at.min(3)] = if at < 3 { size } else { sizes[3].saturating_mul(size) };
    }
    sizes
}

/// Lowers layers to one program.
///
/// # Errors
/// What the planner refuses, with the name of the layer.
pub(crate) fn lower(resolved: &Resolved, planner: &Planner) -> Result<Lowered> {
    let mut lowering = Lowering::new(resolved, planner.target().dtype)?;
    for layer in &resolved.layers {
        let in_node = |error: Error| Error::Node { node: layer.name.clone(), reason: error.to_string() };
        lowering.layer(layer, planner).map_err(in_node)?;
    }
    let ends = resolved.outputs.iter().zip(lowering.lowered.outputs.clone());
    for ((name, known), buffer) in ends {
        lowering.copy_out(name, known, buffer, planner)?;
    }
    Ok(lowering.lowered)
}

struct Lowering {
    lowered: Lowered,
    /// The buffer of each storage.
    buffers: Vec<usize>,
    /// The buffer of each constant, by where its values are in memory.
    constants: HashMap<*const f32, usize>,
}

impl Lowering {
    fn new(resolved: &Resolved, dtype: DType) -> Result<Self> {
        // Readers see the kernels of each layer; a program's own name would be as long as the network.
        let mut program = Program::new("network", dtype);
        let mut inputs = Vec::new();
        // An output that is all of one storage, and no other output, is where its layer writes.
        let mut outputs: Vec<Option<usize>> = vec![None; resolved.outputs.len()];
        let mut own: HashMap<usize, usize> = HashMap::new();
        for (index, (_, known)) in resolved.outputs.iter().enumerate() {
            if let Known::View(View { storage, start: 0, shape }) = known
                && resolved.storages[*storage].length == count(shape)
                && !resolved.storages[*storage].is_input
            {
                own.entry(*storage).or_insert(index);
            }
        }
        let mut buffers = Vec::new();
        for (index, storage) in resolved.storages.iter().enumerate() {
            let buffer = if storage.is_input {
                let (_, view) =
                    resolved.inputs.iter().find(|(_, view)| view.storage == index).expect("an input's storage");
                program.buffer(Kind::Input, "input", four(&view.shape))
            } else if let Some(&output) = own.get(&index) {
                let buffer = program.buffer(Kind::Output, "output", four(resolved.outputs[output].1.shape()));
                outputs[output] = Some(buffer);
                buffer
            } else {
                program.hidden(Kind::Workspace, "a tensor between layers", storage.length)?
            };
            buffers.push(buffer);
        }
        inputs.extend(resolved.inputs.iter().map(|(_, view)| buffers[view.storage]));
        let outputs = outputs.into_iter().zip(&resolved.outputs).map(|(buffer, (_, known))| {
            buffer.unwrap_or_else(|| program.buffer(Kind::Output, "output", four(known.shape())))
        });
        let outputs = outputs.collect();
        let lowered = Lowered { program, inputs, outputs, constants: Vec::new(), layers: Vec::new() };
        Ok(Self { lowered, buffers, constants: HashMap::new() })
    }

    /// The buffer of a constant: one for all that read it.
    fn constant(&mut self, values: &Arc<[f32]>) -> Result<usize> {
        if let Some(&buffer) = self.constants.get(&values.as_ptr()) {
            return Ok(buffer);
        }
        let buffer = self.lowered.program.hidden(Kind::Parameter, "a constant", values.len() as u64)?;
        self.constants.insert(values.as_ptr(), buffer);
        self.lowered.constants.push(values.clone());
        Ok(buffer)
    }

    fn slice(&mut self, source: &Source) -> Result<Slice> {
        match source {
            Source::Place(place) => {
                Ok(Slice { buffer: self.buffers[place.storage], start: place.start, length: place.length })
            }
            Source::Constant(values) => {
                let buffer = self.constant(values)?;
                Ok(self.lowered.program.whole(buffer))
            }
        }
    }

    fn layer(&mut self, layer: &ResolvedLayer, planner: &Planner) -> Result<()> {
        let sources = layer.sources.iter().map(|source| self.slice(source)).collect::<Result<Vec<_>>>()?;
        let place = layer.output;
        let output = Slice { buffer: self.buffers[place.storage], start: place.start, length: place.length };
        self.add(&layer.name, layer.layer, &sources, output, planner)
    }

    fn add(&mut self, name: &str, layer: Layer, sources: &[Slice], output: Slice, planner: &Planner) -> Result<()> {
        let program = planner.plan(&layer)?;
        let mut given: Vec<(usize, Slice)> = Vec::new();
        for (wanted, slice) in layer.describe().given().iter().zip(sources) {
            let found = program.buffers.iter().position(|buffer| match buffer.kind {
                Kind::Parameter => wanted.is_parameter && buffer.name == Name { part: wanted.part, name: wanted.name },
                Kind::Input => !wanted.is_parameter && buffer.name.name == wanted.name,
                _ => false,
            });
            given.push((found.expect("a buffer for all that a layer is given"), *slice));
        }
        let [_, end] = program.ends();
        given.push((end, output));
        let whole = &mut self.lowered.program;
        let constants = sources.iter().filter(|slice| whole.is_parameter(slice.buffer));
        let made = PlannedLayer {
            name: name.to_owned(),
            layer,
            kernel: program.kernel.clone(),
            steps: program.steps.len(),
            parameters: constants.map(|slice| slice.length).sum(),
            packed_weight_bytes: program.packed_weight_bytes(),
        };
        whole.append(program, &given)?;
        self.lowered.layers.push(made);
        Ok(())
    }

    /// Copies an output that no layer could write where the caller wants it: an input, a constant, a part of a tensor, or
    /// one that is an output already.
    fn copy_out(&mut self, name: &str, known: &Known, buffer: usize, planner: &Planner) -> Result<()> {
        let source = match known {
            Known::View(view) if self.buffers[view.storage] == buffer => return Ok(()),
            Known::View(view) => {
                Slice { buffer: self.buffers[view.storage], start: view.start, length: count(&view.shape) }
            }
            Known::Constant(constant) => {
                let buffer = self.constant(constant.as_output())?;
                self.lowered.program.whole(buffer)
            }
        };
        let in_node = |reason: String| Error::Node { node: name.to_owned(), reason };
        let length = u32::try_from(source.length).map_err(|_| in_node("it is too large".to_owned()))?;
        let copy: Rearrange = super::movement::copy(length).map_err(in_node)?;
        let output = self.lowered.program.whole(buffer);
        self.add(name, copy.into(), &[source], output, planner)
    }
}
