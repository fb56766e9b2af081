//! The definition of 2-D convolution, in `f64` on the CPU: what every kernel is checked against.

use crate::describe::source;
use crate::geometry::Geometry;
use crate::residual::Residual;

pub use crate::describe::Reference;
pub use crate::pool::max_pool2d;

/// Convolves `input` with `weight`, both laid out as [`Geometry`] says, adds `bias` and `residual`
/// and applies the activation, all in `f64`.
///
/// The input may be `f32` or `f64`, so that one layer's values can be the next one's input unrounded.
///
/// # Panics
/// If a slice is shorter than its shape, or `bias` or `residual` is missing where the geometry has one.
#[must_use]
pub fn conv2d<T: Copy + Into<f64>>(
    geometry: &Geometry,
    input: &[T],
    weight: &[f32],
    bias: Option<&[f32]>,
    residual: Option<&[T]>,
) -> Reference {
    let count = geometry.output_shape().iter().map(|&size| size as usize).product();
    conv2d_at(geometry, 0..count, input, weight, bias, residual)
}

/// [`conv2d`] for these outputs alone, each given by its index in NCHW order.
///
/// # Panics
/// Where [`conv2d`] does, and for an index past the last output.
#[must_use]
pub fn conv2d_at<T: Copy + Into<f64>>(
    geometry: &Geometry,
    outputs: impl IntoIterator<Item = usize>,
    input: &[T],
    weight: &[f32],
    bias: Option<&[f32]>,
    residual: Option<&[T]>,
) -> Reference {
    let g = geometry;
    let (channels, kernel) = (g.in_channels_per_group() as usize, g.kernel_size);
    let (height, width) = (g.input.height as usize, g.input.width as usize);
    // Which input row (or column) tap `k` of output `o` reads; None is a zero of the padding.
    let sources = |outputs: u32, taps: u32, stride: u32, dilation: u32, before: u32, size: u32| {
        let position = move |o: u32, k: u32| i64::from(o) * i64::from(stride) + i64::from(k) * i64::from(dilation);
        (0..outputs)
            .map(|o| (0..taps).map(|k| source(g.padding_mode, position(o, k) - i64::from(before), size)).collect())
            .collect::<Vec<Vec<Option<usize>>>>()
    };
    let rows =
        sources(g.output.height, kernel.height, g.stride.height, g.dilation.height, g.padding.top, g.input.height);
    let columns =
        sources(g.output.width, kernel.width, g.stride.width, g.dilation.width, g.padding.left, g.input.width);

    let mut result = Reference::default();
    for output in outputs {
        let (line, column) = (output / columns.len(), output % columns.len());
        let (plane, row) = (line / rows.len(), line % rows.len());
        let (image, out_channel) = (plane / g.out_channels as usize, plane % g.out_channels as usize);
        let group = out_channel / g.out_channels_per_group() as usize;
        let first_channel = image * g.in_channels as usize + group * channels;
        let (row_sources, column_sources) = (&rows[row], &columns[column]);

        let (mut sum, mut magnitude) = (0.0, 0.0);
        for channel in 0..channels {
            for (ky, row) in row_sources.iter().enumerate() {
                let Some(row) = row else { continue };
                let line = ((first_channel + channel) * height + row) * width;
                let taps = ((out_channel * channels + channel) * row_sources.len() + ky) * column_sources.len();
                for (kx, column) in column_sources.iter().enumerate() {
                    let Some(column) = column else { continue };
                    let product = input[line + column].into() * f64::from(weight[taps + kx]);
                    sum += product;
                    magnitude += product.abs();
                }
            }
        }
        if g.bias {
            let bias = f64::from(bias.expect("this geometry has a bias")[out_channel]);
            sum += bias;
            magnitude += bias.abs();
        }
        let residual =
            g.residual.then(|| residual.expect("this geometry has a residual")[output].into()).unwrap_or(0.0);
        magnitude += residual.abs();
        result.values.push(match g.residual {
            Residual::AfterActivation => g.activation.apply(sum) + residual,
            _ => g.activation.apply(sum + residual),
        });
        result.magnitudes.push(magnitude);
    }
    result
}
