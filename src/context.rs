//! `Context`: a device, and the planner that plans for it.

use std::ops::Deref;
use std::sync::Arc;
#[cfg(not(target_arch = "wasm32"))]
use std::sync::{Mutex, PoisonError};

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::gpu::{Device, Plan};
use crate::kernels;
use crate::layer::Layer;
use crate::planner::Planner;
use crate::target::Target;
use crate::tuning::{Choice, Tuning};

/// A `wgpu` device with its queue, the pipelines compiled so far, and a planner for it. Pass it wherever a [`Device`]
/// is wanted.
///
/// A clone is another handle to the same context. Threads may share it.
#[derive(Debug, Clone)]
pub struct Context {
    device: Device,
    planner: Planner,
    tuning: Arc<Tuning>,
}

impl Deref for Context {
    type Target = Device;

    fn deref(&self) -> &Device {
        &self.device
    }
}

impl Context {
    /// Opens the best adapter that opens: a discrete GPU before an integrated one, a software driver last.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] if there is none, with what each lacks that is there; [`Error::NoDevice`] if none opens,
    /// with the first one's reason.
    pub async fn new() -> Result<Self> {
        let (adapters, refused) = sorted_adapters().await;
        let first = match first_that_opens(&adapters, async |adapter| Self::from_adapter(adapter).await).await {
            Ok(context) => return Ok(context),
            Err(error) => error,
        };
        let answered = if cfg!(target_arch = "wasm32") {
            "this browser gives no WebGPU adapter"
        } else {
            "no Vulkan, Metal or DX12 driver answered"
        };
        let reason = if refused.is_empty() { answered.to_owned() } else { refused.join("; ") };
        Err(first.unwrap_or(Error::NoAdapter { reason }))
    }

    /// [`new`](Self::new), waiting for it.
    ///
    /// # Errors
    /// Those of [`new`](Self::new).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn new_blocking() -> Result<Self> {
        pollster::block_on(Self::new())
    }

    /// Opens a device on this adapter, with all its limits, and with timestamp queries, subgroups, 64-bit integers and
    /// 16-bit numbers in shaders and pipeline caches where it has them.
    ///
    /// # Errors
    /// [`Error::NoDevice`] if it does not open; [`Error::OutOfRange`], which names the limit, if a limit is below what the
    /// kernels need.
    pub async fn from_adapter(adapter: &wgpu::Adapter) -> Result<Self> {
        Self::of(Device::open(adapter).await?)
    }

    /// Uses a device that the caller owns, as it is: its features, its limits, its callbacks.
    ///
    /// Call it once for a device and clone the context: tensors of one context are refused by any other.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], which names the limit, if a limit of the device is below what the kernels need.
    pub fn from_wgpu(device: wgpu::Device, queue: wgpu::Queue) -> Result<Self> {
        Self::of(Device::from_wgpu(device, queue))
    }

    fn of(device: Device) -> Result<Self> {
        let target = Target::from(device.device());
        target.check()?;
        let tuning = Arc::new(Tuning::new(&device.adapter_info()));
        Ok(Self { device, planner: Planner::new(target).with_tuning(tuning.clone()), tuning })
    }

    /// The same device with bounds, division and loop checks compiled into every kernel from now on, or not.
    /// Default off: this library checks all sizes before it runs anything.
    #[must_use]
    pub fn with_runtime_checks(&self, runtime_checks: bool) -> Self {
        Self { device: self.device.with_runtime_checks(runtime_checks), ..self.clone() }
    }

    /// The same device with workgroup memory set to zero before every kernel from now on, or not. Default off: no
    /// kernel reads workgroup memory that it has not written.
    #[must_use]
    pub fn with_zeroed_workgroup_memory(&self, zeroed: bool) -> Self {
        Self { device: self.device.with_zeroed_workgroup_memory(zeroed), ..self.clone() }
    }

    /// The same device, with layers planned as for a processor that runs shaders in software, or as for a GPU: see
    /// [`Target::software`]. Default: what the device says it is.
    #[must_use]
    pub fn with_software(&self, software: bool) -> Self {
        let target = Target { software, ..self.target().clone() };
        Self { planner: self.planner.clone().with_target(target), ..self.clone() }
    }

    /// The same device, with tensors of this type from now on: those that are made with this context, and all of the plans
    /// that it makes. Sums are `f32` in any case. Default: [`DType::F32`].
    ///
    /// Values are given and read as `f32`; each is rounded where it is stored.
    ///
    /// # Errors
    /// [`Error::NoF16`], which names the device, if that was opened without [`wgpu::Features::SHADER_F16`].
    pub fn with_dtype(&self, dtype: DType) -> Result<Self> {
        if dtype == DType::F16 && !self.target().shader_f16 {
            return Err(Error::NoF16 { device: self.adapter_info().name });
        }
        let planner = self.planner.clone().with_target(self.target().of(dtype));
        Ok(Self { device: self.device.with_dtype(dtype), planner, ..self.clone() })
    }

    /// The same device, with loops over constants written out in every shader that is planned from now on, or not: see
    /// [`Planner::with_loops_written_out`].
    #[cfg(feature = "unstable")]
    #[must_use]
    pub fn with_loops_written_out(&self, written_out: bool) -> Self {
        Self { planner: self.planner.clone().with_loops_written_out(written_out), ..self.clone() }
    }

    /// The same device, with layers planned as this table says. Default: an empty table.
    ///
    /// A table for another device, driver or version of this crate is not used: an empty one takes its place.
    #[must_use]
    pub fn with_tuning(&self, tuning: Tuning) -> Self {
        let info = self.adapter_info();
        let own = Arc::new(if tuning.is_for(&info) { tuning } else { Tuning::new(&info) });
        Self { planner: self.planner.clone().with_tuning(own.clone()), tuning: own, ..self.clone() }
    }

    /// The same device, compiling with what its driver kept from an earlier run: what
    /// [`pipeline_cache_data`](Self::pipeline_cache_data) returned then, or `None` the first time. Bytes that are
    /// damaged, or from another device or driver, are ignored. A device without [`wgpu::Features::PIPELINE_CACHE`]
    /// ignores them all.
    ///
    /// The driver runs what it kept: store the bytes where nobody else can write, as you would a program.
    #[must_use]
    pub fn with_pipeline_cache(&self, data: Option<&[u8]>) -> Self {
        Self { device: self.device.with_pipeline_cache(data), ..self.clone() }
    }

    /// What the driver keeps of the pipelines compiled so far, for you to store until a later run. None unless
    /// [`with_pipeline_cache`](Self::with_pipeline_cache) asked for it, on a device that has such caches.
    #[must_use]
    pub fn pipeline_cache_data(&self) -> Option<Vec<u8>> {
        self.device.pipeline_cache()?.data()
    }

    /// What plans are made for: the device's limits, whether it runs shaders in software, what tensors hold.
    #[must_use]
    pub fn target(&self) -> &Target {
        self.planner.target()
    }

    /// The table that layers are planned by.
    #[must_use]
    pub fn tuning(&self) -> &Tuning {
        &self.tuning
    }

    /// The planner of its layers.
    pub(crate) fn planner(&self) -> &Planner {
        &self.planner
    }

    /// Chooses a kernel for a layer and compiles it: the one that the context's [`Tuning`] has for it, or else the one
    /// that seems best.
    ///
    /// # Errors
    /// [`Error::Limit`] if a tensor cannot be cut to the device's limits, [`Error::TooManyDispatches`],
    /// [`Error::Device`] if the device refuses the kernel.
    pub fn plan(&self, layer: impl Into<Layer>) -> Result<Plan> {
        let layer = layer.into();
        layer.check()?;
        Plan::new(&self.device, self.planner.plan(&layer)?)
    }

    /// [`plan`](Self::plan) with this choice, one of those that [`Choice::all`] lists.
    ///
    /// # Errors
    /// Those of [`plan`](Self::plan), and [`Error::Unsupported`] if that kernel cannot compute the layer.
    pub fn plan_with(&self, layer: impl Into<Layer>, choice: Choice) -> Result<Plan> {
        let layer = layer.into();
        layer.check()?;
        Plan::new(&self.device, self.planner.plan_with(&layer, choice)?)
    }
}

/// The methods that plan each kind of layer on a context.
macro_rules! planned {
    ($($layer:ty)*) => {
        $(
            impl $layer {
                /// Checks this layer against an input shape and plans it: [`Context::plan`].
                ///
                /// # Errors
                /// Those of [`geometry`](Self::geometry) and of [`Context::plan`].
                pub fn plan(&self, context: &Context, input_shape: [u32; 4]) -> Result<Plan> {
                    context.plan(self.geometry(input_shape)?)
                }

                /// [`plan`](Self::plan) with the kernel of this name.
                ///
                /// # Errors
                /// Those of [`plan`](Self::plan), [`Error::UnknownKernel`], and [`Error::Unsupported`] if that kernel
                /// cannot compute the layer.
                pub fn plan_with_kernel(&self, context: &Context, input_shape: [u32; 4], kernel: &str) -> Result<Plan> {
                    let geometry = self.geometry(input_shape)?;
                    context.plan_with(geometry, Choice::new(kernels::by_name(kernel)?, 0))
                }

                /// [`plan`](Self::plan) with this choice, one of those that [`Choice::all`] lists.
                ///
                /// # Errors
                /// Those of [`plan`](Self::plan), and [`Error::Unsupported`] if that kernel cannot compute the layer.
                pub fn plan_with_choice(
                    &self,
                    context: &Context,
                    input_shape: [u32; 4],
                    choice: Choice,
                ) -> Result<Plan> {
                    context.plan_with(self.geometry(input_shape)?, choice)
                }
            }
        )*
    };
}

planned! {
    crate::conv::Conv2d
    crate::separable::SeparableConv2d
    crate::pool::MaxPool2d
    crate::pool::AveragePool2d
}

/// Every adapter that can run this library's shaders, best first.
pub async fn adapters() -> Vec<wgpu::Adapter> {
    sorted_adapters().await.0
}

/// The adapters that can run the shaders, best first, and of each other one what it lacks.
async fn sorted_adapters() -> (Vec<wgpu::Adapter>, Vec<String>) {
    let found = instance().enumerate_adapters(wgpu::Backends::PRIMARY).await;
    let real = found.into_iter().filter(|adapter| adapter.get_info().backend != wgpu::Backend::Noop);
    able(real.map(|adapter| (adapter.get_info(), Target::from(&adapter), adapter)))
}

/// One for all contexts of a process: NVIDIA's driver on Linux (580) refuses to be loaded for about the thirtieth time. After a fork
/// a driver's threads are missing in the child, which gets another one and leaves its parent's alone.
#[cfg(not(target_arch = "wasm32"))]
fn instance() -> wgpu::Instance {
    static KEPT: Mutex<Option<(u32, wgpu::Instance)>> = Mutex::new(None);
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let own = std::process::id();
    if let Some((process, instance)) = &*kept
        && *process == own
    {
        return instance.clone();
    }
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    std::mem::forget(kept.replace((own, instance.clone())));
    instance
}

/// In a browser it may not leave its thread.
#[cfg(target_arch = "wasm32")]
fn instance() -> wgpu::Instance {
    wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle())
}

/// The first of these that opens, or else why the first did not, if there is one.
async fn first_that_opens<A, T>(adapters: &[A], open: impl AsyncFn(&A) -> Result<T>) -> Result<T, Option<Error>> {
    let mut first = None;
    for adapter in adapters {
        match open(adapter).await {
            Ok(opened) => return Ok(opened),
            Err(error) => first = first.or(Some(error)),
        }
    }
    Err(first)
}

/// Sorts what can run the shaders, and says of the rest why it cannot.
fn able<A>(found: impl Iterator<Item = (wgpu::AdapterInfo, Target, A)>) -> (Vec<A>, Vec<String>) {
    let (mut taken, mut refused) = (Vec::new(), Vec::new());
    for (info, target, adapter) in found {
        match target.check() {
            Ok(()) => taken.push((info.device_type, adapter)),
            Err(error) => refused.push(format!("{}: {error}", info.name)),
        }
    }
    taken.sort_by_key(|(device_type, _)| match device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    });
    (taken.into_iter().map(|(_, adapter)| adapter).collect(), refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_adapter_is_tried_where_one_does_not_open() {
        let open = |adapters: &[&str]| {
            let mut tried = Vec::new();
            let record = std::cell::RefCell::new(&mut tried);
            let opened = pollster::block_on(first_that_opens(adapters, async |adapter| {
                record.borrow_mut().push((*adapter).to_owned());
                let is_good = adapter.starts_with("good");
                if is_good { Ok((*adapter).to_owned()) } else { Err(Error::NoDevice { reason: (*adapter).to_owned() }) }
            }));
            (opened, tried.join(" "))
        };
        let failed = |reason: &str| Err(Some(Error::NoDevice { reason: reason.to_owned() }));
        let good = |name: &str| Ok(name.to_owned());
        for (adapters, opened, tried) in [
            (&["good", "good too"][..], good("good"), "good"),
            (&["bad", "worse", "good", "good too"], good("good"), "bad worse good"),
            (&["bad", "worse"], failed("bad"), "bad worse"),
            (&[], Err(None), ""),
        ] {
            assert_eq!(open(adapters), (opened, tried.to_owned()), "{adapters:?}");
        }
    }

    #[test]
    fn adapters_that_lack_something_are_named_and_left_out() {
        let adapter = |name: &str, device_type, invocations| {
            let mut info = wgpu::AdapterInfo::new(device_type, wgpu::Backend::Vulkan);
            name.clone_into(&mut info.name);
            let limits = wgpu::Limits { max_compute_invocations_per_workgroup: invocations, ..Default::default() };
            (info, limits.into(), name.to_owned())
        };
        let found = [
            adapter("software", wgpu::DeviceType::Cpu, 256),
            adapter("small", wgpu::DeviceType::DiscreteGpu, 63),
            adapter("fast", wgpu::DeviceType::DiscreteGpu, 64),
        ];
        let (taken, refused) = able(found.into_iter());
        assert_eq!(taken, ["fast", "software"]);
        let [refused] = &refused[..] else { panic!("{refused:?}") };
        assert!(refused.starts_with("small: max_compute_invocations_per_workgroup"), "{refused}");
        assert!(refused.contains("63") && refused.contains("64"), "{refused}");
    }
}
