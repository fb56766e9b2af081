//! The command, as a user runs it: what works, and which requests are refused and how.

#[path = "common/command.rs"]
mod command;
mod common;

use command::{files, folder, read_output, run, sepconv};
use serde_json::Value;

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
    sepconv(folder.path(), "conv out.npy --weight weight.npy --out out.npy --overwrite-input").assert_done();
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
    let wide = sepconv(folder.path(), "plan --input 2,64,56,56 --weight 128,64,3,3 --padding 1 --device cpu --json");
    let wide: Value = serde_json::from_str(wide.assert_done()).unwrap();
    assert_eq!((&wide["separable"]["kernel"], &wide["separable"]["workspace_bytes"]), (&"reference".into(), &0.into()));
    if !common::skipped() {
        let wide = sepconv(folder.path(), "plan --input 2,64,56,56 --weight 128,64,3,3 --padding 1 --no-tune");
        let is_chained = wide.words().contains("\n  kernel depthwise + ");
        let workspace = if is_chained { 4 * 2 * 64 * 56 * 56 } else { 0 };
        assert!(wide.words().contains(&format!("\n  workspace {workspace} bytes")), "{wide:?}");
    }
    // A plane of 4006 x 4006 fits, 4096 of them between two dispatches do not. One dispatch needs none, but takes no sums as long
    // as a filter of 129 x 129.
    if common::context().is_some_and(|context| context.target().software) {
        let fused = sepconv(folder.path(), "plan --input 1,4096,8,8 --weight 1,4096,3,3 --padding 2000 --json");
        let fused = serde_json::from_str::<Value>(fused.assert_done()).unwrap()["separable"].take();
        assert!(fused["kernel"].as_str().unwrap().ends_with("separable") && fused["workspace_bytes"] == 0, "{fused}");
        let large = "plan --input 1,1000,8,8 --weight 1,1000,129,129 --padding 2000";
        assert!(sepconv(folder.path(), large).words().contains("\n  kernel none within these limits"));
        let run = sepconv(folder.path(), &format!("{large} --json"));
        let separable = serde_json::from_str::<Value>(run.assert_done()).unwrap()["separable"].take();
        assert_eq!((&separable["kernel"], &separable["workspace_bytes"]), (&Value::Null, &Value::Null));
    }
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
    for device in devices.as_array().unwrap() {
        for feature in ["TIMESTAMP_QUERY", "SHADER_F16", "SHADER_INT64", "SUBGROUP"] {
            assert!(device["features"][feature].is_boolean(), "{feature}: {device}");
        }
    }
    let kernels = sepconv(folder.path(), "kernels");
    for kernel in sepconv::kernels::ALL {
        assert!(kernels.assert_done().contains(kernel.name));
        let source = sepconv(folder.path(), &format!("kernels {} --wgsl", kernel.name));
        if kernel.wgsl().is_empty() {
            source.assert_refused("no shader");
        } else {
            assert_eq!(source.assert_done().trim_end(), kernel.wgsl().trim_end());
        }
    }
    let shape = "kernels direct --wgsl --input 1,1,9,9 --weight 1,1,7,5 --dilation 1,2";
    assert!(sepconv(folder.path(), shape).assert_done().contains("const KERNEL_HEIGHT: u32 = 7u;"));
}

/// Requests that `plan` refuses, and what it must name.
const REFUSED: [(&str, &str); 43] = [
    ("--input 1,3,8 --weight 4,3,3,3", "--input"),
    ("--input 1,3,8,8,1 --weight 4,3,3,3", "--input"),
    ("--input 4294967295,3,8,8 --weight 4,3,3,3", "batch"),
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
        ("conv layer.safetensors --out out.safetensors --stride 0", "stride"),
        ("conv layer.safetensors --out layer.safetensors", "--out layer.safetensors: this file is also read"),
        ("conv input.npy --weight weight.npy --out weight.npy", "--overwrite-input"),
        ("separable layer.safetensors --out ./layer.safetensors", "--overwrite-input"),
        ("tune --shapes layer.safetensors --export layer.safetensors", "--export layer.safetensors"),
        ("bench --shapes layer.safetensors --json layer.safetensors", "--json layer.safetensors"),
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
fn what_people_type_is_taken() {
    let folder = folder();
    let words = [
        "conv",
        "layer.safetensors",
        "--out",
        "out.npy",
        "--padding",
        "SAME",
        "--activation",
        "leaky_relu",
        "--stride",
        "1, 1",
        "--padding-mode",
        "Replicate",
    ];
    run(folder.path(), &words).assert_done();
    let with_a_blank = ["plan", "--input", "1, 3, 64, 64", "--weight", "4, 3, 3, 3", "--padding", "1, 1"];
    run(folder.path(), &with_a_blank).assert_done();
}

#[test]
fn exact_rounding_leaves_winograd_out() {
    let folder = folder();
    let plan = "plan --input 1,256,56,56 --weight 256,256,3,3 --padding 1 --json";
    let kernel = |options: &str| {
        let run = sepconv(folder.path(), &format!("{plan} {options}"));
        let value: Value = serde_json::from_str(run.assert_done()).unwrap();
        value["kernel"].as_str().unwrap().to_owned()
    };
    assert_eq!((kernel("--no-tune").as_str(), kernel("--rounding fast").as_str()), ("winograd", "winograd"));
    assert_ne!(kernel("--rounding exact"), "winograd");
    assert_eq!(kernel("--kernel winograd-4x4"), "winograd_4x4");
    for forced in ["winograd", "winograd_4x4"] {
        let run = sepconv(folder.path(), &format!("{plan} --rounding exact --kernel {forced}"));
        run.assert_refused(forced);
    }
    sepconv(folder.path(), &format!("{plan} --rounding none")).assert_refused("--rounding");
}

#[test]
fn a_separable_layer_takes_a_kernel_too() {
    if common::context().is_none() {
        return;
    }
    let folder = folder();
    for kernel in ["separable", "chained"] {
        let run = sepconv(folder.path(), &format!("separable layer.safetensors --out out.npy --kernel {kernel}"));
        // Two kernels for two parts.
        let expected = if kernel == "chained" { " + " } else { "kernel separable" };
        assert!(run.assert_done().contains(expected), "{run:?}");
    }
    for kernel in ["direct", "nothing"] {
        let run = sepconv(folder.path(), &format!("separable layer.safetensors --out not.npy --kernel {kernel}"));
        run.assert_refused(kernel);
    }
    let run = sepconv(folder.path(), "separable layer.safetensors --out not.npy --kernel chained --device cpu");
    run.assert_refused("--kernel");
    assert!(!files(folder.path()).keys().any(|name| name.contains("not")));
}

#[test]
fn sentences_fit_the_terminal() {
    let folder = folder();
    let plan = "plan --input 1,64,56,56 --weight 128,64,3,3 --padding 1";
    for arguments in ["kernels", plan, &format!("{plan} --rounding exact --no-tune"), &format!("{plan} --device cpu")] {
        let run = sepconv(folder.path(), arguments);
        let widest = run.assert_done().lines().map(|line| line.chars().count()).max();
        assert!(widest.is_some_and(|columns| columns <= 100), "{arguments}: {widest:?} columns");
    }
    // Each kernel that was passed over has its own line.
    let run = sepconv(folder.path(), &format!("{plan} --rounding exact --no-tune"));
    let is_winograd = |line: &&str| line.trim_start().starts_with("not winograd ");
    let [winograd] = run.stdout.lines().filter(is_winograd).collect::<Vec<_>>()[..] else { panic!("{run:?}") };
    assert!(winograd.contains("it needs rounding fast"), "{winograd}");
}
