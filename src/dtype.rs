//! `DType`: what the values of a tensor are on a device.

use std::borrow::Cow;

use half::f16;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};

/// What the values of a tensor are on a device. Sums are `f32`, whatever they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum DType {
    /// Numbers of 32 bits.
    #[default]
    F32,
    /// Numbers of 16 bits, with 11 significant ones: at most 65,504. It needs [`wgpu::Features::SHADER_F16`].
    F16,
}

impl DType {
    /// The bytes of a value.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }

    /// The bytes that so many values take in a buffer: a multiple of 4, as WebGPU wants of what it binds and copies.
    pub(crate) const fn bytes_of(self, values: u64) -> u64 {
        (self.bytes() * values).next_multiple_of(4)
    }

    /// The nearest value that a tensor can hold; infinity past the largest.
    #[must_use]
    pub fn round(self, value: f32) -> f32 {
        match self {
            Self::F32 => value,
            Self::F16 => f16::from_f32(value).to_f32(),
        }
    }

    /// Values as a buffer holds them, to a multiple of 4 bytes.
    pub(crate) fn encode(self, values: &[f32]) -> Cow<'_, [u8]> {
        match self {
            Self::F32 => Cow::Borrowed(bytemuck::cast_slice(values)),
            Self::F16 => {
                let mut halves = vec![f16::ZERO; values.len().next_multiple_of(2)];
                halves[..values.len()].convert_from_f32_slice(values);
                let bits: &[u16] = halves.reinterpret_cast();
                Cow::Owned(bytemuck::pod_collect_to_vec(bits))
            }
        }
    }
}

/// What `f16` values in a buffer are.
pub(crate) fn widen(bits: &[u16]) -> Vec<f32> {
    let mut values = vec![0.0; bits.len()];
    bits.reinterpret_cast::<f16>().convert_to_f32_slice(&mut values);
    values
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{DType, widen};

    #[test]
    fn values_are_rounded_to_the_nearest() {
        // 11 significant bits; ties go to the even one; the least step is 2^-24.
        for (value, rounded) in [
            (1.0, 1.0),
            (1.0 + 2.0_f32.powi(-11), 1.0),
            (1.0 + 3.0 * 2.0_f32.powi(-11), 1.0 + 2.0_f32.powi(-9)),
            (65_504.0, 65_504.0),
            (65_519.0, 65_504.0),
            (65_520.0, f32::INFINITY),
            (-1e9, f32::NEG_INFINITY),
            (2.0_f32.powi(-24), 2.0_f32.powi(-24)),
            (2.0_f32.powi(-25), 0.0),
        ] {
            assert_eq!(DType::F16.round(value).to_bits(), f32::to_bits(rounded), "{value}");
            assert_eq!(DType::F32.round(value).to_bits(), value.to_bits());
        }
    }

    #[test]
    fn what_is_encoded_is_decoded_rounded() {
        let values: Vec<f32> =
            (0..7).map(|index| 1.0 / (1 << index) as f32 - 0.3).chain([f32::INFINITY, -0.0]).collect();
        for count in 0..=values.len() {
            let values = &values[..count];
            assert_eq!(DType::F32.encode(values), bytemuck::cast_slice::<f32, u8>(values));
            let bytes = DType::F16.encode(values);
            assert_eq!(bytes.len() as u64, DType::F16.bytes_of(count as u64));
            let rounded: Vec<f32> = values.iter().map(|&value| DType::F16.round(value)).collect();
            assert_eq!(widen(&bytemuck::pod_collect_to_vec(&bytes))[..count], rounded);
        }
        assert!(widen(&bytemuck::pod_collect_to_vec(&DType::F16.encode(&[f32::NAN])))[0].is_nan());
    }
}
