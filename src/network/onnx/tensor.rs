//! The tensors in an ONNX file: as `f32`, or as whole numbers.

use half::f16;
use rten_onnx::onnx::{DataLocation, DataType, TensorProto};

use crate::network::graph::Constant;
use crate::network::shape::{RANK, checked_count};

/// A tensor's values. What is no `f32` becomes one, or a whole number.
///
/// # Errors
/// What is wrong with it.
pub(super) fn constant(tensor: &TensorProto) -> Result<Constant, String> {
    if tensor.data_location == Some(DataLocation::EXTERNAL) || !tensor.external_data.is_empty() {
        return Err("its values are in another file; put them into the model".to_owned());
    }
    let shape = tensor.dims.iter().map(|&size| u32::try_from(size).map_err(|_| format!("a size is {size}")));
    let shape: Vec<u32> = shape.collect::<Result<_, _>>()?;
    if shape.len() > RANK {
        return Err(format!("it has {} axes; at most {RANK} are possible", shape.len()));
    }
    let count = checked_count(&shape).ok_or_else(|| format!("shape {shape:?} is too large"))?;
    let count = usize::try_from(count).expect("fewer than 2^31");
    let raw = tensor.raw_data.as_ref().map(|raw| raw.borrow());
    let raw = raw.as_deref().map(Vec::as_slice);
    let values = Values { count, raw };
    match tensor.data_type.unwrap_or(DataType(0)) {
        DataType::FLOAT => {
            let floats = values.of(|bytes: [u8; 4]| f32::from_le_bytes(bytes), &tensor.float_data, |&value| value)?;
            Ok(Constant::floats(&shape, floats))
        }
        DataType::FLOAT16 => {
            // Where they are no raw bytes, each is the lower half of an `int32`.
            let half = |bytes: [u8; 2]| f16::from_le_bytes(bytes).to_f32();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the lower half is meant")]
            let floats = values.of(half, &tensor.int32_data, |&value| f16::from_bits(value as u16).to_f32())?;
            Ok(Constant::floats(&shape, floats))
        }
        DataType::BFLOAT16 => {
            let wide = |half: u16| f32::from_bits(u32::from(half) << 16);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the lower half is meant")]
            let floats = values.of(
                |bytes: [u8; 2]| wide(u16::from_le_bytes(bytes)),
                &tensor.int32_data,
                |&value| wide(value as u16),
            )?;
            Ok(Constant::floats(&shape, floats))
        }
        DataType::DOUBLE => {
            #[expect(clippy::cast_possible_truncation, reason = "the nearest f32")]
            let floats = values.of(
                |bytes: [u8; 8]| f64::from_le_bytes(bytes) as f32,
                &tensor.double_data,
                |&value| value as f32,
            )?;
            Ok(Constant::floats(&shape, floats))
        }
        DataType::INT64 => {
            let numbers = values.of(|bytes: [u8; 8]| i64::from_le_bytes(bytes), &tensor.int64_data, |&value| value)?;
            Ok(Constant::integers(&shape, numbers))
        }
        DataType::INT32 => {
            let numbers = values.of(
                |bytes: [u8; 4]| i32::from_le_bytes(bytes).into(),
                &tensor.int32_data,
                |&value| value.into(),
            )?;
            Ok(Constant::integers(&shape, numbers))
        }
        DataType::BOOL | DataType::UINT8 => {
            let numbers = values.of(|[byte]: [u8; 1]| byte.into(), &tensor.int32_data, |&value| value.into())?;
            Ok(Constant::integers(&shape, numbers))
        }
        DataType::INT8 => {
            let numbers = values.of(
                |bytes: [u8; 1]| i8::from_le_bytes(bytes).into(),
                &tensor.int32_data,
                |&value| value.into(),
            )?;
            Ok(Constant::integers(&shape, numbers))
        }
        other => Err(format!("its type is {other}; it must be f32, f16, bf16, f64, i64, i32, i8, u8 or bool")),
    }
}

/// A tensor's values in one of the two ways in which a file may hold them.
struct Values<'a> {
    count: usize,
    raw: Option<&'a [u8]>,
}

impl Values<'_> {
    fn of<const N: usize, T, S>(
        &self,
        from_bytes: impl Fn([u8; N]) -> T,
        typed: &[S],
        from_typed: impl Fn(&S) -> T,
    ) -> Result<Vec<T>, String> {
        let length = self.raw.map_or(typed.len(), |raw| raw.len() / N);
        if length != self.count || self.raw.is_some_and(|raw| raw.len() % N != 0) {
            return Err(format!("it has {length} values; its shape takes {}", self.count));
        }
        Ok(match self.raw {
            Some(raw) => raw.chunks_exact(N).map(|bytes| from_bytes(bytes.try_into().expect("as many"))).collect(),
            None => typed.iter().map(from_typed).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// In raw bytes, and as the lower halves of whole numbers.
    #[test]
    fn halves_are_as_ieee_754_says() {
        let table: [(u16, f32); 11] = [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0400, 6.103_515_6e-5),
            (0x0001, 5.960_464_5e-8),
            (0x3555, 0.333_251_95),
            (0x7c00, f32::INFINITY),
            (0xfc00, f32::NEG_INFINITY),
            (0x8000, -0.0),
            (0x7e00, f32::NAN),
        ];
        let tensor = TensorProto { dims: vec![11], data_type: Some(DataType::FLOAT16), ..TensorProto::default() };
        let bytes = table.iter().flat_map(|(half, _)| half.to_le_bytes()).collect();
        let raw = TensorProto { raw_data: Some(RefCell::new(bytes)), ..tensor.clone() };
        let typed = TensorProto { int32_data: table.iter().map(|(half, _)| i32::from(*half)).collect(), ..tensor };
        for tensor in [raw, typed] {
            let constant = constant(&tensor).unwrap();
            for ((half, expected), value) in table.iter().zip(constant.as_output().iter()) {
                assert!(
                    value.to_bits() == expected.to_bits() || value.is_nan() && expected.is_nan(),
                    "{half:#x}: {value}"
                );
            }
        }
        let short = TensorProto { dims: vec![2], data_type: Some(DataType::FLOAT16), ..TensorProto::default() };
        assert_eq!(constant(&short).err().unwrap(), "it has 0 values; its shape takes 2");
    }
}
