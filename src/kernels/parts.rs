//! Cutting a layer that is too large: one with a tensor larger than a device can bind, or a sum longer than one
//! invocation may add up.
//!
//! A tensor larger than a binding is cut by images, then by groups, then by the channels of one group, then by the rows
//! of one plane, so that each cut is one stretch of memory. A part is an ordinary, smaller convolution, and shaders
//! know nothing of the cut: the uniform says where the window starts, and where the tensors would start if all of them
//! were bound.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::geometry::Geometry;
use crate::program::check_dispatches;
use crate::size::{PaddingMode, Size, values};
use crate::target::Target;

/// A part of a convolution.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// Its own sizes.
    pub geometry: Geometry,
    /// The row and the column of the input where the window of its first output starts.
    pub top: i32,
    pub left: i32,
    /// The rows of the input that are bound.
    pub rows: Range<u32>,
    /// The input channels of each group that it sums over.
    pub in_channels: Range<u32>,
    /// Its first output channel, counted over the whole layer.
    pub first_channel: u64,
    /// Its first input plane, counted over all images.
    pub first_plane: u64,
    /// Which taps of the filter it has, if not all.
    pub window: Option<Window>,
    /// Where its stretch of the input starts in the tensor, how long it is, and how many values, as the shader counts,
    /// come before it.
    pub input: Stretch,
    pub skipped: u64,
    pub output: Stretch,
    /// Whether an earlier part began its sums, and whether no later one goes on with them.
    pub continues: bool,
    pub finishes: bool,
}

/// Where a stretch starts and how long it is, in values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    pub start: u64,
    pub length: u64,
}

/// Some rows and columns of a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    pub rows: Range<u32>,
    pub columns: Range<u32>,
}

/// What cutting knows of a layer besides its sizes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sum {
    /// The weights of one output channel.
    pub filter: u64,
    /// The products that one input channel brings to one output.
    pub terms: u64,
    /// How many output channels' filters are stored together: what is missing to a multiple is padded.
    pub channels: u64,
}

/// The most products that one invocation sums. llvmpipe leaves a shader's loops after 65,535 rounds in all, with its
/// sums unfinished, and a product can take up to three rounds. A GPU's driver may have a watchdog.
pub(super) const MAXIMUM_TERMS: u32 = 1 << 14;

/// Some images of a layer, some of its groups, and some output channels of each.
struct Block {
    geometry: Geometry,
    image: u64,
    group: u64,
    /// Counted over the whole layer.
    first_channel: u64,
}

/// Blocks of at most this many images, groups, and output channels of a group. A block without all groups has one
/// image, and a block without all channels of a group has one group, so that each is one stretch of memory.
fn blocks(whole: &Geometry, images: u64, groups: u64, channels: u64) -> Result<Vec<Block>> {
    let group_channels = u64::from(whole.out_channels_per_group());
    let (batch, all_groups) = (u64::from(whole.batch), u64::from(whole.groups));
    let (groups, channels) = (groups.min(all_groups), channels.min(group_channels));
    check_dispatches(batch.div_ceil(images) * all_groups.div_ceil(groups) * group_channels.div_ceil(channels))?;
    let along =
        |size: u64, step: u64| (0..size.div_ceil(step)).map(move |index| (index * step, step.min(size - index * step)));
    let mut blocks = Vec::new();
    for (image, images) in along(batch, images) {
        for (group, groups) in along(all_groups, groups) {
            for (channel, channels) in along(group_channels, channels) {
                let geometry = Geometry {
                    batch: narrow(images),
                    in_channels: narrow(groups) * whole.in_channels_per_group(),
                    out_channels: narrow(groups * channels),
                    groups: narrow(groups),
                    ..*whole
                };
                blocks.push(Block { geometry, image, group, first_channel: group * group_channels + channel });
            }
        }
    }
    Ok(blocks)
}

fn narrow(size: u64) -> u32 {
    u32::try_from(size).expect("a part of a size that fits")
}

/// The parts of a convolution, in the order in which they run: those of one sum follow each other.
pub(super) fn parts(whole: &Geometry, sum: Sum, target: &Target) -> Result<Vec<Part>> {
    let maximum = target.binding_values();
    let [in_plane, out_plane] = [whole.input, whole.output].map(Size::area);
    let in_group = in_plane * u64::from(whole.in_channels_per_group());
    let out_group = out_plane * u64::from(whole.out_channels_per_group());
    let weight_group = sum.filter * u64::from(whole.out_channels_per_group()).next_multiple_of(sum.channels);
    let all_groups = u64::from(whole.groups);
    let fits = |length: u64| maximum / length;
    if sum.filter > maximum {
        return Err(limit("weight", sum.filter, maximum));
    }

    let images = fits(in_group * all_groups).min(fits(out_group * all_groups)).min(whole.batch.into());
    let groups = fits(in_group).min(fits(out_group)).min(fits(weight_group));
    let is_cut_by_rows = in_plane.max(out_plane) > maximum;
    let blocks = if images > 0 && weight_group * all_groups <= maximum {
        blocks(whole, images, all_groups, u64::MAX)?
    } else if groups > 0 {
        blocks(whole, 1, groups, u64::MAX)?
    } else {
        let channels =
            if is_cut_by_rows { 1 } else { fits(out_plane).min(fits(sum.channels * sum.filter) * sum.channels) };
        blocks(whole, 1, 1, channels)?
    };
    let rows = if is_cut_by_rows { cut_by_rows(whole, maximum)? } else { vec![Rows::all(whole)] };

    let mut parts = Vec::new();
    for block in &blocks {
        let is_bound_whole = values(block.geometry.input_shape()) <= maximum;
        let at_once = if is_cut_by_rows { 1 } else { maximum / in_plane };
        for rows in &rows {
            let windows = windows(whole, rows, sum);
            let window_terms = windows[0].as_ref().map_or(sum.terms, Window::taps);
            let by_terms = (u64::from(MAXIMUM_TERMS) / window_terms).max(1);
            let most = if is_bound_whole { by_terms } else { by_terms.min(at_once) };
            let ranges = channel_ranges(whole.in_channels_per_group(), most)?;
            check_dispatches((parts.len() + windows.len() * ranges.len()) as u64)?;
            let sums = windows.iter().flat_map(|window| ranges.iter().map(move |range| (window, range)));
            let count = windows.len() * ranges.len();
            parts.extend(sums.enumerate().map(|(index, (window, in_channels))| Part {
                continues: index > 0,
                finishes: index + 1 == count,
                ..part(whole, block, rows, window.clone(), in_channels.clone(), is_bound_whole)
            }));
        }
    }
    Ok(parts)
}

/// The parts of a convolution that computes this many images at a time and is not cut in any other way.
pub(super) fn by_images(whole: &Geometry, images: u64) -> Result<Vec<Part>> {
    let all = || 0..whole.in_channels_per_group();
    let blocks = blocks(whole, images, u64::MAX, u64::MAX)?;
    Ok(blocks.iter().map(|block| part(whole, block, &Rows::all(whole), None, all(), true)).collect())
}

fn limit(argument: &'static str, length: u64, maximum: u64) -> Error {
    Error::Limit { argument, bytes: 4 * length, limit: "max_storage_buffer_binding_size", maximum: 4 * maximum }
}

/// One part, with a whole sum: whether that is cut, the caller says.
fn part(
    whole: &Geometry,
    block: &Block,
    rows: &Rows,
    window: Option<Window>,
    in_channels: Range<u32>,
    is_bound_whole: bool,
) -> Part {
    let in_width = u64::from(whole.input.width);
    let first_tap = window.as_ref().map_or([0, 0], |window| [window.rows.start, window.columns.start]);
    let sides = whole.padding;
    let starts_at = |first: u32, stride: u32, tap: u32, dilation: u32, padding: u32| {
        i64::from(first) * i64::from(stride) + i64::from(tap) * i64::from(dilation) - i64::from(padding)
    };
    let top = starts_at(rows.output.start, whole.stride.height, first_tap[0], whole.dilation.height, sides.top);
    let left = starts_at(0, whole.stride.width, first_tap[1], whole.dilation.width, sides.left);
    let mut geometry = block.geometry;
    geometry.output.height = rows.output.end - rows.output.start;
    if let Some(window) = &window {
        geometry.kernel_size =
            Size { height: window.rows.end - window.rows.start, width: window.columns.end - window.columns.start };
    }
    // Without padding above and below, the bound rows are a layer of their own.
    let mut bound = rows.bound(whole, window.as_ref());
    let mut skipped_rows = bound.start;
    let first_row = u64::from(bound.start);
    let mut top = top;
    if rows.is_cut && !is_bound_whole && sides.top == 0 && sides.bottom == 0 {
        geometry.input.height = bound.end - bound.start;
        top -= i64::from(bound.start);
        (bound, skipped_rows) = (0..geometry.input.height, 0);
    }
    let first_plane = (block.image * u64::from(whole.groups) + block.group) * u64::from(whole.in_channels_per_group());
    let first_in_channel = u64::from(in_channels.start);
    let (input, skipped) = if is_bound_whole {
        (Stretch { start: first_plane * whole.input.area(), length: values(block.geometry.input_shape()) }, 0)
    } else {
        let channels = u64::from(in_channels.end - in_channels.start);
        let lines = (channels - 1) * u64::from(whole.input.height) + u64::from(bound.end - bound.start);
        let start = (first_plane + first_in_channel) * whole.input.area() + first_row * in_width;
        let skipped = first_in_channel * geometry.input.area() + u64::from(skipped_rows) * in_width;
        (Stretch { start, length: lines * in_width }, skipped)
    };
    let first_output = (block.image * u64::from(whole.out_channels) + block.first_channel) * whole.output.area()
        + u64::from(rows.output.start) * u64::from(whole.output.width);
    let position = |position: i64| i32::try_from(position).expect("within the padded input, which is below 2^31");
    Part {
        top: position(top),
        left: position(left),
        rows: bound,
        in_channels,
        first_channel: block.first_channel,
        first_plane,
        window,
        input,
        skipped,
        output: Stretch { start: first_output, length: values(geometry.output_shape()) },
        continues: false,
        finishes: true,
        geometry,
    }
}

/// Cuts the sum over a group's input channels, evenly, and at even channels if it can.
fn channel_ranges(channels: u32, most: u64) -> Result<Vec<Range<u32>>> {
    let channels = u64::from(channels);
    let pieces = channels.div_ceil(most);
    check_dispatches(pieces)?;
    let step = channels.div_ceil(pieces);
    let step = if step % 2 == 1 && step < most { step + 1 } else { step };
    Ok((0..channels.div_ceil(step)).map(|i| narrow(i * step)..narrow(((i + 1) * step).min(channels))).collect())
}

impl Window {
    fn taps(&self) -> u64 {
        u64::from(self.rows.end - self.rows.start) * u64::from(self.columns.end - self.columns.start)
    }
}

/// The windows that a filter is cut to if one invocation may not sum all of it, or if the rows that it sees are not one
/// stretch of memory.
fn windows(whole: &Geometry, rows: &Rows, sum: Sum) -> Vec<Option<Window>> {
    let (kernel, most) = (whole.kernel_size, MAXIMUM_TERMS);
    if sum.terms <= u64::from(most) && rows.taps.len() == 1 {
        return vec![None];
    }
    let columns = kernel.width.min(most);
    let height = (most / columns).min(kernel.height);
    let along = |Range { start, end }: Range<u32>, step: u32| {
        (0..(end - start).div_ceil(step)).map(move |i| start + i * step..(start + (i + 1) * step).min(end))
    };
    let window = |rows: Range<u32>| {
        along(0..kernel.width, columns).map(move |columns| Some(Window { rows: rows.clone(), columns }))
    };
    rows.taps.iter().flat_map(|taps| along(taps.clone(), height)).flat_map(window).collect()
}

/// Some rows of the output. If they are not all, they are of one channel.
struct Rows {
    output: Range<u32>,
    is_cut: bool,
    /// The rows of taps that parts of their own sum: all at once, if what they see is one stretch that fits.
    taps: Vec<Range<u32>>,
}

impl Rows {
    fn all(whole: &Geometry) -> Self {
        let taps = 0..whole.kernel_size.height;
        Self { output: 0..whole.output.height, is_cut: false, taps: vec![taps] }
    }

    /// The rows of the input that are bound for these taps, or for all.
    fn bound(&self, whole: &Geometry, window: Option<&Window>) -> Range<u32> {
        if !self.is_cut {
            return 0..whole.input.height;
        }
        sources(whole, &self.output, &window.map_or(0..whole.kernel_size.height, |window| window.rows.clone()))
    }
}

/// Cuts planes that do not fit in a binding.
fn cut_by_rows(whole: &Geometry, maximum: u64) -> Result<Vec<Rows>> {
    let [in_rows, out_rows] = [("input", whole.input), ("output", whole.output)].map(|(argument, size)| {
        let width = u64::from(size.width);
        if width > maximum { Err(limit(argument, width, maximum)) } else { Ok(maximum / width) }
    });
    let (in_rows, out_rows) = (in_rows?, out_rows?);
    let taps = whole.kernel_size.height;
    let fits = |output: &Range<u32>, taps: Range<u32>| {
        let bound = sources(whole, output, &taps);
        u64::from(bound.end - bound.start) <= in_rows
    };
    let mut cut = Vec::new();
    let (mut start, mut count) = (0, 0);
    while start < whole.output.height {
        let most = narrow(out_rows.min(u64::from(whole.output.height - start)));
        let whole_window = largest(most, |rows| fits(&(start..start + rows), 0..taps));
        let rows = match whole_window {
            Some(rows) => rows,
            // Of several rows that see round the edge, some row of taps sees both ends of the plane.
            None if whole.padding_mode == PaddingMode::Circular => 1,
            None => {
                // Each row of taps may need a part of its own: counted before each is looked at.
                check_dispatches(count + u64::from(taps))?;
                largest(most, |rows| (0..taps).all(|tap| fits(&(start..start + rows), tap..tap + 1))).unwrap_or(1)
            }
        };
        let output = start..start + rows;
        start = output.end;
        let taps = ranges(taps, |taps| fits(&output, taps));
        count += taps.len() as u64;
        check_dispatches(count)?;
        cut.push(Rows { output, is_cut: true, taps });
    }
    Ok(cut)
}

/// Cuts rows of taps to the longest ranges that fit. One row of taps always does: at worst it sees, for one row of outputs,
/// one row of the input.
fn ranges(taps: u32, fits: impl Fn(Range<u32>) -> bool) -> Vec<Range<u32>> {
    let mut ranges = Vec::new();
    let mut start = 0;
    while start < taps {
        let end = start + largest(taps - start, |length| fits(start..start + length)).unwrap_or(1);
        ranges.push(start..end);
        start = end;
    }
    ranges
}

/// The largest number from 1 to `most` that fits. If a number fits, all below it must fit too.
fn largest(most: u32, fits: impl Fn(u32) -> bool) -> Option<u32> {
    let (mut good, mut bad) = (0, most + 1);
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        if fits(middle) { good = middle } else { bad = middle }
    }
    (good > 0).then_some(good)
}

/// The rows of the input that some rows of the output see through some rows of taps, and all rows between the first and
/// the last.
fn sources(whole: &Geometry, output: &Range<u32>, taps: &Range<u32>) -> Range<u32> {
    let (height, stride, dilation) = (i64::from(whole.input.height), whole.stride.height, whole.dilation.height);
    let position = |row: u32, tap: u32| {
        i64::from(row) * i64::from(stride) + i64::from(tap) * i64::from(dilation) - i64::from(whole.padding.top)
    };
    let (low, high) = (position(output.start, taps.start), position(output.end - 1, taps.end - 1));
    let last = height - 1;
    let (first, last) = match whole.padding_mode {
        PaddingMode::Zeros | PaddingMode::Replicate => (low.clamp(0, last), high.clamp(0, last)),
        PaddingMode::Reflect => {
            let source = |position: i64| last - (last - position.abs()).abs();
            // The mirrors turn at the first row and at the last.
            let turns = [0, last].into_iter().filter(|turn| (low..=high).contains(turn));
            let met = || turns.clone().chain([source(low), source(high)]);
            (met().min().unwrap_or(0), met().max().unwrap_or(last))
        }
        PaddingMode::Circular if low.div_euclid(height) == high.div_euclid(height) => {
            (low.rem_euclid(height), high.rem_euclid(height))
        }
        PaddingMode::Circular => (0, last),
    };
    let row = |row: i64| u32::try_from(row).expect("a row of the input");
    row(first)..row(last) + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conv::Conv2d;

    fn target(binding: u64) -> Target {
        wgpu::Limits { max_storage_buffer_binding_size: binding + 256, ..Default::default() }.into()
    }

    fn cut(layer: Conv2d, shape: [u32; 4], binding: u64) -> Result<Vec<Part>> {
        let geometry = layer.geometry(shape).unwrap();
        let taps = geometry.kernel_size.area();
        parts(&geometry, Sum { filter: geometry.terms(), terms: taps, channels: 1 }, &target(binding))
    }

    #[test]
    fn parts_cover_the_output_once_and_each_fits() {
        // 3 images of 8 channels in 4 groups, 10 x 10: an image has 3200 bytes in and 6400 out, a group 800 in, a plane
        // 400.
        let layer = Conv2d::new(8, 16, 3).padding(1).groups(4);
        for (binding, count) in
            [(1 << 20, 1), (6400, 3), (3200, 6), (1600, 12), (800, 24), (799, 96), (400, 96), (399, 192)]
        {
            let parts = cut(layer, [3, 8, 10, 10], binding).unwrap();
            assert_eq!(parts.len(), count, "at {binding} bytes");
            let mut end = 0;
            for part in &parts {
                if !part.continues {
                    assert_eq!(part.output.start, end, "at {binding} bytes");
                    end += part.output.length;
                }
                for stretch in [part.input, part.output] {
                    assert!(4 * stretch.length <= binding, "{stretch:?} at {binding} bytes");
                }
            }
            assert_eq!(end, 3 * 16 * 100, "at {binding} bytes");
        }
    }

    #[test]
    fn what_cannot_be_cut_is_refused_by_name() {
        let refused = |layer, shape, binding| cut(layer, shape, binding).unwrap_err();
        let output = refused(Conv2d::new(1, 1, 1).padding([0, 200]), [1, 1, 2, 2], 1000);
        assert!(matches!(output, Error::Limit { argument: "output", .. }), "{output}");
        let input = refused(Conv2d::new(1, 1, 1), [1, 1, 2, 500], 1000);
        assert!(matches!(input, Error::Limit { argument: "input", bytes: 2000, .. }), "{input}");
        let weight = refused(Conv2d::new(1, 1, 20).padding(10), [1, 1, 2, 2], 1000);
        assert!(matches!(weight, Error::Limit { argument: "weight", .. }), "{weight}");
    }

    #[test]
    fn long_sums_are_cut() {
        let ranges = |channels, kernel_size: u32| {
            let shape = [1, channels, kernel_size, kernel_size];
            let parts = cut(Conv2d::new(channels, 1, kernel_size), shape, 1 << 40).unwrap();
            parts.into_iter().map(|part| part.in_channels).collect::<Vec<_>>()
        };
        assert_eq!(ranges(1 << 14, 1).len(), 1);
        assert_eq!(ranges(66_000, 1), [0..13_200, 13_200..26_400, 26_400..39_600, 39_600..52_800, 52_800..66_000]);
        assert_eq!(ranges(16_386, 1), [0..8194, 8194..16_386], "at an even channel");
        assert_eq!(ranges(3, 128), [0..1, 1..2, 2..3]);
        // 129 x 129 taps: 127 rows of them, and two.
        let parts = cut(Conv2d::new(1, 1, 129), [1, 1, 200, 200], 1 << 40).unwrap();
        let rows: Vec<_> = parts.iter().map(|part| part.window.clone().unwrap().rows).collect();
        assert_eq!(rows, [0..127, 127..129]);
        assert_eq!(
            parts.iter().map(|part| (part.continues, part.finishes)).collect::<Vec<_>>(),
            [(false, false), (true, true)]
        );
    }

    #[test]
    fn rows_that_see_round_the_edge_are_cut_there() {
        let layer = Conv2d::new(1, 1, 3).padding(1).padding_mode(PaddingMode::Circular);
        // 20 rows of 10 values; 7 rows fit.
        let parts = cut(layer, [1, 1, 20, 10], 280).unwrap();
        assert!(parts.iter().all(|part| part.rows.end - part.rows.start <= 7));
        let cut: Vec<_> = parts.iter().filter(|part| part.window.is_some()).map(|part| part.rows.clone()).collect();
        assert_eq!(cut, [19..20, 0..2, 18..20, 0..1]);
    }

    #[test]
    fn an_endless_list_of_parts_is_refused() {
        let refused = cut(Conv2d::new(1, 1, 1), [1 << 20, 1, 8, 8], 256);
        assert!(matches!(refused, Err(Error::TooManyDispatches { .. })));
    }
}
