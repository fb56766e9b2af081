//! `Context`: a device and its queue, with the pipelines that were made on it.

use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::kernels::Target;
use crate::pipeline::{Pipelines, bind_group_layout};

/// A `wgpu` device with its queue and the pipelines compiled so far.
///
/// A clone is another handle to the same one. It may be shared between threads.
#[derive(Debug, Clone)]
pub struct Context {
    shared: Arc<Shared>,
}

#[derive(Debug, Clone)]
struct Shared {
    device: wgpu::Device,
    queue: wgpu::Queue,
    target: Target,
    runtime_checks: bool,
    zeroed_workgroup_memory: bool,
    layout: wgpu::BindGroupLayout,
    pipelines: Arc<Pipelines>,
    /// Why the device is gone, once it is.
    lost: Arc<Mutex<Option<String>>>,
}

impl Context {
    /// Opens the best adapter: a discrete GPU before an integrated one, a software driver last.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] if there is none; [`Error::NoDevice`] if it does not open.
    pub async fn new() -> Result<Self> {
        let adapters = adapters().await;
        let best = adapters
            .first()
            .ok_or_else(|| Error::NoAdapter { reason: "no Vulkan, Metal or DX12 driver answered".to_owned() })?;
        Self::from_adapter(best).await
    }

    /// [`new`](Self::new), waiting for it.
    ///
    /// # Errors
    /// Those of [`new`](Self::new).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn new_blocking() -> Result<Self> {
        pollster::block_on(Self::new())
    }

    /// Opens a device on this adapter, with all its limits, and with timestamp queries where it has them.
    ///
    /// # Errors
    /// [`Error::NoDevice`] if it does not open.
    pub async fn from_adapter(adapter: &wgpu::Adapter) -> Result<Self> {
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("sepconv"),
            required_features: adapter.features() & wgpu::Features::TIMESTAMP_QUERY,
            required_limits: adapter.limits(),
            ..Default::default()
        };
        let opened = adapter.request_device(&descriptor).await;
        let (device, queue) = opened.map_err(|error| Error::NoDevice { reason: error.to_string() })?;
        let context = Self::from_wgpu(device, queue)?;
        let lost = context.shared.lost.clone();
        context.device().set_device_lost_callback(move |reason, message| {
            *lost.lock().unwrap_or_else(PoisonError::into_inner) = Some(format!("{reason:?}: {message}"));
        });
        Ok(context)
    }

    /// Uses a device that the caller owns, as it is: its features, its limits, its callbacks.
    ///
    /// Call it once for a device and clone the context: tensors of one context are refused by any other.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if a limit of the device is below what the kernels take, by the limit's name.
    pub fn from_wgpu(device: wgpu::Device, queue: wgpu::Queue) -> Result<Self> {
        let target =
            Target { limits: device.limits(), software: device.adapter_info().device_type == wgpu::DeviceType::Cpu };
        target.check()?;
        let shared = Shared {
            target,
            runtime_checks: false,
            zeroed_workgroup_memory: false,
            layout: bind_group_layout(&device),
            pipelines: Arc::default(),
            lost: Arc::default(),
            device,
            queue,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The same device with bounds, division and loop checks compiled into every kernel from now on, or not.
    /// Default off: this library checks all sizes before it runs anything.
    #[must_use]
    pub fn with_runtime_checks(&self, runtime_checks: bool) -> Self {
        self.with(|shared| (shared.runtime_checks, shared.pipelines) = (runtime_checks, Arc::default()))
    }

    /// The same device with workgroup memory set to zero before every kernel from now on, or not. Default off: no
    /// kernel reads workgroup memory that it has not written.
    #[must_use]
    pub fn with_zeroed_workgroup_memory(&self, zeroed: bool) -> Self {
        self.with(|shared| (shared.zeroed_workgroup_memory, shared.pipelines) = (zeroed, Arc::default()))
    }

    /// The same device, planned for as a processor that runs shaders in software, or as a GPU: see
    /// [`Target::software`]. Default what the device says it is.
    #[must_use]
    pub fn with_software(&self, software: bool) -> Self {
        self.with(|shared| shared.target.software = software)
    }

    fn with(&self, change: impl FnOnce(&mut Shared)) -> Self {
        let mut shared = Shared::clone(&self.shared);
        change(&mut shared);
        Self { shared: Arc::new(shared) }
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &wgpu::Device {
        &self.shared.device
    }

    /// Its queue.
    #[must_use]
    pub fn queue(&self) -> &wgpu::Queue {
        &self.shared.queue
    }

    /// What plans are made for: the device's limits, and whether it is one in software.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.shared.target
    }

    /// The limits that plans keep to.
    #[must_use]
    pub fn limits(&self) -> &wgpu::Limits {
        &self.shared.target.limits
    }

    /// Which adapter, driver and backend the device is on.
    #[must_use]
    pub fn adapter_info(&self) -> wgpu::AdapterInfo {
        self.shared.device.adapter_info()
    }

    /// Why the device is gone, if it is: then every call fails and a new context is needed.
    #[must_use]
    pub fn lost(&self) -> Option<String> {
        self.shared.lost.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether this is the other one, a clone of it, or made of it by [`with_runtime_checks`](Self::with_runtime_checks).
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        // Handles of devices cannot be compared: two devices of different instances may have the same id.
        Arc::ptr_eq(&self.shared.lost, &other.shared.lost)
    }

    pub(crate) fn runtime_checks(&self) -> bool {
        self.shared.runtime_checks
    }

    pub(crate) fn zeroed_workgroup_memory(&self) -> bool {
        self.shared.zeroed_workgroup_memory
    }

    pub(crate) fn bind_group_layout(&self) -> &wgpu::BindGroupLayout {
        &self.shared.layout
    }

    pub(crate) fn pipelines(&self) -> &Pipelines {
        &self.shared.pipelines
    }

    /// An error if the device is known to be gone.
    pub(crate) fn check_alive(&self) -> Result<()> {
        self.lost().map_or(Ok(()), |reason| Err(Error::DeviceLost { reason }))
    }

    /// Marks the device as gone and returns the error that says so.
    pub(crate) fn mark_lost(&self, reason: String) -> Error {
        // A poll lets the device-lost callback speak first: it knows the driver's reason.
        #[cfg(not(target_arch = "wasm32"))]
        let _ = self.device().poll(wgpu::PollType::Poll);
        let mut lost = self.shared.lost.lock().unwrap_or_else(PoisonError::into_inner);
        let reason = lost.get_or_insert(reason).clone();
        Error::DeviceLost { reason }
    }

    /// Whether the device can no longer be used. No error scope hears of a lost device, but a buffer that it is asked
    /// for has no memory.
    #[cfg(not(target_arch = "wasm32"))]
    fn is_gone(&self) -> bool {
        let buffer = self.device().create_buffer(&wgpu::BufferDescriptor {
            label: Some("sepconv probe"),
            size: wgpu::COPY_BUFFER_ALIGNMENT,
            usage: wgpu::BufferUsages::MAP_WRITE,
            mapped_at_creation: true,
        });
        buffer.slice(..).get_mapped_range_mut().is_err()
    }

    /// Runs calls on the device and turns what the device says of them into an error, where it would else panic.
    ///
    /// `argument` and `bytes` say what is being made. In a browser the device answers later: there the calls are
    /// made unguarded, the browser logs what it refuses, and reading the result fails.
    pub(crate) fn guarded<T>(&self, argument: &'static str, bytes: u64, calls: impl FnOnce() -> T) -> Result<T> {
        self.check_alive()?;
        #[cfg(target_arch = "wasm32")]
        {
            let _ = (argument, bytes);
            Ok(calls())
        }
        #[cfg(not(target_arch = "wasm32"))]
        {
            let device = self.device();
            let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
            let internal = device.push_error_scope(wgpu::ErrorFilter::Internal);
            let validation = device.push_error_scope(wgpu::ErrorFilter::Validation);
            let value = calls();
            let gone = self.is_gone();
            // The scopes are popped in reverse order, each before any of them is looked at.
            let errors = [validation.pop(), internal.pop(), memory.pop()].map(pollster::block_on);
            match errors.into_iter().flatten().next() {
                None if gone => Err(self.mark_lost("it has no memory for any buffer".to_owned())),
                None => Ok(value),
                Some(wgpu::Error::OutOfMemory { .. }) => Err(Error::OutOfMemory { argument, bytes }),
                Some(error) => Err(Error::Device { operation: argument, reason: error.to_string() }),
            }
        }
    }
}

/// Every adapter that can run this library's shaders, best first.
pub async fn adapters() -> Vec<wgpu::Adapter> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let mut adapters = instance.enumerate_adapters(wgpu::Backends::PRIMARY).await;
    adapters.retain(|adapter| adapter.get_info().backend != wgpu::Backend::Noop);
    adapters.sort_by_key(|adapter| match adapter.get_info().device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    });
    adapters
}
