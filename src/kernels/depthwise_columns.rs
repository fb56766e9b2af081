//! The row of `shaders/depthwise_columns.wgsl`.

use super::convolution::{SUMS, cost, epilogue, lower, tiles, window};
use super::depthwise_walk::{MAXIMUM_WINDOW, Walk, check, check_rows, fits, new_rows, partials, walks, window_height};
use super::row::{Kernel, Rank, Rules, Variant};
use super::work::{add_requests, of_all, walk};
use crate::geometry::Geometry;
use crate::model::Work;
use crate::shader::{Shader, part};
use crate::target::Target;

pub(super) static KERNEL: Kernel = Kernel {
    name: "depthwise_columns",
    summary: "one filter per output channel, one column for each invocation; any multiplier",
    chosen: "on GPUs, for groups = in_channels where depthwise_fours is not, if filter and sums fit in registers",
    bound_by: "memory: few multiply-adds per byte",
    rank: Rank::Special,
    shader: Some(Shader {
        name: "depthwise_columns",
        own: include_str!("../../shaders/depthwise_columns.wgsl"),
        parts: &[&SUMS, &[part::WINDOW, part::SOURCE, part::PADDING]],
    }),
    rules: &Rules::<Geometry> {
        supports,
        suits,
        variants,
        cost,
        work: |geometry, variant, _| Some(vec![work(geometry, variant)]),
        lower: |geometry, variant, lowering| lower(&KERNEL, geometry, variant, lowering),
    },
};

fn supports(geometry: &Geometry, _: &Target) -> Result<(), &'static str> {
    check(geometry)?;
    if u64::from(geometry.kernel_size.width) > MAXIMUM_WINDOW {
        return Err("it needs a filter of at most 32 columns");
    }
    if window_height(geometry) > MAXIMUM_WINDOW {
        return Err("it needs dilation (kernel_size - 1) + 1 of at most 32 along the height");
    }
    check_rows(geometry, values(geometry))
}

/// The values that a step fetches.
fn values(geometry: &Geometry) -> u64 {
    new_rows(geometry) * u64::from(geometry.kernel_size.width)
}

/// Registers besides these: the places of a row's values, the sums, and the filter.
fn held(geometry: &Geometry) -> u64 {
    2 * u64::from(geometry.kernel_size.width) + partials(geometry) + geometry.terms()
}

fn suits(geometry: &Geometry, target: &Target) -> bool {
    !target.software && fits(held(geometry), values(geometry))
}

fn variants(geometry: &Geometry, _: &Target) -> Vec<Variant> {
    walks(geometry, |rows| variant(geometry, rows))
}

fn variant(geometry: &Geometry, row_tile: u32) -> Variant {
    const WORKGROUP_SIZE: u32 = 64;
    let walk = Walk::new(row_tile, partials(geometry), values(geometry), held(geometry));
    let constants = window(geometry).chain(epilogue(geometry)).chain([("WORKGROUP_SIZE", WORKGROUP_SIZE)]);
    let planes = u64::from(geometry.batch) * u64::from(geometry.out_channels);
    let columns = u64::from(geometry.output.width) * tiles(geometry.output.height, walk.rows);
    Variant::new(constants.chain(walk.constants()), [(planes * columns).div_ceil(WORKGROUP_SIZE.into()), 1, 1])
}

fn work(geometry: &Geometry, variant: &Variant) -> Work {
    let partials = partials(geometry);
    let down = Walk::of(variant, partials);
    let (steps, made) = (down.steps(), down.made(geometry));
    let (columns, apart) = (f64::from(geometry.kernel_size.width), f64::from(geometry.stride.width));
    let values = values(geometry) as f64;
    // Two subgroups, of neighbouring columns.
    let mut work = walk(geometry, steps, made, 1.0, apart);
    add_requests(&mut work, 2.0 * steps * values, 4.0 * apart.min(8.0));
    let times = if geometry.residual.is_some() { 2.0 } else { 1.0 };
    add_requests(&mut work, times * 2.0 * made, 4.0);
    work.waits = f64::from(down.rounds) + 1.0;
    work.registers =
        2.0 * columns + f64::from(down.ahead) * values + partials as f64 + 1.5 * geometry.terms() as f64 + 18.0;
    // For each value that is read, each row of the output, and once, in code compiled for an H100.
    work.others = 2.0 * (6.5 * steps * values + 10.0 * steps + 140.0);
    of_all(work, variant)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conv::Conv2d;
    use crate::model::Gpu;
    use crate::planner::Planner;

    #[test]
    fn what_fits_in_no_registers_is_another_kernels_on_a_gpu() {
        let gpu: Target = wgpu::Limits::default().into();
        let software = Target { software: true, ..gpu.clone() };
        for (kernel_size, fits) in [(3, true), (9, true), (11, true), (12, false), (13, false), (29, false)] {
            let layer = Conv2d::new(8, 8, kernel_size).padding(kernel_size / 2).groups(8);
            let layer = layer.geometry([1, 8, 57, 57]).unwrap().into();
            let planned = |target: &Target| Planner::new(target.clone()).plan(&layer).unwrap().kernel;
            assert_eq!(planned(&gpu) == "depthwise_columns", fits, "{kernel_size}: {}", planned(&gpu));
            assert_eq!(planned(&software), "depthwise");
        }
    }

    #[test]
    fn small_planes_are_walked_in_short_steps_on_a_gpu() {
        let layer = Conv2d::new(1024, 1024, 3).padding(1).groups(1024);
        let rows = |batch| {
            let geometry = layer.geometry([batch, 1024, 7, 7]).unwrap();
            let gpu = Target::from(wgpu::Limits::default()).taken_for(Gpu::by_name("H100").unwrap());
            let chosen = KERNEL.variants(&geometry.into(), &gpu).swap_remove(0);
            let the = |wanted| chosen.constants.iter().find(|(name, _)| *name == wanted).unwrap().1;
            the("ROUNDS") * the("AHEAD") - 2
        };
        assert_eq!([1, 32].map(rows), [2, 7]);
    }
}
