//! `Plan`: a program whose pipelines are compiled, ready to take tensors.

use std::sync::Arc;

use super::bound::{Bound, Place};
use super::compile::compile_all;
use super::device::Device;
use super::operands::{Operands, Parameters};
use super::tensor::Tensor;
use super::weights::{Layout, Weights};
use super::workspace::Workspace;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::memory::Memory;
use crate::program::{Buffer, Kind, Program};

/// A layer planned for one input shape, with its pipelines compiled. Bind it to as many sets of tensors as you like. A
/// clone is another handle to the same plan.
#[derive(Debug, Clone)]
pub struct Plan {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    device: Device,
    program: Program,
    memory: Memory,
}

impl Plan {
    /// Compiles what a program needs. Not public: shaders run unchecked, so a program must have been lowered from
    /// geometries that nobody has changed since they were checked.
    pub(crate) fn new(device: &Device, program: Program) -> Result<Self> {
        Self::with_progress(device, program, &|_, _| ())
    }

    /// [`new`](Self::new), telling how many of how many pipelines are compiled.
    pub(crate) fn with_progress(
        device: &Device,
        program: Program,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Self> {
        // What is compiled already asks nothing of the device.
        device.check_usable("a plan")?;
        compile_all(device, program.prepare.iter().chain(&program.steps), progress)?;
        let memory = Memory::new(&program);
        Ok(Self { shared: Arc::new(Shared { device: device.clone(), program, memory }) })
    }

    /// What will run.
    #[cfg(feature = "unstable")]
    #[must_use]
    pub fn program(&self) -> &Program {
        &self.shared.program
    }

    /// The name of the kernel that computes it, or of several with ` + ` between them.
    #[must_use]
    pub fn kernel(&self) -> &str {
        &self.shared.program.kernel
    }

    /// `[batch, channels, height, width]`
    #[must_use]
    pub fn input_shape(&self) -> [u32; 4] {
        self.end(0)
    }

    /// `[batch, channels, height, width]`
    #[must_use]
    pub fn output_shape(&self) -> [u32; 4] {
        self.end(1)
    }

    /// What its tensors hold.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.shared.program.dtype
    }

    fn end(&self, end: usize) -> [u32; 4] {
        let program = &self.shared.program;
        program.buffers[program.ends()[end]].shape
    }

    /// The bytes of device memory that [`weights`](Self::weights) takes for packed weights; 0 for most kernels.
    #[must_use]
    pub fn packed_weight_bytes(&self) -> u64 {
        self.shared.program.packed_weight_bytes()
    }

    /// The bytes of device memory that each [`bind`](Self::bind) takes for what lies between steps, unless it is given
    /// a [`Workspace`]; 0 for most kernels.
    #[must_use]
    pub fn workspace_bytes(&self) -> u64 {
        self.shared.memory.bytes()
    }

    /// Checks these parameters against the plan and packs them as its kernels read them, in a submission of its own if
    /// anything is to be packed. Bind them as often as you like, to this plan or to any that reads the same layout.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::OtherType`], [`Error::Missing`], [`Error::Unexpected`] or [`Error::OtherContext`], by
    /// the tensor's name;
    /// [`Error::OutOfMemory`] or [`Error::DeviceLost`].
    pub fn weights(&self, parameters: &Parameters<'_>) -> Result<Weights> {
        let weights = self.unpacked(parameters)?;
        weights.pack_now()?;
        Ok(weights)
    }

    /// [`weights`](Self::weights), with the packing recorded into the caller's encoder, for parameters that earlier
    /// commands write. What is bound to these weights is right in commands that are submitted after the packing.
    ///
    /// # Errors
    /// Those of [`weights`](Self::weights).
    pub fn weights_in(&self, parameters: &Parameters<'_>, encoder: &mut wgpu::CommandEncoder) -> Result<Weights> {
        let weights = self.unpacked(parameters)?;
        weights.pack(encoder);
        Ok(weights)
    }

    fn unpacked(&self, parameters: &Parameters<'_>) -> Result<Weights> {
        let Shared { device, program, .. } = &*self.shared;
        let wanted = program.buffers.iter().filter(|buffer| buffer.kind == Kind::Parameter);
        let given = &parameters.tensors;
        if let Some((name, _)) = given.iter().find(|(name, _)| wanted.clone().all(|buffer| buffer.name != *name)) {
            return Err(name.within(Error::Unexpected { argument: name.name }));
        }
        let found = wanted.map(|buffer| {
            let tensor = given.iter().find(|(name, _)| *name == buffer.name).map(|(_, tensor)| *tensor);
            check(device, buffer, tensor)
        });
        Weights::new(device, Layout::of(program), &found.collect::<Result<Vec<_>>>()?)
    }

    /// Checks these tensors against the plan and makes everything that recording it needs. It allocates, but it neither
    /// submits nor waits. A layer without parameters takes `None` for its weights.
    ///
    /// A kernel may need a tensor to start at a multiple of more than 4 bytes. A tensor that does not is copied to
    /// where it does, in each run, and an output is copied back: the result is the same, but it comes later.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::OtherType`], [`Error::Missing`], [`Error::Unexpected`], [`Error::SharedBuffer`] or
    /// [`Error::OtherContext`], by the tensor's name; [`Error::OtherLayout`] for weights packed in a layout that this plan does not read;
    /// [`Error::OutsideBuffer`] for a workspace that is too small; [`Error::OutOfMemory`] or [`Error::DeviceLost`].
    pub fn bind<'a>(&self, weights: impl Into<Option<&'a Weights>>, operands: Operands<'_>) -> Result<Bound> {
        let weights = self.check_weights(weights.into())?;
        let ends = self.ends(&operands)?;
        for (index, tensor) in &ends {
            self.check_end(*index, Some(tensor))?;
        }
        self.bind_ends(weights, &ends, operands.workspace)
    }

    /// The tensor for a buffer of the program, if it is there and right.
    pub(crate) fn check_end<'a>(&self, buffer: usize, tensor: Option<&'a Tensor>) -> Result<&'a Tensor> {
        check(&self.shared.device, &self.shared.program.buffers[buffer], tensor)
    }

    /// [`bind`](Self::bind) with checked tensors, each with the buffer of the program that it is.
    pub(crate) fn bind_ends(
        &self,
        weights: Option<&Weights>,
        ends: &[(usize, &Tensor)],
        workspace: Option<&Workspace>,
    ) -> Result<Bound> {
        let Shared { device, program, memory } = &*self.shared;
        let weights = self.check_weights(weights)?;
        let own;
        let workspace = if let Some(shared) = workspace {
            shared
        } else {
            own = Workspace::of_sizes(device, &memory.arenas)?;
            &own
        };
        let arenas = workspace.arenas(device, &memory.arenas)?;
        let mut staying = weights.map_or(&[][..], Weights::places).iter();
        let place = |(index, buffer): (usize, &Buffer)| match buffer.kind {
            Kind::Parameter | Kind::Packed => staying.next().cloned(),
            Kind::Workspace => {
                memory.places[index].map(|(arena, offset)| Place { buffer: arenas[arena].clone(), offset })
            }
            Kind::Input | Kind::Output => {
                let tensor = ends.iter().find(|(other, _)| *other == index).map(|(_, tensor)| *tensor);
                tensor.map(|tensor| Place { buffer: tensor.buffer().clone(), offset: tensor.offset() })
            }
        };
        let places: Vec<_> = program.buffers.iter().enumerate().map(place).collect();
        // Buffers can be compared only now: those of two devices may look alike.
        let outputs = program.buffers.iter().enumerate().filter(|(_, buffer)| buffer.kind == Kind::Output);
        for (output, _) in outputs {
            let same = |place: &Option<Place>| {
                place.as_ref().zip(places[output].as_ref()).is_some_and(|(place, output)| place.buffer == output.buffer)
            };
            let mut others = program.buffers.iter().zip(&places).enumerate().filter(|(index, _)| *index != output);
            if let Some((_, (Buffer { name, .. }, _))) = others.find(|(_, (_, place))| same(place)) {
                return Err(name.within(Error::SharedBuffer { argument: name.name }));
            }
        }
        Bound::new(device, &program.steps, &places)
    }

    /// Its device.
    pub(crate) fn device(&self) -> &Device {
        &self.shared.device
    }

    /// What will run.
    pub(crate) fn whole_program(&self) -> &Program {
        &self.shared.program
    }

    /// Packs parameters in the order of the program's buffers, once and for all.
    pub(crate) fn weights_of(&self, tensors: &[Tensor]) -> Result<Weights> {
        Weights::packed_once(&self.shared.device, Layout::of(&self.shared.program), tensors)
    }

    /// The weights, if they are what this plan reads.
    fn check_weights<'a>(&self, weights: Option<&'a Weights>) -> Result<Option<&'a Weights>> {
        let Shared { device, program, .. } = &*self.shared;
        let Some(given) = weights else {
            let missing = program.buffers.iter().find(|buffer| buffer.kind == Kind::Parameter);
            return missing
                .map_or(Ok(None), |Buffer { name, .. }| Err(name.within(Error::Missing { argument: name.name })));
        };
        if !given.device().is_same(device) {
            return Err(Error::OtherContext { argument: "weights" });
        }
        if *given.layout() != Layout::of(program) {
            return Err(Error::OtherLayout { kernel: program.kernel.clone() });
        }
        Ok(weights)
    }

    /// The tensors of one run, and which buffer of the program each is.
    fn ends<'a>(&self, operands: &Operands<'a>) -> Result<Vec<(usize, &'a Tensor)>> {
        let program = &self.shared.program;
        let mut ends = Vec::new();
        for (kind, argument, tensor) in [
            (Kind::Input, "residual", operands.residual),
            (Kind::Input, "input_scale", operands.input_scale),
            (Kind::Input, "other", operands.other),
            (Kind::Input, "input", Some(operands.input)),
            (Kind::Output, "output", Some(operands.output)),
        ] {
            match (program.find(kind, argument), tensor) {
                (Some(index), Some(tensor)) => ends.push((index, tensor)),
                (Some(index), None) => return Err(program.buffers[index].name.within(Error::Missing { argument })),
                (None, Some(_)) => {
                    let [_, output] = program.ends();
                    return Err(program.buffers[output].name.within(Error::Unexpected { argument }));
                }
                (None, None) => {}
            }
        }
        Ok(ends)
    }
}

impl Workspace {
    /// As much memory as the largest of these plans needs.
    ///
    /// # Errors
    /// [`Error::Limit`] if that is larger than a buffer may be; [`Error::OutOfMemory`] or [`Error::DeviceLost`].
    pub fn new<'a>(device: &Device, plans: impl IntoIterator<Item = &'a Plan>) -> Result<Self> {
        let mut sizes: Vec<u64> = Vec::new();
        for plan in plans {
            let arenas = &plan.shared.memory.arenas;
            sizes.resize(sizes.len().max(arenas.len()), 0);
            sizes.iter_mut().zip(arenas).for_each(|(size, arena)| *size = (*size).max(*arena));
        }
        Self::of_sizes(device, &sizes)
    }
}

/// The tensor, if it is there, has the wanted shape, holds the wanted values, and is of this device.
fn check<'a>(device: &Device, wanted: &Buffer, tensor: Option<&'a Tensor>) -> Result<&'a Tensor> {
    let (argument, expected) = (wanted.name.name, wanted.shape);
    let check = || {
        let tensor = tensor.ok_or(Error::Missing { argument })?;
        let shape = tensor.shape();
        if shape != expected {
            return Err(Error::Shape { argument, shape, expected });
        }
        if tensor.dtype() != wanted.dtype {
            return Err(Error::OtherType { argument, dtype: tensor.dtype(), expected: wanted.dtype });
        }
        tensor.check_device(argument, device)?;
        Ok(tensor)
    };
    check().map_err(|error| wanted.name.within(error))
}
