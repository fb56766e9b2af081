//! `Target`: what planning knows of a device.

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::model::{Gpu, MIDDLE};
use crate::size::check_range;

/// What planning knows of a device: its limits, and the few facts by which kernels are chosen.
///
/// Change a copy to plan for another device: `target.software = false` plans as for a GPU.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "facts that do not exclude each other")]
pub struct Target {
    /// The limits that a plan keeps to.
    pub limits: wgpu::Limits,
    /// Whether the device is a processor that runs shaders in software: its loads cost far more than its arithmetic, so
    /// it wants larger tiles and fewer invocations than a GPU.
    pub software: bool,
    /// Whether its driver unrolls loops over constants itself and keeps arrays in registers, as llvmpipe does. Other drivers in
    /// software, such as SwiftShader, do not: their shaders come with these loops written out, and have smaller tiles.
    pub unrolls_loops: bool,
    /// How many invocations its subgroups have, if shaders may use them and all are of one size.
    pub subgroup_size: Option<u32>,
    /// Whether its shaders may have integers of 64 bits ([`wgpu::Features::SHADER_INT64`]).
    pub shader_int64: bool,
    /// Whether its shaders may have numbers of 16 bits ([`wgpu::Features::SHADER_F16`]).
    pub shader_f16: bool,
    /// What tensors hold.
    pub dtype: DType,
    /// What the model takes it for, unless it is in software.
    pub(crate) gpu: &'static Gpu,
}

/// Vulkan and DX12 read no further than this into a binding, whatever limit the adapter reports.
const MAXIMUM_BINDING: u64 = (1 << 31) - 4;

impl Target {
    fn new(limits: wgpu::Limits, features: wgpu::Features, info: &wgpu::AdapterInfo) -> Self {
        let has_subgroups =
            features.contains(wgpu::Features::SUBGROUP) && info.subgroup_min_size == info.subgroup_max_size;
        Self {
            limits,
            software: info.device_type == wgpu::DeviceType::Cpu,
            unrolls_loops: info.driver == "llvmpipe",
            subgroup_size: has_subgroups.then_some(info.subgroup_min_size),
            shader_int64: features.contains(wgpu::Features::SHADER_INT64),
            shader_f16: features.contains(wgpu::Features::SHADER_F16),
            dtype: DType::F32,
            gpu: Gpu::like(info),
        }
    }

    /// The same target for tensors of another type.
    pub(crate) fn of(&self, dtype: DType) -> Self {
        Self { dtype, ..self.clone() }
    }

    /// The GPU of the model that it is taken for, if it is none in software.
    #[cfg(feature = "unstable")]
    #[must_use]
    pub fn gpu(&self) -> &'static Gpu {
        self.gpu
    }

    /// The same target, taken for this GPU.
    #[cfg(any(test, feature = "unstable"))]
    #[must_use]
    pub fn taken_for(self, gpu: &'static Gpu) -> Self {
        Self { gpu, ..self }
    }

    /// Whether shaders keep their loops over constants. For GPUs they are written out, whoever drives them.
    pub(crate) fn keeps_loops(&self) -> bool {
        self.software && self.unrolls_loops
    }

    /// The most values of a tensor that is cut which a binding can hold. Whatever tensors hold, these are of `f32`: so are
    /// the sums of one that is cut.
    pub(crate) fn binding_values(&self) -> u64 {
        self.binding_bytes() / 4
    }

    /// The most bytes of a tensor that a binding can hold, wherever in its buffer they start.
    pub(crate) fn binding_bytes(&self) -> u64 {
        // They may start where a binding may not: then the binding starts before them.
        let slack = u64::from(self.limits.min_storage_buffer_offset_alignment);
        self.limits.max_storage_buffer_binding_size.min(MAXIMUM_BINDING).saturating_sub(slack)
    }

    /// Refuses limits below what the kernels need, and tensors of a type that shaders may not have.
    pub(crate) fn check(&self) -> Result<()> {
        if self.dtype == DType::F16 && !self.shader_f16 {
            return Err(Error::NoF16 { device: "the target".to_owned() });
        }
        let limits = &self.limits;
        for (limit, value, least) in [
            ("max_bind_groups", u64::from(limits.max_bind_groups), 1),
            ("max_bindings_per_bind_group", limits.max_bindings_per_bind_group.into(), 7),
            ("max_storage_buffers_per_shader_stage", limits.max_storage_buffers_per_shader_stage.into(), 6),
            ("max_uniform_buffers_per_shader_stage", limits.max_uniform_buffers_per_shader_stage.into(), 1),
            ("max_uniform_buffer_binding_size", limits.max_uniform_buffer_binding_size, 256),
            ("max_compute_invocations_per_workgroup", limits.max_compute_invocations_per_workgroup.into(), 64),
            ("max_compute_workgroup_size_x", limits.max_compute_workgroup_size_x.into(), 64),
            ("max_compute_workgroup_size_y", limits.max_compute_workgroup_size_y.into(), 8),
            ("max_compute_workgroups_per_dimension", limits.max_compute_workgroups_per_dimension.into(), 1),
            ("min_storage_buffer_offset_alignment", limits.min_storage_buffer_offset_alignment.into(), 16),
            ("min_uniform_buffer_offset_alignment", limits.min_uniform_buffer_offset_alignment.into(), 1),
        ] {
            check_range(limit, value, least, u64::MAX)?;
        }
        Ok(())
    }
}

impl From<&wgpu::Device> for Target {
    /// What may be used of a device that is open.
    fn from(device: &wgpu::Device) -> Self {
        Self::new(device.limits(), device.features(), &device.adapter_info())
    }
}

impl From<&wgpu::Adapter> for Target {
    /// The device that [`Context::from_adapter`](crate::Context::from_adapter) opens.
    fn from(adapter: &wgpu::Adapter) -> Self {
        Self::new(adapter.limits(), adapter.features(), &adapter.get_info())
    }
}

impl From<wgpu::Limits> for Target {
    /// A GPU with these limits, without subgroups, 64-bit integers and numbers of 16 bits.
    fn from(limits: wgpu::Limits) -> Self {
        Self {
            limits,
            software: false,
            unrolls_loops: false,
            subgroup_size: None,
            shader_int64: false,
            shader_f16: false,
            dtype: DType::F32,
            gpu: MIDDLE,
        }
    }
}
