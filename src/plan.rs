//! `Plan`: a convolution ready to take tensors.

use crate::bound::{Argument, Bound, Call, check, slice};
use crate::context::Context;
use crate::conv::Conv2d;
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::geometry::Geometry;
use crate::kernels::{Target, activation_limits};
use crate::schedule::{Choice, Dispatch, Part, Role, Schedule, Stretch};
use crate::tensor::Tensor;

/// A layer planned for one input shape, its pipelines compiled. It can be bound to any number of tensors.
#[derive(Debug, Clone)]
pub struct Plan {
    context: Context,
    schedule: Schedule,
    /// One per part of the schedule's packing.
    packing: Vec<wgpu::ComputePipeline>,
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
        let compile =
            |part: &Part| context.pipelines().get(context, part.kernel.shader(), part.entry, &part.variant.constants);
        let packing = schedule.packing.iter().map(compile).collect::<Result<_>>()?;
        let pipelines = schedule.parts.iter().map(compile).collect::<Result<_>>()?;
        Ok(Self { context: context.clone(), schedule, packing, pipelines })
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

    /// The bytes of device memory that each [`bind`](Self::bind) takes for packed weights; 0 for most kernels.
    #[must_use]
    pub fn packed_weight_bytes(&self) -> u64 {
        self.schedule.packed_weight_bytes()
    }

    /// The bytes of device memory that each [`bind`](Self::bind) takes for what is between passes; 0 for most kernels.
    #[must_use]
    pub fn workspace_bytes(&self) -> u64 {
        self.schedule.workspace_bytes()
    }

    /// Checks these tensors against the plan and makes everything that recording it takes.
    ///
    /// If the kernel reads pairs of values ([`Kernel::reads_pairs`](crate::kernels::Kernel::reads_pairs)) and the input or
    /// the weight starts within one, the layer is planned again here, for the kernel that seems best of the others: what
    /// [`kernel`](Self::kernel) and [`schedule`](Self::schedule) say is of tensors that start at a multiple of 8 bytes.
    ///
    /// A kernel that packs its weights ([`packed_weight_bytes`](Self::packed_weight_bytes)) reads them here, once: bind
    /// when they are there, and again when they have changed.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Missing`], [`Error::Unexpected`], [`Error::SharedBuffer`] or
    /// [`Error::OtherContext`], by the tensor's name; [`Error::OutOfMemory`] or [`Error::DeviceLost`]; those of
    /// [`Conv2d::plan`] for a layer that is planned again.
    pub fn bind(&self, operands: Operands<'_>) -> Result<Bound> {
        let g = self.geometry();
        let argument = |name, wanted, tensor, shape| Argument { name, wanted, tensor, shape };
        let arguments = [
            argument("bias", g.bias, operands.bias, g.bias_shape()),
            argument("residual", g.residual, operands.residual, g.output_shape()),
            argument("input", true, Some(operands.input), g.input_shape()),
            argument("weight", true, Some(operands.weight), g.weight_shape()),
            argument("output", true, Some(operands.output), g.output_shape()),
        ];
        check(&self.context, &arguments, operands.output)?;
        let is_within_pair = |tensor: &Tensor| !tensor.offset().is_multiple_of(8);
        if self.schedule.kernel.reads_pairs && (is_within_pair(operands.input) || is_within_pair(operands.weight)) {
            return self.without_pairs()?.bind(operands);
        }
        let tensors = Tensors { operands, own: self.own_tensors()? };
        if !self.packing.is_empty() {
            self.bind_parts(&self.schedule.packing, &self.packing, &tensors)?.run()?;
        }
        self.bind_parts(&self.schedule.parts, &self.pipelines, &tensors)
    }

    /// The same layer for tensors that start anywhere.
    fn without_pairs(&self) -> Result<Self> {
        let target = Target { shader_int64: false, ..self.context.target().clone() };
        Self::new(&self.context, Schedule::new(self.geometry(), &target, None)?)
    }

    /// The tensors that only this layer sees.
    fn own_tensors(&self) -> Result<Vec<(Role, Tensor)>> {
        let roles = [Role::PackedWeight, Role::TransformedInput, Role::TransformedOutput];
        let lengths = roles.map(|role| (role, self.schedule.values_of(role)));
        let needed = lengths.into_iter().filter(|(_, length)| *length > 0);
        let tensor = |length| {
            let length = u32::try_from(length).expect("no more than a binding holds");
            Tensor::zeros(&self.context, [1, 1, 1, length])
        };
        needed.map(|(role, length)| Ok((role, tensor(length)?))).collect()
    }

    fn bind_parts(&self, parts: &[Part], pipelines: &[wgpu::ComputePipeline], tensors: &Tensors<'_>) -> Result<Bound> {
        let calls = parts.iter().zip(pipelines).flat_map(|(part, pipeline)| {
            let call = |dispatch: &Dispatch| self.call(part, pipeline, dispatch, tensors);
            part.dispatches.iter().map(call).collect::<Vec<_>>()
        });
        Bound::new(&self.context, &calls.collect::<Vec<_>>())
    }

    fn call<'a>(
        &self,
        part: &Part,
        pipeline: &'a wgpu::ComputePipeline,
        dispatch: &Dispatch,
        tensors: &'a Tensors<'a>,
    ) -> Call<'a, Extent> {
        let g = &part.geometry;
        let alignment = u64::from(self.context.limits().min_storage_buffer_offset_alignment);
        let bound = |stretch: Stretch| slice(tensors.get(stretch.of), stretch.start, stretch.length, alignment);
        let (input, weight, output) = (bound(part.input), bound(part.weight), bound(part.output));
        // A shader without bias or residual does not read that binding, but it must be something.
        let [bias, residual] = [part.bias, part.residual].map(|stretch| stretch.map_or(weight.clone(), bound));
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
        let tensors = vec![input, weight, bias, residual, output];
        Call { pipeline, workgroups: dispatch.workgroups, extent, tensors }
    }
}

/// The tensors of a layer that is being bound.
struct Tensors<'a> {
    operands: Operands<'a>,
    own: Vec<(Role, Tensor)>,
}

impl Tensors<'_> {
    /// The tensor that a part names. A schedule names a bias or a residual only where the layer has one, and
    /// [`check`] saw that it is given; and what else it names it writes.
    fn get(&self, role: Role) -> &Tensor {
        let operands = &self.operands;
        let found = match role {
            Role::Input => Some(operands.input),
            Role::Weight => Some(operands.weight),
            Role::Bias => operands.bias,
            Role::Residual => operands.residual,
            Role::Output => Some(operands.output),
            own => self.own.iter().find(|(role, _)| *role == own).map(|(_, tensor)| tensor),
        };
        found.expect("a tensor that was checked or made")
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
