//! The most that a device can do, measured: its memory's bandwidth and its rate of multiply-adds. From these the
//! roofline model (Williams, Waterman and Patterson 2009) says the least time that a layer can take.

use std::time::Duration;

use web_time::Instant;

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::extent::Extent;
use crate::gpu::{Bound, Device, Operands, Plan, Tensor};
use crate::program::{Binding, Kind, Program, Step};
use crate::shader::Shader;
use crate::timing::{Stopwatch, warm_up};

/// A device's two limits.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Roofline {
    /// Bytes read plus bytes written per second, by a copy from one buffer to another.
    pub bytes_per_second: f64,
    /// Floating-point operations per second, two for each fused multiply-add.
    pub operations_per_second: f64,
}

/// The sizes that the shaders have as constants.
const WORKGROUP_SIZE: u32 = 64;
const WORKGROUPS_PER_ROW: u32 = 4096;
/// How many `vec4f` one invocation copies.
const COPIED_EACH: u32 = 4;
const MULTIPLY_ADDS: u32 = 256 * 8 * 4;

/// How often each shader runs, unless that takes longer than `PATIENCE`; the fastest run counts.
const RUNS: usize = 7;
const PATIENCE: Duration = Duration::from_secs(1);

impl Roofline {
    /// Measures both limits, which takes about a second.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::DeviceLost`], or [`Error::Device`] if a shader is refused.
    pub async fn measure(device: &Device) -> Result<Self> {
        // Enough to outgrow any cache, and in software enough to take a while.
        let is_software = device.adapter_info().device_type == wgpu::DeviceType::Cpu;
        let (rows, workgroups) = if is_software { (4, 1024) } else { (32, 32_768) };
        let limits = device.limits();
        let row = 16 * u64::from(WORKGROUPS_PER_ROW * COPIED_EACH * WORKGROUP_SIZE);
        let fitting = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size) / row;
        let rows = u32::try_from(fitting).unwrap_or(rows).min(rows);
        let copied = row * u64::from(rows);
        let copy = bound(device, COPY, copied, [WORKGROUPS_PER_ROW, rows])?;
        let written = 16 * u64::from(workgroups * WORKGROUP_SIZE);
        let arithmetic = bound(device, MULTIPLY_ADD, written, [workgroups, 1])?;
        let operations = 2.0 * f64::from(MULTIPLY_ADDS) * f64::from(workgroups) * f64::from(WORKGROUP_SIZE);
        Ok(Self {
            bytes_per_second: 2.0 * copied as f64 / fastest(device, &copy).await?,
            operations_per_second: operations / fastest(device, &arithmetic).await?,
        })
    }

    /// [`measure`](Self::measure), waiting for it.
    ///
    /// # Errors
    /// Those of [`measure`](Self::measure).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn measure_blocking(device: &Device) -> Result<Self> {
        pollster::block_on(Self::measure(device))
    }

    /// The least seconds that this many bytes and multiply-adds can take.
    #[must_use]
    pub fn floor(&self, bytes: u64, multiply_adds: u64) -> f64 {
        let memory = bytes as f64 / self.bytes_per_second;
        memory.max(2.0 * multiply_adds as f64 / self.operations_per_second)
    }
}

const COPY: Shader = Shader { name: "copy", own: include_str!("../shaders/roofline/copy.wgsl"), parts: &[] };

const MULTIPLY_ADD: Shader =
    Shader { name: "multiply_add", own: include_str!("../shaders/roofline/multiply_add.wgsl"), parts: &[] };

/// A shader bound to an input and an output of this many bytes.
fn bound(device: &Device, shader: Shader, bytes: u64, [x, y]: [u32; 2]) -> Result<Bound> {
    let maximum = device.limits().max_storage_buffer_binding_size.min(device.limits().max_buffer_size);
    if bytes > maximum {
        let limit = "max_storage_buffer_binding_size";
        return Err(Error::Limit { argument: "the measured buffer", bytes, limit, maximum });
    }
    let shape = [1, 1, 1, u32::try_from(bytes / 4).expect("less than 2^31 bytes")];
    let mut program = Program::new(shader.name, DType::F32);
    let buffers = [program.buffer(Kind::Input, "input", shape), program.buffer(Kind::Output, "output", shape)];
    let [input, output] = buffers.map(|buffer| program.whole(buffer));
    let bindings = vec![Binding::read(1, input), Binding::write(5, output)];
    let mut step = Step::new(shader, "main", Vec::new(), Extent::default().words(), bindings);
    step.loops_written_out = device.adapter_info().device_type != wgpu::DeviceType::Cpu;
    program.dispatch(step, [x, y, 1].map(u64::from), device.limits())?;
    let device = &device.with_dtype(DType::F32);
    let [input, output] = [Tensor::zeros(device, shape)?, Tensor::zeros(device, shape)?];
    Plan::new(device, program)?.bind(None, Operands::new(&input, &output))
}

/// The seconds of the fastest run, by the device's clock if it has one.
async fn fastest(device: &Device, bound: &Bound) -> Result<f64> {
    let wall = Stopwatch::wall(device);
    warm_up(&wall, std::iter::once(bound), PATIENCE).await?;
    let device = Stopwatch::device(device)?;
    let mut seconds = f64::INFINITY;
    let start = Instant::now();
    for run in 0..RUNS {
        if run > 0 && start.elapsed() > PATIENCE {
            break;
        }
        let waited = wall.time(bound).await?;
        let counted = match &device {
            None => None,
            Some(device) => Some(device.time(bound).await?),
        };
        // A device's clock that runs ahead of the caller's, or stands still, is not believed.
        let time = counted.filter(|&counted| counted > 0.5 * waited && counted < 2.0 * waited).unwrap_or(waited);
        seconds = seconds.min(time / 1e3);
    }
    Ok(seconds)
}

#[cfg(test)]
mod tests {
    use super::Roofline;
    use approx::assert_relative_eq;

    #[test]
    fn the_floor_is_the_larger_of_two_times() {
        let roofline = Roofline { bytes_per_second: 1e9, operations_per_second: 1e12 };
        assert_relative_eq!(roofline.floor(1_000_000, 1), 1e-3);
        assert_relative_eq!(roofline.floor(1, 1_000_000_000), 2e-3);
    }
}
