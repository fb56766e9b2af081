//! `sepconv devices`: every adapter, with the limits and features that matter here.

use sepconv::adapters;
use serde_json::{Value, json};

use crate::device::DRIVER_HINT;
use crate::failure::Outcome;
use crate::output::print;

/// What `devices` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Print one JSON array instead of text.
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub fn run(arguments: &Arguments) -> Outcome {
    let adapters = pollster::block_on(adapters());
    if arguments.json {
        let adapters = adapters.iter().map(to_json).collect();
        return print(&format!("{:#}", Value::Array(adapters)));
    }
    if adapters.is_empty() {
        return print(&format!("No adapter: the CPU reference computes. To get one, {DRIVER_HINT}."));
    }
    let texts: Vec<String> = adapters.iter().map(to_text).collect();
    print(&texts.join("\n\n"))
}

/// The limits by their names in `wgpu`.
pub fn limits(limits: &wgpu::Limits) -> [(&'static str, u64); 7] {
    [
        ("max_storage_buffer_binding_size", limits.max_storage_buffer_binding_size),
        ("max_buffer_size", limits.max_buffer_size),
        ("max_storage_buffers_per_shader_stage", limits.max_storage_buffers_per_shader_stage.into()),
        ("min_storage_buffer_offset_alignment", limits.min_storage_buffer_offset_alignment.into()),
        ("max_compute_workgroups_per_dimension", limits.max_compute_workgroups_per_dimension.into()),
        ("max_compute_invocations_per_workgroup", limits.max_compute_invocations_per_workgroup.into()),
        ("max_compute_workgroup_storage_size", limits.max_compute_workgroup_storage_size.into()),
    ]
}

/// The features by their names in `wgpu`, and whether an adapter has each.
fn features(features: wgpu::Features) -> [(&'static str, bool); 4] {
    [
        ("TIMESTAMP_QUERY", features.contains(wgpu::Features::TIMESTAMP_QUERY)),
        ("SHADER_F16", features.contains(wgpu::Features::SHADER_F16)),
        ("SHADER_INT64", features.contains(wgpu::Features::SHADER_INT64)),
        ("SUBGROUP", features.contains(wgpu::Features::SUBGROUP)),
    ]
}

fn to_text(adapter: &wgpu::Adapter) -> String {
    let info = adapter.get_info();
    let mut lines = vec![
        info.name.clone(),
        format!("  type      {:?}", info.device_type),
        format!("  driver    {} {}", info.driver, info.driver_info),
        format!("  backend   {:?}", info.backend),
        format!("  subgroup  {} to {} invocations", info.subgroup_min_size, info.subgroup_max_size),
    ];
    lines.extend(limits(&adapter.limits()).map(|(name, limit)| format!("  {name:<38} {limit}")));
    lines.extend(
        features(adapter.features()).map(|(name, has)| format!("  {name:<38} {}", if has { "yes" } else { "no" })),
    );
    lines.join("\n")
}

fn to_json(adapter: &wgpu::Adapter) -> Value {
    let info = adapter.get_info();
    json!({
        "name": info.name,
        "type": format!("{:?}", info.device_type),
        "driver": info.driver,
        "driver_info": info.driver_info,
        "backend": format!("{:?}", info.backend),
        "subgroup_sizes": [info.subgroup_min_size, info.subgroup_max_size],
        "limits": limits(&adapter.limits()).into_iter().collect::<std::collections::BTreeMap<_, _>>(),
        "features": features(adapter.features()).into_iter().collect::<std::collections::BTreeMap<_, _>>(),
    })
}
