//! `Bound`: a program with its tensors, ready to be recorded.

use super::compile::pipeline;
use super::device::Device;
use super::pipelines::Pipeline;
use crate::crop;
use crate::dtype::DType;
use crate::error::Result;
use crate::program::{Binding, Kind, Program, Slice, Step};

/// A plan with its tensors: recording it allocates nothing and touches no queue.
#[derive(Debug, Clone)]
pub struct Bound {
    device: Device,
    dispatches: Vec<Dispatch>,
}

#[derive(Debug, Clone)]
struct Dispatch {
    /// The shader's name, and its entry point's.
    #[cfg(all(feature = "unstable", not(target_arch = "wasm32")))]
    names: [&'static str; 2],
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    workgroups: [u32; 3],
}

/// Where a buffer of a program lies.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub buffer: wgpu::Buffer,
    /// Where it starts there, in bytes.
    pub offset: u64,
}

/// A step and where each of its bindings' stretches lies.
struct Call<'a> {
    step: &'a Step,
    pipeline: Pipeline,
    places: Vec<Place>,
}

impl Bound {
    /// Makes everything that recording these steps needs.
    pub(crate) fn new(device: &Device, steps: &[Step], places: &[Option<Place>]) -> Result<Self> {
        let copies = Copies::new(device, steps, places)?;
        let mut calls = Vec::new();
        // The stretches whose copies are as their originals: until a step writes those.
        let mut current: Vec<Slice> = Vec::new();
        for step in steps {
            let mut places_of_step = Vec::new();
            for binding in &step.bindings {
                let dtype = step.elements.at(binding.number);
                let place = stretch(places, binding.slice, dtype);
                if is_aligned(&place, binding, dtype) {
                    places_of_step.push(place);
                    continue;
                }
                let (copy, steps) = copies.of(binding.slice);
                if !current.contains(&binding.slice) {
                    current.push(binding.slice);
                    for step in steps {
                        let places = vec![place.clone(), copy.clone()];
                        calls.push(Call { step, pipeline: pipeline(device, step)?, places });
                    }
                }
                places_of_step.push(copy.clone());
            }
            calls.push(Call { step, pipeline: pipeline(device, step)?, places: places_of_step });
            for written in step.bindings.iter().filter(|binding| binding.writes) {
                current.retain(|slice| slice.buffer != written.slice.buffer);
                let dtype = step.elements.at(written.number);
                let place = stretch(places, written.slice, dtype);
                if !is_aligned(&place, written, dtype) {
                    let (copy, steps) = copies.of(written.slice);
                    current.push(written.slice);
                    for step in steps {
                        let places = vec![copy.clone(), place.clone()];
                        calls.push(Call { step, pipeline: pipeline(device, step)?, places });
                    }
                }
            }
        }
        Self::of_calls(device, &calls)
    }

    fn of_calls(device: &Device, calls: &[Call<'_>]) -> Result<Self> {
        let alignment = device.limits().min_uniform_buffer_offset_alignment as usize;
        let storage_alignment = u64::from(device.limits().min_storage_buffer_offset_alignment);
        let size = |call: &Call| 4 * call.step.uniform.len();
        let stride = calls.iter().map(size).max().unwrap_or(4).next_multiple_of(alignment);
        let bytes = (stride * calls.len().max(1)) as u64;
        let bound: Result<_, String> = device.guarded("bindings", bytes, || {
            let uniforms = device.device().create_buffer(&wgpu::BufferDescriptor {
                label: Some("sepconv uniforms"),
                size: bytes,
                usage: wgpu::BufferUsages::UNIFORM,
                mapped_at_creation: true,
            });
            let mut view = uniforms.slice(..).get_mapped_range_mut().map_err(|error| error.to_string())?;
            let mut dispatches = Vec::new();
            for (index, call) in calls.iter().enumerate() {
                let start = stride * index;
                let mut words = call.step.uniform.clone();
                let uniform = wgpu::BufferBinding {
                    buffer: &uniforms,
                    offset: start as u64,
                    size: wgpu::BufferSize::new(size(call) as u64),
                };
                let mut entries = vec![entry(0, uniform)];
                for (binding, place) in call.step.bindings.iter().zip(&call.places) {
                    let before = place.offset % storage_alignment;
                    let dtype = call.step.elements.at(binding.number);
                    words[2 + binding.number as usize] = offset(before / dtype.bytes(), binding.skipped);
                    entries.push(entry(
                        binding.number,
                        wgpu::BufferBinding {
                            buffer: &place.buffer,
                            offset: place.offset - before,
                            size: wgpu::BufferSize::new(dtype.bytes_of(before / dtype.bytes() + binding.slice.length)),
                        },
                    ));
                }
                view.slice(start..start + size(call)).copy_from_slice(bytemuck::cast_slice(&words));
                let bind_group = device.device().create_bind_group(&wgpu::BindGroupDescriptor {
                    label: Some("sepconv"),
                    layout: &call.pipeline.layout,
                    entries: &entries,
                });
                let pipeline = call.pipeline.pipeline.clone();
                dispatches.push(Dispatch {
                    #[cfg(all(feature = "unstable", not(target_arch = "wasm32")))]
                    names: [call.step.shader.name, call.step.entry_point],
                    pipeline,
                    bind_group,
                    workgroups: call.step.grid,
                });
            }
            drop(view);
            uniforms.unmap();
            Ok(Self { device: device.clone(), dispatches })
        })?;
        bound.map_err(|reason| device.mark_lost(reason))
    }

    /// Records the layer into the caller's compute pass. It replaces the pass's pipeline and bind group 0.
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        for dispatch in &self.dispatches {
            let [x, y, z] = dispatch.workgroups;
            pass.set_pipeline(&dispatch.pipeline);
            pass.set_bind_group(0, &dispatch.bind_group, &[]);
            pass.dispatch_workgroups(x, y, z);
        }
    }

    /// Records the layer into a compute pass of its own in the caller's encoder.
    pub fn encode(&self, encoder: &mut wgpu::CommandEncoder) {
        self.record(&mut encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()));
    }

    /// Submits the layer, without waiting for it: reading the output waits.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory), [`Error::DeviceLost`](crate::Error::DeviceLost), or
    /// [`Error::Device`](crate::Error::Device) if the device refuses it.
    pub fn run(&self) -> Result<()> {
        self.submit().map(|_| ())
    }

    /// [`run`](Self::run), returning what to wait for.
    pub(crate) fn submit(&self) -> Result<wgpu::SubmissionIndex> {
        self.device.guarded("a submission", 0, || {
            let device = self.device.device();
            let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            self.encode(&mut encoder);
            self.device.queue().submit([encoder.finish()])
        })
    }

    /// Each step by itself, with its shader's name and, where that has several, its entry point's.
    #[cfg(all(feature = "unstable", not(target_arch = "wasm32")))]
    pub(crate) fn steps(&self) -> impl ExactSizeIterator<Item = (String, Self)> {
        self.dispatches.iter().map(|dispatch| {
            let name = match dispatch.names {
                [shader, "main"] => shader.to_owned(),
                names => names.join(" "),
            };
            (name, Self { device: self.device.clone(), dispatches: vec![dispatch.clone()] })
        })
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }
}

fn entry(binding: u32, buffer: wgpu::BufferBinding<'_>) -> wgpu::BindGroupEntry<'_> {
    wgpu::BindGroupEntry { binding, resource: wgpu::BindingResource::Buffer(buffer) }
}

/// Where a tensor starts in its binding, in values, below zero if it starts before: the shader adds with wrapping.
#[expect(clippy::cast_possible_truncation, reason = "what wraps keeps its lower 32 bits")]
fn offset(before: u64, skipped: u64) -> u32 {
    before.wrapping_sub(skipped) as u32
}

/// Where a stretch of a buffer of such values lies.
fn stretch(places: &[Option<Place>], slice: Slice, dtype: DType) -> Place {
    let Place { buffer, offset } = places[slice.buffer].clone().expect("a place for every buffer that a step binds");
    Place { buffer, offset: offset + dtype.bytes() * slice.start }
}

fn is_aligned(place: &Place, binding: &Binding, dtype: DType) -> bool {
    (place.offset / dtype.bytes()).is_multiple_of(binding.alignment)
}

/// Copies of the stretches that do not start where a step needs them to. A step that writes one of them is followed by a copy
/// back; since it may write a part only, its copy, too, is made before.
struct Copies {
    made: Vec<(Slice, Place, Vec<Step>)>,
}

impl Copies {
    fn new(device: &Device, steps: &[Step], places: &[Option<Place>]) -> Result<Self> {
        let mut made: Vec<(Slice, Place, Vec<Step>)> = Vec::new();
        let bindings = steps
            .iter()
            .flat_map(|step| step.bindings.iter().map(|binding| (binding, step.elements.at(binding.number))));
        for (binding, dtype) in bindings {
            let slice = binding.slice;
            if is_aligned(&stretch(places, slice, dtype), binding, dtype)
                || made.iter().any(|(other, ..)| *other == slice)
            {
                continue;
            }
            let bytes = dtype.bytes_of(slice.length);
            let buffer = device.guarded("an aligned copy", bytes, || {
                device.device().create_buffer(&wgpu::BufferDescriptor {
                    label: Some("sepconv aligned copy"),
                    size: bytes,
                    usage: wgpu::BufferUsages::STORAGE,
                    mapped_at_creation: false,
                })
            })?;
            let mut program = Program::new("copy", dtype);
            let length = slice.length;
            let [from, to] = [Kind::Input, Kind::Output].map(|kind| program.hidden(kind, "tensor", length));
            let (step, grid) = crop::copy(program.whole(from?), program.whole(to?))?;
            program.dispatch(step, grid, device.limits())?;
            made.push((slice, Place { buffer, offset: 0 }, program.steps));
        }
        Ok(Self { made })
    }

    fn of(&self, slice: Slice) -> (&Place, &[Step]) {
        let (_, place, steps) = self.made.iter().find(|(other, ..)| *other == slice).expect("a copy that was made");
        (place, steps)
    }
}
