//! Convolutions, transposed ones, pools, and factors of channels, which are convolutions too.

use super::resolver::{Operands, Resolver, Result, sized, words};
use crate::conv::Conv2d;
use crate::layer::Layer;
use crate::layers::transposed::ConvTranspose2d;
use crate::network::graph::Constant;
use crate::network::known::Known;
use crate::network::operation::Operation;
use crate::network::shape::count;
use crate::size::{Padding, Sides, Size};

impl Resolver {
    pub(super) fn conv2d(&mut self, operands: &Operands<'_>) -> Result<Known> {
        let Operation::Conv2d { stride, padding, dilation, groups } = operands.node.operation else { unreachable!() };
        let (x, weight) = (operands.need(0)?, operands.need(1)?);
        let rank = x.shape().len();
        let [out_channels, _, height, width] = images(weight.shape())?;
        let [_, in_channels, ..] = images(x.shape())?;
        let layer =
            Conv2d::new(in_channels, out_channels, [height, width]).groups(groups).bias(operands.get(2).is_some());
        let layer = layer.stride(stride).padding(padding).dilation(dilation).rounding(self.rounding);
        let geometry = layer.geometry(images(x.shape())?).map_err(words)?;
        if count(weight.shape()) != count(&geometry.weight_shape()) {
            return Err(format!("the weight has shape {:?}; it must be {:?}", weight.shape(), geometry.weight_shape()));
        }
        let shape = of_rank(geometry.output_shape(), rank);
        let mut given = vec![x.clone(), known_constant(weight, "the weight")?];
        if let Some(bias) = operands.get(2) {
            given.push(sized(bias, out_channels, "the bias")?);
        }
        self.emit(&operands.node.name, geometry.into(), given, shape)
    }

    pub(super) fn conv_transpose2d(&mut self, operands: &Operands<'_>) -> Result<Known> {
        let Operation::ConvTranspose2d { stride, padding, output_padding, output_size, dilation, groups } =
            operands.node.operation
        else {
            unreachable!()
        };
        let (x, weight) = (operands.need(0)?, operands.need(1)?);
        let rank = x.shape().len();
        let [in_channels, per_group, height, width] = images(weight.shape())?;
        let input = images(x.shape())?;
        if input[1] != in_channels {
            return Err(format!("the input has {} channels; the weight takes {in_channels}", input[1]));
        }
        let out_channels = per_group.checked_mul(groups).ok_or("too many output channels")?;
        let (sides, output_padding) =
            transposed_sides(input, [height, width].into(), stride, dilation, padding, output_padding, output_size)?;
        let layer = ConvTranspose2d::new(input, out_channels, [height, width]).map_err(words)?;
        let layer = layer.with(output_padding, |layer| {
            (layer.stride, layer.dilation, layer.groups) = (stride, dilation, groups);
            layer.padding = sides;
            layer.bias = operands.get(2).is_some();
        });
        let layer = layer.map_err(words)?;
        let shape = of_rank(Layer::from(layer).output_shape(), rank);
        let mut given = vec![x.clone(), known_constant(weight, "the weight")?];
        if let Some(bias) = operands.get(2) {
            given.push(sized(bias, out_channels, "the bias")?);
        }
        self.emit(&operands.node.name, layer.into(), given, shape)
    }

    pub(super) fn pool2d(&mut self, operands: &Operands<'_>) -> Result<Known> {
        let x = operands.need(0)?;
        let rank = x.shape().len();
        let geometry = operands.node.operation.pool(images(x.shape())?).map_err(words)?;
        let shape = of_rank(geometry.output_shape(), rank);
        self.emit(&operands.node.name, geometry.into(), vec![x.clone()], shape)
    }

    /// Each channel times a number, plus another: a depthwise 1 × 1 convolution, which other convolutions can take in.
    pub(super) fn scale(&mut self, name: &str, x: Known, scale: Vec<f32>, shift: Vec<f32>) -> Result<Known> {
        let shape = x.shape().to_vec();
        let [batch, channels, rest @ ..] = &shape[..] else { return Err("the input has no channels".to_owned()) };
        let area = u32::try_from(count(rest)).map_err(|_| "the input is too large")?;
        let has_shift = shift.iter().any(|&value| value != 0.0);
        let layer = Conv2d::new(*channels, *channels, 1).groups(*channels).bias(has_shift);
        let [height, width] = if let [height, width] = *rest { [height, width] } else { [1, area] };
        let geometry = layer.geometry([*batch, *channels, height, width]).map_err(words)?;
        let constant = |values| Known::Constant(Constant::floats(&[*channels], values));
        let mut given = vec![x, constant(scale)];
        if has_shift {
            given.push(constant(shift));
        }
        self.emit(name, geometry.into(), given, shape)
    }

    pub(super) fn batch_norm(&mut self, operands: &Operands<'_>, epsilon: f32) -> Result<Known> {
        let x = operands.need(0)?;
        let channels = *x.shape().get(1).ok_or("the input has no channels")?;
        let [scale, bias, mean, variance] = [1, 2, 3, 4].map(|index| {
            operands
                .need(index)
                .and_then(|known| sized(known, channels, "a parameter"))
                .and_then(|known| known.floats("a parameter"))
        });
        let (scale, bias, mean, variance) = (scale?, bias?, mean?, variance?);
        let scales = scale
            .iter()
            .zip(variance.iter())
            .map(|(&scale, &variance)| f64::from(scale) / (f64::from(variance) + f64::from(epsilon)).sqrt());
        let scales: Vec<f64> = scales.collect();
        let shifts = bias
            .iter()
            .zip(mean.iter())
            .zip(&scales)
            .map(|((&bias, &mean), scale)| f64::from(bias) - f64::from(mean) * scale);
        #[expect(clippy::cast_possible_truncation, reason = "a tensor holds f32 values")]
        let narrow = |value: f64| value as f32;
        let shifts = shifts.map(narrow).collect();
        self.scale(&operands.node.name, x.clone(), scales.into_iter().map(narrow).collect(), shifts)
    }
}

/// What is taken off on each side of a transposed convolution's output, and what is added below and after it.
fn transposed_sides(
    [_, _, height, width]: [u32; 4],
    kernel: Size,
    stride: Size,
    dilation: Size,
    padding: Padding,
    more: Size,
    output_size: Option<Size>,
) -> Result<(Sides, Size)> {
    let output_size = match (output_size, padding) {
        (None, Padding::Same | Padding::SameLower) => Some(Size {
            height: height.checked_mul(stride.height).ok_or("the output is too large")?,
            width: width.checked_mul(stride.width).ok_or("the output is too large")?,
        }),
        (size, _) => size,
    };
    let axis = |input: u32, kernel: u32, stride: u32, dilation: u32, more: u32, wanted: Option<u32>, given| {
        let Some(wanted) = wanted else { return (given, more) };
        let reach = |count: u32, apart: u32| u64::from(count.saturating_sub(1)) * u64::from(apart);
        let span = reach(input, stride).saturating_add(reach(kernel, dilation)).saturating_add(1 + u64::from(more));
        let narrow = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        let (total, missing) =
            (narrow(span.saturating_sub(wanted.into())), narrow(u64::from(wanted).saturating_sub(span)));
        let (less, rest) = (total / 2, total.div_ceil(2));
        let sides = if padding == Padding::Same { (less, rest) } else { (rest, less) };
        (sides, more.saturating_add(missing))
    };
    let explicit = match padding {
        Padding::Explicit(sides) => sides,
        _ => Sides { top: 0, left: 0, bottom: 0, right: 0 },
    };
    let wanted = |of: fn(Size) -> u32| output_size.map(of);
    let ((top, bottom), below) = axis(
        height,
        kernel.height,
        stride.height,
        dilation.height,
        more.height,
        wanted(|size| size.height),
        (explicit.top, explicit.bottom),
    );
    let ((left, right), after) = axis(
        width,
        kernel.width,
        stride.width,
        dilation.width,
        more.width,
        wanted(|size| size.width),
        (explicit.left, explicit.right),
    );
    Ok((Sides { top, left, bottom, right }, Size { height: below, width: after }))
}

/// Batch, channels, height and width of a tensor of images, or of rows, which are images of height 1.
fn images(shape: &[u32]) -> Result<[u32; 4]> {
    match *shape {
        [batch, channels, height, width] => Ok([batch, channels, height, width]),
        [batch, channels, width] => Ok([batch, channels, 1, width]),
        _ => Err(format!("the input has shape {shape:?}; it must have a batch, channels and one or two axes more")),
    }
}

/// The shape of a result of images, for an input of this rank.
fn of_rank([batch, channels, height, width]: [u32; 4], rank: usize) -> Vec<u32> {
    if rank == 3 { vec![batch, channels, width] } else { vec![batch, channels, height, width] }
}

fn known_constant(known: &Known, what: &str) -> Result<Known> {
    known.floats(what)?;
    Ok(known.clone())
}
