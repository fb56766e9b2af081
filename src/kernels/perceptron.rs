//! The row of `shaders/perceptron.wgsl`.

use super::row::{Kernel, Lowering, Rank, Rules, Variant};
use super::simple::{self, Piece, Places};
use crate::describe::Describe;
use crate::error::Result;
use crate::layers::perceptron::Perceptron;
use crate::program::Program;
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
    simple::lower_at(&KERNEL, layer, variant, words, halves, &Places { of: places, last: 6 }, lowering)
}

fn words(layer: &Perceptron) -> Vec<u32> {
    let Perceptron { in_features, hidden_features, out_features, .. } = *layer;
    let sizes = [in_features, hidden_features, out_features];
    let teams = [team(hidden_features, in_features), team(out_features, hidden_features)];
    let limits =
        [layer.hidden_activation, layer.activation].map(|activation| activation.parameters().map(f32::to_bits));
    sizes.into_iter().chain(teams).chain(limits.into_iter().flatten()).collect()
}

/// The input, the weight and the bias of the hidden layer, the weight and the bias of the other.
fn places(layer: &Perceptron) -> Vec<u32> {
    let is_there = [true, true, layer.hidden_bias, true, layer.bias];
    let all = [1, 2, 3, 4, 6].into_iter().zip(is_there);
    all.filter_map(|(number, is_there)| is_there.then_some(number)).collect()
}

fn halves(layer: &Perceptron) -> Option<[Piece<Perceptron>; 2]> {
    // Parameters serve all images.
    let given = [layer.in_features.into(), 0, 0, 0, 0];
    simple::halves(layer.batch, |batch| Perceptron { batch, ..*layer }, &given, layer.out_features.into())
}
