//! The row of `shaders/perceptron.wgsl`.

use super::convolution::{check_bytes, shader};
use super::row::{Kernel, Lowering, Rank, Rules, Variant};
use super::simple;
use crate::describe::Describe;
use crate::error::Result;
use crate::layers::perceptron::Perceptron;
use crate::program::{Binding, Kind, Name, Program, Step};
use crate::shader::{Shader, part};
use crate::target::Target;

pub(super) static KERNEL: Kernel = Kernel {
    name: "perceptron",
    summary: "two fully connected layers in one step, what is between them in workgroup memory",
    chosen: "for every perceptron",
    bound_by: "waiting: two short sums follow each other",
    rank: Rank::Fallback,
    shader: Some(Shader {
        name: "perceptron",
        own: include_str!("../../shaders/perceptron.wgsl"),
        parts: &[&[part::ELEMENT, part::INPUT, part::OUTPUT, part::NAN, part::ACTIVATION]],
    }),
    rules: &Rules::<Perceptron> { supports, ..Rules::plain(variants, lower) },
};

const WORKGROUP_SIZE: u32 = 256;
const MAXIMUM_HIDDEN: u32 = 2048;
/// llvmpipe leaves a shader's loops after 65,535 rounds in all.
const MAXIMUM_WEIGHTS: u64 = 1 << 21;

fn supports(layer: &Perceptron, target: &Target) -> Result<(), &'static str> {
    let limits = &target.limits;
    if limits.max_compute_invocations_per_workgroup < WORKGROUP_SIZE
        || limits.max_compute_workgroup_size_x < WORKGROUP_SIZE
        || limits.max_compute_workgroup_storage_size < 4 * (MAXIMUM_HIDDEN + WORKGROUP_SIZE)
    {
        return Err("it needs workgroups of 256 invocations with 9 KiB of memory");
    }
    if layer.hidden_features > MAXIMUM_HIDDEN {
        return Err("it needs at most 2,048 hidden features");
    }
    if layer.multiply_adds() / u64::from(layer.batch) > MAXIMUM_WEIGHTS {
        return Err("it needs at most 2,097,152 weights");
    }
    Ok(())
}

fn variants(layer: &Perceptron, _: &Target) -> Vec<Variant> {
    let constants = [
        ("HAS_HIDDEN_BIAS", layer.hidden_bias.into()),
        ("HIDDEN_ACTIVATION", layer.hidden_activation.number()),
        ("HAS_BIAS", layer.bias.into()),
        ("ACTIVATION", layer.activation.number()),
    ];
    vec![Variant::new(constants, [layer.batch.into(), 1, 1])]
}

/// The terms that an invocation reads at once: its `FOURS`.
const AT_ONCE: u32 = 8;

/// How many invocations make one of so many results, each a sum of so many terms: as many as there are to spare, but each with
/// terms of its own, and few enough that one of them may add up what they have.
fn team(results: u32, terms: u32) -> u32 {
    let most = (WORKGROUP_SIZE / results.min(WORKGROUP_SIZE)).min(terms.div_ceil(AT_ONCE)).min(16);
    1 << most.ilog2()
}

fn lower(layer: &Perceptron, variant: usize, lowering: &Lowering<'_>) -> Result<Program> {
    let target = lowering.target;
    let tensors = layer.given().into_iter().map(|given| (given.name, given.shape));
    let limit = ("max_storage_buffer_binding_size", target.binding_bytes());
    check_bytes(tensors.chain([("output", layer.output_shape())]), target, limit)?;
    let mut program = Program::new(KERNEL.name, target.dtype);
    let mut bindings = Vec::new();
    for given in layer.given() {
        let kind = if given.is_parameter { Kind::Parameter } else { Kind::Input };
        let buffer = program.buffer(kind, Name { part: given.part, name: given.name }, given.shape);
        let number = match (given.part, given.name) {
            (Some(_), "weight") => 2,
            (Some(_), _) => 3,
            (None, "weight") => 4,
            (None, "bias") => 6,
            _ => 1,
        };
        bindings.push(Binding::read(number, program.whole(buffer)));
    }
    let output = program.buffer(Kind::Output, "output", layer.output_shape());
    // The shader does not read a bias that there is not, but something must be bound there.
    let filler = bindings[0].slice;
    for number in [3, 6] {
        if bindings.iter().all(|binding| binding.number != number) {
            bindings.push(Binding::read(number, filler));
        }
    }
    bindings.push(Binding::write(5, program.whole(output)));
    let Perceptron { in_features, hidden_features, out_features, .. } = *layer;
    let sizes = [in_features, hidden_features, out_features];
    let teams = [team(hidden_features, in_features), team(out_features, hidden_features)];
    let limits =
        [layer.hidden_activation, layer.activation].map(|activation| activation.parameters().map(f32::to_bits));
    let uniform = simple::uniform(sizes.into_iter().chain(teams).chain(limits.into_iter().flatten()));
    let Variant { constants, grid } = KERNEL.variant(&(*layer).into(), target, variant);
    let step = Step::new(shader(&KERNEL), "main", constants, uniform, bindings);
    program.dispatch(step, grid, &target.limits)?;
    Ok(program)
}
