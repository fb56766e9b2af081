//! Weights that are packed once for kernels that read four output channels as one: `[group][term][channels, padded to 4]`.

use super::convolution::Layout;
use super::rearrange;
use super::row::Lowering;
use crate::error::Result;
use crate::geometry::Geometry;
use crate::layers::rearrange::{Axis, Rearrange};
use crate::program::{Kind, Program, Slice};
use crate::size::MAXIMUM_EXTENT;
use crate::target::Target;

/// For a kernel that reads packed weights, and the other tensors a value at a time.
pub(super) const PACKED: Layout = Layout { alignment: [1, 4, 1, 1, 1], channels: 4, pack: Some(pack) };

/// The values of a layer's packed weight.
fn length(geometry: &Geometry) -> u64 {
    let channels = geometry.out_channels_per_group().next_multiple_of(4);
    u64::from(geometry.groups) * geometry.terms() * u64::from(channels)
}

/// What such a kernel needs of a layer.
pub(super) fn check(geometry: &Geometry, target: &Target) -> std::result::Result<(), &'static str> {
    let fits = 4 * geometry.terms() <= target.binding_values();
    let length = length(geometry);
    if !fits || target.dtype.bytes_of(length) > target.limits.max_buffer_size || length > MAXIMUM_EXTENT {
        return Err("it needs 4 filters in a binding, and its weight in a buffer once channels are padded to fours");
    }
    Ok(())
}

/// Packs the weight of a part of a layer, which is this stretch, into a buffer of its own.
fn pack(program: &mut Program, weight: Slice, part: &Geometry, lowering: &Lowering<'_>) -> Result<Slice> {
    let narrow = |size: u64| u32::try_from(size).expect("a size of a weight that fits in a binding");
    let (channels, terms) = (part.out_channels_per_group(), narrow(part.terms()));
    let axes = [
        Axis::new(part.groups, channels * terms),
        Axis::new(terms, 1),
        Axis { size: channels.next_multiple_of(4), ..Axis::new(channels, terms) },
    ];
    pack_as(program, weight, "packed weight", &axes, lowering)
}

/// Packs this stretch of a parameter in the order that these axes say, into a buffer of its own.
pub(super) fn pack_as(
    program: &mut Program,
    parameter: Slice,
    name: &'static str,
    axes: &[Axis],
    lowering: &Lowering<'_>,
) -> Result<Slice> {
    let length = u32::try_from(parameter.length).expect("a parameter that fits in a binding");
    let packing = rearrange::KERNEL.lower(&Rearrange::new(length, axes)?.into(), 0, lowering)?;
    let buffer = program.hidden(Kind::Packed, name, axes.iter().map(|axis| u64::from(axis.size)).product())?;
    let (packed, [from, to]) = (program.whole(buffer), packing.ends());
    program.prepare_by(packing, &[(from, parameter), (to, packed)])?;
    Ok(packed)
}
