//! `Workspace`: the memory of what lies between a program's steps.

use super::device::Device;
use crate::error::{Error, Result};

/// Memory for what lies between the steps of a run. Layers that run one after another may share one.
///
/// Two runs never meet in it, in one submission or in two: the queue runs them in turn.
#[derive(Debug, Clone)]
pub struct Workspace {
    device: Device,
    arenas: Vec<wgpu::Buffer>,
}

impl Workspace {
    /// Arenas of these sizes, in bytes.
    pub(crate) fn of_sizes(device: &Device, sizes: &[u64]) -> Result<Self> {
        let maximum = device.limits().max_buffer_size;
        let arena = |bytes: u64| {
            if bytes > maximum {
                return Err(Error::Limit { argument: "workspace", bytes, limit: "max_buffer_size", maximum });
            }
            device.guarded("workspace", bytes, || {
                device.device().create_buffer(&wgpu::BufferDescriptor {
                    label: Some("sepconv workspace"),
                    size: bytes,
                    usage: wgpu::BufferUsages::STORAGE,
                    mapped_at_creation: false,
                })
            })
        };
        let arenas = sizes.iter().copied().map(arena).collect::<Result<_>>()?;
        Ok(Self { device: device.clone(), arenas })
    }

    /// Its size in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.arenas.iter().map(wgpu::Buffer::size).sum()
    }

    /// Its arenas, if they are of this device and large enough.
    pub(crate) fn arenas(&self, device: &Device, needed: &[u64]) -> Result<&[wgpu::Buffer]> {
        let argument = "workspace";
        if !self.device.is_same(device) {
            return Err(Error::OtherContext { argument });
        }
        let sizes = self.arenas.iter().map(wgpu::Buffer::size).chain(std::iter::repeat(0));
        match needed.iter().copied().zip(sizes).find(|(end, size)| end > size) {
            Some((end, size)) => Err(Error::OutsideBuffer { argument, end, size }),
            None => Ok(&self.arenas),
        }
    }
}
