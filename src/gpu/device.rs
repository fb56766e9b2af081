//! `Device`: a `wgpu` device and its queue, with the pipelines that were made on it, its errors and its loss.
#![cfg_attr(
    target_arch = "wasm32",
    expect(clippy::arc_with_non_send_sync, reason = "a browser's handles stay in their thread")
)]

use std::sync::{Arc, Mutex, PoisonError};

use super::pipelines::{PipelineCache, Pipelines};
use crate::dtype::DType;
use crate::error::{Error, Result};

/// A `wgpu` device with its queue and the pipelines compiled so far. Tensors, timing and measurements take it. A
/// [`Context`](crate::Context) makes it, and may be passed wherever one is wanted.
///
/// A clone is another handle to the same device. Threads may share it.
#[derive(Debug, Clone)]
pub struct Device {
    shared: Arc<Shared>,
}

#[derive(Debug, Clone)]
struct Shared {
    device: wgpu::Device,
    queue: wgpu::Queue,
    limits: wgpu::Limits,
    /// What the tensors hold that are made with it.
    dtype: DType,
    runtime_checks: bool,
    zeroed_workgroup_memory: bool,
    pipelines: Arc<Pipelines>,
    /// What the driver keeps of them, if it was asked to.
    cache: Option<Arc<PipelineCache>>,
    health: Arc<Health>,
}

/// What the device has said of itself between calls.
#[derive(Debug, Default)]
struct Health {
    /// Why it is gone, once it is.
    lost: Mutex<Option<String>>,
    /// What it refused after the call had returned, as a browser's device does. The next call reports it.
    refused: Mutex<Option<String>>,
}

/// Who waits for the device, where somebody has to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wait {
    /// The calling thread: the quickest.
    InPlace,
    /// A thread of its own, so that an executor's thread is free.
    Aside,
}

/// Whether a buffer is surely not mapped. There is no other question for it: a view that is held hinders another one.
#[cfg(not(target_arch = "wasm32"))]
fn is_unmapped(buffer: &wgpu::Buffer) -> bool {
    buffer.slice(..).get_mapped_range().is_err_and(|error| error.to_string().contains("Buffer is not mapped"))
}

fn lock(words: &Mutex<Option<String>>) -> std::sync::MutexGuard<'_, Option<String>> {
    // A panic leaves the words whole.
    words.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Device {
    /// Opens a device on this adapter, with all its limits, and with timestamp queries, subgroups, 64-bit integers and
    /// 16-bit numbers in shaders and pipeline caches where it has them.
    pub(crate) async fn open(adapter: &wgpu::Adapter) -> Result<Self> {
        let wanted = wgpu::Features::TIMESTAMP_QUERY
            | wgpu::Features::SUBGROUP
            | wgpu::Features::SHADER_INT64
            | wgpu::Features::SHADER_F16
            | wgpu::Features::PIPELINE_CACHE;
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("sepconv"),
            required_features: adapter.features() & wanted,
            required_limits: adapter.limits(),
            ..Default::default()
        };
        let opened = adapter.request_device(&descriptor).await;
        let (device, queue) = opened.map_err(|error| Error::NoDevice { reason: error.to_string() })?;
        let own = Self::from_wgpu(device, queue);
        let health = own.shared.health.clone();
        own.device().set_device_lost_callback(move |reason, message| {
            *lock(&health.lost) = Some(format!("{reason:?}: {message}"));
        });
        #[cfg(target_arch = "wasm32")]
        {
            let health = own.shared.health.clone();
            own.device().on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
                lock(&health.refused).get_or_insert(error.to_string());
            }));
        }
        Ok(own)
    }

    /// A device that the caller owns, as it is.
    pub(crate) fn from_wgpu(device: wgpu::Device, queue: wgpu::Queue) -> Self {
        let shared = Shared {
            limits: device.limits(),
            dtype: DType::F32,
            runtime_checks: false,
            zeroed_workgroup_memory: false,
            pipelines: Arc::default(),
            cache: None,
            health: Arc::default(),
            device,
            queue,
        };
        Self { shared: Arc::new(shared) }
    }

    pub(crate) fn with_dtype(&self, dtype: DType) -> Self {
        self.with(|shared| shared.dtype = dtype)
    }

    pub(crate) fn with_runtime_checks(&self, runtime_checks: bool) -> Self {
        self.with(|shared| (shared.runtime_checks, shared.pipelines) = (runtime_checks, Arc::default()))
    }

    pub(crate) fn with_zeroed_workgroup_memory(&self, zeroed: bool) -> Self {
        self.with(|shared| (shared.zeroed_workgroup_memory, shared.pipelines) = (zeroed, Arc::default()))
    }

    pub(crate) fn with_pipeline_cache(&self, data: Option<&[u8]>) -> Self {
        if !self.device().features().contains(wgpu::Features::PIPELINE_CACHE) {
            return self.clone();
        }
        let create = |data| self.guarded("a pipeline cache", 0, || PipelineCache::new(self.device(), data)).ok();
        // Bytes that the driver refuses are as good as none.
        let cache = create(data).or_else(|| create(None));
        self.with(|shared| (shared.cache, shared.pipelines) = (cache.map(Arc::new), Arc::default()))
    }

    pub(crate) fn pipeline_cache(&self) -> Option<&PipelineCache> {
        self.shared.cache.as_deref()
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

    /// Its limits.
    #[must_use]
    pub fn limits(&self) -> &wgpu::Limits {
        &self.shared.limits
    }

    /// What the tensors hold that are made with it: see [`Context::with_dtype`](crate::Context::with_dtype).
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.shared.dtype
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

    /// Waits until the device has done all that was submitted to it before this call. No thread is blocked, unless the
    /// driver blocks in the submission itself, as llvmpipe does. Natively, where somebody has to ask the driver, a thread
    /// of its own does that until the device is done; callbacks of yours may run on it.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] if the device is gone. In a browser, a device that this library opened answers only after
    /// a call has returned: there also [`Error::Device`], with what it has refused since.
    pub async fn wait(&self) -> Result<()> {
        self.wait_by(Wait::Aside).await
    }

    /// [`wait`](Self::wait), blocking this thread.
    ///
    /// # Errors
    /// Those of [`wait`](Self::wait).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn wait_blocking(&self) -> Result<()> {
        pollster::block_on(self.wait_by(Wait::InPlace))
    }

    /// An empty submission is behind all that came before it. A callback would not do: it may be that of a submission
    /// which another thread has made meanwhile, and then nobody asks the driver for it.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) async fn wait_by(&self, wait: Wait) -> Result<()> {
        let submission = self.guarded("a wait", 0, || self.queue().submit([]))?;
        self.wait_for(submission, wait).await
    }

    /// Waits until the device is done with this submission.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) async fn wait_for(&self, submission: wgpu::SubmissionIndex, wait: Wait) -> Result<()> {
        self.reach(submission, wait).await?;
        self.check_alive()
    }

    /// A browser does not say when it is done with one submission: it is with all so far.
    #[cfg(target_arch = "wasm32")]
    pub(crate) async fn wait_for(&self, _: wgpu::SubmissionIndex, wait: Wait) -> Result<()> {
        self.wait_by(wait).await
    }

    #[cfg(target_arch = "wasm32")]
    pub(crate) async fn wait_by(&self, _: Wait) -> Result<()> {
        let (sender, receiver) = futures_intrusive::channel::shared::oneshot_channel();
        self.queue().on_submitted_work_done(move || {
            // The receiver lives until it has received. If it is gone, nobody waits for this.
            let _ = sender.send(());
        });
        receiver.receive().await;
        self.check_alive()
    }

    /// Copies out what a mappable buffer holds once the device is done with this submission.
    pub(crate) async fn download<T: bytemuck::Pod>(
        &self,
        buffer: &wgpu::Buffer,
        submission: wgpu::SubmissionIndex,
        wait: Wait,
    ) -> Result<Vec<T>> {
        let (sender, receiver) = futures_intrusive::channel::shared::oneshot_channel();
        buffer.slice(..).map_async(wgpu::MapMode::Read, move |result| {
            // The receiver lives until it has received. If it is gone, nobody waits for this.
            let _ = sender.send(result);
        });
        self.reach(submission, wait).await?;
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

    /// Waits until the device is done with a submission, and has answered the calls that wait for it. In a browser the
    /// answers come by themselves.
    #[cfg(target_arch = "wasm32")]
    #[expect(clippy::unused_async, clippy::unused_self)]
    async fn reach(&self, _: wgpu::SubmissionIndex, _: Wait) -> Result<()> {
        Ok(())
    }

    #[cfg(not(target_arch = "wasm32"))]
    async fn reach(&self, submission: wgpu::SubmissionIndex, wait: Wait) -> Result<()> {
        let poll = wgpu::PollType::Wait { submission_index: Some(submission), timeout: None };
        let polled = match wait {
            Wait::InPlace => self.device().poll(poll),
            Wait::Aside => {
                let (sender, receiver) = futures_intrusive::channel::shared::oneshot_channel();
                let (device, aside) = (self.device().clone(), poll.clone());
                let thread = std::thread::Builder::new().name("sepconv wait".to_owned());
                let spawned = thread.spawn(move || {
                    // If nobody waits any more, nobody needs the answer.
                    let _ = sender.send(device.poll(aside));
                });
                match spawned {
                    Ok(thread) => match receiver.receive().await {
                        Some(polled) => polled,
                        // A callback of the caller's panicked there: it is the caller's panic.
                        None => std::panic::resume_unwind(thread.join().expect_err("it did not send")),
                    },
                    // There are no more threads to be had.
                    Err(_) => self.device().poll(poll),
                }
            }
        };
        polled.map(drop).map_err(|error| self.mark_lost(error.to_string()))
    }

    /// Whether a buffer is of this device. Handles cannot be compared: two devices of different instances may have
    /// the same id. But a buffer tells its own device what it objects to.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn owns(&self, buffer: &wgpu::Buffer) -> Result<bool> {
        let mappable = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::MAP_WRITE;
        // Only a buffer that is not mapped may be asked: another must stay as it is, whatever views there are of it.
        if buffer.usage().intersects(mappable) || !is_unmapped(buffer) {
            return Ok(true);
        }
        self.check_usable("a buffer")?;
        let scope = self.device().push_error_scope(wgpu::ErrorFilter::Validation);
        // It is not mapped, so this does nothing but object.
        buffer.unmap();
        Ok(pollster::block_on(scope.pop()).is_some())
    }

    /// Whether both are one device: the same handle, a clone of it, or one made from it with other checks.
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

    /// Whether the device can no longer be used. A buffer that it is asked for then has no memory, and no error scope
    /// hears of it. If one does, the memory is full and the device is well.
    #[cfg(not(target_arch = "wasm32"))]
    fn is_gone(&self) -> bool {
        let memory = self.device().push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let buffer = self.device().create_buffer(&wgpu::BufferDescriptor {
            label: Some("sepconv probe"),
            size: wgpu::COPY_BUFFER_ALIGNMENT,
            usage: wgpu::BufferUsages::MAP_WRITE,
            mapped_at_creation: true,
        });
        let has_none = buffer.slice(..).get_mapped_range_mut().is_err();
        pollster::block_on(memory.pop()).is_none() && has_none
    }

    /// An error if the device can no longer be used, whatever is asked of it next.
    pub(crate) fn check_usable(&self, argument: &'static str) -> Result<()> {
        self.guarded(argument, 0, || ())
    }

    /// Runs calls on the device, and turns what the device objects to into an error. Otherwise `wgpu` would panic.
    ///
    /// `argument` and `bytes` say what is being made. In a browser the device answers later: there the next call fails,
    /// at the latest [`wait`](Self::wait) or reading the result.
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
            // All scopes are popped, in reverse order, before any of them is looked at.
            let errors = [validation.pop(), internal.pop(), memory.pop()].map(pollster::block_on);
            match errors.into_iter().flatten().next() {
                _ if gone => Err(self.mark_lost("it was destroyed or lost: it makes no more buffers".to_owned())),
                None => Ok(value),
                Some(wgpu::Error::OutOfMemory { .. }) => Err(Error::OutOfMemory { argument, bytes }),
                Some(error) => Err(Error::Device { operation: argument, reason: error.to_string() }),
            }
        }
    }
}
