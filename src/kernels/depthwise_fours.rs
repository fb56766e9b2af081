//! The row of `shaders/depthwise_fours.wgsl`.

use super::convolution::{Layout, PLAIN, cost, epilogue, lower_as, span, taps, tiles};
use super::depthwise_walk::{MAXIMUM_WINDOW, MOST_STEPS, Walk, check, check_rows, fits, new_rows, partials, walks};
use super::row::{Kernel, Rank, Rules, Variant};
use super::work::{add_requests, of_all, walk};
use crate::geometry::Geometry;
use crate::model::Work;
use crate::shader::{Shader, part};
use crate::size::PaddingMode;
use crate::target::Target;

pub(super) static KERNEL: Kernel = Kernel {
    name: "depthwise_fours",
    summary: "one filter per output channel, its rows read and written four columns at a time; any multiplier",
    chosen: "on GPUs, for groups = in_channels, widths that are multiples of 4 and zero padding",
    bound_by: "memory: few multiply-adds per byte",
    rank: Rank::Special,
    shader: Some(Shader {
        name: "depthwise_fours",
        own: include_str!("../../shaders/depthwise_fours.wgsl"),
        parts: &[&[
            part::EXTENT,
            part::ELEMENT,
            part::WEIGHT,
            part::NAN,
            part::ACTIVATION,
            part::START,
            part::FOURS,
            part::WINDOW,
        ]],
    }),
    rules: &Rules::<Geometry> {
        supports,
        suits,
        variants,
        cost,
        work: |geometry, variant, _| Some(vec![work(geometry, variant)]),
        lower: |geometry, variant, lowering| lower_as(&KERNEL, &FOURS, geometry, variant, lowering),
    },
};

/// The input, the residual and the output are read and written in fours.
const FOURS: Layout = Layout { alignment: [4, 1, 1, 4, 4], ..PLAIN };

/// Filters that more output rows see at once make a text that takes seconds to compile.
const MAXIMUM_PARTIALS: u64 = 8;

fn supports(geometry: &Geometry, _: &Target) -> Result<(), &'static str> {
    check(geometry)?;
    if geometry.padding_mode != PaddingMode::Zeros {
        return Err("it needs zero padding");
    }
    if !geometry.input.width.is_multiple_of(4) || !geometry.output.width.is_multiple_of(4) {
        return Err("it needs an input and an output whose widths are multiples of 4");
    }
    if window_width(geometry) > MAXIMUM_WINDOW {
        return Err("it needs 3 stride + dilation (kernel_size - 1) + 1 of at most 32 along the width");
    }
    if partials(geometry) > MAXIMUM_PARTIALS {
        return Err("it needs dilation (kernel_size - 1) + 1 of at most 8 stride along the height");
    }
    // The shader counts the fours of all rows that a tile reaches, past the last output too; above the input they wrap.
    let rows = u64::from(geometry.padding.top)
        + (u64::from(geometry.output.height) + MOST_STEPS) * u64::from(geometry.stride.height);
    if rows * u64::from(geometry.input.width) >= 1 << 32 {
        return Err("it needs a padded plane of less than 2^32 values");
    }
    check_rows(geometry, values(geometry))
}

/// The columns of the input under a tile.
fn window_width(geometry: &Geometry) -> u64 {
    span(4, geometry.kernel_size.width, geometry.stride.width, geometry.dilation.width)
}

/// Registers besides the values: the sums, the filter, and the places of fours.
fn held(geometry: &Geometry) -> u64 {
    4 * partials(geometry) + geometry.terms() + 2 * fours(geometry)
}

fn suits(geometry: &Geometry, target: &Target) -> bool {
    !target.software && fits(held(geometry), values(geometry))
}

fn variants(geometry: &Geometry, _: &Target) -> Vec<Variant> {
    walks(geometry, |rows| variant(geometry, rows))
}

fn variant(geometry: &Geometry, rows: u32) -> Variant {
    const WORKGROUP_SIZE: u32 = 64;
    let walk = Walk::new(rows, partials(geometry), values(geometry), held(geometry));
    let window = taps(geometry.kernel_size, geometry.stride, geometry.dilation);
    let constants = window.into_iter().chain(epilogue(geometry)).chain([("WORKGROUP_SIZE", WORKGROUP_SIZE)]);
    let constants = constants.chain(walk.constants()).chain([("LEAD", lead(geometry))]);
    let planes = u64::from(geometry.batch) * u64::from(geometry.out_channels);
    let plane_tiles = tiles(geometry.output.width, 4) * tiles(geometry.output.height, walk.rows);
    Variant::new(constants, [(planes * plane_tiles).div_ceil(WORKGROUP_SIZE.into()), 1, 1])
}

/// Where in a four the window of a tile starts.
fn lead(geometry: &Geometry) -> u32 {
    geometry.padding.left.wrapping_neg() % 4
}

/// The fours that a tile reads of a row. Of the first and the last one it may use a single value.
fn fours(geometry: &Geometry) -> u64 {
    (u64::from(lead(geometry)) + window_width(geometry)).div_ceil(4)
}

/// How many registers the values take that an output row brings: those of whole fours, or of the one value of an edge.
fn values(geometry: &Geometry) -> u64 {
    let end = u64::from(lead(geometry)) + window_width(geometry);
    let of_row = 4 * fours(geometry) - if lead(geometry) == 3 { 3 } else { 0 } - if end % 4 == 1 { 3 } else { 0 };
    new_rows(geometry) * of_row
}

fn work(geometry: &Geometry, variant: &Variant) -> Work {
    let partials = partials(geometry);
    let down = Walk::of(variant, partials);
    let (steps, made) = (down.steps(), down.made(geometry));
    let (fours, apart) = (fours(geometry) as f64, f64::from(geometry.stride.width));
    let rows = new_rows(geometry) as f64;
    // Two subgroups. Each four that a row needs is a request, also one of which it needs a value.
    let mut work = walk(geometry, steps, made, 4.0, apart);
    add_requests(&mut work, 2.0 * steps * rows * fours, 16.0 * apart.min(2.0));
    add_requests(&mut work, 2.0 * made, 16.0);
    if geometry.residual.is_some() {
        add_requests(&mut work, 2.0 * steps, 16.0);
    }
    work.waits = f64::from(down.rounds) + 1.0;
    let fetched = f64::from(down.ahead) * values(geometry) as f64;
    work.registers = 4.0 * partials as f64 + 2.0 * fours + fetched + 1.5 * geometry.terms() as f64 + 22.0;
    // For each row of the input, each of the output, and once, in code compiled for an H100.
    work.others = 2.0 * ((25.0 * rows + 17.0) * steps + 180.0);
    of_all(work, variant)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conv::Conv2d;
    use crate::size::Padding;

    #[test]
    fn widths_that_are_multiples_of_four_are_read_in_fours() {
        let target: Target = wgpu::Limits::default().into();
        for (width, kernel_size, stride, is_supported) in [
            (56, 3, 1, true),
            (112, 3, 2, true),
            (28, 5, 1, true),
            (28, 7, 1, true),
            // To 14 columns.
            (28, 3, 2, false),
            (14, 3, 1, false),
            (7, 7, 1, false),
            // 9 output rows see an input row.
            (56, 9, 1, false),
        ] {
            let layer = Conv2d::new(8, 8, kernel_size).padding(kernel_size / 2).groups(8).stride(stride);
            let geometry = layer.geometry([1, 8, width, width]).unwrap();
            assert_eq!(supports(&geometry, &target).is_ok(), is_supported, "{width}, {kernel_size}, stride {stride}");
        }
    }

    #[test]
    fn rows_that_no_output_sees_are_not_fetched_and_not_too_many_are() {
        let target: Target = wgpu::Limits::default().into();
        // Of a stride of 128 rows, two are seen.
        for (kernel_size, stride, columns, is_supported) in [
            ([2, 2], [128, 1], 8, true),
            ([5, 5], [2, 2], 16, true),
            ([8, 8], [8, 8], 64, false),
            ([160, 1], [160, 1], 8, false),
        ] {
            let layer = Conv2d::new(8, 8, kernel_size).groups(8).stride(stride).padding(Padding::Same);
            let geometry = layer.geometry([1, 8, 640, columns]).unwrap();
            assert_eq!(supports(&geometry, &target).is_ok(), is_supported, "{kernel_size:?}, stride {stride:?}");
        }
    }

    #[test]
    fn tiles_are_whole_rounds_and_cover_the_rows() {
        let geometry = |height| Conv2d::new(8, 8, 3).padding(1).groups(8).geometry([1, 8, height, 8]).unwrap();
        let walks = |height| {
            let variants = variants(&geometry(height), &wgpu::Limits::default().into());
            let of = |variant: &Variant| {
                let the = |wanted| variant.constants.iter().find(|(name, _)| *name == wanted).unwrap().1;
                (the("ROUNDS"), the("AHEAD"), variant.grid[0])
            };
            variants.iter().map(of).collect::<Vec<_>>()
        };
        // Tiles of 16, 8, 4 and 2 rows.
        assert_eq!(walks(16), [(3, 6, 1), (2, 5, 1), (1, 6, 1), (1, 4, 2)]);
        assert_eq!(walks(1), [(1, 3, 1)]);
        assert_eq!(walks(112), [(3, 6, 2), (2, 5, 4), (1, 6, 7), (1, 4, 14)]);
    }
}
