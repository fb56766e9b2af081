//! `sepconv compare`.

use crate::device::Device;
use crate::failure::Outcome;

/// What `compare` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The adapter to use: part of its name, or `cpu` for the reference.
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
}

/// Runs it.
pub fn run(arguments: &Arguments) -> Outcome {
    Device::open(arguments.device.as_deref())?;
    Ok(())
}
