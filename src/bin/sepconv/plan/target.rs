//! `--target`: what layers are planned for without any device.

use std::path::Path;

use sepconv::Target;
use sepconv::unstable::text::word;
use sepconv::unstable::{GPUS, Gpu};
use serde_json::Value;

use crate::failure::{Failure, Outcome};
use crate::files;

/// The subgroups of llvmpipe where a processor has vectors of 256 bits.
const SOFTWARE_SUBGROUP: u32 = 8;

/// `gpu`, `software`, a GPU of the model's table, or what a file says.
pub fn named(name: &str) -> Outcome<Target> {
    let mut target = Target::from(wgpu::Limits::default());
    target.shader_f16 = true;
    match word(name).as_str() {
        "gpu" => Ok(target),
        "software" => {
            (target.software, target.unrolls_loops, target.shader_int64) = (true, true, true);
            target.subgroup_size = Some(SOFTWARE_SUBGROUP);
            Ok(target)
        }
        _ if Path::new(name).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json")) => {
            let refused = |reason: String| Failure::Request(format!("--target {name}: {reason}"));
            let text = files::read_text(Path::new(name)).map_err(|failure| failure.within("--target"))?;
            let value = serde_json::from_str(&text).map_err(|error| refused(format!("not JSON: {error}")))?;
            parse(&value).map_err(refused)
        }
        _ => Gpu::by_name(name).map(|gpu| target.taken_for(gpu)).ok_or_else(|| {
            let gpus = GPUS.map(|gpu| gpu.name).join(", ");
            let message = format!("--target is {name:?}; it must be gpu, software, a file FILE.json, or one of {gpus}");
            Failure::Request(message)
        }),
    }
}

/// What the file may have: what `sepconv devices --json` prints of an adapter.
const KEYS: [&str; 8] = ["name", "type", "driver", "driver_info", "backend", "subgroup_sizes", "limits", "features"];

/// Reads a target. What is not there is as of a GPU with WebGPU's default limits.
fn parse(value: &Value) -> Result<Target, String> {
    let object = value.as_object().ok_or("it must be a JSON object")?;
    if let Some(key) = object.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(format!("{key:?} is no key of a target; its keys are {}", KEYS.join(", ")));
    }
    let mut limits = wgpu::Limits::default();
    match &value["limits"] {
        Value::Null => {}
        Value::Object(given) => given.iter().try_for_each(|(name, value)| set_limit(&mut limits, name, value))?,
        other => return Err(format!("limits is {other}; it must be an object of numbers")),
    }
    let mut target = Target::from(limits);
    let device_type = device_type(&value["type"])?;
    target.software = device_type == wgpu::DeviceType::Cpu;
    target.unrolls_loops = value["driver"] == "llvmpipe";
    if let Value::String(name) = &value["name"] {
        let mut adapter = wgpu::AdapterInfo::new(device_type, wgpu::Backend::Noop);
        adapter.name.clone_from(name);
        target = target.taken_for(Gpu::like(&adapter));
    }
    let features = features(&value["features"])?;
    target.shader_f16 = features.contains(wgpu::Features::SHADER_F16);
    target.shader_int64 = features.contains(wgpu::Features::SHADER_INT64);
    let size = subgroup_size(&value["subgroup_sizes"])?;
    target.subgroup_size = size.filter(|_| features.contains(wgpu::Features::SUBGROUP));
    Ok(target)
}

fn device_type(value: &Value) -> Result<wgpu::DeviceType, String> {
    use wgpu::DeviceType::{Cpu, DiscreteGpu, IntegratedGpu, Other, VirtualGpu};
    let types = [Other, IntegratedGpu, DiscreteGpu, VirtualGpu, Cpu];
    let named = |name: &str| types.into_iter().find(|of| word(&format!("{of:?}")) == word(name));
    let refused = || format!("type is {value}; it must be one of {types:?}");
    if value.is_null() { Ok(Other) } else { value.as_str().and_then(named).ok_or_else(refused) }
}

macro_rules! limits {
    ($($name:ident)*) => {
        /// The limits that planning looks at, by their names in `wgpu`.
        const LIMITS: &[&str] = &[$(stringify!($name)),*];

        fn set_limit(limits: &mut wgpu::Limits, name: &str, value: &Value) -> Result<(), String> {
            let refused = || format!("limits: {name} is {value}; it must be a whole number that the limit can be");
            let number = value.as_u64().ok_or_else(refused)?;
            match name {
                $(stringify!($name) => limits.$name = number.try_into().map_err(|_| refused())?,)*
                _ => return Err(format!("limits: {name:?} is none that planning looks at; those are {}", LIMITS.join(", "))),
            }
            Ok(())
        }
    };
}

limits! {
    max_bind_groups
    max_bindings_per_bind_group
    max_buffer_size
    max_compute_invocations_per_workgroup
    max_compute_workgroup_size_x
    max_compute_workgroup_size_y
    max_compute_workgroup_size_z
    max_compute_workgroup_storage_size
    max_compute_workgroups_per_dimension
    max_storage_buffer_binding_size
    max_storage_buffers_per_shader_stage
    max_uniform_buffer_binding_size
    max_uniform_buffers_per_shader_stage
    min_storage_buffer_offset_alignment
    min_uniform_buffer_offset_alignment
}

/// The features there are: of an array of names, or of an object of names with whether each is there.
fn features(value: &Value) -> Result<wgpu::Features, String> {
    let refused =
        || format!("features is {value}; it must be an array of names, or an object of names with true or false");
    let named: Option<Vec<(&str, bool)>> = match value {
        Value::Null => Some(Vec::new()),
        Value::Array(names) => names.iter().map(|name| Some((name.as_str()?, true))).collect(),
        Value::Object(flags) => flags.iter().map(|(name, flag)| Some((name.as_str(), flag.as_bool()?))).collect(),
        _ => None,
    };
    let mut features = wgpu::Features::empty();
    for (name, is_there) in named.ok_or_else(refused)? {
        let unknown = || format!("features: {name:?} is no feature of wgpu, such as SUBGROUP or SHADER_INT64");
        let feature = wgpu::Features::from_name(&name.to_uppercase().replace('-', "_")).ok_or_else(unknown)?;
        features.set(feature, is_there);
    }
    Ok(features)
}

/// The size of all subgroups, if all are of one size.
fn subgroup_size(value: &Value) -> Result<Option<u32>, String> {
    let refused = || format!("subgroup_sizes is {value}; it must be the smallest and the largest, such as [32, 32]");
    if value.is_null() {
        return Ok(None);
    }
    let size = |value: &Value| value.as_u64().and_then(|size| u32::try_from(size).ok());
    match value.as_array().map(Vec::as_slice) {
        Some([smallest, largest]) => {
            let (smallest, largest) = (size(smallest).ok_or_else(refused)?, size(largest).ok_or_else(refused)?);
            Ok((smallest == largest).then_some(smallest))
        }
        _ => Err(refused()),
    }
}
