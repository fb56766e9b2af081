//! From a step to a compute pipeline, made once for each text and entry point.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::device::Device;
use super::pipelines::{Pipeline, key, shader_module};
use crate::error::Result;
use crate::program::{Binding, Step};

/// Compiles the pipelines of these steps that are not there yet, each once, on as many threads as the computer has.
/// `progress` is told how many of how many are done.
pub(crate) fn compile_all<'a>(
    device: &Device,
    steps: impl Iterator<Item = &'a Step>,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<()> {
    let missing = missing(device, steps);
    let next = AtomicUsize::new(0);
    let done = AtomicUsize::new(0);
    let work = || {
        while let Some(step) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
            pipeline(device, step)?;
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, missing.len());
        }
        Ok(())
    };
    // A browser has no threads to wait in: see `browser.rs`.
    #[cfg(target_arch = "wasm32")]
    return work();
    #[cfg(not(target_arch = "wasm32"))]
    run_on_threads(missing.len(), &work)
}

/// One of these steps for each pipeline that is not there yet.
pub(super) fn missing<'a>(device: &Device, steps: impl Iterator<Item = &'a Step>) -> Vec<&'a Step> {
    let mut seen = HashSet::new();
    let is_missing = |step: &&Step| {
        let is_new = seen.insert(key(step));
        is_new && device.pipelines().get(step).is_none()
    };
    steps.filter(is_missing).collect()
}

/// Does the same work on several threads until it is done.
#[cfg(not(target_arch = "wasm32"))]
fn run_on_threads(most: usize, work: &(dyn Fn() -> Result<()> + Sync)) -> Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(most);
    if threads < 2 {
        return work();
    }
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let results =
            workers.into_iter().map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        results.collect()
    })
}

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
    let parts = Parts::new(device, step);
    Pipeline { pipeline: parts.pipeline(device, step), layout: parts.layout }
}

/// What a pipeline is made of.
pub(super) struct Parts {
    pub layout: wgpu::BindGroupLayout,
    pipeline_layout: wgpu::PipelineLayout,
    module: wgpu::ShaderModule,
}

impl Parts {
    pub fn new(device: &Device, step: &Step) -> Self {
        let label = Some(step.shader.name);
        let layout = bind_group_layout(device.device(), step);
        let pipeline_layout = device.device().create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label,
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let module = shader_module(
            device.device(),
            wgpu::ShaderModuleDescriptor { label, source: wgpu::ShaderSource::Wgsl(step.wgsl().into()) },
            device.runtime_checks(),
        );
        Self { layout, pipeline_layout, module }
    }

    pub fn pipeline(&self, device: &Device, step: &Step) -> wgpu::ComputePipeline {
        device.device().create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(step.shader.name),
            layout: Some(&self.pipeline_layout),
            module: &self.module,
            entry_point: Some(step.entry_point),
            compilation_options: wgpu::PipelineCompilationOptions {
                zero_initialize_workgroup_memory: device.zeroed_workgroup_memory(),
                ..Default::default()
            },
            cache: device.pipeline_cache().map(|cache| &cache.0),
        })
    }
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
