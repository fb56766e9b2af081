//! The row of `shaders/binary.wgsl`.

use super::row::{Kernel, Lowering, Rank, Rules, Variant};
use super::simple::{self, Piece};
use crate::error::Result;
use crate::layers::binary::{AXES, Binary};
use crate::program::Program;
use crate::shader::{Shader, part};
use crate::target::Target;

pub(super) static KERNEL: Kernel = Kernel {
    name: "binary",
    summary: "an operation on two tensors, value by value, with broadcasting",
    chosen: "for every operation on two tensors",
    bound_by: "memory",
    rank: Rank::Fallback,
    shader: Some(Shader {
        name: "binary",
        own: include_str!("../../shaders/binary.wgsl"),
        parts: &[&[part::ELEMENT, part::INPUT, part::OUTPUT, part::VALUES, part::NAN, part::ACTIVATION]],
    }),
    rules: &Rules::<Binary>::plain(variants, lower),
};

fn variants(layer: &Binary, _: &Target) -> Vec<Variant> {
    let constants = [
        ("OPERATION", layer.operation.number()),
        ("AXES", simple::axes(layer.sizes)),
        ("HAS_RESIDUAL", layer.residual.into()),
        ("ACTIVATION", layer.activation.number()),
    ];
    simple::each_value(layer, constants)
}

fn lower(layer: &Binary, variant: usize, lowering: &Lowering<'_>) -> Result<Program> {
    let [a, b] = layer.activation.parameters().map(f32::to_bits);
    let words = |layer: &Binary| {
        let [first, second] = [0, 1].map(|tensor| layer.strides(tensor));
        let axes = (0..AXES).rev().flat_map(|axis| [layer.sizes[axis], first[axis], second[axis], 0]);
        [simple::count(layer), a, b, 0, 0, 0].into_iter().chain(axes).collect()
    };
    simple::lower(&KERNEL, layer, variant, words, halves, lowering)
}

/// Along the first axis that is longer than 1.
fn halves(layer: &Binary) -> Option<[Piece<Binary>; 2]> {
    let axis = layer.sizes.iter().position(|&size| size > 1)?;
    let of = |size| {
        let mut sizes = layer.sizes;
        sizes[axis] = size;
        Binary { sizes, ..*layer }
    };
    let output = layer.sizes[axis + 1..].iter().map(|&size| u64::from(size)).product();
    let given = [u64::from(layer.strides(0)[axis]), layer.strides(1)[axis].into(), output];
    simple::halves(layer.sizes[axis], of, &given, output)
}
