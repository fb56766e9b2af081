//! `Roofline` and `measure`: the library's clocks.

use std::time::Duration;

use sepconv::{roofline, timing};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::context::Context;
use crate::plan::Bound;
use crate::value::{Result, thrown};

/// What a device can do at most, measured.
#[wasm_bindgen]
pub struct Roofline(roofline::Roofline);

#[wasm_bindgen]
impl Roofline {
    /// Measures both limits, which takes a few seconds.
    pub async fn measure(context: &Context) -> Result<Roofline> {
        roofline::Roofline::measure(&context.0).await.map(Self).map_err(thrown)
    }

    /// Bytes read plus bytes written per second.
    #[wasm_bindgen(getter, js_name = bytesPerSecond)]
    pub fn bytes_per_second(&self) -> f64 {
        self.0.bytes_per_second
    }

    /// Floating-point operations per second, two for each multiply-add.
    #[wasm_bindgen(getter, js_name = operationsPerSecond)]
    pub fn operations_per_second(&self) -> f64 {
        self.0.operations_per_second
    }
}

/// The middle and the spread of some times, in milliseconds.
#[wasm_bindgen]
#[derive(Clone, Copy)]
pub struct Spread {
    /// Half the runs were faster.
    pub median: f64,
    /// A tenth of the runs were faster.
    pub p10: f64,
    /// A tenth of the runs were slower.
    pub p90: f64,
}

impl From<timing::Spread> for Spread {
    fn from(timing::Spread { median, p10, p90, .. }: timing::Spread) -> Self {
        Self { median, p10, p90 }
    }
}

/// The times of one layer.
#[wasm_bindgen]
pub struct Timing {
    /// By the caller's clock: recording, submitting, and the device being done.
    pub wall: Spread,
    /// By the device's own clock, where the browser gives one that can be true.
    pub device: Option<Spread>,
}

/// Runs a layer over and over for about so many milliseconds.
#[wasm_bindgen]
pub async fn measure(context: &Context, bound: &Bound, milliseconds: f64) -> Result<Timing> {
    let budget = Duration::try_from_secs_f64(milliseconds / 1e3).unwrap_or_default();
    let timing = timing::measure(&context.0, std::slice::from_ref(&bound.program), budget).await.map_err(thrown)?;
    Ok(Timing { wall: timing.wall.into(), device: timing.device.map(Into::into) })
}
