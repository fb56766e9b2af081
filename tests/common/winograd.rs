//! Winograd's method as matrices, and a bound of its errors that follows from them.

use sepconv::reference::Reference;
use sepconv::{Geometry, PaddingMode};

use super::Data;

pub type Matrix = &'static [&'static [f64]];

/// The method with tiles of one size, for filters of three taps along each axis.
pub struct Method {
    pub kernel: &'static str,
    /// A^T, G and B^T.
    pub matrices: [Matrix; 3],
    /// What a value is rounded by in all transforms: in each along both axes.
    pub roundings: u64,
}

pub static METHODS: [Method; 2] = [
    Method {
        kernel: "winograd",
        matrices: [
            &[&[1., 1., 1., 0.], &[0., 1., -1., -1.]],
            &[&[1., 0., 0.], &[0.5, 0.5, 0.5], &[0.5, -0.5, 0.5], &[0., 0., 1.]],
            &[&[1., 0., -1., 0.], &[0., 1., 1., 0.], &[0., -1., 1., 0.], &[0., 1., 0., -1.]],
        ],
        // A sum of three values, another of three, a difference of two.
        roundings: 2 * (2 + 2 + 1),
    },
    Method {
        kernel: "winograd_4x4",
        matrices: [
            &[
                &[1., 1., 1., 1., 1., 0.],
                &[0., 1., -1., 2., -2., 0.],
                &[0., 1., 1., 4., 4., 0.],
                &[0., 1., -1., 8., -8., 1.],
            ],
            &[
                &[1. / 4., 0., 0.],
                &[-1. / 6., -1. / 6., -1. / 6.],
                &[-1. / 6., 1. / 6., -1. / 6.],
                &[1. / 24., 1. / 12., 1. / 6.],
                &[1. / 24., -1. / 12., 1. / 6.],
                &[0., 0., 1.],
            ],
            &[
                &[4., 0., -5., 0., 1., 0.],
                &[0., -4., -4., 1., 1., 0.],
                &[0., 4., -4., -1., 1., 0.],
                &[0., -2., -1., 2., 1., 0.],
                &[0., 2., -1., -2., 1., 0.],
                &[0., 4., 0., -5., 0., 1.],
            ],
        ],
        // Three sums; a sixth, a product with it and two sums; a product and two sums.
        roundings: 2 * (3 + 4 + 3),
    },
];

impl Method {
    fn outputs(&self) -> usize {
        self.matrices[0].len()
    }

    fn side(&self) -> usize {
        self.matrices[2].len()
    }

    /// The method of a kernel.
    pub fn of(kernel: &str) -> Option<&'static Self> {
        METHODS.iter().find(|method| method.kernel == kernel)
    }

    /// What a result is to be, with what its roundings grow with, and how many of them there are.
    pub fn expected(&self, data: &Data) -> (Reference, u64) {
        let mut reference = data.reference();
        reference.magnitudes = self.magnitudes(data);
        (reference, u64::from(data.geometry.in_channels_per_group()) + self.roundings)
    }

    /// What each output is summed from, as far as roundings see it: |A^T| [ sum over c of (|G| |w| |G^T|) * (|B^T| |x| |B|) ]
    /// |A|, and the sizes of bias and residual.
    fn magnitudes(&self, data: &Data) -> Vec<f64> {
        let g = &data.geometry;
        let [a, b, c] = self.matrices.map(absolute);
        let [inputs, outputs] = [g.in_channels_per_group(), g.out_channels_per_group()].map(|count| count as usize);
        let [all_inputs, all_outputs] = [g.in_channels, g.out_channels].map(|count| count as usize);
        let [height, width] = [g.output.height, g.output.width].map(|size| size as usize);
        let filter = |taps: &[f32]| transformed(&b, &taps.iter().map(|tap| f64::from(tap.abs())).collect::<Vec<_>>());
        let filters: Vec<Vec<f64>> = data.weight.chunks(9).map(filter).collect();
        let mut magnitudes = vec![0.0; g.batch as usize * all_outputs * height * width];
        for [image, row, column] in
            grid([g.batch as usize, height.div_ceil(self.outputs()), width.div_ceil(self.outputs())])
        {
            let corner = [row, column].map(|index| index * self.outputs());
            let seen = |channel| transformed(&c, &self.window(data, image * all_inputs + channel, corner));
            let seen: Vec<Vec<f64>> = (0..all_inputs).map(seen).collect();
            for channel in 0..all_outputs {
                let mut sums = vec![0.0; self.side() * self.side()];
                for input in 0..inputs {
                    let values = &seen[channel / outputs * inputs + input];
                    let places = sums.iter_mut().zip(&filters[channel * inputs + input]).zip(values);
                    places.for_each(|((sum, weight), value)| *sum += weight * value);
                }
                let bias = data.bias.as_ref().map_or(0.0, |bias| bias[channel].abs());
                let sums = transformed(&a, &sums);
                for [_, y, x] in grid([1, self.outputs(), self.outputs()]) {
                    let [row, column] = [corner[0] + y, corner[1] + x];
                    if row < height && column < width {
                        let index = ((image * all_outputs + channel) * height + row) * width + column;
                        let residual = data.residual.as_ref().map_or(0.0, |residual| residual[index].abs());
                        magnitudes[index] = sums[self.outputs() * y + x] + f64::from(bias + residual);
                    }
                }
            }
        }
        magnitudes
    }

    /// The sizes of the values that a tile reads of a plane of the input. Where it reaches past the padding, it reads values that
    /// no output needs.
    fn window(&self, data: &Data, plane: usize, corner: [usize; 2]) -> Vec<f64> {
        let Geometry { input, padding, padding_mode, .. } = data.geometry;
        let [height, width] = [input.height, input.width].map(|size| size as usize);
        let value = |[_, y, x]: [usize; 3]| {
            let row = source(padding_mode, corner[0] + y, padding.top as usize, height)?;
            let column = source(padding_mode, corner[1] + x, padding.left as usize, width)?;
            Some(f64::from(data.input[(plane * height + row) * width + column].abs()))
        };
        grid([1, self.side(), self.side()]).map(|place| value(place).unwrap_or(0.0)).collect()
    }
}

/// Which index along an axis of `size` stands for a position that is counted from the start of the padding.
fn source(mode: PaddingMode, position: usize, before: usize, size: usize) -> Option<usize> {
    let [position, before, size] = [position, before, size].map(|number| i64::try_from(number).unwrap());
    let position = position - before;
    let index = match mode {
        PaddingMode::Reflect => size - 1 - (size - 1 - position.abs()).abs(),
        PaddingMode::Circular if position < 0 => position + size,
        PaddingMode::Circular if position >= size => position - size,
        PaddingMode::Zeros if position < 0 || position >= size => return None,
        _ => position,
    };
    usize::try_from(index.clamp(0, size - 1)).ok()
}

/// Each place of a grid, row by row.
fn grid([planes, rows, columns]: [usize; 3]) -> impl Iterator<Item = [usize; 3]> {
    let rows = move |plane| (0..rows).flat_map(move |row| (0..columns).map(move |column| [plane, row, column]));
    (0..planes).flat_map(rows)
}

/// The sizes of a matrix's values.
pub fn absolute(matrix: Matrix) -> Vec<Vec<f64>> {
    matrix.iter().map(|row| row.iter().map(|value| value.abs()).collect()).collect()
}

/// M x M^T, for a square x.
fn transformed<Row: AsRef<[f64]>>(matrix: &[Row], x: &[f64]) -> Vec<f64> {
    let side = matrix[0].as_ref().len();
    let times = |row: &Row, values: &dyn Fn(usize) -> f64| {
        row.as_ref().iter().enumerate().map(|(index, factor)| factor * values(index)).sum::<f64>()
    };
    let columns: Vec<Vec<f64>> = matrix
        .iter()
        .map(|row| (0..side).map(|column| times(row, &|index| x[side * index + column])).collect())
        .collect();
    columns.iter().flat_map(|of_row| matrix.iter().map(|row| times(row, &|index| of_row[index]))).collect()
}
