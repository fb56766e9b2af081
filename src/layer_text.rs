//! Layers as text: a kind and its arguments by name, as the command's shapes files and JavaScript's objects have them.

use std::collections::BTreeMap;

use crate::activation::Activation;
use crate::conv::Conv2d;
use crate::error::Result as LayerResult;
use crate::layer::Layer;
use crate::layers::binary::{Binary, BinaryOperation};
use crate::layers::matmul::MatMul;
use crate::layers::normalise::Normalise;
use crate::layers::perceptron::Perceptron;
use crate::layers::rearrange::{Axis, Rearrange};
use crate::layers::reduce::{Reduce, Reduction};
use crate::layers::resize::{Coordinates, Interpolation, Nearest, Resize2d};
use crate::layers::softmax::Softmax;
use crate::layers::transposed::ConvTranspose2d;
use crate::layers::unary::Unary;
use crate::pool::{AveragePool2d, MaxPool2d};
use crate::residual::Residual;
use crate::separable::SeparableConv2d;
use crate::size::{Padding, Size};
use crate::text;

/// A layer, or what is wrong with its sizes; or what is wrong with an argument.
pub type Read = Result<LayerResult<Layer>, String>;

/// What an argument is, as text.
#[derive(Debug, Clone)]
pub struct Argument {
    /// What is read, as on the command line: a list is its items with commas between them.
    pub text: String,
    /// What messages show.
    pub shown: String,
}

/// Reads a layer from its `kind` and the arguments that this kind has; an `id` among them is the caller's.
///
/// # Errors
/// Which argument is wrong, what it is and what it may be.
pub fn read(arguments: &BTreeMap<String, Argument>) -> Read {
    Given { arguments }.layer()
}

/// What a kind of layer is called, which arguments it has, and how they are read.
pub struct Kind {
    /// Its name.
    pub name: &'static str,
    keys: &'static [&'static str],
    read: fn(&Given<'_>) -> Read,
}

/// Every kind of layer.
pub const KINDS: [Kind; 15] = [
    Kind {
        name: "conv",
        keys: &[
            "n",
            "c",
            "h",
            "w",
            "oc",
            "k",
            "s",
            "p",
            "d",
            "g",
            "bias",
            "activation",
            "residual",
            "input_scale",
            "rounding",
        ],
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
    Kind { name: "resize", keys: &["n", "c", "h", "w", "size", "mode", "coordinates", "residual"], read: resize },
    Kind { name: "matmul", keys: &["n", "rows", "depth", "columns", "activation"], read: matmul },
    Kind {
        name: "perceptron",
        keys: &["n", "c", "hidden", "oc", "bias", "hidden_activation", "activation"],
        read: perceptron,
    },
    Kind { name: "reduce", keys: &["n", "c", "h", "w", "axes", "reduction", "activation"], read: reduce },
    Kind { name: "softmax", keys: &["n", "c", "h", "w", "axes"], read: softmax },
    Kind { name: "group_norm", keys: &["n", "c", "h", "w", "g", "activation"], read: group_norm },
    Kind { name: "layer_norm", keys: &["n", "c", "h", "w", "axes", "activation"], read: layer_norm },
    Kind { name: "binary", keys: &["n", "c", "h", "w", "operation", "axes", "activation", "residual"], read: binary },
    Kind { name: "unary", keys: &["n", "c", "h", "w", "activation"], read: unary },
    Kind { name: "transpose", keys: &["n", "c", "h", "w", "order"], read: transpose },
];

/// What is said of a layer.
struct Given<'a> {
    arguments: &'a BTreeMap<String, Argument>,
}

impl Given<'_> {
    fn layer(&self) -> Read {
        let is_called = |given: &str| KINDS.iter().find(|kind| text::word(kind.name) == text::word(given));
        let must_be = || format!("it must be {}", one_of(KINDS.map(|kind| kind.name)));
        let kind = self.argument("kind", |given| is_called(given).ok_or_else(must_be))?;
        let kind = kind.ok_or_else(|| format!("kind is missing; {}", must_be()))?;
        for (key, Argument { shown, .. }) in self.arguments {
            if ["id", "kind"].contains(&key.as_str()) || kind.keys.contains(&key.as_str()) {
                continue;
            }
            let name = kind.name.replace('_', " ");
            if KINDS.iter().any(|other| other.keys.contains(&key.as_str())) {
                return Err(format!("{key} is {shown}; a {name} has none"));
            }
            return Err(format!("{key:?} is no key of a {name}; its keys are id, kind, {}", kind.keys.join(", ")));
        }
        (kind.read)(self)
    }

    /// An argument that is read in this way; none if it is not there.
    fn argument<T>(&self, key: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, String> {
        let Some(Argument { text, shown }) = self.arguments.get(key) else { return Ok(None) };
        read(text).map(Some).map_err(|reason| format!("{key} is {shown}: {reason}"))
    }

    /// What an argument is in messages.
    fn shown(&self, key: &str) -> &str {
        self.arguments.get(key).map_or("missing", |argument| &argument.shown)
    }

    /// A whole number, or the default where there is none.
    fn number(&self, key: &str, default: Option<u32>) -> Result<u32, String> {
        let number = self.argument(key, text::number)?.or(default);
        number.ok_or_else(|| format!("{key} is missing; it must be a whole number"))
    }

    fn flag(&self, key: &str, default: bool) -> Result<bool, String> {
        Ok(self.argument(key, text::flag)?.unwrap_or(default))
    }

    fn residual(&self) -> Result<Residual, String> {
        Ok(self.argument("residual", text::residual)?.unwrap_or_default())
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

    /// How many images.
    fn images(&self) -> Result<u32, String> {
        self.number("n", Some(1))
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
            return Err(format!("axes is {}; they must be neighbours", self.shown("axes")));
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
    let layer = layer.residual(given.residual()?).input_scale(given.flag("input_scale", false)?);
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
    Ok(layer.residual(given.residual()?).geometry(input).map(Layer::from))
}

fn conv_transpose(given: &Given<'_>) -> Read {
    let (stride, dilation) = (given.size("s", 1)?, given.size("d", 1)?);
    let output_padding = given.size("output_padding", 0)?;
    let Padding::Explicit(padding) = given.padding()? else {
        return Err(format!("p is {}; a conv transpose takes numbers", given.shown("p")));
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
    let residual = given.flag("residual", false)?;
    let layer = Resize2d::new(planes, [height, width].into(), output, coordinates, interpolation);
    Ok(layer.map(|layer| layer.residual(residual).into()))
}

fn matmul(given: &Given<'_>) -> Read {
    let (images, activation) = (given.images()?, given.activation()?);
    let sizes = [given.number("rows", None)?, given.number("depth", None)?, given.number("columns", None)?];
    Ok(MatMul::new(sizes).map(|mut layer| {
        (layer.batch, layer.activation) = ([1, images], activation);
        Layer::from(layer)
    }))
}

fn perceptron(given: &Given<'_>) -> Read {
    let sizes = [given.number("c", None)?, given.number("hidden", None)?, given.number("oc", None)?];
    let (images, bias, activation) = (given.images()?, given.flag("bias", true)?, given.activation()?);
    let hidden_activation = given.argument("hidden_activation", text::activation)?.unwrap_or_default();
    Ok(Perceptron::new(images, sizes).map(|mut layer| {
        (layer.hidden_bias, layer.bias) = (bias, bias);
        (layer.hidden_activation, layer.activation) = (hidden_activation, activation);
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

fn normalised(layer: LayerResult<Normalise>, activation: Activation) -> LayerResult<Layer> {
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
        return Err(format!("axes is {}; a layer norm goes along the last ones", given.shown("axes")));
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
    let residual = given.flag("residual", false)?;
    Ok(Binary::new(operation, [&input, &other], given.activation()?).map(|layer| layer.residual(residual).into()))
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
