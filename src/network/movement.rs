//! Values in another order: which place of the input each place of the output shows, for every operation that only moves
//! values.

#![expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "a tensor has few axes")]

use super::shape::{RANK, axis, count, size};
use crate::describe::Describe;
use crate::layers::rearrange::{AXES, Axis, Rearrange};
use crate::size::PaddingMode;

type Result<T> = std::result::Result<T, String>;

/// A rearrangement, and the shape of its output.
type Moved = Result<(Rearrange, Vec<u32>)>;

/// The distance of neighbours along each axis of a contiguous tensor.
fn strides(shape: &[u32]) -> Vec<u32> {
    let mut strides = vec![1_u32; shape.len()];
    for at in (1..shape.len()).rev() {
        strides[at - 1] = strides[at].wrapping_mul(shape[at]);
    }
    strides
}

/// The rearrangement with these axes. Neighbours that are one stretch become one axis, and axes of size 1 go.
fn rearrange(input_shape: &[u32], axes: &[Axis]) -> Result<Rearrange> {
    let length = u32::try_from(count(input_shape)).map_err(|_| "the input is too large")?;
    let mut merged: Vec<Axis> = Vec::new();
    for axis in axes {
        let is_whole = |axis: &Axis| axis.first == 0 && axis.step == 1 && axis.size == axis.input_size;
        if is_whole(axis) && axis.size == 1 {
            continue;
        }
        match merged.last_mut() {
            Some(outer)
                if is_whole(axis)
                    && is_whole(outer)
                    && u64::from(outer.input_stride) == u64::from(axis.size) * u64::from(axis.input_stride) =>
            {
                let size = outer.size.checked_mul(axis.size).ok_or("the input is too large")?;
                *outer = Axis::new(size, axis.input_stride);
            }
            _ => merged.push(*axis),
        }
    }
    if merged.is_empty() {
        merged.push(Axis::new(1, 1));
    }
    if merged.len() > AXES {
        return Err(format!("it moves {} axes; at most {AXES} may move", merged.len()));
    }
    Rearrange::new(length, &merged).map_err(|error| error.to_string())
}

/// So many values as they are.
pub(crate) fn copy(length: u32) -> Result<Rearrange> {
    rearrange(&[length], &[Axis::new(length, 1)])
}

/// Where each value of the output lies in the input; none in padding.
pub(crate) fn places(rearrange: &Rearrange) -> impl Iterator<Item = Option<usize>> + '_ {
    rearrange.places()
}

/// Where the output starts in the input, if it is one stretch of it.
pub(crate) fn as_stretch(rearrange: &Rearrange) -> Option<u64> {
    let mut run = 1;
    for axis in rearrange.axes.iter().rev().filter(|axis| axis.size > 1) {
        if axis.step != 1 || u64::from(axis.input_stride) != run {
            return None;
        }
        run *= u64::from(axis.size);
    }
    if !rearrange.is_inside() {
        return None;
    }
    rearrange.axes.iter().map(|axis| Some(u64::try_from(axis.first).ok()? * u64::from(axis.input_stride))).sum()
}

/// The shape that a `Reshape` asks for.
pub(crate) fn reshape(shape: &[u32], wanted: &[i64], zero_is_zero: bool) -> Result<Vec<u32>> {
    let mut sizes = Vec::new();
    let mut open = None;
    for (at, &value) in wanted.iter().enumerate() {
        match value {
            -1 if open.is_none() => {
                open = Some(at);
                sizes.push(1);
            }
            0 if !zero_is_zero => sizes.push(*shape.get(at).ok_or("a 0 stands for an axis that the input has not")?),
            value => sizes.push(size(value)?),
        }
    }
    let (all, known) = (count(shape), count(&sizes));
    if let Some(at) = open {
        if known == 0 || all % known != 0 {
            return Err(format!("{shape:?} cannot become {wanted:?}"));
        }
        sizes[at] = u32::try_from(all / known).map_err(|_| "the input is too large")?;
    } else if all != known {
        return Err(format!("{shape:?} cannot become {wanted:?}"));
    }
    Ok(sizes)
}

/// The shape without axes of size 1.
pub(crate) fn squeeze(shape: &[u32], axes: &[i64]) -> Result<Vec<u32>> {
    let axes = axes.iter().map(|&at| axis(at, shape.len())).collect::<Result<Vec<_>>>()?;
    if let Some(at) = axes.iter().find(|&&at| shape[at] != 1) {
        return Err(format!("axis {at} of {shape:?} has not size 1"));
    }
    let goes = |at: usize| if axes.is_empty() { shape[at] == 1 } else { axes.contains(&at) };
    Ok((0..shape.len()).filter(|&at| !goes(at)).map(|at| shape[at]).collect())
}

/// The shape with more axes of size 1.
pub(crate) fn unsqueeze(shape: &[u32], axes: &[i64]) -> Result<Vec<u32>> {
    let rank = shape.len() + axes.len();
    if rank > RANK {
        return Err(format!("a tensor would have {rank} axes; at most {RANK} are possible"));
    }
    let mut sorted = axes.iter().map(|&at| axis(at, rank)).collect::<Result<Vec<_>>>()?;
    sorted.sort_unstable();
    let mut result = shape.to_vec();
    for (index, at) in sorted.iter().enumerate() {
        if sorted[..index].contains(at) {
            return Err(format!("axis {at} comes twice"));
        }
        result.insert(*at, 1);
    }
    Ok(result)
}

/// Axes in another order; an empty order reverses them.
pub(crate) fn transpose(shape: &[u32], order: &[u32]) -> Moved {
    let rank = shape.len();
    let reversed: Vec<u32> = (0..rank as u32).rev().collect();
    let order = if order.is_empty() { &reversed } else { order };
    let mut sorted = order.to_vec();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..rank as u32) {
        return Err(format!("the order is {order:?}; it must name each of {rank} axes once"));
    }
    let strides = strides(shape);
    let axes: Vec<Axis> = order.iter().map(|&at| Axis::new(shape[at as usize], strides[at as usize])).collect();
    let result = order.iter().map(|&at| shape[at as usize]).collect();
    Ok((rearrange(shape, &axes)?, result))
}

/// Cuts along axes: axis, first place, step and how many.
pub(crate) fn slice(shape: &[u32], cuts: &[(usize, i64, i64, u32)]) -> Moved {
    let strides = strides(shape);
    let mut axes: Vec<Axis> = shape.iter().zip(&strides).map(|(&size, &stride)| Axis::new(size, stride)).collect();
    let mut result = shape.to_vec();
    let narrow = |value: i64| i32::try_from(value).map_err(|_| format!("a place is {value}"));
    for &(at, first, step, length) in cuts {
        if length == 0 {
            return Err("a slice has no values".to_owned());
        }
        (axes[at].size, axes[at].first) = (length, narrow(first)?);
        // Of one place, the step says nothing.
        axes[at].step = if length == 1 { 1 } else { narrow(step)? };
        result[at] = length;
    }
    Ok((rearrange(shape, &axes)?, result))
}

/// The cuts of a `Slice`, by ONNX's rules for places past the ends.
pub(crate) fn cuts(
    shape: &[u32],
    starts: &[i64],
    ends: &[i64],
    axes: Option<Vec<i64>>,
    steps: Option<Vec<i64>>,
) -> Result<Vec<(usize, i64, i64, u32)>> {
    let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err("starts, ends, axes and steps must have as many values each".to_owned());
    }
    let mut cuts = Vec::new();
    for (((&start, &end), at), step) in starts.iter().zip(ends).zip(axes).zip(steps) {
        let at = axis(at, shape.len())?;
        let length = i64::from(shape[at]);
        let counted = |place: i64| if place < 0 { place.saturating_add(length) } else { place };
        let (start, end) = (counted(start), counted(end));
        let many = match step {
            0 => return Err("a step is 0".to_owned()),
            1.. => {
                let (start, end) = (start.clamp(0, length), end.clamp(0, length));
                (start, (end - start).max(0).unsigned_abs().div_ceil(step.unsigned_abs()))
            }
            _ => {
                // An axis of size 0 has no last place; a slice of it is as empty from place 0.
                let last = length - 1;
                let (start, end) = (start.clamp(0, last.max(0)).min(last), end.clamp(-1, last));
                (start, (start - end).max(0).unsigned_abs().div_ceil(step.unsigned_abs()))
            }
        };
        cuts.push((at, many.0, step, u32::try_from(many.1).map_err(|_| "a slice is too long")?));
    }
    Ok(cuts)
}

/// Padding around a tensor; below 0 it cuts.
pub(crate) fn pad(shape: &[u32], pads: &[i64], axes: Option<Vec<i64>>, mode: PaddingMode, value: f32) -> Moved {
    let rank = shape.len();
    let axes = axes.unwrap_or_else(|| (0..rank as i64).collect());
    if pads.len() != 2 * axes.len() {
        return Err(format!("pads has {} values; it must have {}", pads.len(), 2 * axes.len()));
    }
    let strides = strides(shape);
    let mut all: Vec<Axis> = shape.iter().zip(&strides).map(|(&size, &stride)| Axis::new(size, stride)).collect();
    let mut result = shape.to_vec();
    for (index, &at) in axes.iter().enumerate() {
        let at = axis(at, rank)?;
        let (before, after) = (pads[index], pads[axes.len() + index]);
        let padded = i64::from(shape[at]).saturating_add(before).saturating_add(after);
        if padded < 1 {
            return Err(format!("pads of {before} and {after} leave {padded} of {}", shape[at]));
        }
        result[at] = size(padded)?;
        all[at].size = result[at];
        let first = before.checked_neg().and_then(|first| i32::try_from(first).ok());
        all[at].first = first.ok_or_else(|| format!("a pad is {before}"))?;
    }
    let padded = rearrange(shape, &all)?.padding(mode, value);
    padded.check().map_err(|error| error.to_string())?;
    Ok((padded, result))
}

/// What has size 1 is repeated.
pub(crate) fn expand(shape: &[u32], wanted: &[u32]) -> Moved {
    let shape = [vec![1; wanted.len() - shape.len()], shape.to_vec()].concat();
    let strides = strides(&shape);
    let axes = shape.iter().zip(&strides).zip(wanted).map(|((&own, &stride), &size)| {
        let repeated = own == 1 && size > 1;
        Axis { size, input_size: own, step: i32::from(!repeated), ..Axis::new(own, stride) }
    });
    Ok((rearrange(&shape, &axes.collect::<Vec<_>>())?, wanted.to_vec()))
}

/// Each axis so many times.
pub(crate) fn tile(shape: &[u32], repeats: &[i64]) -> Moved {
    if repeats.len() != shape.len() {
        return Err(format!("repeats has {} values; it must have {}", repeats.len(), shape.len()));
    }
    let strides = strides(shape);
    let mut axes = Vec::new();
    let mut result = Vec::new();
    for ((&own, &stride), &times) in shape.iter().zip(&strides).zip(repeats) {
        let times = size(times)?;
        axes.push(Axis { size: times, input_size: 1, input_stride: 0, first: 0, step: 0 });
        axes.push(Axis::new(own, stride));
        result.push(own.checked_mul(times).ok_or("the result is too large")?);
    }
    axes.retain(|axis| axis.size != 1);
    Ok((rearrange(shape, &axes)?, result))
}

/// Channels made into pixels.
pub(crate) fn depth_to_space(shape: &[u32], block: u32, is_column_row: bool) -> Moved {
    let &[batch, channels, height, width] = shape else { return Err(format!("{shape:?} must have four axes")) };
    let area = block.checked_mul(block).filter(|&area| area > 0 && channels % area == 0);
    let area = area.ok_or_else(|| format!("{channels} channels are no multiple of {block} times {block}"))?;
    let channels = channels / area;
    let (sizes, order) = if is_column_row {
        ([batch, channels, block, block, height, width], [0, 1, 4, 2, 5, 3])
    } else {
        ([batch, block, block, channels, height, width], [0, 3, 4, 1, 5, 2])
    };
    let (rearrange, _) = transpose(&sizes, &order)?;
    let large = |size: u32| size.checked_mul(block).ok_or("the result is too large");
    Ok((rearrange, vec![batch, channels, large(height)?, large(width)?]))
}

/// Pixels made into channels.
pub(crate) fn space_to_depth(shape: &[u32], block: u32, is_column_row: bool) -> Moved {
    let &[batch, channels, height, width] = shape else { return Err(format!("{shape:?} must have four axes")) };
    if block == 0 || height % block != 0 || width % block != 0 {
        return Err(format!("{height} x {width} is no multiple of {block}"));
    }
    let (height, width) = (height / block, width / block);
    let order = if is_column_row { [0, 1, 3, 5, 2, 4] } else { [0, 3, 5, 1, 2, 4] };
    let (rearrange, _) = transpose(&[batch, channels, height, block, width, block], &order)?;
    let deep = channels.checked_mul(block).and_then(|size| size.checked_mul(block)).ok_or("the result is too large")?;
    Ok((rearrange, vec![batch, deep, height, width]))
}

/// The axes of a batch, of which neighbours that behave alike become one: at most two, with along which each operand has
/// values of its own.
pub(crate) fn batch_axes(batch: &[u32], operands: [&[u32]; 2]) -> Result<([u32; 2], [[bool; 2]; 2])> {
    let mut axes: Vec<(u32, [bool; 2])> = Vec::new();
    for (at, &size) in batch.iter().enumerate().filter(|(_, size)| **size != 1) {
        let varies = operands.map(|shape| shape[at] == size);
        match axes.last_mut() {
            Some((outer, same)) if *same == varies => {
                *outer = outer.checked_mul(size).ok_or("the batch is too large")?;
            }
            _ => axes.push((size, varies)),
        }
    }
    if axes.len() > 2 {
        return Err(format!("a batch of {batch:?} broadcasts in too many ways"));
    }
    while axes.len() < 2 {
        axes.insert(0, (1, [true; 2]));
    }
    let varies = |operand: usize| [axes[0].1[operand], axes[1].1[operand]];
    Ok(([axes[0].0, axes[1].0], [varies(0), varies(1)]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::shape::broadcast;

    /// Every position of a shape, the last axis running first.
    fn positions(shape: &[u32]) -> Vec<Vec<i64>> {
        let mut all = vec![Vec::new()];
        for &size in shape {
            let longer = |position: &Vec<i64>| {
                (0..i64::from(size)).map(|at| [&position[..], &[at]].concat()).collect::<Vec<_>>()
            };
            all = all.iter().flat_map(longer).collect();
        }
        all
    }

    fn place(shape: &[u32], position: &[i64]) -> usize {
        let place = shape.iter().zip(position).fold(0, |place, (&size, &at)| place * i64::from(size) + at);
        usize::try_from(place).unwrap()
    }

    /// Asserts that each position of the output shows this position of the input; none for padding.
    fn check(shape: &[u32], moved: Moved, result: &[u32], source: impl Fn(&[i64]) -> Option<Vec<i64>>) {
        let (rearrange, shape_of_result) = moved.unwrap();
        assert_eq!(shape_of_result, result);
        let expected: Vec<_> =
            positions(result).iter().map(|position| source(position).map(|source| place(shape, &source))).collect();
        assert_eq!(places(&rearrange).collect::<Vec<_>>(), expected, "{shape:?} to {result:?}");
        // A stretch is one.
        if let Some(start) = as_stretch(&rearrange) {
            let first = usize::try_from(start).unwrap();
            assert!(expected.iter().enumerate().all(|(index, &place)| place == Some(first + index)), "{expected:?}");
        }
    }

    #[test]
    fn transposes() {
        let shape = [2, 3, 1, 4];
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [0, 2, 3, 1], [1, 0, 3, 2], [2, 0, 1, 3], [0, 3, 1, 2]] {
            let result = order.map(|at: u32| shape[at as usize]);
            check(&shape, transpose(&shape, &order), &result, |position| {
                let mut source = vec![0; 4];
                for (&at, &value) in order.iter().zip(position) {
                    source[at as usize] = value;
                }
                Some(source)
            });
        }
        assert_eq!(transpose(&shape, &[]), transpose(&shape, &[3, 2, 1, 0]));
        for order in [&[0, 1, 2][..], &[0, 1, 2, 2], &[0, 1, 2, 4], &[0, 1, 2, 3, 4]] {
            assert!(transpose(&shape, order).is_err(), "{order:?}");
        }
    }

    /// A slice by ONNX's rules, for one axis: Python's, but backwards a start before the first place is the first place.
    fn sliced(length: i64, start: i64, end: i64, step: i64) -> Vec<i64> {
        let counted = |place: i64| if place < 0 { place.saturating_add(length) } else { place };
        let (start, end) = (counted(start), counted(end));
        let mut places = Vec::new();
        if step > 0 {
            let mut at = start.max(0);
            while at < end.min(length) {
                places.push(at);
                at += step;
            }
        } else {
            let mut at = start.clamp(0, length - 1);
            while at > end.max(-1) {
                places.push(at);
                at += step;
            }
        }
        places
    }

    #[test]
    fn slices_with_any_step() {
        let shape = [3, 7];
        let mut empty = 0;
        for start in [-9, -7, -1, 0, 2, 6, 7, 99, i64::MAX, i64::MIN] {
            for end in [-9, -8, -2, 0, 3, 7, 8, i64::MAX, i64::MIN] {
                for step in [-8, -3, -2, -1, 1, 2, 3, 7, 8] {
                    let expected = sliced(7, start, end, step);
                    let cuts = cuts(&shape, &[start], &[end], Some(vec![-1]), Some(vec![step])).unwrap();
                    assert_eq!(cuts[0].3 as usize, expected.len(), "{start}..{end} by {step}");
                    if expected.is_empty() {
                        empty += 1;
                        assert!(slice(&shape, &cuts).is_err());
                        continue;
                    }
                    let result = [3, cuts[0].3];
                    check(&shape, slice(&shape, &cuts), &result, |position| {
                        Some(vec![position[0], expected[usize::try_from(position[1]).unwrap()]])
                    });
                }
            }
        }
        assert!(empty > 100, "{empty}");
        assert!(cuts(&shape, &[0], &[1], None, Some(vec![0])).is_err());
        assert!(cuts(&shape, &[0], &[1], Some(vec![2]), None).is_err());
        assert!(cuts(&shape, &[0, 0], &[1], None, None).is_err());
    }

    #[test]
    fn pads_of_every_mode() {
        let shape = [2, 4];
        for (before, after) in [(0, 0), (1, 0), (0, 3), (3, 2), (-1, 0), (2, -3), (-1, -2)] {
            let length = 4 + before + after;
            for mode in [PaddingMode::Zeros, PaddingMode::Reflect, PaddingMode::Replicate, PaddingMode::Circular] {
                let source = |at: i64| match mode {
                    PaddingMode::Zeros => (0..4).contains(&at).then_some(at),
                    PaddingMode::Replicate => Some(at.clamp(0, 3)),
                    PaddingMode::Circular => Some(at.rem_euclid(4)),
                    PaddingMode::Reflect => Some([0, 1, 2, 3, 2, 1][usize::try_from(at.rem_euclid(6)).unwrap()]),
                };
                let result = [2, u32::try_from(length).unwrap()];
                check(&shape, pad(&shape, &[0, before, 0, after], None, mode, 0.0), &result, |position| {
                    Some(vec![position[0], source(position[1] - before)?])
                });
                let named = pad(&shape, &[before, after], Some(vec![-1]), mode, 0.0);
                assert_eq!(named, pad(&shape, &[0, before, 0, after], None, mode, 0.0));
            }
        }
        // More than there is to mirror; nothing left; as many pads as axes.
        assert!(pad(&shape, &[0, 4, 0, 0], None, PaddingMode::Reflect, 0.0).is_err());
        assert!(pad(&shape, &[0, 0, 0, 5], None, PaddingMode::Circular, 0.0).is_err());
        assert!(pad(&shape, &[0, -2, 0, -2], None, PaddingMode::Zeros, 0.0).is_err());
        assert!(pad(&shape, &[1, 1], None, PaddingMode::Zeros, 0.0).is_err());
    }

    #[test]
    fn repeats() {
        let shape = [2, 1, 3];
        for wanted in [&[2, 1, 3][..], &[2, 5, 3], &[4, 2, 1, 3], &[4, 2, 5, 3], &[1, 1, 2, 5, 3]] {
            let result = broadcast(&shape, wanted).unwrap();
            check(&shape, expand(&shape, &result), wanted, |position| {
                let own = &position[position.len() - 3..];
                Some(vec![own[0], 0, own[2]])
            });
        }
        for times in [[1, 1, 1], [2, 1, 1], [1, 3, 1], [1, 1, 2], [3, 2, 2]] {
            let result: Vec<u32> = shape.iter().zip(times).map(|(size, times)| size * times).collect();
            check(&shape, tile(&shape, &times.map(i64::from)), &result, |position| {
                Some(position.iter().zip(shape).map(|(at, size)| at % i64::from(size)).collect())
            });
        }
        assert!(
            tile(&shape, &[1, 1]).is_err() && tile(&shape, &[1, 0, 1]).is_err() && tile(&shape, &[1, -1, 1]).is_err()
        );
    }

    #[test]
    fn depth_and_space() {
        for is_column_row in [false, true] {
            let (deep, wide) = ([2, 12, 2, 3], [2, 3, 4, 6]);
            let channel = |c: i64, row: i64, column: i64| {
                if is_column_row { c * 4 + row * 2 + column } else { (row * 2 + column) * 3 + c }
            };
            check(&deep, depth_to_space(&deep, 2, is_column_row), &wide, |p| {
                Some(vec![p[0], channel(p[1], p[2] % 2, p[3] % 2), p[2] / 2, p[3] / 2])
            });
            // The way back.
            let (back, shape) = space_to_depth(&wide, 2, is_column_row).unwrap();
            let (forth, _) = depth_to_space(&deep, 2, is_column_row).unwrap();
            let back: Vec<_> = places(&back).flatten().collect();
            assert_eq!(shape, deep);
            assert!(places(&forth).flatten().enumerate().all(|(index, place)| back[place] == index));
        }
        assert!(depth_to_space(&[1, 6, 2, 2], 2, false).is_err() && depth_to_space(&[1, 4, 2, 2], 0, false).is_err());
        assert!(space_to_depth(&[1, 1, 3, 2], 2, false).is_err() && space_to_depth(&[1, 1, 2, 2], 0, false).is_err());
    }

    #[test]
    fn shapes_of_the_same_values() {
        let shape = [2, 3, 4];
        for (wanted, result) in [
            (&[24][..], Some(&[24][..])),
            (&[-1], Some(&[24])),
            (&[0, -1], Some(&[2, 12])),
            (&[4, -1, 2], Some(&[4, 3, 2])),
            (&[0, 0, 0], Some(&[2, 3, 4])),
            (&[-1, -1], None),
            (&[5, -1], None),
            (&[25], None),
            (&[2, 3, 4, 0], None),
            (&[-2], None),
            (&[i64::MAX], None),
        ] {
            assert_eq!(reshape(&shape, wanted, false).ok().as_deref(), result, "{wanted:?}");
        }
        assert!(reshape(&shape, &[0, -1], true).is_err());
        let shape = [1, 3, 1, 4];
        assert_eq!(squeeze(&shape, &[]).unwrap(), [3, 4]);
        assert_eq!(squeeze(&shape, &[-2]).unwrap(), [1, 3, 4]);
        assert!(squeeze(&shape, &[1]).is_err() && squeeze(&shape, &[4]).is_err());
        assert_eq!(unsqueeze(&[3, 4], &[-1, 0]).unwrap(), [1, 3, 4, 1]);
        assert_eq!(unsqueeze(&[3, 4], &[2, 1]).unwrap(), [3, 1, 1, 4]);
        assert!(unsqueeze(&[3, 4], &[1, -3]).is_err() && unsqueeze(&[3, 4], &[3]).is_err());
    }
}
