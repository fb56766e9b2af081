//! `Context`: a device and its queue, with the pipelines that were made on it.
#![cfg_attr(
    target_arch = "wasm32",
    expect(clippy::arc_with_non_send_sync, reason = "a browser's handles stay in their thread")
)]

use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::kernels::Target;
use crate::pipeline::Pipelines;
use crate::tuning::Tuning;

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
    tuning: Arc<Tuning>,
    zeroed_workgroup_memory: bool,
    pipelines: Arc<Pipelines>,
    health: Arc<Health>,
}

/// What the device has said of itself between calls.
#[derive(Debug, Default)]
struct Health {
    /// Why it is gone, once it is.
    lost: Mutex<Option<String>>,
    /// What it refused after the call had returned, as a browser's does, until a call reports it.
    refused: Mutex<Option<String>>,
}

fn lock(words: &Mutex<Option<String>>) -> std::sync::MutexGuard<'_, Option<String>> {
    // Words are whole after any panic.
    words.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Context {
    /// Opens the best adapter: a discrete GPU before an integrated one, a software driver last.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] if there is none; [`Error::NoDevice`] if it does not open.
    pub async fn new() -> Result<Self> {
        let adapters = adapters().await;
        let reason = if cfg!(target_arch = "wasm32") {
            "this browser gives no WebGPU adapter"
        } else {
            "no Vulkan, Metal or DX12 driver answered"
        };
        let best = adapters.first().ok_or_else(|| Error::NoAdapter { reason: reason.to_owned() })?;
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

    /// Opens a device on this adapter, with all its limits, and with timestamp queries, subgroups, 64-bit integers in
    /// shaders and pipeline caches where it has them.
    ///
    /// # Errors
    /// [`Error::NoDevice`] if it does not open.
    pub async fn from_adapter(adapter: &wgpu::Adapter) -> Result<Self> {
        let wanted = wgpu::Features::TIMESTAMP_QUERY
            | wgpu::Features::SUBGROUP
            | wgpu::Features::SHADER_INT64
            | wgpu::Features::PIPELINE_CACHE;
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("sepconv"),
            required_features: adapter.features() & wanted,
            required_limits: adapter.limits(),
            ..Default::default()
        };
        let opened = adapter.request_device(&descriptor).await;
        let (device, queue) = opened.map_err(|error| Error::NoDevice { reason: error.to_string() })?;
        let context = Self::from_wgpu(device, queue)?;
        let health = context.shared.health.clone();
        context.device().set_device_lost_callback(move |reason, message| {
            *lock(&health.lost) = Some(format!("{reason:?}: {message}"));
        });
        #[cfg(target_arch = "wasm32")]
        {
            let health = context.shared.health.clone();
            context.device().on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
                lock(&health.refused).get_or_insert(error.to_string());
            }));
        }
        Ok(context)
    }

    /// Uses a device that the caller owns, as it is: its features, its limits, its callbacks.
    ///
    /// Call it once for a device and clone the context: tensors of one context are refused by any other.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if a limit of the device is below what the kernels take, by the limit's name.
    pub fn from_wgpu(device: wgpu::Device, queue: wgpu::Queue) -> Result<Self> {
        let target = Target::from(&device);
        target.check()?;
        let shared = Shared {
            target,
            runtime_checks: false,
            tuning: Arc::new(Tuning::new(&device.adapter_info())),
            zeroed_workgroup_memory: false,
            pipelines: Arc::default(),
            health: Arc::default(),
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

    /// The same device, with layers planned as this table says. Default an empty table.
    ///
    /// A table of another device, driver or version of this crate says nothing: then this is with an empty one.
    #[must_use]
    pub fn with_tuning(&self, tuning: Tuning) -> Self {
        let info = self.adapter_info();
        let own = if tuning.is_for(&info) { tuning } else { Tuning::new(&info) };
        self.with(|shared| shared.tuning = Arc::new(own))
    }

    /// The same device, compiling with what its driver remembers of an earlier run: what
    /// [`pipeline_cache_data`](Self::pipeline_cache_data) returned then, or nothing yet. Bytes that are not whole, or of
    /// another device or driver, are ignored. So is all of it on a device without [`wgpu::Features::PIPELINE_CACHE`].
    ///
    /// The driver runs what it remembers: keep the bytes where nobody else can write, as you would a program.
    #[must_use]
    pub fn with_pipeline_cache(&self, data: Option<&[u8]>) -> Self {
        if !self.device().features().contains(wgpu::Features::PIPELINE_CACHE) {
            return self.clone();
        }
        self.with(|shared| shared.pipelines = Arc::new(Pipelines::with_cache(self, data)))
    }

    /// What the driver remembers of the pipelines compiled so far, to be kept for a later run; none unless this context
    /// was made by [`with_pipeline_cache`](Self::with_pipeline_cache) on a device that has such caches.
    #[must_use]
    pub fn pipeline_cache_data(&self) -> Option<Vec<u8>> {
        self.shared.pipelines.data()
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

    /// The table that layers are planned by.
    #[must_use]
    pub fn tuning(&self) -> &Tuning {
        &self.shared.tuning
    }

    /// Which adapter, driver and backend the device is on.
    #[must_use]
    pub fn adapter_info(&self) -> wgpu::AdapterInfo {
        self.shared.device.adapter_info()
    }

    /// Why the device is gone, if it is: then every call fails and a new context is needed.
    #[must_use]
    pub fn lost(&self) -> Option<String> {
        lock(&self.shared.health.lost).clone()
    }

    /// Waits until the device has done all that was submitted to it.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] if the device is gone. In a browser, where a device opened by this library answers only
    /// after a call has returned, also [`Error::Device`] with what it refused since.
    pub async fn wait(&self) -> Result<()> {
        let (sender, receiver) = futures_intrusive::channel::shared::oneshot_channel();
        self.queue().on_submitted_work_done(move || {
            // The receiver lives until it has received; nobody is told if it does not.
            let _ = sender.send(());
        });
        self.block()?;
        receiver.receive().await;
        self.check_alive()
    }

    /// Copies out what a mappable buffer holds once the device is done with it.
    pub(crate) async fn download<T: bytemuck::Pod>(&self, buffer: &wgpu::Buffer) -> Result<Vec<T>> {
        let (sender, receiver) = futures_intrusive::channel::shared::oneshot_channel();
        buffer.slice(..).map_async(wgpu::MapMode::Read, move |result| {
            // The receiver lives until it has received; nobody is told if it does not.
            let _ = sender.send(result);
        });
        self.block()?;
        let lost = |reason: String| self.mark_lost(reason);
        receiver
            .receive()
            .await
            .ok_or_else(|| lost("a read-back was dropped".to_owned()))?
            .map_err(|error| lost(error.to_string()))?;
        let view = buffer.slice(..).get_mapped_range().map_err(|error| lost(error.to_string()))?;
        let values = bytemuck::pod_collect_to_vec(&view);
        drop(view);
        buffer.unmap();
        self.check_alive()?;
        Ok(values)
    }

    /// Blocks until the device has answered all calls; does nothing in a browser, where the answers come by themselves.
    #[cfg_attr(target_arch = "wasm32", expect(clippy::unnecessary_wraps, clippy::unused_self))]
    fn block(&self) -> Result<()> {
        #[cfg(not(target_arch = "wasm32"))]
        if let Err(error) = self.device().poll(wgpu::PollType::wait_indefinitely()) {
            return Err(self.mark_lost(error.to_string()));
        }
        Ok(())
    }

    /// Whether this is the other one, a clone of it, or made of it by [`with_runtime_checks`](Self::with_runtime_checks).
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        // Handles of devices cannot be compared: two devices of different instances may have the same id.
        Arc::ptr_eq(&self.shared.health, &other.shared.health)
    }

    pub(crate) fn runtime_checks(&self) -> bool {
        self.shared.runtime_checks
    }

    pub(crate) fn zeroed_workgroup_memory(&self) -> bool {
        self.shared.zeroed_workgroup_memory
    }

    pub(crate) fn pipelines(&self) -> &Pipelines {
        &self.shared.pipelines
    }

    /// An error if the device is known to be gone, or to have refused something since the last call.
    pub(crate) fn check_alive(&self) -> Result<()> {
        if let Some(reason) = self.lost() {
            return Err(Error::DeviceLost { reason });
        }
        let refused = lock(&self.shared.health.refused).take();
        refused.map_or(Ok(()), |reason| Err(Error::Device { operation: "an earlier call", reason }))
    }

    /// Marks the device as gone and returns the error that says so.
    pub(crate) fn mark_lost(&self, reason: String) -> Error {
        // A poll lets the device-lost callback speak first: it knows the driver's reason.
        #[cfg(not(target_arch = "wasm32"))]
        let _ = self.device().poll(wgpu::PollType::Poll);
        let mut lost = lock(&self.shared.health.lost);
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
    /// `argument` and `bytes` say what is being made. In a browser the device answers later: there the next call
    /// fails, at the latest [`wait`](Self::wait) or reading the result.
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
