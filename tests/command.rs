//! The command, as a user runs it: what works, and what is refused and how.

#[path = "common/command.rs"]
mod command;
mod common;

use command::{files, read_output, run, safetensors, sepconv};
use serde_json::Value;
use tempfile::TempDir;

/// A folder with a small layer in it: `layer.safetensors`, and as npy files.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let input: Vec<f32> = (0_u8..18).map(f32::from).collect();
    let bytes = safetensors(&[
        ("input", &[1, 2, 3, 3], &input),
        ("weight", &[2, 2, 1, 1], &[1.0, 0.0, 0.0, 1.0]),
        ("bias", &[2], &[0.0, 100.0]),
        ("depthwise.weight", &[2, 1, 1, 1], &[2.0, 3.0]),
        ("pointwise.weight", &[1, 2, 1, 1], &[1.0, 1.0]),
    ]);
    std::fs::write(folder.path().join("layer.safetensors"), bytes).unwrap();
    for (name, shape, values) in
        [("input", "(1, 2, 3, 3)", input.as_slice()), ("weight", "(2, 2, 1, 1)", &[1.0, 0.0, 0.0, 1.0])]
    {
        std::fs::write(folder.path().join(format!("{name}.npy")), npy("<f4", shape, values)).unwrap();
    }
    folder
}

fn npy(descr: &str, shape: &str, values: &[f32]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}

#[test]
fn conv_writes_the_output() {
    let folder = folder();
    let run = sepconv(folder.path(), "conv layer.safetensors --out out.safetensors --activation clamp=1,105");
    assert!(run.assert_done().starts_with("out.safetensors: [1, 2, 3, 3], kernel "), "{run:?}");
    let (shape, values) = read_output(&folder.path().join("out.safetensors"));
    assert_eq!(shape, [1, 2, 3, 3]);
    assert_eq!(values[..4], [1.0, 1.0, 2.0, 3.0]);
    assert_eq!(values[9..], [105.0; 9]);
}

#[test]
fn conv_reads_and_writes_npy() {
    let folder = folder();
    sepconv(folder.path(), "conv input.npy --weight weight.npy --out out.npy").assert_done();
    let written = std::fs::read(folder.path().join("out.npy")).unwrap();
    let input = std::fs::read(folder.path().join("input.npy")).unwrap();
    assert_eq!(written[written.len() - 72..], input[input.len() - 72..]);
    // What it wrote it also reads.
    sepconv(folder.path(), "conv out.npy --weight weight.npy --out out.npy").assert_done();
}

#[test]
fn separable_writes_the_output() {
    let folder = folder();
    sepconv(folder.path(), "separable layer.safetensors --out out.safetensors").assert_done();
    let (shape, values) = read_output(&folder.path().join("out.safetensors"));
    assert_eq!(shape, [1, 1, 3, 3]);
    let expected: Vec<f32> = (0_u8..9).map(|i| 2.0 * f32::from(i) + 3.0 * f32::from(i + 9)).collect();
    assert_eq!(values, expected);
}

#[test]
fn the_reference_computes_the_same() {
    // Without an adapter it would be compared with itself.
    if common::context().is_none() {
        return;
    }
    let folder = folder();
    sepconv(folder.path(), "conv layer.safetensors --out a.safetensors --padding 1").assert_done();
    let run = sepconv(folder.path(), "conv layer.safetensors --out b.safetensors --padding 1 --device cpu");
    assert!(run.assert_done().contains("kernel reference"), "{run:?}");
    assert_eq!(read_output(&folder.path().join("a.safetensors")), read_output(&folder.path().join("b.safetensors")));
}

#[test]
fn a_forced_kernel_runs() {
    if common::context().is_none() {
        return;
    }
    let folder = folder();
    let run = sepconv(folder.path(), "conv layer.safetensors --out out.safetensors --kernel direct");
    assert!(run.assert_done().contains("kernel direct"), "{run:?}");
}

#[test]
fn a_picture_is_filtered() {
    let folder = tempfile::tempdir().unwrap();
    let picture = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/astronaut.jpg");
    run(folder.path(), &["conv", picture, "--filter", "sobel", "--out", "edges.png"]).assert_done();
    let png = std::fs::read(folder.path().join("edges.png")).unwrap();
    assert_eq!(png[..4], *b"\x89PNG");
    assert_eq!(png[16..24], [0, 0, 2, 0, 0, 0, 2, 0], "512 x 512");
}

#[test]
fn plan_shows_the_starting_example() {
    let folder = tempfile::tempdir().unwrap();
    let run = sepconv(folder.path(), "plan --input 1,3,64,64 --weight 4,3,3,3 --bias 4 --padding 1 --json");
    let plan: Value = serde_json::from_str(run.assert_done()).unwrap();
    assert_eq!(plan["output_shape"], serde_json::json!([1, 4, 64, 64]));
    assert_eq!((plan["parameters"].as_u64(), plan["multiply_adds"].as_u64()), (Some(112), Some(442_368)));
    assert_eq!(plan["separable"]["parameters"], 46);
    let run = sepconv(folder.path(), "plan --input 1,1,8,8 --weight 1,1,3,3");
    assert!(run.assert_done().contains("10 (1.11 times more)"), "{run:?}");
    let run = sepconv(folder.path(), "plan --input 1,3,64,64 --weight 4,3,3,3 --device cpu --json");
    let plan: Value = serde_json::from_str(run.assert_done()).unwrap();
    assert_eq!((plan["kernel"].as_str(), plan["parts"].as_u64()), (Some("reference"), Some(1)));
    let run = sepconv(folder.path(), "plan --input 1,3,64,64 --weight 4,3,3,3 --bias 4 --padding 1");
    assert!(run.assert_done().contains("46 (2.43 times fewer)"), "{run:?}");
}

#[test]
fn devices_and_kernels_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    sepconv(folder.path(), "devices").assert_done();
    let devices: Value = serde_json::from_str(sepconv(folder.path(), "devices --json").assert_done()).unwrap();
    assert_eq!(devices.as_array().unwrap().is_empty(), common::context().is_none());
    let kernels = sepconv(folder.path(), "kernels");
    for kernel in sepconv::kernels::ALL {
        assert!(kernels.assert_done().contains(kernel.name));
        let source = sepconv(folder.path(), &format!("kernels {} --wgsl", kernel.name));
        assert_eq!(source.assert_done().trim_end(), kernel.wgsl.trim_end());
    }
    let shape = "kernels direct --wgsl --input 1,1,9,9 --weight 1,1,7,5 --dilation 1,2";
    assert!(sepconv(folder.path(), shape).assert_done().contains("const KERNEL_HEIGHT: u32 = 7u;"));
}

#[test]
fn bench_times_a_file_of_shapes() {
    if common::context().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let shapes = r#"[{"id": "a", "kind": "conv", "c": 4, "h": 8, "w": 8, "oc": 4, "k": 3},
                     {"id": "b", "kind": "sep", "n": 2, "c": 4, "h": 8, "w": 8, "oc": 4, "k": 3, "s": 2, "p": 1}]"#;
    std::fs::write(folder.path().join("shapes.json"), shapes).unwrap();
    let run = sepconv(folder.path(), "bench --shapes shapes.json --batch 3 --kernels all --json out.json");
    assert!(run.assert_done().contains("GB/s copied"), "{run:?}");
    let result: Value = serde_json::from_slice(&std::fs::read(folder.path().join("out.json")).unwrap()).unwrap();
    let rows = result["rows"].as_array().unwrap();
    let chosen = rows.iter().filter(|row| row.get("candidate").is_none());
    assert_eq!(chosen.map(|row| row["id"].as_str().unwrap()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(rows.iter().filter(|row| row["kernel"] == "direct" && row["candidate"] == true).count(), 1);
    for row in rows {
        assert!(row["median_ms"].as_f64().unwrap() > 0.0 && row["roofline_percent"].as_f64().unwrap() > 0.0, "{row}");
    }
}

/// Three small layers; the first two are two forms of one.
const BENCH_SHAPES: &str = r#"[{"id": "a<b", "kind": "conv", "c": 4, "h": 8, "w": 8, "oc": 4, "k": 3},
                               {"id": "b", "kind": "sep", "c": 4, "h": 8, "w": 8, "oc": 4, "k": 3},
                               {"id": "c", "kind": "sep", "c": 4, "h": 8, "w": 8, "oc": 4, "k": 3, "s": 2}]"#;

#[test]
fn bench_draws_a_roofline() {
    if common::context().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let draw = |shapes: &str| {
        std::fs::write(folder.path().join("shapes.json"), shapes).unwrap();
        let run = sepconv(folder.path(), "bench --shapes shapes.json --kernels all --svg out.svg");
        let text = run.assert_done();
        let svg = std::fs::read_to_string(folder.path().join("out.svg")).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
        // The caption is the device, as the table has it.
        assert!(svg.contains(text.lines().next().unwrap().strip_prefix("Device: ").unwrap()), "{svg}");
        assert!(svg.contains("FLOP/B") && svg.contains("GFLOP/s") && !svg.contains("NaN"), "{svg}");
        svg
    };
    let svg = draw(BENCH_SHAPES);
    for layer in ["1  a&lt;b  ", "2  b  ", "3  c  "] {
        assert!(svg.contains(layer), "{layer}: {svg}");
    }
    // One in the legend; the other joins the two forms of one layer. A point for each layer, and two in the legend.
    let (lines, points) = (r#"<polyline fill="none" opacity="0.4""#, "<circle");
    assert_eq!((svg.matches(lines).count(), svg.matches(points).count()), (2, 5), "{svg}");
    let svg = draw(&BENCH_SHAPES.replacen(r#""oc": 4"#, r#""oc": 5"#, 1));
    assert_eq!((svg.matches(lines).count(), svg.matches(points).count()), (1, 5), "{svg}");
}

#[test]
fn bench_compares_with_an_earlier_result() {
    if common::context().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("shapes.json"), BENCH_SHAPES).unwrap();
    sepconv(folder.path(), "bench --shapes shapes.json --kernels all --json old.json").assert_done();
    let old: Value = serde_json::from_slice(&std::fs::read(folder.path().join("old.json")).unwrap()).unwrap();
    let keys: Vec<&String> = old.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["adapter", "backend", "copy_gb_s", "driver", "fma_gflop_s", "host", "limits", "rows"]);

    // As if every layer had taken so many milliseconds before.
    let compare = |milliseconds: [f64; 3], change: fn(&mut Value)| {
        let mut old = old.clone();
        let rows = old["rows"].as_array_mut().unwrap().iter_mut().filter(|row| row.get("candidate").is_none());
        for (row, milliseconds) in rows.zip(milliseconds) {
            for key in ["median_ms", "p10_ms", "p90_ms"] {
                row[key] = milliseconds.into();
            }
        }
        change(&mut old);
        std::fs::write(folder.path().join("old.json"), old.to_string()).unwrap();
        sepconv(folder.path(), "bench --shapes shapes.json --compare old.json --json new.json")
    };
    let faster = compare([1e6; 3], |_| {});
    assert!(faster.assert_done().contains("No layer is slower by more than the noise."), "{faster:?}");
    assert!(!faster.stderr.contains("warning"), "{faster:?}");

    std::fs::remove_file(folder.path().join("new.json")).unwrap();
    let slower = compare([1e6, 1e-9, 1e6], |old| old["driver"] = "another".into());
    assert_eq!(slower.status, 1, "{slower:?}");
    assert!(
        slower.stderr.contains("1 of 3 layers are slower than in old.json by more than the noise: b"),
        "{slower:?}"
    );
    assert!(slower.stderr.contains("warning: old.json was measured on"), "{slower:?}");
    assert!(slower.stdout.contains("smallest 0.000 (b)"), "{slower:?}");
    assert!(folder.path().join("new.json").exists(), "the result is written all the same");

    // Within the noise: the runs before varied from almost nothing to very long.
    let noisy = compare([1e-9; 3], |old| {
        old["rows"].as_array_mut().unwrap().iter_mut().for_each(|row| row["p90_ms"] = 1e6.into());
    });
    assert!(noisy.assert_done().contains("No layer is slower"), "{noisy:?}");
}

#[test]
fn bench_compares_with_another_program() {
    if common::context().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("shapes.json"), BENCH_SHAPES).unwrap();
    let lines = "{\"id\":\"b\",\"median_ms\":1e-9,\"min_ms\":0}\n{\"id\":\"a<b\",\"median_ms\":1e6}\n";
    std::fs::write(folder.path().join("peer.jsonl"), lines).unwrap();
    let run = sepconv(folder.path(), "bench --shapes shapes.json --compare peer.jsonl");
    let text = run.assert_done();
    assert!(text.contains("smallest 0.000 (b)") && text.contains("Not in peer.jsonl: c"), "{text}");
    assert!(text.contains("How much the times before vary is not said."), "{text}");
}

#[test]
fn bench_measures_overhead() {
    if common::context().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("shapes.json"), BENCH_SHAPES).unwrap();
    let run = sepconv(folder.path(), "bench --overhead --shapes shapes.json --kernels all --json out.json");
    assert!(run.assert_done().contains("by Bound::record"), "{run:?}");
    let result: Value = serde_json::from_slice(&std::fs::read(folder.path().join("out.json")).unwrap()).unwrap();
    let positive = |value: &Value| assert!(value.as_f64().is_some_and(|time| time > 0.0), "{result}");
    for chain in result["chains"].as_array().unwrap().iter().chain([&result["by_hand"]]) {
        for key in ["layers", "record_us", "finish_us", "submit_us", "wait_us"] {
            positive(&chain[key]);
        }
    }
    positive(&result["run_us"]);
    positive(&result["unguarded_run_us"]);
    let checks = result["checks"].as_array().unwrap();
    for id in ["a<b", "b", "c"] {
        assert!(checks.iter().filter(|layer| layer["id"] == id).count() > 1, "{id} has several kernels: {result}");
    }
    for layer in checks {
        for key in ["median_ms", "runtime_checks_ms", "zeroed_workgroup_memory_ms"] {
            positive(&layer[key]);
        }
    }
}

#[test]
fn what_is_no_earlier_result_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("shapes.json"), BENCH_SHAPES).unwrap();
    let row = r#"{"id": "b", "median_ms": 1}"#;
    for (old, message) in [
        (String::new(), "it has a time of none of these layers"),
        ("{".to_owned(), "not JSON"),
        ("[]".to_owned(), "row 0: id is missing"),
        (r#"{"rows": []}"#.to_owned(), "adapter is missing"),
        (r#"{"adapter": "a", "driver": "d", "rows": []}"#.to_owned(), "it has a time of none of these layers"),
        (r#"{"id": "of another layer", "median_ms": 1}"#.to_owned(), "it has a time of none of these layers"),
        (r#"{"id": "b"}"#.to_owned(), "row 0: median_ms is missing"),
        (r#"{"id": "b", "median_ms": "1"}"#.to_owned(), r#"row 0: median_ms is "1""#),
        (r#"{"id": "b", "median_ms": 0}"#.to_owned(), "row 0: median_ms is 0; it must be a number above 0"),
        (format!("{row}\n{row}"), r#"row 1: id is "b", which another row has"#),
        (
            row.replace('}', r#", "input_shape": [2, 4, 8, 8]}"#),
            "shape b: its input was [2,4,8,8]; now it is [1,4,8,8]",
        ),
    ] {
        std::fs::write(folder.path().join("old.json"), old).unwrap();
        let run = sepconv(folder.path(), "bench --shapes shapes.json --compare old.json --json out.json");
        assert!(run.assert_refused("--compare old.json: ").contains(message), "{message}: {run:?}");
    }
    sepconv(folder.path(), "bench --compare missing.json").assert_refused("missing.json");
    sepconv(folder.path(), "bench --overhead --compare old.json").assert_refused("--compare");
    for option in ["--json", "--svg"] {
        let run = sepconv(folder.path(), &format!("bench --shapes shapes.json {option} nowhere/out"));
        run.assert_refused(&format!("{option} nowhere/out: there is no folder nowhere"));
    }
    assert_eq!(files(folder.path()).len(), 2);
}

#[test]
fn bench_refuses_by_name() {
    let folder = tempfile::tempdir().unwrap();
    for (shapes, message) in [
        ("", "not JSON"),
        ("{}", "JSON array"),
        ("[]", "JSON array"),
        ("[1]", "shape 0: it must be a JSON object"),
        ("[{}]", "id is missing"),
        (
            r#"[{"id": "a", "kind": "conv", "c": 1, "h": 1, "w": 1, "oc": 1, "k": 1, "stride": 2}]"#,
            r#""stride" is no key"#,
        ),
        (r#"[{"id": "a", "kind": "sep", "c": 2, "h": 1, "w": 1, "oc": 2, "k": 1, "g": 2}]"#, "g is 2"),
        (
            r#"[{"id": "a", "kind": "conv", "c": 1, "h": 1, "w": 1, "oc": 1, "k": 1},
                {"id": "a", "kind": "conv", "c": 2, "h": 1, "w": 1, "oc": 1, "k": 1}]"#,
            r#"shape 1: id is "a", which another shape has"#,
        ),
        (r#"[{"id": "a", "kind": "pool", "c": 1, "h": 1, "w": 1, "oc": 1, "k": 1}]"#, "kind is"),
        (r#"[{"id": "a", "kind": "conv", "h": 1, "w": 1, "oc": 1, "k": 1}]"#, "c is missing"),
        (r#"[{"id": "a", "kind": "conv", "c": 1.5, "h": 1, "w": 1, "oc": 1, "k": 1}]"#, "c is 1.5"),
        (r#"[{"id": "a", "kind": "conv", "n": 4294967295, "c": 1, "h": 1, "w": 1, "oc": 1, "k": 1}]"#, "--batch"),
    ] {
        std::fs::write(folder.path().join("shapes.json"), shapes).unwrap();
        let run = sepconv(folder.path(), "bench --shapes shapes.json --batch 2 --json out.json");
        assert!(run.assert_refused("shapes.json").contains(message), "{run:?}");
    }
    sepconv(folder.path(), "bench --shapes missing.json").assert_refused("missing.json");
    sepconv(folder.path(), "bench --kernels fastest").assert_refused("--kernels");
    sepconv(folder.path(), "bench --batch many").assert_refused("--batch");
    sepconv(folder.path(), "bench --device cpu").assert_refused("--device");
    assert!(!folder.path().join("out.json").exists());
}

/// Requests that `plan` refuses, and what it must name.
const REFUSED: [(&str, &str); 43] = [
    ("--input 1,3,8 --weight 4,3,3,3", "--input"),
    ("--input 1,3,8,8,1 --weight 4,3,3,3", "--input"),
    ("--input 0,3,8,8 --weight 4,3,3,3", "batch"),
    ("--input 1,3,0,8 --weight 4,3,3,3", "height"),
    ("--input 1,0,8,8 --weight 4,0,3,3", "in_channels"),
    ("--input 1,3,8,8 --weight 0,3,3,3", "out_channels"),
    ("--input 1,3,8,8 --weight 4,3,0,3", "kernel_size"),
    ("--input 1,3,8,8 --weight 4,3,3", "--weight"),
    ("--input 1,3,8,8 --weight 4,2,3,3", "input"),
    ("--input 1,-3,8,8 --weight 4,3,3,3", "--input"),
    ("--input 1,3,8,8 --weight 4,3,9,3", "kernel_size"),
    ("--input 1,3,8,8 --weight 4,3,3,3 --bias 3", "bias"),
    ("--input 1,3,8,8 --weight 4,3,3,3 --bias 1,4", "--bias"),
    ("--input 1,3,8,8 --weight 4,3,3,3 --stride 0", "stride"),
    ("--input 1,3,8,8 --weight 4,3,3,3 --stride 1,0", "stride"),
    ("--input 1,3,8,8 --weight 4,3,3,3 --stride -1", "--stride"),
    ("--input 1,3,8,8 --weight 4,3,3,3 --stride 1,1,1", "--stride"),
    ("--input 1,3,8,8 --weight 4,3,3,3 --stride 2,2,2", "--stride"),
    ("--input 1,3,8,8 --weight 4,3,3,3 --stride 1e3", "--stride"),
    ("--input 1,3,8,8 --weight 4,3,3,3 --dilation 0", "dilation"),
    ("--input 1,3,8,8 --weight 4,3,3,3 --dilation 4", "kernel_size"),
    ("--input 1,3,8,8 --weight 4,3,3,3 --dilation 1,1,1", "--dilation"),
    ("--input 1,3,8,8 --weight 4,3,3,3 --dilation 4294967295", "dilation"),
    ("--input 1,3,8,8 --weight 4,3,3,3 --padding 1,2,3", "--padding"),
    ("--input 1,3,8,8 --weight 4,3,3,3 --padding 1,2,3,4,5", "--padding"),
    ("--input 1,3,8,8 --weight 4,3,3,3 --padding around", "--padding"),
    ("--input 1,3,8,8 --weight 4,3,3,3 --padding 8 --padding-mode reflect", "padding"),
    ("--input 1,3,8,8 --weight 4,3,3,3 --padding 9 --padding-mode circular", "padding"),
    ("--input 1,3,8,8 --weight 4,3,3,3 --padding-mode mirror", "--padding-mode"),
    ("--input 1,3,8,8 --weight 4,3,3,3 --padding 4294967295", "padded input"),
    ("--input 1,4,8,8 --weight 4,1,3,3 --groups 3", "groups"),
    ("--input 1,4,8,8 --weight 4,1,3,3 --groups 0", "groups"),
    ("--input 1,3,8,8 --weight 4,3,3,3 --activation relu7", "--activation"),
    ("--input 1,3,8,8 --weight 4,3,3,3 --activation -relu", "--activation"),
    ("--input 1,3,8,8 --weight 4,3,3,3 --activation clamp=2,1", "clamp"),
    ("--input 1,3,8,8 --weight 4,3,3,3 --activation clamp=0,1e39", "--activation"),
    ("--input 1,3,8,8 --weight 4,3,3,3 --kernel depthwise", "kernel"),
    ("--input 1,3,8,8 --weight 4,3,3,3 --kernel direct --device cpu", "--kernel"),
    ("--input 1,3,8,8 --weight 4,3,3,3 --padding 100000 --device cpu", "output needs"),
    ("--input 1,1,9,1048576 --weight 1,1,1,1048576 --padding 0,1048576 --device cpu", "kernel_size width"),
    ("--input 1,3,8,8 --weight 4,3,3,3 --kernel fastest", "kernel"),
    ("--input 1,3,8,8 --weight 4,3,3,3 --device nothing-of-this-name", "--device"),
    ("--input 2147483647,2147483647,2147483647,1 --weight 1,2147483647,1,1", "input"),
];

#[test]
fn plan_refuses_by_name() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, argument) in REFUSED {
        sepconv(folder.path(), &format!("plan {arguments}")).assert_refused(argument);
    }
    let long = "9".repeat(500);
    run(folder.path(), &["plan", "--input", "1,3,8,8", "--weight", "4,3,3,3", "--device", ""])
        .assert_refused("--device");
    for option in ["--stride", "--padding", "--dilation", "--groups", "--bias"] {
        let arguments = ["plan", "--input", "1,3,8,8", "--weight", "4,3,3,3", option, &long];
        run(folder.path(), &arguments).assert_refused(option);
        let arguments = ["plan", "--input", "1,3,8,8", "--weight", "4,3,3,3", option, ""];
        run(folder.path(), &arguments).assert_refused(option);
    }
}

/// Requests that `conv` refuses, and what it must name.
#[test]
fn conv_refuses_by_name_and_writes_nothing() {
    let folder = folder();
    std::fs::create_dir(folder.path().join("folder.npy")).unwrap();
    let before = files(folder.path());
    for (arguments, argument) in [
        ("conv layer.safetensors --out out.safetensors --kernel depthwise", "kernel"),
        ("conv layer.safetensors --out out.safetensors --groups 2", "input has shape"),
        ("conv layer.safetensors --out out.txt", "--out"),
        ("conv layer.safetensors --out nowhere/out.npy", "--out nowhere/out.npy: there is no folder nowhere"),
        ("conv layer.safetensors --out layer.safetensors --stride 0", "stride"),
        ("kernels direct --wgsl --input -1,1,9,9 --weight 1,1,3,3", "--input"),
        ("kernels direct --wgsl --input 1,1,9,9 --weight 1,1,3,3 --device cpu", "--kernel"),
        ("conv layer.safetensors --out out.safetensors --weight weight.npy", "--weight"),
        ("conv input.npy --out out.npy", "--weight"),
        ("conv input.npy --weight layer.safetensors --out out.npy", "layer.safetensors"),
        ("conv missing.safetensors --out out.npy", "missing.safetensors"),
        ("conv . --out out.npy", "IN is ."),
        ("conv folder.npy --weight weight.npy --out out.npy", "folder.npy: it is not a regular file"),
        ("conv layer.safetensors", "--out"),
        ("conv layer.safetensors --filter blur --out out.png", "layer.safetensors"),
        ("separable layer.safetensors --out out.png", "--out"),
        ("separable missing.safetensors --out out.npy", "missing.safetensors"),
    ] {
        sepconv(folder.path(), arguments).assert_refused(argument);
        assert_eq!(files(folder.path()), before, "{arguments}");
    }
}

#[test]
fn an_output_that_is_no_file_is_left_alone() {
    let folder = folder();
    std::fs::create_dir(folder.path().join("out.npy")).unwrap();
    sepconv(folder.path(), "conv layer.safetensors --out out.npy").assert_refused("--out out.npy");
    assert!(folder.path().join("out.npy").is_dir());
}

/// Names, shapes and values of the tensors of a file.
type Tensors<'a> = &'a [(&'a str, &'a [u32], &'a [f32])];

#[test]
fn tensors_of_another_kind_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let values = [0.0; 16];
    let cases: [(Tensors, &str, &str); 7] = [
        (&[("input", &[1, 4, 4], &values)], "conv", "weight is missing"),
        (&[("weight", &[1, 1, 4, 4], &values)], "conv", "input is missing"),
        (&[("input", &[1, 4, 4], &values), ("weight", &[1, 1, 4, 4], &values)], "conv", "input has 3 axes"),
        (
            &[("input", &[1, 1, 4, 4], &values), ("weight", &[1, 1, 4, 4], &values), ("bias", &[1, 1], &[0.0])],
            "conv",
            "bias has 2 axes",
        ),
        (&[("input", &[1, 1, 4, 4], &values)], "separable", "depthwise.weight is missing"),
        (
            &[
                ("input", &[1, 1, 4, 4], &values),
                ("depthwise.weight", &[1, 4, 2, 2], &values),
                ("pointwise.weight", &[1, 1, 1, 1], &[0.0]),
            ],
            "separable",
            "depthwise.weight has shape",
        ),
        (
            &[
                ("input", &[1, 1, 4, 4], &values),
                ("depthwise.weight", &[1, 1, 1, 1], &[0.0]),
                ("pointwise.weight", &[1, 2, 1, 1], &[0.0; 2]),
            ],
            "separable",
            "pointwise.weight has shape",
        ),
    ];
    for (tensors, subcommand, message) in cases {
        std::fs::write(&path, safetensors(tensors)).unwrap();
        sepconv(folder.path(), &format!("{subcommand} a.safetensors --out out.npy")).assert_refused(message);
    }
}

/// Files that are cut off, or whose header says what is not so.
#[test]
fn hostile_files_are_refused() {
    let folder = folder();
    let whole = std::fs::read(folder.path().join("layer.safetensors")).unwrap();
    let header = |length: u64, json: &str| [length.to_le_bytes().as_slice(), json.as_bytes()].concat();
    let tensor = |shape: &str, offsets: &str| {
        let json = format!(r#"{{"input":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}}}"#);
        header(json.len() as u64, &json)
    };
    let mut cases: Vec<Vec<u8>> = [0, 1, 7, 8, 9, 100, whole.len() - 1].map(|end| whole[..end].to_vec()).into();
    cases.extend([
        header(u64::MAX, "{}"),
        header(1 << 40, "{}"),
        header(2, "{}"),
        header(4, "NaN "),
        header(100_000, &"[".repeat(100_000)),
        tensor("[1,1,1000000,1000000]", "[0,4000000000000]"),
        tensor("[18446744073709551615,18446744073709551615]", "[0,4]"),
        tensor("[1,1,1,1]", "[4,0]"),
        tensor("[1,1,1,1]", "[18446744073709551612,0]"),
        tensor("[-1]", "[0,4]"),
        tensor("[1,1,1,1]", "[0,8]"),
    ]);
    let two = |first: &str, second: (&str, &str)| {
        let entry = |name: &str, offsets: &str| {
            format!(r#""{name}":{{"dtype":"F32","shape":[1,1,1,1],"data_offsets":{offsets}}}"#)
        };
        let json = format!("{{{},{}}}", entry(first, "[0,4]"), entry(second.0, second.1));
        [header(json.len() as u64, &json), vec![0; 4]].concat()
    };
    // One tensor over another, one outside the file, and a name that stands there twice, once with an escape.
    cases.extend(
        [("weight", "[0,4]"), ("weight", "[2,6]"), ("weight", "[4,8]"), ("weight", "[8,12]")].map(|w| two("input", w)),
    );
    cases.extend([two("input", ("input", "[0,4]")), two("input", (r"\u0069nput", "[0,4]"))]);
    for (index, bytes) in cases.iter().enumerate() {
        std::fs::write(folder.path().join("bad.safetensors"), bytes).unwrap();
        let run = sepconv(folder.path(), "conv bad.safetensors --out out.npy");
        run.assert_refused("bad.safetensors");
        assert!(!folder.path().join("out.npy").exists(), "case {index}");
    }

    let nested = "(".repeat(1000);
    for bytes in [
        Vec::new(),
        b"\x93NUMPY".to_vec(),
        b"\x93NUMPY\x02\x00\xff\xff\xff\x7f{".to_vec(),
        b"\x93NUMPY\x03\x00\xff\xff\xff\xff{".to_vec(),
        b"\x93NUMPY\x04\x00\x01\x00\x00\x00{".to_vec(),
        npy("<f4", "(1, 1, 100000, 100000)", &[0.0]),
        npy("<f4", "(4294967296, 4294967296, 4, 4)", &[0.0]),
        npy("<f8", "(1, 1, 1, 1)", &[0.0; 2]),
        npy("<f4", &nested, &[0.0]),
    ] {
        std::fs::write(folder.path().join("bad.npy"), bytes).unwrap();
        sepconv(folder.path(), "conv bad.npy --weight weight.npy --out out.npy").assert_refused("bad.npy");
    }

    let png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\x7f\xff\xff\xff\x7f\xff\xff\xff\x08\x02\0\0\0\0\0\0\0".to_vec();
    for bytes in [Vec::new(), png, b"\xff\xd8\xff\xe0".to_vec()] {
        std::fs::write(folder.path().join("bad.png"), bytes).unwrap();
        sepconv(folder.path(), "conv bad.png --filter blur --out out.png").assert_refused("bad.png");
        sepconv(folder.path(), "compare --image bad.png --out maps").assert_refused("bad.png");
    }
    assert!(!folder.path().join("maps").exists());
}

/// A length that takes no room on its disk, behind headers that say so and headers that do not.
#[cfg(target_os = "linux")]
#[test]
fn a_long_file_is_not_read_into_memory() {
    use std::io::Write;
    let folder = folder();
    let length = 1_u64 << 40;
    let json = format!(r#"{{"input":{{"dtype":"F32","shape":[1,1,1,{}],"data_offsets":[0,{length}]}}}}"#, length / 4);
    let claims = [(json.len() as u64).to_le_bytes().as_slice(), json.as_bytes()].concat();
    let cases = [
        ("zeros.safetensors", Vec::new(), "conv zeros.safetensors --out out.npy"),
        ("claims.safetensors", claims, "conv claims.safetensors --out out.npy"),
        ("zeros.npy", Vec::new(), "conv zeros.npy --weight weight.npy --out out.npy"),
        (
            "claims.npy",
            npy("<f4", &format!("(1, 1, 1, {})", length / 4), &[]),
            "conv claims.npy --weight weight.npy --out out.npy",
        ),
        ("zeros.png", Vec::new(), "conv zeros.png --filter blur --out out.png"),
    ];
    for (name, start, arguments) in cases {
        let mut file = std::fs::File::create(folder.path().join(name)).unwrap();
        file.write_all(&start).unwrap();
        file.set_len(start.len() as u64 + length).unwrap();
        // Under a limit, so that a mistake here does not take the memory of everything else.
        let limited = std::process::Command::new("sh")
            .args(["-c", "ulimit -v 4000000 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_sepconv")])
            .args(arguments.split(' '))
            .current_dir(folder.path())
            .output()
            .unwrap();
        let message = String::from_utf8(limited.stderr).unwrap();
        assert_eq!(limited.status.code(), Some(2), "{arguments}: {message}");
        assert!(message.contains(name), "{arguments}: {message}");
    }
}

#[cfg(unix)]
#[test]
fn an_output_has_ordinary_permissions_and_links_stay() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("ordinary"), "").unwrap();
    let before = files(folder.path()).len();
    symlink("out.npy", path("link.npy")).unwrap();
    std::fs::write(path("out.npy"), "to be replaced").unwrap();
    sepconv(folder.path(), "conv layer.safetensors --out link.npy").assert_done();
    let mode = |name: &str| std::fs::metadata(path(name)).unwrap().permissions().mode();
    assert_eq!(mode("out.npy"), mode("ordinary"));
    assert!(std::fs::symlink_metadata(path("link.npy")).unwrap().is_symlink());
    assert!(std::fs::read(path("out.npy")).unwrap().starts_with(b"\x93NUMPY"));
    assert_eq!(files(folder.path()).len(), before + 2, "no temporary file stays");
}

/// A reader that has seen enough, and a full disk behind standard error.
#[cfg(target_os = "linux")]
#[test]
fn streams_that_fail_are_no_panic() {
    use std::process::{Command, Stdio};
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let closed = Command::new(env!("CARGO_BIN_EXE_sepconv")).arg("kernels").stdout(writer).output().unwrap();
    assert_eq!(closed.status.code(), Some(0), "{closed:?}");
    for arguments in [&["plan"][..], &["conv", "missing.npy", "--out", "out.npy"]] {
        let full = Stdio::from(std::fs::File::options().write(true).open("/dev/full").unwrap());
        let status = Command::new(env!("CARGO_BIN_EXE_sepconv")).args(arguments).stderr(full).status().unwrap();
        assert_eq!(status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn names_in_a_file_do_not_reach_the_terminal_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..100).map(|index| format!("\x1b[31m{index}")).collect();
    let tensors: Vec<(&str, &[u32], &[f32])> = names.iter().map(|name| (name.as_str(), &[1][..], &[0.0][..])).collect();
    std::fs::write(folder.path().join("a.safetensors"), safetensors(&tensors)).unwrap();
    let run = sepconv(folder.path(), "conv a.safetensors --out out.npy");
    let line = run.assert_refused("and 92 more");
    assert!(!line.contains('\x1b') && line.len() < 300, "{line}");
}

#[cfg(unix)]
#[test]
fn what_never_ends_is_not_read() {
    let folder = folder();
    std::os::unix::fs::symlink("/dev/zero", folder.path().join("zero.npy")).unwrap();
    sepconv(folder.path(), "conv zero.npy --weight weight.npy --out out.npy").assert_refused("zero.npy");
    let made = std::process::Command::new("mkfifo").arg(folder.path().join("pipe.npy")).status();
    assert!(made.unwrap().success());
    sepconv(folder.path(), "conv pipe.npy --weight weight.npy --out out.npy").assert_refused("pipe.npy");
}
