//! The row of `shaders/pool.wgsl`.

use super::convolution::{check_buffers, cut, extent, shader, window};
use super::parts::{Sum, parts};
use super::row::{Kernel, Lowering, Rank, Rules, Variant};
use crate::activation::Activation;
use crate::error::Result;
use crate::extent::Extent;
use crate::geometry::Geometry;
use crate::pool::{PoolGeometry, Pooling};
use crate::program::{Binding, Kind, Program, Slice, Step};
use crate::residual::Residual;
use crate::rounding::Rounding;
use crate::shader::{Shader, part};
use crate::size::{PaddingMode, Sides, values};
use crate::target::Target;

pub(super) static KERNEL: Kernel = Kernel {
    name: "pool",
    summary: "the largest value, or the mean, under a window that moves over each channel",
    chosen: "for every max pool and every average pool",
    bound_by: "memory",
    rank: Rank::Fallback,
    shader: Some(Shader {
        name: "pool",
        own: include_str!("../../shaders/pool.wgsl"),
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
    rules: &Rules::<PoolGeometry>::plain(variants, lower),
};

const WORKGROUP_SIZE: u32 = 64;

fn variants(pool: &PoolGeometry, _: &Target) -> Vec<Variant> {
    let outputs = values(pool.output_shape());
    let constants = window(&as_convolution(pool)).chain(own(pool));
    vec![Variant::new(constants, [outputs.div_ceil(WORKGROUP_SIZE.into()), 1, 1])]
}

/// The constants besides those of the window that a part of the pool looks at.
fn own(pool: &PoolGeometry) -> [(&'static str, u32); 4] {
    [
        ("WORKGROUP_SIZE", WORKGROUP_SIZE),
        ("IS_AVERAGE", (pool.pooling != Pooling::Max).into()),
        ("WHOLE_HEIGHT", pool.kernel_size.height),
        ("WHOLE_WIDTH", pool.kernel_size.width),
    ]
}

/// What a mean counts of its window, for some rows of the output: where the first of those windows starts in what counts,
/// and how large that is. It is the input, or the padded input.
fn counted(pool: &PoolGeometry, first_row: u64) -> ([i32; 2], [u32; 2]) {
    let Sides { top, left, bottom, right } = pool.padding;
    let (height, width) = (pool.input.height, pool.input.width);
    let first = u32::try_from(first_row * u64::from(pool.stride.height)).expect("a row of the padded input");
    match pool.pooling {
        Pooling::Average { count_padding: false } => {
            let before = |first: u32, padding: u32| first.cast_signed() - padding.cast_signed();
            ([before(first, top), before(0, left)], [height, width])
        }
        _ => ([first.cast_signed(), 0], [top + height + bottom, left + width + right]),
    }
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
        residual: Residual::None,
        input_scale: false,
        activation: Activation::None,
        rounding: Rounding::Fast,
    }
}

fn lower(pool: &PoolGeometry, _: usize, lowering: &Lowering<'_>) -> Result<Program> {
    let target = lowering.target;
    let whole = as_convolution(pool);
    check_buffers(&whole, target)?;
    let mut program = Program::new(KERNEL.name, lowering.target.dtype);
    let input = program.buffer(Kind::Input, "input", pool.input_shape());
    let output = program.buffer(Kind::Output, "output", pool.output_shape());
    let [rows, row] = [pool.output.height, pool.output.width].map(u64::from);
    let taps = pool.kernel_size.area();
    // A pool binds no weights: 1 always fits.
    for part in parts(&whole, Sum { filter: 1, terms: taps, channels: 1 }, target)? {
        let g = part.geometry;
        let constants = window(&g).chain(own(pool)).chain(cut(&part));
        let (count_start, count_size) = counted(pool, part.output.start / row % rows);
        let slice =
            |buffer, stretch: super::parts::Stretch| Slice { buffer, start: stretch.start, length: stretch.length };
        let bindings = vec![
            Binding { skipped: part.skipped, ..Binding::read(1, slice(input, part.input)) },
            Binding::write(5, slice(output, part.output)),
        ];
        let extent = Extent { count_start, count_size, ..extent(&part) };
        let grid = [values(g.output_shape()).div_ceil(WORKGROUP_SIZE.into()), 1, 1];
        let step = Step::new(shader(&KERNEL), "main", constants.collect(), extent.words(), bindings);
        program.dispatch(step, grid, &target.limits)?;
    }
    Ok(program)
}
