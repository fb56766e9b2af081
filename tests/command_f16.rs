//! `--dtype f16`, as a user says it.

#[path = "common/command.rs"]
mod command;
mod common;

use std::path::Path;

use command::sepconv;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use sepconv::DType;
use serde_json::Value;

/// Whether the device under test has f16 in shaders.
fn has_f16() -> bool {
    common::context().is_some_and(|context| context.target().shader_f16)
}

/// 0.5, 1 and 1.5 as a file holds them.
const HALVES: [u8; 6] = [0, 0x38, 0, 0x3c, 0, 0x3e];

/// A file of f16: an input of three values, and a weight of 1 / 3, which an f16 has as 0.33325195.
fn layer(folder: &Path) {
    let third = 0x3555_u16.to_le_bytes();
    let input = TensorView::new(Dtype::F16, vec![1, 1, 1, 3], &HALVES).unwrap();
    let weight = TensorView::new(Dtype::F16, vec![1, 1, 1, 1], &third).unwrap();
    let bytes = safetensors::serialize([("input", input), ("weight", weight)], None).unwrap();
    std::fs::write(folder.join("layer.safetensors"), bytes).unwrap();
}

fn output(folder: &Path) -> Vec<f32> {
    let bytes = std::fs::read(folder.join("out.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let view = file.tensor("output").unwrap();
    assert_eq!(view.dtype(), Dtype::F32);
    view.data().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

#[test]
fn files_of_f16_are_read_and_results_are_f32() {
    let folder = tempfile::tempdir().unwrap();
    layer(folder.path());
    let third = 0.333_251_95;
    let exact: Vec<f32> = [0.5, 1.0, 1.5].map(|value| value * third).to_vec();
    sepconv(folder.path(), "conv layer.safetensors --out out.safetensors").assert_done();
    assert_eq!(output(folder.path()), exact);
    if has_f16() {
        let run = sepconv(folder.path(), "conv layer.safetensors --out out.safetensors --dtype F16");
        assert!(run.assert_done().contains(", tensors of f16"), "{run:?}");
        let rounded: Vec<f32> = exact.iter().map(|&value| DType::F16.round(value)).collect();
        assert_eq!(output(folder.path()), rounded);
        assert_ne!(rounded, exact);
    }
    let cpu = sepconv(folder.path(), "conv layer.safetensors --out out.safetensors --dtype f16 --device cpu");
    cpu.assert_refused("--dtype f16");
    sepconv(folder.path(), "conv layer.safetensors --out out.safetensors --dtype f64").assert_refused("--dtype");
}

#[test]
fn a_plan_has_half_as_many_bytes() {
    if !has_f16() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let layer = "plan --input 1,16,28,28 --weight 32,16,3,3 --bias 32 --padding 1 --json";
    let plan = |more: &str| -> Value {
        serde_json::from_str(sepconv(folder.path(), &format!("{layer} --no-tune {more}")).assert_done()).unwrap()
    };
    let (wide, half) = (plan(""), plan("--dtype f16"));
    assert_eq!((wide["dtype"].as_str(), half["dtype"].as_str()), (Some("f32"), Some("f16")));
    for bytes in ["bytes", "workspace_bytes"] {
        let number = |plan: &Value| plan["separable"][bytes].as_u64().unwrap();
        assert_eq!(number(&wide), 2 * number(&half), "{bytes}");
    }
    assert_eq!(wide["bytes"].as_u64().unwrap(), 2 * half["bytes"].as_u64().unwrap());
    sepconv(folder.path(), &format!("{layer} --dtype f16 --device cpu")).assert_refused("--dtype f16");
}

const SHAPES: &str = r#"[
    {"id": "a", "kind": "conv", "c": 16, "h": 28, "w": 28, "oc": 32, "k": 3, "p": 1, "residual": true},
    {"id": "b", "kind": "conv", "c": 128, "h": 28, "w": 28, "oc": 128, "k": 3, "p": 1},
    {"id": "c", "kind": "sep", "c": 16, "h": 9, "w": 9, "oc": 8, "k": 3},
    {"id": "d", "kind": "average_pool", "c": 2, "h": 8, "w": 8, "k": 2}]"#;

/// Of tensors and of sums: what Winograd's method multiplies is f32.
#[test]
fn shaders_of_f16_are_written_for_a_target_that_has_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("shapes.json"), SHAPES).unwrap();
    let plan = "plan --shapes shapes.json --wgsl out --kernels all --dtype f16";
    for target in ["gpu", "software"] {
        sepconv(folder.path(), &format!("{plan} --target {target}")).assert_done();
        let index = std::fs::read_to_string(folder.path().join("out/index.json")).unwrap();
        let mut wide = Vec::new();
        for step in serde_json::from_str::<Vec<Value>>(&index).unwrap() {
            let wgsl = std::fs::read_to_string(folder.path().join("out").join(step["file"].as_str().unwrap())).unwrap();
            naga::front::wgsl::parse_str(&wgsl).unwrap_or_else(|error| panic!("{}", error.emit_to_string(&wgsl)));
            if !wgsl.starts_with("enable f16;") {
                assert!(!wgsl.contains("= f16;"), "{step}");
                wide.push((step["candidate"].as_str().unwrap().to_owned(), step["id"].clone()));
            }
        }
        assert!(
            !wide.is_empty() && wide.iter().all(|(candidate, _)| candidate.starts_with("winograd")),
            "{target}: {wide:?}"
        );
    }
    std::fs::write(folder.path().join("old.json"), r#"{"features": ["SUBGROUP"]}"#).unwrap();
    sepconv(folder.path(), &format!("{plan} --target old.json")).assert_refused("SHADER_F16");
    std::fs::write(folder.path().join("new.json"), r#"{"features": ["SHADER_F16"]}"#).unwrap();
    sepconv(folder.path(), &format!("{plan} --target new.json")).assert_done();
}

#[test]
fn layers_of_f16_are_timed_and_tuned() {
    if !has_f16() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let shapes = r#"[{"id": "a", "kind": "conv", "c": 4, "h": 9, "w": 7, "oc": 4, "k": 3}]"#;
    std::fs::write(folder.path().join("shapes.json"), shapes).unwrap();
    let run = sepconv(folder.path(), "bench --shapes shapes.json --dtype f16 --json out.json");
    assert!(run.assert_done().contains(", tensors of f16"), "{run:?}");
    let result: Value = serde_json::from_slice(&std::fs::read(folder.path().join("out.json")).unwrap()).unwrap();
    assert_eq!(result["dtype"], "f16");
    let row = &result["rows"][0];
    // 4 planes of 9 x 7, 4 of 7 x 5, 144 weights and 4 biases, of 2 bytes each.
    let milliseconds = row["gpu_ms"].as_f64().or(row["median_ms"].as_f64()).unwrap();
    let bytes = row["gb_s"].as_f64().unwrap() * milliseconds * 1e6;
    assert!((bytes - 2.0 * (252.0 + 140.0 + 148.0)).abs() < 1e-3, "{bytes}");

    // A table knows a layer by its type too: what was found for one is not taken for the other.
    let cache = folder.path().join("cache");
    let tune = |more: &str| {
        let arguments = format!("tune --shapes shapes.json --export table.txt {more}");
        let arguments: Vec<&str> = arguments.split_whitespace().collect();
        command::run_in(&cache, folder.path(), &arguments).assert_done();
        let table = std::fs::read_to_string(folder.path().join("table.txt")).unwrap();
        table.lines().skip_while(|line| !line.is_empty()).skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    let [half] = &tune("--dtype f16")[..] else { panic!("one layer") };
    assert!(half.starts_with("f16 input 1x4x9x7"), "{half}");
    let both = tune("");
    assert!(both.len() == 2 && both.contains(half), "{both:?}");
}

#[test]
fn a_network_of_f16_runs() {
    // A driver in software takes half a minute to compile it; tests/networks.rs runs a smaller one.
    if !has_f16() || !common::sweeps_whole() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let assets = concat!(env!("CARGO_MANIFEST_DIR"), "/assets");
    let run = |more: &str| {
        let arguments = format!(
            "run {assets}/selfie_segmentation.onnx {assets}/astronaut.jpg --size 256,256 --out mask.npy --json {more}"
        );
        let said: Value = serde_json::from_str(sepconv(folder.path(), &arguments).assert_done()).unwrap();
        let bytes = std::fs::read(folder.path().join("mask.npy")).unwrap();
        let values = bytes[bytes.len() - 4 * 256 * 256..].chunks_exact(4);
        let mask: Vec<f32> = values.map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
        (said, mask)
    };
    let ((wide, mask), (half, half_mask)) = (run(""), run("--dtype f16"));
    assert_eq!(half["dtype"], "f16");
    let weights = |said: &Value| said["weight_bytes"].as_f64().unwrap();
    assert!(weights(&half) < 0.6 * weights(&wide), "{half} {wide}");
    assert!(half_mask.iter().all(|value| value.to_bits() == DType::F16.round(*value).to_bits()));
    let difference = mask.iter().zip(&half_mask).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(difference > 0.0 && difference < 0.05, "{difference}");
}
