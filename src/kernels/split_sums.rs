//! The row of convolutions with few outputs and long sums: the sums are cut into parts that different workgroups make, and
//! `shaders/split_sums.wgsl` adds the parts up.
//!
//! The parts are a convolution of as many times more groups, each of which reads some of a group's input channels and makes
//! all of its output channels: by `tiled_pointwise` where that can, else by `tiled_gemm`. Matrix products call this split-K.

use super::convolution::{SUMS, Tensors, epilogue, extent, shader, tile_cost, workgroups};
use super::packed::pack_as;
use super::parts::{MAXIMUM_TERMS, by_images};
use super::row::{Kernel, Lowering, Rank, Rules, Variant};
use super::work::{add_bias, add_requests, keep_between};
use super::{tiled_gemm, tiled_pointwise, tiling};
use crate::activation::Activation;
use crate::error::Result;
use crate::geometry::Geometry;
use crate::layer::Layer;
use crate::layers::rearrange::Axis;
use crate::model::Work;
use crate::program::{Binding, Kind, Program, Step};
use crate::residual::Residual;
use crate::shader::Shader;
use crate::size::values;
use crate::target::Target;

pub(super) static KERNEL: Kernel = Kernel {
    name: "split_sums",
    summary: "a convolution of more groups, each of which has a part of every sum, and a step that adds the parts up",
    chosen: "on GPUs by prediction, for few outputs and long sums",
    bound_by: "what its convolution is bound by; memory for the last step",
    rank: Rank::Special,
    shader: Some(Shader { name: "split_sums", own: include_str!("../../shaders/split_sums.wgsl"), parts: &[&SUMS] }),
    rules: &Rules::<Geometry> { supports, suits: |_, target| !target.software, variants, cost, work, lower },
};

const WORKGROUP_SIZE: u32 = 64;

/// Into how many parts a sum may be cut.
const PARTS: [u32; 4] = [2, 4, 8, 16];

/// A shorter part of a sum is over before its workgroup has started.
const FEWEST_TERMS: u64 = 64;

/// Tiles of 64 pixels and 64 channels that fill a large GPU. Parts of sums are no more than it takes to have so many.
const MANY_TILES: u64 = 256;

/// The numbers of parts that a layer's sums can be cut into.
fn numbers(geometry: &Geometry) -> impl DoubleEndedIterator<Item = u32> {
    let (channels, terms) = (geometry.in_channels_per_group(), geometry.terms());
    let wanted = MANY_TILES.div_ceil(tiling::large_tiles(geometry).max(1)).next_power_of_two();
    let can_be = move |&parts: &u32| {
        channels.is_multiple_of(parts) && terms >= FEWEST_TERMS * u64::from(parts) && u64::from(parts) <= wanted
    };
    PARTS.into_iter().filter(can_be)
}

fn supports(geometry: &Geometry, target: &Target) -> std::result::Result<(), &'static str> {
    let Some(most) = numbers(geometry).next_back().filter(|_| geometry.terms() <= MAXIMUM_TERMS.into()) else {
        return Err("it needs few outputs, an even number of input channels per group and sums of 128 to 16,384 terms");
    };
    let bound = target.binding_values().min(target.limits.max_buffer_size / 4);
    let largest = [geometry.weight_shape(), geometry.input_shape()].map(values).into_iter().max().unwrap_or(0);
    let between = values(geometry.output_shape()).saturating_mul(most.into());
    let Some(cut) = cut_into(geometry, most).filter(|_| largest.max(between) <= bound) else {
        return Err("it needs tensors, and the parts of all sums, that fit in a binding");
    };
    tiled_gemm::supports(&cut, target)
}

fn variants(geometry: &Geometry, _: &Target) -> Vec<Variant> {
    let grid = [values(geometry.output_shape()).div_ceil(WORKGROUP_SIZE.into()), 1, 1];
    let constants =
        |parts| epilogue(geometry).into_iter().chain([("PARTS", parts), ("WORKGROUP_SIZE", WORKGROUP_SIZE)]);
    numbers(geometry).map(|parts| Variant::new(constants(parts), grid)).collect()
}

/// What its convolution costs. The last step is left to a measurement.
fn cost(geometry: &Geometry, variant: &Variant, lowering: &Lowering<'_>) -> f64 {
    let parts = parts_of(variant);
    let planned = cut_into(geometry, parts).and_then(|cut| lower_cut(cut, lowering).ok());
    planned.map_or(f64::INFINITY, |program| {
        let sums = values(geometry.output_shape()) as f64 * f64::from(parts);
        tile_cost(sums, workgroups(&program), lowering.target) / f64::from(parts)
    })
}

fn parts_of(variant: &Variant) -> u32 {
    variant.get("PARTS").expect("a number of parts in every variant")
}

/// The convolution that makes the parts; none if its sizes are past what a layer may have.
fn cut_into(geometry: &Geometry, parts: u32) -> Option<Geometry> {
    let cut = Geometry {
        out_channels: geometry.out_channels.checked_mul(parts)?,
        groups: geometry.groups.checked_mul(parts)?,
        bias: false,
        residual: Residual::None,
        activation: Activation::None,
        ..*geometry
    };
    Layer::Conv2d(cut).check().ok().map(|()| cut)
}

/// The kernel that makes the parts. The planner is not asked: it might cut the sums once more.
fn kernel_of_parts(cut: &Layer, target: &Target) -> &'static Kernel {
    let in_fours = tiled_pointwise::KERNEL.supports(cut, target).is_ok();
    if in_fours { &tiled_pointwise::KERNEL } else { &tiled_gemm::KERNEL }
}

fn lower_cut(cut: Geometry, lowering: &Lowering<'_>) -> Result<Program> {
    let layer = Layer::Conv2d(cut);
    kernel_of_parts(&layer, lowering.target).lower(&layer, 0, lowering)
}

/// That of the convolution, and that of the step that adds its parts up.
fn work(geometry: &Geometry, variant: &Variant, lowering: &Lowering<'_>) -> Option<Vec<Work>> {
    let parts = parts_of(variant);
    let layer = Layer::Conv2d(cut_into(geometry, parts)?);
    let kernel = kernel_of_parts(&layer, lowering.target);
    let mut all = kernel.work(&layer, kernel.variants(&layer, lowering.target).first()?, lowering)?;
    let outputs = values(geometry.output_shape()) as f64;
    let between = 4.0 * outputs * f64::from(parts);
    if let [convolution] = all.as_mut_slice() {
        keep_between(convolution, between);
    }
    let (subgroups, residual) = (outputs / 32.0, if geometry.residual.is_some() { 1.0 } else { 0.0 });
    let bytes = 4.0 * outputs * (1.0 + residual);
    let mut last = Work {
        workgroups: variant.workgroups(),
        invocations: WORKGROUP_SIZE.into(),
        waits: 2.0,
        registers: 24.0,
        // As in code compiled for RDNA 2.
        others: subgroups * (70.0 + 4.0 * f64::from(parts)),
        bytes,
        between,
        fetched: bytes + between,
        ..Work::default()
    };
    add_requests(&mut last, subgroups * (f64::from(parts) + 1.0 + residual), 4.0);
    add_bias(&mut last, geometry, subgroups, 1.0);
    all.push(last);
    Some(all)
}

fn lower(whole: &Geometry, variant: usize, lowering: &Lowering<'_>) -> Result<Program> {
    let target = lowering.target;
    let mut program = Program::new(KERNEL.name, target.dtype);
    let tensors = Tensors::add(&mut program, whole, target)?;
    // An empty batch has no part.
    let Some(all_images) = by_images(whole, whole.batch.max(1).into())?.pop() else { return Ok(program) };
    let variant = KERNEL.variant(&Layer::Conv2d(*whole), target, variant);
    let parts = parts_of(&variant);
    let cut = cut_into(whole, parts).expect("a layer that can be cut into so many parts");

    // From [output channel, term] to [group, part, output channel of the group, term of the part].
    let narrow = |size: u64| u32::try_from(size).expect("a size of a weight that fits in a binding");
    let (terms, channels) = (narrow(whole.terms()), whole.out_channels_per_group());
    let axes = [
        Axis::new(whole.groups, channels * terms),
        Axis::new(parts, terms / parts),
        Axis::new(channels, terms),
        Axis::new(terms / parts, 1),
    ];
    let weight = program.whole(tensors.weight);
    let weight_of_parts = pack_as(&mut program, weight, "weight of the parts", &axes, lowering)?;

    let between = program.sums(Kind::Workspace, "parts of the sums", values(cut.output_shape()))?;
    let between = program.whole(between);
    let mut planned = lower_cut(cut, lowering)?;
    let [from, to] = planned.ends();
    planned.have_sums(to);
    let own = planned.find(Kind::Parameter, "weight").expect("a convolution has a weight");
    let input = program.whole(tensors.input);
    let scale = planned.find(Kind::Input, "input_scale").zip(tensors.input_scale.map(|scale| program.whole(scale)));
    let ends: Vec<_> = [(from, input), (own, weight_of_parts), (to, between)].into_iter().chain(scale).collect();
    program.append(planned, &ends)?;

    let mut bindings = tensors.bindings(&all_images, weight);
    // The parts of the sums are scaled already.
    bindings.truncate(5);
    bindings[0] = Binding::read(1, between);
    let step = Step::new(shader(&KERNEL), "main", variant.constants, extent(&all_images).words(), bindings);
    program.dispatch(step, variant.grid, &target.limits)?;
    Ok(program)
}
