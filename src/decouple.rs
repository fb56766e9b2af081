//! Normal layers made separable: network decoupling (Guo, Li, Lin and Yan, *Network Decoupling: From Regular to Depthwise
//! Separable Convolutions*, 2018).
//!
//! All that a normal layer does with one input channel is a matrix: a row for each tap of the window, a column for each
//! output channel. The best approximation of rank T, by the singular value decomposition, is T filters of that channel,
//! which is a depthwise layer with depth multiplier T, and their shares in each output, which is a pointwise layer. With as
//! many filters as the window has taps nothing is lost.
//!
//! Where it is known what the layer's inputs are like, the best approximation is that of the outputs, and not of the
//! weights. Channels are alike to each other, so that one can make up for another: each in turn gets the filters and shares
//! that are best for what the others leave of the outputs, several times over, and then all shares are fitted together by
//! least squares.
//!
//! ```
//! use sepconv::decouple::{Decoupling, Normal};
//!
//! // One output that is the sum of a 3 x 3 window: one filter is enough.
//! let weight = [1.0; 9];
//! let layer = Decoupling::new(&Normal { weight: &weight, shape: [1, 1, 3, 3], bias: None }, None)?;
//! let separable = layer.separated(1)?;
//! assert_eq!((separable.depthwise.len(), separable.pointwise.len()), (9, 1));
//! assert!(separable.error < 1e-6);
//! # Ok::<(), sepconv::Error>(())
//! ```

use nalgebra::{Cholesky, DMatrix, Dyn};

use crate::describe::source;
use crate::error::{Error, Result};
use crate::geometry::Geometry;
use crate::size::{check_range, values};

/// A normal layer's numbers.
#[derive(Debug, Clone, Copy)]
pub struct Normal<'a> {
    /// `[out_channels, in_channels, height, width]`
    pub shape: [u32; 4],
    /// As many values as the shape takes.
    pub weight: &'a [f32],
    /// A value for each output channel.
    pub bias: Option<&'a [f32]>,
}

/// The numbers of a separable layer that stands in for a normal one.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Separated {
    /// How many filters each input channel has.
    pub depth_multiplier: u32,
    /// `[in_channels · depth_multiplier, 1, height, width]`; it has no bias.
    pub depthwise: Vec<f32>,
    /// `[out_channels, in_channels · depth_multiplier, 1, 1]`
    pub pointwise: Vec<f32>,
    /// The pointwise layer's, where the normal layer had one or the inputs are known.
    pub bias: Option<Vec<f32>>,
    /// The root of the share of energy that is lost: of the outputs, or of the weights where the inputs are not known.
    pub error: f64,
}

/// What a layer's inputs are like: the mean products of each two values under its window, and of each with 1.
#[derive(Debug, Clone)]
pub struct Moments {
    layer: Geometry,
    /// Sums, not yet divided.
    sums: DMatrix<f64>,
    /// The same of each value under the window, and 1, with each wanted output.
    wanted: Option<DMatrix<f64>>,
    windows: u64,
}

/// How many windows are multiplied with themselves at once.
const BLOCK: usize = 256;

impl Moments {
    /// Of no inputs yet, for this layer, whose batch and plane may differ from input to input.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if a window has more than [`LARGEST_WINDOW`] values.
    pub fn new(layer: &Geometry) -> Result<Self> {
        let terms = window(layer);
        check_range("in_channels times kernel_size", terms as u64, 1, LARGEST_WINDOW)?;
        Ok(Self { layer: *layer, sums: DMatrix::zeros(terms + 1, terms + 1), wanted: None, windows: 0 })
    }

    /// Adds about `count` windows of an input, evenly spread, or all if there are no more.
    ///
    /// # Errors
    /// [`Error::Length`] if it has not as many values as the layer's input; [`Error::NotFinite`] if some are no numbers.
    pub fn add(&mut self, layer: &Geometry, input: &[f32], count: u64) -> Result<()> {
        self.add_some(layer, input, None, count)
    }

    /// [`add`](Self::add) with the outputs that are wanted of this input, which [`Decoupling::new`] then goes by, whatever
    /// the layer itself makes of it: those that the layer has in a network where nothing before it was changed.
    ///
    /// # Errors
    /// Those of [`add`](Self::add), for the outputs too.
    pub fn add_wanted(&mut self, layer: &Geometry, input: &[f32], output: &[f32], count: u64) -> Result<()> {
        self.add_some(layer, input, Some(output), count)
    }

    fn add_some(&mut self, layer: &Geometry, input: &[f32], output: Option<&[f32]>, count: u64) -> Result<()> {
        let given = [("input", Some(input), layer.input_shape()), ("output", output, layer.output_shape())];
        for (argument, given, shape) in given.into_iter().filter_map(|(name, given, shape)| Some((name, given?, shape)))
        {
            let expected = values(shape);
            if given.len() as u64 != expected {
                return Err(Error::Length { argument, length: given.len(), shape, expected });
            }
            check_finite(argument, given)?;
        }
        let size = self.sums.nrows();
        let plane = (layer.output.height * layer.output.width) as usize;
        let channels = layer.out_channels as usize;
        let places = places(u64::from(layer.batch) * plane as u64, count);
        for places in places.chunks(BLOCK) {
            let mut windows = DMatrix::zeros(size, places.len());
            for (mut column, &place) in windows.column_iter_mut().zip(places) {
                read_window(&self.layer, layer, input, place, column.as_mut_slice());
            }
            self.sums.gemm(1.0, &windows, &windows.transpose(), 1.0);
            if let Some(output) = output {
                let wanted = DMatrix::from_fn(places.len(), channels, |at, channel| {
                    let (image, pixel) = (places[at] / plane, places[at] % plane);
                    output[(image * channels + channel) * plane + pixel].into()
                });
                let sums = self.wanted.get_or_insert_with(|| DMatrix::zeros(size, channels));
                sums.gemm(1.0, &windows, &wanted, 1.0);
            }
        }
        self.windows += places.len() as u64;
        Ok(())
    }

    /// How many windows were added.
    #[must_use]
    pub fn windows(&self) -> u64 {
        self.windows
    }
}

/// The most values of a window whose moments are kept: half a gigabyte of them.
pub const LARGEST_WINDOW: u64 = 8192;

/// About `wanted` of so many places. The distance between them has no factor in common with their number, so that rows and
/// columns are met alike: neighbouring columns of an enlarged picture differ in kind.
fn places(count: u64, wanted: u64) -> Vec<usize> {
    let mut step = count.div_ceil(wanted.max(1)).max(1);
    while common_divisor(step, count) > 1 {
        step += 1;
    }
    let index = |place: u64| usize::try_from(place).expect("an index into values in memory");
    (0..index(count)).step_by(index(step)).collect()
}

fn common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

/// The values of a window: all taps of one channel, then those of the next.
fn window(layer: &Geometry) -> usize {
    usize::try_from(layer.terms()).expect("a filter in memory")
}

/// The values under one window, and 1.
fn read_window(layer: &Geometry, input: &Geometry, values: &[f32], place: usize, window: &mut [f64]) {
    let wide = |size: u32| size as usize;
    let (row, column) = (place / wide(input.output.width), place % wide(input.output.width));
    let (image, row) = (row / wide(input.output.height), row % wide(input.output.height));
    let at = |output: usize, stride: u32, tap: u32, dilation: u32, before: u32, size: u32| {
        let output = i64::try_from(output).expect("a row or a column");
        let position = output * i64::from(stride) + i64::from(tap) * i64::from(dilation) - i64::from(before);
        source(layer.padding_mode, position, size)
    };
    let taps = (0..layer.kernel_size.height).flat_map(|y| (0..layer.kernel_size.width).map(move |x| (y, x)));
    let taps: Vec<Option<usize>> = taps
        .map(|(y, x)| {
            let y = at(row, layer.stride.height, y, layer.dilation.height, input.padding.top, input.input.height)?;
            let x = at(column, layer.stride.width, x, layer.dilation.width, input.padding.left, input.input.width)?;
            Some(y * wide(input.input.width) + x)
        })
        .collect();
    let pixels = wide(input.input.height) * wide(input.input.width);
    let channels = (0..wide(layer.in_channels)).map(|channel| (image * wide(layer.in_channels) + channel) * pixels);
    let seen =
        channels.flat_map(|start| taps.iter().map(move |tap| tap.map_or(0.0, |tap| f64::from(values[start + tap]))));
    let (one, rest) = window.split_last_mut().expect("it has a 1");
    *one = 1.0;
    for (value, seen) in rest.iter_mut().zip(seen) {
        *value = seen;
    }
}

/// A normal layer taken apart, from which separable layers of any depth multiplier are made.
#[derive(Debug, Clone)]
pub struct Decoupling {
    shape: [u32; 4],
    has_bias: bool,
    /// A row for each value of a window, and one for the bias; a column for each output channel.
    weight: DMatrix<f64>,
    /// For each input channel its filters, best first, as columns, and their shares in the outputs, as rows.
    channels: Vec<(DMatrix<f64>, DMatrix<f64>)>,
    /// Mean products, as in [`Moments`].
    moments: Option<DMatrix<f64>>,
    /// For each depth multiplier from 0 the energy of the weights that it loses.
    lost: Vec<f64>,
}

/// What is added to mean products, as a share of their mean square, so that what hardly varies has a solution too.
const RIDGE: f64 = 1e-7;

/// How often each channel has its turn.
const ROUNDS: usize = 10;

impl Decoupling {
    /// Takes a layer apart, by the outputs that it has for such inputs, or by its weights alone.
    ///
    /// # Errors
    /// [`Error::Length`] for values that do not fit the shape; [`Error::NotFinite`] if some are no numbers;
    /// [`Error::Unexpected`] for moments of another layer.
    pub fn new(layer: &Normal<'_>, inputs: Option<&Moments>) -> Result<Self> {
        let [out_channels, in_channels, height, width] = layer.shape;
        let expected = values(layer.shape);
        if layer.weight.len() as u64 != expected || expected == 0 {
            return Err(Error::Length { argument: "weight", length: layer.weight.len(), shape: layer.shape, expected });
        }
        let outputs = out_channels as usize;
        if let Some(bias) = layer.bias.filter(|bias| bias.len() != outputs) {
            let shape = [1, out_channels, 1, 1];
            return Err(Error::Length { argument: "bias", length: bias.len(), shape, expected: out_channels.into() });
        }
        check_finite("weight", layer.weight)?;
        check_finite("bias", layer.bias.unwrap_or_default())?;
        let taps = (height * width) as usize;
        let terms = in_channels as usize * taps;
        let moments = inputs.filter(|moments| moments.windows > 0);
        if moments.is_some_and(|moments| moments.sums.nrows() != terms + 1) {
            return Err(Error::Unexpected { argument: "moments of another layer" });
        }
        let wanted = moments.and_then(|moments| Some(moments.wanted.as_ref()? / moments.windows as f64));
        let moments = moments.map(|moments| &moments.sums / moments.windows as f64);
        let mut weight = DMatrix::from_fn(terms + 1, outputs, |term, output| {
            if term < terms {
                layer.weight[output * terms + term].into()
            } else {
                layer.bias.map_or(0.0, |bias| bias[output].into())
            }
        });
        if let (Some(moments), Some(wanted)) = (&moments, wanted) {
            // The normal layer that is nearest to what is wanted.
            let mut raised = moments.clone();
            raise(&mut raised);
            if let Some(factors) = Cholesky::new(raised) {
                weight += factors.solve(&(wanted - moments * &weight));
            }
        }
        let mut lost = vec![0.0; taps + 1];
        let channels = (0..in_channels as usize).map(|channel| {
            let rows = weight.rows(channel * taps, taps).into_owned();
            let seen = moments.as_ref().and_then(|moments| triangle(moments, channel * taps, taps));
            let (filters, shares, energies) = take_apart(&rows, seen.as_ref());
            for (kept, lost) in lost.iter_mut().enumerate() {
                *lost += energies.iter().skip(kept).sum::<f64>();
            }
            (filters, shares)
        });
        let channels = channels.collect();
        Ok(Self { shape: layer.shape, has_bias: layer.bias.is_some(), weight, channels, moments, lost })
    }

    fn taps(&self) -> usize {
        self.shape[2] as usize * self.shape[3] as usize
    }

    /// The largest depth multiplier: as many filters as the window has taps, which lose nothing.
    #[must_use]
    pub fn most(&self) -> u32 {
        self.shape[2] * self.shape[3]
    }

    /// Whether it is known what the layer's inputs are like.
    #[must_use]
    pub fn is_fitted(&self) -> bool {
        self.moments.is_some()
    }

    /// The separable layer with so many filters for each input channel.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if that is 0 or more than [`most`](Self::most).
    #[expect(clippy::cast_possible_truncation, reason = "the numbers of a layer are f32")]
    pub fn separated(&self, depth_multiplier: u32) -> Result<Separated> {
        check_range("depth_multiplier", depth_multiplier.into(), 1, self.most().into())?;
        let (multiplier, taps, outputs) = (depth_multiplier as usize, self.taps(), self.shape[0] as usize);
        let features = self.channels.len() * multiplier;
        // Each filter is a column; the last feature is the 1 that the bias is for.
        let mut filters = DMatrix::zeros(taps, features);
        let mut shares = DMatrix::zeros(features + 1, outputs);
        for (channel, (own_filters, own_shares)) in self.channels.iter().enumerate() {
            let count = own_filters.ncols().min(multiplier);
            let first = channel * multiplier;
            filters.columns_mut(first, count).copy_from(&own_filters.columns(0, count));
            shares.rows_mut(first, count).copy_from(&own_shares.rows(0, count));
        }
        shares.row_mut(features).copy_from(&self.weight.row(self.weight.nrows() - 1));
        let error = match &self.moments {
            Some(moments) => {
                self.in_turn(moments, &mut filters, &mut shares);
                self.fit(moments, &filters, &mut shares)
            }
            None => share(self.lost[multiplier], self.lost[0]),
        };
        let bias = self.has_bias || self.moments.is_some();
        Ok(Separated {
            depth_multiplier,
            depthwise: filters.iter().map(|&value| value as f32).collect(),
            pointwise: (0..outputs)
                .flat_map(|output| {
                    shares.column(output).iter().take(features).map(|&value| value as f32).collect::<Vec<_>>()
                })
                .collect(),
            bias: bias.then(|| shares.row(features).iter().map(|&value| value as f32).collect()),
            error,
        })
    }

    /// Gives each channel in turn the filters and shares that are best for what the others leave of the outputs.
    fn in_turn(&self, moments: &DMatrix<f64>, filters: &mut DMatrix<f64>, shares: &mut DMatrix<f64>) {
        let (taps, terms) = (self.taps(), self.weight.nrows() - 1);
        let multiplier = filters.ncols() / self.channels.len();
        if multiplier >= taps.min(self.weight.ncols()) {
            return;
        }
        let seen = (0..self.channels.len()).map(|channel| triangle(moments, channel * taps, taps));
        let seen: Vec<Option<DMatrix<f64>>> = seen.collect();
        let mut rest = self.rest(filters, shares);
        for _ in 0..ROUNDS {
            for (channel, seen) in seen.iter().enumerate() {
                let Some(seen) = seen else { continue };
                let (start, first) = (channel * taps, channel * multiplier);
                let own = filters.columns(first, multiplier) * shares.rows(first, multiplier);
                let without = rest.rows(start, taps) + own;
                rest.rows_mut(start, taps).copy_from(&without);
                let wanted = moments.rows(start, taps) * &rest;
                let solved = seen
                    .solve_lower_triangular(&wanted)
                    .and_then(|half| seen.transpose().solve_upper_triangular(&half));
                let Some(solved) = solved else { continue };
                let (own_filters, own_shares, _) = take_apart(&solved, Some(seen));
                let count = own_filters.ncols().min(multiplier);
                filters.columns_mut(first, count).copy_from(&own_filters.columns(0, count));
                shares.rows_mut(first, count).copy_from(&own_shares.rows(0, count));
                let own = own_filters.columns(0, count) * own_shares.rows(0, count);
                rest.rows_mut(start, taps).copy_from(&(without - own));
            }
            // The bias is a channel of its own.
            let last = shares.nrows() - 1;
            let bias = (moments.row(terms) * &rest).unscale(moments[(terms, terms)]);
            let (left, share) = (rest.row(terms) - &bias, shares.row(last) + &bias);
            rest.row_mut(terms).copy_from(&left);
            shares.row_mut(last).copy_from(&share);
        }
    }

    /// What filters and shares leave of the weights.
    fn rest(&self, filters: &DMatrix<f64>, shares: &DMatrix<f64>) -> DMatrix<f64> {
        let (taps, terms, features) = (self.taps(), self.weight.nrows() - 1, filters.ncols());
        let multiplier = features / self.channels.len();
        let mut rest = self.weight.clone();
        for channel in 0..self.channels.len() {
            let first = channel * multiplier;
            let own = filters.columns(first, multiplier) * shares.rows(first, multiplier);
            let left = rest.rows(channel * taps, taps) - own;
            rest.rows_mut(channel * taps, taps).copy_from(&left);
        }
        let left = rest.row(terms) - shares.row(features);
        rest.row_mut(terms).copy_from(&left);
        rest
    }

    /// Fits shares and biases to the layer's outputs, starting from these, and returns the error that is left.
    fn fit(&self, moments: &DMatrix<f64>, filters: &DMatrix<f64>, shares: &mut DMatrix<f64>) -> f64 {
        let (taps, terms, features) = (self.taps(), self.weight.nrows() - 1, filters.ncols());
        let multiplier = features / self.channels.len();
        let term = |feature: usize| feature / multiplier * taps;
        // The mean product of each value of a window with each feature, and that of each two features.
        let mut seen = DMatrix::zeros(terms + 1, features + 1);
        for feature in 0..features {
            seen.column_mut(feature).gemv(1.0, &moments.columns(term(feature), taps), &filters.column(feature), 0.0);
        }
        seen.column_mut(features).copy_from(&moments.column(terms));
        let mut products = DMatrix::zeros(features + 1, features + 1);
        for feature in 0..features {
            let row = filters.column(feature).transpose() * seen.rows(term(feature), taps);
            products.row_mut(feature).copy_from(&row);
        }
        products.row_mut(features).copy_from(&seen.row(terms));
        let mut raised = products.clone();
        raise(&mut raised);
        if let Some(factors) = Cholesky::new(raised) {
            let wanted = seen.transpose() * &self.weight;
            *shares += factors.solve(&(wanted - &products * &*shares));
        }
        let rest = self.rest(filters, shares);
        let energy = |weight: &DMatrix<f64>| (moments * weight).component_mul(weight).sum().max(0.0);
        share(energy(&rest), energy(&self.weight))
    }
}

/// The root of a share; of nothing, nothing is lost.
fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { (part / whole).sqrt() } else { 0.0 }
}

/// Adds a little to the diagonal.
fn raise(products: &mut DMatrix<f64>) {
    let size = products.nrows();
    let mean = products.trace() / size as f64;
    for at in 0..size {
        products[(at, at)] += RIDGE * mean + f64::MIN_POSITIVE;
    }
}

/// The lower triangle L of which L·Lᵀ is a part of the mean products, on their diagonal.
fn triangle(moments: &DMatrix<f64>, start: usize, length: usize) -> Option<DMatrix<f64>> {
    let mut products = moments.view((start, start), (length, length)).into_owned();
    raise(&mut products);
    Cholesky::<f64, Dyn>::new(products).map(|factors| factors.l())
}

/// The filters of one input channel as columns, their shares in the outputs as rows, and the energy of each. `seen` is the
/// triangle of the channel's mean products.
fn take_apart(weight: &DMatrix<f64>, seen: Option<&DMatrix<f64>>) -> (DMatrix<f64>, DMatrix<f64>, Vec<f64>) {
    let measured = seen.map_or_else(|| weight.clone(), |seen| seen.transpose() * weight);
    let parts = measured.svd(true, true);
    let (filters, singular) = (parts.u.expect("it was asked for"), parts.singular_values);
    let mut shares = parts.v_t.expect("it was asked for");
    let mut filters = match seen {
        Some(seen) => seen.transpose().solve_upper_triangular(&filters).unwrap_or(filters),
        None => filters,
    };
    // Filters have length 1, as those of weights have, so that all values are of a like size.
    for (index, value) in singular.iter().enumerate() {
        let length = filters.column(index).norm();
        let length = if length > 0.0 { length } else { 1.0 };
        filters.column_mut(index).unscale_mut(length);
        shares.row_mut(index).scale_mut(value * length);
    }
    (filters, shares, singular.iter().map(|value| value * value).collect())
}

fn check_finite(argument: &'static str, values: &[f32]) -> Result<()> {
    match values.iter().find(|value| !value.is_finite()) {
        Some(&value) => Err(Error::NotFinite { argument, value }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;

    use super::*;
    use crate::conv::Conv2d;
    use crate::reference;
    use crate::separable::SeparableConv2d;

    /// Values without a pattern.
    fn data(count: u64, first: f64) -> Vec<f32> {
        #[expect(clippy::cast_possible_truncation, reason = "any values will do")]
        let value = |index: u64| ((first + index as f64 * 0.618_033_988_749_895).fract() * 2.0 - 1.0).sin() as f32;
        (0..count).map(|index| value(index * index + index)).collect()
    }

    /// Smooth planes, as pictures are.
    fn smooth(geometry: &Geometry) -> Vec<f32> {
        let size = values(geometry.input_shape());
        let width = u64::from(geometry.input.width);
        #[expect(clippy::cast_possible_truncation, reason = "any values will do")]
        let value = |index: u64| {
            let (line, column) = ((index / width) as f64, (index % width) as f64);
            ((line * 0.37).sin() + (column * 0.23 + line * 0.11).cos() + 0.1 * (index as f64 * 1.7).sin()) as f32
        };
        (0..size).map(value).collect()
    }

    const SHAPE: [u32; 4] = [6, 4, 3, 3];

    fn normal() -> (Vec<f32>, Vec<f32>) {
        (data(values(SHAPE), 0.3), data(6, 0.7))
    }

    /// The weights of the one normal layer that does the same as a separable one.
    fn folded(separated: &Separated) -> Vec<f32> {
        let layer =
            SeparableConv2d::new(SHAPE[1], SHAPE[0], 3).depth_multiplier(separated.depth_multiplier).bias(false);
        layer.fold_weights(&separated.depthwise, None, &separated.pointwise, None).unwrap().0
    }

    #[test]
    fn as_many_filters_as_taps_lose_nothing() {
        let (weight, bias) = normal();
        let layer = Decoupling::new(&Normal { shape: SHAPE, weight: &weight, bias: Some(&bias) }, None).unwrap();
        assert_eq!(layer.most(), 9);
        let separated = layer.separated(9).unwrap();
        assert!(separated.error < 1e-9, "{}", separated.error);
        assert_eq!(separated.bias.as_deref(), Some(&bias[..]));
        for (folded, weight) in folded(&separated).iter().zip(&weight) {
            assert_relative_eq!(folded, weight, epsilon = 1e-6);
        }
    }

    #[test]
    fn one_filter_is_enough_for_what_has_rank_one() {
        let (filters, shares) = (data(4 * 9, 0.1), data(6 * 4, 0.9));
        let weight: Vec<f32> = (0..6 * 4 * 9).map(|i| shares[i / 36 * 4 + i % 36 / 9] * filters[i % 36]).collect();
        let layer = Decoupling::new(&Normal { shape: SHAPE, weight: &weight, bias: None }, None).unwrap();
        let separated = layer.separated(1).unwrap();
        assert!(separated.error < 1e-6 && separated.bias.is_none(), "{separated:?}");
        for (folded, weight) in folded(&separated).iter().zip(&weight) {
            assert_relative_eq!(folded, weight, epsilon = 1e-6);
        }
    }

    #[test]
    fn the_energy_that_is_lost_is_that_of_the_weights() {
        let (weight, _) = normal();
        let layer = Decoupling::new(&Normal { shape: SHAPE, weight: &weight, bias: None }, None).unwrap();
        let energy = |values: &mut dyn Iterator<Item = f32>| values.map(|value| f64::from(value).powi(2)).sum::<f64>();
        let mut before = f64::INFINITY;
        for multiplier in 1..=9 {
            let separated = layer.separated(multiplier).unwrap();
            let folded = folded(&separated);
            let lost = energy(&mut folded.iter().zip(&weight).map(|(folded, weight)| folded - weight));
            assert_relative_eq!(separated.error, (lost / energy(&mut weight.iter().copied())).sqrt(), epsilon = 1e-6);
            assert!(separated.error < before || separated.error < 1e-9, "{multiplier}: {}", separated.error);
            before = separated.error;
        }
    }

    /// The error of a separable layer's outputs, computed from the outputs.
    fn error(geometry: &Geometry, input: &[f32], (weight, bias): (&[f32], &[f32]), separated: &Separated) -> f64 {
        let folded = folded(separated);
        let expected = reference::conv2d(geometry, input, weight, Some(bias), None).values;
        let actual = reference::conv2d(geometry, input, &folded, separated.bias.as_deref(), None).values;
        let energy = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>();
        let lost = energy(&mut expected.iter().zip(&actual).map(|(expected, actual)| expected - actual));
        (lost / energy(&mut expected.iter().copied())).sqrt()
    }

    #[test]
    fn what_is_fitted_to_inputs_is_nearer_on_them() {
        let (weight, bias) = normal();
        let geometry = Conv2d::new(4, 6, 3).padding(1).stride([1, 2]).geometry([2, 4, 19, 22]).unwrap();
        let input = smooth(&geometry);
        let mut moments = Moments::new(&geometry).unwrap();
        moments.add(&geometry, &input, u64::MAX).unwrap();
        assert_eq!(moments.windows(), 2 * 19 * 11);
        let layer = Normal { shape: SHAPE, weight: &weight, bias: Some(&bias) };
        let plain = Decoupling::new(&layer, None).unwrap();
        let fitted = Decoupling::new(&layer, Some(&moments)).unwrap();
        let of = |separated: &Separated| error(&geometry, &input, (&weight, &bias), separated);
        for multiplier in 1..=9 {
            let (plain, fitted) = (plain.separated(multiplier).unwrap(), fitted.separated(multiplier).unwrap());
            // It knows its own error.
            assert_relative_eq!(of(&fitted), fitted.error, epsilon = 1e-5);
            assert!(fitted.error <= of(&plain) + 1e-6, "{multiplier}: {} and {}", fitted.error, of(&plain));
        }
        assert!(fitted.separated(2).unwrap().error < 0.5 * of(&plain.separated(2).unwrap()));
        assert!(fitted.separated(9).unwrap().error < 1e-5);
    }

    /// Wanted outputs of another layer are met by that other layer's numbers.
    #[test]
    fn wanted_outputs_count_whatever_the_layer_makes() {
        let (weight, bias) = normal();
        let other: Vec<f32> = weight.iter().map(|weight| weight * 0.9 + 0.01).collect();
        let geometry = Conv2d::new(4, 6, 3).padding(1).geometry([1, 4, 30, 30]).unwrap();
        let input = data(values(geometry.input_shape()), 0.2);
        #[expect(clippy::cast_possible_truncation, reason = "outputs are f32")]
        let wanted: Vec<f32> = reference::conv2d(&geometry, &input, &other, Some(&bias), None)
            .values
            .iter()
            .map(|&value| value as f32)
            .collect();
        let mut moments = Moments::new(&geometry).unwrap();
        moments.add_wanted(&geometry, &input, &wanted, u64::MAX).unwrap();
        let layer = Normal { shape: SHAPE, weight: &weight, bias: Some(&bias) };
        let separated = Decoupling::new(&layer, Some(&moments)).unwrap().separated(9).unwrap();
        for (folded, other) in folded(&separated).iter().zip(&other) {
            assert_relative_eq!(folded, other, epsilon = 1e-4);
        }
    }

    #[test]
    fn some_windows_stand_for_all() {
        let geometry = Conv2d::new(4, 6, 3).geometry([1, 4, 40, 40]).unwrap();
        let mut moments = Moments::new(&geometry).unwrap();
        moments.add(&geometry, &smooth(&geometry), 100).unwrap();
        assert!((80..=101).contains(&moments.windows()), "{}", moments.windows());
        // Neighbouring columns of a plane of an even width both come.
        assert!([0, 1].iter().all(|odd| places(40 * 40, 100).iter().any(|place| place % 2 == *odd)));
    }

    #[test]
    fn what_is_wrong_is_refused() {
        let (weight, bias) = normal();
        let new = |weight: &[f32], bias: &[f32]| {
            Decoupling::new(&Normal { shape: SHAPE, weight, bias: Some(bias) }, None).map(drop).unwrap_err().to_string()
        };
        assert!(new(&weight[1..], &bias).contains("weight has 215 values"));
        assert!(new(&weight, &bias[1..]).contains("bias has 5 values"));
        let mut broken = weight.clone();
        broken[7] = f32::NAN;
        assert!(new(&broken, &bias).contains("weight is NaN"));
        let layer = Decoupling::new(&Normal { shape: SHAPE, weight: &weight, bias: None }, None).unwrap();
        assert!(layer.separated(0).is_err() && layer.separated(10).is_err());
        let geometry = Conv2d::new(4, 6, 3).geometry([1, 4, 8, 8]).unwrap();
        let mut moments = Moments::new(&geometry).unwrap();
        assert!(moments.add(&geometry, &[0.0; 7], 1).is_err());
    }
}
