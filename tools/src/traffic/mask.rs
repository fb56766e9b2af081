//! `Mask`: which invocations of a workgroup are at a statement.

use super::SUBGROUP;

/// One word for each subgroup, one bit for each invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask(Vec<u32>);

impl Mask {
    pub fn none(invocations: usize) -> Self {
        Self(vec![0; invocations.div_ceil(SUBGROUP)])
    }

    pub fn of(invocations: usize, is_in: impl Fn(usize) -> bool) -> Self {
        let mut mask = Self::none(invocations);
        for invocation in (0..invocations).filter(|&invocation| is_in(invocation)) {
            mask.0[invocation / SUBGROUP] |= 1 << (invocation % SUBGROUP);
        }
        mask
    }

    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|&word| word == 0)
    }

    pub fn and(&self, other: &Self) -> Self {
        self.with(other, |a, b| a & b)
    }

    pub fn and_not(&self, other: &Self) -> Self {
        self.with(other, |a, b| a & !b)
    }

    pub fn or(&self, other: &Self) -> Self {
        self.with(other, |a, b| a | b)
    }

    fn with(&self, other: &Self, combine: impl Fn(u32, u32) -> u32) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(&a, &b)| combine(a, b)).collect())
    }

    /// How many invocations it has.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// How many subgroups have an invocation in it.
    pub fn subgroups(&self) -> u64 {
        self.0.iter().filter(|&&word| word != 0).count() as u64
    }

    /// The invocations of each subgroup that has some.
    pub fn by_subgroup(&self) -> impl Iterator<Item = impl Iterator<Item = usize> + use<>> {
        let words = self.0.iter().enumerate().filter(|&(_, &word)| word != 0);
        words.map(|(subgroup, &word)| {
            (0..SUBGROUP).filter(move |bit| word >> bit & 1 == 1).map(move |bit| subgroup * SUBGROUP + bit)
        })
    }

    pub fn invocations(&self) -> impl Iterator<Item = usize> {
        self.by_subgroup().flatten()
    }
}
