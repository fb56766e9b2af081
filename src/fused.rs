//! `Fused`: a separable layer planned as one dispatch.

use crate::bound::{Bound, Call, slice};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::geometry::{Geometry, values};
use crate::kernels::{SeparableKernel, Target, Variant, activation_limits};
use crate::schedule::{MAXIMUM_TERMS, binding_maximum};
use crate::separable::SeparableOperands;

/// A separable layer that one kernel computes.
#[derive(Debug, Clone)]
pub(crate) struct Fused {
    pub kernel: &'static SeparableKernel,
    pub variant: Variant,
    pipeline: wgpu::ComputePipeline,
}

/// What keeps a kernel from computing a layer on a target, or the variant to do it with. One dispatch must do: a layer
/// past any limit is chained, where each part can be cut.
pub(crate) fn variant(
    kernel: &SeparableKernel,
    geometries: &(Geometry, Geometry),
    target: &Target,
    index: usize,
) -> Result<Variant> {
    let unsupported = |reason| Error::Unsupported { kernel: kernel.name, reason };
    (kernel.supports)(geometries, target).map_err(unsupported)?;
    let (depthwise, pointwise) = geometries;
    let tensors =
        [depthwise.input_shape(), depthwise.weight_shape(), pointwise.weight_shape(), pointwise.output_shape()];
    let maximum = binding_maximum(&target.limits);
    if tensors.into_iter().any(|shape| 4 * values(shape) > maximum) {
        return Err(unsupported("it needs tensors that fit in a binding"));
    }
    // As `Schedule` does, which cuts such sums.
    if u64::from(pointwise.in_channels).saturating_mul(depthwise.terms()) > u64::from(MAXIMUM_TERMS) {
        return Err(unsupported(
            "it needs in_channels times depth_multiplier times the filter's taps of at most 16,384",
        ));
    }
    let mut variants = (kernel.variants)(geometries, target);
    let variant = variants.swap_remove(if index < variants.len() { index } else { 0 });
    if variant.grid.iter().any(|&size| size > u64::from(target.limits.max_compute_workgroups_per_dimension)) {
        return Err(unsupported("it needs a grid within max_compute_workgroups_per_dimension"));
    }
    Ok(variant)
}

impl Fused {
    pub(crate) fn new(context: &Context, kernel: &'static SeparableKernel, variant: Variant) -> Result<Self> {
        let pipeline = context.pipelines().get(context, kernel.shader(), "main", &variant.constants)?;
        Ok(Self { kernel, variant, pipeline })
    }

    /// Binds tensors that were checked.
    pub(crate) fn bind(
        &self,
        context: &Context,
        (d, p): (&Geometry, &Geometry),
        operands: &SeparableOperands<'_>,
    ) -> Result<Bound> {
        let alignment = u64::from(context.limits().min_storage_buffer_offset_alignment);
        let whole = |tensor, shape| slice(tensor, 0, values(shape), alignment);
        let input = whole(operands.input, d.input_shape());
        let between_weight = whole(operands.depthwise_weight, d.weight_shape());
        let weight = whole(operands.pointwise_weight, p.weight_shape());
        // A shader without one of these does not read that binding, but it must be something.
        let optional = |tensor: Option<_>, shape| tensor.map_or(weight.clone(), |tensor| whole(tensor, shape));
        let between_bias = optional(operands.depthwise_bias, d.bias_shape());
        let bias = optional(operands.pointwise_bias, p.bias_shape());
        let residual = optional(operands.residual, p.output_shape());
        let output = whole(operands.output, p.output_shape());
        let extent = Extent {
            in_channels: d.in_channels,
            in_height: d.input.height,
            in_width: d.input.width,
            out_channels: p.out_channels,
            out_height: p.output.height,
            out_width: p.output.width,
            batch: p.batch,
            depth_multiplier: p.in_channels / d.in_channels,
            padding_top: d.padding.top,
            padding_left: d.padding.left,
            input_offset: input.offset,
            between_weight_offset: between_weight.offset,
            between_bias_offset: between_bias.offset,
            weight_offset: weight.offset,
            bias_offset: bias.offset,
            residual_offset: residual.offset,
            output_offset: output.offset,
            between_limits: activation_limits(d.activation),
            activation_limits: activation_limits(p.activation),
            unused: [0; 3],
        };
        let workgroups = self.variant.grid.map(|size| u32::try_from(size).expect("at most the limit, which is a u32"));
        let tensors = vec![input, between_weight, between_bias, weight, bias, residual, output];
        Bound::new(context, &[Call { pipeline: &self.pipeline, workgroups, extent, tensors }])
    }
}

/// What the shader knows as `extent`: see `struct Extent` in `shaders/separable.wgsl`.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Extent {
    in_channels: u32,
    in_height: u32,
    in_width: u32,
    out_channels: u32,
    out_height: u32,
    out_width: u32,
    batch: u32,
    depth_multiplier: u32,
    padding_top: u32,
    padding_left: u32,
    input_offset: u32,
    between_weight_offset: u32,
    between_bias_offset: u32,
    weight_offset: u32,
    bias_offset: u32,
    residual_offset: u32,
    output_offset: u32,
    between_limits: [f32; 2],
    activation_limits: [f32; 2],
    unused: [u32; 3],
}
