//! What kernels share whose invocations make one result together from the values along an axis: `shaders/shared/team.wgsl`.

use super::row::{Kernel, Lowering, Variant};
use super::simple::{self, Halves};
use crate::error;
use crate::layer::Sizes;
use crate::program::Program;
use crate::size::{in_a_row, values};
use crate::target::Target;

/// The most fours of values that one invocation reads. llvmpipe leaves a shader's loops after 65,535 rounds in all, with
/// its sums unfinished; those that bring a team's values together count as well.
const MAXIMUM_FOURS: u64 = 1 << 15;

/// How many invocations a workgroup has; the second one is that of the largest team.
const WORKGROUP_SIZES: [u32; 2] = [64, 256];

/// How many invocations make a result of `[outer, length, inner]`, and how many results a workgroup has: the best guess
/// first. An invocation reads its share of the values `passes` times.
fn teams([outer, length, inner]: [u32; 3], passes: u32, target: &Target) -> Vec<[u32; 2]> {
    let [small, large] = WORKGROUP_SIZES;
    let fits = |team: u32| {
        let fours = u64::from(length.div_ceil(team)).div_ceil(4) * u64::from(passes);
        fours <= MAXIMUM_FOURS && (team == 1 || team / 2 < length)
    };
    let has_large = target.limits.max_compute_invocations_per_workgroup >= large
        && target.limits.max_compute_workgroup_size_x >= large;
    let mut teams = vec![[1, small], [4, small / 4], [16, small / 16], [small, 1]];
    teams.extend(has_large.then_some([large, 1]));
    teams.retain(|&[team, _]| fits(team));
    let results = u64::from(outer) * u64::from(inner);
    let best = if target.software {
        // A processor needs work for its vectors and its threads, and pays for each member.
        let members = u64::from(length / 16).min(256 / results.min(256));
        u32::try_from(members.max(1)).expect("at most 256")
    } else if length < 8 || (inner > 1 && results >= 1 << 12) {
        1
    } else if inner > 1 {
        16
    } else if length < 1 << 14 {
        small
    } else {
        large
    };
    teams.sort_by_key(|[team, _]| team.ilog2().abs_diff(best.ilog2()));
    teams
}

/// The variants of a kernel whose results are those of `[outer, length, inner]` along its second axis.
pub(super) fn variants(sizes: [u32; 3], passes: u32, target: &Target, own: &[(&'static str, u32)]) -> Vec<Variant> {
    let [outer, _, inner] = sizes;
    let results = values(in_a_row([outer, 1, inner]));
    let variant = |[team, teams]: [u32; 2]| {
        let constants = own.iter().copied().chain([("TEAM", team), ("TEAMS", teams)]);
        Variant::new(constants, [results.div_ceil(teams.into()), 1, 1])
    };
    teams(sizes, passes, target).into_iter().map(variant).collect()
}

/// Refuses an axis that is too long for the largest team.
pub(super) fn supports(sizes: [u32; 3], passes: u32, target: &Target) -> Result<(), &'static str> {
    if teams(sizes, passes, target).is_empty() { Err("it needs a shorter axis") } else { Ok(()) }
}

/// The program of a layer whose results are those of `[outer, length, inner]` along its second axis. The shader's extent has the
/// number of results, the axis' length and what is behind it, then these words.
pub(super) fn lower<S: Sizes>(
    kernel: &Kernel,
    layer: &S,
    sizes: fn(&S) -> [u32; 3],
    variant: usize,
    own: &[u32],
    halves: Halves<S>,
    lowering: &Lowering<'_>,
) -> error::Result<Program> {
    let words = |layer: &S| {
        let [outer, length, inner] = sizes(layer);
        // Not more than the values of the input, which were counted.
        [outer * inner, length, inner].into_iter().chain(own.iter().copied()).collect()
    };
    simple::lower(kernel, layer, variant, words, halves, lowering)
}
