//! Whole networks against what another engine computed of the same files.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::context;
use safetensors::SafeTensors;
use sepconv::{Context, Network, NetworkPlan, Tensor};

/// Where the networks lie, if they are there.
fn folder() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/networks");
    folder.is_dir().then_some(folder)
}

/// The tensors of a file, by name.
fn tensors(path: &Path) -> BTreeMap<String, (Vec<u32>, Vec<f32>)> {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file.iter().map(|(name, view)| {
        let shape = view.shape().iter().map(|&size| u32::try_from(size).unwrap()).collect();
        let values = view.data().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
        (name.to_owned(), (shape, values))
    });
    tensors.collect()
}

/// Runs a plan on these inputs, by name, and returns its outputs.
fn run(context: &Context, plan: &NetworkPlan, inputs: &[(&str, &[f32])]) -> Vec<(String, Vec<f32>)> {
    let given: Vec<_> = plan
        .inputs()
        .iter()
        .map(|port| {
            let (_, values) = inputs.iter().find(|(name, _)| *name == port.name).unwrap();
            (port.name.as_str(), Tensor::from_slice(context, port.tensor_shape(), values).unwrap())
        })
        .collect();
    let wanted: Vec<_> =
        plan.outputs().iter().map(|port| (port.name.as_str(), common::poisoned(context, port.tensor_shape()))).collect();
    let weights = plan.weights().unwrap();
    let inputs: Vec<_> = given.iter().map(|(name, tensor)| (*name, tensor)).collect();
    let outputs: Vec<_> = wanted.iter().map(|(name, tensor)| (*name, tensor)).collect();
    let bound = plan.bind(&weights, &inputs, &outputs).unwrap();
    let mut results = Vec::new();
    // What is right only the first time is wrong.
    for _ in 0..2 {
        bound.run().unwrap();
        results = wanted.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.read_blocking().unwrap())).collect();
    }
    results
}

#[test]
fn five_networks() {
    let (Some(context), Some(folder)) = (context(), folder()) else { return };
    let cases: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.join("cases.json")).unwrap()).unwrap();
    for case in cases.as_array().unwrap() {
        let model = case["model"].as_str().unwrap();
        let network = Network::from_onnx(&std::fs::read(folder.join(model)).unwrap()).unwrap();
        let golden = tensors(&folder.join(case["golden"].as_str().unwrap()));
        let shapes: Vec<(&str, &[u32])> = golden
            .iter()
            .filter_map(|(name, (shape, _))| Some((name.strip_prefix("input:")?, shape.as_slice())))
            .collect();
        let plan = network.plan(context, &shapes).unwrap_or_else(|error| panic!("{model}: {error}"));
        let inputs: Vec<_> = golden
            .iter()
            .filter_map(|(name, (_, values))| Some((name.strip_prefix("input:")?, values.as_slice())))
            .collect();
        eprintln!("{model}: {} steps, {} bytes between layers, {} of weights", plan.steps(), plan.workspace_bytes(), plan.weight_bytes());
        for (name, actual) in run(context, &plan, &inputs) {
            let (_, expected) = &golden[&format!("output:{name}")];
            assert_eq!(actual.len(), expected.len());
            let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
            let error = actual.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0_f32, |error, difference| {
                if difference.is_nan() { f32::INFINITY } else { error.max(difference) }
            });
            let ratio = f64::from(error / largest);
            let allowed = (20.0 * case["order_of_sums"].as_f64().unwrap()).max(1e-4);
            eprintln!("  {name}: {ratio:.2e} of {allowed:.1e}");
            assert!(ratio <= allowed, "{model} {name}: {ratio} of {allowed}");
        }
    }
}

#[test]
fn debug_layers() {
    let Some(folder) = folder() else { return };
    let cases: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.join("cases.json")).unwrap()).unwrap();
    for case in cases.as_array().unwrap() {
        let model = case["model"].as_str().unwrap();
        let network = Network::from_onnx(&std::fs::read(folder.join(model)).unwrap()).unwrap();
        let golden = tensors(&folder.join(case["golden"].as_str().unwrap()));
        let shapes: Vec<(&str, &[u32])> = golden
            .iter()
            .filter_map(|(name, (shape, _))| Some((name.strip_prefix("input:")?, shape.as_slice())))
            .collect();
        println!("== {model}");
        let layers = network.layers(&shapes).unwrap_or_else(|error| panic!("{model}: {error}"));
        println!("{} layers", layers.len());
        for (name, layer) in layers {
            println!("{name}: {} -> {}", layer.text(), format!("{:?}", layer.describe().activation()));
        }
    }
}
