//! What the kernels of layers besides convolutions share: one step reads all that the layer is given, and writes its
//! output. A layer with a tensor larger than a binding is halved along its first axis until all fit.

use super::convolution::{check_bytes, shader};
use super::row::{Kernel, Lowering, Variant};
use crate::describe::Given;
use crate::error::Result;
use crate::extent::Extent;
use crate::layer::Sizes;
use crate::program::{Binding, Kind, Name, OFFSETS, Program, Slice, Step, check_dispatches};
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

/// A layer that is a part of another one, and where each tensor that it is given, and its output, start in the other's.
pub(super) struct Piece<S> {
    pub layer: S,
    pub given: Vec<u64>,
    pub output: u64,
}

/// A layer's two halves along its first axis; none if it cannot be cut so.
pub(super) type Halves<S> = fn(&S) -> Option<[Piece<S>; 2]>;

/// The two halves of a layer that is so long along its first axis: `of` makes a layer of that length, and one place of the axis
/// takes so many values of each tensor that the layer is given, or may be given, and of its output.
pub(super) fn halves<S>(length: u32, of: impl Fn(u32) -> S, given: &[u64], output: u64) -> Option<[Piece<S>; 2]> {
    if length < 2 {
        return None;
    }
    let first = length / 2;
    let from = |start: u64, length| Piece {
        layer: of(length),
        given: given.iter().map(|values| start * values).collect(),
        output: start * output,
    };
    Some([from(0, first), from(first.into(), length - first)])
}

/// That of a kernel that needs all of its tensors at once.
pub(super) fn whole<S>(_: &S) -> Option<[Piece<S>; 2]> {
    None
}

/// Cuts a layer until each part's tensors fit in bindings. If one place of its first axis does not fit, the whole is refused.
fn pieces<S: Sizes>(layer: &S, halves: Halves<S>, target: &Target) -> Result<Vec<Piece<S>>> {
    let check = |layer: &S| {
        let limit = ("max_storage_buffer_binding_size", target.binding_bytes());
        check_bytes(tensors(layer), target, limit)
    };
    let mut waiting = vec![Piece { layer: *layer, given: vec![0; layer.given().len()], output: 0 }];
    let mut fitting = Vec::new();
    while let Some(part) = waiting.pop() {
        if check(&part.layer).is_ok() {
            fitting.push(part);
            continue;
        }
        check_dispatches((fitting.len() + waiting.len() + 2) as u64)?;
        let moved = |half: Piece<S>| Piece {
            given: half.given.iter().zip(&part.given).map(|(start, before)| start + before).collect(),
            output: half.output + part.output,
            ..half
        };
        let Some([first, second]) = halves(&part.layer) else {
            // The whole is no smaller than its part, so this is an error.
            return check(layer).map(|()| fitting);
        };
        waiting.extend([second, first].map(moved));
    }
    Ok(fitting)
}

/// The binding of the output.
const OUTPUT: u32 = 5;

/// Where a shader has the tensors that a layer is given, and the last binding that it reads.
pub(super) struct Places<S> {
    /// A binding for each of them, in the order in which the layer is given them.
    pub of: fn(&S) -> Vec<u32>,
    pub last: u32,
}

impl<S: Sizes> Places<S> {
    /// At 1, 2, 3 and so on.
    fn in_order(last: u32) -> Self {
        Self { of: |layer| (1..).zip(layer.given()).map(|(number, _)| number).collect(), last }
    }
}

/// The program of a layer in one step, or in several if a tensor is larger than a binding. Its inputs and parameters are at the
/// bindings 1, 2, 3 and so on, in the order in which it is given them, and its output is at 5.
///
/// # Errors
/// [`Error::Limit`] for a tensor larger than a binding, if the layer's parts would be so too.
pub(super) fn lower<S: Sizes>(
    kernel: &Kernel,
    layer: &S,
    variant: usize,
    words: impl Fn(&S) -> Vec<u32>,
    halves: Halves<S>,
    lowering: &Lowering<'_>,
) -> Result<Program> {
    lower_at(kernel, layer, variant, words, halves, &Places::in_order(0), lowering)
}

/// [`lower`] for a kernel that has tensors at bindings of its own.
pub(super) fn lower_at<S: Sizes>(
    kernel: &Kernel,
    layer: &S,
    variant: usize,
    words: impl Fn(&S) -> Vec<u32>,
    halves: Halves<S>,
    places: &Places<S>,
    lowering: &Lowering<'_>,
) -> Result<Program> {
    in_steps(kernel, layer, variant, |layer| vec![(Vec::new(), uniform(words(layer)))], halves, places, lowering)
}

/// [`lower`] for a kernel that starts and ends its sums as a convolution does: by `shaders/shared/epilogue.wgsl`.
pub(super) fn lower_sums<S: Sizes>(
    kernel: &Kernel,
    layer: &S,
    variant: usize,
    extent: impl Fn(&S) -> Extent,
    halves: Halves<S>,
    lowering: &Lowering<'_>,
) -> Result<Program> {
    let parts = |layer: &S| vec![(Vec::new(), extent(layer).words())];
    in_steps(kernel, layer, variant, parts, halves, &Places::in_order(4), lowering)
}

/// What a step has of its own: constants besides the variant's, and its uniform.
pub(super) type Part = (Vec<(&'static str, u32)>, Vec<u32>);

/// [`lower_sums`] in several steps of the same grid, each of which has a part of every sum.
pub(super) fn lower_parts<S: Sizes>(
    kernel: &Kernel,
    layer: &S,
    variant: usize,
    parts: impl Fn(&S) -> Vec<Part>,
    lowering: &Lowering<'_>,
) -> Result<Program> {
    in_steps(kernel, layer, variant, parts, whole, &Places::in_order(4), lowering)
}

/// The program. Its shader does not read the bindings that the layer has no tensor for, but something must be bound there.
fn in_steps<S: Sizes>(
    kernel: &Kernel,
    layer: &S,
    variant: usize,
    parts: impl Fn(&S) -> Vec<Part>,
    halves: Halves<S>,
    places: &Places<S>,
    lowering: &Lowering<'_>,
) -> Result<Program> {
    let target = lowering.target;
    check_bytes(tensors(layer), target, ("max_buffer_size", target.limits.max_buffer_size))?;
    let mut program = Program::new(kernel.name, target.dtype);
    let add = |given: Given| {
        let kind = if given.is_parameter { Kind::Parameter } else { Kind::Input };
        program.buffer(kind, Name { part: given.part, name: given.name }, given.shape)
    };
    let given: Vec<usize> = layer.given().into_iter().map(add).collect();
    let output = program.buffer(Kind::Output, "output", layer.output_shape());
    for Piece { layer, given: starts, output: start } in pieces(layer, halves, target)? {
        let tensors = layer.given().into_iter().zip(&given).zip(starts);
        let slices = tensors.map(|((given, &buffer), start)| Slice { buffer, start, length: values(given.shape) });
        let numbers = (places.of)(&layer);
        let read = numbers.iter().zip(slices).map(|(&number, slice)| Binding::read(number, slice));
        let mut bindings: Vec<_> = read.collect();
        let filler = bindings[bindings.len() - 1].slice;
        let missing = (1..=places.last).filter(|number| *number != OUTPUT && !numbers.contains(number));
        bindings.extend(missing.map(|number| Binding::read(number, filler)));
        let slice = Slice { buffer: output, start, length: values(layer.output_shape()) };
        bindings.push(Binding::write(OUTPUT, slice));
        let Variant { constants, grid } = kernel.variant(&layer.into(), target, variant);
        for (own, uniform) in parts(&layer) {
            let constants = constants.iter().copied().chain(own).collect();
            let step = Step::new(shader(kernel), "main", constants, uniform, bindings.clone());
            program.dispatch(step, grid, &target.limits)?;
        }
    }
    Ok(program)
}

/// The name and the shape of each tensor of a layer.
fn tensors<S: Sizes>(layer: &S) -> impl Iterator<Item = (&'static str, [u32; 4])> {
    let given = layer.given().into_iter().map(|given| (given.name, given.shape));
    given.chain([("output", layer.output_shape())])
}
