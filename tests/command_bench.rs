//! `sepconv bench`, as a user runs it: what it measures, draws and compares, and what it refuses.

#[path = "common/command.rs"]
mod command;
mod common;

use command::{files, sepconv};
use serde_json::Value;

#[test]
fn bench_times_a_file_of_shapes() {
    if common::context().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let shapes = r#"[{"id": "a", "kind": "sep", "n": 2, "c": 4, "h": 8, "w": 8, "oc": 4, "k": 3, "s": 2, "p": 1},
                     {"id": "b", "kind": "conv", "c": 32, "h": 8, "w": 8, "oc": 32, "k": 3, "p": 1}]"#;
    std::fs::write(folder.path().join("shapes.json"), shapes).unwrap();
    let run = sepconv(folder.path(), "bench --shapes shapes.json --batch 3 --kernels all --json out.json");
    assert!(run.assert_done().contains("GB/s copied"), "{run:?}");
    let result: Value = serde_json::from_slice(&std::fs::read(folder.path().join("out.json")).unwrap()).unwrap();
    let rows = result["rows"].as_array().unwrap();
    let chosen = rows.iter().filter(|row| row.get("candidate").is_none());
    assert_eq!(chosen.map(|row| row["id"].as_str().unwrap()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(rows.iter().filter(|row| row["kernel"] == "direct" && row["candidate"] == true).count(), 1);
    let named = |name: &str| rows.iter().any(|row| row["kernel"] == name);
    assert!(named("winograd") && named("winograd_4x4"));
    for row in rows {
        // Of 32 channels in and out: 18 · 32 · 32 operations for an output pixel, or 16 · 2 · 32 · 32 and 32 · 32 + 24 · 32
        // for a tile of four, or 36 · 2 · 32 · 32 and 228 · 32 + 130 · 32 for one of 16.
        let own = row["own_gflop_s"].as_f64().unwrap() / row["gflop_s"].as_f64().unwrap();
        let expected = match row["kernel"].as_str() {
            Some("winograd") => (32.0 * 32.0 + 56.0) / (4.0 * 18.0 * 32.0),
            Some("winograd_4x4") => (72.0 * 32.0 + 358.0) / (16.0 * 18.0 * 32.0),
            _ => 1.0,
        };
        assert!((own - expected).abs() < 1e-6, "{own}, not {expected}: {row}");
        assert!(row["median_ms"].as_f64().unwrap() > 0.0 && row["roofline_percent"].as_f64().unwrap() > 0.0, "{row}");
    }
}

/// Every variant of every kernel has a row of its own; the planner's choice is among them once.
#[test]
fn bench_times_variants() {
    if common::context().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let shapes = r#"[{"id": "a", "kind": "conv", "c": 4, "h": 24, "w": 24, "oc": 4, "k": 3, "p": 1, "g": 4}]"#;
    std::fs::write(folder.path().join("shapes.json"), shapes).unwrap();
    let rows = |kernels: &str| {
        let bench = format!("bench --shapes shapes.json --no-tune --kernels {kernels} --json out.json");
        sepconv(folder.path(), &bench).assert_done();
        let result: Value = serde_json::from_slice(&std::fs::read(folder.path().join("out.json")).unwrap()).unwrap();
        let name = |row: &Value| format!("{} {}", row["kernel"].as_str().unwrap(), row["variant"].as_str().unwrap());
        result["rows"].as_array().unwrap().iter().map(name).collect::<Vec<_>>()
    };
    let [chosen, all, variants] = ["chosen", "all", "Variants"].map(rows);
    let different: std::collections::BTreeSet<_> = variants.iter().collect();
    assert!(different.len() == variants.len() && variants.len() > all.len(), "{variants:?}, not only {all:?}");
    assert!(chosen.len() == 1 && variants[0] == chosen[0], "{variants:?}");
    assert!(all.iter().all(|name| different.contains(name)), "{all:?}");
    let refused = sepconv(folder.path(), "bench --shapes shapes.json --kernels some");
    refused.assert_refused("--kernels");
}

/// Three small layers; the first two are two forms of one.
const BENCH_SHAPES: &str = r#"[{"id": "a<b", "kind": "conv", "c": 4, "h": 8, "w": 8, "oc": 4, "k": 3},
                               {"id": "b", "kind": "sep", "c": 4, "h": 8, "w": 8, "oc": 4, "k": 3},
                               {"id": "c", "kind": "sep", "c": 4, "h": 8, "w": 8, "oc": 4, "k": 3, "s": 2}]"#;

/// Each is compared with the reference before it is timed.
#[test]
fn bench_times_layers_with_all_that_follows_the_sums() {
    if common::context().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let shapes = r#"[{"id": "a", "kind": "conv", "c": 4, "h": 8, "w": 8, "oc": 4, "k": [1, 3], "d": [1, 2],
                      "bias": false, "activation": "leaky_relu=0.5", "residual": true},
                     {"id": "b", "kind": "sep", "c": 4, "h": 8, "w": 8, "oc": 4, "k": 3, "m": 2,
                      "activation": "SiLU", "residual": true}]"#;
    std::fs::write(folder.path().join("shapes.json"), shapes).unwrap();
    sepconv(folder.path(), "bench --shapes shapes.json --kernels all --json out.json").assert_done();
    let result: Value = serde_json::from_slice(&std::fs::read(folder.path().join("out.json")).unwrap()).unwrap();
    assert!(result["rows"].as_array().unwrap().len() > 2, "{result}");
    let shapes = shapes.replace("SiLU", "round");
    std::fs::write(folder.path().join("shapes.json"), shapes).unwrap();
    sepconv(folder.path(), "tune --shapes shapes.json").assert_refused("shape 1: activation is \"round\"");
}

#[test]
fn bench_draws_a_roofline() {
    if common::context().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let draw = |shapes: &str, kernels: &str| {
        std::fs::write(folder.path().join("shapes.json"), shapes).unwrap();
        let run = sepconv(folder.path(), &format!("bench --shapes shapes.json --kernels {kernels} --svg out.svg"));
        let text = run.assert_done();
        let svg = std::fs::read_to_string(folder.path().join("out.svg")).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
        // The caption is the device, as the table has it.
        assert!(svg.contains(text.lines().next().unwrap().strip_prefix("Device: ").unwrap()), "{svg}");
        assert!(svg.contains("FLOP/B") && svg.contains("GFLOP/s") && !svg.contains("NaN"), "{svg}");
        svg
    };
    let svg = draw(BENCH_SHAPES, "all");
    for layer in ["1  a&lt;b  ", "2  b  ", "3  c  "] {
        assert!(svg.contains(layer), "{layer}: {svg}");
    }
    // One in the legend; the other joins the two forms of one layer. A point for each layer, and two in the legend.
    let (lines, points) = (r#"<polyline fill="none" opacity="0.4""#, "<circle");
    assert_eq!((svg.matches(lines).count(), svg.matches(points).count()), (2, 5), "{svg}");
    let svg = draw(&BENCH_SHAPES.replacen(r#""oc": 4"#, r#""oc": 5"#, 1), "chosen");
    assert_eq!((svg.matches(lines).count(), svg.matches(points).count()), (1, 5), "{svg}");
}

#[test]
fn bench_compares_with_an_earlier_result() {
    if common::context().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("shapes.json"), BENCH_SHAPES).unwrap();
    sepconv(folder.path(), "bench --shapes shapes.json --json old.json").assert_done();
    let mut old: Value = serde_json::from_slice(&std::fs::read(folder.path().join("old.json")).unwrap()).unwrap();
    // A kernel that was not chosen, as `--kernels all` writes it, is compared with nothing.
    let mut candidate = old["rows"][0].clone();
    (candidate["candidate"], candidate["median_ms"], candidate["p90_ms"]) = (true.into(), 1e-9.into(), 1e-9.into());
    old["rows"].as_array_mut().unwrap().insert(0, candidate);
    let keys: Vec<&String> = old.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["adapter", "backend", "copy_gb_s", "driver", "dtype", "fma_gflop_s", "host", "limits", "rows"]);

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
    let shapes = r#"[{"id": "a", "kind": "conv", "c": 4, "h": 8, "w": 8, "oc": 4, "k": 3, "g": 4},
                     {"id": "b", "kind": "conv", "c": 4, "h": 8, "w": 8, "oc": 4, "k": 1}]"#;
    std::fs::write(folder.path().join("shapes.json"), shapes).unwrap();
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
    for id in ["a", "b"] {
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
    let named = |id: &str, size: u32| {
        format!(r#"[{{"id": "{id}", "kind": "conv", "c": 1, "h": {size}, "w": {size}, "oc": 1, "k": 1}}]"#)
    };
    for (shapes, message) in [
        (named("a\\u001b", 1), "without control characters"),
        (named("huge", 1_000_000), "shape huge: input needs 4000000000000 bytes"),
    ] {
        std::fs::write(folder.path().join("shapes.json"), shapes).unwrap();
        let run = sepconv(folder.path(), "bench --shapes shapes.json --json out.json");
        assert!(run.assert_refused("shape").contains(message), "{run:?}");
    }
    for other in ["same", "./same"] {
        let run = sepconv(folder.path(), &format!("bench --json same --svg {other}"));
        run.assert_refused("--json and --svg");
    }
    assert!(!folder.path().join("same").exists());
    sepconv(folder.path(), "bench --shapes missing.json").assert_refused("missing.json");
    sepconv(folder.path(), "bench --kernels fastest").assert_refused("--kernels");
    sepconv(folder.path(), "bench --batch many").assert_refused("--batch");
    sepconv(folder.path(), "bench --device cpu").assert_refused("--device");
    assert!(!folder.path().join("out.json").exists());
}
