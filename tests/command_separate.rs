//! `sepconv separate`: what it writes, what it refuses.
#![cfg(not(target_arch = "wasm32"))]

#[path = "common/command.rs"]
mod command;
mod common;

use std::path::Path;

use command::{Run, run};
use rten_onnx::onnx::{
    AttributeProto, AttributeType, DataType, Dimension, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    TensorProto, TensorShapeProto, TypeProto, TypeProtoTensor, ValueInfoProto,
};
use sepconv::Network;
use sepconv::decouple::{Decoupling, Normal};
use sepconv::unstable::separate::{Replacement, convolutions, separated};
use tempfile::TempDir;

/// Values without a pattern.
fn data(count: usize, first: f64) -> Vec<f32> {
    #[expect(clippy::cast_possible_truncation, reason = "any values will do")]
    let value = |index: usize| ((first + (index * index) as f64 * 0.618_033_988_749_895).fract() * 2.0 - 1.0) as f32;
    (0..count).map(value).collect()
}

fn tensor(name: &str, sizes: &[i64], values: &[f32]) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        dims: sizes.to_vec(),
        data_type: Some(DataType::FLOAT),
        float_data: values.to_vec(),
        ..TensorProto::default()
    }
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        ints: values.to_vec(),
        r#type: Some(AttributeType::INTS),
        ..AttributeProto::default()
    }
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        i: Some(value),
        r#type: Some(AttributeType::INT),
        ..AttributeProto::default()
    }
}

fn node(kind: &str, name: &str, inputs: &[&str], attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        name: Some(name.to_owned()),
        op_type: Some(kind.to_owned()),
        input: inputs.iter().map(|&input| input.to_owned()).collect(),
        output: vec![format!("{name}_out")],
        attribute,
        ..NodeProto::default()
    }
}

fn end(name: &str, sizes: [i64; 4]) -> ValueInfoProto {
    let dim = sizes.map(|size| Dimension { dim_value: Some(size), dim_param: None }).to_vec();
    let tensor_type = TypeProtoTensor { elem_type: Some(DataType::FLOAT), shape: Some(TensorShapeProto { dim }) };
    let r#type = TypeProto { tensor_type: Some(tensor_type), sequence: None };
    ValueInfoProto { name: Some(name.to_owned()), r#type: Some(r#type) }
}

const CHANNELS: i64 = 16;

/// A normal layer whose filters are far from rank 1, one whose filters are of rank 1, a depthwise and a pointwise one. The
/// first two share a bias.
fn model() -> Vec<u8> {
    let c = usize::try_from(CHANNELS).unwrap();
    let (filters, shares) = (data(c * 9, 0.1), data(c * c, 0.9));
    let rank_one: Vec<f32> = (0..c * c * 9).map(|at| shares[at / 9] * filters[at % (9 * c)] / 4.0).collect();
    let full: Vec<f32> = data(c * c * 9, 0.4).iter().map(|value| value / 4.0).collect();
    let window = || vec![ints("kernel_shape", &[3, 3]), ints("pads", &[1, 1, 1, 1])];
    let depthwise = [window(), vec![int("group", CHANNELS)]].concat();
    let graph = GraphProto {
        node: vec![
            node("Conv", "full", &["x", "full_weight", "bias"], window()),
            node("Relu", "relu", &["full_out"], Vec::new()),
            node("Conv", "rank_one", &["relu_out", "rank_one_weight", "bias"], window()),
            node("Conv", "depthwise", &["rank_one_out", "depthwise_weight"], depthwise),
            node("Conv", "pointwise", &["depthwise_out", "pointwise_weight"], vec![ints("kernel_shape", &[1, 1])]),
        ],
        initializer: vec![
            tensor("full_weight", &[CHANNELS, CHANNELS, 3, 3], &full),
            tensor("rank_one_weight", &[CHANNELS, CHANNELS, 3, 3], &rank_one),
            tensor("bias", &[CHANNELS], &data(c, 0.3)),
            tensor("depthwise_weight", &[CHANNELS, 1, 3, 3], &data(c * 9, 0.2)),
            tensor("pointwise_weight", &[3, CHANNELS, 1, 1], &data(3 * c, 0.6)),
        ],
        input: vec![end("x", [1, CHANNELS, 24, 24])],
        output: vec![end("pointwise_out", [1, 3, 24, 24])],
        value_info: Vec::new(),
    };
    let opset = OperatorSetIdProto { domain: None, version: Some(13) };
    let model = ModelProto {
        ir_version: Some(8),
        graph: Some(graph),
        opset_import: vec![opset],
        producer_name: Some("a test".to_owned()),
        ..ModelProto::default()
    };
    model.write_buf().unwrap()
}

/// What a model makes of some values, by the definitions.
fn outputs(model: &[u8]) -> Vec<f32> {
    let shape = [1, 16, 24, 24];
    let values = data(16 * 24 * 24, 0.5);
    let network = Network::from_onnx(model).unwrap();
    network.reference(&[("x", &shape, &values)], |_| Ok(())).unwrap().swap_remove(0).values
}

/// The root of the mean square of what two results differ by, as a part of that of the first.
fn error(expected: &[f32], actual: &[f32]) -> f64 {
    let energy = |values: &mut dyn Iterator<Item = f32>| values.map(|value| f64::from(value).powi(2)).sum::<f64>();
    let lost = energy(&mut expected.iter().zip(actual).map(|(expected, actual)| expected - actual));
    (lost / energy(&mut expected.iter().copied())).sqrt()
}

/// A file with some layers changed, by the library.
fn changed(model: &[u8], multipliers: &[(&str, u32)]) -> Vec<u8> {
    let found = convolutions(model).unwrap();
    let part = |&(name, multiplier): &(&str, u32)| {
        let layer = found.normal.iter().find(|layer| layer.name == name).unwrap();
        let normal = Normal { shape: layer.shape, weight: &layer.weight, bias: layer.bias.as_deref() };
        (layer, Decoupling::new(&normal, None).unwrap().separated(multiplier).unwrap())
    };
    let parts: Vec<_> = multipliers.iter().map(part).collect();
    let replacements = parts.iter().map(|(layer, separated)| Replacement {
        layer,
        depth_multiplier: separated.depth_multiplier,
        depthwise: &separated.depthwise,
        pointwise: &separated.pointwise,
        bias: None,
    });
    separated(model, &replacements.collect::<Vec<_>>()).unwrap()
}

fn graph(model: &[u8]) -> GraphProto {
    ModelProto::parse_buf(model).unwrap().graph.unwrap()
}

fn names(model: &[u8]) -> Vec<String> {
    graph(model).node.into_iter().map(|node| node.name.unwrap()).collect()
}

fn weights(model: &[u8]) -> Vec<String> {
    graph(model).initializer.into_iter().map(|tensor| tensor.name.unwrap()).collect()
}

#[test]
fn what_could_be_separable_is_found() {
    let found = convolutions(&model()).unwrap();
    let normal: Vec<_> = found.normal.iter().map(|layer| layer.name.as_str()).collect();
    assert_eq!(normal, ["full", "rank_one"]);
    let others: Vec<_> = found.others.iter().map(|(name, reason)| (name.as_str(), reason.as_str())).collect();
    assert_eq!(others, [("depthwise", "it is depthwise"), ("pointwise", "its window has 1 tap: it is pointwise")]);
}

#[test]
fn a_layer_with_as_many_filters_as_taps_is_the_same_layer() {
    let model = model();
    let written = changed(&model, &[("full", 9), ("rank_one", 1)]);
    let lost = error(&outputs(&model), &outputs(&written));
    assert!(lost < 1e-6, "{lost}");
    let expected = [
        "full_depthwise",
        "full_pointwise",
        "relu",
        "rank_one_depthwise",
        "rank_one_pointwise",
        "depthwise",
        "pointwise",
    ];
    assert_eq!(names(&written), expected);
    // The shared bias stays; weights that nobody reads are gone.
    let expected = [
        "bias",
        "depthwise_weight",
        "pointwise_weight",
        "full_depthwise_weight",
        "full_pointwise_weight",
        "rank_one_depthwise_weight",
        "rank_one_pointwise_weight",
    ];
    assert_eq!(weights(&written), expected);
    let first = &graph(&written).node[0];
    let group = first.attribute.iter().find(|attribute| attribute.name.as_deref() == Some("group")).unwrap();
    assert_eq!((group.i, &first.output[0]), (Some(CHANNELS), &"full_depthwise".to_owned()));
    // Only the bias of the other layer's is read by what stays.
    assert!(error(&outputs(&model), &outputs(&changed(&model, &[("full", 1)]))) > 0.01);
}

#[test]
fn what_is_not_changed_stays_byte_for_byte() {
    let mut model = model();
    assert_eq!(separated(&model, &[]).unwrap(), model);
    // A field that the decoder does not know: the model's documentation.
    model.extend(b"\x32\x05about");
    assert_eq!(separated(&model, &[]).unwrap(), model);
    assert!(changed(&model, &[("full", 2)]).windows(7).any(|bytes| bytes == b"\x32\x05about"));
    // How it is trained names weights.
    model.extend(b"\xa2\x01\x00");
    assert!(separated(&model, &[]).unwrap_err().to_string().contains("trained"));
}

#[test]
fn names_that_are_taken_are_not_taken_again() {
    let model = model();
    let mut parsed = ModelProto::parse_buf(&model).unwrap();
    let graph = parsed.graph.as_mut().unwrap();
    graph.node[1].output[0] = "full_depthwise_weight".to_owned();
    graph.node[2].input[0] = "full_depthwise_weight".to_owned();
    let written = changed(&parsed.write_buf().unwrap(), &[("full", 9)]);
    assert!(weights(&written).contains(&"full_depthwise_weight_2".to_owned()));
    assert!(error(&outputs(&model), &outputs(&written)) < 1e-6);
}

#[test]
fn files_that_list_weights_as_inputs_go_on_to() {
    let mut parsed = ModelProto::parse_buf(&model()).unwrap();
    parsed.ir_version = Some(3);
    let graph = parsed.graph.as_mut().unwrap();
    graph.input.push(end("full_weight", [CHANNELS, CHANNELS, 3, 3]));
    let written = changed(&parsed.write_buf().unwrap(), &[("full", 2)]);
    let inputs: Vec<_> = self::graph(&written).input.into_iter().map(|input| input.name.unwrap()).collect();
    assert_eq!(inputs, ["x", "full_depthwise_weight", "full_pointwise_weight"]);
    assert_eq!(Network::from_onnx(&written).unwrap().input_names(), ["x"]);
}

/// A folder with the model and an input.
fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("model.onnx"), model()).unwrap();
    let input = command::safetensors(&[("x", &[1, 16, 24, 24], &data(16 * 24 * 24, 0.5))]);
    std::fs::write(folder.path().join("x.safetensors"), input).unwrap();
    folder
}

fn separate(folder: &Path, arguments: &str) -> Run {
    let arguments: Vec<&str> = ["separate", "model.onnx"].into_iter().chain(arguments.split_whitespace()).collect();
    run(folder, &arguments)
}

#[test]
fn bad_requests_are_refused_and_nothing_is_written() {
    let folder = folder();
    let folder = folder.path();
    std::fs::write(folder.join("bad.png"), b"no picture").unwrap();
    for (arguments, named) in [
        ("", "--out"),
        ("--out out.txt", "--out"),
        ("--out model.onnx", "--out"),
        ("--out nowhere/out.onnx", "--out"),
        ("--out out.onnx --svg out.onnx", "--svg"),
        ("--out out.onnx --svg nowhere/out.svg", "--svg"),
        ("--out out.onnx --max-error 2", "--max-error"),
        ("--out out.onnx --max-error nan", "--max-error"),
        ("--out out.onnx --speed-up 0.5", "--speed-up"),
        ("--out out.onnx --speed-up 2 --max-error 0.1", "--max-error"),
        ("--out out.onnx --check x.safetensors", "--calibrate"),
        ("--out out.onnx --upscaler 2", "--calibrate"),
        ("--out out.onnx --upscaler 1 --calibrate bad.png", "--upscaler"),
        ("--out out.onnx --upscaler 2 --calibrate x.safetensors", "--calibrate"),
        ("--out out.onnx --calibrate nothing.safetensors", "--calibrate"),
        ("--out out.onnx --calibrate bad.png", "--calibrate"),
        ("--out out.onnx --calibrate x.safetensors --size 8,8", "--size"),
        ("--out out.onnx --input y=1,16,24,24", "--input"),
        ("--out out.onnx --device cpu", "--device"),
    ] {
        separate(folder, arguments).assert_refused(named);
    }
    run(folder, &["separate", "x.safetensors", "--out", "out.onnx"]).assert_refused("MODEL");
    run(folder, &["separate", "none.onnx", "--out", "out.onnx"]).assert_refused("none.onnx");
    std::fs::write(folder.join("bad.onnx"), b"no model").unwrap();
    run(folder, &["separate", "bad.onnx", "--out", "out.onnx"]).assert_refused("bad.onnx");
    assert!(!folder.join("out.onnx").exists());
}

#[test]
fn a_model_is_separated_within_the_error_that_is_allowed() {
    if common::context().is_none() {
        return;
    }
    let folder = folder();
    let folder = folder.path();
    let run = separate(folder, "--calibrate x.safetensors --max-error 0.02 --out out.onnx --svg out.svg --json");
    let report: serde_json::Value = serde_json::from_str(run.assert_done()).unwrap();
    let curve = report["curve"].as_array().unwrap();
    let chosen = &curve[usize::try_from(report["chosen"].as_u64().unwrap()).unwrap()];
    let lost = chosen["error"].as_f64().unwrap();
    assert!(lost <= 0.02, "{chosen}");
    // The layer is of rank one. With how many filters it is the fastest is measured, so that a busy machine may say two.
    assert!(chosen["depth_multipliers"]["rank_one"].is_u64(), "{chosen}");
    let milliseconds = |point: &serde_json::Value| point["milliseconds"].as_f64().unwrap();
    let within = curve.iter().filter(|point| point["error"].as_f64().unwrap() <= 0.02).map(milliseconds);
    assert!(milliseconds(chosen) <= within.fold(f64::INFINITY, f64::min), "{report}");
    // What was measured on the device is what the definitions say of the file.
    let written = std::fs::read(folder.join("out.onnx")).unwrap();
    let actual = error(&outputs(&model()), &outputs(&written));
    assert!((actual - lost).abs() < 1e-4, "{actual} and {lost}");
    assert!(std::fs::read_to_string(folder.join("out.svg")).unwrap().contains("the original"));
    // For each number of filters the error is less than for the one before.
    let forms = report["layers"][0]["forms"].as_array().unwrap();
    let errors: Vec<f64> = forms.iter().map(|form| form["error"].as_f64().unwrap()).collect();
    assert!(errors.len() >= 5 && errors.is_sorted_by(|a, b| a > b), "{errors:?}");
    let unchanged = report["unchanged"].as_array().unwrap();
    assert_eq!(unchanged.len(), 2, "{unchanged:?}");
}

#[test]
fn what_gains_nothing_is_not_written() {
    if common::context().is_none() {
        return;
    }
    let folder = folder();
    let folder = folder.path();
    let run = separate(folder, "--speed-up 1000 --out out.onnx");
    assert_eq!(run.status, 1, "{run:?}");
    assert!(run.stderr.contains("--speed-up is 1000") && run.stdout.contains("on random values"), "{run:?}");
    assert!(!folder.join("out.onnx").exists());
}
