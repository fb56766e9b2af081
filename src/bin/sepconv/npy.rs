//! npy files: one tensor each. The header is checked against the file's length before values are read.

use std::io::{self, Read};
use std::path::Path;

use npyz::{NpyHeader, Order};
use sepconv::DType;

use crate::failure::{Failure, Outcome};
use crate::files;
use crate::tensors::{Array, values};

/// The longest npy header that is read: one of four sizes takes 128 bytes.
const MAXIMUM_HEADER: usize = 1024;

/// The tensor in an npy file.
pub fn read(path: &Path) -> Outcome<Array> {
    let (file, length) = files::open(path)?;
    parse(path, file, length)
}

/// The tensor in an npy file of this length: little-endian `f32` or `f16` in C order.
fn parse(path: &Path, mut reader: impl Read, length: u64) -> Outcome<Array> {
    let refused = |reason: &str| Failure::Request(format!("{}: {reason}", path.display()));
    let failed = |error: io::Error| refused(&format!("not an npy file: {error}"));
    let mut bytes = Vec::new();
    reader.by_ref().take(12 + MAXIMUM_HEADER as u64).read_to_end(&mut bytes).map_err(failed)?;
    let (header_length, prefix) = match bytes[..] {
        [0x93, b'N', b'U', b'M', b'P', b'Y', 1, _, low, high, ..] => (u16::from_le_bytes([low, high]).into(), 10_u8),
        [0x93, b'N', b'U', b'M', b'P', b'Y', 2 | 3, _, a, b, c, d, ..] => (u32::from_le_bytes([a, b, c, d]), 12),
        _ => return Err(refused("not an npy file of version 1, 2 or 3")),
    };
    let start = u64::from(prefix) + u64::from(header_length);
    if start > length {
        return Err(refused("the npy header ends after the file"));
    }
    let header_end = usize::try_from(start).unwrap_or(usize::MAX);
    let header_text = bytes.get(prefix.into()..header_end).filter(|text| text.len() <= MAXIMUM_HEADER);
    let header_text = header_text.ok_or_else(|| refused("the npy header is longer than that of any tensor"))?;
    // The header's numbers are the sizes and the 4 of f4 or the 2 of f2, so that their product is the size in bytes. The parser
    // multiplies them unchecked.
    let mut numbers = header_text.split(|byte| !byte.is_ascii_digit()).filter(|digits| !digits.is_empty());
    let claimed = numbers.try_fold(1_u64, |product, digits| {
        let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
        product.checked_mul(number.max(1))
    });
    if claimed.is_none() {
        return Err(refused("the npy header claims more values than any file holds"));
    }
    let header = NpyHeader::from_reader(bytes.as_slice()).map_err(failed)?;
    let (descr, order) = (header.dtype().descr(), header.order());
    let dtype = match descr.as_str() {
        "'<f4'" if order == Order::C => DType::F32,
        "'<f2'" if order == Order::C => DType::F16,
        _ => {
            let what = format!(
                "its values are {descr} in {order:?} order; they must be '<f4' or '<f2' (little-endian) in C order"
            );
            return Err(refused(&what));
        }
    };
    let shape = header.shape().to_vec();
    let size = shape.iter().try_fold(dtype.bytes(), |bytes, &size| bytes.checked_mul(size));
    let Some(size) = size.filter(|&size| size == length - start) else {
        return Err(refused(&format!("its shape {shape:?} takes another number of values than the file holds")));
    };
    let rest = bytes.split_off(header_end);
    let values = values(rest.chain(reader), size, dtype).map_err(|error| refused(&error))?;
    Ok(Array { shape, values })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn npy(descr: &str, order: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    fn parse_all(bytes: &[u8]) -> Outcome<Array> {
        parse(Path::new("a.npy"), bytes, bytes.len() as u64)
    }

    #[test]
    fn an_npy_file_is_read() {
        let array = parse_all(&npy("<f4", "False", "(1, 2)", &[0, 0, 128, 63, 0, 0, 0, 64])).unwrap();
        assert_eq!(array, Array { shape: vec![1, 2], values: vec![1.0, 2.0] });
        // 1, -2, and the least number above 0.
        let halves = parse_all(&npy("<f2", "False", "(3,)", &[0, 0x3c, 0, 0xc0, 1, 0])).unwrap();
        assert_eq!(halves, Array { shape: vec![3], values: vec![1.0, -2.0, 2.0_f32.powi(-24)] });
        let empty = parse_all(&npy("<f4", "False", "(0, 64, 56, 56)", &[])).unwrap();
        assert_eq!(empty, Array { shape: vec![0, 64, 56, 56], values: Vec::new() });
    }

    #[test]
    fn an_npy_file_that_lies_is_refused() {
        let data = [0; 8];
        for (descr, order, shape) in [
            ("<f8", "False", "(1,)"),
            (">f4", "False", "(2,)"),
            (">f2", "False", "(4,)"),
            ("<f2", "False", "(2,)"),
            ("<f4", "True", "(1, 2)"),
            ("<f4", "False", "(3,)"),
            ("<f4", "False", "(1,)"),
            ("<f4", "False", "(-2,)"),
            ("<f4", "False", "(0, 2)"),
            ("<f4", "False", "(4611686018427387905,)"),
            ("<f4", "False", "(4294967296, 4294967296, 4294967296)"),
            ("<f4", "False", "(99999999999999999999999,)"),
            ("<f4", "False", "((((((((((2,)"),
            ("|O", "False", "(2,)"),
        ] {
            assert!(parse_all(&npy(descr, order, shape, &data)).is_err(), "{descr} {order} {shape}");
        }
        assert!(parse_all(b"\x93NUMPY\x02\x00\xff\xff\xff\xff{").is_err());
        let nested = "(".repeat(900);
        assert!(parse_all(&npy("<f4", "False", &nested, &data)).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4000) })]

        #[test]
        fn no_bytes_make_the_parser_panic(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            length in any::<prop::sample::Index>(),
            cut in any::<bool>(),
        ) {
            let mut bytes = npy("<f4", "False", "(1, 1, 1, 2)", &[0; 8]);
            for (index, value) in changes {
                let index = index.index(bytes.len());
                bytes[index] = value;
            }
            if cut {
                bytes.truncate(length.index(bytes.len()));
            }
            let _ = parse_all(&bytes);
        }
    }
}
