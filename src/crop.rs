//! The step that copies a window of each plane of a tensor: some taps of a filter, or a whole stretch to where it is
//! aligned.

use crate::error::{Error, Result};
use crate::extent::Extent;
use crate::program::{Binding, Slice, Step};
use crate::shader::{Shader, part};
use crate::size::Size;

const SHADER: Shader = Shader {
    name: "crop",
    own: include_str!("../shaders/crop.wgsl"),
    parts: &[&[part::EXTENT, part::ELEMENT, part::INPUT, part::OUTPUT]],
};

/// The size that the shader has.
const WORKGROUP_SIZE: u64 = 64;

/// A step that copies the window that starts at `[top, left]` in each plane, and its grid.
///
/// # Errors
/// [`Error::Overflow`] for more planes than a shader can count.
pub(crate) fn step(
    (from, from_size): (Slice, Size),
    (to, to_size): (Slice, Size),
    [top, left]: [u32; 2],
    planes: u64,
) -> Result<(Step, [u64; 3])> {
    let shape = [1, u32::MAX, to_size.height, to_size.width];
    let out_channels = u32::try_from(planes).map_err(|_| Error::Overflow { argument: "weight", shape })?;
    let extent = Extent {
        in_height: from_size.height,
        in_width: from_size.width,
        out_channels,
        out_height: to_size.height,
        out_width: to_size.width,
        top: top.cast_signed(),
        left: left.cast_signed(),
        ..Extent::default()
    };
    let bindings = vec![Binding::read(1, from), Binding::write(5, to)];
    let step = Step::new(SHADER, "main", Vec::new(), extent.words(), bindings);
    Ok((step, [to.length.div_ceil(WORKGROUP_SIZE), 1, 1]))
}

/// A step that copies a stretch as it is, and its grid.
pub(crate) fn copy(from: Slice, to: Slice) -> Result<(Step, [u64; 3])> {
    let width =
        u32::try_from(from.length).map_err(|_| Error::Overflow { argument: "tensor", shape: [1, 1, 1, u32::MAX] })?;
    let row = Size { height: 1, width };
    step((from, row), (to, row), [0, 0], 1)
}
