//! The kernels: one row each, beside the `.wgsl` of the same name in `shaders/`.

mod depthwise;
mod direct;
mod gemm;
mod pointwise;
mod separable;
mod subgroup_gemm;
mod subgroup_pointwise;
mod subgroup_separable;
mod tiled_gemm;
mod tiling;
pub(crate) mod winograd;

use crate::error::{Error, Result};
use crate::geometry::{Activation, Geometry, PaddingMode, check_range};
use crate::pipeline::Shader;

/// One kernel: its shader, what it can compute, and how it is specialised and launched.
///
/// `Layer` is what it computes: one convolution, or the two of a separable layer.
///
/// Only this crate makes one, since a plan runs its shader without the checks that `wgpu` would put in:
///
/// ```compile_fail,E0639
/// use sepconv::kernels::{Kernel, Passes, Variant};
///
/// let mine = Kernel::<()> {
///     name: "mine",
///     wgsl: "",
///     summary: "",
///     chosen: "",
///     bound_by: "",
///     passes: Passes::One,
///     reads_pairs: false,
///     supports: |_, _| Ok(()),
///     suits: |_, _| true,
///     variants: |_, _| vec![Variant { constants: Vec::new(), grid: [1, 1, 1] }],
/// };
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Kernel<Layer = Geometry> {
    /// Its name, and that of its file in `shaders/`.
    pub name: &'static str,
    /// Its source: complete WGSL with default constants.
    pub wgsl: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// When the planner picks it.
    pub chosen: &'static str,
    /// What its speed ends at.
    pub bound_by: &'static str,
    /// How often it goes over its tensors.
    pub passes: Passes,
    /// Whether its input and its weight must start at a multiple of 8 bytes in their buffers. For those that do not,
    /// another kernel takes its place when they are bound.
    pub reads_pairs: bool,
    /// `Err` with what it needs, for a geometry or a target that it cannot compute on.
    pub supports: fn(&Layer, &Target) -> Result<(), &'static str>,
    /// Whether it is worth its place, where it is supported and no kernel before it is chosen.
    pub suits: fn(&Layer, &Target) -> bool,
    /// The ways to tile a geometry that it supports on a target, best guess first; never empty.
    pub variants: fn(&Layer, &Target) -> Vec<Variant>,
}

/// How a kernel computes a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passes {
    /// In one pass of its shader.
    One,
    /// By transforming tiles, with another kernel's product of the transformed tensors in between.
    Winograd,
}

/// A kernel that computes a whole separable layer: its depthwise part, its pointwise part.
pub type SeparableKernel = Kernel<(Geometry, Geometry)>;

/// What a row says of its kernel, whatever that computes.
#[derive(Debug, Clone, Copy)]
pub struct Description {
    /// See [`Kernel::name`].
    pub name: &'static str,
    /// See [`Kernel::wgsl`].
    pub wgsl: &'static str,
    /// See [`Kernel::summary`].
    pub summary: &'static str,
    /// See [`Kernel::chosen`].
    pub chosen: &'static str,
    /// See [`Kernel::bound_by`].
    pub bound_by: &'static str,
}

/// Rows are told apart by name.
impl<Layer> PartialEq for Kernel<Layer> {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl<Layer> Eq for Kernel<Layer> {}

impl<Layer> Kernel<Layer> {
    fn description(&self) -> Description {
        let Self { name, wgsl, summary, chosen, bound_by, .. } = *self;
        Description { name, wgsl, summary, chosen, bound_by }
    }
}

/// Every kernel's description: those in [`ALL`], then those in [`SEPARABLE`].
pub fn descriptions() -> impl Iterator<Item = Description> {
    let separable = SEPARABLE.iter().map(|kernel| kernel.description());
    ALL.iter().map(|kernel| kernel.description()).chain(separable)
}

impl Kernel {
    pub(crate) fn shader(&self) -> Shader {
        Shader { name: self.name, wgsl: self.wgsl, inputs: 4 }
    }
}

impl SeparableKernel {
    pub(crate) fn shader(&self) -> Shader {
        Shader { name: self.name, wgsl: self.wgsl, inputs: 6 }
    }
}

/// What planning knows of a device.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// The limits that a plan keeps to.
    pub limits: wgpu::Limits,
    /// Whether the device is a processor that runs shaders in software: its loads cost far more than its arithmetic,
    /// so that it wants larger tiles and fewer invocations than a GPU.
    pub software: bool,
    /// How many invocations its subgroups have, if they may be used and all have the same.
    pub subgroup_size: Option<u32>,
    /// Whether its shaders may have integers of 64 bits ([`wgpu::Features::SHADER_INT64`]).
    pub shader_int64: bool,
}

impl Target {
    fn new(limits: wgpu::Limits, features: wgpu::Features, info: &wgpu::AdapterInfo) -> Self {
        let has_subgroups =
            features.contains(wgpu::Features::SUBGROUP) && info.subgroup_min_size == info.subgroup_max_size;
        Self {
            limits,
            software: info.device_type == wgpu::DeviceType::Cpu,
            subgroup_size: has_subgroups.then_some(info.subgroup_min_size),
            shader_int64: features.contains(wgpu::Features::SHADER_INT64),
        }
    }

    /// Refuses limits below what the kernels take.
    pub(crate) fn check(&self) -> Result<()> {
        let limits = &self.limits;
        for (limit, value, least) in [
            ("max_bind_groups", u64::from(limits.max_bind_groups), 1),
            ("max_bindings_per_bind_group", limits.max_bindings_per_bind_group.into(), 6),
            ("max_storage_buffers_per_shader_stage", limits.max_storage_buffers_per_shader_stage.into(), 5),
            ("max_uniform_buffers_per_shader_stage", limits.max_uniform_buffers_per_shader_stage.into(), 1),
            ("max_uniform_buffer_binding_size", limits.max_uniform_buffer_binding_size, 96),
            ("max_compute_invocations_per_workgroup", limits.max_compute_invocations_per_workgroup.into(), 64),
            ("max_compute_workgroup_size_x", limits.max_compute_workgroup_size_x.into(), 64),
            ("max_compute_workgroup_size_y", limits.max_compute_workgroup_size_y.into(), 8),
            ("max_compute_workgroups_per_dimension", limits.max_compute_workgroups_per_dimension.into(), 1),
            ("min_storage_buffer_offset_alignment", limits.min_storage_buffer_offset_alignment.into(), 8),
            ("min_uniform_buffer_offset_alignment", limits.min_uniform_buffer_offset_alignment.into(), 1),
        ] {
            check_range(limit, value, least, u64::MAX)?;
        }
        Ok(())
    }
}

impl From<&wgpu::Device> for Target {
    /// What may be used of a device that is open.
    fn from(device: &wgpu::Device) -> Self {
        Self::new(device.limits(), device.features(), &device.adapter_info())
    }
}

impl From<&wgpu::Adapter> for Target {
    /// What [`Context::from_adapter`](crate::Context::from_adapter) opens.
    fn from(adapter: &wgpu::Adapter) -> Self {
        Self::new(adapter.limits(), adapter.features(), &adapter.get_info())
    }
}

impl From<wgpu::Limits> for Target {
    /// A GPU with these limits, without subgroups and 64-bit integers.
    fn from(limits: wgpu::Limits) -> Self {
        Self { limits, software: false, subgroup_size: None, shader_int64: false }
    }
}

/// A kernel made for one geometry: the constants that replace the shader's own, and the grid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    /// Names and values of the shader's constants. A boolean is 0 or 1.
    pub constants: Vec<(&'static str, u32)>,
    /// How many workgroups along x, y and z, before folding.
    pub grid: [u64; 3],
}

/// Every kernel, fastest and most special first. `direct` supports everything and comes last.
pub static ALL: [&Kernel; 8] = [
    &depthwise::KERNEL,
    &winograd::KERNEL,
    &subgroup_pointwise::KERNEL,
    &subgroup_gemm::KERNEL,
    &tiled_gemm::KERNEL,
    &pointwise::KERNEL,
    &gemm::KERNEL,
    &direct::KERNEL,
];

/// Every kernel that computes a separable layer in one dispatch.
pub static SEPARABLE: [&SeparableKernel; 2] = [&subgroup_separable::KERNEL, &separable::KERNEL];

/// The kernel of this name.
///
/// # Errors
/// [`Error::UnknownKernel`], which lists the names there are.
pub fn by_name(name: &str) -> Result<&'static Kernel> {
    named(&ALL, name)
}

/// The kernel of this name in [`SEPARABLE`].
///
/// # Errors
/// [`Error::UnknownKernel`].
pub fn separable_by_name(name: &str) -> Result<&'static SeparableKernel> {
    named(&SEPARABLE, name)
}

/// The first kernel in [`ALL`] that supports a geometry on a target and suits it.
#[must_use]
pub fn choose(geometry: &Geometry, target: &Target) -> &'static Kernel {
    let suits = |kernel: &&Kernel| (kernel.supports)(geometry, target).is_ok() && (kernel.suits)(geometry, target);
    ALL.into_iter().find(suits).unwrap_or(&direct::KERNEL)
}

/// The row of this name, of these.
fn named<Layer>(rows: &[&'static Kernel<Layer>], name: &str) -> Result<&'static Kernel<Layer>> {
    let found = rows.iter().copied().find(|kernel| kernel.name == name);
    let known = || rows.iter().map(|kernel| kernel.name).collect::<Vec<_>>().join(", ");
    found.ok_or_else(|| Error::UnknownKernel { name: name.to_owned(), known: known() })
}

/// The constants of every kernel that walks a window over the input.
fn window(geometry: &Geometry) -> Vec<(&'static str, u32)> {
    vec![
        ("KERNEL_HEIGHT", geometry.kernel_size.height),
        ("KERNEL_WIDTH", geometry.kernel_size.width),
        ("STRIDE_HEIGHT", geometry.stride.height),
        ("STRIDE_WIDTH", geometry.stride.width),
        ("DILATION_HEIGHT", geometry.dilation.height),
        ("DILATION_WIDTH", geometry.dilation.width),
        padding_mode(geometry),
    ]
}

/// The constant of every kernel that reads what may lie in the padding.
fn padding_mode(geometry: &Geometry) -> (&'static str, u32) {
    let number = match geometry.padding_mode {
        PaddingMode::Zeros => 0,
        PaddingMode::Reflect => 1,
        PaddingMode::Replicate => 2,
        PaddingMode::Circular => 3,
    };
    ("PADDING_MODE", number)
}

/// The constants of what every kernel does before it stores a value.
fn epilogue(geometry: &Geometry) -> Vec<(&'static str, u32)> {
    vec![
        ("HAS_BIAS", geometry.bias.into()),
        ("HAS_RESIDUAL", geometry.residual.into()),
        ("ACTIVATION", activation(geometry)),
    ]
}

/// The constants of what a separable kernel does to a value in between.
fn between_constants(depthwise: &Geometry) -> [(&'static str, u32); 2] {
    [("HAS_BETWEEN_BIAS", depthwise.bias.into()), ("BETWEEN_ACTIVATION", activation(depthwise))]
}

/// The number by which the shaders know an activation.
fn activation(geometry: &Geometry) -> u32 {
    match geometry.activation {
        Activation::None => 0,
        Activation::Relu | Activation::Relu6 | Activation::Clamp(..) => 1,
        Activation::LeakyRelu(_) => 2,
        Activation::Silu => 3,
        Activation::HardSwish => 4,
    }
}

/// The two numbers that a shader's activation reads: its limits, or its slope.
pub(crate) fn activation_limits(activation: Activation) -> [f32; 2] {
    match activation {
        Activation::Relu => [0.0, f32::INFINITY],
        Activation::Relu6 => [0.0, 6.0],
        Activation::Clamp(minimum, maximum) => [minimum, maximum],
        Activation::LeakyRelu(slope) => [slope, 0.0],
        Activation::None | Activation::Silu | Activation::HardSwish => [0.0, 0.0],
    }
}

/// The constants and the grid of a matrix product with a register tile of output channels times pixels.
fn register_tile(geometry: &Geometry, target: &Target) -> (Vec<(&'static str, u32)>, [u64; 3]) {
    let channels = geometry.out_channels_per_group();
    let (width, height, channel_tile, pixel_tile) = if target.software {
        (8, 1, channels.next_multiple_of(4).min(32), 8)
    } else {
        (16, 4, if channels > 4 { 8 } else { 4 }, 4)
    };
    let constants = vec![
        ("WORKGROUP_WIDTH", width),
        ("WORKGROUP_HEIGHT", height),
        ("CHANNEL_TILE", channel_tile),
        ("PIXEL_TILE", pixel_tile),
    ];
    let pixels = u64::from(geometry.output.height) * u64::from(geometry.output.width);
    let grid = [
        pixels.div_ceil(u64::from(width * pixel_tile)),
        tiles(channels, height * channel_tile),
        u64::from(geometry.batch) * u64::from(geometry.groups),
    ];
    (constants, grid)
}

/// How much of the input lies under `tile` neighbouring outputs along one axis.
fn span(tile: u32, kernel: u32, stride: u32, dilation: u32) -> u64 {
    u64::from(tile - 1) * u64::from(stride) + u64::from(kernel - 1) * u64::from(dilation) + 1
}

/// What the kernels of a separable layer take.
fn check_bindings(target: &Target) -> std::result::Result<(), &'static str> {
    let limits = &target.limits;
    if limits.max_storage_buffers_per_shader_stage < 7 || limits.max_bindings_per_bind_group < 8 {
        return Err("it needs 7 storage buffers and 8 bindings");
    }
    Ok(())
}

/// How many tiles cover `size`.
fn tiles(size: u32, tile: u32) -> u64 {
    u64::from(size.div_ceil(tile))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Conv2d;

    #[test]
    fn subgroups_of_eight_are_for_software() {
        let geometry = Conv2d::new(64, 64, 3).geometry([1, 64, 20, 20]).unwrap();
        let chosen = |software| {
            let target = Target { software, subgroup_size: Some(8), ..wgpu::Limits::default().into() };
            choose(&geometry, &target).name
        };
        assert_eq!((chosen(true), chosen(false)), ("subgroup_gemm", "tiled_gemm"));
    }

    #[test]
    fn winograd_is_for_fewer_channels_where_its_product_reads_them_in_pairs() {
        let chosen = |channels, shader_int64| {
            let geometry = Conv2d::new(channels, channels, 3).padding(1).geometry([1, channels, 28, 28]).unwrap();
            let limits = wgpu::Limits::default().into();
            choose(&geometry, &Target { software: true, subgroup_size: Some(8), shader_int64, ..limits }).name
        };
        assert_eq!([94, 96, 97].map(|channels| chosen(channels, true)), ["subgroup_gemm", "winograd", "subgroup_gemm"]);
        assert_eq!([254, 256].map(|channels| chosen(channels, false)), ["subgroup_gemm", "winograd"]);
    }
}
