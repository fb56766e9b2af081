//! `sepconv plan --shapes`: the shaders of a file's layers, planned without any device.

#[path = "common/command.rs"]
mod command;
mod common;

use std::collections::BTreeSet;
use std::path::Path;

use command::{files, run, sepconv};
use serde_json::{Value, json};

const SHAPES: &str = r#"[
    {"id": "a", "kind": "conv", "c": 16, "h": 28, "w": 28, "oc": 32, "k": 3, "p": 1},
    {"id": "b", "kind": "conv", "c": 20, "h": 28, "w": 28, "oc": 24, "k": 3, "p": 1},
    {"id": "c", "kind": "sep", "c": 16, "h": 9, "w": 9, "oc": 8, "k": 3},
    {"id": "d", "kind": "max_pool", "c": 2, "h": 8, "w": 8, "k": 2}]"#;

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("shapes.json"), SHAPES).unwrap();
    folder
}

/// The index that a run with these options writes.
fn index(folder: &Path, options: &str) -> Vec<Value> {
    // Without a driver as well.
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_sepconv"))
        .args("plan --shapes shapes.json --wgsl out/shaders".split(' ').chain(options.split_whitespace()))
        .current_dir(folder)
        .envs([("VK_DRIVER_FILES", "/nowhere"), ("VK_ICD_FILENAMES", "/nowhere")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = std::fs::read_to_string(folder.join("out/shaders/index.json")).unwrap();
    serde_json::from_str::<Vec<Value>>(&text).unwrap()
}

#[test]
fn the_index_names_every_shader() {
    for (target, kernel) in [("gpu", "tiled_gemm"), ("software", "subgroup_gemm")] {
        let folder = folder();
        let index = index(folder.path(), &format!("--target {target}"));
        let of_a: Vec<_> = index.iter().filter(|step| step["id"] == "a").collect();
        // The last step computes; one before it may pack the weight.
        assert_eq!(of_a.last().unwrap()["kernel"], kernel);
        let named: BTreeSet<_> = index.iter().map(|step| step["file"].as_str().unwrap().to_owned()).collect();
        let mut there: BTreeSet<_> = files(&folder.path().join("out/shaders")).into_keys().collect();
        assert!(there.remove("index.json"));
        assert_eq!(named, there);
        // Layers of other sizes with the same structure share a shader.
        let files =
            |id: &str| index.iter().filter(|step| step["id"] == id).map(|step| &step["file"]).collect::<Vec<_>>();
        assert_eq!(files("a") == files("b"), target == "gpu", "{index:?}");
        for step in index {
            let path = folder.path().join("out/shaders").join(step["file"].as_str().unwrap());
            let wgsl = std::fs::read_to_string(path).unwrap();
            let module = naga::front::wgsl::parse_str(&wgsl).unwrap();
            let entry = module.entry_points.iter().find(|entry| step["entry"] == entry.name).unwrap();
            assert_eq!(step["workgroup"], json!(entry.workgroup_size), "{step}");
            assert!(step["grid"].as_array().unwrap().iter().all(|size| size.as_u64() > Some(0)), "{step}");
            for (name, value) in step["constants"].as_object().unwrap() {
                let is =
                    |value: &str| wgsl.contains(&format!("const {name}: ")) && wgsl.contains(&format!(" = {value};"));
                assert!(is(&format!("{value}u")) || is(if *value == json!(0) { "false" } else { "true" }), "{name}");
            }
        }
    }
}

#[test]
fn all_kernels_are_all_that_support_a_shape() {
    let folder = folder();
    let chosen = index(folder.path(), "--kernels chosen");
    let all = index(folder.path(), "--kernels ALL");
    let of = |steps: &[Value], id: &str| {
        let of_shape = steps.iter().filter(|step| step["id"] == id);
        of_shape.map(|step| step["candidate"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    assert_eq!(of(&chosen, "a"), BTreeSet::from(["tiled_gemm".to_owned()]));
    let expected = ["direct", "gemm", "tiled_gemm", "tiled_gemm, variant 1", "winograd", "winograd_4x4"];
    let of_a = of(&all, "a");
    assert!(expected.iter().all(|&name| of_a.contains(name)), "{of_a:?}");
    assert!(
        chosen.iter().all(|step| all.iter().any(|other| other["id"] == step["id"] && other["grid"] == step["grid"]))
    );
}

#[test]
fn a_target_is_a_file_of_limits_and_features() {
    let folder = folder();
    let kernel_of_a = |target: &Value| {
        std::fs::write(folder.path().join("t.json"), target.to_string()).unwrap();
        let index = index(folder.path(), "--target t.json");
        index.iter().rfind(|step| step["id"] == "a").unwrap()["kernel"].clone()
    };
    let default = json!({});
    assert_eq!(kernel_of_a(&default), "tiled_gemm");
    // Less than the workgroup memory that it needs.
    assert_eq!(kernel_of_a(&json!({"limits": {"max_compute_workgroup_storage_size": 1024}})), "winograd");
    let cpu =
        json!({"type": "Cpu", "subgroup_sizes": [8, 8], "features": {"SUBGROUP": true, "TIMESTAMP_QUERY": false}});
    assert_eq!(kernel_of_a(&cpu), "subgroup_gemm");
    let without = json!({"type": "Cpu", "subgroup_sizes": [8, 8], "features": ["shader-f16"]});
    assert_eq!(kernel_of_a(&without), "gemm");
    for (target, named) in [
        (json!([]), "it must be a JSON object"),
        (json!({"limit": {}}), "\"limit\" is no key"),
        (json!({"limits": 5}), "limits is 5"),
        (json!({"limits": {"max_colour": 5}}), "max_colour"),
        (json!({"limits": {"max_bind_groups": -1}}), "max_bind_groups is -1"),
        (json!({"limits": {"max_bind_groups": 1_u64 << 40}}), "max_bind_groups is 1099511627776"),
        (json!({"limits": {"max_bind_groups": 0}}), "max_bind_groups is 0"),
        (json!({"limits": {"max_storage_buffer_binding_size": 16}}), "--target t.json: shape a"),
        (json!({"features": "SUBGROUP"}), "features is \"SUBGROUP\""),
        (json!({"features": ["SUBGROUPS"]}), "\"SUBGROUPS\" is no feature"),
        (json!({"features": {"SUBGROUP": 1}}), "features is"),
        (json!({"subgroup_sizes": [8]}), "subgroup_sizes is [8]"),
        (json!({"type": 1}), "type is 1"),
        (json!({"type": "Gpu"}), "type is \"Gpu\"; it must be one of [Other, IntegratedGpu"),
    ] {
        std::fs::write(folder.path().join("t.json"), target.to_string()).unwrap();
        let run = sepconv(folder.path(), "plan --shapes shapes.json --target t.json --wgsl other");
        run.assert_refused("--target t.json");
        assert!(run.stderr.contains(named), "{target}: {run:?}");
        assert!(!folder.path().join("other").exists());
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let folder = folder();
    std::fs::write(folder.path().join("index.json"), SHAPES).unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    for (arguments, named) in [
        ("--shapes shapes.json", "--wgsl"),
        ("--shapes shapes.json --predicted --wgsl out", "--predicted"),
        ("--predicted", "--shapes"),
        ("--shapes shapes.json --predicted --target software", "--target is \"software\"; predictions are for GPUs"),
        ("--shapes shapes.json --predicted --beside missing.txt", "missing.txt"),
        ("--shapes shapes.json --predicted --beside shapes.json", "--beside shapes.json"),
        ("--shapes shapes.json --wgsl out --beside shapes.json", "--beside"),
        ("--wgsl out", "--shapes"),
        ("--wgsl out --input 1,1,4,4 --weight 1,1,1,1", "--wgsl"),
        ("--target gpu --input 1,1,4,4 --weight 1,1,1,1", "--target"),
        ("--kernels all --input 1,1,4,4 --weight 1,1,1,1", "--kernels"),
        ("--shapes shapes.json --wgsl out --input 1,1,4,4", "--input"),
        ("--shapes shapes.json --wgsl out --stride 2", "--stride"),
        ("--shapes shapes.json --wgsl out --device cpu", "--device"),
        ("--shapes shapes.json --wgsl out --no-tune", "--no-tune"),
        ("--shapes shapes.json --wgsl out --json", "--json"),
        ("--shapes shapes.json --wgsl out --target tpu", "--target is \"tpu\"; it must be gpu, software"),
        ("--shapes shapes.json --wgsl out --target missing.json", "--target"),
        ("--shapes shapes.json --wgsl out --kernels some", "--kernels"),
        ("--shapes missing.json --wgsl out", "missing.json"),
        ("--shapes index.json --wgsl .", "--wgsl ./index.json: this file is also read"),
        ("--shapes shapes.json --wgsl file", "--wgsl file"),
    ] {
        let arguments: Vec<_> = ["plan"].into_iter().chain(arguments.split(' ')).collect();
        run(folder.path(), &arguments).assert_refused(named);
        assert!(!folder.path().join("out").exists());
    }
    assert_eq!(std::fs::read_to_string(folder.path().join("index.json")).unwrap(), SHAPES);
    // A place that cannot be written stops it before anything is.
    std::fs::create_dir_all(folder.path().join("taken/index.json")).unwrap();
    sepconv(folder.path(), "plan --shapes shapes.json --wgsl taken").assert_refused("--wgsl taken/index.json");
    assert_eq!(files(&folder.path().join("taken")).len(), 1);
}

#[test]
fn a_gpu_of_the_model_is_a_target() {
    let folder = folder();
    let of = |target: &str| {
        let run = run(folder.path(), &["plan", "--shapes", "shapes.json", "--predicted", "--target", target]);
        assert!(run.stdout.contains("predictions, no measurements"), "{run:?}");
        run.stdout
    };
    assert!(of("rx-7900-xtx").starts_with("## RX 7900 XTX, shapes.json"));
    assert_ne!(of("H100"), of("Adreno 730"));
    std::fs::write(folder.path().join("t.json"), json!({"name": "NVIDIA H100 PCIe"}).to_string()).unwrap();
    assert_eq!(of("t.json"), of("h100"));
    // One that the table has not, and that shares its memory with a processor.
    let integrated = json!({"name": "AMD Radeon 780M", "type": "IntegratedGpu"});
    std::fs::write(folder.path().join("t.json"), integrated.to_string()).unwrap();
    assert_eq!(of("t.json"), of("m3"));
}

/// The table that is committed is what its command prints.
#[test]
fn the_table_of_predictions_is_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if !root.join("benches/ort-web").exists() {
        println!("the published package has not all layers: the table is not made");
        return;
    }
    let mut printed = String::new();
    for gpu in ["H100", "RX 7900 XTX"] {
        for shapes in ["benches/shapes.json", "benches/ort-web/shapes.json", "benches/networks/shapes.json"] {
            let beside = "benches/results/rules_of_thumb.txt";
            let arguments = ["plan", "--predicted", "--target", gpu, "--shapes", shapes, "--beside", beside];
            printed += &run(root, &arguments).stdout;
        }
    }
    let committed = std::fs::read_to_string(root.join("benches/results/predicted.md")).unwrap();
    assert!(printed == committed, "benches/results/README.md says how to make predicted.md anew");
}
