//! The pipelines of one device, and what its driver keeps of them. All `unsafe` code stands here.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::program::Step;
use crate::shader::{Elements, hash};

/// A pipeline and the layout of its bindings.
#[derive(Debug, Clone)]
pub(crate) struct Pipeline {
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
}

type Key = (&'static str, &'static str, Vec<(&'static str, u32)>, Elements, bool);

/// The pipelines of one device, by shader, entry point, constants, what tensors hold, and whether loops are written
/// out.
#[derive(Debug, Default)]
pub(crate) struct Pipelines {
    made: Mutex<HashMap<Key, Pipeline>>,
}

impl Pipelines {
    /// The pipeline of a step, if it was made.
    pub(crate) fn get(&self, step: &Step) -> Option<Pipeline> {
        self.lock().get(&key(step)).cloned()
    }

    pub(crate) fn insert(&self, step: &Step, pipeline: Pipeline) {
        self.lock().insert(key(step), pipeline);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Pipeline>> {
        // A panic leaves the map whole.
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a pipeline is known by.
pub(super) fn key(step: &Step) -> Key {
    (step.shader.name, step.entry_point, step.constants.clone(), step.elements, step.loops_written_out)
}

/// What a device's driver keeps of the pipelines that it compiled.
#[derive(Debug)]
pub(crate) struct PipelineCache(pub wgpu::PipelineCache);

impl PipelineCache {
    /// Starts from the bytes that [`data`](Self::data) returned, or from nothing if they are damaged.
    pub(crate) fn new(device: &wgpu::Device, data: Option<&[u8]>) -> Self {
        Self(pipeline_cache(device, data.and_then(unseal)))
    }

    /// What the driver keeps, sealed.
    pub(crate) fn data(&self) -> Option<Vec<u8>> {
        Some(seal(&self.0.get_data()?))
    }
}

/// Puts a number before the bytes, by which any damage is found.
fn seal(data: &[u8]) -> Vec<u8> {
    [&hash(data.iter().copied()).to_le_bytes(), data].concat()
}

/// The bytes that were sealed, if nothing has changed them.
fn unseal(sealed: &[u8]) -> Option<&[u8]> {
    let (seal, data) = sealed.split_first_chunk()?;
    (u64::from_le_bytes(*seal) == hash(data.iter().copied())).then_some(data)
}

#[expect(unsafe_code, reason = "see SAFETY")]
fn pipeline_cache(device: &wgpu::Device, data: Option<&[u8]>) -> wgpu::PipelineCache {
    let descriptor = wgpu::PipelineCacheDescriptor { label: Some("sepconv"), data, fallback: true };
    // SAFETY: the data must be what `get_data` returned. `PipelineCache::data` sealed it then, and `unseal` found the
    // seal unbroken; `wgpu` and the driver compare device and driver version themselves. Only a forger could break
    // that: `Context::with_pipeline_cache` says that the bytes must be stored where nobody else can write.
    unsafe { device.create_pipeline_cache(&descriptor) }
}

#[expect(unsafe_code, reason = "see SAFETY")]
pub(crate) fn shader_module(
    device: &wgpu::Device,
    descriptor: wgpu::ShaderModuleDescriptor<'_>,
    runtime_checks: bool,
) -> wgpu::ShaderModule {
    if runtime_checks {
        return device.create_shader_module(descriptor);
    }
    // SAFETY: the source is one of this crate's shaders: a kernel with numbers put in (nobody else can make a `Kernel`,
    // and only this crate makes a `Plan` of a `Program`), or one that measures a roofline over buffers of the size that
    // its own constants say. Their loops end: each counts up to an extent below 2^31. Programs are lowered from layers
    // that `Context::plan` and `Context::plan_with` check, whoever made or changed them. Divisors are sizes that were
    // checked to be at least 1. Indices stay inside the bindings: every extent is derived with checked arithmetic,
    // `Plan::bind` compares each tensor's shape with the program's and binds the stretches that the program names, and
    // packed weights and workspaces are as long as the program says. The tests run every kernel with the checks on as
    // well.
    unsafe { device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
}

#[cfg(test)]
mod tests {
    use super::{seal, unseal};

    #[test]
    fn bytes_that_changed_are_unsealed_no_more() {
        let sealed = seal(b"pipelines");
        assert_eq!(unseal(&sealed), Some(&b"pipelines"[..]));
        assert_eq!(unseal(&seal(b"")), Some(&b""[..]));
        for index in 0..sealed.len() {
            assert_eq!(unseal(&sealed[..index]), None, "cut at {index}");
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert_eq!(unseal(&changed), None, "changed at {index}");
        }
    }
}
