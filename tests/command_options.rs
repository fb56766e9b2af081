//! Options that are not used are refused: every pair of options of every subcommand. And words as people write them.

#[path = "common/command.rs"]
mod command;
mod common;

use command::{folder, npy, run, sepconv};

/// Whether a request is refused, by the options that it has.
type Rule = fn(&dyn Fn(&str) -> bool) -> bool;

/// A subcommand with what it needs, its options, and which of them are refused together, or alone.
struct Table {
    start: &'static str,
    options: &'static [&'static str],
    is_refused: Rule,
    /// What is said of a request that gets past its options; none where it is done.
    end: Option<&'static str>,
}

fn has_no_use_of_tuning(has: &dyn Fn(&str) -> bool) -> bool {
    has("--no-tune") && has("--device")
}

/// Of one layer on an adapter or, with `--device cpu`, the reference.
fn is_refused_for_a_layer(has: &dyn Fn(&str) -> bool) -> bool {
    has_no_use_of_tuning(has) || has("--padding-mode") && !has("--padding") || has("--kernel") && has("--device")
}

const LAYER: [&str; 8] = [
    "--stride 1",
    "--dilation 1",
    "--padding 1",
    "--padding-mode replicate",
    "--activation relu",
    "--device cpu",
    "--no-tune",
    "--groups 1",
];

const TABLES: [Table; 10] = [
    Table {
        start: "conv layer.safetensors --out out.npy",
        options: &["--kernel direct", "--overwrite-input", "--weight weight.npy", "--bias bias.npy"],
        is_refused: |has| has("--weight") || has("--bias") || is_refused_for_a_layer(has),
        end: None,
    },
    Table {
        start: "conv input.npy --out out.npy --weight weight.npy",
        options: &["--kernel direct", "--overwrite-input", "--bias bias.npy", "--filter blur"],
        is_refused: |has| has("--filter") || is_refused_for_a_layer(has),
        end: None,
    },
    Table {
        start: "conv a.png --out out.png --filter blur",
        options: &["--kernel direct", "--overwrite-input", "--weight weight.npy", "--bias bias.npy"],
        is_refused: |has| {
            has("--weight")
                || has("--bias")
                || has("--groups")
                || has_no_use_of_tuning(has)
                || has("--kernel") && has("--device")
        },
        end: None,
    },
    Table {
        start: "separable layer.safetensors --out out.npy",
        options: &["--kernel chained", "--overwrite-input", "--depthwise-activation relu"],
        // The two layers of `chained` are planned by what was measured.
        is_refused: |has| {
            has("--groups")
                || has("--padding-mode") && !has("--padding")
                || has("--device") && (has("--kernel") || has("--no-tune"))
        },
        end: None,
    },
    Table {
        start: "plan --input 1,2,8,8 --weight 2,2,1,1",
        options: &["--kernel direct", "--rounding exact", "--bias 2", "--json"],
        is_refused: is_refused_for_a_layer,
        end: None,
    },
    Table {
        start: "bench --shapes shapes.json --device cpu",
        options: &[
            "--batch 2",
            "--kernels all",
            "--json out.json",
            "--svg out.svg",
            "--compare old.json",
            "--overhead",
            "--no-tune",
        ],
        is_refused: |has| has("--overhead") && (has("--svg") || has("--compare")),
        end: Some("--device is cpu"),
    },
    Table {
        start: "tune --device cpu",
        options: &["--shapes shapes.json", "--batch 2", "--again", "--export out.txt"],
        is_refused: |_| false,
        end: Some("--device is cpu"),
    },
    Table {
        start: "compare --image missing.png",
        options: &["--out maps", "--json", "--device cpu", "--no-tune"],
        is_refused: has_no_use_of_tuning,
        end: Some("missing.png"),
    },
    Table {
        start: "kernels direct",
        options: &["--wgsl", "--input 1,2,8,8", "--weight 2,2,1,1", "--bias 2", "--kernel direct", "--rounding exact"],
        is_refused: |has| {
            let needs_shapes = ["--stride", "--dilation", "--padding", "--padding-mode", "--activation", "--device"];
            let needs_shapes =
                [&needs_shapes[..], &["--groups", "--input", "--weight", "--bias", "--kernel", "--rounding"]].concat();
            // Three options are needed for any of these.
            needs_shapes.into_iter().any(has) || has("--no-tune")
        },
        end: None,
    },
    Table { start: "devices", options: &["--json"], is_refused: |_| false, end: None },
];

#[test]
fn every_pair_of_options_is_used_or_refused() {
    let folder = folder();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    write("bias.npy", &npy("<f4", "(2,)", &[1.0, 2.0]));
    write("shapes.json", br#"[{"id": "a", "kind": "conv", "c": 4, "h": 8, "w": 8, "oc": 4, "k": 3}]"#);
    write("old.json", br#"{"id": "a", "median_ms": 1}"#);
    image::RgbImage::new(8, 8).save(folder.path().join("a.png")).unwrap();
    let mut refused = 0;
    for Table { start, options, is_refused, end } in TABLES {
        let of_layers = if end.is_none() && start != "devices" { &LAYER[..] } else { &[] };
        // `separable` has no groups, and `kernels` no tuning: they say so.
        let options = [options, of_layers].concat();
        let name = |option: &'static str| option.split(' ').next().unwrap();
        for (index, first) in options.iter().enumerate() {
            for second in &options[index..] {
                let pair = if first == second { vec![*first] } else { vec![*first, *second] };
                let has = |option: &str| pair.iter().any(|given| name(given) == option);
                let mut arguments = format!("{start} {}", pair.join(" "));
                let on_adapter = ["--kernel", "--no-tune"].into_iter().any(has);
                let is_layer = end.is_none() && !start.starts_with("kernels") && start != "devices";
                if is_layer && (on_adapter || has("--device")) && common::context().is_none() {
                    continue;
                }
                // Faster.
                if is_layer && !on_adapter && !has("--device") && common::context().is_some() {
                    arguments += " --device cpu";
                }
                let run = sepconv(folder.path(), &arguments);
                if is_refused(&has) {
                    refused += 1;
                    let line = run.assert_refused("");
                    let needed = start.starts_with("kernels") && line.contains("--");
                    let names = pair.iter().any(|option| line.contains(name(option)));
                    assert!(names || needed || line.contains("--out"), "{arguments}: {line}");
                } else if let Some(end) = end {
                    run.assert_refused(end);
                } else {
                    run.assert_done();
                }
            }
        }
    }
    assert!(refused > 100, "{refused}");
}

#[test]
fn an_option_of_another_input_is_refused_by_its_own_name() {
    let folder = folder();
    for (arguments, named) in [
        ("conv a.png --filter blur --bias /nonexistent/b.npy --out o.png", "--bias"),
        ("conv a.png --filter blur --rounding exact --out o.png", "--rounding"),
        ("conv a.png --out o.png", "--filter is missing"),
        ("conv a.JPG --out o.npy", "--filter is missing"),
        ("conv layer.safetensors --bias b.npy --out o.npy", "--bias goes with an .npy input"),
        ("conv input.npy --bias b.npy --out o.npy", "--weight is missing"),
        ("plan --input 1,1,8,8 --weight 1,1,3,3 --padding-mode reflect", "--padding-mode goes with --padding"),
        ("plan --input 1,1,8,8 --weight 1,1,3,3 --device cpu --no-tune", "--no-tune goes with an adapter"),
        ("kernels direct --stride 2", "--input"),
        ("kernels direct --wgsl --groups 2", "--input"),
        ("kernels --device cpu", "--input"),
        ("separable layer.safetensors --out o.npy --kernel direct --device cpu", "--kernel"),
    ] {
        sepconv(folder.path(), arguments).assert_refused(named);
    }
}

#[test]
fn words_and_lists_are_taken_as_people_write_them() {
    let folder = folder();
    let plan = |options: &[&str]| {
        let start = ["plan", "--input", "1, 2, 8, 8", "--weight", "2,2, 3,3", "--device", "CPU", "--json"];
        let text = run(folder.path(), &[&start, options].concat());
        serde_json::from_str::<serde_json::Value>(text.assert_done()).unwrap()["output_shape"].clone()
    };
    assert_eq!(plan(&["--stride", "1, 2", "--padding", "SAME"]), serde_json::json!([1, 2, 8, 4]));
    assert_eq!(plan(&["--padding", "1, 0, 1, 0", "--padding-mode", "Reflect"]), serde_json::json!([1, 2, 8, 6]));
    for activation in
        ["ReLU", "leaky_relu", "LeakyReLU", "Clamp=-1, 1", "leaky_relu = 0.5", "GELU", "Hard_Sigmoid", "elu = 2"]
    {
        plan(&["--activation", activation, "--padding", "same_lower", "--bias", " 2"]);
    }
    sepconv(folder.path(), "kernels Tiled-GEMM").assert_done();
    sepconv(folder.path(), "conv a.png --out o.png --filter Sobel_Horizontal").assert_refused("a.png: No such file");
    sepconv(folder.path(), "bench --kernels ALL --device Cpu").assert_refused("--device is cpu");
    if common::context().is_some() {
        let run = sepconv(folder.path(), "conv layer.safetensors --out out.npy --kernel Direct");
        assert!(run.assert_done().contains("kernel direct"), "{run:?}");
    }
}

#[test]
fn devices_say_whether_they_have_64_bit_integers() {
    if common::context().is_none() {
        return;
    }
    let folder = folder();
    assert!(sepconv(folder.path(), "devices").assert_done().contains("SHADER_INT64"));
    let devices: serde_json::Value =
        serde_json::from_str(sepconv(folder.path(), "devices --json").assert_done()).unwrap();
    assert!(devices[0]["features"]["SHADER_INT64"].is_boolean(), "{devices}");
}

/// A message that does not contradict itself.
#[cfg(target_os = "linux")]
#[test]
fn without_an_adapter_bench_says_one_thing() {
    let folder = folder();
    for subcommand in ["bench", "tune"] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_sepconv"))
            .arg(subcommand)
            .current_dir(folder.path())
            .env("SEPCONV_CACHE", folder.path().join("cache"))
            .envs([("VK_DRIVER_FILES", "/nowhere"), ("VK_ICD_FILENAMES", "/nowhere")])
            .output()
            .unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains("and there is none"), "{message}");
        assert!(!message.contains("reference computes"), "{message}");
    }
}
