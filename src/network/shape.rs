//! Shapes of any rank: axes counted from the end, broadcasting.

#![expect(clippy::cast_possible_wrap, reason = "a tensor has few axes")]

/// What is wrong, in words.
type Result<T> = std::result::Result<T, String>;

/// The most axes that a tensor may have. No layer has as many; shapes that a file computes are short lists.
pub(crate) const RANK: usize = 32;

/// How many values a shape has; of one that is much too large, more than there can be.
pub(crate) fn count(shape: &[u32]) -> u64 {
    if shape.contains(&0) {
        return 0;
    }
    shape.iter().fold(1, |count: u64, &size| count.saturating_mul(size.into()))
}

/// How many values a shape has, if a shader can number them.
pub(crate) fn checked_count(shape: &[u32]) -> Option<u64> {
    Some(count(shape)).filter(|&count| count < 1 << 31)
}

/// An axis that may be counted from the end.
pub(crate) fn axis(axis: i64, rank: usize) -> Result<usize> {
    let counted = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(counted).ok().filter(|&counted| counted < rank).ok_or_else(|| {
        format!("axis is {axis}; a tensor with {rank} axes has those from -{rank} to {}", rank as i64 - 1)
    })
}

/// A size that came from whole numbers in a file.
pub(crate) fn size(value: i64) -> Result<u32> {
    u32::try_from(value).map_err(|_| format!("a size is {value}; it must be from 0 to {}", u32::MAX))
}

/// A shape with at least so many axes: some of size 1 come in front.
pub(crate) fn with_rank(shape: &[u32], rank: usize) -> Vec<u32> {
    let missing = rank.saturating_sub(shape.len());
    std::iter::repeat_n(1, missing).chain(shape.iter().copied()).collect()
}

/// The shape of two tensors' broadcast result.
pub(crate) fn broadcast(a: &[u32], b: &[u32]) -> Result<Vec<u32>> {
    let rank = a.len().max(b.len());
    let pairs = with_rank(a, rank).into_iter().zip(with_rank(b, rank));
    let size = |(a, b): (u32, u32)| match (a, b) {
        (1, size) | (size, 1) => Ok(size),
        (a, b) if a == b => Ok(a),
        _ => Err(()),
    };
    let joined: std::result::Result<_, ()> = pairs.map(size).collect();
    joined.map_err(|()| format!("shapes {a:?} and {b:?} do not go together"))
}
