//! What the kernels of a convolution share: their constants, their uniform, and how they are lowered part by part.

use super::parts::{Part, Stretch, Sum, Window, parts};
use super::row::{Kernel, Lowering, Variant};
use crate::crop;
use crate::error::{Error, Result};
use crate::extent::Extent;
use crate::geometry::Geometry;
use crate::layer::Layer;
use crate::program::{Binding, Kind, Program, Slice, Step};
use crate::residual::Residual;
use crate::shader::{Shader, part};
use crate::size::{PaddingMode, Size, values};
use crate::target::Target;

/// The shared parts of every shader that sums and stores as a convolution does, one value at a time.
pub(super) const SUMS: [&str; 9] = [
    part::EXTENT,
    part::ELEMENT,
    part::INPUT,
    part::WEIGHT,
    part::OUTPUT,
    part::NAN,
    part::ACTIVATION,
    part::START,
    part::EPILOGUE,
];

/// The constants of `shaders/shared/window.wgsl`.
pub(super) fn taps(kernel_size: Size, stride: Size, dilation: Size) -> [(&'static str, u32); 6] {
    [
        ("KERNEL_HEIGHT", kernel_size.height),
        ("KERNEL_WIDTH", kernel_size.width),
        ("STRIDE_HEIGHT", stride.height),
        ("STRIDE_WIDTH", stride.width),
        ("DILATION_HEIGHT", dilation.height),
        ("DILATION_WIDTH", dilation.width),
    ]
}

/// The constants of every kernel that walks a window over the input.
pub(super) fn window(g: &Geometry) -> impl Iterator<Item = (&'static str, u32)> + use<> {
    taps(g.kernel_size, g.stride, g.dilation).into_iter().chain([padding_mode(g.padding_mode)])
}

/// The constant of every kernel that reads what may lie in the padding.
pub(super) fn padding_mode(mode: PaddingMode) -> (&'static str, u32) {
    let number = match mode {
        PaddingMode::Zeros => 0,
        PaddingMode::Reflect => 1,
        PaddingMode::Replicate => 2,
        PaddingMode::Circular => 3,
    };
    ("PADDING_MODE", number)
}

/// The constants of what every kernel does before it stores a value.
pub(super) fn epilogue(geometry: &Geometry) -> [(&'static str, u32); 4] {
    [
        ("HAS_BIAS", geometry.bias.into()),
        ("HAS_RESIDUAL", geometry.residual.is_some().into()),
        ("ACTIVATION", geometry.activation.number()),
        ("ACTIVATION_FIRST", (geometry.residual == Residual::AfterActivation).into()),
    ]
}

/// [`epilogue`] of a kernel that can multiply its input's channels first: `shaders/shared/input_scale.wgsl`.
pub(super) fn around_sums(geometry: &Geometry) -> impl Iterator<Item = (&'static str, u32)> + use<> {
    epilogue(geometry).into_iter().chain([("HAS_INPUT_SCALE", geometry.input_scale.into())])
}

/// How much of the input lies under `tile` neighbouring outputs along one axis.
pub(super) fn span(tile: u32, kernel: u32, stride: u32, dilation: u32) -> u64 {
    u64::from(tile - 1) * u64::from(stride) + u64::from(kernel - 1) * u64::from(dilation) + 1
}

/// How many tiles cover `size`.
pub(super) fn tiles(size: u32, tile: u32) -> u64 {
    u64::from(size.div_ceil(tile))
}

/// How many multiply-adds take as long as one load.
const LOAD: f64 = 8.0;

/// How many workgroups keep a device busy: first for a GPU, then for a processor with a few cores.
const BUSY: [f64; 2] = [256.0, 16.0];

/// What a variant should cost, to compare it with another of the same layer: operations, loads and idle time for each
/// output and term.
pub(super) fn cost(geometry: &Geometry, variant: &Variant, lowering: &Lowering<'_>) -> f64 {
    let workgroups = variant.grid.iter().map(|&size| size as f64).product();
    tile_cost(values(geometry.output_shape()) as f64, workgroups, lowering.target)
}

/// A workgroup of U outputs makes U multiply-adds for each term. If its outputs are a square of channels by pixels, it
/// reads twice √U values for them. U is the layer's outputs divided by the number of workgroups, so it is smaller where
/// tiles are partly idle. With too few workgroups, some of the device waits.
pub(super) fn tile_cost(outputs: f64, workgroups: f64, target: &Target) -> f64 {
    let idle = (BUSY[usize::from(target.software)] / workgroups).max(1.0);
    (1.0 + LOAD * 2.0 / (outputs / workgroups).sqrt()) * idle
}

/// The workgroups of all steps of a program.
pub(super) fn workgroups(program: &Program) -> f64 {
    program.steps.iter().map(|step| step.grid.map(f64::from).iter().product::<f64>()).sum()
}

/// Refuses a tensor that is larger than a buffer may be.
pub(super) fn check_buffers(geometry: &Geometry, target: &Target) -> Result<()> {
    let tensors =
        [("input", geometry.input_shape()), ("weight", geometry.weight_shape()), ("output", geometry.output_shape())];
    check_bytes(tensors, target, ("max_buffer_size", target.limits.max_buffer_size))
}

/// Refuses the first tensor, each with its name and shape, that has more bytes than a limit allows.
pub(super) fn check_bytes(
    tensors: impl IntoIterator<Item = (&'static str, [u32; 4])>,
    target: &Target,
    (limit, maximum): (&'static str, u64),
) -> Result<()> {
    for (argument, shape) in tensors {
        let bytes = target.dtype.bytes_of(values(shape));
        if bytes > maximum {
            return Err(Error::Limit { argument, bytes, limit, maximum });
        }
    }
    Ok(())
}

/// The tensors of a convolution, as a program knows them.
pub(super) struct Tensors {
    pub input: usize,
    pub weight: usize,
    pub bias: Option<usize>,
    pub residual: Option<usize>,
    pub input_scale: Option<usize>,
    pub output: usize,
}

impl Tensors {
    /// Adds a layer's tensors to its program.
    ///
    /// # Errors
    /// [`Error::Limit`] if one is larger than a buffer may be.
    pub fn add(program: &mut Program, geometry: &Geometry, target: &Target) -> Result<Self> {
        check_buffers(geometry, target)?;
        let output = geometry.output_shape();
        Ok(Self {
            input: program.buffer(Kind::Input, "input", geometry.input_shape()),
            weight: program.buffer(Kind::Parameter, "weight", geometry.weight_shape()),
            bias: geometry.bias.then(|| program.buffer(Kind::Parameter, "bias", geometry.bias_shape())),
            residual: geometry.residual.then(|| program.buffer(Kind::Input, "residual", output)),
            input_scale: geometry
                .input_scale
                .then(|| program.buffer(Kind::Input, "input_scale", geometry.input_scale_shape())),
            output: program.buffer(Kind::Output, "output", output),
        })
    }

    /// What a part of the layer is bound to, with a weight of its own: input, weight, bias, residual, output, and the scale of
    /// its input channels.
    pub fn bindings(&self, part: &Part, weight: Slice) -> Vec<Binding> {
        let Part { input, output, geometry, first_channel, .. } = part;
        let slice = |buffer, Stretch { start, length }| Slice { buffer, start, length };
        let bias = Stretch { start: *first_channel, length: geometry.out_channels.into() };
        let input = slice(self.input, *input);
        // A shader without bias or residual does not read those bindings, but something must be bound there.
        let bias = self.bias.map_or(weight, |buffer| slice(buffer, bias));
        let residual = self.residual.map_or(input, |buffer| slice(buffer, *output));
        let mut bindings = vec![
            Binding { skipped: part.skipped, ..Binding::read(1, input) },
            Binding::read(2, weight),
            Binding::read(3, bias),
            Binding::read(4, residual),
            Binding::write(5, slice(self.output, *output)),
        ];
        let length = u64::from(geometry.batch) * u64::from(geometry.in_channels);
        let scale = |buffer| Binding::read(6, Slice { buffer, start: part.first_plane, length });
        bindings.extend(self.input_scale.map(scale));
        bindings
    }
}

/// The extent of a part.
pub(super) fn extent(part: &Part) -> Extent {
    let g = &part.geometry;
    let row = |row: u32| i32::try_from(row).expect("a row of the input, which has less than 2^31");
    Extent {
        batch: g.batch,
        in_channels: g.in_channels,
        in_height: g.input.height,
        in_width: g.input.width,
        out_channels: g.out_channels,
        out_height: g.output.height,
        out_width: g.output.width,
        in_channels_per_group: g.in_channels_per_group(),
        out_channels_per_group: g.out_channels_per_group(),
        top: part.top,
        left: part.left,
        first_row: row(part.rows.start),
        last_row: row(part.rows.end - 1),
        first_in_channel: part.in_channels.start,
        last_in_channel: part.in_channels.end,
        activation_limits: g.activation.parameters(),
        ..Extent::default()
    }
}

/// The constants that say whether a sum is cut.
pub(super) fn cut(part: &Part) -> [(&'static str, u32); 2] {
    [("CONTINUES", part.continues.into()), ("FINISHES", part.finishes.into())]
}

/// A convolution of single pixels sees no rows: its planes become one row each, which tiles better.
pub(super) fn in_one_row(part: Part) -> Part {
    match row_of(&part.geometry) {
        Some(geometry) if (part.top, part.left) == (0, 0) => Part { geometry, rows: 0..1, ..part },
        _ => part,
    }
}

/// The same convolution of planes of one row; none if it sees rows.
pub(super) fn row_of(g: &Geometry) -> Option<Geometry> {
    let width = i32::try_from(g.input.area()).ok().filter(|_| g.is_pixelwise())?;
    let row = Size { height: 1, width: width.unsigned_abs() };
    Some(Geometry { input: row, output: row, dilation: Size::from(1), ..*g })
}

/// How a kernel reads and writes its tensors.
pub(super) struct Layout {
    /// Input, weight, bias, residual and output must start at a multiple of so many values.
    pub alignment: [u64; 5],
    /// How many output channels' filters are stored together.
    pub channels: u64,
    /// Packs the weight of a part; none for a kernel that reads it as it is.
    pub pack: Option<Pack>,
}

/// Adds the step that packs this stretch of a weight, of a part of these sizes; returns what was packed.
pub(super) type Pack = fn(&mut Program, Slice, &Geometry, &Lowering<'_>) -> Result<Slice>;

/// That of a kernel which takes all as it is.
pub(super) const PLAIN: Layout = Layout { alignment: [1; 5], channels: 1, pack: None };

/// The program of a convolution by a kernel that computes each part in one step.
pub(super) fn lower(kernel: &Kernel, whole: &Geometry, variant: usize, lowering: &Lowering<'_>) -> Result<Program> {
    lower_as(kernel, &PLAIN, whole, variant, lowering)
}

/// [`lower`] for a kernel of another layout.
pub(super) fn lower_as(
    kernel: &Kernel,
    layout: &Layout,
    whole: &Geometry,
    variant: usize,
    lowering: &Lowering<'_>,
) -> Result<Program> {
    let target = lowering.target;
    let mut program = Program::new(kernel.name, target.dtype);
    let tensors = Tensors::add(&mut program, whole, target)?;
    let sum = Sum { filter: whole.terms(), terms: whole.kernel_size.area(), channels: layout.channels };
    let mut weights = Weights { tensors: &tensors, windows: Vec::new() };
    let mut packed: Vec<(Slice, Slice)> = Vec::new();
    for part in parts(whole, sum, target)? {
        let part = in_one_row(part);
        let mut weight = weights.of(&mut program, whole, &part, target)?;
        if let Some(pack) = layout.pack {
            let known = packed.iter().find(|(from, _)| *from == weight).map(|(_, to)| *to);
            let to = known.map_or_else(|| pack(&mut program, weight, &part.geometry, lowering), Ok)?;
            packed.push((weight, to));
            weight = to;
        }
        // Its tiles are those of a layer of the channels that it sums over.
        let in_channels = part.geometry.groups * (part.in_channels.end - part.in_channels.start);
        let summed = Geometry { in_channels, ..part.geometry };
        let Variant { mut constants, grid } = kernel.variant(&Layer::Conv2d(summed), target, variant);
        constants.extend(cut(&part));
        let mut bindings = tensors.bindings(&part, weight);
        bindings.iter_mut().zip(layout.alignment).for_each(|(binding, alignment)| binding.alignment = alignment);
        let uniform = extent(&part).words();
        program.dispatch(Step::new(shader(kernel), "main", constants, uniform, bindings), grid, &target.limits)?;
    }
    Ok(program)
}

/// Refuses a layer whose input is multiplied first.
pub(super) fn unscaled(geometry: &Geometry) -> std::result::Result<(), &'static str> {
    if geometry.input_scale { Err("it needs a layer without input_scale") } else { Ok(()) }
}

/// The shader of a kernel that has one.
pub(super) fn shader(kernel: &Kernel) -> Shader {
    kernel.shader.expect("a kernel with a shader of its own")
}

/// The weight of each part: a stretch of the layer's, or of a copy of some of its taps.
struct Weights<'a> {
    tensors: &'a Tensors,
    /// The copies that were made.
    windows: Vec<(Window, usize)>,
}

impl Weights<'_> {
    fn of(&mut self, program: &mut Program, whole: &Geometry, part: &Part, target: &Target) -> Result<Slice> {
        let filter = u64::from(whole.in_channels_per_group()) * part.geometry.kernel_size.area();
        let buffer = match &part.window {
            None => self.tensors.weight,
            Some(window) => self.copy(program, whole, window, part.geometry.kernel_size, target)?,
        };
        let (start, length) = (part.first_channel * filter, u64::from(part.geometry.out_channels) * filter);
        Ok(Slice { buffer, start, length })
    }

    /// The copy of the taps in a window, which is of this size.
    fn copy(
        &mut self,
        program: &mut Program,
        whole: &Geometry,
        window: &Window,
        size: Size,
        target: &Target,
    ) -> Result<usize> {
        if let Some((_, buffer)) = self.windows.iter().find(|(other, _)| other == window) {
            return Ok(*buffer);
        }
        let planes = u64::from(whole.out_channels) * u64::from(whole.in_channels_per_group());
        let buffer = program.hidden(Kind::Packed, "taps of the weight", planes * size.area())?;
        // As many planes of the weight in a step as can be bound.
        let most = (target.binding_values() / whole.kernel_size.area()).min(planes);
        for first in (0..planes).step_by(usize::try_from(most).unwrap_or(usize::MAX)) {
            let planes = most.min(planes - first);
            let slice =
                |buffer, size: Size| (Slice { buffer, start: first * size.area(), length: planes * size.area() }, size);
            let (from, to) = (slice(self.tensors.weight, whole.kernel_size), slice(buffer, size));
            let (step, grid) = crop::step(from, to, [window.rows.start, window.columns.start], planes)?;
            program.prepare(step, grid, &target.limits)?;
        }
        self.windows.push((window.clone(), buffer));
        Ok(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_and_idle_time_cost() {
        let target: Target = wgpu::Limits::default().into();
        let cost = |workgroups| tile_cost(16.0 * 64.0 * 64.0 * 64.0, workgroups, &target);
        assert!(cost(4096.0) > cost(2048.0), "smaller tiles, or partly idle ones, have more loads");
        assert!(cost(64.0) > cost(256.0), "few workgroups leave a GPU idle");
    }
}
