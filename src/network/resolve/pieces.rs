//! Tensors that are joined, cut, padded and picked from.

use super::resolver::{Operands, ResolvedLayer, Resolver, Result, Source, check_size};
use crate::network::graph::Constant;
use crate::network::known::{Known, Place, View};
use crate::network::shape::{axis, count, size};
use crate::network::{movement, numbers};
use crate::size::PaddingMode;

/// The most copies of which a tensor may be joined.
const MOST_PIECES: u64 = 1 << 16;

impl Resolver {
    pub(super) fn concat(&mut self, operands: &Operands<'_>, at: i64) -> Result<Known> {
        let parts: Vec<Known> = operands.known.iter().flatten().cloned().collect();
        let rank = parts[0].shape().len();
        let at = axis(at, rank)?;
        let mut shape = parts[0].shape().to_vec();
        shape[at] = 0;
        for part in &parts {
            let mut same = part.shape().to_vec();
            if same.len() != rank {
                return Err(format!("parts have {rank} and {} axes", same.len()));
            }
            let along = std::mem::replace(&mut same[at], 0);
            let mut whole = shape.clone();
            whole[at] = 0;
            if same != whole {
                return Err(format!(
                    "parts have shapes {:?} and {:?}, which differ in another axis than {at}",
                    parts[0].shape(),
                    part.shape()
                ));
            }
            shape[at] = shape[at].checked_add(along).ok_or("the result is too large")?;
        }
        check_size(&shape)?;
        let constants: Option<Vec<&Constant>> = parts.iter().map(|part| part.constant("").ok()).collect();
        if let Some(constants) = constants {
            return Ok(Known::Constant(numbers::join(&constants, &shape, at)?));
        }
        let parts: Vec<Known> = parts.into_iter().filter(|part| count(part.shape()) > 0).collect();
        if let [part] = &parts[..] {
            return Ok(part.clone());
        }
        let length = count(&shape);
        let outer = count(&shape[..at]);
        let inner = count(&shape[at + 1..]);
        // Each is a layer of its own.
        if outer.saturating_mul(parts.len() as u64) > MOST_PIECES {
            return Err(format!(
                "it joins {} parts in {outer} places; together, {MOST_PIECES} are possible",
                parts.len()
            ));
        }
        let storage = self.storage(length, false);
        let mut start = 0;
        for part in &parts {
            let along = u64::from(part.shape()[at]) * inner;
            for block in 0..outer {
                let run = u32::try_from(along).map_err(|_| "a part is too large")?;
                let source = match part {
                    Known::View(view) => {
                        Source::Place(Place { storage: view.storage, start: view.start + block * along, length: along })
                    }
                    Known::Constant(_) => {
                        Source::Constant(part.floats("a part")?[(block * along) as usize..][..run as usize].into())
                    }
                };
                let copy = movement::copy(run)?;
                let output = Place { storage, start: block * u64::from(shape[at]) * inner + start, length: along };
                let name = operands.node.name.clone();
                self.resolved.layers.push(ResolvedLayer { name, layer: copy.into(), sources: vec![source], output });
            }
            start += along;
        }
        Ok(Known::View(View { storage, start: 0, shape }))
    }

    pub(super) fn split(&mut self, operands: &Operands<'_>, at: i64, sizes: &[i64]) -> Result<Vec<Known>> {
        let x = operands.need(0)?;
        let at = axis(at, x.shape().len())?;
        let mut sizes = match operands.get(1) {
            Some(known) => known.integers("sizes")?,
            None => sizes.to_vec(),
        };
        let whole = i64::from(x.shape()[at]);
        if sizes.is_empty() {
            let parts = operands.node.outputs.len().max(1) as i64;
            let each = (whole + parts - 1) / parts;
            sizes = (0..parts).map(|part| each.min(whole - part * each).max(0)).collect();
        }
        let sum = sizes.iter().try_fold(0_i64, |sum, &size| sum.checked_add(size));
        if sum != Some(whole) || sizes.iter().any(|&size| size < 0) {
            return Err(format!("sizes are {sizes:?}; they must add up to {whole}"));
        }
        let mut start = 0;
        let mut parts = Vec::new();
        for along in sizes {
            let cut = [(at, start, 1, size(along)?)];
            if along == 0 {
                parts.push(without_values(x, &cut));
                continue;
            }
            let (rearrange, shape) = movement::slice(x.shape(), &cut)?;
            parts.push(self.moved(&operands.node.name, x, rearrange, shape)?);
            start += along;
        }
        Ok(parts)
    }

    pub(super) fn slice(&mut self, operands: &Operands<'_>) -> Result<Known> {
        let x = operands.need(0)?;
        let list = |index: usize| operands.get(index).map(|known| known.integers("places")).transpose();
        let (starts, ends) = (list(1)?.ok_or("starts are missing")?, list(2)?.ok_or("ends are missing")?);
        let cuts = movement::cuts(x.shape(), &starts, &ends, list(3)?, list(4)?)?;
        if cuts.iter().any(|&(.., length)| length == 0) {
            return Ok(without_values(x, &cuts));
        }
        let (rearrange, shape) = movement::slice(x.shape(), &cuts)?;
        self.moved(&operands.node.name, x, rearrange, shape)
    }

    pub(super) fn pad(&mut self, operands: &Operands<'_>, mode: PaddingMode) -> Result<Known> {
        let x = operands.need(0)?;
        let pads = operands.need(1)?.integers("pads")?;
        let value = match operands.get(2) {
            Some(known) => known.floats("the value")?.first().copied().unwrap_or(0.0),
            None => 0.0,
        };
        let axes = operands.get(3).map(|known| known.integers("axes")).transpose()?;
        let (rearrange, shape) = movement::pad(x.shape(), &pads, axes, mode, value)?;
        self.moved(&operands.node.name, x, rearrange, shape)
    }

    pub(super) fn gather(&mut self, operands: &Operands<'_>, at: i64) -> Result<Known> {
        let (x, places) = (operands.need(0)?, operands.need(1)?);
        let at = axis(at, x.shape().len())?;
        let size_there = i64::from(x.shape()[at]);
        let indices = places.integers("places")?;
        let indices = indices.into_iter().map(|index| {
            let counted = if index < 0 { index + size_there } else { index };
            if (0..size_there).contains(&counted) {
                Ok(counted)
            } else {
                Err(format!("place {index} is past {size_there}"))
            }
        });
        let indices = indices.collect::<Result<Vec<_>>>()?;
        let shape = [&x.shape()[..at], places.shape(), &x.shape()[at + 1..]].concat();
        if let Known::Constant(constant) = x {
            return Ok(Known::Constant(numbers::gather(constant, at, &indices, shape)?));
        }
        let step = indices.windows(2).map(|pair| pair[1] - pair[0]).next().unwrap_or(1);
        if indices.is_empty() || indices.windows(2).any(|pair| pair[1] - pair[0] != step) {
            return Err("places are not evenly apart".to_owned());
        }
        let (rearrange, _) = movement::slice(x.shape(), &[(at, indices[0], step, size(indices.len() as i64)?)])?;
        self.moved(&operands.node.name, x, rearrange, shape)
    }
}

/// What is left of a tensor by cuts of which one leaves nothing.
fn without_values(x: &Known, cuts: &[(usize, i64, i64, u32)]) -> Known {
    let mut shape = x.shape().to_vec();
    for &(at, _, _, length) in cuts {
        shape[at] = length;
    }
    let is_whole = matches!(x, Known::Constant(constant) if constant.as_integers().is_some());
    Known::Constant(if is_whole { Constant::integers(&shape, []) } else { Constant::floats(&shape, []) })
}
