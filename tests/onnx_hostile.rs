//! Files that lie, or are broken: each is refused, and none takes memory or time that it does not have bytes for.

#[path = "common/compute.rs"]
mod compute;

use std::time::{Duration, Instant};

use compute::compute;
use proptest::prelude::*;
use safetensors::SafeTensors;
use sepconv::{Error, Network};

/// A number of seven bits a byte.
fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7f).unwrap();
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// A field that is a number.
fn number(field: u64, value: i64) -> Vec<u8> {
    [varint(field << 3), varint(value.cast_unsigned())].concat()
}

/// A field that is bytes: text, or a message.
fn message(field: u64, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    [varint(field << 3 | 2), varint(content.len() as u64), content.to_vec()].concat()
}

/// An attribute that is a number.
fn int(name: &str, value: i64) -> Vec<u8> {
    message(5, [message(1, name), number(3, value)].concat())
}

/// An attribute that is numbers.
fn ints(name: &str, values: &[i64]) -> Vec<u8> {
    let values: Vec<u8> = values.iter().flat_map(|&value| number(8, value)).collect();
    message(5, [message(1, name), values].concat())
}

/// A node of a graph.
fn node(operator: &str, inputs: &[&str], outputs: &[&str], attributes: &[Vec<u8>]) -> Vec<u8> {
    let names = |field, names: &[&str]| names.iter().flat_map(|name| message(field, name)).collect::<Vec<u8>>();
    message(1, [names(1, inputs), names(2, outputs), message(4, operator), attributes.concat()].concat())
}

const F32: i64 = 1;
const I64: i64 = 7;

/// A constant of a graph, with these bytes.
fn constant(name: &str, data_type: i64, sizes: &[i64], bytes: &[u8]) -> Vec<u8> {
    message(5, tensor(name, data_type, sizes, bytes))
}

fn tensor(name: &str, data_type: i64, sizes: &[i64], bytes: &[u8]) -> Vec<u8> {
    let sizes: Vec<u8> = sizes.iter().flat_map(|&size| number(1, size)).collect();
    [sizes, number(2, data_type), message(8, name), message(9, bytes)].concat()
}

/// Whole numbers.
fn integers(name: &str, values: &[i64]) -> Vec<u8> {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    constant(name, I64, &[i64::try_from(values.len()).unwrap()], &bytes)
}

fn floats(name: &str, sizes: &[i64]) -> Vec<u8> {
    let count = usize::try_from(sizes.iter().product::<i64>()).unwrap();
    constant(name, F32, sizes, &[0, 0, 128, 63].repeat(count))
}

/// An input or an output.
fn port(field: u64, name: &str, sizes: &[i64]) -> Vec<u8> {
    let sizes: Vec<u8> = sizes.iter().flat_map(|&size| message(1, number(1, size))).collect();
    let r#type = message(1, [number(1, F32), message(2, sizes)].concat());
    message(field, [message(1, name), message(2, r#type)].concat())
}

/// A file with input `x` of this shape and output `y`.
fn file_of(opset: i64, sizes: &[i64], parts: &[Vec<u8>]) -> Vec<u8> {
    let graph = [parts.concat(), port(11, "x", sizes), port(12, "y", &[])].concat();
    [number(1, 8), message(7, graph), message(8, number(2, opset))].concat()
}

fn file(sizes: &[i64], parts: &[Vec<u8>]) -> Vec<u8> {
    file_of(17, sizes, parts)
}

/// Reads a file and, if that works, looks at its layers, as a planner would.
fn read(bytes: &[u8]) -> Result<usize, Error> {
    Ok(Network::from_onnx(bytes)?.layers(&[])?.len())
}

/// Asserts that a file is refused, quickly, with these words.
fn refused(bytes: &[u8], words: &str) {
    let start = Instant::now();
    let message = read(bytes).expect_err(words).to_string();
    assert!(message.contains(words), "{message:?} does not say {words:?}");
    assert!(start.elapsed() < Duration::from_secs(10), "{words}: {:?}", start.elapsed());
}

/// Asserts that a node, whose input is `x` of this shape, is refused.
fn node_refused(sizes: &[i64], parts: &[Vec<u8>], words: &str) {
    refused(&file(sizes, parts), words);
}

#[test]
fn the_files_made_here_are_right() {
    assert_eq!(read(&file(&[1, 2, 4, 4], &[node("Relu", &["x"], &["y"], &[])])).unwrap(), 1);
    let parts = [floats("w", &[3, 2, 3, 3]), node("Conv", &["x", "w"], &["y"], &[ints("pads", &[1; 4])])];
    assert_eq!(read(&file(&[1, 2, 4, 4], &parts)).unwrap(), 1);
}

#[test]
fn damaged_bytes() {
    let whole = file(&[2], &[node("Relu", &["x"], &["y"], &[])]);
    // 2^44, and 2^64 - 1, bytes that are not there.
    for length in [1 << 44, u64::MAX] {
        for field in [7, 8, 20] {
            let lying = [varint(field << 3 | 2), varint(length)].concat();
            refused(&[lying.clone(), whole.clone()].concat(), "reaches past");
            refused(&[number(1, 8), message(7, &lying)].concat(), if field == 8 { "reaches past" } else { "" });
        }
    }
    refused(&[], "no graph");
    refused(&[0x0b], "wire type 3");
    refused(&[0xff; 30], "cut off");
    let not_text = message(1, [message(1, [0xff, 0xfe]), message(2, "y"), message(4, "Relu")].concat());
    refused(&file(&[2], &[not_text]), "");
    // Numbers in one field of which the last reaches into the next field, which would then be read from its middle.
    let packed = message(7, [0x80]);
    let cut = message(5, [number(1, 1), number(2, I64), packed, message(8, "c"), message(9, "12345678")].concat());
    refused(&file(&[2], &[cut, node("Relu", &["x"], &["y"], &[])]), "cut off");
    // A number of ten bytes that all say that there is more, where a size should end.
    let endless = message(2, message(1, message(2, message(1, [&[8][..], &[0xff; 10]].concat()))));
    let input = message(11, [message(1, "z"), endless].concat());
    refused(&file(&[2], &[input, node("Relu", &["x"], &["y"], &[])]), "cut off");
    let cut = message(5, [number(1, 1), number(2, F32), message(4, [0; 3]), message(8, "c")].concat());
    refused(&file(&[2], &[cut, node("Relu", &["x"], &["y"], &[])]), "cut off");
}

#[test]
fn graphs_in_graphs() {
    let mut graph = Vec::new();
    for _ in 0..1000 {
        graph = message(1, message(5, message(6, graph)));
    }
    refused(&[message(7, graph), message(8, number(2, 17))].concat(), "nested");
    let mut sequence = Vec::new();
    for _ in 0..1000 {
        sequence = message(4, message(1, sequence));
    }
    let input = message(11, [message(1, "z"), message(2, sequence)].concat());
    refused(&file(&[2], &[input]), "nested");
    let empty_nodes = message(1, []).repeat(3 << 20);
    refused(&[message(7, empty_nodes), message(8, number(2, 17))].concat(), "messages");
}

#[test]
fn tensors_that_lie() {
    let relu = node("Relu", &["x"], &["y"], &[]);
    for (sizes, words) in [
        (&[1 << 31, 1 << 31, 1 << 31][..], "too large"),
        (&[i64::MAX], "a size is"),
        (&[-1], "a size is -1"),
        (&[3], "takes 3"),
        (&[1], "takes 1"),
        (&[1 << 30], "takes 1073741824"),
        (&[0, 1 << 31], "takes 0"),
        (&[1; 40], "40 axes"),
    ] {
        refused(&file(&[2], &[constant("c", F32, sizes, &[0; 8]), relu.clone()]), words);
    }
    refused(&file(&[2], &[constant("c", F32, &[2], &[0; 7]), relu.clone()]), "takes 2");
    refused(&file(&[2], &[constant("c", 8, &[2], &[0; 8]), relu.clone()]), "its type is");
    let external =
        message(5, [tensor("c", F32, &[2], &[]), message(13, message(1, "location")), number(14, 1)].concat());
    refused(&file(&[2], &[external, relu.clone()]), "another file");
    for sizes in [&[-1][..], &[0], &[1 << 40], &[1 << 31, 4]] {
        refused(&file(sizes, std::slice::from_ref(&relu)), "");
    }
}

#[test]
fn graphs_that_are_none() {
    let relu = |from, to| node("Relu", &[from], &[to], &[]);
    refused(&file(&[2], &[relu("y", "y")]), "no node before it");
    refused(&file(&[2], &[relu("b", "a"), relu("a", "b"), relu("b", "y")]), "no node before it");
    refused(&file(&[2], &[relu("x", "y"), relu("x", "y")]), "two of its tensors");
    refused(&file(&[2], &[relu("x", "x"), relu("x", "y")]), "two of its tensors");
    refused(&file(&[2], &[floats("y", &[2]), relu("x", "y")]), "two of its tensors");
    refused(&file(&[2], &[relu("x", "z")]), "no node makes");
    refused(&file(&[2], &[relu("x", "y"), port(12, "y", &[])]), "the output \"y\" twice");
    let without_outputs = [relu("x", "y"), port(11, "x", &[2])].concat();
    refused(&[number(1, 8), message(7, without_outputs), message(8, number(2, 17))].concat(), "no outputs");
    refused(&file(&[2], &[node("Shape", &["x"], &["y"], &[])]), "whole numbers");
    refused(&file(&[2], &[relu("q", "y")]), "no node before it");
    refused(&file(&[2], &[node("Relu", &[], &["y"], &[])]), "input 0 is missing");
    refused(&file(&[2], &[node("Add", &["x"], &["y"], &[])]), "input 1 is missing");
    refused(&file(&[2], &[node("Relu", &["x"], &["a", "y"], &[])]), "2 outputs");
}

#[test]
fn what_is_not_known() {
    let relu = node("Relu", &["x"], &["y"], &[]);
    for opset in [-1, 0, 3, 99] {
        refused(&file_of(opset, &[2], std::slice::from_ref(&relu)), "opset");
    }
    let parts = [
        node("Frobnicate", &["x"], &["a"], &[]),
        node("Flarp", &["a"], &["b"], &[]),
        node("Flarp", &["b"], &["c"], &[]),
        node("Relu", &["c"], &["y"], &[int("twist", 1)]),
    ];
    let message = read(&file(&[2], &parts)).unwrap_err().to_string();
    for words in ["operator Frobnicate (in a)", "operator Flarp (in b, c)", "Relu with attribute twist (in y)"] {
        assert!(message.contains(words), "{message:?} does not say {words:?}");
    }
}

#[test]
fn windows_that_are_too_large() {
    const HUGE: i64 = i32::MAX as i64;
    let weight = floats("w", &[1, 1, 1, 1]);
    for huge in [HUGE, u32::MAX.into(), i64::MAX, i64::MIN, -1, 0] {
        for attribute in ["pads", "strides", "dilations", "kernel_shape", "output_padding", "output_shape"] {
            let attributes = |kernel: &str, sizes: usize| {
                let mut attributes = vec![ints(attribute, &vec![huge; sizes])];
                if kernel == "pool" && attribute != "kernel_shape" {
                    attributes.push(ints("kernel_shape", &[2, 2]));
                }
                attributes
            };
            let sizes = if attribute == "pads" { 4 } else { 2 };
            for kind in ["Conv", "ConvTranspose"] {
                let conv = node(kind, &["x", "w"], &["y"], &attributes("conv", sizes));
                let _ = read(&file(&[1, 1, 4, 4], &[weight.clone(), conv]));
            }
            for kind in ["MaxPool", "AveragePool"] {
                let pool = node(kind, &["x"], &["y"], &attributes("pool", sizes));
                let _ = read(&file(&[1, 1, 4, 4], &[pool]));
            }
        }
    }
    let pads = |name: &str, pad: i64| node(name, &["x", "w"], &["y"], &[ints("pads", &[pad; 4])]);
    node_refused(&[1, 1, 4, 4], &[weight.clone(), pads("Conv", HUGE)], "padded input size");
    node_refused(&[1, 1, 4, 4], &[weight.clone(), pads("Conv", 1 << 20)], "too large");
    // Constants are computed when a network is planned.
    let parts =
        [weight.clone(), floats("k", &[1, 1, 1, 1]), node("Conv", &["k", "w"], &["a"], &[ints("pads", &[1 << 14; 4])])];
    node_refused(&[1], &[parts.concat(), node("Add", &["x", "a"], &["y"], &[])], "too large");
}

#[test]
fn constants_that_are_made_of_little() {
    let sum = node("Add", &["x", "big"], &["y"], &[]);
    let wide = integers("n", &[1 << 20, 1 << 20]);
    let one = floats("one", &[1, 1]);
    for (parts, words) in [
        ([wide.clone(), one.clone(), node("ConstantOfShape", &["n"], &["big"], &[])], "larger"),
        ([wide.clone(), one.clone(), node("Expand", &["one", "n"], &["big"], &[])], "large"),
        ([wide.clone(), one.clone(), node("Expand", &["x", "n"], &["big"], &[])], "large"),
        ([wide.clone(), one.clone(), node("Tile", &["one", "n"], &["big"], &[])], "large"),
        ([wide.clone(), one.clone(), node("Reshape", &["one", "n"], &["big"], &[])], "cannot become"),
        ([integers("n", &[1 << 24, 2]), one.clone(), node("Tile", &["one", "n"], &["big"], &[])], "large"),
        ([integers("n", &[1 << 30; 4]), one.clone(), node("Reshape", &["one", "n"], &["big"], &[])], "cannot become"),
        ([integers("n", &[1 << 40]), one.clone(), node("ConstantOfShape", &["n"], &["big"], &[])], "a size is"),
        ([integers("n", &[0, 0, 1 << 40, 1 << 40]), one.clone(), node("Pad", &["one", "n"], &["big"], &[])], ""),
        ([integers("n", &[i64::MIN; 4]), one.clone(), node("Pad", &["one", "n"], &["big"], &[])], "pad"),
    ] {
        node_refused(&[1, 1], &[parts.concat(), sum.clone()], words);
    }
    let ends = |name: &str, value: i64| constant(name, I64, &[], &value.to_le_bytes());
    for (start, limit, step, words) in [
        (0, 1 << 40, 1, "long"),
        (i64::MIN, i64::MAX, 1, "long"),
        (0, 1 << 30, 1, "larger"),
        (0, 5, 0, "step is 0"),
        (i64::MIN, i64::MAX, i64::MAX, "two types"),
        (i64::MAX, i64::MIN, i64::MIN, "two types"),
    ] {
        let parts = [ends("a", start), ends("b", limit), ends("c", step), floats("f", &[1])].concat();
        let range = node("Range", &["a", "b", "c"], &["r"], &[]);
        node_refused(&[1], &[parts, range, node("Add", &["f", "r"], &["big"], &[]), sum.clone()], words);
    }
    // Much of little, often.
    let parts: Vec<u8> =
        (0..100).flat_map(|index| node("ConstantOfShape", &["n"], &[format!("big {index}").as_str()], &[])).collect();
    node_refused(&[1], &[integers("n", &[1 << 12, 1 << 12]), parts, node("Relu", &["x"], &["y"], &[])], "too large");
}

#[test]
fn shapes_at_their_limits() {
    let many = integers("n", &vec![1; 1 << 16]);
    node_refused(&[1], &[many.clone(), node("Reshape", &["x", "n"], &["y"], &[])], "axes");
    node_refused(&[1], &[many.clone(), node("Unsqueeze", &["x", "n"], &["y"], &[])], "axes");
    node_refused(&[1], &[many.clone(), node("Expand", &["x", "n"], &["y"], &[])], "");
    node_refused(&[1], &[many, node("Tile", &["x", "n"], &["y"], &[])], "repeats");
    for operator in ["Softmax", "Concat", "Split", "Gather", "ReduceSum", "LayerNormalization"] {
        for axis in [i64::MIN, -2, 1, i64::MAX] {
            let parts = [integers("n", &[0]), node(operator, &["x", "n"], &["y"], &[int("axis", axis)])];
            let _ = read(&file(&[4], &parts));
        }
        // A number has no axes.
        let parts = [integers("n", &[0]), node(operator, &["x", "n"], &["y"], &[int("axis", 0)])];
        let _ = read(&file(&[], &parts));
    }
    let split = [integers("n", &[i64::MAX, i64::MAX, 6]), node("Split", &["x", "n"], &["y", "a", "b"], &[])];
    node_refused(&[4], &split, "must add up");
    let places = [integers("n", &[i64::MIN]), node("Gather", &["x", "n"], &["y"], &[])];
    node_refused(&[4], &places, "is past 4");
    // Of no values.
    let nothing = [integers("s", &[2]), integers("e", &[1]), node("Slice", &["x", "s", "e"], &["y"], &[])];
    node_refused(&[4], &nothing, "no values");
    let backwards = [
        constant("none", F32, &[0], &[]),
        integers("s", &[5]),
        integers("e", &[-9]),
        integers("a", &[0]),
        integers("t", &[-1]),
        node("Slice", &["none", "s", "e", "a", "t"], &["y"], &[]),
    ];
    node_refused(&[4], &backwards, "no values");
    // One part of each of very many rows.
    let joined = node("Concat", &["x", "x"], &["y"], &[int("axis", 1)]);
    node_refused(&[1 << 20, 1], &[joined], "joins");
    // Parameters of other lengths than the channels.
    for length in [1, 3, 5, 7] {
        let parts = [
            floats("s", &[length]),
            floats("b", &[length]),
            node("GroupNormalization", &["x", "s", "b"], &["y"], &[int("num_groups", 4)]),
            node("InstanceNormalization", &["x", "s", "b"], &["z"], &[]),
        ];
        node_refused(&[1, 8, 2, 2], &parts, "");
    }
}

#[test]
fn many_nodes_take_seconds() {
    let chain = |operators: &[&str], count: usize| {
        let name = |index: usize| if index == 0 { "x".to_owned() } else { format!("t{index}") };
        let nodes: Vec<u8> = (0..count)
            .flat_map(|index| {
                let to = if index + 1 == count { "y".to_owned() } else { name(index + 1) };
                node(operators[index % operators.len()], &[&name(index)], &[&to], &[])
            })
            .collect();
        file(&[1, 2, 4, 4], &[nodes])
    };
    for (operators, count, layers) in [
        (&["Identity"][..], 1_000_000, 0),
        // All become one; none can; two that undo each other go.
        (&["Relu"], 10_000, 1),
        (&["Exp"], 10_000, 10_000),
        (&["Neg", "Neg", "Exp"], 10_000, 3_334),
    ] {
        let bytes = chain(operators, count);
        let start = Instant::now();
        let read = read(&bytes).unwrap();
        assert_eq!(read, layers, "{operators:?}");
        assert!(start.elapsed() < Duration::from_secs(20), "{operators:?}: {:?}", start.elapsed());
    }
    // Nobody reads any but the first.
    let nodes: Vec<u8> = (0..10_000)
        .flat_map(|index| {
            node(
                "Exp",
                &[if index == 0 { "x".to_owned() } else { format!("t{}", index - 1) }.as_str()],
                &[format!("t{index}").as_str()],
                &[],
            )
        })
        .collect();
    let start = Instant::now();
    assert_eq!(read(&file(&[2], &[node("Relu", &["x"], &["y"], &[]), nodes])).unwrap(), 1);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    // Inputs that are constants, and inputs.
    let ports: Vec<u8> = (0..20_000).flat_map(|index| port(11, &format!("i{index}"), &[1])).collect();
    let constants: Vec<u8> = (0..20_000).flat_map(|index| floats(&format!("c{index}"), &[1])).collect();
    assert_eq!(read(&file(&[2], &[ports, constants, node("Relu", &["x"], &["y"], &[])])).unwrap(), 1);
}

/// The models of ONNX's own tests.
fn models() -> Vec<(String, Vec<u8>)> {
    let bytes = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/onnx/operators.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut models: Vec<_> = file
        .iter()
        .filter_map(|(name, view)| Some((name.strip_suffix("/model")?.to_owned(), view.data().to_vec())))
        .collect();
    models.sort();
    models
}

#[test]
fn every_model_cut_off_anywhere() {
    for (name, model) in models().iter().step_by(16) {
        for length in 0..model.len() {
            assert!(Network::from_onnx(&model[..length]).is_err(), "{name}, {length} of {} bytes", model.len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(20_000) })]

    #[test]
    fn no_bytes_make_it_panic(
        model in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::weighted(0.1, any::<prop::sample::Index>()),
    ) {
        static MODELS: std::sync::OnceLock<Vec<(String, Vec<u8>)>> = std::sync::OnceLock::new();
        let models = MODELS.get_or_init(models);
        let mut bytes = model.get(models).1.clone();
        for (index, value) in changes {
            let index = index.index(bytes.len());
            bytes[index] = value;
        }
        if let Some(length) = cut {
            bytes.truncate(length.index(bytes.len()));
        }
        compute(&bytes);
    }
}
