//! Whole networks, as a user runs, plans and times them.

#[path = "common/command.rs"]
mod command;
mod common;

use command::{run, safetensors, sepconv};
use safetensors::SafeTensors;

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/selfie_segmentation.onnx");
const PORTRAIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/astronaut.jpg");

/// The mask of the portrait, by the reference, which needs no device: as a picture, and as a tensor by name.
#[test]
fn a_network_makes_a_mask() {
    let folder = tempfile::tempdir().unwrap();
    let mask = run(folder.path(), &["run", MODEL, PORTRAIT, "--out", "mask.png", "--device", "cpu"]);
    assert!(mask.assert_done().contains("activation_10: [1, 1, 256, 256]"), "{mask:?}");
    let mask = image::open(folder.path().join("mask.png")).unwrap().into_luma8();
    assert_eq!(mask.dimensions(), (256, 256));
    // The face is the person's, the corner above is not.
    assert!(mask.get_pixel(112, 70).0[0] > 250 && mask.get_pixel(4, 4).0[0] < 5);
    run(folder.path(), &["run", MODEL, PORTRAIT, "--out", "mask.safetensors", "--device", "cpu"]).assert_done();
    let bytes = std::fs::read(folder.path().join("mask.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(
        (tensors.names(), tensors.tensor("activation_10").unwrap().shape()),
        (vec!["activation_10"], &[1, 1, 256, 256][..])
    );
}

#[test]
fn a_plan_shows_every_layer_and_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let plan = run(folder.path(), &["plan", MODEL]).words();
    for line in
        ["| Conv_1 | convolution | 1 x 16 x 128 x 128 |", "multiply-adds ", "between layers ", "weights 0.43 MB"]
    {
        assert!(plan.contains(line), "{line} is not in {plan}");
    }
    let json = run(folder.path(), &["plan", MODEL, "--json", "--input", "1,3,128,128"]);
    let json: serde_json::Value = serde_json::from_str(json.assert_done()).unwrap();
    assert_eq!(json["inputs"][0]["shape"], serde_json::json!([1, 3, 128, 128]));
    assert!(json["workspace_bytes"].as_u64().unwrap() > 0 && json["layers"].as_array().unwrap().len() > 60);
}

#[test]
fn what_cannot_be_run_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("a.safetensors"), safetensors(&[("other", &[1, 3, 8, 8], &[0.0; 192])])).unwrap();
    std::fs::write(at("b.safetensors"), safetensors(&[("input", &[1, 4, 8, 8], &[0.0; 256])])).unwrap();
    std::fs::write(at("text.onnx"), "no model").unwrap();
    let whole = std::fs::read(MODEL).unwrap();
    std::fs::write(at("cut.onnx"), &whole[..whole.len() / 2]).unwrap();
    for (arguments, argument) in [
        (&["run", MODEL, PORTRAIT, "--out", "o.txt"][..], "--out"),
        (&["run", MODEL, "a.safetensors", "--out", "o.npy"], "input is missing"),
        (&["run", MODEL, "b.safetensors", "--out", "o.npy"], "input \"input\" is [1, 4, 8, 8]"),
        (
            &["run", MODEL, PORTRAIT, "--out", "o.npy", "--size", "100000,100000"],
            "--size makes the picture 100000 x 100000",
        ),
        (&["run", MODEL, "b.safetensors", "--out", "o.npy", "--size", "8,8"], "--size"),
        (&["run", MODEL, "nothing.npy", "--out", "o.npy"], "nothing.npy"),
        (&["run", MODEL, PORTRAIT, "--out", "o.npy", "--std", "1,0,1"], "--std"),
        (&["run", MODEL, PORTRAIT, "--out", "o.npy", "--layout", "gbr"], "--layout"),
        (&["run", "text.onnx", PORTRAIT, "--out", "o.npy"], "text.onnx"),
        (&["run", "cut.onnx", PORTRAIT, "--out", "o.npy"], "cut.onnx"),
        (&["run", PORTRAIT, PORTRAIT, "--out", "o.npy"], "MODEL"),
        (&["plan", MODEL, "--input", "other=1,3,8,8"], "--input"),
        (&["plan", MODEL, "--input", "3,256,256"], "and the network declares [1, 3, 256, 256]"),
        (&["plan", MODEL, "--input", "1,3,8,8", "--input", "1,3,8,8"], "--input"),
        (&["plan", MODEL, "--weight", "4,3,3,3"], "--weight"),
        (&["bench", MODEL, "--batch", "2"], "--batch"),
        (&["bench", "--input", "1,3,8,8"], "MODEL.onnx"),
        (&["tune", MODEL, "--input", "1,3,0,8"], "input"),
    ] {
        let refused = run(folder.path(), arguments);
        let line = refused.stderr.lines().rfind(|line| line.starts_with("error: ")).unwrap_or_default();
        assert!(refused.status == 2 && line.contains(argument), "{argument} is not named: {refused:?}");
        assert!(!at("o.npy").exists() && !at("o.txt").exists());
    }
}

/// Not in every run of the tests: it compiles and times 87 steps.
#[test]
fn bench_times_a_network() {
    if common::context().is_none() || !common::sweeps_whole() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    sepconv(folder.path(), &format!("bench {MODEL} --input 1,3,64,64 --json o.json --svg o.svg")).assert_done();
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("o.json")).unwrap()).unwrap();
    let layers = json["layers"].as_array().unwrap();
    assert!(
        layers
            .iter()
            .all(|layer| layer["error"].as_f64().unwrap() <= 1.0 && layer["median_ms"].as_f64().unwrap() > 0.0)
    );
    assert!(json["network"]["median_ms"].as_f64().unwrap() > 0.0);
    let steps = |layer: &serde_json::Value| layer["steps"].as_array().unwrap().len();
    let in_layers: usize = layers.iter().map(|layer| steps(layer).max(1)).sum();
    assert_eq!(in_layers, json["network"]["steps"]);
    let transposed = layers.iter().find(|layer| layer["name"] == "ConvTranspose_135").unwrap();
    assert_eq!(
        (transposed["kernel"].as_str(), transposed["steps"][1]["name"].as_str()),
        (Some("pixel_shuffle"), Some("rearrange"))
    );
    assert!(std::fs::read_to_string(folder.path().join("o.svg")).unwrap().contains("ConvTranspose_135"));
}
