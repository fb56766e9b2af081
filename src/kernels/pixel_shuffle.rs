//! The row of transposed convolutions whose windows do not overlap: a 1 × 1 convolution makes all values of each window,
//! and then they go to their places.
//!
//! Shi et al., *Real-time single image and video super-resolution using an efficient sub-pixel convolutional neural
//! network*, 2016.

use super::packed::pack_as;
use super::row::{Kernel, Lowering, Rank, Rules, Variant};
use crate::conv::Conv2d;
use crate::describe::Describe;
use crate::error::{Error, Result};
use crate::geometry::Geometry;
use crate::layer::Layer;
use crate::layers::rearrange::{Axis, Rearrange};
use crate::layers::transposed::ConvTranspose2d;
use crate::program::{Kind, Program, Slice};
use crate::size::{Sides, Size, values};
use crate::target::Target;

pub(super) static KERNEL: Kernel = Kernel {
    name: "pixel_shuffle",
    summary: "a transposed convolution with a stride as large as its kernel, as a 1 x 1 convolution and a rearrangement",
    chosen: "for 8 or more input channels per group",
    bound_by: "what its 1 x 1 convolution is bound by, and the output, which is written twice and read once",
    rank: Rank::Special,
    shader: None,
    rules: &Rules::<ConvTranspose2d> {
        supports,
        suits: |layer, _| layer.in_channels / layer.groups >= FEWEST_CHANNELS,
        ..Rules::plain(|_, _| vec![Variant::new([], [0; 3])], lower)
    },
};

/// With fewer, the second pass over the output takes as long as the sums. A guess.
const FEWEST_CHANNELS: u32 = 8;

fn supports(layer: &ConvTranspose2d, target: &Target) -> std::result::Result<(), &'static str> {
    let Size { height, width } = layer.input;
    let size = [height, width].map(u64::from);
    let stride = [layer.stride.height, layer.stride.width].map(u64::from);
    let windows =
        [layer.output.height, layer.output.width].map(u64::from) == [size[0] * stride[0], size[1] * stride[1]];
    let no_padding = layer.padding == Sides { top: 0, left: 0, bottom: 0, right: 0 };
    if layer.kernel_size != layer.stride || layer.dilation != Size::from(1) || !no_padding || !windows {
        return Err("it needs a stride as large as the kernel, dilation 1 and no padding");
    }
    if layer.batch == 0 {
        return Err("it needs an image");
    }
    if values(layer.output_shape()) > target.binding_values() || product(layer).is_err() {
        return Err("it needs an output that fits in a binding");
    }
    Ok(())
}

/// The values of a window.
fn window(layer: &ConvTranspose2d) -> u32 {
    layer.kernel_size.height * layer.kernel_size.width
}

/// The 1 × 1 convolution: an output channel for each one of the layer and each value of a window.
fn product(layer: &ConvTranspose2d) -> Result<Geometry> {
    let argument = "out_channels";
    let overflow = Error::Overflow { argument, shape: layer.output_shape() };
    let out_channels = layer.out_channels.checked_mul(window(layer)).ok_or(overflow)?;
    let product = Conv2d::new(layer.in_channels, out_channels, 1).groups(layer.groups).bias(layer.bias);
    product.activation(layer.activation).geometry(layer.input_shape())
}

fn lower(layer: &ConvTranspose2d, _: usize, lowering: &Lowering<'_>) -> Result<Program> {
    let mut program = Program::new(KERNEL.name, lowering.target.dtype);
    let geometry = product(layer)?;
    let input = program.buffer(Kind::Input, "input", layer.input_shape());
    let weight = program.buffer(Kind::Parameter, "weight", layer.weight_shape());
    let bias = layer.bias.then(|| program.buffer(Kind::Parameter, "bias", [1, layer.out_channels, 1, 1]));
    let output = program.buffer(Kind::Output, "output", layer.output_shape());
    let window = window(layer);

    // From [input channel, output channel of the group, place] to [output channel, place, input channel of the group].
    let (inputs, filters) = (geometry.in_channels_per_group(), geometry.out_channels_per_group());
    let axes = [Axis::new(layer.groups, inputs * filters), Axis::new(filters, 1), Axis::new(inputs, filters)];
    let weight = program.whole(weight);
    let packed = pack_as(&mut program, weight, "packed weight", &axes, lowering)?;
    let mut given = vec![(Kind::Parameter, "weight", packed)];
    if let Some(bias) = bias {
        let axes = [Axis::new(layer.out_channels, 1), Axis::new(window, 0)];
        let bias = program.whole(bias);
        given.push((Kind::Parameter, "bias", pack_as(&mut program, bias, "packed bias", &axes, lowering)?));
    }

    let length = values(layer.output_shape());
    let between = program.hidden(Kind::Workspace, "between", length)?;
    let [input, between, output] = [input, between, output].map(|buffer| program.whole(buffer));
    given.extend([(Kind::Input, "input", input), (Kind::Output, "output", between)]);
    let product = lowering.plan(&Layer::Conv2d(geometry))?;
    append(&mut program, product, &given)?;

    // From [image and channel, row and column in a window, row, column] to [.., row, row in a window, column, ..].
    let Size { height, width } = layer.input;
    let plane = height * width;
    let shuffle = [
        Axis::new(layer.batch * layer.out_channels, window * plane),
        Axis::new(height, width),
        Axis::new(layer.kernel_size.height, layer.kernel_size.width * plane),
        Axis::new(width, 1),
        Axis::new(layer.kernel_size.width, plane),
    ];
    let length = u32::try_from(length).expect("an output that fits in a binding");
    let shuffled = lowering.plan(&Layer::Rearrange(Rearrange::new(length, &shuffle)?))?;
    append(&mut program, shuffled, &[(Kind::Input, "input", between), (Kind::Output, "output", output)])?;
    Ok(program)
}

/// Appends a program, some of whose tensors are tensors of this one.
fn append(program: &mut Program, other: Program, given: &[(Kind, &str, Slice)]) -> Result<()> {
    let places = given.iter().filter_map(|&(kind, name, slice)| Some((other.find(kind, name)?, slice)));
    let places: Vec<_> = places.collect();
    program.append(other, &places).map(drop)
}
