//! From a step to a compute pipeline, made once for each shader, entry point and set of constants.

use super::device::Device;
use super::pipelines::{Pipeline, shader_module};
use crate::error::Result;
use crate::program::{Binding, Step};
use crate::shader::specialise;

/// The pipeline of a step, compiled at the first call.
pub(crate) fn pipeline(device: &Device, step: &Step) -> Result<Pipeline> {
    if let Some(pipeline) = device.pipelines().get(step) {
        return Ok(pipeline);
    }
    let pipeline = device.guarded("a pipeline", 0, || compile(device, step))?;
    device.pipelines().insert(step, pipeline.clone());
    Ok(pipeline)
}

fn compile(device: &Device, step: &Step) -> Pipeline {
    let name = step.shader.name;
    let layout = bind_group_layout(device.device(), step);
    let pipeline_layout = device.device().create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some(name),
        bind_group_layouts: &[Some(&layout)],
        immediate_size: 0,
    });
    let source = specialise(&step.shader.wgsl(), &step.constants);
    let module = shader_module(
        device.device(),
        wgpu::ShaderModuleDescriptor { label: Some(name), source: wgpu::ShaderSource::Wgsl(source.into()) },
        device.runtime_checks(),
    );
    let pipeline = device.device().create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(name),
        layout: Some(&pipeline_layout),
        module: &module,
        entry_point: Some(step.entry_point),
        compilation_options: wgpu::PipelineCompilationOptions {
            zero_initialize_workgroup_memory: device.zeroed_workgroup_memory(),
            ..Default::default()
        },
        cache: device.pipeline_cache().map(|cache| &cache.0),
    });
    Pipeline { pipeline, layout }
}

/// A step's bindings: its uniform, what it reads, what it writes.
fn bind_group_layout(device: &wgpu::Device, step: &Step) -> wgpu::BindGroupLayout {
    let entry = |binding, ty| wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
        count: None,
    };
    let storage =
        |binding: &Binding| entry(binding.number, wgpu::BufferBindingType::Storage { read_only: !binding.writes });
    let uniform = entry(0, wgpu::BufferBindingType::Uniform);
    let entries: Vec<_> = [uniform].into_iter().chain(step.bindings.iter().map(storage)).collect();
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some("sepconv"), entries: &entries })
}
