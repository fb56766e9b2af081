//! Which device computes: the best adapter, one named with `--device`, or the CPU reference.

use sepconv::{Context, DType, Error, adapters};

use crate::arguments::is_cpu;
use crate::cache;
use crate::failure::{Failure, Outcome};
use crate::output::complain;

/// What computes.
#[derive(Debug)]
pub enum Device {
    /// An adapter.
    Adapter(Box<Context>),
    /// The reference, on this computer's processor.
    Reference,
}

/// How a reader gets a driver on this system.
pub const DRIVER_HINT: &str = if cfg!(target_os = "linux") {
    "install your GPU's Vulkan driver, or a software one: apt-get install mesa-vulkan-drivers (Debian, Ubuntu), \
     dnf install mesa-vulkan-drivers (Fedora), pacman -S vulkan-swrast (Arch)"
} else if cfg!(target_os = "macos") {
    "Metal comes with macOS 10.13 and later on any Mac that has a supported GPU"
} else {
    "install your GPU's current driver, which brings DirectX 12 and Vulkan"
};

impl Device {
    /// Opens the adapter whose name holds `name`, in any case; without a name the best one there is, or else the
    /// reference, which it then says on standard error. Layers are planned as `sepconv tune` found best on it, unless
    /// `no_tune` is given. Its tensors hold values of this type.
    pub fn open(name: Option<&str>, no_tune: bool, dtype: DType) -> Outcome<Self> {
        if name.is_some_and(is_cpu) {
            check_reference_type(dtype)?;
            return Ok(Self::Reference);
        }
        let Some(context) = context(name, no_tune, dtype)? else {
            check_reference_type(dtype)?;
            complain(&format!("No adapter: the CPU reference computes instead. To get one, {DRIVER_HINT}."));
            return Ok(Self::Reference);
        };
        Ok(Self::Adapter(context))
    }

    /// The same, for what only an adapter does: `what` says what that is.
    pub fn open_adapter(name: Option<&str>, no_tune: bool, dtype: DType, what: &str) -> Outcome<Box<Context>> {
        if name.is_some_and(is_cpu) {
            let message = format!("--device is cpu; {what} an adapter: see `sepconv devices`");
            return Err(Failure::Request(message));
        }
        let none = || Failure::Request(format!("{what} an adapter, and there is none. To get one, {DRIVER_HINT}"));
        context(name, no_tune, dtype)?.ok_or_else(none)
    }

    /// What tensors hold.
    pub fn dtype(&self) -> DType {
        match self {
            Self::Adapter(context) => context.dtype(),
            Self::Reference => DType::F32,
        }
    }

    /// Keeps what this run's compilation can save the next one.
    pub fn keep_pipelines(&self) {
        if let Self::Adapter(context) = self {
            cache::keep_pipelines(context);
        }
    }
}

/// Refuses what the reference is not asked for.
pub fn check_reference_type(dtype: DType) -> Outcome {
    if dtype == DType::F32 {
        return Ok(());
    }
    let message = format!("--dtype {dtype} goes with an adapter; the CPU reference takes f32 and computes in f64");
    Err(Failure::Request(message))
}

/// The adapter of this name, or the best that opens; none if there is none.
fn context(name: Option<&str>, no_tune: bool, dtype: DType) -> Outcome<Option<Box<Context>>> {
    let opened = match name {
        Some(name) => pollster::block_on(Context::from_adapter(&named(name)?)),
        None => Context::new_blocking(),
    };
    let opened = match opened {
        Err(Error::NoAdapter { .. }) => return Ok(None),
        opened => opened?,
    };
    let context = cache::with_pipelines(&opened.with_dtype(dtype)?);
    let context = if no_tune { context } else { context.with_tuning(cache::tuning(&context.adapter_info())) };
    Ok(Some(Box::new(context)))
}

/// The best adapter whose name holds `name`, in any case; an empty name names none.
pub fn named(name: &str) -> Outcome<wgpu::Adapter> {
    let adapters = pollster::block_on(adapters());
    let mut names: Vec<String> = adapters.iter().map(|adapter| adapter.get_info().name).collect();
    let name = name.trim();
    let matches = |adapter: &wgpu::Adapter| {
        !name.is_empty() && adapter.get_info().name.to_lowercase().contains(&name.to_lowercase())
    };
    adapters.into_iter().find(matches).ok_or_else(|| {
        names.push("cpu".to_owned());
        Failure::Request(format!("--device is {name:?}; it may be part of: {}", names.join(", ")))
    })
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Reference => f.write_str("the CPU reference (f64, one thread)"),
            Self::Adapter(context) => {
                let info = context.adapter_info();
                let software = if info.device_type == wgpu::DeviceType::Cpu { ", software on the CPU" } else { "" };
                let driver = format_args!("{} {}", info.driver, info.driver_info);
                write!(f, "{} ({:?}{software}; driver {driver})", info.name, info.backend)?;
                if context.dtype() == DType::F32 { Ok(()) } else { write!(f, ", tensors of {}", context.dtype()) }
            }
        }
    }
}
