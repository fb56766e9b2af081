//! From a kernel and its constants to a compute pipeline, made once per set of constants.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::context::Context;
use crate::error::Result;

/// Replaces the values of `const NAME: TYPE = value;` in a shader, and nothing else: every line stays where it was.
///
/// A `bool` constant becomes true for any value but 0.
///
/// # Panics
/// If a name is not declared exactly once. The names come from this crate's own kernels, which its tests walk.
#[must_use]
pub fn specialise(wgsl: &str, constants: &[(&str, u32)]) -> String {
    let mut lines: Vec<String> = wgsl.lines().map(str::to_owned).collect();
    for (name, value) in constants {
        let prefix = format!("const {name}: ");
        let mut declarations = lines.iter_mut().filter(|line| line.starts_with(&prefix));
        let line = declarations.next().unwrap_or_else(|| panic!("the shader declares no constant {name}"));
        assert!(declarations.next().is_none(), "the shader declares {name} more than once");
        let (declaration, rest) = line.split_once(" = ").unwrap_or_else(|| panic!("{name} has no value"));
        let (_, comment) = rest.split_once(';').unwrap_or_else(|| panic!("{name} does not end in its line"));
        let value = if declaration.ends_with("bool") { (*value != 0).to_string() } else { format!("{value}u") };
        *line = format!("{declaration} = {value};{comment}");
    }
    lines.join("\n") + "\n"
}

/// A number that tells texts apart: FNV-1a, the same on every system and in every version of Rust.
pub(crate) fn hash(bytes: impl IntoIterator<Item = u8>) -> u64 {
    let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
    bytes.into_iter().fold(0xCBF2_9CE4_8422_2325, step)
}

/// A shader of this crate whose constants are to be put in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shader {
    pub name: &'static str,
    pub wgsl: &'static str,
    /// How many tensors it reads. It writes one.
    pub inputs: u32,
}

/// The bindings that every kernel has: the extent, the tensors to read, the one to write.
fn bind_group_layout(device: &wgpu::Device, inputs: u32) -> wgpu::BindGroupLayout {
    let entry = |binding, ty| wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
        count: None,
    };
    let storage = |binding| entry(binding, wgpu::BufferBindingType::Storage { read_only: binding <= inputs });
    let entries: Vec<_> =
        [entry(0, wgpu::BufferBindingType::Uniform)].into_iter().chain((1..=inputs + 1).map(storage)).collect();
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some("sepconv"), entries: &entries })
}

type Key = (&'static str, &'static str, Vec<(&'static str, u32)>);

/// The pipelines of one device, by kernel, entry point and constants.
#[derive(Debug, Default)]
pub(crate) struct Pipelines {
    made: Mutex<HashMap<Key, wgpu::ComputePipeline>>,
    /// What the driver made of them, if it is asked to remember.
    cache: Option<wgpu::PipelineCache>,
}

impl Pipelines {
    /// None made yet, but compiled with what the driver remembers: from these bytes of [`data`](Self::data) on, or from
    /// nothing if they are not whole or not of this device.
    pub(crate) fn with_cache(context: &Context, data: Option<&[u8]>) -> Self {
        let create = |data| context.guarded("a pipeline cache", 0, || pipeline_cache(context.device(), data));
        let restored = data.and_then(unseal).and_then(|data| create(Some(data)).ok());
        Self { made: Mutex::default(), cache: restored.or_else(|| create(None).ok()) }
    }

    /// What the driver remembers, sealed; none if it was not asked to.
    pub(crate) fn data(&self) -> Option<Vec<u8>> {
        Some(seal(&self.cache.as_ref()?.get_data()?))
    }

    /// The pipeline of a shader's entry point with these constants, compiled at the first call.
    pub(crate) fn get(
        &self,
        context: &Context,
        shader: Shader,
        entry: &'static str,
        constants: &[(&'static str, u32)],
    ) -> Result<wgpu::ComputePipeline> {
        let key = (shader.name, entry, constants.to_vec());
        if let Some(pipeline) = self.lock().get(&key) {
            return Ok(pipeline.clone());
        }
        let source = specialise(shader.wgsl, constants);
        let pipeline = context.guarded("a pipeline", 0, || compile(context, shader, entry, source))?;
        self.lock().insert(key, pipeline.clone());
        Ok(pipeline)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, wgpu::ComputePipeline>> {
        // A map of handles is whole after any panic.
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn compile(context: &Context, shader: Shader, entry: &str, source: String) -> wgpu::ComputePipeline {
    let layout = context.device().create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some(shader.name),
        bind_group_layouts: &[Some(&bind_group_layout(context.device(), shader.inputs))],
        immediate_size: 0,
    });
    create(context, shader.name, entry, source, Some(&layout))
}

/// The pipeline of a shader as it stands, with bindings of its own.
pub(crate) fn unspecialised(context: &Context, wgsl: &str) -> wgpu::ComputePipeline {
    create(context, "sepconv", "main", wgsl.to_owned(), None)
}

fn create(
    context: &Context,
    name: &str,
    entry: &str,
    source: String,
    layout: Option<&wgpu::PipelineLayout>,
) -> wgpu::ComputePipeline {
    let device = context.device();
    let module = shader_module(
        device,
        wgpu::ShaderModuleDescriptor { label: Some(name), source: wgpu::ShaderSource::Wgsl(source.into()) },
        context.runtime_checks(),
    );
    device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(name),
        layout,
        module: &module,
        entry_point: Some(entry),
        compilation_options: wgpu::PipelineCompilationOptions {
            zero_initialize_workgroup_memory: context.zeroed_workgroup_memory(),
            ..Default::default()
        },
        cache: context.pipelines().cache.as_ref(),
    })
}

/// Puts a number before the bytes that tells whether they are whole.
fn seal(data: &[u8]) -> Vec<u8> {
    [&hash(data.iter().copied()).to_le_bytes(), data].concat()
}

/// The bytes that were sealed, if they are as they were.
fn unseal(sealed: &[u8]) -> Option<&[u8]> {
    let (seal, data) = sealed.split_first_chunk()?;
    (u64::from_le_bytes(*seal) == hash(data.iter().copied())).then_some(data)
}

#[expect(unsafe_code, reason = "see SAFETY")]
fn pipeline_cache(device: &wgpu::Device, data: Option<&[u8]>) -> wgpu::PipelineCache {
    let descriptor = wgpu::PipelineCacheDescriptor { label: Some("sepconv"), data, fallback: true };
    // SAFETY: the data must be what `get_data` returned. `Pipelines::data` sealed it then, and `unseal` found the seal
    // unbroken; `wgpu` and the driver compare device and driver version themselves. Only a forger could break that:
    // `Context::with_pipeline_cache` says that the bytes must be kept where none can write.
    unsafe { device.create_pipeline_cache(&descriptor) }
}

#[expect(unsafe_code, reason = "see SAFETY")]
fn shader_module(
    device: &wgpu::Device,
    descriptor: wgpu::ShaderModuleDescriptor<'_>,
    runtime_checks: bool,
) -> wgpu::ShaderModule {
    if runtime_checks {
        return device.create_shader_module(descriptor);
    }
    // SAFETY: the source is one of this crate's shaders: a kernel with numbers put in (nobody else can make a
    // `Kernel`), or one that measures a roofline over buffers of its own constants' size. Their loops end: each counts
    // up to an extent below 2^31. Only plans of `Conv2d` and `SeparableConv2d` bring kernels here, with geometries that
    // nobody could change since `Conv2d::geometry` checked them. Divisors are sizes that were checked to be at least 1.
    // Indices stay inside the bindings: `Conv2d::geometry` derives every extent with checked arithmetic, and
    // `bound::check` compares each tensor's shape with it, and `Bound::new` binds that much; packed weights and
    // workspaces are made as long as their longest stretch. The tests run every kernel with the checks on as well.
    unsafe { device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
}

#[cfg(test)]
mod tests {
    use super::{seal, specialise, unseal};

    #[test]
    fn only_the_named_values_change() {
        let wgsl = "const A: u32 = 3u;  // a\nconst AB: u32 = A * 2u;\nconst C: bool = true;\n";
        let expected = "const A: u32 = 7u;  // a\nconst AB: u32 = A * 2u;\nconst C: bool = false;\n";
        assert_eq!(specialise(wgsl, &[("A", 7), ("C", 0)]), expected);
    }

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

    #[test]
    #[should_panic(expected = "declares no constant B")]
    fn a_constant_that_is_not_there_is_a_bug() {
        let _ = specialise("const A: u32 = 3u;\n", &[("B", 1)]);
    }

    #[test]
    #[should_panic(expected = "declares A more than once")]
    fn a_constant_declared_twice_is_a_bug() {
        let _ = specialise("const A: u32 = 3u;\nconst A: u32 = 4u;\n", &[("A", 1)]);
    }
}
