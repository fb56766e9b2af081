//! From a geometry and a target to kernels, pieces and grids: all of planning that needs no device.

use std::fmt;
use std::ops::Range;

use crate::error::{Error, Result};
use crate::geometry::{Geometry, MAXIMUM_EXTENT, Size, check_range, values};
use crate::kernels::{self, Kernel, Passes, Target, Variant, winograd};

/// How one convolution is computed within a device's limits.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// The whole convolution.
    pub geometry: Geometry,
    /// The kernel that computes it.
    pub kernel: &'static Kernel,
    /// What turns the weights into what the parts read, once for all runs.
    pub packing: Vec<Part>,
    /// What runs, in this order: one part, unless a tensor is larger than a binding may be, a sum too long for one
    /// invocation, or the kernel takes several passes.
    pub parts: Vec<Part>,
}

/// A smaller convolution over slices of the same tensors, or one pass of it.
#[derive(Debug, Clone)]
pub struct Part {
    /// The kernel whose shader it runs.
    pub kernel: &'static Kernel,
    /// Where that shader begins.
    pub entry: &'static str,
    /// Its own sizes.
    pub geometry: Geometry,
    /// What it reads as its input.
    pub input: Stretch,
    /// What it reads as its weight.
    pub weight: Stretch,
    /// What it reads as its bias, if it has one.
    pub bias: Option<Stretch>,
    /// What it reads as its residual, if it has one.
    pub residual: Option<Stretch>,
    /// What it writes.
    pub output: Stretch,
    /// The input channels of each group that it sums over: all of them, unless a sum is too long for one invocation.
    /// Parts that continue a sum follow each other.
    pub in_channels: Range<u32>,
    /// The constants and the grid that it runs with.
    pub variant: Variant,
    /// The grid, cut to what one dispatch may have.
    pub dispatches: Vec<Dispatch>,
}

/// A stretch of one tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Of which one.
    pub of: Role,
    /// Where it starts, in values.
    pub start: u64,
    /// How long it is, in values.
    pub length: u64,
}

/// What a tensor is to a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The layer's input.
    Input,
    /// The layer's weight.
    Weight,
    /// The layer's bias.
    Bias,
    /// The layer's residual.
    Residual,
    /// The layer's output.
    Output,
    /// What the weight was packed to. It stays while the layer is bound.
    PackedWeight,
    /// What one pass reads of the input for the next: a workspace.
    TransformedInput,
    /// What the last pass makes the output of: a workspace.
    TransformedOutput,
}

/// A box of workgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dispatch {
    /// The first workgroup along x, y and z.
    pub first: [u32; 3],
    /// How many there are along x, y and z.
    pub workgroups: [u32; 3],
}

/// One way to compute a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// The kernel.
    pub kernel: &'static Kernel,
    /// Which of the kernel's variants, from 0, the best guess. A piece that has no such variant takes that of 0.
    pub variant: usize,
}

impl Choice {
    /// Every way to compute a geometry on a target, each with its constants and its grid; the planner's own choice first.
    #[must_use]
    pub fn all(geometry: &Geometry, target: &Target) -> Vec<(Self, Variant)> {
        let own = kernels::choose(geometry, target);
        let supports = |kernel: &&Kernel| (kernel.supports)(geometry, target).is_ok();
        let others = kernels::ALL.into_iter().filter(supports).filter(|kernel| kernel.name != own.name);
        let of_kernel = |kernel: &'static Kernel| {
            let variants = (kernel.variants)(&in_one_row(*geometry), target).into_iter().enumerate();
            variants.map(move |(variant, made)| (Self { kernel, variant }, made))
        };
        std::iter::once(own).chain(others).flat_map(of_kernel).collect()
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_choice(f, self.kernel.name, self.variant)
    }
}

/// A kernel and which of its variants, for a reader.
pub(crate) fn write_choice(f: &mut fmt::Formatter<'_>, kernel: &str, variant: usize) -> fmt::Result {
    match variant {
        0 => f.write_str(kernel),
        variant => write!(f, "{kernel}, variant {variant}"),
    }
}

/// More dispatches than this are refused: recording them would take longer than any caller expects.
const MAXIMUM_DISPATCHES: u64 = 1 << 16;

/// Vulkan and DX12 read no further than this into a binding, whatever limit the adapter reports.
const MAXIMUM_BINDING: u64 = (1 << 31) - 4;

impl Schedule {
    /// Plans a convolution with the kernel of this name, or with the one that suits it best.
    ///
    /// # Errors
    /// [`Error::UnknownKernel`], [`Error::Unsupported`], [`Error::Limit`] or [`Error::TooManyDispatches`].
    pub fn new(geometry: &Geometry, target: &Target, kernel: Option<&str>) -> Result<Self> {
        let kernel = kernel.map_or_else(|| Ok(kernels::choose(geometry, target)), kernels::by_name)?;
        Self::with_choice(geometry, target, Choice { kernel, variant: 0 })
    }

    /// Plans a convolution in one particular way.
    ///
    /// # Errors
    /// [`Error::Unsupported`], [`Error::Limit`] or [`Error::TooManyDispatches`].
    pub fn with_choice(geometry: &Geometry, target: &Target, choice: Choice) -> Result<Self> {
        let kernel = choice.kernel;
        target.check()?;
        let limits = &target.limits;
        (kernel.supports)(geometry, target).map_err(|reason| Error::Unsupported { kernel: kernel.name, reason })?;
        for (argument, shape) in [
            ("input", geometry.input_shape()),
            ("weight", geometry.weight_shape()),
            ("output", geometry.output_shape()),
        ] {
            let (bytes, maximum) = (4 * values(shape), limits.max_buffer_size);
            if bytes > maximum {
                return Err(Error::Limit { argument, bytes, limit: "max_buffer_size", maximum });
            }
        }
        let (packing, parts) = match kernel.passes {
            Passes::One => (Vec::new(), one_pass(geometry, target, choice)?),
            Passes::Winograd => winograd::passes(geometry, target)?,
        };
        Ok(Self { geometry: *geometry, kernel, packing, parts })
    }

    /// The bytes of device memory that a bound layer keeps its packed weights in.
    #[must_use]
    pub fn packed_weight_bytes(&self) -> u64 {
        4 * self.values_of(Role::PackedWeight)
    }

    /// The bytes of device memory that a bound layer needs besides its tensors and its packed weights.
    #[must_use]
    pub fn workspace_bytes(&self) -> u64 {
        4 * (self.values_of(Role::TransformedInput) + self.values_of(Role::TransformedOutput))
    }

    /// How many values of a tensor are written.
    pub(crate) fn values_of(&self, role: Role) -> u64 {
        let written = self.packing.iter().chain(&self.parts).map(|part| part.output).filter(|output| output.of == role);
        written.map(|output| output.start + output.length).max().unwrap_or(0)
    }
}

/// The pieces of a convolution for a kernel that computes each in one pass.
fn one_pass(whole: &Geometry, target: &Target, choice: Choice) -> Result<Vec<Part>> {
    let kernel = choice.kernel;
    let mut dispatches = 0;
    let mut parts = Vec::new();
    for (geometry, starts) in split(whole, &target.limits)? {
        let geometry = in_one_row(geometry);
        let mut variants = (kernel.variants)(&geometry, target);
        let index = if choice.variant < variants.len() { choice.variant } else { 0 };
        let variant = variants.swap_remove(index);
        let sums = cut_sums(&geometry, target)?;
        dispatches += fold_count(variant.grid, &target.limits).saturating_mul(sums.len() as u64);
        check_dispatches(dispatches)?;
        let whole = Part::new(kernel, "main", geometry, starts, variant, target);
        parts.extend(sums.into_iter().map(|in_channels| {
            let mut part = Part { in_channels: in_channels.clone(), ..whole.clone() };
            part.variant.constants.extend([
                ("CONTINUES", (in_channels.start > 0).into()),
                ("FINISHES", (in_channels.end == geometry.in_channels_per_group()).into()),
            ]);
            part
        }));
    }
    Ok(parts)
}

/// Refuses more than anyone would wait for.
pub(crate) fn check_dispatches(dispatches: u64) -> Result<()> {
    if dispatches > MAXIMUM_DISPATCHES {
        return Err(Error::TooManyDispatches { dispatches, maximum: MAXIMUM_DISPATCHES });
    }
    Ok(())
}

impl Part {
    /// One pass over a slice that starts at these values of the input, of the channels and of the output.
    pub(crate) fn new(
        kernel: &'static Kernel,
        entry: &'static str,
        geometry: Geometry,
        [input_start, channel_start, output_start]: [u64; 3],
        variant: Variant,
        target: &Target,
    ) -> Self {
        let stretch = |of, start, shape| Stretch { of, start, length: values(shape) };
        Self {
            kernel,
            entry,
            geometry,
            input: stretch(Role::Input, input_start, geometry.input_shape()),
            weight: stretch(Role::Weight, channel_start * geometry.terms(), geometry.weight_shape()),
            bias: geometry.bias.then(|| stretch(Role::Bias, channel_start, geometry.bias_shape())),
            residual: geometry.residual.then(|| stretch(Role::Residual, output_start, geometry.output_shape())),
            output: stretch(Role::Output, output_start, geometry.output_shape()),
            in_channels: 0..geometry.in_channels_per_group(),
            dispatches: fold(variant.grid, target.limits.max_compute_workgroups_per_dimension),
            variant,
        }
    }
}

/// Whether a convolution makes each pixel of that pixel alone, and visits all.
pub(crate) fn is_pixelwise(geometry: &Geometry) -> bool {
    let one = Size::from(1);
    geometry.kernel_size == one && geometry.stride == one && geometry.input == geometry.output
}

/// A convolution of single pixels sees no rows: its planes become one row each, which tiles better.
fn in_one_row(geometry: Geometry) -> Geometry {
    let pixels = u64::from(geometry.input.height) * u64::from(geometry.input.width);
    match u32::try_from(pixels) {
        Ok(width) if is_pixelwise(&geometry) && pixels <= MAXIMUM_EXTENT => {
            let row = Size { height: 1, width };
            Geometry { input: row, output: row, dilation: Size::from(1), ..geometry }
        }
        _ => geometry,
    }
}

/// The most bytes of a tensor that a binding can hold, wherever in its buffer they start.
pub(crate) fn binding_maximum(limits: &wgpu::Limits) -> u64 {
    // They may start between two places where a binding may, so that the binding starts before them.
    let slack = u64::from(limits.min_storage_buffer_offset_alignment);
    limits.max_storage_buffer_binding_size.min(MAXIMUM_BINDING).saturating_sub(slack)
}

/// A smaller convolution and the first value of its input, its channels and its output.
type Slice = (Geometry, [u64; 3]);

/// Cuts a convolution until each slice of each tensor fits in a binding: by images, then by groups, then by the
/// output channels of one group.
fn split(whole: &Geometry, limits: &wgpu::Limits) -> Result<Vec<Slice>> {
    let maximum = binding_maximum(limits);
    let fits = |bytes: u64| maximum / bytes;
    let per_group = |size: u64| size / u64::from(whole.groups);

    let input_image = 4 * values([1, whole.in_channels, whole.input.height, whole.input.width]);
    let output_plane = 4 * values([1, 1, whole.output.height, whole.output.width]);
    let output_image = output_plane * u64::from(whole.out_channels);
    let filter = 4 * whole.terms();
    let weight = filter * u64::from(whole.out_channels);

    let images = fits(input_image).min(fits(output_image)).min(whole.batch.into());
    if images > 0 && weight <= maximum {
        return slices(whole, images, whole.groups.into(), whole.out_channels.into());
    }
    let groups = fits(per_group(input_image)).min(fits(per_group(output_image))).min(fits(per_group(weight)));
    if groups > 0 {
        return slices(whole, 1, groups, whole.out_channels_per_group().into());
    }
    let channels = fits(output_plane).min(fits(filter));
    for (argument, bytes) in [("input", per_group(input_image)), ("output", output_plane), ("weight", filter)] {
        if bytes > maximum {
            return Err(Error::Limit { argument, bytes, limit: "max_storage_buffer_binding_size", maximum });
        }
    }
    slices(whole, 1, 1, channels)
}

/// Slices of at most so many images, groups, and output channels of a group. Slices of less than all channels are of
/// one image, and slices of less than a group's channels are of one group, so that each is one stretch of memory.
pub(crate) fn slices(whole: &Geometry, images: u64, groups: u64, channels: u64) -> Result<Vec<Slice>> {
    let group_channels = u64::from(whole.out_channels_per_group());
    let input_group = u64::from(whole.in_channels_per_group()) * values([1, 1, whole.input.height, whole.input.width]);
    let output_plane = values([1, 1, whole.output.height, whole.output.width]);
    let (batch, all_groups) = (u64::from(whole.batch), u64::from(whole.groups));
    let (groups, channels) = (groups.min(all_groups), channels.min(group_channels));

    check_dispatches(batch.div_ceil(images) * all_groups.div_ceil(groups) * group_channels.div_ceil(channels))?;
    let narrow = |size: u64| u32::try_from(size).expect("a part of a size that fits");
    let mut slices = Vec::new();
    for image in (0..batch).step_by(usize::try_from(images).unwrap_or(usize::MAX)) {
        for group in (0..all_groups).step_by(usize::try_from(groups).unwrap_or(usize::MAX)) {
            for channel in (0..group_channels).step_by(usize::try_from(channels).unwrap_or(usize::MAX)) {
                let groups = groups.min(all_groups - group);
                let channels = channels.min(group_channels - channel);
                let first_channel = group * group_channels + channel;
                let geometry = Geometry {
                    batch: narrow(images.min(batch - image)),
                    in_channels: narrow(groups) * whole.in_channels_per_group(),
                    out_channels: narrow(groups * channels),
                    groups: narrow(groups),
                    ..*whole
                };
                let input_start = (image * all_groups + group) * input_group;
                let output_start = (image * all_groups * group_channels + first_channel) * output_plane;
                slices.push((geometry, [input_start, first_channel, output_start]));
            }
        }
    }
    Ok(slices)
}

/// The most products that one invocation sums. llvmpipe leaves a shader's loops, and its sums unfinished, after 65,535
/// rounds in all, of which a product can take up to three; and a GPU's driver may have a watchdog.
pub(crate) const MAXIMUM_TERMS: u32 = 1 << 14;

/// Cuts the sum over a group's input channels to what one invocation may sum, evenly.
fn cut_sums(geometry: &Geometry, target: &Target) -> Result<Vec<Range<u32>>> {
    let taps = u64::from(geometry.kernel_size.height) * u64::from(geometry.kernel_size.width);
    if target.software {
        check_range("kernel_size height times width", taps, 1, MAXIMUM_TERMS.into())?;
    }
    let most = (u64::from(MAXIMUM_TERMS) / taps).max(1);
    let channels = u64::from(geometry.in_channels_per_group());
    let pieces = channels.div_ceil(most);
    check_dispatches(pieces)?;
    let narrow = |channel: u64| u32::try_from(channel).expect("at most the channels, which are a u32");
    let step = channels.div_ceil(pieces);
    Ok((0..pieces).map(|piece| narrow(piece * step)..narrow(((piece + 1) * step).min(channels))).collect())
}

fn fold_count(grid: [u64; 3], limits: &wgpu::Limits) -> u64 {
    let maximum = u64::from(limits.max_compute_workgroups_per_dimension);
    grid.iter().fold(1, |count: u64, size| count.saturating_mul(size.div_ceil(maximum)))
}

/// Cuts a grid of workgroups into boxes of at most `maximum` along each axis: the one place where that is done.
fn fold(grid: [u64; 3], maximum: u32) -> Vec<Dispatch> {
    let cuts = grid.map(|size| (0..size).step_by(maximum as usize).collect::<Vec<_>>());
    let mut dispatches = Vec::new();
    for &z in &cuts[2] {
        for &y in &cuts[1] {
            for &x in &cuts[0] {
                let first = [x, y, z];
                let narrow = |value: u64| u32::try_from(value).expect("a grid is no larger than its tensor");
                dispatches.push(Dispatch {
                    first: first.map(narrow),
                    workgroups: [0, 1, 2].map(|axis| narrow((grid[axis] - first[axis]).min(maximum.into()))),
                });
            }
        }
    }
    dispatches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Conv2d;

    fn limits(binding: u64, workgroups: u32) -> Target {
        Target::from(wgpu::Limits {
            max_storage_buffer_binding_size: binding + 256,
            max_compute_workgroups_per_dimension: workgroups,
            ..Default::default()
        })
    }

    /// The outputs that each part covers, as ranges of values, in order.
    fn covered(schedule: &Schedule) -> Vec<(u64, u64)> {
        let range = |part: &Part| (part.output.start, part.output.start + part.output.length);
        schedule.parts.iter().map(range).collect()
    }

    #[test]
    fn parts_cover_the_output_once_and_each_fits() {
        // 3 images of 8 channels in 4 groups, 10 x 10: an image is 3200 bytes in, 6400 out.
        let geometry = Conv2d::new(8, 16, 3).padding(1).groups(4).geometry([3, 8, 10, 10]).unwrap();
        for (binding, parts) in [(1 << 20, 1), (6400, 3), (3200, 6), (1600, 12), (800, 24), (799, 48)] {
            let schedule = Schedule::new(&geometry, &limits(binding, 65_535), None);
            if binding < 800 {
                // One group's input is 800 bytes and cannot be cut.
                let error = schedule.unwrap_err();
                assert!(matches!(error, Error::Limit { argument: "input", bytes: 800, .. }), "{error}");
                continue;
            }
            let schedule = schedule.unwrap();
            assert_eq!(schedule.parts.len(), parts, "at {binding} bytes");
            let mut end = 0;
            for (start, stop) in covered(&schedule) {
                assert_eq!(start, end, "at {binding} bytes");
                end = stop;
            }
            assert_eq!(end, values(geometry.output_shape()));
            for part in &schedule.parts {
                for shape in [part.geometry.input_shape(), part.geometry.weight_shape(), part.geometry.output_shape()] {
                    assert!(4 * values(shape) <= binding, "{shape:?} at {binding} bytes");
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_cut_is_refused_by_name() {
        let limit = |layer: Conv2d, shape: [u32; 4], binding| {
            Schedule::new(&layer.geometry(shape).unwrap(), &limits(binding, 65_535), None).unwrap_err()
        };
        let output = limit(Conv2d::new(1, 1, 1).padding(20), [1, 1, 2, 2], 1000);
        assert!(matches!(output, Error::Limit { argument: "output", .. }), "{output}");
        let weight = limit(Conv2d::new(1, 1, 20).padding(10), [1, 1, 2, 2], 1000);
        assert!(matches!(weight, Error::Limit { argument: "weight", .. }), "{weight}");
    }

    #[test]
    fn long_sums_are_cut() {
        let sums = |channels, kernel_size| {
            let layer = Conv2d::new(channels, 1, kernel_size).geometry([1, channels, 200, 200]).unwrap();
            cut_sums(&layer, &Target { software: true, ..wgpu::Limits::default().into() })
        };
        assert_eq!(sums(1 << 14, 1).unwrap().len(), 1);
        assert_eq!(
            sums(66_000, 1),
            Ok(vec![0..13_200, 13_200..26_400, 26_400..39_600, 39_600..52_800, 52_800..66_000])
        );
        assert_eq!(sums(3, 128), Ok(vec![0..1, 1..2, 2..3]));
        assert!(matches!(sums(1, 129), Err(Error::OutOfRange { argument: "kernel_size height times width", .. })));
    }

    #[test]
    fn boxes_cover_a_grid_once() {
        let boxes = fold([70_000, 1, 3], 65_535);
        assert_eq!(boxes.len(), 2);
        assert_eq!(boxes[1], Dispatch { first: [65_535, 0, 0], workgroups: [4_465, 1, 3] });
        let total: u64 = fold([7, 5, 9], 4).iter().map(|b| b.workgroups.map(u64::from).iter().product::<u64>()).sum();
        assert_eq!(total, 7 * 5 * 9);
    }

    #[test]
    fn an_endless_list_of_dispatches_is_refused() {
        let geometry = Conv2d::new(1, 1, 1).geometry([1 << 20, 1, 8, 8]).unwrap();
        let schedule = Schedule::new(&geometry, &limits(256, 65_535), None);
        assert!(matches!(schedule, Err(Error::TooManyDispatches { .. })), "{schedule:?}");
        let schedule = Schedule::new(&geometry, &limits(1 << 30, 1), None);
        assert!(matches!(schedule, Err(Error::TooManyDispatches { .. })), "{schedule:?}");
    }

    #[test]
    fn a_forced_kernel_must_support_the_layer() {
        let geometry = Conv2d::new(3, 4, 3).geometry([1, 3, 8, 8]).unwrap();
        let forced = |name| Schedule::new(&geometry, &limits(1 << 20, 65_535), Some(name));
        assert_eq!(forced("direct").unwrap().kernel.name, "direct");
        assert!(matches!(forced("depthwise"), Err(Error::Unsupported { kernel: "depthwise", .. })));
        assert!(matches!(forced("fastest"), Err(Error::UnknownKernel { .. })));
    }

    #[test]
    fn every_choice_is_planned_as_it_says() {
        let target = limits(1 << 20, 65_535);
        let geometry = Conv2d::new(8, 16, 3).geometry([1, 8, 9, 9]).unwrap();
        let choices = Choice::all(&geometry, &target);
        let planned = |choice| Schedule::with_choice(&geometry, &target, choice).unwrap();
        for (choice, variant) in &choices {
            let schedule = planned(*choice);
            assert_eq!(schedule.kernel.name, choice.kernel.name);
            assert!(schedule.parts[0].variant.constants.starts_with(&variant.constants));
        }
        let own = Schedule::new(&geometry, &target, None).unwrap();
        assert_eq!(own.parts[0].variant, planned(choices[0].0).parts[0].variant);
        let no_such = Choice { variant: usize::MAX, ..choices[0].0 };
        assert_eq!(own.parts[0].variant, planned(no_such).parts[0].variant);
    }
}
