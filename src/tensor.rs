//! `Tensor`: a stretch of a storage buffer with a shape.

use crate::context::Context;
use crate::error::{Error, Result};
use crate::geometry::{element_count, extent, values};

/// The four sizes of a tensor. Made from `[n, c, h, w]`, or from `[c]`, which means `[1, c, 1, 1]`: a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape(
    /// Batch, channels, height, width.
    pub [u32; 4],
);

impl From<[u32; 4]> for Shape {
    fn from(shape: [u32; 4]) -> Self {
        Self(shape)
    }
}

impl From<[u32; 1]> for Shape {
    fn from([channels]: [u32; 1]) -> Self {
        Self([1, channels, 1, 1])
    }
}

/// `f32` values in NCHW order in a buffer on the device. A clone is another handle to the same memory.
#[derive(Debug, Clone)]
pub struct Tensor {
    buffer: wgpu::Buffer,
    offset: u64,
    shape: [u32; 4],
    /// None for a caller's buffer.
    context: Option<Context>,
}

/// What the buffers that this library makes may be used for.
const USAGE: wgpu::BufferUsages =
    wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_SRC).union(wgpu::BufferUsages::COPY_DST);

/// The bytes that a shape takes, if none of its sizes is 0 and the product is below 2⁶³.
fn byte_size(shape: [u32; 4]) -> Result<u64> {
    for size in shape {
        extent("tensor size", size.into())?;
    }
    Ok(4 * element_count("tensor", shape)?)
}

impl Tensor {
    /// Uploads values to a buffer of their own.
    ///
    /// # Errors
    /// [`Error::Length`] if there are not as many as the shape takes; otherwise as [`zeros`](Self::zeros).
    pub fn from_slice(context: &Context, shape: impl Into<Shape>, values: &[f32]) -> Result<Self> {
        let Shape(shape) = shape.into();
        let expected = byte_size(shape)? / 4;
        if values.len() as u64 != expected {
            return Err(Error::Length { argument: "tensor", length: values.len(), shape, expected });
        }
        Self::allocate(context, shape, Some(values))
    }

    /// A tensor of zeros in a buffer of its own.
    ///
    /// # Errors
    /// [`Error::Overflow`] or [`Error::Limit`] if the shape is too large, [`Error::OutOfMemory`] if the device has no
    /// room for it, [`Error::DeviceLost`] if the device is gone.
    pub fn zeros(context: &Context, shape: impl Into<Shape>) -> Result<Self> {
        Self::allocate(context, shape.into().0, None)
    }

    /// A tensor in the caller's buffer, starting at a byte offset that is a multiple of 4.
    ///
    /// It may be used with the context of the buffer's own device only: whose a buffer is cannot be seen.
    ///
    /// # Errors
    /// [`Error::Misaligned`], [`Error::OutsideBuffer`], or [`Error::Usage`] if the buffer has no `STORAGE` usage.
    pub fn from_buffer(buffer: &wgpu::Buffer, offset: u64, shape: impl Into<Shape>) -> Result<Self> {
        let Shape(shape) = shape.into();
        let bytes = byte_size(shape)?;
        if !offset.is_multiple_of(4) {
            return Err(Error::Misaligned { argument: "tensor", offset, alignment: 4 });
        }
        let end = offset.saturating_add(bytes);
        if end > buffer.size() {
            return Err(Error::OutsideBuffer { argument: "tensor", end, size: buffer.size() });
        }
        if !buffer.usage().contains(wgpu::BufferUsages::STORAGE) {
            return Err(Error::Usage { argument: "tensor", usage: wgpu::BufferUsages::STORAGE });
        }
        Ok(Self { buffer: buffer.clone(), offset, shape, context: None })
    }

    /// An error if this is known to be another context's.
    pub(crate) fn check_context(&self, argument: &'static str, context: &Context) -> Result<()> {
        let other = self.context.as_ref().is_some_and(|own| !own.is_same(context));
        if other { Err(Error::OtherContext { argument }) } else { Ok(()) }
    }

    fn allocate(context: &Context, shape: [u32; 4], data: Option<&[f32]>) -> Result<Self> {
        let bytes = byte_size(shape)?;
        let maximum = context.limits().max_buffer_size;
        if bytes > maximum {
            return Err(Error::Limit { argument: "tensor", bytes, limit: "max_buffer_size", maximum });
        }
        let descriptor = wgpu::BufferDescriptor {
            label: Some("sepconv tensor"),
            size: bytes,
            usage: USAGE,
            mapped_at_creation: data.is_some(),
        };
        let buffer = context.guarded("tensor", bytes, || context.device().create_buffer(&descriptor))?;
        if let Some(data) = data {
            let view = buffer.slice(..).get_mapped_range_mut();
            let mut view = view.map_err(|error| context.mark_lost(error.to_string()))?;
            view.copy_from_slice(bytemuck::cast_slice(data));
            drop(view);
            buffer.unmap();
        }
        Ok(Self { buffer, offset: 0, shape, context: Some(context.clone()) })
    }

    /// Copies the values back.
    ///
    /// # Errors
    /// [`Error::Usage`] if a caller's buffer has no `COPY_SRC` usage; [`Error::OtherContext`]; [`Error::OutOfMemory`];
    /// [`Error::DeviceLost`] if the device is gone.
    pub async fn read(&self, context: &Context) -> Result<Vec<f32>> {
        context.check_alive()?;
        self.check_context("tensor", context)?;
        if !self.buffer.usage().contains(wgpu::BufferUsages::COPY_SRC) {
            return Err(Error::Usage { argument: "tensor", usage: wgpu::BufferUsages::COPY_SRC });
        }
        let bytes = 4 * values(self.shape);
        let staging = context.guarded("read-back", bytes, || {
            let device = context.device();
            let staging = device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("sepconv read-back"),
                size: bytes,
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            });
            let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            encoder.copy_buffer_to_buffer(&self.buffer, self.offset, &staging, 0, bytes);
            context.queue().submit([encoder.finish()]);
            staging
        })?;
        context.download(&staging).await
    }

    /// [`read`](Self::read), waiting for it.
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_blocking(&self, context: &Context) -> Result<Vec<f32>> {
        pollster::block_on(self.read(context))
    }

    /// Batch, channels, height, width.
    #[must_use]
    pub fn shape(&self) -> [u32; 4] {
        self.shape
    }

    /// The buffer that holds it.
    #[must_use]
    pub fn buffer(&self) -> &wgpu::Buffer {
        &self.buffer
    }

    /// Where it starts in its buffer, in bytes.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }
}
