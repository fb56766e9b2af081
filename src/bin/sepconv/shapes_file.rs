//! Shapes files: layers as JSON.

use std::collections::BTreeMap;
use std::path::Path;

use sepconv::unstable::layer_text::{self, Argument};
use sepconv::unstable::text;
use serde_json::{Map, Value};

use crate::failure::{Failure, Outcome};
use crate::files;
use crate::shapes::{Shape, failed};

/// The layers that come with the command.
const SHAPES: &str = include_str!("../../../benches/shapes.json");

/// The layers of a shapes file, or those that come with the command.
pub fn load(path: Option<&Path>, batch: u32) -> Outcome<Vec<Shape>> {
    match path {
        None => parse(SHAPES, "the layers that come with it", batch),
        Some(path) => parse(&files::read_text(path)?, &path.display().to_string(), batch),
    }
}

/// Reads the layers of a shapes file; `name` is for messages.
pub fn parse(text: &str, name: &str, batch: u32) -> Outcome<Vec<Shape>> {
    let refused = |reason: String| Failure::Request(format!("{name}: {reason}"));
    let value: Value = serde_json::from_str(text).map_err(|error| refused(format!("not JSON: {error}")))?;
    let list = value.as_array().filter(|list| !list.is_empty());
    let list = list.ok_or_else(|| refused("it must be a JSON array of shapes".to_owned()))?;
    let mut shapes: Vec<Shape> = Vec::new();
    for (index, value) in list.iter().enumerate() {
        let refused = |reason: String| refused(format!("shape {index}: {reason}"));
        let (id, shape) = named(value).map_err(refused)?;
        if shapes.iter().any(|other| other.id == id) {
            return Err(refused(format!("id is {id:?}, which another shape has")));
        }
        let arguments = arguments(shape, batch).map_err(refused)?;
        let layer = layer_text::read(&arguments).map_err(refused)?.map_err(|error| failed(&id, error))?;
        shapes.push(Shape { id, layer });
    }
    Ok(shapes)
}

/// A shape's name, and all that it says.
fn named(value: &Value) -> Result<(String, &Map<String, Value>), String> {
    let shape = value.as_object().ok_or("it must be a JSON object")?;
    let id = value["id"].as_str().ok_or("id is missing; it must be a text")?;
    if id.chars().any(char::is_control) {
        return Err(format!("id is {id:?}; it must be without control characters"));
    }
    Ok((id.to_owned(), shape))
}

/// What a shape says of its layer, its images so often as `--batch` says.
fn arguments(shape: &Map<String, Value>, batch: u32) -> Result<BTreeMap<String, Argument>, String> {
    let argument = |(key, value): (&String, &Value)| {
        let text = match value {
            Value::Null => return None,
            Value::Array(list) => list.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            Value::String(word) => word.clone(),
            other => other.to_string(),
        };
        Some((key.clone(), Argument { text, shown: value.to_string() }))
    };
    let mut arguments: BTreeMap<_, _> = shape.iter().filter_map(argument).collect();
    let images = arguments.get("n").map_or(Ok(1), |n| text::number(&n.text));
    // A number of images that is none is for the layer to refuse.
    if let Ok(images) = images {
        let images = images.checked_mul(batch).ok_or("n times --batch is past 2^32")?;
        if images == 0 {
            return Err("n times --batch is 0; it must be at least 1".to_owned());
        }
        let text = images.to_string();
        arguments.insert("n".to_owned(), Argument { shown: text.clone(), text });
    }
    Ok(arguments)
}

#[cfg(test)]
mod tests {
    use sepconv::{
        Activation, AveragePool2d, Binary, BinaryOperation, Conv2d, MaxPool2d, Reduce, Reduction, Residual,
        SeparableConv2d,
    };

    use super::*;

    #[test]
    fn what_follows_the_sums_is_said_too() {
        let shapes = r#"[{"id": "a", "kind": "conv", "c": 2, "h": 8, "w": 8, "oc": 4, "k": 3, "p": 1, "bias": false,
                          "activation": "ReLU", "residual": true},
                         {"id": "b", "kind": "sep", "c": 2, "h": 8, "w": 8, "oc": 4, "k": 3, "p": 1, "bias": false,
                          "activation": "relu", "residual": "after-activation"},
                         {"id": "c", "kind": "conv", "c": 2, "h": 8, "w": 8, "oc": 4, "k": 3, "p": 1}]"#;
        let [a, b, c]: [Shape; 3] = parse(shapes, "the test", 1).unwrap().try_into().ok().unwrap();
        let conv = Conv2d::new(2, 4, 3).padding(1).bias(false).activation(Activation::Relu).residual(true);
        assert_eq!(a.layer, conv.geometry([1, 2, 8, 8]).unwrap().into());
        let separable = SeparableConv2d::new(2, 4, 3).padding(1).bias(false).activation(Activation::Relu);
        let separable = separable.residual(Residual::AfterActivation);
        assert_eq!(b.layer, separable.geometry([1, 2, 8, 8]).unwrap().into());
        let layer = conv.residual(Residual::AfterActivation).geometry([1, 2, 8, 8]).unwrap().into();
        let other = Shape { id: "d".to_owned(), layer };
        assert!(b.is_separable_form_of(&other) && !b.is_separable_form_of(&a) && !b.is_separable_form_of(&c));
        assert_eq!((a.parameters(), c.parameters()), (72, 76));
        assert_eq!(a.bytes(sepconv::DType::F32), 4 * (128 + 72 + 256 + 256));
        for kind in ["max_pool", "average_pool"] {
            let exact =
                format!(r#"[{{"id": "a", "kind": "{kind}", "c": 1, "h": 9, "w": 9, "k": 2, "rounding": "exact"}}]"#);
            assert!(parse(&exact, "it", 1).is_err_and(|refused| refused.to_string().contains("rounding")), "{kind}");
        }
        let pool = r#"[{"id": "a", "kind": "Max-Pool", "c": 1, "h": 9, "w": 9, "k": 2, "bias": false}]"#;
        let refused = parse(pool, "the test", 1).map(drop).unwrap_err().to_string();
        assert!(refused.contains("bias is false; a max pool has none"), "{refused}");
    }

    #[test]
    fn each_axis_may_have_its_own_sizes() {
        let shapes = r#"[{"id": "a", "kind": "conv", "c": 4, "h": 20, "w": 18, "oc": 8, "k": [1, 7], "s": [2, 1],
                          "p": [0, 3], "d": [1, 2], "g": 2},
                         {"id": "b", "kind": "sep", "c": 3, "h": 9, "w": 8, "oc": 4, "k": 3, "p": [1, 2, 0, 3], "m": 2},
                         {"id": "c", "kind": "max_pool", "c": 2, "h": 8, "w": 9, "k": [2, 3], "p": "same"},
                         {"id": "d", "kind": "average_pool", "c": 2, "h": 8, "w": 9, "k": 3, "s": 2, "p": 1}]"#;
        let [a, b, c, d]: [Shape; 4] = parse(shapes, "the test", 1).unwrap().try_into().ok().unwrap();
        let conv = Conv2d::new(4, 8, [1, 7]).stride([2, 1]).padding([0, 3]).dilation([1, 2]).groups(2);
        assert_eq!(a.layer, conv.geometry([1, 4, 20, 18]).unwrap().into());
        let separable = SeparableConv2d::new(3, 4, 3).padding([1, 2, 0, 3]).depth_multiplier(2);
        assert_eq!(b.layer, separable.geometry([1, 3, 9, 8]).unwrap().into());
        let pool = MaxPool2d::new([2, 3]).padding(sepconv::Padding::Same);
        assert_eq!(c.layer, pool.geometry([1, 2, 8, 9]).unwrap().into());
        let mean = AveragePool2d::new(3).stride(2).padding(1);
        assert_eq!(d.layer, mean.geometry([1, 2, 8, 9]).unwrap().into());
        for (key, value, reason) in [
            ("k", "[1, 2, 3]", "k is [1,2,3]: it has 3 numbers"),
            ("k", "null", "k is missing"),
            ("s", "-1", "s is -1: it must be a whole number"),
            ("d", "[1.5, 2]", "d is [1.5,2]: it must be a whole number"),
            ("p", "[1, 2, 3]", "p is [1,2,3]: it has 3 numbers"),
            ("p", "\"some\"", "p is \"some\": it must be"),
            ("m", "2", "m is 2; a conv has none"),
            ("bias", "1", "bias is 1: it must be true or false"),
            ("residual", "\"yes\"", "residual is \"yes\": it must be true, false or after-activation"),
            ("activation", "\"relu7\"", "activation is \"relu7\": it must be none"),
            ("rounding", "\"down\"", "rounding is \"down\": it must be"),
        ] {
            let text = format!(
                r#"[{{"id": "a", "kind": "conv", "c": 1, "h": 9, "w": 9, "oc": 1, "k": 1, "{key}": {value}}}]"#
            );
            let refused = parse(&text, "the test", 1).map(drop).unwrap_err().to_string();
            assert!(refused.starts_with(&format!("the test: shape 0: {reason}")), "{refused}");
        }
    }

    #[test]
    fn every_other_kind_of_layer_is_read() {
        let text = include_str!("../../../benches/other_layers.json");
        let shapes = parse(text, "the test", 2).unwrap();
        for kind in &layer_text::KINDS[2..] {
            assert!(text.contains(&format!("\"kind\": \"{}\"", kind.name)), "{}", kind.name);
        }
        let layer = |id: &str| shapes.iter().find(|shape| shape.id == id).unwrap().layer;
        let scale = Binary::new(BinaryOperation::Mul, [&[2, 16, 128, 128], &[2, 16, 1, 1]], Activation::None);
        assert_eq!(layer("selfie_squeeze_scale_16_128"), scale.unwrap().into());
        assert_eq!(layer("to_channels_last_64_56").output_shape(), [2, 56, 56, 64]);
        assert_eq!(layer("ppocr_transposed_24_128").output_shape(), [2, 24, 256, 256]);
        let reduce = Reduce::new(Reduction::Mean, [192, 1024, 1]).unwrap();
        assert_eq!(layer("selfie_global_average_96_32"), reduce.into());
        assert_eq!(layer("convnext_layer_norm_96_56").describe().terms(), 96);
    }

    #[test]
    fn what_another_kind_of_layer_cannot_be_is_refused() {
        for (shape, reason) in [
            (r#""kind": "shuffle""#, "kind is \"shuffle\": it must be \"conv\", \"sep\", "),
            (r#""kind": "reduce", "c": 2, "h": 3, "w": 4, "axes": "nh""#, "axes is \"nh\"; they must be neighbours"),
            (r#""kind": "reduce", "c": 2, "h": 3, "w": 4, "axes": "xy""#, "axes is \"xy\": it must be some of"),
            (r#""kind": "softmax", "c": 2, "h": 3, "w": 4, "axes": "cc""#, "axes is \"cc\": it must be some of"),
            (r#""kind": "layer_norm", "c": 2, "h": 3, "w": 4, "axes": "c""#, "axes is \"c\"; a layer norm goes along"),
            (
                r#""kind": "binary", "c": 2, "h": 3, "w": 4, "operation": "mod""#,
                "operation is \"mod\": it must be \"add\", ",
            ),
            (r#""kind": "resize", "c": 2, "h": 3, "w": 4"#, "size is missing"),
            (r#""kind": "resize", "c": 2, "h": 3, "w": 4, "size": 2, "mode": 1"#, "mode is 1: it must be \"linear\""),
            (
                r#""kind": "transpose", "c": 2, "h": 3, "w": 4, "order": "nhw""#,
                "order is \"nhw\": it must be the letters",
            ),
            (r#""kind": "transpose", "c": 2, "h": 3, "w": 4, "order": "nhwcc""#, "order is \"nhwcc\": it must be"),
            (r#""kind": "matmul", "rows": 2, "depth": 3"#, "columns is missing"),
            (r#""kind": "matmul", "rows": 2, "depth": 3, "columns": 4, "h": 1"#, "h is 1; a matmul has none"),
            (
                r#""kind": "conv_transpose", "c": 2, "h": 3, "w": 4, "oc": 2, "k": 2, "p": "same""#,
                "p is \"same\"; a conv transpose takes numbers",
            ),
            (r#""kind": "unary", "c": 2, "h": 3, "w": 4, "size": 1"#, "size is 1; a unary has none"),
            (
                r#""kind": "unary", "c": 2, "h": 3, "w": 4, "wide": 1"#,
                "\"wide\" is no key of a unary; its keys are id, kind",
            ),
            (
                r#""kind": "reduce", "n": 70000, "c": 70000, "h": 1, "w": 1, "axes": "hw""#,
                "the input is [70000, 70000, 1, 1], which is too large",
            ),
        ] {
            let refused = parse(&format!(r#"[{{"id": "a", {shape}}}]"#), "it", 1).map(drop).unwrap_err().to_string();
            assert!(refused.starts_with(&format!("it: shape 0: {reason}")), "{refused}");
        }
    }
}
