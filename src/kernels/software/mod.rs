//! The kernels and the rules for software devices alone: processors that run shaders.

pub(super) mod depthwise;
pub(super) mod subgroup_gemm;
pub(super) mod subgroup_pointwise;
pub(super) mod subgroup_separable;

use crate::error::Result;
use crate::geometry::Geometry;
use crate::layer::Layer;
use crate::target::Target;

/// From which in · out / (in + out) channels Winograd's method pays. That is few, except where `subgroup_gemm` makes
/// the direct form's sums with far fewer loads; there it is fewer again if the product's values are read in pairs.
pub(super) fn winograd_pays_from(product: Result<Geometry>, target: &Target) -> u64 {
    let reads_pairs = |product: Geometry| {
        let (kernel, layer) = (&subgroup_pointwise::KERNEL, Layer::Conv2d(product));
        kernel.supports(&layer, target).is_ok() && kernel.suits(&layer, target)
    };
    match target.subgroup_size {
        Some(8) if product.is_ok_and(reads_pairs) => 48,
        Some(8) => 128,
        _ => 16,
    }
}
