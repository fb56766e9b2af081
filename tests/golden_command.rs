//! The golden cases through the built command, and WebNN's conformance cases and validation table where they are.

#[path = "common/command.rs"]
mod command;
mod common;

use std::path::{Path, PathBuf};

use command::{read_output, run, safetensors};
use common::golden::{self, Golden};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::Value;

const TORCH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/torch");
const CONFORMANCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/conformance");

/// Runs one case through `conv` or `separable` and compares what it wrote.
fn check(folder: &Path, case: &Golden) {
    let names: &[(&str, &str)] = if case.is_separable() {
        &[
            ("input", "input"),
            ("dw_weight", "depthwise.weight"),
            ("dw_bias", "depthwise.bias"),
            ("pw_weight", "pointwise.weight"),
            ("pw_bias", "pointwise.bias"),
        ]
    } else {
        &[("input", "input"), ("weight", "weight"), ("bias", "bias")]
    };
    let present = names.iter().filter(|(tensor, _)| case.optional(tensor).is_some());
    let shapes: Vec<(&str, Vec<u32>, &[f32])> = present
        .map(|&(tensor, name)| {
            let shape = case.shape(tensor);
            let shape = if tensor.ends_with("bias") { vec![shape[1]] } else { shape.to_vec() };
            (name, shape, case.values(tensor))
        })
        .collect();
    let tensors: Vec<(&str, &[u32], &[f32])> =
        shapes.iter().map(|(name, shape, values)| (*name, shape.as_slice(), *values)).collect();
    let (input, output) = (format!("{}.in.safetensors", case.name), format!("{}.safetensors", case.name));
    std::fs::write(folder.join(&input), safetensors(&tensors)).unwrap();

    let subcommand = if case.is_separable() { "separable" } else { "conv" };
    let mut arguments = vec![subcommand.to_owned(), input, "--out".to_owned(), output.clone()];
    arguments.extend(options(case.manifest(), !case.is_separable()));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    run(folder, &arguments).assert_done();
    let (shape, values) = read_output(&folder.join(output));
    assert_eq!(shape, case.shape("output").map(|size| size as usize), "{}", case.name);
    case.assert_close("output", &values, "through the command");
}

/// A case's attributes as options.
fn options(case: &Value, groups: bool) -> Vec<String> {
    let attributes = &case["attributes"];
    let list = |name: &str| {
        let numbers = attributes[name].as_array().unwrap().iter().map(Value::to_string);
        numbers.collect::<Vec<_>>().join(",")
    };
    let mut options = vec![
        ("--stride", list("stride")),
        ("--dilation", list("dilation")),
        ("--padding", list("padding")),
        ("--padding-mode", attributes["padding_mode"].as_str().unwrap().to_owned()),
    ];
    if groups {
        options.push(("--groups", attributes["groups"].to_string()));
    }
    options.into_iter().flat_map(|(option, value)| [option.to_owned(), value]).collect()
}

/// Checks cases on both cores of a small machine.
fn check_all(cases: &[Golden]) {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for half in cases.chunks(cases.len().div_ceil(2)) {
            let folder = folder.path();
            scope.spawn(move || half.iter().for_each(|case| check(folder, case)));
        }
    });
}

#[test]
fn the_golden_cases() {
    let cases = golden::load(Path::new(TORCH));
    assert_eq!(cases.len(), 130);
    // Each takes a driver in software as long as its shaders take to compile. In tests/golden.rs they are all run.
    check_all(&cases.into_iter().step_by(common::every(4)).collect::<Vec<_>>());
}

fn conformance() -> Option<PathBuf> {
    let path = PathBuf::from(CONFORMANCE);
    if path.exists() {
        return Some(path);
    }
    eprintln!("WebNN's conformance cases are not there: not run");
    None
}

#[test]
fn the_conformance_cases() {
    let Some(path) = conformance() else { return };
    let cases = golden::load(&path.join("wpt"));
    assert_eq!(cases.len(), 67);
    check_all(&cases);
}

/// Lists of the wrong length that mean something here: `2` is both axes, `2,2` is height,width.
const NOT_EXPRESSIBLE: [&str; 3] = [
    "wpt_throw_if_the_length_of_padding_is_not_4",
    "wpt_throw_if_the_length_of_strides_is_not_2",
    "wpt_throw_if_the_length_of_dilations_is_not_2",
];

#[test]
fn the_validation_table() {
    let Some(path) = conformance() else { return };
    let table: Value = serde_json::from_slice(&std::fs::read(path.join("wpt_validation.json")).unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut counts = [0; 3];
    for entry in table["entries"].as_array().unwrap() {
        let name = entry["name"].as_str().unwrap();
        if NOT_EXPRESSIBLE.contains(&name) {
            eprintln!("{name}: its list is a right one here");
            counts[2] += 1;
        } else if entry["expect"] == "accept" {
            let plan: Value = serde_json::from_str(plan(folder.path(), entry, &["--json"]).assert_done()).unwrap();
            assert_eq!(plan["output_shape"], entry["output_shape"], "{name}");
            counts[0] += 1;
        } else if entry.get("dtypes").is_some() {
            let tensor = write_with_dtypes(&folder.path().join("dtypes.safetensors"), entry);
            let mut arguments = vec!["conv".to_owned(), "dtypes.safetensors".to_owned()];
            arguments.extend(["--out".to_owned(), "out.safetensors".to_owned()]);
            arguments.extend(options(entry, true));
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            run(folder.path(), &arguments).assert_refused(&format!("tensor {tensor} has dtype I32"));
            counts[1] += 1;
        } else {
            let refused = plan(folder.path(), entry, &[]);
            let named = NAMED.iter().find(|(part, _)| name.contains(part));
            refused.assert_refused(named.unwrap_or_else(|| panic!("{name} is new")).1);
            counts[1] += 1;
        }
    }
    assert_eq!(counts, [15, 31, 3], "accepted, refused, not expressible");
}

/// A part of an entry's name and what its refusal must name; the first that fits.
const NAMED: [(&str, &str); 14] = [
    ("input_is_not_a_4_d", "--input has"),
    ("filter_is_not_a_4_d", "'--weight"),
    ("bias_is_not_a_1_d", "'--bias"),
    ("strideheight", "stride height"),
    ("stridewidth", "stride width"),
    ("dilationheight", "dilation height"),
    ("dilationwidth", "dilation width"),
    ("dilation_height_is_too_large", "dilation height"),
    ("dilation_width_is_too_large", "dilation width"),
    ("height", "kernel_size"),
    ("width", "kernel_size"),
    // Its weight, turned to our layout, no longer fits the input, which is seen before the bias is.
    ("output_channels_with_filterlayout_hwio", "input has shape"),
    ("bias_shape", "bias has"),
    ("groups", "groups"),
];

/// `plan` with an entry's shapes and attributes.
fn plan(folder: &Path, entry: &Value, more: &[&str]) -> command::Run {
    let list = |value: &Value| value.as_array().unwrap().iter().map(Value::to_string).collect::<Vec<_>>().join(",");
    let shapes = &entry["shapes"];
    let mut arguments = vec!["plan".to_owned(), "--input".to_owned(), list(&shapes["input"])];
    arguments.extend(["--weight".to_owned(), list(&shapes["weight"])]);
    if !shapes["bias"].is_null() {
        arguments.extend(["--bias".to_owned(), list(&shapes["bias"])]);
    }
    arguments.extend(options(entry, true));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(more.iter().copied()).collect();
    run(folder, &arguments)
}

/// Writes an entry's tensors with its dtypes and returns the first that is not `f32`.
fn write_with_dtypes(path: &Path, entry: &Value) -> String {
    let mut wrong = Vec::new();
    let zeros = [0_u8; 1024];
    let mut views = Vec::new();
    for name in ["input", "weight", "bias"] {
        let Some(shape) = entry["shapes"][name].as_array() else { continue };
        let shape: Vec<usize> = shape.iter().map(|size| usize::try_from(size.as_u64().unwrap()).unwrap()).collect();
        let dtype = match entry["dtypes"][name].as_str() {
            None => Dtype::F32,
            Some("int32") => {
                wrong.push(name.to_owned());
                Dtype::I32
            }
            Some(other) => panic!("dtype {other}"),
        };
        let bytes = &zeros[..4 * shape.iter().product::<usize>()];
        views.push((name, TensorView::new(dtype, shape, bytes).unwrap()));
    }
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
    wrong.swap_remove(0)
}
