//! The row of `shaders/transposed.wgsl`.

use super::convolution::{SUMS, taps, tile_cost, tiles};
use super::parts::MAXIMUM_TERMS;
use super::row::{Kernel, Lowering, Rank, Rules, Variant};
use super::simple::{self, Piece};
use crate::describe::Describe;
use crate::error::Result;
use crate::extent::Extent;
use crate::layers::transposed::ConvTranspose2d;
use crate::program::Program;
use crate::shader::{Shader, part};
use crate::size::{MAXIMUM_EXTENT, Size, values};
use crate::target::Target;

pub(super) static KERNEL: Kernel = Kernel {
    name: "transposed",
    summary: "any transposed convolution, phase by phase",
    chosen: "for transposed convolutions whose windows overlap, or of few channels",
    bound_by: "arithmetic for many channels, memory for few",
    rank: Rank::Fallback,
    shader: Some(Shader {
        name: "transposed",
        own: include_str!("../../shaders/transposed.wgsl"),
        parts: &[&SUMS, &[part::WINDOW]],
    }),
    rules: &Rules::<ConvTranspose2d> { supports, cost, ..Rules::plain(variants, lower) },
};

fn supports(layer: &ConvTranspose2d, _: &Target) -> Result<(), &'static str> {
    if layer.terms() > MAXIMUM_TERMS.into() {
        return Err("it needs sums of at most 16,384 terms");
    }
    let Size { height, width } = layer.stride;
    if u64::from(height) * u64::from(width) > MAXIMUM_PHASES {
        return Err("it needs a stride of at most 65,536, the height times the width");
    }
    let axes = [
        (layer.output.height, layer.padding.top, layer.kernel_size.height, layer.dilation.height),
        (layer.output.width, layer.padding.left, layer.kernel_size.width, layer.dilation.width),
    ];
    for (output, before, kernel, dilation) in axes {
        let places = u64::from(output) + u64::from(before);
        if places.max(u64::from(kernel) * u64::from(dilation)) > MAXIMUM_EXTENT {
            return Err("it needs outputs, the padding before them included, and windows of fewer than 2^31 places");
        }
    }
    Ok(())
}

/// How many phases a layer may have.
const MAXIMUM_PHASES: u64 = 1 << 16;

fn variants(layer: &ConvTranspose2d, target: &Target) -> Vec<Variant> {
    let channels = layer.out_channels / layer.groups;
    let tiling = |workgroup_size: u32, channel_tile: u32, pixel_tile: u32| {
        let own = [
            ("TAP_STEP_HEIGHT", tap_step(layer.stride.height, layer.dilation.height)),
            ("TAP_STEP_WIDTH", tap_step(layer.stride.width, layer.dilation.width)),
            ("HAS_BIAS", layer.bias.into()),
            ("ACTIVATION", layer.activation.number()),
            ("WORKGROUP_SIZE", workgroup_size),
            ("CHANNEL_TILE", channel_tile),
            ("PIXEL_TILE", pixel_tile),
        ];
        let places = places(layer.output.height, layer.padding.top, layer.stride.height)
            * places(layer.output.width, layer.padding.left, layer.stride.width);
        let phases = u64::from(layer.stride.height) * u64::from(layer.stride.width);
        let grid = [
            places.div_ceil((workgroup_size * pixel_tile).into()) * phases,
            tiles(channels, channel_tile),
            u64::from(layer.batch) * u64::from(layer.groups),
        ];
        let taps = taps(layer.kernel_size, layer.stride, layer.dilation);
        Variant::new(taps.into_iter().chain(own), grid)
    };
    // As few tiles as can be, and all alike.
    let fours = |most: u32| match channels.div_ceil(channels.div_ceil(most)) {
        tile if channels <= 4 => tile,
        tile => tile.next_multiple_of(4),
    };
    let mut variants = if target.keeps_loops() {
        vec![tiling(8, fours(24), 8), tiling(8, fours(8), 8)]
    } else {
        let invocations = if target.software { 8 } else { 64 };
        vec![tiling(invocations, fours(8), 4), tiling(invocations, fours(4), 4)]
    };
    variants.dedup();
    variants
}

/// How far apart the taps are that land in one phase.
fn tap_step(stride: u32, dilation: u32) -> u32 {
    let (mut divisor, mut rest) = (stride, dilation);
    while rest > 0 {
        (divisor, rest) = (rest, divisor % rest);
    }
    stride / divisor
}

/// How many places a phase has along one axis.
fn places(output: u32, before: u32, stride: u32) -> u64 {
    u64::from((before + output - 1) / stride + 1 - before / stride)
}

/// As for a convolution.
fn cost(layer: &ConvTranspose2d, variant: &Variant, lowering: &Lowering<'_>) -> f64 {
    let workgroups = variant.grid.iter().map(|&size| size as f64).product();
    tile_cost(values(layer.output_shape()) as f64, workgroups, lowering.target)
}

fn lower(layer: &ConvTranspose2d, variant: usize, lowering: &Lowering<'_>) -> Result<Program> {
    let extent = |layer: &ConvTranspose2d| Extent {
        batch: layer.batch,
        in_channels: layer.in_channels,
        in_height: layer.input.height,
        in_width: layer.input.width,
        out_channels: layer.out_channels,
        out_height: layer.output.height,
        out_width: layer.output.width,
        in_channels_per_group: layer.in_channels / layer.groups,
        out_channels_per_group: layer.out_channels / layer.groups,
        top: layer.padding.top.cast_signed(),
        left: layer.padding.left.cast_signed(),
        activation_limits: layer.activation.parameters(),
        ..Extent::default()
    };
    simple::lower_sums(&KERNEL, layer, variant, extent, halves, lowering)
}

fn halves(layer: &ConvTranspose2d) -> Option<[Piece<ConvTranspose2d>; 2]> {
    let of_image = |[_, channels, height, width]: [u32; 4]| values([1, channels, height, width]);
    let (input, output) = (of_image(layer.input_shape()), of_image(layer.output_shape()));
    let of = |batch| ConvTranspose2d { batch, ..*layer };
    simple::halves(layer.batch, of, &[input, 0, 0], output)
}
