//! From a kernel and its constants to a compute pipeline, made once per set of constants.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::context::Context;
use crate::error::Result;
use crate::kernels::Kernel;

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

/// The bindings that every kernel has: the extents, four tensors to read, one to write.
pub(crate) fn bind_group_layout(device: &wgpu::Device) -> wgpu::BindGroupLayout {
    let entry = |binding, ty| wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
        count: None,
    };
    let read = wgpu::BufferBindingType::Storage { read_only: true };
    let write = wgpu::BufferBindingType::Storage { read_only: false };
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some("sepconv"),
        entries: &[
            entry(0, wgpu::BufferBindingType::Uniform),
            entry(1, read),
            entry(2, read),
            entry(3, read),
            entry(4, read),
            entry(5, write),
        ],
    })
}

type Key = (&'static str, Vec<(&'static str, u32)>);

/// The pipelines of one device, by kernel and constants.
#[derive(Debug, Default)]
pub(crate) struct Pipelines(Mutex<HashMap<Key, wgpu::ComputePipeline>>);

impl Pipelines {
    /// The pipeline of a kernel with these constants, compiled at the first call.
    pub(crate) fn get(
        &self,
        context: &Context,
        kernel: &'static Kernel,
        constants: &[(&'static str, u32)],
    ) -> Result<wgpu::ComputePipeline> {
        let key = (kernel.name, constants.to_vec());
        if let Some(pipeline) = self.lock().get(&key) {
            return Ok(pipeline.clone());
        }
        let source = specialise(kernel.wgsl, constants);
        let pipeline = context.guarded("a pipeline", 0, || compile(context, kernel.name, source))?;
        self.lock().insert(key, pipeline.clone());
        Ok(pipeline)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, wgpu::ComputePipeline>> {
        // A map of handles is whole after any panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn compile(context: &Context, name: &str, source: String) -> wgpu::ComputePipeline {
    let layout = context.device().create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some(name),
        bind_group_layouts: &[Some(context.bind_group_layout())],
        immediate_size: 0,
    });
    create(context, name, source, Some(&layout))
}

/// The pipeline of a shader as it stands, with bindings of its own.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn unspecialised(context: &Context, wgsl: &str) -> wgpu::ComputePipeline {
    create(context, "sepconv", wgsl.to_owned(), None)
}

fn create(
    context: &Context,
    name: &str,
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
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions {
            zero_initialize_workgroup_memory: context.zeroed_workgroup_memory(),
            ..Default::default()
        },
        cache: None,
    })
}

#[expect(unsafe_code, reason = "the one place: see SAFETY")]
fn shader_module(
    device: &wgpu::Device,
    descriptor: wgpu::ShaderModuleDescriptor<'_>,
    runtime_checks: bool,
) -> wgpu::ShaderModule {
    if runtime_checks {
        return device.create_shader_module(descriptor);
    }
    // SAFETY: the source is one of this crate's shaders, the kernels with numbers put in. Its loops end: each counts up to an extent
    // below 2^31. Only `Conv2d::plan` brings a source here, with a geometry that nobody could change since
    // `Conv2d::geometry` checked it. Its divisors are sizes that were checked to be at least 1. Its indices stay inside the
    // bindings: `Conv2d::geometry` derives every extent with checked arithmetic and `Plan::bind` checks each tensor's
    // shape against it and each binding against its buffer. The tests run every kernel with the checks on as well.
    unsafe { device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
}

#[cfg(test)]
mod tests {
    use super::specialise;

    #[test]
    fn only_the_named_values_change() {
        let wgsl = "const A: u32 = 3u;  // a\nconst AB: u32 = A * 2u;\nconst C: bool = true;\n";
        let expected = "const A: u32 = 7u;  // a\nconst AB: u32 = A * 2u;\nconst C: bool = false;\n";
        assert_eq!(specialise(wgsl, &[("A", 7), ("C", 0)]), expected);
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
