//! From an ONNX operator and its attributes to an [`Operation`].

use super::attributes::Attributes;
use super::tensor;
use crate::activation::Activation;
use crate::layers::binary::BinaryOperation;
use crate::layers::reduce::Reduction;
use crate::layers::resize::{Coordinates, Interpolation, Nearest};
use crate::network::graph::{Constant, Data};
use crate::network::operation::Operation;
use crate::size::{Padding, PaddingMode, Sides, Size};

/// An operation and its inputs, or everything that is missing.
type Read = Result<(Operation, Vec<Option<usize>>), Vec<String>>;

/// Reads an operator. `add` adds a constant, for what newer files give as an input and older ones as an attribute.
#[expect(clippy::too_many_lines, reason = "one arm for each operator")]
#[expect(clippy::float_cmp, reason = "the factor is 1 or the operator is another one")]
pub(super) fn read(
    kind: &str,
    attributes: &mut Attributes<'_>,
    opset: i64,
    add: &mut dyn FnMut(Constant) -> usize,
    mut inputs: Vec<Option<usize>>,
) -> Read {
    let a = &*attributes;
    let lacks = |what: &str| Err(vec![format!("{kind} with {what}")]);
    let whole =
        |values: &[i64]| Constant::integers(&[u32::try_from(values.len()).unwrap_or(u32::MAX)], values.to_vec());
    let operation = match kind {
        "Conv" => {
            a.ignore(&["kernel_shape"]);
            let window = Window::read(a).map_err(|what| vec![format!("{kind} with {what}")])?;
            let groups = group(a).map_err(|what| vec![format!("{kind} with {what}")])?;
            Operation::Conv2d { stride: window.stride, padding: window.padding, dilation: window.dilation, groups }
        }
        "ConvTranspose" => {
            a.ignore(&["kernel_shape"]);
            let window = Window::read(a).map_err(|what| vec![format!("{kind} with {what}")])?;
            let groups = group(a).map_err(|what| vec![format!("{kind} with {what}")])?;
            let pair = |name| a.ints(name).map(|values| pair(values, 0)).transpose();
            let output_padding = pair("output_padding").map_err(|what| vec![format!("{kind} with {what}")])?;
            let output_size = pair("output_shape").map_err(|what| vec![format!("{kind} with {what}")])?;
            Operation::ConvTranspose2d {
                stride: window.stride,
                padding: window.padding,
                output_padding: output_padding.unwrap_or(Size { height: 0, width: 0 }),
                output_size,
                dilation: window.dilation,
                groups,
            }
        }
        "MaxPool" | "AveragePool" => {
            if a.outputs() > 1 {
                return lacks("an output of indices");
            }
            if a.int("storage_order", 0) != 0 {
                return lacks("storage_order other than 0");
            }
            let window = Window::read(a).map_err(|what| vec![format!("{kind} with {what}")])?;
            let Some(kernel) = a.ints("kernel_shape") else { return lacks("no kernel_shape") };
            let kernel_size = pair(kernel, 1).map_err(|what| vec![format!("{kind} with {what}")])?;
            let average = (kind == "AveragePool").then(|| a.int("count_include_pad", 0) != 0);
            Operation::Pool2d {
                kernel_size,
                stride: window.stride,
                padding: window.padding,
                dilation: window.dilation,
                ceil_mode: a.int("ceil_mode", 0) != 0,
                average,
            }
        }
        "GlobalAveragePool" => Operation::GlobalPool(Reduction::Mean),
        "GlobalMaxPool" => Operation::GlobalPool(Reduction::Max),
        "Relu" => Operation::Function(Activation::Relu),
        "LeakyRelu" => Operation::Function(Activation::LeakyRelu(a.float("alpha", 0.01))),
        "Sigmoid" => Operation::Function(Activation::Sigmoid),
        "HardSigmoid" => Operation::Function(Activation::HardSigmoid(a.float("alpha", 0.2), a.float("beta", 0.5))),
        "HardSwish" => Operation::Function(Activation::HardSwish),
        "Tanh" => Operation::Function(Activation::Tanh),
        "Elu" => Operation::Function(Activation::Elu(a.float("alpha", 1.0))),
        "Gelu" => match a.text("approximate", "none") {
            "none" => Operation::Function(Activation::Gelu),
            "tanh" => Operation::Function(Activation::GeluTanh),
            other => return lacks(&format!("approximate {other:?}")),
        },
        "Softplus" => Operation::Function(Activation::Softplus),
        "Mish" => Operation::Function(Activation::Mish),
        "Swish" if a.float("alpha", 1.0) == 1.0 => Operation::Function(Activation::Silu),
        "Erf" => Operation::Function(Activation::Erf),
        "Exp" => Operation::Function(Activation::Exp),
        "Log" => Operation::Function(Activation::Log),
        "Sqrt" => Operation::Function(Activation::Sqrt),
        "Abs" => Operation::Function(Activation::Abs),
        "Neg" => Operation::Function(Activation::Linear(-1.0, 0.0)),
        "Reciprocal" => Operation::Function(Activation::Reciprocal),
        "Floor" => Operation::Function(Activation::Floor),
        "Ceil" => Operation::Function(Activation::Ceil),
        "Clip" => {
            if opset < 11 {
                let limit = |value: f32| Constant::floats(&[], vec![value]);
                let (low, high) = (a.float("min", f32::NEG_INFINITY), a.float("max", f32::INFINITY));
                inputs.truncate(1);
                inputs.extend([Some(add(limit(low))), Some(add(limit(high)))]);
            }
            Operation::Clip
        }
        "Add" => Operation::Binary(BinaryOperation::Add),
        "Sub" => Operation::Binary(BinaryOperation::Sub),
        "Mul" => Operation::Binary(BinaryOperation::Mul),
        "Div" => Operation::Binary(BinaryOperation::Div),
        "Pow" => Operation::Binary(BinaryOperation::Pow),
        "PRelu" => Operation::Binary(BinaryOperation::PRelu),
        "Sum" => Operation::Many(BinaryOperation::Add),
        "Min" => Operation::Many(BinaryOperation::Min),
        "Max" => Operation::Many(BinaryOperation::Max),
        "MatMul" => Operation::MatMul,
        "Gemm" => Operation::Gemm {
            alpha: a.float("alpha", 1.0),
            beta: a.float("beta", 1.0),
            transposed: [a.int("transA", 0) != 0, a.int("transB", 0) != 0],
        },
        "BatchNormalization" => {
            a.ignore(&["momentum"]);
            if a.int("training_mode", 0) != 0 {
                return lacks("training_mode");
            }
            if a.int("spatial", 1) != 1 {
                return lacks("spatial 0");
            }
            Operation::BatchNorm { epsilon: a.float("epsilon", 1e-5) }
        }
        "InstanceNormalization" => Operation::InstanceNorm { epsilon: a.float("epsilon", 1e-5) },
        "LayerNormalization" => {
            a.ignore(&["stash_type"]);
            if a.outputs() > 1 {
                return lacks("more than one output");
            }
            Operation::LayerNorm { axis: a.int("axis", -1), epsilon: a.float("epsilon", 1e-5) }
        }
        "GroupNormalization" => {
            a.ignore(&["stash_type"]);
            let groups = u32::try_from(a.int("num_groups", 0)).unwrap_or(0);
            Operation::GroupNorm { groups, epsilon: a.float("epsilon", 1e-5) }
        }
        "Softmax" | "LogSoftmax" => Operation::Softmax {
            axis: a.int("axis", if opset < 13 { 1 } else { -1 }),
            is_flat: opset < 13,
            is_log: kind == "LogSoftmax",
        },
        "ReduceMean" | "ReduceSum" | "ReduceMax" | "ReduceMin" | "ReduceProd" | "ReduceL1" | "ReduceL2"
        | "ReduceSumSquare" | "ReduceLogSum" => {
            let (reduction, activation) = match kind {
                "ReduceMean" => (Reduction::Mean, Activation::None),
                "ReduceMax" => (Reduction::Max, Activation::None),
                "ReduceMin" => (Reduction::Min, Activation::None),
                "ReduceProd" => (Reduction::Product, Activation::None),
                "ReduceL1" => (Reduction::SumOfAbsolutes, Activation::None),
                "ReduceL2" => (Reduction::SumOfSquares, Activation::Sqrt),
                "ReduceSumSquare" => (Reduction::SumOfSquares, Activation::None),
                "ReduceLogSum" => (Reduction::Sum, Activation::Log),
                _ => (Reduction::Sum, Activation::None),
            };
            Operation::Reduce {
                reduction,
                axes: a.ints("axes").unwrap_or_default().to_vec(),
                keep_axes: a.int("keepdims", 1) != 0,
                none_is_none: a.int("noop_with_empty_axes", 0) != 0,
                activation,
            }
        }
        "Concat" => match a.optional_int("axis") {
            Some(axis) => Operation::Concat { axis },
            None => return lacks("no axis"),
        },
        "Split" => {
            a.ignore(&["num_outputs"]);
            Operation::Split { axis: a.int("axis", 0), sizes: a.ints("split").unwrap_or_default().to_vec() }
        }
        "Slice" => {
            if opset < 10 {
                let lists = ["starts", "ends", "axes"].map(|name| a.ints(name).map(whole));
                inputs.truncate(1);
                inputs.extend(lists.map(|list| list.map(&mut *add)));
            }
            Operation::Slice
        }
        "Pad" => {
            if opset < 11 {
                let pads = whole(a.ints("pads").unwrap_or_default());
                let value = Constant::floats(&[], vec![a.float("value", 0.0)]);
                inputs.truncate(1);
                inputs.extend([Some(add(pads)), Some(add(value))]);
            }
            Operation::Pad(match a.text("mode", "constant") {
                "constant" => PaddingMode::Zeros,
                "reflect" => PaddingMode::Reflect,
                "edge" => PaddingMode::Replicate,
                "wrap" => PaddingMode::Circular,
                other => return lacks(&format!("mode {other:?}")),
            })
        }
        "Reshape" => Operation::Reshape { zero_is_zero: a.int("allowzero", 0) != 0 },
        "Transpose" => {
            let order = a.ints("perm").unwrap_or_default();
            let order = order.iter().map(|&axis| u32::try_from(axis)).collect::<Result<_, _>>();
            Operation::Transpose { order: order.map_err(|_| vec![format!("{kind} with a perm below 0")])? }
        }
        "Flatten" => Operation::Flatten { axis: a.int("axis", 1) },
        "Squeeze" => Operation::Squeeze { axes: a.ints("axes").unwrap_or_default().to_vec() },
        "Unsqueeze" => Operation::Unsqueeze { axes: a.ints("axes").unwrap_or_default().to_vec() },
        "Expand" => Operation::Expand,
        "Tile" => Operation::Tile,
        "DepthToSpace" | "SpaceToDepth" => {
            let block = u32::try_from(a.int("blocksize", 0)).unwrap_or(0);
            let is_column_row = match a.text("mode", "DCR") {
                "DCR" => false,
                "CRD" => true,
                other => return lacks(&format!("mode {other:?}")),
            };
            if kind == "DepthToSpace" {
                Operation::DepthToSpace { block, is_column_row }
            } else {
                Operation::SpaceToDepth { block, is_column_row }
            }
        }
        "Resize" | "Upsample" => {
            if opset < 9 {
                let scales = a.floats("scales").unwrap_or_default();
                let shape = [u32::try_from(scales.len()).unwrap_or(u32::MAX)];
                inputs.truncate(1);
                inputs.push(Some(add(Constant::floats(&shape, scales.to_vec()))));
            }
            // Before opset 11: input, scales.
            if opset < 11 {
                inputs.insert(1.min(inputs.len()), None);
            }
            resize(kind, a, opset)?
        }
        "Gather" => Operation::Gather { axis: a.int("axis", 0) },
        "Identity" | "Dropout" => {
            a.ignore(&["ratio", "seed"]);
            if a.outputs() > 1 {
                return lacks("more than one output");
            }
            inputs.truncate(1);
            Operation::Identity
        }
        "Shape" => Operation::Shape { start: a.int("start", 0), end: a.optional_int("end") },
        "Cast" => {
            a.ignore(&["saturate", "round_mode"]);
            // f32, f16, f64, bf16; or one of the whole numbers.
            match a.int("to", 0) {
                1 | 10 | 11 | 16 => Operation::Cast { to_integers: false },
                2..=7 | 9 | 12 | 13 => Operation::Cast { to_integers: true },
                other => return lacks(&format!("type {other}")),
            }
        }
        "Constant" => {
            inputs = vec![Some(add(constant(a).map_err(|what| vec![format!("{kind} with {what}")])?))];
            Operation::Identity
        }
        "ConstantOfShape" => {
            let value = a.tensor("value").map(tensor::constant).transpose();
            let value = value.map_err(|what| vec![format!("{kind}: {what}")])?;
            let (value, is_integer) = match value.as_ref().map(|constant| &constant.data) {
                Some(Data::F32(values)) => (values.first().copied().unwrap_or(0.0).into(), false),
                Some(Data::I64(values)) => (values.first().copied().unwrap_or(0) as f64, true),
                None => (0.0, false),
            };
            Operation::ConstantOfShape { value, is_integer }
        }
        "Range" => {
            a.ignore(&["stash_type"]);
            Operation::Range
        }
        "Where" => Operation::Where,
        "Equal" => Operation::Equal,
        _ => return Err(vec![format!("operator {kind}")]),
    };
    Ok((operation, inputs))
}

/// How a window moves.
struct Window {
    stride: Size,
    padding: Padding,
    dilation: Size,
}

impl Window {
    fn read(a: &Attributes<'_>) -> Result<Self, String> {
        let stride = a.ints("strides").map_or(Ok(Size::from(1)), |values| pair(values, 1))?;
        let dilation = a.ints("dilations").map_or(Ok(Size::from(1)), |values| pair(values, 1))?;
        let pads = a.ints("pads");
        let padding = match a.text("auto_pad", "NOTSET") {
            "SAME_UPPER" => Padding::Same,
            "SAME_LOWER" => Padding::SameLower,
            "VALID" => Padding::Valid,
            "NOTSET" | "" => Padding::Explicit(pads.map_or(Ok(sides([0; 4])), |values| {
                let values = values.iter().map(|&value| size("pads", value)).collect::<Result<Vec<_>, _>>()?;
                match values[..] {
                    [top, left, bottom, right] => Ok(sides([top, left, bottom, right])),
                    [left, right] => Ok(sides([0, left, 0, right])),
                    [] => Ok(sides([0; 4])),
                    _ => Err(format!("{} pads", values.len())),
                }
            })?),
            other => return Err(format!("auto_pad {other:?}")),
        };
        Ok(Self { stride, padding, dilation })
    }
}

fn sides([top, left, bottom, right]: [u32; 4]) -> Sides {
    Sides { top, left, bottom, right }
}

fn size(what: &str, value: i64) -> Result<u32, String> {
    u32::try_from(value).map_err(|_| format!("{what} of {value}"))
}

/// Height and width; a row has the height of `alone`.
fn pair(values: &[i64], alone: u32) -> Result<Size, String> {
    match values {
        [] => Ok(Size::from(alone.max(1))),
        [width] => Ok(Size { height: alone, width: size("a size", *width)? }),
        [height, width] => Ok(Size { height: size("a size", *height)?, width: size("a size", *width)? }),
        _ => Err(format!("{} spatial axes", values.len())),
    }
}

fn group(a: &Attributes<'_>) -> Result<u32, String> {
    size("group", a.int("group", 1))
}

fn resize(kind: &str, a: &Attributes<'_>, opset: i64) -> Result<Operation, Vec<String>> {
    let lacks = |what: String| Err(vec![format!("{kind} with {what}")]);
    a.ignore(&["extrapolation_value", "height_scale", "width_scale"]);
    if a.int("antialias", 0) != 0 {
        return lacks("antialias".to_owned());
    }
    let policy = a.text("keep_aspect_ratio_policy", "stretch");
    if policy != "stretch" {
        return lacks(format!("keep_aspect_ratio_policy {policy:?}"));
    }
    // Before opset 11 places were as in "asymmetric", and the nearest one was the one before.
    let default = if opset < 11 { "asymmetric" } else { "half_pixel" };
    let coordinates = match a.text("coordinate_transformation_mode", default) {
        "half_pixel" => Coordinates::HalfPixel,
        "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
        "align_corners" => Coordinates::AlignCorners,
        "asymmetric" => Coordinates::Asymmetric,
        "tf_half_pixel_for_nn" => Coordinates::HalfPixelForNearest,
        other => return lacks(format!("coordinate_transformation_mode {other:?}")),
    };
    let default = if opset < 11 { "floor" } else { "round_prefer_floor" };
    let nearest = match a.text("nearest_mode", default) {
        "round_prefer_floor" => Nearest::RoundPreferFloor,
        "round_prefer_ceil" => Nearest::RoundPreferCeil,
        "floor" => Nearest::Floor,
        "ceil" => Nearest::Ceil,
        other => return lacks(format!("nearest_mode {other:?}")),
    };
    let (coefficient, exclude_outside) = (a.float("cubic_coeff_a", -0.75), a.int("exclude_outside", 0) != 0);
    let interpolation = match a.text("mode", "nearest") {
        "nearest" => Interpolation::Nearest(nearest),
        "linear" | "bilinear" => Interpolation::Linear,
        "cubic" => Interpolation::Cubic { coefficient, exclude_outside },
        other => return lacks(format!("mode {other:?}")),
    };
    let axes = a.ints("axes").unwrap_or_default().to_vec();
    Ok(Operation::Resize { coordinates, interpolation, axes })
}

/// The value of a `Constant`.
fn constant(a: &Attributes<'_>) -> Result<Constant, String> {
    let length = |count: usize| u32::try_from(count).map_err(|_| "too many values".to_owned());
    if let Some(tensor) = a.tensor("value") {
        return tensor::constant(tensor);
    }
    if let Some(value) = a.optional_float("value_float") {
        return Ok(Constant::floats(&[], vec![value]));
    }
    if let Some(value) = a.optional_int("value_int") {
        return Ok(Constant::integers(&[], vec![value]));
    }
    if let Some(values) = a.floats("value_floats") {
        return Ok(Constant::floats(&[length(values.len())?], values.to_vec()));
    }
    match a.ints("value_ints") {
        Some(values) => Ok(Constant::integers(&[length(values.len())?], values.to_vec())),
        None => Err("no value that is a tensor or numbers".to_owned()),
    }
}
