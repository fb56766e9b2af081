//! `Program`: what will run, as plain data. It needs no device and knows no layer.

use std::collections::HashSet;

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::loops;
use crate::shader::{Elements, Shader, specialise};
use crate::size::values;

/// The buffers of one or more layers, the steps that pack their weights once, and the steps of one run.
#[derive(Debug, Clone)]
pub struct Program {
    /// The kernels that lowered the layers, for a reader.
    pub kernel: String,
    /// What its tensors hold, but for those between steps that hold sums.
    pub dtype: DType,
    /// Every tensor that a step reads or writes.
    pub buffers: Vec<Buffer>,
    /// What packs the weights, in this order: once, and again when they have changed.
    pub prepare: Vec<Step>,
    /// What runs, in this order.
    pub steps: Vec<Step>,
    /// How many parts its layers have: one each, unless a tensor is larger than a binding may be, a sum is too long for
    /// one invocation, or a kernel takes several steps.
    pub parts: usize,
    /// The floating-point operations of a method that makes another number of them than the layer's definition has, a
    /// multiply-add being two; none where they are as many.
    pub operations: Option<u64>,
}

/// A tensor of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buffer {
    /// What errors call it.
    pub name: Name,
    /// Who makes it, and for how long it stays.
    pub kind: Kind,
    /// Batch, channels, height, width.
    pub shape: [u32; 4],
    /// What it holds.
    pub dtype: DType,
}

/// The name of a layer's tensor, and of the layer's part that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name {
    /// `"depthwise"` or `"pointwise"` in a separable layer; none in others.
    pub part: Option<&'static str>,
    /// Such as `"input"`.
    pub name: &'static str,
}

/// Who makes a tensor, and for how long it stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The caller, for many runs: weights and biases.
    Parameter,
    /// The caller, for one run.
    Input,
    /// The last steps, for the caller.
    Output,
    /// The program's `prepare` steps, for many runs.
    Packed,
    /// One step, for later ones. Before and after, its memory may be another tensor's.
    Workspace,
}

impl Kind {
    /// Whether it stays for many runs.
    #[must_use]
    pub fn stays(self) -> bool {
        matches!(self, Self::Parameter | Self::Packed)
    }
}

/// One dispatch.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The shader that it runs.
    pub shader: Shader,
    /// Where the shader begins.
    pub entry_point: &'static str,
    /// The values that replace the shader's constants. A boolean is 0 or 1.
    pub constants: Vec<(&'static str, u32)>,
    /// What the shader knows as `extent`, in words of 32 bits. The first three say where the step starts in its grid.
    /// The next `OFFSETS` say where each binding's tensor starts; they are written when the step is bound.
    pub uniform: Vec<u32>,
    /// What it reads and writes.
    pub bindings: Vec<Binding>,
    /// How many workgroups along x, y and z.
    pub grid: [u32; 3],
    /// Which part of the layers it computes.
    pub part: usize,
    /// What the tensors hold that it reads and writes.
    pub elements: Elements,
    /// Whether its shader's loops over constants are written out.
    pub loops_written_out: bool,
}

/// The most bindings that a shader has besides its uniform.
pub const OFFSETS: usize = 7;

/// A stretch of a tensor at one of a shader's bindings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// The binding's number, from 1.
    pub number: u32,
    /// What is bound.
    pub slice: Slice,
    /// How many values of the tensor, as the shader counts them, come before what is bound.
    pub skipped: u64,
    /// Whether the step writes it.
    pub writes: bool,
    /// The stretch must start at a multiple of this many values in its buffer. One that does not is copied to where it
    /// does, and back if the step writes it.
    pub alignment: u64,
}

/// A stretch of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    /// Its index in [`Program::buffers`].
    pub buffer: usize,
    /// Where it starts, in values.
    pub start: u64,
    /// How long it is, in values.
    pub length: u64,
}

/// More dispatches than this are refused: recording them would take longer than any caller expects.
const MAXIMUM_DISPATCHES: u64 = 1 << 16;

/// Refuses more dispatches than anyone would wait for.
pub(crate) fn check_dispatches(dispatches: u64) -> Result<()> {
    if dispatches > MAXIMUM_DISPATCHES {
        return Err(Error::TooManyDispatches { dispatches, maximum: MAXIMUM_DISPATCHES });
    }
    Ok(())
}

/// The name of a tensor of a layer without parts.
impl From<&'static str> for Name {
    fn from(name: &'static str) -> Self {
        Self { part: None, name }
    }
}

impl Name {
    /// Says whose tensor an error is about.
    pub(crate) fn within(self, error: Error) -> Error {
        match self.part {
            None => error,
            Some(part) => Error::within(part)(error),
        }
    }
}

impl Step {
    /// A step whose grid is not yet known.
    pub(crate) fn new(
        shader: Shader,
        entry_point: &'static str,
        constants: Vec<(&'static str, u32)>,
        uniform: Vec<u32>,
        bindings: Vec<Binding>,
    ) -> Self {
        let (elements, loops_written_out) = (Elements::default(), false);
        Self { shader, entry_point, constants, uniform, bindings, grid: [0; 3], part: 0, elements, loops_written_out }
    }

    /// The whole text that is compiled for it.
    #[must_use]
    pub fn wgsl(&self) -> String {
        let rolled = self.elements.put_into(&specialise(&self.shader.wgsl(), &self.constants));
        if self.loops_written_out { loops::write_out(&rolled) } else { rolled }
    }

    /// How many invocations a workgroup has along x, y and z.
    ///
    /// # Panics
    /// If the shader does not say so in constants, as this crate's own shaders do.
    #[cfg(feature = "unstable")]
    #[must_use]
    pub fn workgroup(&self) -> [u32; 3] {
        let workgroup = crate::constants::workgroup(&self.wgsl(), self.entry_point);
        workgroup.unwrap_or_else(|| panic!("{} has a workgroup of unknown size", self.shader.name))
    }
}

impl Buffer {
    /// How many values it has.
    #[must_use]
    pub fn length(&self) -> u64 {
        values(self.shape)
    }

    /// How many bytes it takes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.dtype.bytes_of(self.length())
    }
}

impl Binding {
    /// A stretch that a step reads at a binding, all of it.
    pub(crate) fn read(number: u32, slice: Slice) -> Self {
        Self { number, slice, skipped: 0, writes: false, alignment: 1 }
    }

    /// A stretch that a step writes at a binding.
    pub(crate) fn write(number: u32, slice: Slice) -> Self {
        Self { writes: true, ..Self::read(number, slice) }
    }
}

impl Program {
    /// A program without steps, whose tensors hold this.
    pub(crate) fn new(kernel: &str, dtype: DType) -> Self {
        Self {
            kernel: kernel.to_owned(),
            dtype,
            buffers: Vec::new(),
            prepare: Vec::new(),
            steps: Vec::new(),
            parts: 0,
            operations: None,
        }
    }

    /// Adds a tensor and returns its index.
    pub(crate) fn buffer(&mut self, kind: Kind, name: impl Into<Name>, shape: [u32; 4]) -> usize {
        self.buffers.push(Buffer { name: name.into(), kind, shape, dtype: self.dtype });
        self.buffers.len() - 1
    }

    /// Adds a tensor that nobody outside of the program sees.
    pub(crate) fn hidden(&mut self, kind: Kind, name: &'static str, length: u64) -> Result<usize> {
        let shape = [1, 1, 1, u32::MAX];
        let length = u32::try_from(length).map_err(|_| Error::Overflow { argument: name, shape })?;
        Ok(self.buffer(kind, name, [1, 1, 1, length]))
    }

    /// Adds a tensor of sums, which nobody outside of the program sees.
    pub(crate) fn sums(&mut self, kind: Kind, name: &'static str, length: u64) -> Result<usize> {
        let buffer = self.hidden(kind, name, length)?;
        self.buffers[buffer].dtype = DType::F32;
        Ok(buffer)
    }

    /// Has a tensor hold sums.
    pub(crate) fn have_sums(&mut self, buffer: usize) {
        self.buffers[buffer].dtype = DType::F32;
        let elements: Vec<_> = self.steps.iter().map(|step| self.elements(step)).collect();
        self.steps.iter_mut().zip(elements).for_each(|(step, elements)| step.elements = elements);
    }

    /// All of a tensor.
    pub(crate) fn whole(&self, buffer: usize) -> Slice {
        Slice { buffer, start: 0, length: self.buffers[buffer].length() }
    }

    /// The bytes of its packed weights.
    #[must_use]
    pub fn packed_weight_bytes(&self) -> u64 {
        let packed = self.buffers.iter().filter(|buffer| buffer.kind == Kind::Packed);
        packed.map(Buffer::bytes).sum()
    }

    /// Which buffers its steps read or write.
    #[must_use]
    pub fn used(&self) -> HashSet<usize> {
        self.steps.iter().flat_map(|step| &step.bindings).map(|binding| binding.slice.buffer).collect()
    }

    /// The bytes of all weights that its steps read, packed or as they are.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        let used = self.used();
        let buffers = self.buffers.iter().enumerate();
        let read = buffers.filter(|(index, buffer)| buffer.kind.stays() && used.contains(index));
        read.map(|(_, buffer)| buffer.bytes()).sum()
    }

    /// The tensor of this kind and name; none if there is none.
    #[must_use]
    pub fn find(&self, kind: Kind, name: &str) -> Option<usize> {
        self.buffers.iter().position(|buffer| buffer.kind == kind && buffer.name.name == name)
    }

    /// Whether a buffer holds what the caller gives for many runs.
    pub(crate) fn is_parameter(&self, buffer: usize) -> bool {
        self.buffers[buffer].kind == Kind::Parameter
    }

    /// Its input and its output.
    pub(crate) fn ends(&self) -> [usize; 2] {
        [(Kind::Input, "input"), (Kind::Output, "output")]
            .map(|(kind, name)| self.find(kind, name).expect("every layer has an input and an output"))
    }

    /// Adds a part: one step, or several where the grid is larger than one dispatch may have.
    ///
    /// # Errors
    /// [`Error::TooManyDispatches`].
    pub(crate) fn dispatch(&mut self, mut step: Step, grid: [u64; 3], limits: &wgpu::Limits) -> Result<()> {
        step.part = self.parts;
        step.elements = self.elements(&step);
        self.parts += 1;
        fold_into(&mut self.steps, &step, grid, limits)
    }

    /// [`dispatch`](Self::dispatch) of a step that packs weights.
    pub(crate) fn prepare(&mut self, mut step: Step, grid: [u64; 3], limits: &wgpu::Limits) -> Result<()> {
        step.elements = self.elements(&step);
        fold_into(&mut self.prepare, &step, grid, limits)
    }

    /// What the tensors hold that a step reads and writes: all but the first and the written one the same.
    pub(crate) fn elements(&self, step: &Step) -> Elements {
        let mut elements = Elements::all(self.dtype);
        for Binding { number, slice, .. } in &step.bindings {
            let dtype = self.buffers[slice.buffer].dtype;
            match number {
                1 => elements.input = dtype,
                5 => elements.output = dtype,
                _ => elements.others = dtype,
            }
        }
        elements
    }

    /// Says which part of a layer its tensors belong to.
    pub(crate) fn within(mut self, part: &'static str) -> Self {
        for buffer in &mut self.buffers {
            buffer.name.part.get_or_insert(part);
        }
        self
    }

    /// Adds another program's steps after its own. `given` says which of its own tensors take the place of the other's;
    /// the other's remaining tensors are added. Returns where all of the other's tensors are now.
    ///
    /// # Errors
    /// [`Error::TooManyDispatches`].
    pub(crate) fn append(&mut self, other: Self, given: &[(usize, Slice)]) -> Result<Vec<Slice>> {
        let mut places = Vec::new();
        for (index, buffer) in other.buffers.into_iter().enumerate() {
            let place = given.iter().find(|(theirs, _)| *theirs == index).map(|(_, slice)| *slice);
            debug_assert!(place.is_none_or(|place| self.buffers[place.buffer].dtype == buffer.dtype), "{buffer:?}");
            places.push(place.unwrap_or_else(|| {
                self.buffers.push(buffer);
                self.whole(self.buffers.len() - 1)
            }));
        }
        let moved = |step: Step| {
            let bindings = step.bindings.iter().map(|binding| {
                let Slice { buffer, start, length } = binding.slice;
                let place = places[buffer];
                Binding { slice: Slice { buffer: place.buffer, start: place.start + start, length }, ..*binding }
            });
            Step { bindings: bindings.collect(), part: self.parts + step.part, ..step }
        };
        self.prepare.extend(other.prepare.into_iter().map(moved));
        self.steps.extend(other.steps.into_iter().map(moved));
        self.parts += other.parts;
        check_dispatches(self.steps.len() as u64)?;
        Ok(places)
    }

    /// [`append`](Self::append) of a program that packs weights, all of it.
    pub(crate) fn prepare_by(&mut self, mut other: Self, given: &[(usize, Slice)]) -> Result<()> {
        other.prepare.append(&mut other.steps);
        other.parts = 0;
        self.append(other, given).map(drop)
    }

    /// This program and then another, which reads this one's output. That tensor becomes a workspace.
    ///
    /// # Errors
    /// [`Error::Shape`] if that input has another shape; [`Error::TooManyDispatches`].
    pub fn then(mut self, next: Self) -> Result<Self> {
        let [[_, between], [input, _]] = [self.ends(), next.ends()];
        let (shape, expected) = (self.buffers[between].shape, next.buffers[input].shape);
        if shape != expected {
            return Err(Error::Shape { argument: "input", shape, expected });
        }
        let between_buffer = &mut self.buffers[between];
        (between_buffer.name, between_buffer.kind) = ("between".into(), Kind::Workspace);
        self.kernel = format!("{} + {}", self.kernel, next.kernel);
        let between = self.whole(between);
        self.append(next, &[(input, between)])?;
        Ok(self)
    }
}

/// Cuts a step's grid of workgroups into boxes no larger than a dispatch may have along each axis. This is the one
/// place that does so.
fn fold_into(steps: &mut Vec<Step>, step: &Step, grid: [u64; 3], limits: &wgpu::Limits) -> Result<()> {
    let maximum = u64::from(limits.max_compute_workgroups_per_dimension);
    let boxes = grid.iter().fold(1, |boxes: u64, size| boxes.saturating_mul(size.div_ceil(maximum)));
    check_dispatches(boxes.saturating_add(steps.len() as u64))?;
    for first in starts(grid, maximum) {
        let narrow = |value: u64| u32::try_from(value).expect("a grid is no larger than its tensor");
        let mut step = step.clone();
        step.uniform[..3].copy_from_slice(&first.map(narrow));
        step.grid = [0, 1, 2].map(|axis| narrow((grid[axis] - first[axis]).min(maximum)));
        steps.push(step);
    }
    Ok(())
}

/// Where the boxes of a grid start.
fn starts([x, y, z]: [u64; 3], maximum: u64) -> impl Iterator<Item = [u64; 3]> {
    let along = move |size: u64| (0..size.div_ceil(maximum)).map(move |index| index * maximum);
    along(z).flat_map(move |z| along(y).flat_map(move |y| along(x).map(move |x| [x, y, z])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step() -> Step {
        let shader = Shader { name: "none", own: "", parts: &[] };
        Step::new(shader, "main", Vec::new(), vec![0; 3 + OFFSETS], Vec::new())
    }

    fn fold(grid: [u64; 3], maximum: u32) -> Result<Vec<Step>> {
        let limits = wgpu::Limits { max_compute_workgroups_per_dimension: maximum, ..Default::default() };
        let mut program = Program::new("none", DType::F32);
        program.dispatch(step(), grid, &limits)?;
        Ok(program.steps)
    }

    #[test]
    fn boxes_cover_a_grid_once() {
        let boxes = fold([70_000, 1, 3], 65_535).unwrap();
        assert_eq!(boxes.len(), 2);
        assert_eq!((&boxes[1].uniform[..3], boxes[1].grid), (&[65_535, 0, 0][..], [4_465, 1, 3]));
        let volume = |step: &Step| step.grid.map(u64::from).iter().product::<u64>();
        assert_eq!(fold([7, 5, 9], 4).unwrap().iter().map(volume).sum::<u64>(), 7 * 5 * 9);
        assert!(fold([7, 0, 9], 4).unwrap().is_empty());
    }

    #[test]
    fn an_endless_list_of_dispatches_is_refused() {
        let refused = fold([1 << 20, 1, 1], 1).unwrap_err();
        assert_eq!(refused, Error::TooManyDispatches { dispatches: 1 << 20, maximum: MAXIMUM_DISPATCHES });
    }

    #[test]
    fn what_follows_reads_what_came_before() {
        let program = |input: &'static str, shape: [u32; 4], output: [u32; 4]| {
            let mut program = Program::new(input, DType::F32);
            let buffers = [program.buffer(Kind::Input, "input", shape), program.buffer(Kind::Output, "output", output)];
            let [input, output] = buffers.map(|buffer| program.whole(buffer));
            let step = Step { bindings: vec![Binding::read(1, input), Binding::write(5, output)], ..step() };
            program.dispatch(step, [1; 3], &wgpu::Limits::default()).unwrap();
            program
        };
        let (small, large) = ([1, 1, 2, 3], [1, 2, 3, 4]);
        let both = program("a", small, large).then(program("b", large, small)).unwrap();
        assert_eq!((both.kernel.as_str(), both.parts, both.steps.len()), ("a + b", 2, 2));
        let [first, second] = [0, 1].map(|step: usize| &both.steps[step].bindings);
        assert_eq!(first[1].slice, second[0].slice);
        assert_eq!(both.buffers[first[1].slice.buffer].kind, Kind::Workspace);
        let kinds = both.buffers.iter().map(|buffer| buffer.kind);
        assert_eq!(kinds.collect::<Vec<_>>(), [Kind::Input, Kind::Workspace, Kind::Output]);
        let refused = program("a", small, large).then(program("b", small, large)).unwrap_err();
        assert_eq!(refused, Error::Shape { argument: "input", shape: large, expected: small });
    }
}
