//! Winograd's method with tiles of one size, and the row of `shaders/winograd.wgsl`. One step transforms tiles of the input, a
//! 1 × 1 convolution of as many times more groups as a tile has places makes the sums, and one step transforms these to the
//! output. The filters are transformed once, when the weights are packed.
//!
//! Winograd, *Arithmetic complexity of computations*, 1980; Lavin and Gray, *Fast algorithms for convolutional neural
//! networks*, 2016.
//!
//! What is transformed is `f32`, whatever the layer's tensors hold: rounded to less, it would spoil the sums.
//!
//! Its errors may pass the bound of a sum, so a layer of [`Rounding::Exact`] is another kernel's.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::convolution::{SUMS, Tensors, epilogue, extent, padding_mode, shader, tile_cost, unscaled, workgroups};
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
    shader: Some(Shader { name: "winograd", own: include_str!("../../shaders/winograd.wgsl"), parts: PARTS }),
    rules: &rules::<TwoByTwo>(suits),
};

struct TwoByTwo;

impl Tiles for TwoByTwo {
    const METHOD: Method = Method {
        kernel: &KERNEL,
        outputs: 2,
        of_inputs: Transform { operations: 4, multiply_adds: 0, others: 280.0 },
        of_sums: Transform { operations: 4, multiply_adds: 0, others: 225.0 },
    };
}

/// Tiles of one size.
pub(super) trait Tiles {
    const METHOD: Method;
}

/// The rules of the method with tiles of one size, but for when it suits.
pub(super) const fn rules<T: Tiles>(suits: fn(&Geometry, &Target) -> bool) -> Rules<Geometry> {
    Rules {
        supports: |geometry, target| T::METHOD.supports(geometry, target),
        suits,
        variants: |geometry, target| vec![T::METHOD.variant(geometry, target)],
        cost: |geometry, _, lowering| T::METHOD.cost(geometry, lowering),
        work: |geometry, _, lowering| T::METHOD.work(geometry, lowering),
        lower: |geometry, _, lowering| T::METHOD.lower(geometry, lowering),
    }
}

/// The method with tiles of one size.
pub(super) struct Method {
    pub kernel: &'static Kernel,
    /// A tile has so many outputs on each side.
    pub outputs: u32,
    pub of_inputs: Transform,
    pub of_sums: Transform,
}

/// What a transform takes.
pub(super) struct Transform {
    /// The additions and multiplications of a line of a tile.
    pub operations: u64,
    /// The multiply-adds that these are, where a product is added to something.
    pub multiply_adds: u64,
    /// The instructions of a subgroup besides those, its loads and its stores: those of code compiled for an H100.
    pub others: f64,
}

/// The shared parts of a shader of this method.
pub(super) const PARTS: &[&[&str]] = &[&SUMS, &[part::SOURCE, part::PADDING, part::TRANSFORMS]];

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

/// The product has a quarter of the layer's pixels. With fewer than this many, its own tiles are partly idle.
const FEWEST_TILES: u64 = 48;

/// A pair of an input and an output channel saves 10 of 18 operations per pixel. Each channel of either kind costs 8
/// more values of traffic. So what is saved, divided by what it costs, grows with in · out / (in + out). For a GPU the model
/// compares both.
fn suits(geometry: &Geometry, target: &Target) -> bool {
    let [inputs, outputs] = [geometry.in_channels_per_group(), geometry.out_channels_per_group()].map(u64::from);
    let tiles = TwoByTwo::METHOD.tiles(geometry);
    let pays = || {
        let least = software::winograd_pays_from(TwoByTwo::METHOD.product(geometry, tiles), &target.of(DType::F32));
        inputs * outputs >= least * (inputs + outputs)
    };
    tiles >= FEWEST_TILES && (!target.software || pays())
}

/// The most values of a tensor that is bound whole.
fn tensor_values(target: &Target) -> u64 {
    target.binding_values().min(target.limits.max_buffer_size / 4)
}

/// A transformed tensor has a multiple of so many tiles: GPUs' kernels take a product's pixels in fours.
fn tiles_together(target: &Target) -> u64 {
    if target.software { 1 } else { 4 }
}

fn grid(invocations: u64) -> [u64; 3] {
    [invocations.div_ceil(WORKGROUP_WIDTH.into()), 1, 1]
}

impl Method {
    fn supports(&self, geometry: &Geometry, target: &Target) -> std::result::Result<(), &'static str> {
        let (one, three) = (Size::from(1), Size::from(3));
        if (geometry.kernel_size, geometry.stride, geometry.dilation) != (three, one, one) {
            return Err("it needs a 3 x 3 kernel, stride 1 and dilation 1");
        }
        unscaled(geometry)?;
        if geometry.rounding == Rounding::Exact {
            return Err("it needs rounding fast, since its errors may pass the bound of a sum");
        }
        if geometry.in_channels_per_group().min(geometry.out_channels_per_group()) < FEWEST_CHANNELS {
            return Err("it needs 16 input and 16 output channels per group");
        }
        let filters = u64::from(geometry.out_channels) * u64::from(geometry.in_channels_per_group());
        let weight = u64::from(self.places()) * filters;
        let one_image = Geometry { batch: 1, ..*geometry };
        let tensors = [one_image.input_shape(), one_image.output_shape()].map(values);
        let largest = tensors.into_iter().max().unwrap_or(0).max(weight).max(self.transformed_image(geometry));
        if largest > tensor_values(target) {
            return Err("it needs an image and a weight that fit in a buffer and in a binding once transformed");
        }
        Ok(())
    }

    /// The one variant that there is.
    fn variant(&self, geometry: &Geometry, target: &Target) -> Variant {
        let together = tiles_together(target);
        let own = [
            padding_mode(geometry.padding_mode),
            ("WORKGROUP_WIDTH", WORKGROUP_WIDTH),
            ("TILES_TOGETHER", u32::try_from(together).expect("a few")),
        ];
        Variant::new(
            own.into_iter().chain(epilogue(geometry)),
            grid(u64::from(geometry.in_channels) * self.tiles(geometry).next_multiple_of(together)),
        )
    }

    /// Its product has fewer terms than the layer. What the transforms cost is left to a measurement.
    fn cost(&self, geometry: &Geometry, lowering: &Lowering<'_>) -> f64 {
        let all = self.tiles(geometry).next_multiple_of(tiles_together(lowering.target));
        let product = self.product(geometry, all);
        let planned = product.and_then(|product| Ok((product, lowering.plan_sums(&Layer::Conv2d(product))?)));
        planned.map_or(f64::INFINITY, |(product, program)| {
            let terms = f64::from(self.places()) / f64::from(9 * self.outputs * self.outputs);
            tile_cost(values(product.output_shape()) as f64, workgroups(&program), lowering.target) * terms
        })
    }

    /// How many inputs a tile sees on each side.
    fn side(&self) -> u32 {
        self.outputs + 2
    }

    /// The inputs that a tile sees.
    fn places(&self) -> u32 {
        self.side() * self.side()
    }

    /// How many rows and columns of tiles an image has.
    fn rows_and_columns(&self, geometry: &Geometry) -> [u32; 2] {
        [geometry.output.height, geometry.output.width].map(|size| size.div_ceil(self.outputs))
    }

    /// The tiles of all images.
    fn tiles(&self, geometry: &Geometry) -> u64 {
        let [rows, _] = self.rows_and_columns(geometry);
        self.tiles_of(geometry, rows)
    }

    /// The tiles of so many rows of tiles of all images.
    fn tiles_of(&self, geometry: &Geometry, rows: u32) -> u64 {
        let [_, columns] = self.rows_and_columns(geometry);
        u64::from(geometry.batch) * u64::from(rows) * u64::from(columns)
    }

    /// How many values the larger transformed tensor has for each image.
    fn transformed_image(&self, geometry: &Geometry) -> u64 {
        let channels = geometry.in_channels.max(geometry.out_channels);
        u64::from(self.places()) * u64::from(channels) * self.tiles(&Geometry { batch: 1, ..*geometry })
    }

    /// How many images, and rows of an image's tiles, are transformed at a time.
    fn at_once(&self, geometry: &Geometry, target: &Target) -> (u64, u32) {
        let [inputs, outputs] = [geometry.in_channels, geometry.out_channels].map(u64::from);
        let [rows, columns] = self.rows_and_columns(geometry);
        let image = u64::from(rows) * u64::from(columns);
        let together = tiles_together(target);
        let workspace =
            if target.software { SOFTWARE_WORKSPACE / inputs.max(outputs) } else { WORKSPACE / (inputs + outputs) };
        let bound = 4 * tensor_values(target) / inputs.max(outputs);
        let most = bound.min(workspace) / 4 / u64::from(self.places()) / together * together;
        if most >= image || target.software {
            return ((most / image).max(1), rows);
        }
        // Of like size.
        let most = u32::try_from(most / u64::from(columns)).unwrap_or(rows).clamp(1, rows);
        (1, rows.div_ceil(rows.div_ceil(most)))
    }

    /// The first row of tiles, and how many there are, of the pieces of a part that are transformed at a time.
    fn pieces<'a>(&self, rows_at_once: u32, part: &'a Part) -> impl Iterator<Item = (&'a Part, [u32; 2])> + use<'a> {
        let [rows, _] = self.rows_and_columns(&part.geometry);
        (0..rows).step_by(rows_at_once as usize).map(move |row| (part, [row, rows_at_once.min(rows - row)]))
    }

    /// The 1 × 1 convolution between the transforms: one group for each place in a tile and group of the layer.
    ///
    /// # Errors
    /// Those of [`Conv2d::geometry`].
    fn product(&self, geometry: &Geometry, tiles: u64) -> Result<Geometry> {
        let places = self.places();
        let [in_channels, out_channels] =
            [geometry.in_channels, geometry.out_channels].map(|channels| places * channels);
        let tiles = u32::try_from(tiles).unwrap_or(u32::MAX);
        let layer = Conv2d::new(in_channels, out_channels, 1).groups(places * geometry.groups).bias(false);
        layer.geometry([1, in_channels, 1, tiles])
    }

    /// That of the transforms and of the products.
    fn work(&self, whole: &Geometry, lowering: &Lowering<'_>) -> Option<Vec<Work>> {
        let (images, rows_at_once) = self.at_once(whole, lowering.target);
        let parts = by_images(whole, images).ok()?;
        let [rows, _] = self.rows_and_columns(whole);
        check_dispatches(3 * parts.len() as u64 * u64::from(rows.div_ceil(rows_at_once))).ok()?;
        // Most pieces are of one size.
        let mut of_size: HashMap<u64, Vec<Work>> = HashMap::new();
        let mut all = Vec::new();
        for (part, [_, rows]) in parts.iter().flat_map(|part| self.pieces(rows_at_once, part)) {
            let tiles = self.tiles_of(&part.geometry, rows);
            let of_piece = match of_size.entry(tiles) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(self.work_of(whole, tiles, lowering)?),
            };
            all.extend_from_slice(of_piece);
        }
        Some(all)
    }

    /// That of so many tiles.
    fn work_of(&self, whole: &Geometry, tiles: u64, lowering: &Lowering<'_>) -> Option<Vec<Work>> {
        let [first, last] = self.transforms(whole, tiles);
        let together = tiles.next_multiple_of(tiles_together(lowering.target));
        let mut all = (lowering.work)(&Layer::Conv2d(self.product(whole, together).ok()?))?;
        if let [product] = all.as_mut_slice() {
            keep_between(product, first.between + last.between);
        }
        all.insert(0, first);
        all.push(last);
        Some(all)
    }

    /// Those of so many tiles, of one image or several.
    fn transforms(&self, g: &Geometry, tiles: u64) -> [Work; 2] {
        let tiles = tiles as f64;
        let [outputs, places] = [f64::from(self.outputs), f64::from(self.places())];
        let transform = |of: &Transform, lines: u64, channels: u32, loads: [f64; 2], stores: [f64; 2]| {
            let values = f64::from(channels) * tiles;
            let subgroups = (values / 32.0).ceil();
            let mut work = Work {
                workgroups: (values / f64::from(WORKGROUP_WIDTH)).ceil(),
                invocations: WORKGROUP_WIDTH.into(),
                waits: 2.0,
                // A tile, and where it is.
                registers: places + 24.0,
                multiply_adds: subgroups * (lines * of.multiply_adds) as f64,
                others: subgroups * of.others,
                // The layer's own tensor has as many values for each tile as the tile has outputs.
                bytes: 4.0 * outputs * outputs * values,
                between: 4.0 * places * values,
                ..Work::default()
            };
            work.fetched = work.bytes + work.between;
            for [requests, sectors] in [loads, stores] {
                add_requests(&mut work, subgroups * requests, sectors);
            }
            work
        };
        // Neighbours have tiles that are as many columns apart as a tile has outputs on a side.
        let apart = 4.0 * outputs;
        let [first, last] = self.lines();
        let first = transform(&self.of_inputs, first, g.in_channels, [places, apart], [places, 4.0]);
        let residual = if g.residual.is_some() { 2.0 } else { 1.0 };
        let stores = [outputs * outputs * residual, apart];
        let mut last = transform(&self.of_sums, last, g.out_channels, [places, 4.0], stores);
        last.bytes *= residual;
        add_bias(&mut last, g, (f64::from(g.out_channels) * tiles / 32.0).ceil(), 1.0);
        [first, last]
    }

    /// Packs the weights once. Then, for as many images or rows of tiles at a time as the workspace holds: the first
    /// transform, the product, the last transform.
    fn lower(&self, whole: &Geometry, lowering: &Lowering<'_>) -> Result<Program> {
        let (target, limits) = (lowering.target, &lowering.target.limits);
        let mut program = Program::new(self.kernel.name, lowering.target.dtype);
        let tensors = Tensors::add(&mut program, whole, target)?;
        let constants = self.variant(whole, target).constants;
        let step = |entry_point, extent: Extent, bindings| {
            Step::new(shader(self.kernel), entry_point, constants.clone(), extent.words(), bindings)
        };

        let filters = u64::from(whole.out_channels) * u64::from(whole.in_channels_per_group());
        let places = |invocations: u64| u64::from(self.places()) * invocations;
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
        let (images, rows_at_once) = self.at_once(whole, target);
        let parts = by_images(whole, images)?;
        for (part, [first_tile_row, tile_rows]) in parts.iter().flat_map(|part| self.pieces(rows_at_once, part)) {
            let tiles = self.tiles_of(&part.geometry, tile_rows).next_multiple_of(tiles_together(target));
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
            let mut product = lowering.plan_sums(&Layer::Conv2d(self.product(&part.geometry, tiles)?))?;
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
        program.operations = Some(self.operations(whole));
        Ok(program)
    }

    /// The lines of a tile that are transformed: all rows and columns of inputs, and of sums all columns and the rows of outputs.
    fn lines(&self) -> [u64; 2] {
        [2 * self.side(), self.side() + self.outputs].map(u64::from)
    }

    /// Of each tile: both transforms of each channel, and a multiply-add for each place and pair of channels.
    fn operations(&self, geometry: &Geometry) -> u64 {
        let [inputs, outputs] = [geometry.in_channels, geometry.out_channels].map(u64::from);
        let products = u64::from(self.places()) * outputs * u64::from(geometry.in_channels_per_group());
        let [first, last] = self.lines();
        let transforms = first * self.of_inputs.operations * inputs + last * self.of_sums.operations * outputs;
        self.tiles(geometry) * (transforms + 2 * products)
    }
}
