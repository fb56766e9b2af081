//! A whole network on a device, with a progress bar.

use sepconv::unstable::{Array, OnDevice};
use sepconv::{Context, Network};

use crate::output::{progress, shown};

/// [`OnDevice::first_run`], with a progress bar.
pub fn first_run(
    context: &Context,
    network: &Network,
    given: &[Array],
) -> sepconv::Result<(OnDevice, Vec<Vec<f32>>, f64)> {
    let bar = progress(1);
    let ran = OnDevice::first_run(context, network, given, &shown(&bar));
    bar.finish_and_clear();
    ran
}

/// Bytes as a reader likes them.
pub fn megabytes(bytes: u64) -> String {
    format!("{:.2} MB", bytes as f64 / 1e6)
}
