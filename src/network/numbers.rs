//! Constants computed on the host: sizes, places, and what binary operations with a constant really are.

use super::graph::{Constant, Data};
use super::known::Known;
use super::shape::{broadcast, count};
use crate::activation::Activation;
use crate::layers::binary::BinaryOperation;
use crate::layers::reduce::Reduction;

type Result<T> = std::result::Result<T, String>;

/// The most values of a constant that a file computes from others. Sizes and places are few; nobody fills memory from a
/// shape alone.
pub(crate) const MOST: u64 = 1 << 24;

pub(crate) fn check_most(shape: &[u32]) -> Result<usize> {
    let length = count(shape);
    if length > MOST {
        return Err(format!("a constant of shape {shape:?} is larger than {MOST} values"));
    }
    Ok(usize::try_from(length).expect("at most 2^24"))
}

/// A constant as another type. Only constants can be whole numbers.
#[expect(clippy::cast_possible_truncation, reason = "as ONNX's Cast")]
pub(crate) fn cast(known: &Known, to_integers: bool) -> Result<Known> {
    let constant = match known {
        Known::View(_) if to_integers => {
            return Err("values made of the input's cannot become whole numbers".to_owned());
        }
        Known::View(_) => return Ok(known.clone()),
        Known::Constant(constant) => constant,
    };
    let data = match (&constant.data, to_integers) {
        (Data::F32(values), true) => Data::I64(values.iter().map(|&value| value as i64).collect()),
        (Data::I64(values), false) => Data::F32(values.iter().map(|&value| value as f32).collect()),
        (same, _) => same.clone(),
    };
    Ok(Known::Constant(Constant { shape: constant.shape.clone(), data }))
}

#[expect(clippy::cast_possible_truncation, reason = "the file's own value")]
pub(crate) fn filled(shape: &[u32], value: f64, is_integer: bool) -> Result<Constant> {
    let length = check_most(shape)?;
    Ok(if is_integer {
        Constant::integers(shape, vec![value as i64; length])
    } else {
        Constant::floats(shape, vec![value as f32; length])
    })
}

pub(crate) fn range(start: &[i64], limit: &[i64], step: &[i64]) -> Result<Constant> {
    let (&[start], &[limit], &[step]) = (start, limit, step) else {
        return Err("a range takes three numbers".to_owned());
    };
    if step == 0 {
        return Err("a range's step is 0".to_owned());
    }
    let length = (i128::from(limit) - i128::from(start)).signum() == i128::from(step.signum());
    let many = if length {
        (i128::from(limit) - i128::from(start)).unsigned_abs().div_ceil(step.unsigned_abs().into())
    } else {
        0
    };
    let many = u32::try_from(many).map_err(|_| "a range is too long")?;
    check_most(&[many])?;
    let values: Vec<i64> = // Each is between the ends: what wraps, wraps back.
        (0..i64::from(many)).map(|index| start.wrapping_add(index.wrapping_mul(step))).collect();
    Ok(Constant::integers(&[many], values))
}

/// Where each value of a broadcast result lies in a tensor of this shape.
fn places(shape: &[u32], result: &[u32]) -> Result<Vec<usize>> {
    let length = check_most(result)?;
    let missing = result.len() - shape.len();
    let place = |index: usize| {
        let (mut rest, mut place, mut stride) = (index, 0, 1);
        for at in (0..result.len()).rev() {
            let position = rest % result[at] as usize;
            rest /= result[at] as usize;
            if at >= missing {
                let size = shape[at - missing] as usize;
                place += if size == 1 { 0 } else { position * stride };
                stride *= size;
            }
        }
        place
    };
    Ok((0..length).map(place).collect())
}

const TWO_TYPES: &str = "its operands are of two types";

/// What becomes of two values at a time, at their places in a broadcast result.
fn pairs(a: &Constant, b: &Constant) -> Result<(Vec<u32>, impl Iterator<Item = (usize, usize)>)> {
    let shape = broadcast(&a.shape, &b.shape)?;
    let pairs = places(&a.shape, &shape)?.into_iter().zip(places(&b.shape, &shape)?);
    Ok((shape, pairs))
}

pub(crate) fn binary(operation: BinaryOperation, a: &Constant, b: &Constant) -> Result<Constant> {
    let (first, second) = (a.as_integers().ok_or(TWO_TYPES)?, b.as_integers().ok_or(TWO_TYPES)?);
    let (shape, pairs) = pairs(a, b)?;
    let value = |(a, b): (usize, usize)| {
        let (a, b) = (first[a], second[b]);
        match operation {
            BinaryOperation::Add => a.checked_add(b),
            BinaryOperation::Sub => a.checked_sub(b),
            BinaryOperation::Mul => a.checked_mul(b),
            BinaryOperation::Div => a.checked_div(b),
            BinaryOperation::Pow => a.checked_pow(u32::try_from(b).ok()?),
            BinaryOperation::Min => Some(a.min(b)),
            BinaryOperation::Max => Some(a.max(b)),
            BinaryOperation::PRelu => None,
        }
    };
    let values: Option<Vec<i64>> = pairs.map(value).collect();
    Ok(Constant::integers(&shape, values.ok_or("a number is too large, or divided by 0")?))
}

#[expect(clippy::float_cmp, reason = "as ONNX's Equal")]
pub(crate) fn equal(a: &Constant, b: &Constant) -> Result<Constant> {
    let (shape, pairs) = pairs(a, b)?;
    let values: Vec<i64> = match (&a.data, &b.data) {
        (Data::I64(first), Data::I64(second)) => pairs.map(|(a, b)| (first[a] == second[b]).into()).collect(),
        (Data::F32(first), Data::F32(second)) => pairs.map(|(a, b)| (first[a] == second[b]).into()).collect(),
        _ => return Err(TWO_TYPES.to_owned()),
    };
    Ok(Constant::integers(&shape, values))
}

pub(crate) fn choose(condition: &Constant, yes: &Constant, no: &Constant) -> Result<Constant> {
    let conditions = condition.as_integers().ok_or("the condition is no truth values")?;
    let shape = broadcast(&condition.shape, &broadcast(&yes.shape, &no.shape)?)?;
    let [at, first, second] = [&condition.shape, &yes.shape, &no.shape].map(|own| places(own, &shape));
    let (at, first, second) = (at?, first?, second?);
    let is_first = |index: usize| conditions[at[index]] != 0;
    let data = match (&yes.data, &no.data) {
        (Data::I64(yes), Data::I64(no)) => Data::I64(
            (0..at.len()).map(|index| if is_first(index) { yes[first[index]] } else { no[second[index]] }).collect(),
        ),
        (Data::F32(yes), Data::F32(no)) => Data::F32(
            (0..at.len()).map(|index| if is_first(index) { yes[first[index]] } else { no[second[index]] }).collect(),
        ),
        _ => return Err(TWO_TYPES.to_owned()),
    };
    Ok(Constant { shape, data })
}

/// Whole numbers reduced along axes.
pub(crate) fn reduce(
    reduction: Reduction,
    values: &[i64],
    shape: &[u32],
    axes: &[usize],
    keep_axes: bool,
) -> Result<Known> {
    let kept: Vec<u32> =
        shape.iter().enumerate().map(|(at, &size)| if axes.contains(&at) { 1 } else { size }).collect();
    // What each result is made of.
    let mut parts = vec![Vec::new(); check_most(&kept)?];
    for (place, &value) in places(&kept, shape)?.into_iter().zip(values) {
        parts[place].push(value);
    }
    let reduced = parts.iter().map(|values| match reduction {
        Reduction::Sum => values.iter().try_fold(0_i64, |sum, &value| sum.checked_add(value)),
        Reduction::Product => values.iter().try_fold(1_i64, |product, &value| product.checked_mul(value)),
        Reduction::Max => values.iter().copied().max(),
        Reduction::Min => values.iter().copied().min(),
        _ => None,
    });
    let reduced: Option<Vec<i64>> = reduced.collect();
    let reduced = reduced.ok_or("whole numbers cannot be reduced so")?;
    let left = shape.iter().enumerate().filter(|(at, _)| !axes.contains(at)).map(|(_, &size)| size);
    let shape = if keep_axes { kept } else { left.collect() };
    Ok(Known::Constant(Constant::integers(&shape, reduced)))
}

/// Constants one behind the other along an axis.
pub(crate) fn join(parts: &[&Constant], shape: &[u32], at: usize) -> Result<Constant> {
    check_most(shape)?;
    let outer = usize::try_from(count(&shape[..at])).map_err(|_| "the result is too large")?;
    let whole = parts.iter().all(|part| part.as_integers().is_some());
    let run = |part: &Constant| usize::try_from(count(&part.shape[at..])).unwrap_or(0);
    if whole {
        let mut values = Vec::new();
        for block in 0..outer {
            for part in parts {
                values.extend_from_slice(&part.as_integers().unwrap_or_default()[block * run(part)..][..run(part)]);
            }
        }
        return Ok(Constant::integers(shape, values));
    }
    let mut values: Vec<f32> = Vec::new();
    for block in 0..outer {
        for part in parts {
            let part_values = part.as_floats().ok_or("parts of two types cannot be joined")?;
            values.extend_from_slice(&part_values[block * run(part)..][..run(part)]);
        }
    }
    Ok(Constant::floats(shape, values))
}

/// The values at these places along an axis.
pub(crate) fn gather(constant: &Constant, at: usize, indices: &[i64], shape: Vec<u32>) -> Result<Constant> {
    check_most(&shape)?;
    let [outer, along, inner] = [&constant.shape[..at], &constant.shape[at..=at], &constant.shape[at + 1..]]
        .map(|sizes| usize::try_from(count(sizes)).unwrap_or(0));
    let mut places = Vec::new();
    for block in 0..outer {
        for &index in indices {
            let index = usize::try_from(index).map_err(|_| "a place is below 0")?;
            places.extend((0..inner).map(|column| Some((block * along + index) * inner + column)));
        }
    }
    Ok(constant.pick(shape, places.into_iter(), 0.0))
}

/// A binary operation with one number is a function of the other operand.
#[expect(clippy::float_cmp, reason = "these powers and factors are exact")]
pub(crate) fn as_function(operation: BinaryOperation, a: &Known, b: &Known) -> Option<Activation> {
    use BinaryOperation::{Add, Div, Max, Min, Mul, PRelu, Pow, Sub};

    let number = |known: &Known| match known {
        Known::Constant(constant) => match &constant.as_floats()?[..] {
            [number] => Some(*number),
            _ => None,
        },
        Known::View(_) => None,
    };
    if let Some(b) = number(b) {
        if matches!(a, Known::Constant(_)) {
            return None;
        }
        return match operation {
            Add => Some(Activation::Linear(1.0, b)),
            Sub => Some(Activation::Linear(1.0, -b)),
            Mul => Some(Activation::Linear(b, 0.0)),
            // A division by a power of two is a product; another one rounds once more.
            Div if b.is_normal() => Some(Activation::Linear(1.0 / b, 0.0)),
            Max if !b.is_nan() => Some(Activation::Clamp(b, f32::INFINITY)),
            Min if !b.is_nan() => Some(Activation::Clamp(f32::NEG_INFINITY, b)),
            Pow if b == 0.5 => Some(Activation::Sqrt),
            PRelu => Some(Activation::LeakyRelu(b)),
            Pow if b == 1.0 => Some(Activation::None),
            Div | Max | Min | Pow => None,
        };
    }
    let a = number(a)?;
    match operation {
        Add => Some(Activation::Linear(1.0, a)),
        Sub => Some(Activation::Linear(-1.0, a)),
        Mul => Some(Activation::Linear(a, 0.0)),
        Div if a == 1.0 => Some(Activation::Reciprocal),
        Max if !a.is_nan() => Some(Activation::Clamp(a, f32::INFINITY)),
        Min if !a.is_nan() => Some(Activation::Clamp(f32::NEG_INFINITY, a)),
        _ => None,
    }
}

/// A sum or product with one number for each channel of images: the factor and the summand of each channel.
pub(crate) fn as_scale(
    operation: BinaryOperation,
    a: &Known,
    b: &Known,
    shape: &[u32],
) -> Option<(Vec<f32>, Vec<f32>)> {
    let (x, constant, is_second) = match (a, b) {
        (Known::View(x), Known::Constant(constant)) => (x, constant, true),
        (Known::Constant(constant), Known::View(x)) => (x, constant, false),
        _ => return None,
    };
    let values = constant.as_floats()?;
    let channels = *shape.get(1)?;
    // From the last axis: all of size 1 but for the channels.
    let rank = shape.len();
    let own = constant.shape.len();
    let is_per_channel = rank >= 3
        && x.shape == shape
        && values.len() as u64 == u64::from(channels)
        && own + 1 >= rank
        && constant.shape[own + 1 - rank] == channels;
    if !is_per_channel {
        return None;
    }
    let same = |factor: f32| vec![factor; channels as usize];
    let each = |f: fn(f32) -> f32| values.iter().map(|&value| f(value)).collect::<Vec<_>>();
    match (operation, is_second) {
        (BinaryOperation::Add, _) => Some((same(1.0), values.to_vec())),
        (BinaryOperation::Mul, _) => Some((values.to_vec(), same(0.0))),
        (BinaryOperation::Sub, true) => Some((same(1.0), each(|value| -value))),
        (BinaryOperation::Sub, false) => Some((same(-1.0), values.to_vec())),
        (BinaryOperation::Div, true) if values.iter().all(|value| value.is_normal()) => {
            Some((each(|value| 1.0 / value), same(0.0)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::known::View;

    fn whole(shape: &[u32], values: &[i64]) -> Constant {
        Constant::integers(shape, values)
    }

    fn view(shape: &[u32]) -> Known {
        Known::View(View { storage: 0, start: 0, shape: shape.to_vec() })
    }

    fn floats(shape: &[u32], values: &[f32]) -> Known {
        Known::Constant(Constant::floats(shape, values))
    }

    #[test]
    fn whole_numbers_are_broadcast() {
        let (a, b) = (whole(&[2, 1], &[10, 20]), whole(&[3], &[1, 2, 3]));
        let sum = binary(BinaryOperation::Add, &a, &b).unwrap();
        assert_eq!(sum, whole(&[2, 3], &[11, 12, 13, 21, 22, 23]));
        assert_eq!(binary(BinaryOperation::Sub, &b, &a).unwrap(), whole(&[2, 3], &[-9, -8, -7, -19, -18, -17]));
        // Towards 0.
        let seven = whole(&[], &[-7]);
        assert_eq!(binary(BinaryOperation::Div, &seven, &whole(&[], &[2])).unwrap(), whole(&[], &[-3]));
        for (operation, a, b) in [
            (BinaryOperation::Div, 1, 0),
            (BinaryOperation::Div, i64::MIN, -1),
            (BinaryOperation::Add, i64::MAX, 1),
            (BinaryOperation::Mul, i64::MAX, 2),
            (BinaryOperation::Pow, 2, 63),
            (BinaryOperation::Pow, 2, -1),
        ] {
            assert!(binary(operation, &whole(&[], &[a]), &whole(&[], &[b])).is_err(), "{operation:?} {a} {b}");
        }
        assert!(binary(BinaryOperation::Add, &a, &Constant::floats(&[], [1.0])).is_err());
        assert!(binary(BinaryOperation::Add, &whole(&[2], &[1, 2]), &b).is_err());
    }

    #[test]
    fn numbers_are_compared_and_chosen() {
        let condition = equal(&whole(&[3], &[1, 2, 3]), &whole(&[], &[2])).unwrap();
        assert_eq!(condition, whole(&[3], &[0, 1, 0]));
        assert_eq!(choose(&condition, &whole(&[], &[9]), &whole(&[3], &[1, 2, 3])).unwrap(), whole(&[3], &[1, 9, 3]));
        let [half, ends] = [Constant::floats(&[], [0.5]), Constant::floats(&[3], [0.0, 0.5, f32::NEG_INFINITY])];
        assert_eq!(equal(&half, &ends).unwrap(), whole(&[3], &[0, 1, 0]));
        let chosen = choose(&condition, &half, &ends).unwrap();
        assert_eq!(chosen, Constant::floats(&[3], [0.0, 0.5, f32::NEG_INFINITY]));
        assert!(choose(&condition, &half, &whole(&[], &[1])).is_err() && choose(&half, &half, &half).is_err());
    }

    #[test]
    fn ranges() {
        let of = |start, limit, step| range(&[start], &[limit], &[step]);
        assert_eq!(of(2, 9, 3).unwrap(), whole(&[3], &[2, 5, 8]));
        assert_eq!(of(5, -1, -2).unwrap(), whole(&[3], &[5, 3, 1]));
        assert_eq!(of(5, 5, 1).unwrap(), whole(&[0], &[]));
        assert_eq!(of(5, 9, -1).unwrap(), whole(&[0], &[]));
        assert_eq!(of(i64::MIN, i64::MAX, i64::MAX).unwrap(), whole(&[3], &[i64::MIN, -1, i64::MAX - 1]));
        assert!(of(0, 1, 0).is_err() && of(0, 1 << 40, 1).is_err() && range(&[], &[1], &[1]).is_err());
    }

    #[test]
    fn whole_numbers_are_reduced() {
        let of = |reduction, axes: &[usize], keep| reduce(reduction, &[1, 2, 3, 4, 5, 6], &[2, 3], axes, keep);
        let constant = |shape: &[u32], values: &[i64]| Known::Constant(whole(shape, values));
        assert_eq!(of(Reduction::Sum, &[0], false).unwrap(), constant(&[3], &[5, 7, 9]));
        assert_eq!(of(Reduction::Product, &[1], true).unwrap(), constant(&[2, 1], &[6, 120]));
        assert_eq!(of(Reduction::Max, &[0, 1], true).unwrap(), constant(&[1, 1], &[6]));
        assert_eq!(of(Reduction::Min, &[0, 1], false).unwrap(), constant(&[], &[1]));
        assert!(of(Reduction::Mean, &[0], false).is_err());
    }

    #[test]
    fn constants_are_joined_and_gathered() {
        let (a, b) = (whole(&[2, 1], &[1, 2]), whole(&[2, 2], &[3, 4, 5, 6]));
        assert_eq!(join(&[&a, &b], &[2, 3], 1).unwrap(), whole(&[2, 3], &[1, 3, 4, 2, 5, 6]));
        assert!(join(&[&a, &Constant::floats(&[2, 1], [1.0, 2.0])], &[2, 2], 1).is_err());
        assert_eq!(gather(&b, 1, &[1, 0, 1], vec![2, 3]).unwrap(), whole(&[2, 3], &[4, 3, 4, 6, 5, 6]));
        assert_eq!(gather(&b, 0, &[1], vec![2]).unwrap(), whole(&[2], &[5, 6]));
    }

    #[test]
    fn an_operation_with_one_number_is_a_function() {
        use BinaryOperation::{Add, Div, Max, Min, Mul, PRelu, Pow, Sub};
        let (x, number) = (view(&[2, 3]), |value| floats(&[1], &[value]));
        for (operation, value) in [
            (Add, 3.0),
            (Sub, 3.0),
            (Mul, 3.0),
            (Div, 4.0),
            (Max, 1.0),
            (Min, 1.0),
            (Pow, 0.5),
            (Pow, 1.0),
            (PRelu, 0.25),
        ] {
            let function = as_function(operation, &x, &number(value)).unwrap();
            for at in [-2.0, 0.0, 0.5, 7.0] {
                let (right, value) = (operation.apply(at, value.into()), function.apply(at));
                assert!(
                    (right - value).abs() < 1e-12 || right.is_nan() && value.is_nan(),
                    "{operation:?} {at}: {value} is not {right}"
                );
            }
        }
        for (operation, value) in [(Add, 3.0), (Sub, 3.0), (Mul, 3.0), (Div, 1.0), (Max, 1.0), (Min, 1.0)] {
            let function = as_function(operation, &number(value), &x).unwrap();
            for at in [-2.0, 0.5, 7.0] {
                let (right, value) = (operation.apply(value.into(), at), function.apply(at));
                assert!((right - value).abs() < 1e-12, "{operation:?} {at}: {value} is not {right}");
            }
        }
        for (operation, value) in [(Div, 0.0), (Div, 1e-40), (Max, f32::NAN), (Pow, 3.0)] {
            assert_eq!(as_function(operation, &x, &number(value)), None, "{operation:?} {value}");
        }
        assert_eq!(as_function(Div, &number(2.0), &x), None);
        assert_eq!(as_function(Add, &x, &floats(&[2], &[1.0, 2.0])), None);
        assert_eq!(as_function(Add, &x, &x), None);
    }

    #[test]
    fn one_number_for_each_channel_is_a_scale() {
        use BinaryOperation::{Add, Div, Max, Mul, Sub};
        let of = |operation, a: &Known, b: &Known| as_scale(operation, a, b, &[1, 2, 3, 4]);
        let (x, each) = (view(&[1, 2, 3, 4]), floats(&[2, 1, 1], &[2.0, 4.0]));
        assert_eq!(of(Add, &x, &each), Some((vec![1.0; 2], vec![2.0, 4.0])));
        assert_eq!(of(Mul, &each, &x), Some((vec![2.0, 4.0], vec![0.0; 2])));
        assert_eq!(of(Sub, &x, &each), Some((vec![1.0; 2], vec![-2.0, -4.0])));
        assert_eq!(of(Sub, &each, &x), Some((vec![-1.0; 2], vec![2.0, 4.0])));
        assert_eq!(of(Div, &x, &each), Some((vec![0.5, 0.25], vec![0.0; 2])));
        assert_eq!(of(Div, &each, &x), None);
        assert_eq!(of(Div, &x, &floats(&[2, 1, 1], &[2.0, 0.0])), None);
        assert_eq!(of(Max, &x, &each), None);
        // Along another axis; a tensor that is itself repeated.
        assert_eq!(of(Add, &x, &floats(&[4], &[0.0; 4])), None);
        assert_eq!(of(Add, &x, &floats(&[1, 2, 1], &[0.0; 2])), None);
        assert_eq!(of(Add, &view(&[1, 1, 3, 4]), &each), None);
    }
}
