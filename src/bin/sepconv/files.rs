//! Tensor files: reading safetensors and npy, and writing a file whole or not at all.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use npyz::{DType, NpyHeader, Order, WriterBuilder};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::failure::{Failure, Outcome};

/// A tensor as a file holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    pub shape: Vec<u64>,
    pub values: Vec<f32>,
}

impl Array {
    /// The shape of a tensor of four axes; `name` is for the message.
    pub fn four_axes(&self, name: &str) -> Outcome<[u32; 4]> {
        let axes = self.shape.len();
        let sizes = self.shape.iter().map(|&size| u32::try_from(size)).collect::<Result<Vec<_>, _>>();
        let refused = |what: String| Failure::Request(format!("tensor {name} has {what} {:?}", self.shape));
        let sizes = sizes.map_err(|_| refused("a size past 2^32 in".to_owned()))?;
        sizes.try_into().map_err(|_| refused(format!("{axes} axes; it must have 4, and has shape")))
    }

    /// The length of a tensor of one axis; `name` is for the message.
    pub fn one_axis(&self, name: &str) -> Outcome<u64> {
        match self.shape[..] {
            [length] => Ok(length),
            ref shape => {
                let axes = shape.len();
                Err(Failure::Request(format!("tensor {name} has {axes} axes; it must have 1, and has shape {shape:?}")))
            }
        }
    }
}

/// The bytes of a regular file: not of a folder, a pipe or a device, which might never end.
pub fn read(path: &Path) -> Outcome<Vec<u8>> {
    let refused = |reason: String| Failure::Request(format!("{}: {reason}", path.display()));
    let metadata = fs::metadata(path).map_err(|error| refused(error.to_string()))?;
    if !metadata.is_file() {
        return Err(refused("it is not a regular file".to_owned()));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| refused(error.to_string()))?;
    file.take(metadata.len()).read_to_end(&mut bytes).map_err(|error| refused(error.to_string()))?;
    Ok(bytes)
}

/// Little-endian values.
fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&value| f32::from_le_bytes(value)).collect()
}

/// A safetensors file's tensors, by name.
pub struct Tensors<'a> {
    path: &'a Path,
    tensors: SafeTensors<'a>,
}

impl<'a> Tensors<'a> {
    /// Checks the header of a file's bytes; no tensor is copied yet.
    pub fn parse(path: &'a Path, bytes: &'a [u8]) -> Outcome<Self> {
        let tensors = SafeTensors::deserialize(bytes);
        let tensors = tensors
            .map_err(|error| Failure::Request(format!("{}: not a safetensors file: {error}", path.display())))?;
        Ok(Self { path, tensors })
    }

    /// The tensor of this name, if there is one.
    pub fn optional(&self, name: &str) -> Outcome<Option<Array>> {
        let Ok(view) = self.tensors.tensor(name) else { return Ok(None) };
        if view.dtype() != Dtype::F32 {
            let message =
                format!("{}: tensor {name} has dtype {:?}; it must be F32", self.path.display(), view.dtype());
            return Err(Failure::Request(message));
        }
        let shape = view.shape().iter().map(|&size| size as u64).collect();
        Ok(Some(Array { shape, values: floats(view.data()) }))
    }

    /// The tensor of this name.
    pub fn required(&self, name: &str) -> Outcome<Array> {
        self.optional(name)?.ok_or_else(|| {
            let mut names = self.tensors.names();
            names.sort_unstable();
            let path = self.path.display();
            Failure::Request(format!("{path}: tensor {name} is missing; the file has {}", names.join(", ")))
        })
    }
}

/// The longest npy header that is read: one of four sizes takes 128 bytes.
const MAXIMUM_NPY_HEADER: usize = 1024;

/// The tensor in an npy file's bytes: little-endian `f32` in C order.
pub fn parse_npy(path: &Path, bytes: &[u8]) -> Outcome<Array> {
    let refused = |reason: &str| Failure::Request(format!("{}: {reason}", path.display()));
    let (header_end, prefix) = match bytes {
        [0x93, b'N', b'U', b'M', b'P', b'Y', 1, _, low, high, ..] => (u16::from_le_bytes([*low, *high]).into(), 10),
        [0x93, b'N', b'U', b'M', b'P', b'Y', 2 | 3, _, a, b, c, d, ..] => {
            (u32::from_le_bytes([*a, *b, *c, *d]) as usize, 12)
        }
        _ => return Err(refused("not an npy file of version 1, 2 or 3")),
    };
    let header_text = bytes.get(prefix..).and_then(|rest| rest.get(..header_end));
    let header_text = header_text.ok_or_else(|| refused("the npy header ends after the file"))?;
    if header_text.len() > MAXIMUM_NPY_HEADER {
        return Err(refused("the npy header is longer than that of any tensor"));
    }
    // The header's numbers are the sizes and the 4 of f4, so that their product is the size in bytes. The parser
    // multiplies them unchecked.
    let numbers = header_text.split(|byte| !byte.is_ascii_digit()).filter(|digits| !digits.is_empty());
    let claimed = numbers.map(std::str::from_utf8).try_fold(1_u64, |product, digits| {
        let number: u64 = digits.ok()?.parse().ok()?;
        product.checked_mul(number.max(1))
    });
    if claimed.is_none_or(|claimed| claimed > bytes.len() as u64) {
        return Err(refused("the npy header claims more values than the file holds"));
    }
    let header = NpyHeader::from_reader(bytes).map_err(|error| refused(&format!("not an npy file: {error}")))?;
    let is_float = matches!(header.dtype(), DType::Plain(ref dtype) if dtype.to_string() == "<f4");
    if !is_float || header.order() != Order::C {
        return Err(refused("the npy file must hold little-endian float32 ('<f4') in C order"));
    }
    let data = &bytes[prefix + header_end..];
    let shape = header.shape().to_vec();
    if shape.iter().product::<u64>() * 4 != data.len() as u64 {
        return Err(refused(&format!("its shape {shape:?} takes another number of values than the file holds")));
    }
    Ok(Array { shape, values: floats(data) })
}

/// The kinds of file that a tensor is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Safetensors,
    Npy,
    Png,
}

impl Format {
    /// The format that a file's name ends in.
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "safetensors" => Some(Self::Safetensors),
            "npy" => Some(Self::Npy),
            "png" => Some(Self::Png),
            _ => None,
        }
    }
}

/// Writes a tensor as `output` of a safetensors file, or as an npy file.
pub fn write(path: &Path, shape: [u32; 4], values: &[f32]) -> Outcome {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let failed = |reason: String| Failure::Request(format!("--out {}: {reason}", path.display()));
    let encoded = match Format::of(path) {
        Some(Format::Safetensors) => {
            let shape = shape.iter().map(|&size| size as usize).collect();
            let view = TensorView::new(Dtype::F32, shape, &bytes).map_err(|error| failed(error.to_string()))?;
            safetensors::serialize([("output", view)], None).map_err(|error| failed(error.to_string()))?
        }
        Some(Format::Npy) => {
            let mut encoded = Vec::new();
            let options = npyz::WriteOptions::new().default_dtype().shape(&shape.map(u64::from)).writer(&mut encoded);
            options
                .begin_nd()
                .and_then(|mut writer| writer.extend(values.iter().copied()).and_then(|()| writer.finish()))
                .map_err(|error| failed(error.to_string()))?;
            encoded
        }
        _ => return Err(failed("it must end in .safetensors or .npy".to_owned())),
    };
    write_whole(path, &encoded)
}

/// Writes beside the file and renames, so that it is there whole or not at all.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Outcome {
    let failed = |reason: String| Failure::Request(format!("--out {}: {reason}", path.display()));
    // A rename would put a file in the place of a folder, a pipe or a device.
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(failed("it is there and is not a regular file".to_owned()));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder).map_err(|error| failed(error.to_string()))?;
    file.write_all(bytes).map_err(|error| failed(error.to_string()))?;
    file.persist(path).map_err(|error| failed(error.to_string()))?;
    Ok(())
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

    fn parse(bytes: &[u8]) -> Outcome<Array> {
        parse_npy(Path::new("a.npy"), bytes)
    }

    #[test]
    fn an_npy_file_is_read() {
        let array = parse(&npy("<f4", "False", "(1, 2)", &[0, 0, 128, 63, 0, 0, 0, 64])).unwrap();
        assert_eq!(array, Array { shape: vec![1, 2], values: vec![1.0, 2.0] });
    }

    #[test]
    fn an_npy_file_that_lies_is_refused() {
        let data = [0; 8];
        for (descr, order, shape) in [
            ("<f8", "False", "(1,)"),
            (">f4", "False", "(2,)"),
            ("<f4", "True", "(1, 2)"),
            ("<f4", "False", "(3,)"),
            ("<f4", "False", "(1,)"),
            ("<f4", "False", "(-2,)"),
            ("<f4", "False", "(4611686018427387905,)"),
            ("<f4", "False", "(4294967296, 4294967296, 4294967296)"),
            ("<f4", "False", "(99999999999999999999999,)"),
            ("<f4", "False", "((((((((((2,)"),
            ("|O", "False", "(2,)"),
        ] {
            assert!(parse(&npy(descr, order, shape, &data)).is_err(), "{descr} {order} {shape}");
        }
        assert!(parse(b"\x93NUMPY\x02\x00\xff\xff\xff\xff{").is_err());
        let nested = "(".repeat(900);
        assert!(parse(&npy("<f4", "False", &nested, &data)).is_err());
    }

    /// A valid file of each format, small enough that mutations meet its header.
    fn valid() -> [Vec<u8>; 2] {
        let view = TensorView::new(Dtype::F32, vec![1, 1, 1, 2], &[0; 8]).unwrap();
        [safetensors::serialize([("input", view)], None).unwrap(), npy("<f4", "False", "(1, 1, 1, 2)", &[0; 8])]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4000) })]

        #[test]
        fn no_bytes_make_a_parser_panic(
            which in 0_usize..2,
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            length in any::<prop::sample::Index>(),
            cut in any::<bool>(),
        ) {
            let mut bytes = valid()[which].clone();
            for (index, value) in changes {
                let index = index.index(bytes.len());
                bytes[index] = value;
            }
            if cut {
                bytes.truncate(length.index(bytes.len()));
            }
            let _ = parse(&bytes);
            if let Ok(tensors) = Tensors::parse(Path::new("a.safetensors"), &bytes) {
                let _ = tensors.required("input");
            }
        }
    }
}
