//! `Plan` and `Bound`: a convolution ready to take tensors, and one ready to be recorded.

use crate::context::Context;
use crate::conv::Conv2d;
use crate::error::{Error, Result};
use crate::geometry::{Geometry, values};
use crate::kernels::activation_limits;
use crate::schedule::{Choice, Dispatch, Part, Schedule};
use crate::tensor::Tensor;

/// A layer planned for one input shape, its pipelines compiled. It can be bound to any number of tensors.
#[derive(Debug, Clone)]
pub struct Plan {
    context: Context,
    schedule: Schedule,
    /// One per part of the schedule.
    pipelines: Vec<wgpu::ComputePipeline>,
}

/// The tensors of one layer.
#[derive(Debug, Clone, Copy)]
pub struct Operands<'a> {
    input: &'a Tensor,
    weight: &'a Tensor,
    bias: Option<&'a Tensor>,
    residual: Option<&'a Tensor>,
    output: &'a Tensor,
}

impl<'a> Operands<'a> {
    /// The tensors that every layer has. The output needs a buffer that none of the others is in.
    #[must_use]
    pub fn new(input: &'a Tensor, weight: &'a Tensor, output: &'a Tensor) -> Self {
        Self { input, weight, bias: None, residual: None, output }
    }

    /// One value per output channel, `[1, out_channels, 1, 1]`; takes a tensor or an `Option` of one.
    #[must_use]
    pub fn bias(mut self, bias: impl Into<Option<&'a Tensor>>) -> Self {
        self.bias = bias.into();
        self
    }

    /// A tensor of the output's shape; takes a tensor or an `Option` of one.
    #[must_use]
    pub fn residual(mut self, residual: impl Into<Option<&'a Tensor>>) -> Self {
        self.residual = residual.into();
        self
    }
}

impl Conv2d {
    /// Checks this layer against an input shape, chooses a kernel and compiles it: the one that the context's
    /// [`Tuning`](crate::Tuning) has for it, or else the one that seems best.
    ///
    /// # Errors
    /// Those of [`geometry`](Self::geometry), [`Error::Limit`] if a tensor cannot be cut to the device's limits,
    /// [`Error::Device`] if the device refuses the kernel.
    pub fn plan(&self, context: &Context, input_shape: [u32; 4]) -> Result<Plan> {
        let schedule = context.tuning().schedule(&self.geometry(input_shape)?, context.target())?;
        Plan::new(context, schedule)
    }

    /// [`plan`](Self::plan) with the kernel of this name.
    ///
    /// # Errors
    /// Those of [`plan`](Self::plan), [`Error::UnknownKernel`], and [`Error::Unsupported`] if that kernel cannot.
    pub fn plan_with_kernel(&self, context: &Context, input_shape: [u32; 4], kernel: &str) -> Result<Plan> {
        let schedule = Schedule::new(&self.geometry(input_shape)?, context.target(), Some(kernel))?;
        Plan::new(context, schedule)
    }

    /// [`plan`](Self::plan) in one particular way, of those that [`Choice::all`] lists.
    ///
    /// # Errors
    /// Those of [`plan`](Self::plan), and [`Error::Unsupported`] if that kernel cannot.
    pub fn plan_with_choice(&self, context: &Context, input_shape: [u32; 4], choice: Choice) -> Result<Plan> {
        let schedule = Schedule::with_choice(&self.geometry(input_shape)?, context.target(), choice)?;
        Plan::new(context, schedule)
    }
}

impl Plan {
    /// Compiles what a schedule needs. Not public: shaders run unchecked, so that a schedule must come from a geometry
    /// that nobody has changed since it was checked.
    fn new(context: &Context, schedule: Schedule) -> Result<Self> {
        let compile = |part: &Part| context.pipelines().get(context, schedule.kernel, &part.variant.constants);
        let pipelines = schedule.parts.iter().map(compile).collect::<Result<_>>()?;
        Ok(Self { context: context.clone(), schedule, pipelines })
    }

    /// How the layer is computed: kernel, parts, grids.
    #[must_use]
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// The name of the kernel that computes it.
    #[must_use]
    pub fn kernel(&self) -> &'static str {
        self.schedule.kernel.name
    }

    /// Its sizes.
    #[must_use]
    pub fn geometry(&self) -> &Geometry {
        &self.schedule.geometry
    }

    /// `[batch, out_channels, height, width]`
    #[must_use]
    pub fn output_shape(&self) -> [u32; 4] {
        self.schedule.geometry.output_shape()
    }

    /// Checks these tensors against the plan and makes everything that recording it takes.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Missing`], [`Error::Unexpected`], [`Error::SharedBuffer`] or
    /// [`Error::OtherContext`], by the tensor's name; [`Error::OutOfMemory`] or [`Error::DeviceLost`].
    pub fn bind(&self, operands: Operands<'_>) -> Result<Bound> {
        check(&self.context, self.geometry(), &operands)?;
        let alignment = self.context.limits().min_uniform_buffer_offset_alignment;
        let stride = size_of::<Extent>().next_multiple_of(alignment as usize);
        let dispatches = || {
            self.schedule
                .parts
                .iter()
                .zip(&self.pipelines)
                .flat_map(|(part, pipeline)| part.dispatches.iter().map(move |dispatch| (part, pipeline, dispatch)))
        };
        let bytes = (stride * dispatches().count()) as u64;

        let bound: Result<_, String> = self.context.guarded("bindings", bytes, || {
            let device = self.context.device();
            let extents = device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("sepconv extents"),
                size: bytes,
                usage: wgpu::BufferUsages::UNIFORM,
                mapped_at_creation: true,
            });
            let view = extents.slice(..).get_mapped_range_mut();
            let mut view = view.map_err(|error| error.to_string())?;
            let mut steps = Vec::new();
            for (index, (part, pipeline, dispatch)) in dispatches().enumerate() {
                let start = stride * index;
                let (bind_group, extent) = self.bind_part(part, dispatch, &operands, &extents, start as u64);
                view.slice(start..start + size_of::<Extent>()).copy_from_slice(bytemuck::bytes_of(&extent));
                steps.push(Step { pipeline: pipeline.clone(), bind_group, workgroups: dispatch.workgroups });
            }
            drop(view);
            extents.unmap();
            Ok(Bound { context: self.context.clone(), steps })
        })?;
        bound.map_err(|reason| self.context.mark_lost(reason))
    }

    fn bind_part<'a>(
        &self,
        part: &Part,
        dispatch: &Dispatch,
        operands: &Operands<'a>,
        extents: &wgpu::Buffer,
        extent_offset: u64,
    ) -> (wgpu::BindGroup, Extent) {
        let g = &part.geometry;
        let alignment = u64::from(self.context.limits().min_storage_buffer_offset_alignment);
        let input = slice(operands.input, part.input_start, g.input_shape(), alignment);
        let weight_start = part.channel_start * g.terms();
        let weight = slice(operands.weight, weight_start, g.weight_shape(), alignment);
        // A shader without bias or residual does not read that binding, but it must be something.
        let optional = |tensor: Option<&'a Tensor>, start, shape| {
            tensor.map_or(weight.clone(), |tensor| slice(tensor, start, shape, alignment))
        };
        let bias = optional(operands.bias, part.channel_start, g.bias_shape());
        let residual = optional(operands.residual, part.output_start, g.output_shape());
        let output = slice(operands.output, part.output_start, g.output_shape(), alignment);

        let extent_binding = wgpu::BufferBinding {
            buffer: extents,
            offset: extent_offset,
            size: wgpu::BufferSize::new(size_of::<Extent>() as u64),
        };
        let bindings = [extent_binding, input.binding, weight.binding, bias.binding, residual.binding, output.binding];
        let entries: Vec<_> = (0..)
            .zip(bindings)
            .map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: wgpu::BindingResource::Buffer(buffer) })
            .collect();
        let bind_group = self.context.device().create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("sepconv"),
            layout: self.context.bind_group_layout(),
            entries: &entries,
        });
        let [activation_low, activation_high] = activation_limits(g.activation);
        let extent = Extent {
            in_channels: g.in_channels,
            in_height: g.input.height,
            in_width: g.input.width,
            out_channels: g.out_channels,
            out_height: g.output.height,
            out_width: g.output.width,
            in_channels_per_group: g.in_channels_per_group(),
            out_channels_per_group: g.out_channels_per_group(),
            padding_top: g.padding.top,
            padding_left: g.padding.left,
            input_offset: input.offset,
            weight_offset: weight.offset,
            bias_offset: bias.offset,
            residual_offset: residual.offset,
            output_offset: output.offset,
            first_workgroup: dispatch.first,
            activation_low,
            activation_high,
            first_in_channel: part.in_channels.start,
            last_in_channel: part.in_channels.end,
            batch: g.batch,
            unused: 0,
        };
        (bind_group, extent)
    }
}

/// What the shaders know as `extent`: see `struct Extent` in any of them.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Extent {
    in_channels: u32,
    in_height: u32,
    in_width: u32,
    out_channels: u32,
    out_height: u32,
    out_width: u32,
    in_channels_per_group: u32,
    out_channels_per_group: u32,
    padding_top: u32,
    padding_left: u32,
    input_offset: u32,
    weight_offset: u32,
    bias_offset: u32,
    residual_offset: u32,
    output_offset: u32,
    first_workgroup: [u32; 3],
    activation_low: f32,
    activation_high: f32,
    first_in_channel: u32,
    last_in_channel: u32,
    batch: u32,
    unused: u32,
}

/// A binding that holds a stretch of a tensor.
#[derive(Clone)]
struct Slice<'a> {
    binding: wgpu::BufferBinding<'a>,
    /// Where in the binding the stretch starts, in values.
    offset: u32,
}

/// The stretch of `shape` that starts `start` values into a tensor.
fn slice(tensor: &Tensor, start: u64, shape: [u32; 4], alignment: u64) -> Slice<'_> {
    let first_byte = tensor.offset() + 4 * start;
    let bound_byte = first_byte - first_byte % alignment;
    let size = first_byte - bound_byte + 4 * values(shape);
    let offset = u32::try_from((first_byte - bound_byte) / 4).expect("less than the alignment, which is a u32");
    let binding =
        wgpu::BufferBinding { buffer: tensor.buffer(), offset: bound_byte, size: wgpu::BufferSize::new(size) };
    Slice { binding, offset }
}

fn check(context: &Context, geometry: &Geometry, operands: &Operands<'_>) -> Result<()> {
    let present = |argument, wanted, tensor: Option<&Tensor>| match (wanted, tensor.is_some()) {
        (true, false) => Err(Error::Missing { argument }),
        (false, true) => Err(Error::Unexpected { argument }),
        _ => Ok(()),
    };
    present("bias", geometry.bias, operands.bias)?;
    present("residual", geometry.residual, operands.residual)?;
    let output = operands.output;
    let tensors = [
        ("input", Some(operands.input), geometry.input_shape()),
        ("weight", Some(operands.weight), geometry.weight_shape()),
        ("bias", operands.bias, geometry.bias_shape()),
        ("residual", operands.residual, geometry.output_shape()),
        ("output", Some(output), geometry.output_shape()),
    ];
    let given = || tensors.into_iter().filter_map(|(argument, tensor, shape)| Some((argument, tensor?, shape)));
    for (argument, tensor, expected) in given() {
        let shape = tensor.shape();
        if shape != expected {
            return Err(Error::Shape { argument, shape, expected });
        }
        tensor.check_context(argument, context)?;
    }
    // Buffers can be compared only now: those of two devices may look alike.
    match given().find(|(argument, tensor, _)| *argument != "output" && tensor.buffer() == output.buffer()) {
        Some((argument, ..)) => Err(Error::SharedBuffer { argument }),
        None => Ok(()),
    }
}

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

impl Bound {
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

    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// One dispatch that no plan made.
    #[cfg(not(target_arch = "wasm32"))]
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
