//! The layers that are compared, and what each of their two forms costs.

use std::time::Duration;

use sepconv::timing::Clock;
use sepconv::{Conv2d, SeparableConv2d};

use crate::device::Device;
use crate::failure::Outcome;
use crate::shapes::Shape;

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
    pub clock: Clock,
    pub milliseconds: f64,
    /// The largest error as a multiple of the bound: at most 1 is right. None where the reference itself computed.
    pub error: Option<f64>,
}

/// How long each form is measured.
const BUDGET: Duration = Duration::from_millis(300);

impl Layer {
    /// `[1, in_channels, size, size]`
    pub fn input_shape(&self) -> [u32; 4] {
        [1, self.in_channels, self.size, self.size]
    }

    /// The normal form.
    pub fn normal(&self, device: &Device) -> Outcome<Cost> {
        let layer = Conv2d::new(self.in_channels, self.out_channels, 3).padding(1).stride(self.stride);
        self.cost(device, layer.geometry(self.input_shape())?.into())
    }

    /// The separable form.
    pub fn separable(&self, device: &Device) -> Outcome<Cost> {
        let layer = SeparableConv2d::new(self.in_channels, self.out_channels, 3).padding(1).stride(self.stride);
        self.cost(device, layer.geometry(self.input_shape())?.into())
    }

    fn cost(&self, device: &Device, layer: sepconv::Layer) -> Outcome<Cost> {
        let shape = Shape { id: self.name.to_owned(), layer };
        let (kernel, milliseconds, clock, error) = match device {
            Device::Reference => ("reference".to_owned(), shape.time_reference(), Clock::Wall, None),
            Device::Adapter(context) => {
                let candidate = shape.candidates(context, false)?.swap_remove(0);
                let (time, clock) = candidate.measure(context, BUDGET)?.best();
                (candidate.kernel, time.median, clock, Some(candidate.error))
            }
        };
        Ok(Cost {
            parameters: shape.parameters(),
            multiply_adds: shape.multiply_adds(),
            bytes: shape.bytes(),
            kernel,
            clock,
            milliseconds,
            error,
        })
    }
}
