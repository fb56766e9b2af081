//! What the kernels of layers besides convolutions share: one step reads all that the layer is given, and writes its
//! output.

use super::convolution::shader;
use super::row::{Kernel, Lowering, Variant};
use crate::error::{Error, Result};
use crate::extent::Extent;
use crate::layer::Sizes;
use crate::program::{Binding, Kind, Name, OFFSETS, Program, Step};
use crate::size::values;
use crate::target::Target;

/// A uniform: where the step starts in its grid, where its tensors start in their bindings, and then these words.
pub(super) fn uniform(words: impl IntoIterator<Item = u32>) -> Vec<u32> {
    [0; 3 + OFFSETS].into_iter().chain(words).collect()
}

/// How many values a layer's output has.
pub(super) fn count(layer: &impl Sizes) -> u32 {
    u32::try_from(values(layer.output_shape())).expect("fewer than 2^32 values, which was checked")
}

/// How many axes there are, from the last one: those before have size 1.
pub(super) fn axes<const AXES: usize>(sizes: [u32; AXES]) -> u32 {
    let missing = sizes[..AXES - 1].iter().take_while(|&&size| size == 1).count();
    u32::try_from(AXES - missing).expect("few axes")
}

/// The one variant of a kernel with the loop of `shaders/shared/values.wgsl`.
pub(super) fn each_value(layer: &impl Sizes, own: impl IntoIterator<Item = (&'static str, u32)>) -> Vec<Variant> {
    const WORKGROUP_SIZE: u32 = 64;
    const VALUES: u32 = 4;
    let grid = [values(layer.output_shape()).div_ceil((WORKGROUP_SIZE * VALUES).into()), 1, 1];
    let constants = own.into_iter().chain([("WORKGROUP_SIZE", WORKGROUP_SIZE), ("VALUES", VALUES)]);
    vec![Variant::new(constants, grid)]
}

/// The program of a layer in one step. Its inputs and parameters are at the bindings 1, 2, 3 and so on, in the order in
/// which it is given them, and its output is at 5.
///
/// # Errors
/// [`Error::Limit`] for a tensor larger than a binding.
pub(super) fn lower<S: Sizes>(
    kernel: &Kernel,
    layer: &S,
    variant: usize,
    words: impl IntoIterator<Item = u32>,
    lowering: &Lowering<'_>,
) -> Result<Program> {
    in_steps(kernel, layer, variant, [(Vec::new(), uniform(words))], 0, lowering)
}

/// [`lower`] for a kernel that starts and ends its sums as a convolution does: by `shaders/shared/epilogue.wgsl`.
pub(super) fn lower_sums<S: Sizes>(
    kernel: &Kernel,
    layer: &S,
    variant: usize,
    extent: &Extent,
    lowering: &Lowering<'_>,
) -> Result<Program> {
    lower_parts(kernel, layer, variant, [(Vec::new(), extent.words())], lowering)
}

/// What a step has of its own: constants besides the variant's, and its uniform.
pub(super) type Part = (Vec<(&'static str, u32)>, Vec<u32>);

/// [`lower_sums`] in several steps of the same grid, each of which has a part of every sum.
pub(super) fn lower_parts<S: Sizes>(
    kernel: &Kernel,
    layer: &S,
    variant: usize,
    parts: impl IntoIterator<Item = Part>,
    lowering: &Lowering<'_>,
) -> Result<Program> {
    in_steps(kernel, layer, variant, parts, 4, lowering)
}

/// The program, whose shader reads bindings up to number `last`. It does not read those that the layer has no tensor for,
/// but something must be bound there.
fn in_steps<S: Sizes>(
    kernel: &Kernel,
    layer: &S,
    variant: usize,
    parts: impl IntoIterator<Item = Part>,
    last: u32,
    lowering: &Lowering<'_>,
) -> Result<Program> {
    let target = lowering.target;
    let mut program = Program::new(kernel.name, target.dtype);
    let mut bindings = Vec::new();
    for (number, given) in (1..).zip(layer.given()) {
        check_binding(given.name, given.shape, target)?;
        let kind = if given.is_parameter { Kind::Parameter } else { Kind::Input };
        let buffer = program.buffer(kind, Name { part: given.part, name: given.name }, given.shape);
        bindings.push(Binding::read(number, program.whole(buffer)));
    }
    check_binding("output", layer.output_shape(), target)?;
    let filler = bindings[bindings.len() - 1].slice;
    bindings.extend((1..=last).skip(bindings.len()).map(|number| Binding::read(number, filler)));
    let output = program.buffer(Kind::Output, "output", layer.output_shape());
    bindings.push(Binding::write(5, program.whole(output)));
    let Variant { constants, grid } = kernel.variant(&(*layer).into(), target, variant);
    for (own, uniform) in parts {
        let constants = constants.iter().copied().chain(own).collect();
        let step = Step::new(shader(kernel), "main", constants, uniform, bindings.clone());
        program.dispatch(step, grid, &target.limits)?;
    }
    Ok(program)
}

fn check_binding(argument: &'static str, shape: [u32; 4], target: &Target) -> Result<()> {
    let (bytes, maximum) = (target.dtype.bytes_of(values(shape)), target.binding_bytes());
    if bytes > maximum {
        return Err(Error::Limit { argument, bytes, limit: "max_storage_buffer_binding_size", maximum });
    }
    Ok(())
}
