//! `Tensor`: a stretch of a storage buffer with a shape.

use super::device::{Device, Wait};
use crate::dtype::{DType, widen};
use crate::error::{Error, Result};
use crate::size::{MAXIMUM_EXTENT, check_range, element_count, extent, values};

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

/// Values in NCHW order in a buffer on the device: `f32`, or those of the context that it is made with
/// ([`Context::with_dtype`](crate::Context::with_dtype)). A clone is another handle to the same memory.
#[derive(Debug, Clone)]
pub struct Tensor {
    buffer: wgpu::Buffer,
    offset: u64,
    shape: [u32; 4],
    dtype: DType,
    device: Device,
}

/// What the buffers that this library makes may be used for.
const USAGE: wgpu::BufferUsages =
    wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_SRC).union(wgpu::BufferUsages::COPY_DST);

/// The values that a shape takes, if their bytes are below 2⁶³. The batch may be 0, the other sizes may not.
fn length([batch, sizes @ ..]: [u32; 4]) -> Result<u64> {
    check_range("tensor size", batch.into(), 0, MAXIMUM_EXTENT)?;
    for size in sizes {
        extent("tensor size", size.into())?;
    }
    let [channels, height, width] = sizes;
    element_count("tensor", [batch, channels, height, width])
}

fn check_length(given: usize, shape: [u32; 4]) -> Result<()> {
    let (expected, length) = (length(shape)?, given);
    if length as u64 == expected { Ok(()) } else { Err(Error::Length { argument: "tensor", length, shape, expected }) }
}

impl Tensor {
    /// Uploads values to a buffer of their own.
    ///
    /// # Errors
    /// [`Error::Length`] if there are not as many as the shape takes; otherwise as [`zeros`](Self::zeros).
    pub fn from_slice(device: &Device, shape: impl Into<Shape>, values: &[f32]) -> Result<Self> {
        let Shape(shape) = shape.into();
        check_length(values.len(), shape)?;
        Self::allocate(device, shape, values)
    }

    /// A tensor of zeros in a buffer of its own.
    ///
    /// # Errors
    /// [`Error::Overflow`] or [`Error::Limit`] if the shape is too large, [`Error::OutOfMemory`] if the device has no
    /// room for it, [`Error::DeviceLost`] if the device is gone.
    pub fn zeros(device: &Device, shape: impl Into<Shape>) -> Result<Self> {
        Self::allocate(device, shape.into().0, &[])
    }

    /// A tensor in the caller's buffer, starting at a byte offset that is a multiple of 4. It takes a multiple of 4 bytes, so
    /// that the two after an odd number of `f16` values belong to it.
    ///
    /// # Errors
    /// [`Error::Misaligned`], [`Error::OutsideBuffer`], [`Error::Usage`] if the buffer has no `STORAGE` usage, or
    /// [`Error::OtherContext`] if it is another device's and that device has a handler of its own for uncaptured errors
    /// (without one: see below). A buffer that is or may be mapped is not asked whose it is, and neither is any in a
    /// browser, which refuses another device's when it is bound.
    ///
    /// # Panics
    /// The question is an error of the buffer's own device. If that is another one, `wgpu` hands it to the handler of
    /// that device's uncaptured errors, and the one that it brings panics.
    pub fn from_buffer(device: &Device, buffer: &wgpu::Buffer, offset: u64, shape: impl Into<Shape>) -> Result<Self> {
        let Shape(shape) = shape.into();
        let dtype = device.dtype();
        let bytes = dtype.bytes_of(length(shape)?);
        if !offset.is_multiple_of(4) {
            return Err(Error::Misaligned { argument: "tensor", offset, alignment: 4 });
        }
        let end = offset.saturating_add(bytes);
        if end > buffer.size() {
            return Err(Error::OutsideBuffer { argument: "tensor", end, size: buffer.size() });
        }
        let tensor = Self { buffer: buffer.clone(), offset, shape, dtype, device: device.clone() };
        tensor.check_usage(wgpu::BufferUsages::STORAGE)?;
        #[cfg(not(target_arch = "wasm32"))]
        if !device.owns(buffer)? {
            return Err(Error::OtherContext { argument: "buffer" });
        }
        Ok(tensor)
    }

    /// An error if this is another device's.
    pub(crate) fn check_device(&self, argument: &'static str, device: &Device) -> Result<()> {
        if self.device.is_same(device) { Ok(()) } else { Err(Error::OtherContext { argument }) }
    }

    fn check_usage(&self, usage: wgpu::BufferUsages) -> Result<()> {
        let has = self.buffer.usage().contains(usage);
        if has { Ok(()) } else { Err(Error::Usage { argument: "tensor", usage }) }
    }

    /// A buffer with these values, or of zeros if there are none.
    fn allocate(device: &Device, shape: [u32; 4], data: &[f32]) -> Result<Self> {
        let dtype = device.dtype();
        let bytes = dtype.bytes_of(length(shape)?);
        let maximum = device.limits().max_buffer_size;
        if bytes > maximum {
            return Err(Error::Limit { argument: "tensor", bytes, limit: "max_buffer_size", maximum });
        }
        let descriptor = wgpu::BufferDescriptor {
            label: Some("sepconv tensor"),
            // An empty tensor is never bound, but it has a buffer.
            size: bytes.max(4),
            usage: USAGE,
            mapped_at_creation: !data.is_empty(),
        };
        let buffer = device.guarded("tensor", bytes, || device.device().create_buffer(&descriptor))?;
        if !data.is_empty() {
            let view = buffer.slice(..).get_mapped_range_mut();
            let mut view = view.map_err(|error| device.mark_lost(error.to_string()))?;
            view.copy_from_slice(&dtype.encode(data));
            drop(view);
            buffer.unmap();
        }
        Ok(Self { buffer, offset: 0, shape, dtype, device: device.clone() })
    }

    /// Replaces the values, before whatever is submitted after this call.
    ///
    /// # Errors
    /// [`Error::Length`] if there are not as many as the shape takes; [`Error::Usage`] if a caller's buffer has no
    /// `COPY_DST` usage; [`Error::DeviceLost`] if the device is gone.
    pub fn write(&self, values: &[f32]) -> Result<()> {
        check_length(values.len(), self.shape)?;
        self.check_usage(wgpu::BufferUsages::COPY_DST)?;
        let bytes = self.dtype.encode(values);
        let write = || self.device.queue().write_buffer(&self.buffer, self.offset, &bytes);
        self.device.guarded("a write", bytes.len() as u64, write)
    }

    /// Copies the values back, as they are after all that was submitted before this call. It waits for nothing that is
    /// submitted later, and blocks no thread: see [`Device::wait`].
    ///
    /// # Errors
    /// [`Error::Usage`] if a caller's buffer has no `COPY_SRC` usage; [`Error::OutOfMemory`]; [`Error::DeviceLost`] if
    /// the device is gone.
    pub async fn read(&self) -> Result<Vec<f32>> {
        self.read_by(Wait::Aside).await
    }

    /// [`read`](Self::read), blocking this thread.
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_blocking(&self) -> Result<Vec<f32>> {
        pollster::block_on(self.read_by(Wait::InPlace))
    }

    pub(crate) async fn read_by(&self, wait: Wait) -> Result<Vec<f32>> {
        self.device.check_alive()?;
        self.check_usage(wgpu::BufferUsages::COPY_SRC)?;
        let count = values(self.shape);
        let bytes = self.dtype.bytes_of(count);
        if bytes == 0 {
            return Ok(Vec::new());
        }
        let (staging, submission) = self.device.guarded("read-back", bytes, || {
            let device = self.device.device();
            let staging = device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("sepconv read-back"),
                size: bytes,
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            });
            let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            encoder.copy_buffer_to_buffer(&self.buffer, self.offset, &staging, 0, bytes);
            let submission = self.device.queue().submit([encoder.finish()]);
            (staging, submission)
        })?;
        if self.dtype == DType::F32 {
            return self.device.download(&staging, submission, wait).await;
        }
        let mut values = widen(&self.device.download::<u16>(&staging, submission, wait).await?);
        // What makes an odd number even is no value.
        values.truncate(usize::try_from(count).expect("a count of values in memory"));
        Ok(values)
    }

    /// Batch, channels, height, width.
    #[must_use]
    pub fn shape(&self) -> [u32; 4] {
        self.shape
    }

    /// What its values are.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.dtype
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
