//! Planes of another size.

use super::resolver::{Operands, Resolver, Result, check_length, words};
use crate::layers::resize::{Coordinates, Interpolation, Resize2d};
use crate::network::known::Known;
use crate::network::operation::Operation;
use crate::network::shape::{axis, count, size};
use crate::size::Size;

impl Resolver {
    pub(super) fn resize(&mut self, operands: &Operands<'_>) -> Result<Known> {
        let Operation::Resize { coordinates, interpolation, axes } = &operands.node.operation else { unreachable!() };
        let x = operands.need(0)?;
        let rank = x.shape().len();
        let axes = if axes.is_empty() {
            (0..rank).collect()
        } else {
            axes.iter().map(|&at| axis(at, rank)).collect::<Result<Vec<_>>>()?
        };
        let present = |index: usize| operands.get(index).filter(|known| count(known.shape()) > 0);
        let mut output = x.shape().to_vec();
        let mut scales = vec![None; rank];
        if let Some(sizes) = present(3) {
            let sizes = sizes.integers("sizes")?;
            check_length("sizes", sizes.len(), axes.len())?;
            for (&at, &wanted) in axes.iter().zip(&sizes) {
                output[at] = size(wanted)?;
            }
        } else {
            let given = present(2).ok_or("neither scales nor sizes are given")?.floats("scales")?;
            check_length("scales", given.len(), axes.len())?;
            for (&at, &scale) in axes.iter().zip(given.iter()) {
                if !(scale.is_finite() && scale > 0.0) {
                    return Err(format!("a scale is {scale}; it must be a number above 0"));
                }
                let wanted = (f64::from(output[at]) * f64::from(scale)).floor();
                if !(1.0..=f64::from(i32::MAX)).contains(&wanted) {
                    return Err(format!("a scale is {scale}, which makes a size of {wanted}"));
                }
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 1 to 2^31")]
                let wanted = wanted as u32;
                (output[at], scales[at]) = (wanted, Some(scale));
            }
        }
        let changed: Vec<usize> = (0..rank).filter(|&at| output[at] != x.shape()[at]).collect();
        if changed.is_empty() && matches!(interpolation, Interpolation::Nearest(_)) {
            return Ok(x.clone());
        }
        let spatial = rank.saturating_sub(2);
        if rank < 3 || changed.iter().any(|&at| at < spatial) {
            return Err(format!("{:?} becomes {output:?}; only the last two axes may change", x.shape()));
        }
        let plane = |shape: &[u32]| Size { height: shape[rank - 2], width: shape[rank - 1] };
        // A tensor of rows: their channels are no axis to resize.
        let planes = u32::try_from(count(&x.shape()[..spatial])).map_err(|_| "the input is too large")?;
        let mut layer =
            Resize2d::new(planes, plane(x.shape()), plane(&output), *coordinates, *interpolation).map_err(words)?;
        for (index, at) in [rank - 2, rank - 1].into_iter().enumerate() {
            if let Some(scale) = scales[at] {
                layer.scale[index] = scale;
            }
        }
        if *coordinates == Coordinates::AlignCorners {
            // Its line follows from the sizes.
            layer.scale = Resize2d::new(planes, plane(x.shape()), plane(&output), *coordinates, *interpolation)
                .map_err(words)?
                .scale;
        }
        self.emit(&operands.node.name, layer.into(), vec![x.clone()], output)
    }
}
