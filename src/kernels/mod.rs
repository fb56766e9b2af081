//! The kernels: one row each, beside the `.wgsl` of the same name in `shaders/`.

mod binary;
mod chained;
mod convolution;
mod depthwise_columns;
mod depthwise_fours;
mod depthwise_walk;
mod direct;
mod fused;
mod gemm;
mod matmul;
mod normalise;
mod packed;
mod parts;
mod perceptron;
mod pixel_shuffle;
mod pointwise;
mod pool;
mod rearrange;
mod reduce;
mod register_tile;
mod resize;
mod row;
mod separable;
mod simple;
mod softmax;
mod software;
mod split_sums;
mod sums;
mod team;
mod tiled_gemm;
mod tiled_pointwise;
mod tiling;
mod transposed;
mod unary;
mod winograd;
mod winograd_4x4;
mod work;

pub(crate) use row::Lowering;
pub use row::{Kernel, Rank, Variant};

use crate::error::{Error, Result};
use crate::layer::Layer;
use crate::target::Target;

/// The names of the constants of what stands around a kernel's sums: bias, residual and activation; the input's scale; bias and
/// activation between two parts.
const AROUND_SUMS: [&str; 7] = [
    "HAS_BIAS",
    "HAS_RESIDUAL",
    "ACTIVATION",
    "ACTIVATION_FIRST",
    "HAS_INPUT_SCALE",
    "HAS_BETWEEN_BIAS",
    "BETWEEN_ACTIVATION",
];

/// Whether a constant of a variant says what was chosen, such as a tile. The others follow from the layer.
pub(crate) fn is_chosen(constant: &str) -> bool {
    !AROUND_SUMS.contains(&constant) && constant != tiled_gemm::HAS_REST
}

/// Every kernel: those for GPUs first, those for software drivers last.
pub static ALL: &[&Kernel] = &[
    &depthwise_fours::KERNEL,
    &depthwise_columns::KERNEL,
    &winograd::KERNEL,
    &winograd_4x4::KERNEL,
    &split_sums::KERNEL,
    &tiled_pointwise::KERNEL,
    &tiled_gemm::KERNEL,
    &pointwise::KERNEL,
    &gemm::KERNEL,
    &direct::KERNEL,
    &separable::KERNEL,
    &chained::KERNEL,
    &pool::KERNEL,
    &pixel_shuffle::KERNEL,
    &transposed::KERNEL,
    &resize::KERNEL,
    &binary::KERNEL,
    &rearrange::KERNEL,
    &matmul::KERNEL,
    &perceptron::KERNEL,
    &reduce::KERNEL,
    &softmax::KERNEL,
    &normalise::KERNEL,
    &unary::KERNEL,
    &software::depthwise::KERNEL,
    &software::subgroup_pointwise::KERNEL,
    &software::subgroup_gemm::KERNEL,
    &software::subgroup_separable::KERNEL,
];

/// The kernel of this name.
///
/// # Errors
/// [`Error::UnknownKernel`], which lists the names there are.
pub fn by_name(name: &str) -> Result<&'static Kernel> {
    let found = ALL.iter().copied().find(|kernel| kernel.name == name);
    let known = || ALL.iter().map(|kernel| kernel.name).collect::<Vec<_>>().join(", ");
    found.ok_or_else(|| Error::UnknownKernel { name: name.to_owned(), known: known() })
}

/// The kernels that support a layer on a target: the one of the least rank that suits first, then the others by rank.
#[must_use]
pub fn supporting(layer: &Layer, target: &Target) -> Vec<&'static Kernel> {
    let mut kernels: Vec<_> = ALL.iter().copied().filter(|kernel| kernel.supports(layer, target).is_ok()).collect();
    kernels.sort_by_key(|kernel| kernel.rank);
    let own = kernels.iter().position(|kernel| kernel.suits(layer, target)).unwrap_or(0);
    if let Some(before) = kernels.get_mut(..=own) {
        before.rotate_right(1);
    }
    kernels
}
