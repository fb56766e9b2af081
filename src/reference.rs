//! The definition of 2-D convolution, in `f64` on the CPU: what every kernel is checked against.

use crate::geometry::Geometry;
use crate::pool::PoolGeometry;
use crate::size::PaddingMode;

/// Every output value with the magnitude that bounds its rounding error.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Reference {
    /// The outputs, NCHW.
    pub values: Vec<f64>,
    /// Σ|x·w| + |b| + |residual| of each output, before the activation.
    pub magnitudes: Vec<f64>,
}

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

    let mut result = Reference { values: Vec::new(), magnitudes: Vec::new() };
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
        if g.residual {
            let residual = residual.expect("this geometry has a residual")[output].into();
            sum += residual;
            magnitude += residual.abs();
        }
        result.values.push(g.activation.apply(sum));
        result.magnitudes.push(magnitude);
    }
    result
}

/// The largest value under each window. It is exact: nothing is rounded. A NaN in a window is its largest value; a
/// window without a value gives minus infinity.
///
/// # Panics
/// If the input is shorter than its shape.
#[must_use]
pub fn max_pool2d(geometry: &PoolGeometry, input: &[f32]) -> Vec<f32> {
    let g = geometry;
    let sources = |output: u32, taps: u32, stride: u32, dilation: u32, before: u32, size: u32| {
        let positions = (0..taps).map(move |tap| {
            i64::from(output) * i64::from(stride) + i64::from(tap) * i64::from(dilation) - i64::from(before)
        });
        positions.filter_map(move |position| source(PaddingMode::Zeros, position, size)).collect::<Vec<_>>()
    };
    let (kernel, stride, dilation) = (g.kernel_size, g.stride, g.dilation);
    let rows: Vec<_> = (0..g.output.height)
        .map(|row| sources(row, kernel.height, stride.height, dilation.height, g.padding.top, g.input.height))
        .collect();
    let columns: Vec<_> = (0..g.output.width)
        .map(|column| sources(column, kernel.width, stride.width, dilation.width, g.padding.left, g.input.width))
        .collect();
    let width = g.input.width as usize;
    let mut result = Vec::new();
    for plane in input.chunks(g.input.height as usize * width) {
        for rows in &rows {
            for columns in &columns {
                let values = rows.iter().flat_map(|row| columns.iter().map(move |column| plane[row * width + column]));
                let larger = |a: f32, b: f32| if a >= b || a.is_nan() { a } else { b };
                result.push(values.fold(f32::NEG_INFINITY, larger));
            }
        }
    }
    result
}

/// Which index along an axis of `size` stands for `position`, which may lie in the padding.
fn source(mode: PaddingMode, position: i64, size: u32) -> Option<usize> {
    let last = i64::from(size) - 1;
    let index = match mode {
        PaddingMode::Zeros => Some(position).filter(|position| (0..=last).contains(position))?,
        PaddingMode::Reflect => last - (last - position.abs()).abs(),
        PaddingMode::Replicate => position.clamp(0, last),
        PaddingMode::Circular => position.rem_euclid(last + 1),
    };
    usize::try_from(index).ok()
}
