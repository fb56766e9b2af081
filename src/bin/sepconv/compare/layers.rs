//! The layers that are compared, and what each of their two forms costs.

use std::time::Duration;

use sepconv::timing::Clock;
use sepconv::{Conv2d, SeparableConv2d};

use crate::device::Device;
use crate::failure::Outcome;
use crate::shapes::{Kernels, Shape};

/// A layer in both forms: 3 × 3, padding 1, with biases.
pub struct Layer {
    pub name: &'static str,
    pub in_channels: u32,
    pub out_channels: u32,
    pub size: u32,
    pub stride: u32,
}

/// From the starting example through the 3 × 3 layers of MobileNet (Howard et al. 2017, table 1).
pub const LAYERS: [Layer; 7] = [
    Layer { name: "starting example", in_channels: 3, out_channels: 4, size: 64, stride: 1 },
    Layer { name: "MobileNet 32-64", in_channels: 32, out_channels: 64, size: 112, stride: 1 },
    Layer { name: "MobileNet 64-128 /2", in_channels: 64, out_channels: 128, size: 112, stride: 2 },
    Layer { name: "MobileNet 128-128", in_channels: 128, out_channels: 128, size: 56, stride: 1 },
    Layer { name: "MobileNet 256-256", in_channels: 256, out_channels: 256, size: 28, stride: 1 },
    Layer { name: "MobileNet 512-512", in_channels: 512, out_channels: 512, size: 14, stride: 1 },
    Layer { name: "MobileNet 1024-1024", in_channels: 1024, out_channels: 1024, size: 7, stride: 1 },
];

/// What one form of a layer costs, measured.
pub struct Cost {
    pub parameters: u64,
    pub multiply_adds: u64,
    /// Input, parameters and output once each.
    pub bytes: u64,
    pub kernel: String,
    /// By the caller's clock.
    wall: f64,
    /// By the device's clock, if it has one.
    device: Option<f64>,
    /// The largest error as a multiple of the bound: at most 1 is right. None where the reference itself computed.
    pub error: Option<f64>,
}

/// A layer in both forms, measured.
pub struct Pair {
    pub layer: &'static Layer,
    pub normal: Cost,
    pub separable: Cost,
}

impl Pair {
    /// Measures a layer.
    pub fn measure(layer: &'static Layer, device: &Device) -> Outcome<Self> {
        Ok(Self { layer, normal: layer.normal(device)?, separable: layer.separable(device)? })
    }

    /// The clock of both times: the device's, if it timed both.
    pub fn clock(&self) -> Clock {
        let has_both = self.normal.device.is_some() && self.separable.device.is_some();
        if has_both { Clock::Device } else { Clock::Wall }
    }

    /// The milliseconds of either form by that clock.
    pub fn milliseconds(&self, cost: &Cost) -> f64 {
        match self.clock() {
            Clock::Device => cost.device.unwrap_or(cost.wall),
            Clock::Wall => cost.wall,
        }
    }

    /// How many times as fast the separable form is.
    pub fn speed_up(&self) -> f64 {
        self.milliseconds(&self.normal) / self.milliseconds(&self.separable)
    }
}

/// How long each form is measured.
const BUDGET: Duration = Duration::from_millis(300);

impl Layer {
    /// `[1, in_channels, size, size]`
    pub fn input_shape(&self) -> [u32; 4] {
        [1, self.in_channels, self.size, self.size]
    }

    /// The normal form.
    fn normal(&self, device: &Device) -> Outcome<Cost> {
        let layer = Conv2d::new(self.in_channels, self.out_channels, 3).padding(1).stride(self.stride);
        self.cost(device, layer.geometry(self.input_shape())?.into())
    }

    /// The separable form.
    fn separable(&self, device: &Device) -> Outcome<Cost> {
        let layer = SeparableConv2d::new(self.in_channels, self.out_channels, 3).padding(1).stride(self.stride);
        self.cost(device, layer.geometry(self.input_shape())?.into())
    }

    fn cost(&self, device: &Device, layer: sepconv::Layer) -> Outcome<Cost> {
        let shape = Shape { id: self.name.to_owned(), layer };
        let dtype = device.dtype();
        let (kernel, wall, device, error) = match device {
            Device::Reference => ("reference".to_owned(), shape.time_reference(), None, None),
            Device::Adapter(context) => {
                let candidate = shape.candidates(context, Kernels::Chosen)?.swap_remove(0);
                let timing = candidate.measure(context, BUDGET)?;
                let device = timing.device.map(|device| device.median);
                (candidate.kernel, timing.wall.median, device, Some(candidate.error))
            }
        };
        Ok(Cost {
            parameters: shape.parameters(),
            multiply_adds: shape.multiply_adds(),
            bytes: shape.bytes(dtype),
            kernel,
            wall,
            device,
            error,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(wall: f64, device: Option<f64>) -> Cost {
        Cost { parameters: 0, multiply_adds: 0, bytes: 0, kernel: String::new(), wall, device, error: None }
    }

    /// A device's clock may fail for one of the two forms.
    #[test]
    fn both_forms_are_timed_by_one_clock() {
        for (normal, separable, clock, speed_up) in [
            (Some(4.0), Some(2.0), Clock::Device, 2.0),
            (Some(4.0), None, Clock::Wall, 3.0),
            (None, Some(2.0), Clock::Wall, 3.0),
            (None, None, Clock::Wall, 3.0),
        ] {
            let pair = Pair { layer: &LAYERS[0], normal: cost(9.0, normal), separable: cost(3.0, separable) };
            assert_eq!(pair.clock(), clock);
            approx::assert_relative_eq!(pair.speed_up(), speed_up);
        }
    }
}
