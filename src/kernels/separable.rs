//! The row of `shaders/separable.wgsl`.

use super::convolution::{SUMS, epilogue, window};
use super::fused::{self, between_constants, lower};
use super::row::{Kernel, Rank, Rules, Variant};
use super::tiling::{Tiling, check_workgroup_memory};
use crate::geometry::Geometry;
use crate::shader::{Shader, part};
use crate::size::Size;
use crate::target::Target;

pub(super) static KERNEL: Kernel = Kernel {
    name: "separable",
    summary: "a depthwise and a 1 x 1 convolution in one dispatch, what is between them in workgroup memory",
    chosen: "on GPUs, where computing the depthwise part once per 128 output channels costs less than moving it twice",
    bound_by: "arithmetic for many channels, memory for few",
    rank: Rank::General,
    shader: Some(Shader {
        name: "separable",
        own: include_str!("../../shaders/separable.wgsl"),
        parts: &[&SUMS, &[part::WINDOW, part::SOURCE, part::PADDING, part::BETWEEN, part::WORKGROUP_TILE]],
    }),
    rules: &Rules::<(Geometry, Geometry)> {
        supports,
        suits,
        variants,
        cost: fused::cost,
        lower: |parts, variant, lowering| lower(&KERNEL, parts, variant, lowering),
    },
};

fn supports(parts: &(Geometry, Geometry), target: &Target) -> Result<(), &'static str> {
    check_workgroup_memory(target)?;
    fused::supports(parts, target)
}

/// What a depthwise multiply-add costs, as the bytes to and from memory that take as long. Its operand comes from a
/// cache that is about ten times as fast. This is an estimate for GPUs.
const BYTES_PER_MULTIPLY_ADD: f64 = 0.4;

/// Fewer workgroups leave most of a GPU idle.
const FEW_WORKGROUPS: u64 = 64;

/// The cost model: the bytes that the chained layer moves and this one does not, against what this one computes again.
fn suits((depthwise, pointwise): &(Geometry, Geometry), target: &Target) -> bool {
    // Barriers are slow in software.
    if target.software {
        return false;
    }
    let tiling = best(pointwise);
    let [across_pixels, across_channels, _] = grid(tiling, pointwise);
    let between = target.dtype.bytes() as f64 * depthwise.output_shape().map(f64::from).iter().product::<f64>();
    let saved = 2.0 * between;
    let again = (across_channels - 1) as f64 * depthwise.multiply_adds() as f64 * BYTES_PER_MULTIPLY_ADD;
    again < saved && across_pixels * across_channels >= FEW_WORKGROUPS
}

/// From those with the fewest channels to those with the most.
const TILINGS: [Tiling; 4] =
    [Tiling::new(16, 4, 4), Tiling::new(16, 4, 8), Tiling::new(16, 8, 8), Tiling::new(16, 16, 8)];

/// The smallest that has all output channels, so that nothing is computed twice, or else the largest.
fn best(pointwise: &Geometry) -> Tiling {
    let [.., largest] = TILINGS;
    TILINGS.into_iter().find(|tiling| tiling.channels() >= pointwise.out_channels).unwrap_or(largest)
}

/// Over rows of whole fours of pixels.
fn grid(tiling: Tiling, pointwise: &Geometry) -> [u64; 3] {
    let output = Size { width: pointwise.output.width.next_multiple_of(4), ..pointwise.output };
    tiling.grid(&Geometry { output, ..*pointwise })
}

fn variants((depthwise, pointwise): &(Geometry, Geometry), _: &Target) -> Vec<Variant> {
    let best = best(pointwise);
    let others = TILINGS.into_iter().filter(|tiling| tiling.channels() < best.channels()).rev().take(2);
    let variant = |tiling: Tiling| {
        let sums = between_constants(depthwise).into_iter().chain(epilogue(pointwise));
        let constants = window(depthwise).chain(sums).chain(tiling.constants());
        Variant::new(constants, grid(tiling, pointwise))
    };
    [best].into_iter().chain(others).map(variant).collect()
}
