//! One layer, computed: `conv2d` and `separable_conv2d`.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use sepconv::unstable::{LayerTensors, text};
use sepconv::{Choice, Conv2d, Layer, Residual, SeparableConv2d, Tensor, kernels};

use crate::array::{self, Floats, Made, read};
use crate::device::Context;
use crate::error::raised;

/// What a layer has besides its tensors, as Python's values.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct Options<'py> {
    stride: Bound<'py, PyAny>,
    padding: Bound<'py, PyAny>,
    dilation: Bound<'py, PyAny>,
    padding_mode: Bound<'py, PyAny>,
    activation: Bound<'py, PyAny>,
}

/// A tensor's name and its values, if it was given.
type Given<'a, 'py> = (&'static str, Option<&'a Floats<'py>>);

/// The four sizes of a tensor; of a bias `[1, channels, 1, 1]`.
fn four(argument: &str, array: &Floats<'_>) -> PyResult<[u32; 4]> {
    let shape = array::shape(argument, array)?;
    let is_bias = argument.ends_with("bias");
    match shape[..] {
        [channels] if is_bias => Ok([1, channels, 1, 1]),
        [n, c, h, w] if !is_bias => Ok([n, c, h, w]),
        _ => {
            let axes = if is_bias { "1 axis, a value for each output channel" } else { "4 axes" };
            Err(PyValueError::new_err(format!("{argument} has shape {shape:?}; it must have {axes}")))
        }
    }
}

/// Where a residual is added, if there is one.
fn place_of(residual: Option<&Floats<'_>>, after_activation: bool) -> PyResult<Residual> {
    match (residual, after_activation) {
        (None, false) => Ok(Residual::None),
        (None, true) => {
            Err(PyValueError::new_err("residual_after_activation is True; it must be False without a residual"))
        }
        (Some(_), true) => Ok(Residual::AfterActivation),
        (Some(_), false) => Ok(Residual::BeforeActivation),
    }
}

/// Computes a layer of these tensors.
fn compute<'py>(
    py: Python<'py>,
    context: &Context,
    layer: Layer,
    kernel: Option<&str>,
    tensors: &[Given<'_, 'py>],
) -> PyResult<Made<'py>> {
    let context = context.get()?;
    let given = tensors.iter().filter_map(|(name, array)| Some((*name, (*array)?)));
    let mut values = Vec::new();
    for ((argument, array), expected) in given.zip(layer.describe().given()) {
        let shape = four(argument, array)?;
        if shape != expected.shape {
            return Err(raised(sepconv::Error::Shape { argument, shape, expected: expected.shape }));
        }
        values.push(array::values(argument, array)?);
    }
    let shape = layer.output_shape();
    let run = || {
        let plan = match kernel {
            None => context.plan(layer)?,
            Some(name) => context.plan_with(layer, Choice::new(kernels::by_name(name)?, 0))?,
        };
        let output = Tensor::zeros(context, shape)?;
        LayerTensors::new(context, &layer, &values)?.bind(&plan, &output)?.run()?;
        output.read_blocking()
    };
    array::made(py, py.detach(run).map_err(raised)?, &shape)
}

/// A convolution.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "what a convolution takes")]
pub fn conv2d<'py>(
    py: Python<'py>,
    context: &Context,
    input: Floats<'py>,
    weight: Floats<'py>,
    bias: Option<Floats<'py>>,
    residual: Option<Floats<'py>>,
    residual_after_activation: bool,
    input_scale: Option<Floats<'py>>,
    groups: &Bound<'py, PyAny>,
    rounding: &Bound<'py, PyAny>,
    options: Options<'py>,
    kernel: Option<&str>,
) -> PyResult<Made<'py>> {
    let groups = read("groups", groups, text::number)?;
    let layer = Conv2d::from_weight_shape(four("weight", &weight)?, groups).map_err(raised)?;
    let layer = layer
        .stride(read("stride", &options.stride, text::size)?)
        .padding(read("padding", &options.padding, text::padding)?)
        .dilation(read("dilation", &options.dilation, text::size)?)
        .padding_mode(read("padding_mode", &options.padding_mode, text::padding_mode)?)
        .activation(read("activation", &options.activation, text::activation)?)
        .rounding(read("rounding", rounding, text::rounding)?)
        .bias(bias.is_some())
        .residual(place_of(residual.as_ref(), residual_after_activation)?)
        .input_scale(input_scale.is_some());
    let geometry = layer.geometry(four("input", &input)?).map_err(raised)?;
    let tensors = [
        ("input", Some(&input)),
        ("residual", residual.as_ref()),
        ("input_scale", input_scale.as_ref()),
        ("weight", Some(&weight)),
        ("bias", bias.as_ref()),
    ];
    compute(py, context, geometry.into(), kernel, &tensors)
}

/// A depthwise convolution and a pointwise one.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "what a separable convolution takes")]
pub fn separable_conv2d<'py>(
    py: Python<'py>,
    context: &Context,
    input: Floats<'py>,
    depthwise_weight: Floats<'py>,
    pointwise_weight: Floats<'py>,
    depthwise_bias: Option<Floats<'py>>,
    pointwise_bias: Option<Floats<'py>>,
    residual: Option<Floats<'py>>,
    residual_after_activation: bool,
    depthwise_activation: &Bound<'py, PyAny>,
    options: Options<'py>,
    kernel: Option<&str>,
) -> PyResult<Made<'py>> {
    let input_shape = four("input", &input)?;
    let (depthwise, pointwise) =
        (four("depthwise_weight", &depthwise_weight)?, four("pointwise_weight", &pointwise_weight)?);
    let channels = input_shape[1];
    let [filters, one, height, width] = depthwise;
    if one != 1 || channels == 0 || filters == 0 || filters % channels != 0 {
        return Err(PyValueError::new_err(format!(
            "depthwise_weight has shape {depthwise:?}; it must be [channels * multiplier, 1, height, width] for the \
             input's {channels} channels"
        )));
    }
    let layer = SeparableConv2d::new(channels, pointwise[0], [height, width])
        .depth_multiplier(filters / channels)
        .stride(read("stride", &options.stride, text::size)?)
        .padding(read("padding", &options.padding, text::padding)?)
        .dilation(read("dilation", &options.dilation, text::size)?)
        .padding_mode(read("padding_mode", &options.padding_mode, text::padding_mode)?)
        .depthwise_activation(read("depthwise_activation", depthwise_activation, text::activation)?)
        .activation(read("activation", &options.activation, text::activation)?)
        .depthwise_bias(depthwise_bias.is_some())
        .pointwise_bias(pointwise_bias.is_some())
        .residual(place_of(residual.as_ref(), residual_after_activation)?);
    let geometry = layer.geometry(input_shape).map_err(raised)?;
    let tensors = [
        ("input", Some(&input)),
        ("residual", residual.as_ref()),
        ("depthwise_weight", Some(&depthwise_weight)),
        ("depthwise_bias", depthwise_bias.as_ref()),
        ("pointwise_weight", Some(&pointwise_weight)),
        ("pointwise_bias", pointwise_bias.as_ref()),
    ];
    compute(py, context, Layer::SeparableConv2d(geometry), kernel, &tensors)
}
