//! The row of `shaders/winograd.wgsl`, and its passes: tiles of the input are transformed, a 1 × 1 convolution of 16
//! times as many groups makes the sums, and these are transformed to the output.
//!
//! Winograd, *Arithmetic complexity of computations*, 1980; Lavin and Gray, *Fast algorithms for convolutional neural
//! networks*, 2016.

use super::{Kernel, Passes, Target, Variant, choose, epilogue, padding_mode};
use crate::conv::Conv2d;
use crate::error::Result;
use crate::geometry::{Geometry, Size};
use crate::schedule::{Part, Role, Schedule, Stretch, binding_maximum, check_dispatches, slices};

pub(super) static KERNEL: Kernel = Kernel {
    name: "winograd",
    wgsl: include_str!("../../shaders/winograd.wgsl"),
    summary: "a normal or grouped 3 x 3 convolution of stride 1 by Winograd's F(2 x 2, 3 x 3)",
    chosen: "for 48 tiles of 2 x 2 and many channels per group in and out: 128 on GPUs; in software 32, with subgroups \
             96 (256 without 64-bit integers or for an odd number of input channels)",
    bound_by: "its product for many channels, memory for few",
    passes: Passes::Winograd,
    reads_pairs: false,
    supports,
    suits,
    variants,
};

/// A tile's places: 4 × 4 inputs, for 2 × 2 outputs.
const PLACES: u32 = 16;

const WORKGROUP_WIDTH: u32 = 64;

/// Its roundings grow with Σ|x| · Σ|w| over a filter's taps, not with Σ|x · w|. Where the sum over the channels is longer
/// than the sums in the transforms, and the taps are of like sizes, that is within the bound of any other kernel; and with
/// fewer channels it has nothing to give.
const FEWEST_CHANNELS: u32 = 16;

/// The most bytes of a transformed tensor, where an image does not take more: those of many images together would take
/// several times the memory of the layer's own tensors, and would be in no cache.
const WORKSPACE: u64 = 64 << 20;

fn supports(geometry: &Geometry, target: &Target) -> std::result::Result<(), &'static str> {
    let (one, three) = (Size::from(1), Size::from(3));
    if (geometry.kernel_size, geometry.stride, geometry.dilation) != (three, one, one) {
        return Err("it needs a 3 x 3 kernel, stride 1 and dilation 1");
    }
    if geometry.in_channels_per_group().min(geometry.out_channels_per_group()) < FEWEST_CHANNELS {
        return Err("it needs 16 input and 16 output channels per group");
    }
    let weight = u64::from(PLACES) * u64::from(geometry.out_channels) * u64::from(geometry.in_channels_per_group());
    if 4 * weight.max(transformed_image(geometry)) > tensor_maximum(target) {
        return Err("it needs an image and a weight that fit in a buffer and in a binding transformed");
    }
    Ok(())
}

/// The most bytes of a tensor that is bound whole.
fn tensor_maximum(target: &Target) -> u64 {
    binding_maximum(&target.limits).min(target.limits.max_buffer_size)
}

/// The product has fewer pixels than the layer, by a factor of four: with less than this its tiles are partly idle.
const FEWEST_TILES: u64 = 48;

/// A pair of an input and an output channel saves 10 of 18 operations per pixel, and each channel of either kind costs 8
/// more values of traffic, so that what is saved over what it costs grows with in · out / (in + out). In software that is
/// soon worth it, but for devices where `subgroup_gemm` makes the direct form's sums with far fewer loads; less so where
/// the kernel of the product reads its values in pairs.
fn suits(geometry: &Geometry, target: &Target) -> bool {
    let [inputs, outputs] = [geometry.in_channels_per_group(), geometry.out_channels_per_group()].map(u64::from);
    let product_reads_pairs = || product(geometry).is_ok_and(|product| choose(&product, target).reads_pairs);
    let least = match target {
        Target { software: false, .. } => 64,
        Target { subgroup_size: Some(8), .. } if product_reads_pairs() => 48,
        Target { subgroup_size: Some(8), .. } => 128,
        _ => 16,
    };
    inputs * outputs >= least * (inputs + outputs) && tiles(geometry) >= FEWEST_TILES
}

fn variants(geometry: &Geometry, _: &Target) -> Vec<Variant> {
    let mut constants = vec![padding_mode(geometry), ("WORKGROUP_WIDTH", WORKGROUP_WIDTH)];
    constants.extend(epilogue(geometry));
    vec![Variant { constants, grid: grid(u64::from(geometry.in_channels) * tiles(geometry)) }]
}

fn grid(invocations: u64) -> [u64; 3] {
    [invocations.div_ceil(WORKGROUP_WIDTH.into()), 1, 1]
}

/// The tiles of all images.
fn tiles(geometry: &Geometry) -> u64 {
    let [rows, columns] = [geometry.output.height, geometry.output.width].map(|size| u64::from(size.div_ceil(2)));
    u64::from(geometry.batch) * rows * columns
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
pub(crate) fn product(geometry: &Geometry) -> Result<Geometry> {
    let [in_channels, out_channels] = [geometry.in_channels, geometry.out_channels].map(|channels| PLACES * channels);
    let tiles = u32::try_from(tiles(geometry)).unwrap_or(u32::MAX);
    let layer = Conv2d::new(in_channels, out_channels, 1).groups(PLACES * geometry.groups).bias(false);
    layer.geometry([1, in_channels, 1, tiles])
}

/// What packs the weights, and what runs: for as many images at a time as the workspace holds, the first transform, the
/// product and the last transform.
///
/// # Errors
/// Those of [`Schedule::with_choice`].
pub(crate) fn passes(whole: &Geometry, target: &Target) -> Result<(Vec<Part>, Vec<Part>)> {
    let [pack, first, last] = ["transform_filter", "transform_input", "transform_output"];
    let pass = |entry, geometry: &Geometry, starts, invocations| {
        let variant = Variant { grid: grid(invocations), ..variants(geometry, target).swap_remove(0) };
        Part::new(&KERNEL, entry, *geometry, starts, variant, target)
    };
    let stretch = |of, invocations| Stretch { of, start: 0, length: u64::from(PLACES) * invocations };

    let filters = u64::from(whole.out_channels) * u64::from(whole.in_channels_per_group());
    let packed = stretch(Role::PackedWeight, filters);
    // No image takes part in it, but one must fit in a binding.
    let one_image = Geometry { batch: 1, ..*whole };
    let packing = vec![Part { output: packed, ..pass(pack, &one_image, [0; 3], filters) }];

    let images = tensor_maximum(target).min(WORKSPACE) / (4 * transformed_image(whole));
    let mut parts = Vec::new();
    for (piece, starts) in slices(whole, images.max(1), whole.groups.into(), whole.out_channels.into())? {
        let [inputs, outputs] = [piece.in_channels, piece.out_channels].map(|c| u64::from(c) * tiles(&piece));
        let input = stretch(Role::TransformedInput, inputs);
        let output = stretch(Role::TransformedOutput, outputs);
        let product = Schedule::new(&product(&piece)?, target, None)?;
        let within = |whole: Stretch, part: Stretch| Stretch { of: whole.of, ..part };
        parts.push(Part { output: input, ..pass(first, &piece, starts, inputs) });
        parts.extend(product.parts.into_iter().map(|part| Part {
            input: within(input, part.input),
            weight: within(packed, part.weight),
            output: within(output, part.output),
            ..part
        }));
        parts.push(Part { input: output, ..pass(last, &piece, starts, outputs) });
        check_dispatches(parts.iter().map(|part| part.dispatches.len() as u64).sum())?;
    }
    Ok((packing, parts))
}
