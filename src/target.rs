//! `Target`: what planning knows of a device.

use crate::error::Result;
use crate::model::{Gpu, MIDDLE};
use crate::size::check_range;

/// What planning knows of a device: its limits, and the few facts by which kernels are chosen.
///
/// Change a copy to plan for another device: `target.software = false` plans as for a GPU.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Target {
    /// The limits that a plan keeps to.
    pub limits: wgpu::Limits,
    /// Whether the device is a processor that runs shaders in software: its loads cost far more than its arithmetic, so
    /// it wants larger tiles and fewer invocations than a GPU.
    pub software: bool,
    /// How many invocations its subgroups have, if shaders may use them and all are of one size.
    pub subgroup_size: Option<u32>,
    /// Whether its shaders may have integers of 64 bits ([`wgpu::Features::SHADER_INT64`]).
    pub shader_int64: bool,
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
            subgroup_size: has_subgroups.then_some(info.subgroup_min_size),
            shader_int64: features.contains(wgpu::Features::SHADER_INT64),
            gpu: Gpu::like(info),
        }
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

    /// The most `f32` values of a tensor that a binding can hold, wherever in its buffer they start.
    pub(crate) fn binding_values(&self) -> u64 {
        // They may start where a binding may not: then the binding starts before them.
        let slack = u64::from(self.limits.min_storage_buffer_offset_alignment);
        self.limits.max_storage_buffer_binding_size.min(MAXIMUM_BINDING).saturating_sub(slack) / 4
    }

    /// Refuses limits below what the kernels need.
    pub(crate) fn check(&self) -> Result<()> {
        let limits = &self.limits;
        for (limit, value, least) in [
            ("max_bind_groups", u64::from(limits.max_bind_groups), 1),
            ("max_bindings_per_bind_group", limits.max_bindings_per_bind_group.into(), 6),
            ("max_storage_buffers_per_shader_stage", limits.max_storage_buffers_per_shader_stage.into(), 5),
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
    /// A GPU with these limits, without subgroups and 64-bit integers.
    fn from(limits: wgpu::Limits) -> Self {
        Self { limits, software: false, subgroup_size: None, shader_int64: false, gpu: MIDDLE }
    }
}
