//! The row of `shaders/resize.wgsl`.

use super::row::{Kernel, Lowering, Rank, Rules, Variant};
use super::simple::{self, Piece};
use crate::error::Result;
use crate::layers::resize::{Interpolation, Line, Nearest, Resize2d};
use crate::program::Program;
use crate::shader::{Shader, part};
use crate::size::Size;
use crate::target::Target;

pub(super) static KERNEL: Kernel = Kernel {
    name: "resize",
    summary: "planes of another size: by the nearest value, by lines or by cubics",
    chosen: "for every resizing",
    bound_by: "memory",
    rank: Rank::Fallback,
    shader: Some(Shader {
        name: "resize",
        own: include_str!("../../shaders/resize.wgsl"),
        parts: &[&[part::ELEMENT, part::INPUT, part::OUTPUT]],
    }),
    rules: &Rules::<Resize2d>::plain(variants, lower),
};

const WORKGROUP_SIZE: u32 = 64;

/// How many planes share places and weights: first on a GPU, then on a processor, to which whole divisions are dear.
const PLANE_TILES: [u32; 2] = [4, 16];

fn variants(layer: &Resize2d, target: &Target) -> Vec<Variant> {
    let (taps, nearest, exclude_outside) = match layer.interpolation {
        Interpolation::Nearest(nearest) => (1, nearest, false),
        Interpolation::Linear => (2, Nearest::RoundPreferFloor, false),
        Interpolation::Cubic { exclude_outside, .. } => (4, Nearest::RoundPreferFloor, exclude_outside),
    };
    let with_tile = |plane_tile: u32| {
        let constants = [
            ("TAPS", taps),
            ("NEAREST", nearest as u32),
            ("HAS_RESIDUAL", layer.residual.into()),
            ("EXCLUDE_OUTSIDE", exclude_outside.into()),
            ("WORKGROUP_SIZE", WORKGROUP_SIZE),
            ("PLANE_TILE", plane_tile),
        ];
        let grid = [layer.output.area().div_ceil(WORKGROUP_SIZE.into()), layer.planes.div_ceil(plane_tile).into(), 1];
        Variant::new(constants, grid)
    };
    // Places are found in whole numbers, which takes long: once for several planes, if there are.
    let most = PLANE_TILES[usize::from(target.software)];
    let mut variants = vec![with_tile(layer.planes.min(most)), with_tile(1)];
    variants.dedup();
    variants
}

fn lower(layer: &Resize2d, variant: usize, lowering: &Lowering<'_>) -> Result<Program> {
    let coefficient =
        if let Interpolation::Cubic { coefficient, .. } = layer.interpolation { coefficient } else { 0.0 };
    let words = |layer: &Resize2d| {
        let sizes = [layer.planes, layer.input.height, layer.input.width, layer.output.height, layer.output.width];
        let lines = [0, 1].map(|axis| layer.line(axis)).into_iter().flat_map(|Line { n, d, start }| [n, d, start]);
        sizes.into_iter().chain(lines).chain([coefficient.to_bits()]).collect()
    };
    simple::lower(&KERNEL, layer, variant, words, halves, lowering)
}

fn halves(layer: &Resize2d) -> Option<[Piece<Resize2d>; 2]> {
    let [input, output] = [layer.input, layer.output].map(Size::area);
    let of = |planes| Resize2d { planes, ..*layer };
    simple::halves(layer.planes, of, &[input, output], output)
}
