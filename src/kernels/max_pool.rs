//! The row of `shaders/max_pool.wgsl`.

use super::convolution::{check_buffers, extent, shader, window};
use super::parts::{Sum, parts};
use super::row::{Kernel, Lowering, Rank, Rules, Variant};
use crate::activation::Activation;
use crate::error::Result;
use crate::geometry::Geometry;
use crate::pool::PoolGeometry;
use crate::program::{Binding, Kind, Program, Slice, Step};
use crate::rounding::Rounding;
use crate::shader::{Shader, part};
use crate::size::{PaddingMode, values};
use crate::target::Target;

pub(super) static KERNEL: Kernel = Kernel {
    name: "max_pool",
    summary: "the largest value under a window that moves over each channel",
    chosen: "for every max pool",
    bound_by: "memory",
    rank: Rank::Fallback,
    shader: Some(Shader {
        name: "max_pool",
        own: include_str!("../../shaders/max_pool.wgsl"),
        parts: &[&[
            part::EXTENT,
            part::ELEMENT,
            part::INPUT,
            part::OUTPUT,
            part::WINDOW,
            part::SOURCE,
            part::PADDING,
            part::NAN,
        ]],
    }),
    rules: &Rules::<PoolGeometry> { supports: |_, _| Ok(()), suits: |_, _| true, variants, cost: |_, _, _| 0.0, lower },
};

const WORKGROUP_SIZE: u32 = 64;

fn variants(geometry: &PoolGeometry, _: &Target) -> Vec<Variant> {
    let outputs = values(geometry.output_shape());
    let own = [("WORKGROUP_SIZE", WORKGROUP_SIZE)];
    vec![Variant::new(
        window(&as_convolution(geometry)).into_iter().chain(own),
        [outputs.div_ceil(WORKGROUP_SIZE.into()), 1, 1],
    )]
}

/// The depthwise convolution that has the same windows. The pool is cut as that would be.
fn as_convolution(pool: &PoolGeometry) -> Geometry {
    Geometry {
        batch: pool.batch,
        in_channels: pool.channels,
        input: pool.input,
        out_channels: pool.channels,
        output: pool.output,
        kernel_size: pool.kernel_size,
        stride: pool.stride,
        dilation: pool.dilation,
        padding: pool.padding,
        padding_mode: PaddingMode::Zeros,
        groups: pool.channels,
        bias: false,
        residual: false,
        activation: Activation::None,
        rounding: Rounding::Fast,
    }
}

fn lower(pool: &PoolGeometry, _: usize, lowering: &Lowering<'_>) -> Result<Program> {
    let target = lowering.target;
    let whole = as_convolution(pool);
    check_buffers(&whole, target)?;
    let mut program = Program::new(KERNEL.name);
    let input = program.buffer(Kind::Input, "input", pool.input_shape());
    let output = program.buffer(Kind::Output, "output", pool.output_shape());
    let taps = pool.kernel_size.area();
    // A pool binds no weights: 1 always fits.
    for part in parts(&whole, Sum { filter: 1, terms: taps }, target)? {
        let g = part.geometry;
        let constants =
            window(&g).into_iter().chain([("WORKGROUP_SIZE", WORKGROUP_SIZE), ("CONTINUES", part.continues.into())]);
        let slice =
            |buffer, stretch: super::parts::Stretch| Slice { buffer, start: stretch.start, length: stretch.length };
        let bindings = vec![
            Binding { skipped: part.skipped, ..Binding::read(1, slice(input, part.input)) },
            Binding::write(5, slice(output, part.output)),
        ];
        let grid = [values(g.output_shape()).div_ceil(WORKGROUP_SIZE.into()), 1, 1];
        let step = Step::new(shader(&KERNEL), "main", constants.collect(), extent(&part).words(), bindings);
        program.dispatch(step, grid, &target.limits)?;
    }
    Ok(program)
}
