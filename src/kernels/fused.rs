//! What the kernels of a whole separable layer share: they compute the depthwise part as they go.

use super::convolution::{Tensors, check_buffers, cut, extent, shader};
use super::parts::{MAXIMUM_TERMS, Sum, parts};
use super::row::{Kernel, Lowering, Variant};
use crate::error::{Error, Result};
use crate::extent::Extent;
use crate::geometry::Geometry;
use crate::program::{Binding, Kind, Name, Program, Slice, Step};
use crate::size::{PaddingMode, Size, values};
use crate::target::Target;

/// What every such kernel needs.
pub(super) fn supports(
    (depthwise, pointwise): &(Geometry, Geometry),
    target: &Target,
) -> std::result::Result<(), &'static str> {
    let limits = &target.limits;
    if limits.max_storage_buffers_per_shader_stage < 7 || limits.max_bindings_per_bind_group < 8 {
        return Err("it needs 7 storage buffers and 8 bindings");
    }
    let maximum = target.binding_values();
    if values(depthwise.weight_shape()) > maximum {
        return Err("it needs a depthwise weight that fits in a binding");
    }
    let sum = sum(depthwise, pointwise);
    if sum.terms > u64::from(MAXIMUM_TERMS) {
        return Err("it needs depth_multiplier times (the filter's taps + 1) of at most 16,384");
    }
    let plane = |geometry: &Geometry| values([1, 1, geometry.input.height, geometry.input.width]);
    let window = u64::from(depthwise.kernel_size.height - 1) * u64::from(depthwise.dilation.height) + 1;
    let is_cut_by_rows = plane(depthwise).max(plane(pointwise)) > maximum;
    if is_cut_by_rows
        && (depthwise.padding_mode == PaddingMode::Circular || window * u64::from(depthwise.input.width) > maximum)
    {
        return Err(
            "it needs a window's rows in one binding, and no circular padding where a plane is larger than one",
        );
    }
    Ok(())
}

/// The sum over an input channel's filters, and the mix of all of them.
fn sum(depthwise: &Geometry, pointwise: &Geometry) -> Sum {
    let multiplier = u64::from(depthwise.out_channels_per_group());
    Sum { filter: pointwise.terms(), terms: multiplier * (depthwise.terms() + 1), channels: 1 }
}

/// The constants of what such a kernel does to a value in between.
pub(super) fn between_constants(depthwise: &Geometry) -> [(&'static str, u32); 2] {
    [("HAS_BETWEEN_BIAS", depthwise.bias.into()), ("BETWEEN_ACTIVATION", depthwise.activation.number())]
}

/// As far as anyone knows they all cost the same, so all are tried.
pub(super) fn cost(_: &(Geometry, Geometry), _: &Variant, _: &Lowering<'_>) -> f64 {
    0.0
}

/// The program of a separable layer by a kernel that computes each part of it in one step.
pub(super) fn lower(
    kernel: &Kernel,
    (depthwise, pointwise): &(Geometry, Geometry),
    variant: usize,
    lowering: &Lowering<'_>,
) -> Result<Program> {
    let target = lowering.target;
    let mut program = Program::new(kernel.name, lowering.target.dtype);
    // It is cut as the normal convolution from the first input to the last output would be.
    let whole = Geometry {
        groups: 1,
        out_channels: pointwise.out_channels,
        bias: pointwise.bias,
        residual: pointwise.residual,
        activation: pointwise.activation,
        ..*depthwise
    };
    let (tensors, between) = add_tensors(&mut program, (depthwise, pointwise), target)?;
    let multiplier = depthwise.out_channels_per_group();
    for part in parts(&whole, sum(depthwise, pointwise), target)? {
        let depthwise = Geometry {
            batch: part.geometry.batch,
            input: part.geometry.input,
            output: part.geometry.output,
            ..*depthwise
        };
        let pointwise = Geometry {
            batch: part.geometry.batch,
            input: part.geometry.output,
            output: part.geometry.output,
            out_channels: part.geometry.out_channels,
            ..*pointwise
        };
        let Variant { mut constants, grid } = kernel.variant(&(depthwise, pointwise).into(), target, variant);
        constants.extend(cut(&part));
        let (start, length) = (part.first_channel * pointwise.terms(), values(pointwise.weight_shape()));
        let weight = Slice { buffer: tensors.weight, start, length };
        let mut bindings = tensors.bindings(&part, weight);
        bindings.extend(between);
        let extent =
            Extent { depth_multiplier: multiplier, between_limits: depthwise.activation.parameters(), ..extent(&part) };
        program.dispatch(
            Step::new(shader(kernel), "main", constants, extent.words(), bindings),
            grid,
            &target.limits,
        )?;
    }
    Ok(program)
}

/// Adds the tensors of both parts, but not the one in between. Returns the depthwise parameters as every step binds
/// them.
fn add_tensors(
    program: &mut Program,
    (depthwise, pointwise): (&Geometry, &Geometry),
    target: &Target,
) -> Result<(Tensors, [Binding; 2])> {
    let mut add = |part, kind, name, shape| program.buffer(kind, Name { part: Some(part), name }, shape);
    // The tensor in between is never stored, so it may have any size.
    let stored = Geometry { output: Size::from(1), ..*depthwise };
    check_buffers(&stored, target).map_err(Error::within("depthwise"))?;
    let stored = Geometry { input: Size::from(1), ..*pointwise };
    check_buffers(&stored, target).map_err(Error::within("pointwise"))?;
    let (d, p) = (depthwise, pointwise);
    let input = add("depthwise", Kind::Input, "input", d.input_shape());
    let between_weight = add("depthwise", Kind::Parameter, "weight", d.weight_shape());
    let between_bias = d.bias.then(|| add("depthwise", Kind::Parameter, "bias", d.bias_shape()));
    let tensors = Tensors {
        input,
        weight: add("pointwise", Kind::Parameter, "weight", p.weight_shape()),
        bias: p.bias.then(|| add("pointwise", Kind::Parameter, "bias", p.bias_shape())),
        residual: p.residual.then(|| add("pointwise", Kind::Input, "residual", p.output_shape())),
        input_scale: None,
        output: add("pointwise", Kind::Output, "output", p.output_shape()),
    };
    // A shader without this bias does not read that binding, but something must be bound there.
    let bindings = [(6, between_weight), (7, between_bias.unwrap_or(between_weight))];
    Ok((tensors, bindings.map(|(number, buffer)| Binding::read(number, program.whole(buffer)))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conv::Conv2d;
    use crate::kernels::AROUND_SUMS;
    use crate::kernels::convolution::around_sums;

    /// A tuned entry leaves out the constants of these names.
    #[test]
    fn what_stands_around_the_sums_is_all_there_is_of_it() {
        let geometry = Conv2d::new(1, 1, 1).geometry([1, 1, 1, 1]).unwrap();
        let constants = around_sums(&geometry).chain(between_constants(&geometry));
        assert_eq!(constants.map(|(name, _)| name).collect::<Vec<_>>(), AROUND_SUMS);
    }
}
