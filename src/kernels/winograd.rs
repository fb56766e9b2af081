//! The row of `shaders/winograd.wgsl`. One step transforms tiles of the input, a 1 × 1 convolution of 16 times as many
//! groups makes the sums, and one step transforms these to the output. The filters are transformed once, when the
//! weights are packed.
//!
//! Winograd, *Arithmetic complexity of computations*, 1980; Lavin and Gray, *Fast algorithms for convolutional neural
//! networks*, 2016.
//!
//! What is transformed is `f32`, whatever the layer's tensors hold: rounded to less, it would spoil the sums.
//!
//! Its errors may pass the bound of a sum, so a layer of [`Rounding::Exact`] is another kernel's.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::convolution::{SUMS, Tensors, epilogue, extent, padding_mode, shader, tile_cost, workgroups};
use super::parts::{Part, by_images};
use super::row::{Kernel, Lowering, Rank, Rules, Variant};
use super::software;
use super::work::{add_bias, add_requests, keep_between};
use crate::conv::Conv2d;
use crate::dtype::DType;
use crate::error::Result;
use crate::extent::Extent;
use crate::geometry::Geometry;
use crate::layer::Layer;
use crate::model::Work;
use crate::program::{Binding, Kind, Program, Slice, Step, check_dispatches};
use crate::rounding::Rounding;
use crate::shader::{Shader, part};
use crate::size::{Size, values};
use crate::target::Target;

pub(super) static KERNEL: Kernel = Kernel {
    name: "winograd",
    summary: "a normal or grouped 3 x 3 convolution of stride 1 by Winograd's F(2 x 2, 3 x 3)",
    chosen: "for 48 tiles of 2 x 2 or more: on GPUs where it is predicted to take the least time, in software for many channels",
    bound_by: "its product for many channels, memory for few",
    rank: Rank::Special,
    shader: Some(Shader {
        name: "winograd",
        own: include_str!("../../shaders/winograd.wgsl"),
        parts: &[&SUMS, &[part::SOURCE, part::PADDING]],
    }),
    rules: &Rules::<Geometry> { supports, suits, variants, cost, work, lower },
};

/// A tile's places: 4 × 4 inputs, for 2 × 2 outputs.
const PLACES: u32 = 16;

const WORKGROUP_WIDTH: u32 = 64;

/// Its roundings grow with Σ|x| · Σ|w| over a filter's taps, not with Σ|x · w|. If the sum over the channels is longer
/// than the sums in the transforms, and the taps have like sizes, that is within the bound of any other kernel. With
/// fewer channels it gains nothing.
const FEWEST_CHANNELS: u32 = 16;

/// The most bytes of both transformed tensors, unless one row of tiles takes more. Many images at once would take several
/// times the memory of the layer's own tensors, and would be in no cache.
const WORKSPACE: u64 = 16 << 20;

/// In software, the most bytes of the larger transformed tensor, unless one image takes more.
const SOFTWARE_WORKSPACE: u64 = 64 << 20;

fn supports(geometry: &Geometry, target: &Target) -> std::result::Result<(), &'static str> {
    let (one, three) = (Size::from(1), Size::from(3));
    if (geometry.kernel_size, geometry.stride, geometry.dilation) != (three, one, one) {
        return Err("it needs a 3 x 3 kernel, stride 1 and dilation 1");
    }
    if geometry.rounding == Rounding::Exact {
        return Err("it needs rounding fast, since its errors may pass the bound of a sum");
    }
    if geometry.in_channels_per_group().min(geometry.out_channels_per_group()) < FEWEST_CHANNELS {
        return Err("it needs 16 input and 16 output channels per group");
    }
    let weight = u64::from(PLACES) * u64::from(geometry.out_channels) * u64::from(geometry.in_channels_per_group());
    let one_image = Geometry { batch: 1, ..*geometry };
    let tensors = [one_image.input_shape(), one_image.output_shape()].map(values);
    let largest = tensors.into_iter().max().unwrap_or(0).max(weight).max(transformed_image(geometry));
    if largest > tensor_values(target) {
        return Err("it needs an image and a weight that fit in a buffer and in a binding once transformed");
    }
    Ok(())
}

/// The most values of a tensor that is bound whole.
fn tensor_values(target: &Target) -> u64 {
    target.binding_values().min(target.limits.max_buffer_size / 4)
}

/// The product has a quarter of the layer's pixels. With fewer than this many, its own tiles are partly idle.
const FEWEST_TILES: u64 = 48;

/// A pair of an input and an output channel saves 10 of 18 operations per pixel. Each channel of either kind costs 8
/// more values of traffic. So what is saved, divided by what it costs, grows with in · out / (in + out). For a GPU the model
/// compares both.
fn suits(geometry: &Geometry, target: &Target) -> bool {
    let [inputs, outputs] = [geometry.in_channels_per_group(), geometry.out_channels_per_group()].map(u64::from);
    let pays = || {
        let least = software::winograd_pays_from(product(geometry, tiles(geometry)), &target.of(DType::F32));
        inputs * outputs >= least * (inputs + outputs)
    };
    tiles(geometry) >= FEWEST_TILES && (!target.software || pays())
}

fn variants(geometry: &Geometry, target: &Target) -> Vec<Variant> {
    let together = tiles_together(target);
    let own = [
        padding_mode(geometry.padding_mode),
        ("WORKGROUP_WIDTH", WORKGROUP_WIDTH),
        ("TILES_TOGETHER", u32::try_from(together).expect("a few")),
    ];
    vec![Variant::new(
        own.into_iter().chain(epilogue(geometry)),
        grid(u64::from(geometry.in_channels) * tiles(geometry).next_multiple_of(together)),
    )]
}

/// A transformed tensor has a multiple of so many tiles: GPUs' kernels take a product's pixels in fours.
fn tiles_together(target: &Target) -> u64 {
    if target.software { 1 } else { 4 }
}

/// Its product has 16 terms where the layer has 36. What the transforms cost is left to a measurement.
fn cost(geometry: &Geometry, _: &Variant, lowering: &Lowering<'_>) -> f64 {
    let all = tiles(geometry).next_multiple_of(tiles_together(lowering.target));
    let planned =
        product(geometry, all).and_then(|product| Ok((product, lowering.plan_sums(&Layer::Conv2d(product))?)));
    planned.map_or(f64::INFINITY, |(product, program)| {
        tile_cost(values(product.output_shape()) as f64, workgroups(&program), lowering.target) * 16.0 / 36.0
    })
}

fn grid(invocations: u64) -> [u64; 3] {
    [invocations.div_ceil(WORKGROUP_WIDTH.into()), 1, 1]
}

/// How many rows and columns of tiles an image has.
fn rows_and_columns(geometry: &Geometry) -> [u32; 2] {
    [geometry.output.height, geometry.output.width].map(|size| size.div_ceil(2))
}

/// The tiles of all images.
fn tiles(geometry: &Geometry) -> u64 {
    let [rows, columns] = rows_and_columns(geometry).map(u64::from);
    u64::from(geometry.batch) * rows * columns
}

/// How many images, and rows of an image's tiles, are transformed at a time.
fn at_once(geometry: &Geometry, target: &Target) -> (u64, u32) {
    let [inputs, outputs] = [geometry.in_channels, geometry.out_channels].map(u64::from);
    let [rows, columns] = rows_and_columns(geometry);
    let image = u64::from(rows) * u64::from(columns);
    let together = tiles_together(target);
    let workspace =
        if target.software { SOFTWARE_WORKSPACE / inputs.max(outputs) } else { WORKSPACE / (inputs + outputs) };
    let bound = 4 * tensor_values(target) / inputs.max(outputs);
    let most = bound.min(workspace) / 4 / u64::from(PLACES) / together * together;
    if most >= image || target.software {
        return ((most / image).max(1), rows);
    }
    // Of like size.
    let most = u32::try_from(most / u64::from(columns)).unwrap_or(rows).clamp(1, rows);
    (1, rows.div_ceil(rows.div_ceil(most)))
}

/// The first row of tiles, and how many there are, of the pieces of a part that are transformed at a time.
fn pieces(rows_at_once: u32, part: &Part) -> impl Iterator<Item = (&Part, [u32; 2])> {
    let [rows, _] = rows_and_columns(&part.geometry);
    (0..rows).step_by(rows_at_once as usize).map(move |row| (part, [row, rows_at_once.min(rows - row)]))
}

/// The tiles of so many rows of tiles of all images.
fn tiles_of(geometry: &Geometry, rows: u32) -> u64 {
    let [_, columns] = rows_and_columns(geometry);
    u64::from(geometry.batch) * u64::from(rows) * u64::from(columns)
}

/// How many values the larger transformed tensor has for each image.
fn transformed_image(geometry: &Geometry) -> u64 {
    let channels = geometry.in_channels.max(geometry.out_channels);
    u64::from(PLACES) * u64::from(channels) * tiles(&Geometry { batch: 1, ..*geometry })
}

/// The 1 × 1 convolution between the transforms: one group for each place in a tile and group of the layer.
///
/// # Errors
/// Those of [`Conv2d::geometry`].
fn product(geometry: &Geometry, tiles: u64) -> Result<Geometry> {
    let [in_channels, out_channels] = [geometry.in_channels, geometry.out_channels].map(|channels| PLACES * channels);
    let tiles = u32::try_from(tiles).unwrap_or(u32::MAX);
    let layer = Conv2d::new(in_channels, out_channels, 1).groups(PLACES * geometry.groups).bias(false);
    layer.geometry([1, in_channels, 1, tiles])
}

/// That of the transforms and of the products.
fn work(whole: &Geometry, _: &Variant, lowering: &Lowering<'_>) -> Option<Vec<Work>> {
    let (images, rows_at_once) = at_once(whole, lowering.target);
    let parts = by_images(whole, images).ok()?;
    let [rows, _] = rows_and_columns(whole);
    check_dispatches(3 * parts.len() as u64 * u64::from(rows.div_ceil(rows_at_once))).ok()?;
    // Most pieces are of one size.
    let mut of_size: HashMap<u64, Vec<Work>> = HashMap::new();
    let mut all = Vec::new();
    for (part, [_, rows]) in parts.iter().flat_map(|part| pieces(rows_at_once, part)) {
        let tiles = tiles_of(&part.geometry, rows);
        let of_piece = match of_size.entry(tiles) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(work_of(whole, tiles, lowering)?),
        };
        all.extend_from_slice(of_piece);
    }
    Some(all)
}

/// That of so many tiles.
fn work_of(whole: &Geometry, tiles: u64, lowering: &Lowering<'_>) -> Option<Vec<Work>> {
    let [first, last] = transforms(whole, tiles);
    let together = tiles.next_multiple_of(tiles_together(lowering.target));
    let mut all = (lowering.work)(&Layer::Conv2d(product(whole, together).ok()?))?;
    if let [product] = all.as_mut_slice() {
        keep_between(product, first.between + last.between);
    }
    all.insert(0, first);
    all.push(last);
    Some(all)
}

/// Those of so many tiles, of one image or several.
fn transforms(g: &Geometry, tiles: u64) -> [Work; 2] {
    let tiles = tiles as f64;
    let transform = |channels: u32, [loads, load_sectors]: [f64; 2], [stores, store_sectors]: [f64; 2], others: f64| {
        let values = f64::from(channels) * tiles;
        let subgroups = (values / 32.0).ceil();
        let mut work = Work {
            workgroups: (values / f64::from(WORKGROUP_WIDTH)).ceil(),
            invocations: WORKGROUP_WIDTH.into(),
            registers: 40.0,
            others: subgroups * others,
            // 2 x 2 values of the layer's own tensor for each tile.
            bytes: 4.0 * 4.0 * values,
            between: 4.0 * f64::from(PLACES) * values,
            ..Work::default()
        };
        work.fetched = work.bytes + work.between;
        add_requests(&mut work, subgroups * loads, load_sectors);
        add_requests(&mut work, subgroups * stores, store_sectors);
        work
    };
    // Neighbours have tiles that are 2 columns apart. The other instructions are those of code compiled for an H100.
    let first = transform(g.in_channels, [16.0, 8.0], [16.0, 4.0], 280.0);
    let residual = if g.residual { 2.0 } else { 1.0 };
    let mut last = transform(g.out_channels, [16.0, 4.0], [4.0 * residual, 8.0], 225.0);
    last.bytes *= residual;
    add_bias(&mut last, g, (f64::from(g.out_channels) * tiles / 32.0).ceil(), 1.0);
    [first, last]
}

/// Packs the weights once. Then, for as many images or rows of tiles at a time as the workspace holds: the first
/// transform, the product, the last transform.
fn lower(whole: &Geometry, _: usize, lowering: &Lowering<'_>) -> Result<Program> {
    let (target, limits) = (lowering.target, &lowering.target.limits);
    let mut program = Program::new(KERNEL.name, lowering.target.dtype);
    let tensors = Tensors::add(&mut program, whole, target)?;
    let constants = variants(whole, target).swap_remove(0).constants;
    let step = |entry_point, extent: Extent, bindings| {
        Step::new(shader(&KERNEL), entry_point, constants.clone(), extent.words(), bindings)
    };

    let filters = u64::from(whole.out_channels) * u64::from(whole.in_channels_per_group());
    let places = |invocations: u64| u64::from(PLACES) * invocations;
    let packed = program.sums(Kind::Packed, "packed weight", places(filters))?;
    let [weight, packed] = [tensors.weight, packed].map(|buffer| program.whole(buffer));
    let of_filters = Extent {
        out_channels: whole.out_channels,
        in_channels_per_group: whole.in_channels_per_group(),
        ..Extent::default()
    };
    // This step does not read these bindings, but something must be bound there.
    let unused = (1..5).map(|number| Binding::read(number, weight));
    let pack = step("transform_filter", of_filters, unused.chain([Binding::write(5, packed)]).collect());
    program.prepare(pack, grid(filters), limits)?;

    // The products pack their weights in one way, once for all.
    let mut first_product: Option<(Vec<Step>, Vec<Slice>)> = None;
    let (images, rows_at_once) = at_once(whole, target);
    let parts = by_images(whole, images)?;
    for (part, [first_tile_row, tile_rows]) in parts.iter().flat_map(|part| pieces(rows_at_once, part)) {
        let tiles = tiles_of(&part.geometry, tile_rows).next_multiple_of(tiles_together(target));
        let invocations =
            [part.geometry.in_channels, part.geometry.out_channels].map(|channels| u64::from(channels) * tiles);
        let mut workspace = |name, length| {
            let buffer = program.sums(Kind::Workspace, name, places(length))?;
            Ok(program.whole(buffer))
        };
        let input = workspace("transformed input", invocations[0])?;
        let output = workspace("transformed output", invocations[1])?;
        let [mut first, mut last] = [(); 2].map(|()| tensors.bindings(part, weight));
        first[4] = Binding::write(5, input);
        last[0] = Binding::read(1, output);

        let extent = Extent { first_tile_row, tile_rows, ..extent(part) };
        program.dispatch(step("transform_input", extent, first), grid(invocations[0]), limits)?;
        let mut product = lowering.plan_sums(&Layer::Conv2d(product(&part.geometry, tiles)?))?;
        let [from, to] = product.ends();
        let own = product.find(Kind::Parameter, "weight").expect("a convolution has a weight");
        let mut given = vec![(from, input), (own, packed), (to, output)];
        if let Some((_, known)) = first_product.as_ref().filter(|(prepare, _)| *prepare == product.prepare) {
            let is_packed = |buffer: &usize| product.buffers[*buffer].kind == Kind::Packed;
            given.extend((0..product.buffers.len()).filter(is_packed).map(|buffer| (buffer, known[buffer])));
            product.prepare.clear();
        }
        let prepare = product.prepare.clone();
        let places = program.append(product, &given)?;
        first_product.get_or_insert((prepare, places));
        program.dispatch(step("transform_output", extent, last), grid(invocations[1]), limits)?;
    }
    program.operations = Some(operations(whole));
    Ok(program)
}

/// Of each tile: 32 additions for an input channel, 24 for an output channel, and a multiply-add for each place and pair of
/// them.
fn operations(geometry: &Geometry) -> u64 {
    let [inputs, outputs] = [geometry.in_channels, geometry.out_channels].map(u64::from);
    let products = u64::from(PLACES) * outputs * u64::from(geometry.in_channels_per_group());
    tiles(geometry) * (32 * inputs + 24 * outputs + 2 * products)
}
