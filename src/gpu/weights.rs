//! `Weights`: the parameters of a layer, packed for the kernels that will read them.

use std::sync::Arc;

use super::bound::{Bound, Place};
use super::device::Device;
use super::tensor::Tensor;
use crate::error::Result;
use crate::program::{Buffer, Kind, Program, Step};

/// Parameters that were packed once, for all bindings that read them in that layout. A clone is another handle to the
/// same weights.
///
/// [`Plan::weights`](crate::Plan::weights) makes them. You may drop the tensors that they were made from. If you keep
/// those and write new values to them, [`pack`](Self::pack) packs them again. Those of a network
/// ([`NetworkPlan::weights`](crate::NetworkPlan::weights)) are packed once and for all, and packing them again does nothing.
#[derive(Debug, Clone)]
pub struct Weights {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    device: Device,
    layout: Layout,
    /// Where each buffer of the layout lies.
    places: Vec<Place>,
    /// None if nothing is to be packed, or never again.
    packing: Option<Bound>,
    packed_bytes: u64,
}

/// What decides how weights are packed for a program: the buffers that stay, whether its steps read them, and the steps that
/// fill them.
#[derive(Debug, PartialEq)]
pub(crate) struct Layout {
    buffers: Vec<(Buffer, bool)>,
    prepare: Vec<Step>,
}

impl Layout {
    /// The layout of a program. Its buffers are numbered anew, counting only those that stay.
    pub(crate) fn of(program: &Program) -> Self {
        let number = |index: usize| program.buffers[..index].iter().filter(|buffer| buffer.kind.stays()).count();
        let mut prepare = program.prepare.clone();
        for binding in prepare.iter_mut().flat_map(|step| &mut step.bindings) {
            binding.slice.buffer = number(binding.slice.buffer);
        }
        let used = program.used();
        let buffers = program.buffers.iter().enumerate().filter(|(_, buffer)| buffer.kind.stays());
        Self { buffers: buffers.map(|(index, buffer)| (buffer.clone(), used.contains(&index))).collect(), prepare }
    }
}

impl Weights {
    /// Gets ready to pack these parameters, which were checked and are in the order of the program's buffers. Nothing
    /// runs yet.
    pub(crate) fn new(device: &Device, layout: Layout, parameters: &[&Tensor]) -> Result<Self> {
        device.check_usable("weights")?;
        let mut given = parameters.iter();
        let mut packed_bytes = 0;
        let mut place = |buffer: &Buffer| {
            if buffer.kind == Kind::Packed {
                packed_bytes += buffer.bytes();
                let packed = Tensor::zeros(&device.with_dtype(buffer.dtype), buffer.shape)?;
                return Ok(Place { buffer: packed.buffer().clone(), offset: 0 });
            }
            let tensor = given.next().expect("a tensor for every parameter");
            Ok(Place { buffer: tensor.buffer().clone(), offset: tensor.offset() })
        };
        let places = layout.buffers.iter().map(|(buffer, _)| place(buffer)).collect::<Result<Vec<_>>>()?;
        let all: Vec<_> = places.iter().cloned().map(Some).collect();
        let packing = if layout.prepare.is_empty() { None } else { Some(Bound::new(device, &layout.prepare, &all)?) };
        Ok(Self { shared: Arc::new(Shared { device: device.clone(), layout, places, packing, packed_bytes }) })
    }

    /// Packs parameters that nobody else has, for the last time. Those that no step reads are kept no longer.
    pub(crate) fn packed_once(device: &Device, layout: Layout, parameters: &[Tensor]) -> Result<Self> {
        let mut weights = Self::new(device, layout, &parameters.iter().collect::<Vec<_>>())?;
        weights.pack_now()?;
        let shared = Arc::get_mut(&mut weights.shared).expect("nobody has another handle yet");
        shared.packing = None;
        let is_read: Vec<bool> = shared.layout.buffers.iter().map(|(_, is_read)| *is_read).collect();
        // What no step reads may lie anywhere: with another place for it, its own memory is given back.
        if let Some(read) = is_read.iter().position(|&is_read| is_read) {
            let read = shared.places[read].clone();
            let unread = shared.places.iter_mut().zip(is_read).filter(|(_, is_read)| !is_read);
            unread.for_each(|(place, _)| place.clone_from(&read));
        }
        Ok(weights)
    }

    /// Records that they are packed again, from what their tensors hold when the encoder's commands run.
    pub fn pack(&self, encoder: &mut wgpu::CommandEncoder) {
        if let Some(packing) = &self.shared.packing {
            packing.encode(encoder);
        }
    }

    /// Packs them again in a submission of its own, if anything is to be packed.
    ///
    /// # Errors
    /// Those of [`Bound::run`].
    pub fn pack_now(&self) -> Result<()> {
        self.shared.packing.as_ref().map_or(Ok(()), Bound::run)
    }

    /// The bytes of device memory that they take besides the tensors that they were made from.
    #[must_use]
    pub fn packed_bytes(&self) -> u64 {
        self.shared.packed_bytes
    }

    pub(crate) fn device(&self) -> &Device {
        &self.shared.device
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.shared.layout
    }

    pub(crate) fn places(&self) -> &[Place] {
        &self.shared.places
    }
}
