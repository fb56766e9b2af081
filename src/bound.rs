//! `Bound`: a layer with its tensors, ready to be recorded.

use crate::context::Context;
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// A plan with its tensors: recording it allocates nothing and touches no queue.
#[derive(Debug, Clone)]
pub struct Bound {
    context: Context,
    steps: Vec<Step>,
}

#[derive(Debug, Clone)]
struct Step {
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    workgroups: [u32; 3],
}

/// One dispatch, described.
pub(crate) struct Call<'a, Extent> {
    pub pipeline: &'a wgpu::ComputePipeline,
    pub workgroups: [u32; 3],
    /// What the shader knows as `extent`.
    pub extent: Extent,
    /// In the order of the shader's bindings, which start at 1.
    pub tensors: Vec<Slice<'a>>,
}

impl Bound {
    /// Makes everything that recording these dispatches takes.
    pub(crate) fn new<Extent: bytemuck::NoUninit>(context: &Context, calls: &[Call<'_, Extent>]) -> Result<Self> {
        let alignment = context.limits().min_uniform_buffer_offset_alignment;
        let stride = size_of::<Extent>().next_multiple_of(alignment as usize);
        let bytes = (stride * calls.len()) as u64;
        let bound: Result<_, String> = context.guarded("bindings", bytes, || {
            let extents = context.device().create_buffer(&wgpu::BufferDescriptor {
                label: Some("sepconv extents"),
                size: bytes,
                usage: wgpu::BufferUsages::UNIFORM,
                mapped_at_creation: true,
            });
            let view = extents.slice(..).get_mapped_range_mut();
            let mut view = view.map_err(|error| error.to_string())?;
            let mut steps = Vec::new();
            for (index, call) in calls.iter().enumerate() {
                let start = stride * index;
                view.slice(start..start + size_of::<Extent>()).copy_from_slice(bytemuck::bytes_of(&call.extent));
                let extent = wgpu::BufferBinding {
                    buffer: &extents,
                    offset: start as u64,
                    size: wgpu::BufferSize::new(size_of::<Extent>() as u64),
                };
                let bindings = [extent].into_iter().chain(call.tensors.iter().map(|slice| slice.binding.clone()));
                let entries: Vec<_> = (0..)
                    .zip(bindings.map(wgpu::BindingResource::Buffer))
                    .map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource })
                    .collect();
                let bind_group = context.device().create_bind_group(&wgpu::BindGroupDescriptor {
                    label: Some("sepconv"),
                    layout: &call.pipeline.get_bind_group_layout(0),
                    entries: &entries,
                });
                steps.push(Step { pipeline: call.pipeline.clone(), bind_group, workgroups: call.workgroups });
            }
            drop(view);
            extents.unmap();
            Ok(Self { context: context.clone(), steps })
        })?;
        bound.map_err(|reason| context.mark_lost(reason))
    }

    /// Records the layer into the caller's compute pass. It replaces the pass's pipeline and bind group 0.
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        for step in &self.steps {
            let [x, y, z] = step.workgroups;
            pass.set_pipeline(&step.pipeline);
            pass.set_bind_group(0, &step.bind_group, &[]);
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
    /// [`Error::OutOfMemory`], [`Error::DeviceLost`], or [`Error::Device`] if the device refuses it.
    pub fn run(&self) -> Result<()> {
        self.context.guarded("a submission", 0, || {
            let device = self.context.device();
            let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            self.encode(&mut encoder);
            self.context.queue().submit([encoder.finish()]);
        })
    }

    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// One dispatch that no plan made.
    pub(crate) fn single(
        context: &Context,
        pipeline: wgpu::ComputePipeline,
        bind_group: wgpu::BindGroup,
        workgroups: [u32; 3],
    ) -> Self {
        Self { context: context.clone(), steps: vec![Step { pipeline, bind_group, workgroups }] }
    }

    /// This layer and then another, as one.
    pub(crate) fn then(mut self, next: Self) -> Self {
        self.steps.extend(next.steps);
        self
    }
}

/// A binding that holds a stretch of a tensor.
#[derive(Clone)]
pub(crate) struct Slice<'a> {
    pub binding: wgpu::BufferBinding<'a>,
    /// Where in the binding the stretch starts, in values.
    pub offset: u32,
}

/// The stretch of `length` values that starts `start` values into a tensor.
pub(crate) fn slice(tensor: &Tensor, start: u64, length: u64, alignment: u64) -> Slice<'_> {
    let first_byte = tensor.offset() + 4 * start;
    let bound_byte = first_byte - first_byte % alignment;
    let size = first_byte - bound_byte + 4 * length;
    let offset = u32::try_from((first_byte - bound_byte) / 4).expect("less than the alignment, which is a u32");
    let binding =
        wgpu::BufferBinding { buffer: tensor.buffer(), offset: bound_byte, size: wgpu::BufferSize::new(size) };
    Slice { binding, offset }
}

/// A tensor that a caller gave, or did not, and what was wanted.
#[derive(Clone, Copy)]
pub(crate) struct Argument<'a> {
    pub name: &'static str,
    pub wanted: bool,
    pub tensor: Option<&'a Tensor>,
    pub shape: [u32; 4],
}

/// Checks that what is wanted is there, of its shape, of this context, and not in the buffer of `output`.
pub(crate) fn check(context: &Context, arguments: &[Argument<'_>], output: &Tensor) -> Result<()> {
    for &Argument { name, wanted, tensor, .. } in arguments {
        match (wanted, tensor.is_some()) {
            (true, false) => return Err(Error::Missing { argument: name }),
            (false, true) => return Err(Error::Unexpected { argument: name }),
            _ => {}
        }
    }
    let given = || arguments.iter().filter_map(|argument| Some((argument.name, argument.tensor?, argument.shape)));
    for (argument, tensor, expected) in given() {
        let shape = tensor.shape();
        if shape != expected {
            return Err(Error::Shape { argument, shape, expected });
        }
        tensor.check_context(argument, context)?;
    }
    // Buffers can be compared only now: those of two devices may look alike.
    match given().find(|(name, tensor, _)| *name != "output" && tensor.buffer() == output.buffer()) {
        Some((argument, ..)) => Err(Error::SharedBuffer { argument }),
        None => Ok(()),
    }
}
