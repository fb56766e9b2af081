//! The one error type: what was asked for, what it was and what it may be.

use crate::dtype::DType;

/// Everything that can go wrong, in words that name the argument.
///
/// [`Error::is_request`] tells a mistake in the request (fix the argument) from a failure of the computation (the
/// device ran out of memory or was lost).
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A number outside the range its argument allows.
    #[error("{argument} is {value}; it must be from {minimum} to {maximum}")]
    OutOfRange {
        /// The argument's name.
        argument: &'static str,
        /// What it was.
        value: u64,
        /// The least it may be.
        minimum: u64,
        /// The most it may be.
        maximum: u64,
    },
    /// A residual behind an activation whose rounding could not be bounded then.
    #[error(
        "residual is added behind the activation {activation}; that must be none, relu, relu6, a clamp around 0, leaky-relu, silu, \
         hardswish, gelu by erf or by tanh, or mish"
    )]
    ResidualAfter {
        /// The activation.
        activation: String,
    },
    /// A channel count that its groups do not divide.
    #[error("{argument} is {value}; it must be a multiple of groups, which is {groups}")]
    NotDivisible {
        /// The argument's name.
        argument: &'static str,
        /// What it was.
        value: u32,
        /// The number of groups.
        groups: u32,
    },
    /// A tensor whose shape is not the one this layer takes.
    #[error("{argument} has shape {shape:?}; this layer takes {expected:?}")]
    Shape {
        /// The argument's name.
        argument: &'static str,
        /// The shape it had.
        shape: [u32; 4],
        /// The shape it must have.
        expected: [u32; 4],
    },
    /// A slice whose length is not the product of its shape.
    #[error("{argument} has {length} values; shape {shape:?} takes {expected}")]
    Length {
        /// The argument's name.
        argument: &'static str,
        /// How many values it had.
        length: usize,
        /// The shape that was given with it.
        shape: [u32; 4],
        /// How many values that shape takes.
        expected: u64,
    },
    /// Two shapes of which neither can serve for the other.
    #[error("shapes {a:?} and {b:?} do not go together; from the last axis on, sizes must be alike, or one of them 1")]
    Unbroadcast {
        /// The first.
        a: Vec<u32>,
        /// The second.
        b: Vec<u32>,
    },
    /// A kernel that spans more than the padded input, so that no output is left.
    #[error(
        "kernel_size spans {span} along the {axis} (dilation counted); the padded input has {padded}, \
         so it may span at most that"
    )]
    KernelTooLarge {
        /// `"height"` or `"width"`.
        axis: &'static str,
        /// dilation · (`kernel_size` − 1) + 1.
        span: u64,
        /// Input size plus both paddings.
        padded: u64,
    },
    /// A tensor of 2⁶³ bytes or more.
    #[error("{argument} is too large: {shape:?} values of f32 take 2^63 bytes or more")]
    Overflow {
        /// The argument's name.
        argument: &'static str,
        /// Its shape.
        shape: [u32; 4],
    },
    /// A geometry whose fields were changed after they were checked.
    #[error("the layer's sizes do not belong together; make them with the layer's own `geometry`")]
    Altered,
    /// More work than can be counted, let alone done.
    #[error("the layer is too large: its multiply-adds do not fit in 64 bits")]
    TooMuchWork,
    /// A layer that would take more dispatches than a plan may hold.
    #[error("the layer needs {dispatches} dispatches or more at this device's limits; a plan may have {maximum}")]
    TooManyDispatches {
        /// The fewest that it needs.
        dispatches: u64,
        /// The most that there may be.
        maximum: u64,
    },
    /// A tensor, or the smallest piece that it can be cut to, that is past a limit of the device.
    #[error("{argument} needs {bytes} bytes; this device's {limit} allows {maximum}")]
    Limit {
        /// The argument's name.
        argument: &'static str,
        /// What it needs, in bytes.
        bytes: u64,
        /// The name of the `wgpu` limit.
        limit: &'static str,
        /// The limit, in bytes.
        maximum: u64,
    },
    /// Two floats that are out of order or not numbers.
    #[error("activation clamp is [{minimum}, {maximum}]; it must be two numbers, the lesser first")]
    Clamp {
        /// The lower end.
        minimum: f32,
        /// The upper end.
        maximum: f32,
    },
    /// A number of an activation that is infinite or none.
    #[error("{argument} is {value}; it must be a finite number")]
    NotFinite {
        /// The argument's name.
        argument: &'static str,
        /// What it was.
        value: f32,
    },
    /// A byte offset that is not a multiple of four.
    #[error("{argument} starts at byte {offset}; it must start at a multiple of {alignment}")]
    Misaligned {
        /// The argument's name.
        argument: &'static str,
        /// The offset it had, in bytes.
        offset: u64,
        /// What it must be a multiple of.
        alignment: u64,
    },
    /// A tensor that would reach past the end of its buffer.
    #[error("{argument} ends at byte {end}; its buffer has {size} bytes")]
    OutsideBuffer {
        /// The argument's name.
        argument: &'static str,
        /// Where the tensor would end.
        end: u64,
        /// The buffer's size in bytes.
        size: u64,
    },
    /// A caller's buffer that was not created for this use.
    #[error("{argument} lies in a buffer without {usage:?}; its buffer must have that usage")]
    Usage {
        /// The argument's name.
        argument: &'static str,
        /// The usage it lacks.
        usage: wgpu::BufferUsages,
    },
    /// A tensor that the layer was built to take and was not given.
    #[error("{argument} is missing; this layer was built with one")]
    Missing {
        /// The argument's name.
        argument: &'static str,
    },
    /// A tensor that the layer was not built to take.
    #[error("{argument} was given; this layer was built without one")]
    Unexpected {
        /// The argument's name.
        argument: &'static str,
    },
    /// Input and output in one buffer, which WebGPU forbids in one dispatch.
    #[error("{argument} shares a buffer with the output; the output needs a buffer of its own")]
    SharedBuffer {
        /// The argument that shares it.
        argument: &'static str,
    },
    /// A tensor that was made by another context.
    #[error("{argument} belongs to another context; it must be made by this one or a clone of it")]
    OtherContext {
        /// The argument's name.
        argument: &'static str,
    },
    /// Weights that were packed for another kernel or another layer.
    #[error("the weights are packed for another layout than {kernel} reads; pack them with this plan's `weights`")]
    OtherLayout {
        /// The plan's kernel.
        kernel: String,
    },
    /// A tensor that holds other values than the plan's tensors.
    #[error("{argument} holds {dtype}; this plan's tensors hold {expected}, so make it with the plan's context")]
    OtherType {
        /// The argument's name.
        argument: &'static str,
        /// What it holds.
        dtype: DType,
        /// What it must hold.
        expected: DType,
    },
    /// Tensors of `f16` on a device whose shaders have none.
    #[error("dtype is f16; {device} was opened without it in shaders (wgpu's SHADER_F16), so it must be f32")]
    NoF16 {
        /// The device's name.
        device: String,
    },
    /// A kernel name that is not in [`kernels::ALL`](crate::kernels::ALL).
    #[error("kernel is {name:?}; it must be one of {known}")]
    UnknownKernel {
        /// The name that was asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A kernel that cannot compute this layer: one that was asked for by name, or the one for every layer of its kind.
    #[error("kernel {kernel:?} does not support this layer: {reason}")]
    Unsupported {
        /// The kernel's name.
        kernel: &'static str,
        /// What it needs.
        reason: &'static str,
    },
    /// A text that is not a [`Tuning`](crate::Tuning) table.
    #[error("line {line} does not belong in a tuning table: see sepconv::Tuning")]
    NoTable {
        /// The first line that does not belong in one, counted from 1.
        line: usize,
    },
    /// No kernel gave a right result, so none can be the fastest.
    #[error(
        "no kernel computes this layer right on this device: the least error is {error} times what rounding allows"
    )]
    NoneRight {
        /// The least error, as a multiple of what is allowed.
        error: f64,
    },
    /// An error in one part of a separable layer.
    #[error("{part} {error}")]
    Within {
        /// `"depthwise"` or `"pointwise"`.
        part: &'static str,
        /// What is wrong there.
        #[source]
        error: Box<Error>,
    },
    /// A node or a tensor of a network that cannot be as it is.
    #[error("{node:?}: {reason}")]
    Node {
        /// Its name.
        node: String,
        /// What is wrong with it, and what it may be.
        reason: String,
    },
    /// A name that none of a network's tensors has.
    #[error("tensor is {name:?}; it must be one of {known}")]
    UnknownTensor {
        /// The name that was given.
        name: String,
        /// The names there are.
        known: String,
    },
    /// Bytes that are no model, or a damaged one.
    #[error("the model cannot be read: {reason}")]
    Model {
        /// What is wrong with it.
        reason: String,
    },
    /// A model that needs what this library lacks.
    #[error("the model needs what is not supported: {}", missing.join("; "))]
    UnsupportedModel {
        /// Each operator and attribute that is missing, with the names of the nodes that have it.
        missing: Vec<String>,
    },
    /// No GPU and no software driver answered.
    #[error("no adapter: {reason}")]
    NoAdapter {
        /// What was looked for.
        reason: String,
    },
    /// The adapter would not open a device.
    #[error("the adapter did not open a device: {reason}")]
    NoDevice {
        /// The driver's words.
        reason: String,
    },
    /// The device ran out of memory.
    #[error("out of memory: the device could not allocate {argument} ({bytes} bytes)")]
    OutOfMemory {
        /// What was being allocated.
        argument: &'static str,
        /// Its size in bytes.
        bytes: u64,
    },
    /// The device is gone; a new [`Context`](crate::Context) is needed.
    #[error("the device was lost: {reason}")]
    DeviceLost {
        /// The driver's words.
        reason: String,
    },
    /// The driver refused something that this library believed valid.
    #[error("the device refused {operation}: {reason}")]
    Device {
        /// What was being done.
        operation: &'static str,
        /// The driver's words.
        reason: String,
    },
}

impl Error {
    /// Whether the request was at fault (true) or the computation failed (false).
    #[must_use]
    pub fn is_request(&self) -> bool {
        match self {
            Self::Within { error, .. } => error.is_request(),
            Self::NoAdapter { .. }
            | Self::NoDevice { .. }
            | Self::OutOfMemory { .. }
            | Self::DeviceLost { .. }
            | Self::NoneRight { .. }
            | Self::Device { .. } => false,
            _ => true,
        }
    }

    /// Says which part of a separable layer an error is in.
    pub(crate) fn within(part: &'static str) -> impl Fn(Self) -> Self {
        move |error| Self::Within { part, error: Box::new(error) }
    }
}

/// What this library's fallible calls return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;
    use crate::separable::SeparableConv2d;

    #[test]
    fn an_error_in_a_part_has_its_source() {
        let error = SeparableConv2d::new(3, 4, 9).geometry([1, 3, 5, 5]).unwrap_err();
        let source = error.source().expect("the error in that part").to_string();
        assert_eq!(source, Error::KernelTooLarge { axis: "height", span: 9, padded: 5 }.to_string());
        assert_eq!(error.to_string(), format!("depthwise {source}"));
    }
}
