//! Shapes files: layers as JSON.

use std::path::Path;

use sepconv::unstable::text;
use sepconv::{
    Activation, AveragePool2d, Axis, Binary, BinaryOperation, Conv2d, ConvTranspose2d, Coordinates, Interpolation,
    Layer, MatMul, MaxPool2d, Nearest, Normalise, Padding, Rearrange, Reduce, Reduction, Resize2d, SeparableConv2d,
    Size, Softmax, Unary,
};
use serde_json::Value;

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
        let id = parse_id(value).map_err(refused)?;
        if shapes.iter().any(|other| other.id == id) {
            return Err(refused(format!("id is {id:?}, which another shape has")));
        }
        let layer = Given { value, batch }.layer().map_err(refused)?.map_err(|error| failed(&id, error))?;
        shapes.push(Shape { id, layer });
    }
    Ok(shapes)
}

fn parse_id(value: &Value) -> Result<String, String> {
    if !value.is_object() {
        return Err("it must be a JSON object".to_owned());
    }
    let id = value["id"].as_str().ok_or("id is missing; it must be a text")?;
    if id.chars().any(char::is_control) {
        return Err(format!("id is {id:?}; it must be without control characters"));
    }
    Ok(id.to_owned())
}

/// A layer, or what is wrong with its sizes; or what is wrong with a shape.
type Read = Result<sepconv::Result<Layer>, String>;

/// What a kind of layer is called, what its shapes may say besides `id` and `kind`, and how they are read.
struct Kind {
    name: &'static str,
    keys: &'static [&'static str],
    read: fn(&Given<'_>) -> Read,
}

const KINDS: [Kind; 14] = [
    Kind {
        name: "conv",
        keys: &["n", "c", "h", "w", "oc", "k", "s", "p", "d", "g", "bias", "activation", "residual", "rounding"],
        read: conv,
    },
    Kind {
        name: "sep",
        keys: &["n", "c", "h", "w", "oc", "k", "s", "p", "d", "g", "m", "bias", "activation", "residual"],
        read: sep,
    },
    Kind {
        name: "conv_transpose",
        keys: &["n", "c", "h", "w", "oc", "k", "s", "p", "d", "g", "output_padding", "bias", "activation"],
        read: conv_transpose,
    },
    Kind { name: "max_pool", keys: &["n", "c", "h", "w", "k", "s", "p", "d"], read: max_pool },
    Kind { name: "average_pool", keys: &["n", "c", "h", "w", "k", "s", "p", "d"], read: average_pool },
    Kind { name: "resize", keys: &["n", "c", "h", "w", "size", "mode", "coordinates"], read: resize },
    Kind { name: "matmul", keys: &["n", "rows", "depth", "columns", "activation"], read: matmul },
    Kind { name: "reduce", keys: &["n", "c", "h", "w", "axes", "reduction", "activation"], read: reduce },
    Kind { name: "softmax", keys: &["n", "c", "h", "w", "axes"], read: softmax },
    Kind { name: "group_norm", keys: &["n", "c", "h", "w", "g", "activation"], read: group_norm },
    Kind { name: "layer_norm", keys: &["n", "c", "h", "w", "axes", "activation"], read: layer_norm },
    Kind { name: "binary", keys: &["n", "c", "h", "w", "operation", "axes", "activation"], read: binary },
    Kind { name: "unary", keys: &["n", "c", "h", "w", "activation"], read: unary },
    Kind { name: "transpose", keys: &["n", "c", "h", "w", "order"], read: transpose },
];

/// What a shape says.
struct Given<'a> {
    value: &'a Value,
    batch: u32,
}

impl Given<'_> {
    fn layer(&self) -> Read {
        let word = self.value["kind"].as_str().map(text::word);
        let Some(kind) = KINDS.iter().find(|kind| word == Some(text::word(kind.name))) else {
            return Err(format!("kind is {}; it must be {}", self.value["kind"], one_of(KINDS.map(|kind| kind.name))));
        };
        for key in self.value.as_object().into_iter().flat_map(|object| object.keys()) {
            if ["id", "kind"].contains(&key.as_str()) || kind.keys.contains(&key.as_str()) {
                continue;
            }
            let name = kind.name.replace('_', " ");
            if KINDS.iter().any(|other| other.keys.contains(&key.as_str())) {
                return Err(format!("{key} is {}; a {name} has none", self.value[key]));
            }
            return Err(format!("{key:?} is no key of a {name}; its keys are id, kind, {}", kind.keys.join(", ")));
        }
        (kind.read)(self)
    }

    /// A whole number, or the default where there is none.
    fn number(&self, key: &str, default: Option<u32>) -> Result<u32, String> {
        match (&self.value[key], default) {
            (Value::Null, Some(default)) => Ok(default),
            (Value::Null, None) => Err(format!("{key} is missing; it must be a whole number")),
            (number, _) => number
                .as_u64()
                .and_then(|number| u32::try_from(number).ok())
                .ok_or_else(|| format!("{key} is {number}; it must be a whole number below 2^32")),
        }
    }

    fn flag(&self, key: &str, default: bool) -> Result<bool, String> {
        match &self.value[key] {
            Value::Null => Ok(default),
            flag => flag.as_bool().ok_or_else(|| format!("{key} is {flag}; it must be true or false")),
        }
    }

    /// An argument as on the command line: one number, a list of them or a word; none if it is not there.
    fn argument<T>(&self, key: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, String> {
        let argument = &self.value[key];
        let text = match argument {
            Value::Null => return Ok(None),
            Value::Array(list) => list.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            Value::String(word) => word.clone(),
            other => other.to_string(),
        };
        read(&text).map(Some).map_err(|reason| format!("{key} is {argument}: {reason}"))
    }

    /// One of some words, or the first of them where there is none.
    fn word<T: Copy, const N: usize>(&self, key: &str, words: [(&str, T); N]) -> Result<T, String> {
        let read = |given: &str| {
            let found = words.iter().find(|(word, _)| text::word(word) == text::word(given));
            found
                .map(|(_, meaning)| *meaning)
                .ok_or_else(|| format!("it must be {}", one_of(words.map(|(word, _)| word))))
        };
        Ok(self.argument(key, read)?.unwrap_or(words[0].1))
    }

    /// How many images: `n`, so often as `--batch` says.
    fn images(&self) -> Result<u32, String> {
        let images = self.number("n", Some(1))?.checked_mul(self.batch).ok_or("n times --batch is past 2^32")?;
        if images == 0 {
            return Err("n times --batch is 0; it must be at least 1".to_owned());
        }
        Ok(images)
    }

    /// `[batch, channels, height, width]`
    fn input(&self) -> Result<[u32; 4], String> {
        Ok([self.images()?, self.number("c", None)?, self.number("h", None)?, self.number("w", None)?])
    }

    fn kernel_size(&self) -> Result<Size, String> {
        self.argument("k", text::size)?
            .ok_or_else(|| "k is missing; it must be one number or [height, width]".to_owned())
    }

    /// A height and a width, which are both `default` where they are not given.
    fn size(&self, key: &str, default: impl Into<Size>) -> Result<Size, String> {
        Ok(self.argument(key, text::size)?.unwrap_or(default.into()))
    }

    fn padding(&self) -> Result<Padding, String> {
        Ok(self.argument("p", text::padding)?.unwrap_or(0.into()))
    }

    fn activation(&self) -> Result<Activation, String> {
        Ok(self.argument("activation", text::activation)?.unwrap_or_default())
    }

    /// Some of the axes n, c, h and w: whether it is each.
    fn axes(&self, default: &str) -> Result<[bool; 4], String> {
        let read = |letters: &str| {
            let axes = AXES.map(|axis| letters.contains(axis));
            let count = axes.iter().filter(|&&is_one| is_one).count();
            if count == 0 || count != letters.chars().count() {
                return Err("it must be some of the letters of \"nchw\", each once".to_owned());
            }
            Ok(axes)
        };
        self.argument("axes", read)?.map_or_else(|| read(default), Ok)
    }

    /// Sizes before some neighbouring axes, along them and behind them.
    fn around(&self, default: &str) -> Result<[u32; 3], String> {
        let (input, axes) = (self.input()?, self.axes(default)?);
        let first = axes.iter().position(|&is_one| is_one).unwrap_or(0);
        let length = axes[first..].iter().take_while(|&&is_one| is_one).count();
        if axes[first + length..].contains(&true) {
            return Err(format!("axes is {}; they must be neighbours", self.value["axes"]));
        }
        let product = |sizes: &[u32]| {
            let count: Option<u32> = sizes.iter().try_fold(1_u32, |product, &size| product.checked_mul(size));
            count.ok_or_else(|| format!("the input is {input:?}, which is too large"))
        };
        Ok([product(&input[..first])?, product(&input[first..first + length])?, product(&input[first + length..])?])
    }
}

/// The letters of a tensor's axes.
const AXES: [char; 4] = ['n', 'c', 'h', 'w'];

fn one_of<const N: usize>(words: [&str; N]) -> String {
    let (last, others) = words.split_last().expect("there are some");
    format!("{} or \"{last}\"", others.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", "))
}

fn conv(given: &Given<'_>) -> Read {
    let input = given.input()?;
    let layer =
        Conv2d::new(input[1], given.number("oc", None)?, given.kernel_size()?).groups(given.number("g", Some(1))?);
    let layer = layer.stride(given.size("s", 1)?).padding(given.padding()?).dilation(given.size("d", 1)?);
    let layer = layer.bias(given.flag("bias", true)?).activation(given.activation()?);
    let layer = layer.residual(given.flag("residual", false)?);
    let rounding = given.argument("rounding", text::rounding)?.unwrap_or_default();
    Ok(layer.rounding(rounding).geometry(input).map(Layer::from))
}

fn sep(given: &Given<'_>) -> Read {
    let groups = given.number("g", Some(1))?;
    if groups != 1 {
        return Err(format!("g is {groups}; a separable layer has 1"));
    }
    let input = given.input()?;
    let layer = SeparableConv2d::new(input[1], given.number("oc", None)?, given.kernel_size()?);
    let layer = layer.depth_multiplier(given.number("m", Some(1))?).stride(given.size("s", 1)?);
    let layer = layer.padding(given.padding()?).dilation(given.size("d", 1)?);
    let layer = layer.bias(given.flag("bias", true)?).activation(given.activation()?);
    Ok(layer.residual(given.flag("residual", false)?).geometry(input).map(Layer::from))
}

fn conv_transpose(given: &Given<'_>) -> Read {
    let (stride, dilation) = (given.size("s", 1)?, given.size("d", 1)?);
    let output_padding = given.size("output_padding", 0)?;
    let Padding::Explicit(padding) = given.padding()? else {
        return Err(format!("p is {}; a conv transpose takes numbers", given.value["p"]));
    };
    let (groups, bias, activation) = (given.number("g", Some(1))?, given.flag("bias", true)?, given.activation()?);
    let layer = ConvTranspose2d::new(given.input()?, given.number("oc", None)?, given.kernel_size()?);
    let layer = layer.and_then(|layer| {
        layer.with(output_padding, |layer| {
            (layer.stride, layer.padding, layer.dilation) = (stride, padding, dilation);
            (layer.groups, layer.bias, layer.activation) = (groups, bias, activation);
        })
    });
    Ok(layer.map(Layer::from))
}

fn max_pool(given: &Given<'_>) -> Read {
    let kernel = given.kernel_size()?;
    let layer = MaxPool2d::new(kernel).stride(given.size("s", kernel)?);
    let layer = layer.padding(given.padding()?).dilation(given.size("d", 1)?);
    Ok(layer.geometry(given.input()?).map(Layer::from))
}

fn average_pool(given: &Given<'_>) -> Read {
    let kernel = given.kernel_size()?;
    let layer = AveragePool2d::new(kernel).stride(given.size("s", kernel)?);
    let layer = layer.padding(given.padding()?).dilation(given.size("d", 1)?);
    Ok(layer.geometry(given.input()?).map(Layer::from))
}

fn resize(given: &Given<'_>) -> Read {
    let [images, channels, height, width] = given.input()?;
    let output = given.argument("size", text::size)?.ok_or("size is missing; it must be [height, width]")?;
    let planes = images.checked_mul(channels).ok_or("n times c is past 2^32")?;
    let cubic = Interpolation::Cubic { coefficient: -0.75, exclude_outside: false };
    let interpolation = given.word(
        "mode",
        [
            ("linear", Interpolation::Linear),
            ("nearest", Interpolation::Nearest(Nearest::RoundPreferFloor)),
            ("cubic", cubic),
        ],
    )?;
    let coordinates = given.word(
        "coordinates",
        [
            ("half_pixel", Coordinates::HalfPixel),
            ("pytorch_half_pixel", Coordinates::PytorchHalfPixel),
            ("align_corners", Coordinates::AlignCorners),
            ("asymmetric", Coordinates::Asymmetric),
        ],
    )?;
    Ok(Resize2d::new(planes, [height, width].into(), output, coordinates, interpolation).map(Layer::from))
}

fn matmul(given: &Given<'_>) -> Read {
    let (images, activation) = (given.images()?, given.activation()?);
    let sizes = [given.number("rows", None)?, given.number("depth", None)?, given.number("columns", None)?];
    Ok(MatMul::new(sizes).map(|mut layer| {
        (layer.batch, layer.activation) = ([1, images], activation);
        Layer::from(layer)
    }))
}

fn reduce(given: &Given<'_>) -> Read {
    let reduction = given.word(
        "reduction",
        [
            ("mean", Reduction::Mean),
            ("sum", Reduction::Sum),
            ("max", Reduction::Max),
            ("min", Reduction::Min),
            ("product", Reduction::Product),
            ("sum_of_squares", Reduction::SumOfSquares),
            ("sum_of_absolutes", Reduction::SumOfAbsolutes),
        ],
    )?;
    let (sizes, activation) = (given.around("hw")?, given.activation()?);
    Ok(Reduce::new(reduction, sizes).map(|mut layer| {
        layer.activation = activation;
        Layer::from(layer)
    }))
}

fn softmax(given: &Given<'_>) -> Read {
    Ok(Softmax::new(given.around("c")?, false).map(Layer::from))
}

/// What a norm divides by is kept from 0 by this, as in PyTorch.
const EPSILON: f32 = 1e-5;

fn normalised(layer: sepconv::Result<Normalise>, activation: Activation) -> sepconv::Result<Layer> {
    layer.map(|mut layer| {
        layer.activation = activation;
        Layer::from(layer)
    })
}

fn group_norm(given: &Given<'_>) -> Read {
    let (input, activation) = (given.input()?, given.activation()?);
    // As many groups as channels are an instance norm.
    let groups = given.number("g", Some(input[1]))?;
    Ok(normalised(Normalise::group(input, groups, EPSILON), activation))
}

fn layer_norm(given: &Given<'_>) -> Read {
    let ([rows, length, behind], activation) = (given.around("chw")?, given.activation()?);
    if behind != 1 {
        return Err(format!("axes is {}; a layer norm goes along the last ones", given.value["axes"]));
    }
    Ok(normalised(Normalise::layer(rows, length, EPSILON), activation))
}

fn binary(given: &Given<'_>) -> Read {
    let operation = given.word(
        "operation",
        [
            ("add", BinaryOperation::Add),
            ("sub", BinaryOperation::Sub),
            ("mul", BinaryOperation::Mul),
            ("div", BinaryOperation::Div),
            ("pow", BinaryOperation::Pow),
            ("min", BinaryOperation::Min),
            ("max", BinaryOperation::Max),
            ("prelu", BinaryOperation::PRelu),
        ],
    )?;
    let (input, axes) = (given.input()?, given.axes("nchw")?);
    let mut other = input;
    for (size, varies) in other.iter_mut().zip(axes) {
        *size = if varies { *size } else { 1 };
    }
    Ok(Binary::new(operation, [&input, &other], given.activation()?).map(Layer::from))
}

fn unary(given: &Given<'_>) -> Read {
    Ok(Unary::new(given.input()?, given.activation()?).map(Layer::from))
}

fn transpose(given: &Given<'_>) -> Read {
    let input = given.input()?;
    let read = |letters: &str| {
        let places: Vec<usize> =
            letters.chars().filter_map(|letter| AXES.iter().position(|axis| *axis == letter)).collect();
        let is_order = letters.chars().count() == AXES.len() && (0..AXES.len()).all(|axis| places.contains(&axis));
        if is_order { Ok(places) } else { Err("it must be the letters of \"nchw\" in another order".to_owned()) }
    };
    let order = given.argument("order", read)?.ok_or("order is missing; it must be a text such as \"nhwc\"")?;
    let count = |sizes: &[u32]| sizes.iter().try_fold(1_u32, |product, &size| product.checked_mul(size));
    let length = count(&input).ok_or_else(|| format!("the input is {input:?}, which is too large"))?;
    let axis = |&at: &usize| Axis::new(input[at], input[at + 1..].iter().product());
    Ok(Rearrange::new(length, &order.iter().map(axis).collect::<Vec<_>>()).map(Layer::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_the_sums_is_said_too() {
        let shapes = r#"[{"id": "a", "kind": "conv", "c": 2, "h": 8, "w": 8, "oc": 4, "k": 3, "p": 1, "bias": false,
                          "activation": "ReLU", "residual": true},
                         {"id": "b", "kind": "sep", "c": 2, "h": 8, "w": 8, "oc": 4, "k": 3, "p": 1, "bias": false,
                          "activation": "relu", "residual": true},
                         {"id": "c", "kind": "conv", "c": 2, "h": 8, "w": 8, "oc": 4, "k": 3, "p": 1}]"#;
        let [a, b, c]: [Shape; 3] = parse(shapes, "the test", 1).unwrap().try_into().ok().unwrap();
        let conv = Conv2d::new(2, 4, 3).padding(1).bias(false).activation(Activation::Relu).residual(true);
        assert_eq!(a.layer, conv.geometry([1, 2, 8, 8]).unwrap().into());
        let separable = SeparableConv2d::new(2, 4, 3).padding(1).bias(false).activation(Activation::Relu);
        assert_eq!(b.layer, separable.residual(true).geometry([1, 2, 8, 8]).unwrap().into());
        assert!(b.is_separable_form_of(&a) && !b.is_separable_form_of(&c));
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
            ("bias", "1", "bias is 1; it must be true or false"),
            ("residual", "\"yes\"", "residual is \"yes\"; it must be true or false"),
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
        for kind in &KINDS[2..] {
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
            (r#""kind": "shuffle""#, "kind is \"shuffle\"; it must be \"conv\", \"sep\", "),
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
