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

/// How many invocations a workgroup has: the second one where a device may have so many.
const WORKGROUP_SIZES: [u32; 2] = [64, 256];
const MAXIMUM_HIDDEN: u32 = 2048;
/// llvmpipe leaves a shader's loops after 65,535 rounds in all.
const MAXIMUM_WEIGHTS: u64 = 1 << 21;

fn supports(layer: &Perceptron, target: &Target) -> Result<(), &'static str> {
    if target.limits.max_compute_workgroup_storage_size < 4 * (MAXIMUM_HIDDEN + workgroup_size(target)) {
        return Err("it needs workgroups with 9 KiB of memory");
    }
    if layer.hidden_features > MAXIMUM_HIDDEN {
        return Err("it needs at most 2,048 hidden features");
    }
    if layer.multiply_adds() / u64::from(layer.batch) > MAXIMUM_WEIGHTS {
        return Err("it needs at most 2,097,152 weights");
    }
    Ok(())
}

fn workgroup_size(target: &Target) -> u32 {
    let [small, large] = WORKGROUP_SIZES;
    let limits = &target.limits;
    let has_large = limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x) >= large;
    if has_large { large } else { small }
}

fn variants(layer: &Perceptron, target: &Target) -> Vec<Variant> {
    let constants = [
        ("WORKGROUP_SIZE", workgroup_size(target)),
        ("MAXIMUM_HIDDEN", MAXIMUM_HIDDEN),
        ("FOURS", FOURS),
        ("HAS_HIDDEN_BIAS", layer.hidden_bias.into()),
        ("HIDDEN_ACTIVATION", layer.hidden_activation.number()),
        ("HAS_BIAS", layer.bias.into()),
        ("ACTIVATION", layer.activation.number()),
    ];
    vec![Variant::new(constants, [layer.batch.into(), 1, 1])]
}

/// The fours of terms that an invocation reads at once.
const FOURS: u32 = 2;

/// How many invocations of a workgroup make one of so many results, each a sum of so many terms: as many as there are to spare,
/// but each with terms of its own, and few enough that one of them may add up what they have.
fn team(workgroup_size: u32, results: u32, terms: u32) -> u32 {
    let most = (workgroup_size / results.min(workgroup_size)).min(terms.div_ceil(4 * FOURS)).min(16);
    1 << most.ilog2()
}

fn lower(layer: &Perceptron, variant: usize, lowering: &Lowering<'_>) -> Result<Program> {
    let words = |layer: &Perceptron| words(layer, workgroup_size(lowering.target));
    simple::lower_at(&KERNEL, layer, variant, words, halves, &Places { of: places, last: 6 }, lowering)
}

fn words(layer: &Perceptron, workgroup_size: u32) -> Vec<u32> {
    let Perceptron { in_features, hidden_features, out_features, .. } = *layer;
    let sizes = [in_features, hidden_features, out_features];
    let teams = [(hidden_features, in_features), (out_features, hidden_features)];
    let teams = teams.map(|(results, terms)| team(workgroup_size, results, terms));
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
