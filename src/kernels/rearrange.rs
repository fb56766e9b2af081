//! The row of `shaders/rearrange.wgsl`.

use super::convolution::padding_mode;
use super::row::{Kernel, Lowering, Rank, Rules, Variant};
use super::simple;
use crate::error::Result;
use crate::layers::rearrange::{Axis, Rearrange};
use crate::program::Program;
use crate::shader::{Shader, part};
use crate::size::PaddingMode;
use crate::target::Target;

pub(super) static KERNEL: Kernel = Kernel {
    name: "rearrange",
    summary: "values in another order: transposed, cut, padded, repeated, reversed",
    chosen: "for every rearrangement",
    bound_by: "memory",
    rank: Rank::Fallback,
    shader: Some(Shader {
        name: "rearrange",
        own: include_str!("../../shaders/rearrange.wgsl"),
        parts: &[&[part::ELEMENT, part::INPUT, part::OUTPUT, part::VALUES, part::SOURCE]],
    }),
    rules: &Rules::<Rearrange>::plain(variants, lower),
};

/// The axes that are needed, the last one first, and the place of the first value, as far as axes without padding say.
/// Those of size 1 are left out, and neighbours that are as one axis become one. A stride below zero wraps, as the shader's
/// sums do.
fn needed(layer: &Rearrange) -> (Vec<Axis>, u32) {
    let (mut axes, mut first) = (Vec::<Axis>::new(), 0_u32);
    for axis in layer.axes.iter().rev() {
        if !axis.is_inside() {
            axes.push(*axis);
            continue;
        }
        let along = |places: i32| places.cast_unsigned().wrapping_mul(axis.input_stride);
        first = first.wrapping_add(along(axis.first));
        let stride = along(axis.step);
        match axes.last_mut() {
            _ if axis.size == 1 => {}
            Some(inner) if inner.is_inside() && inner.size.wrapping_mul(inner.input_stride) == stride => {
                *inner = Axis::new(inner.size * axis.size, inner.input_stride);
            }
            _ => axes.push(Axis::new(axis.size, stride)),
        }
    }
    if axes.is_empty() {
        axes.push(Axis::new(1, 0));
    }
    (axes, first)
}

fn variants(layer: &Rearrange, _: &Target) -> Vec<Variant> {
    let (axes, _) = needed(layer);
    let axes = u32::try_from(axes.len()).expect("six at most");
    let mode = if layer.is_inside() { PaddingMode::Zeros } else { layer.padding_mode };
    simple::each_value(layer, [("AXES", axes), ("IS_INSIDE", layer.is_inside().into()), padding_mode(mode)])
}

fn lower(layer: &Rearrange, variant: usize, lowering: &Lowering<'_>) -> Result<Program> {
    simple::lower(&KERNEL, layer, variant, words, simple::whole, lowering)
}

fn words(layer: &Rearrange) -> Vec<u32> {
    let (mut axes, first) = needed(layer);
    axes.resize(layer.axes.len(), Axis::new(1, 0));
    let of_axis = |Axis { size, input_size, input_stride, first, step }| {
        [size, input_stride, first.cast_unsigned(), step.cast_unsigned(), input_size, 0, 0, 0]
    };
    let words = [simple::count(layer), first, layer.value.to_bits(), 0, 0, 0].into_iter();
    words.chain(axes.into_iter().flat_map(of_axis)).collect()
}
