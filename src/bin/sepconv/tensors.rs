//! Tensors, and the safetensors files that hold them. A header is checked against the file's length before values are
//! read.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use half::f16;
use safetensors::tensor::{Dtype, Metadata};
use sepconv::DType;

use crate::failure::{Failure, Outcome};
use crate::files;

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

/// The most bytes that are read as one tensor: no device takes a larger buffer.
const MAXIMUM_TENSOR: u64 = 1 << 32;

/// So many bytes as little-endian values of this type. The caller has seen that the file is as long.
pub fn values(reader: impl Read, bytes: u64, dtype: DType) -> Result<Vec<f32>, String> {
    if dtype == DType::F16 {
        let halves: Vec<u16> = read(reader, bytes)?;
        return Ok(halves.into_iter().map(|half| f16::from_bits(u16::from_le(half)).to_f32()).collect());
    }
    let mut values: Vec<f32> = read(reader, bytes)?;
    if cfg!(target_endian = "big") {
        for value in &mut values {
            *value = f32::from_bits(u32::from_le(value.to_bits()));
        }
    }
    Ok(values)
}

/// So many bytes as they are.
fn read<T: bytemuck::Pod>(mut reader: impl Read, bytes: u64) -> Result<Vec<T>, String> {
    if bytes > MAXIMUM_TENSOR {
        return Err(format!("a tensor has {bytes} bytes; at most {MAXIMUM_TENSOR} are read"));
    }
    let length = usize::try_from(bytes / size_of::<T>() as u64).map_err(|error| error.to_string())?;
    let mut values: Vec<T> = Vec::new();
    values.try_reserve_exact(length).map_err(|error| error.to_string())?;
    values.resize(length, T::zeroed());
    reader.read_exact(bytemuck::cast_slice_mut(&mut values)).map_err(|error| error.to_string())?;
    Ok(values)
}

/// A safetensors file's tensors, by name.
pub struct Tensors<R> {
    path: PathBuf,
    reader: R,
    header: Metadata,
    /// Where the values start.
    start: u64,
}

/// The longest header of a safetensors file, by its specification.
const MAXIMUM_HEADER: u64 = 100_000_000;

impl Tensors<File> {
    /// Opens a file and checks its header.
    pub fn open(path: &Path) -> Outcome<Self> {
        let (file, length) = files::open(path)?;
        Self::parse(path, file, length)
    }
}

impl<R: Read + Seek> Tensors<R> {
    /// Checks the header of a file of this length; no tensor is read yet.
    fn parse(path: &Path, mut reader: R, length: u64) -> Outcome<Self> {
        let refused =
            |reason: String| Failure::Request(format!("{}: not a safetensors file: {reason}", path.display()));
        let mut prefix = [0; 8];
        reader.read_exact(&mut prefix).map_err(|_| refused("it ends before its header".to_owned()))?;
        let claimed = u64::from_le_bytes(prefix);
        let most = length.saturating_sub(8).min(MAXIMUM_HEADER);
        if claimed > most {
            return Err(refused(format!("its header claims {claimed} bytes; it may have {most}")));
        }
        let mut text = Vec::new();
        reader.by_ref().take(claimed).read_to_end(&mut text).map_err(|error| refused(error.to_string()))?;
        let header: Metadata = serde_json::from_slice(&text).map_err(|error| refused(error.to_string()))?;
        let names: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(&text).map_err(|error| refused(error.to_string()))?;
        if outer_names(&text) != names.len() {
            return Err(refused("its header has a name twice".to_owned()));
        }
        let start = 8 + claimed;
        let end = start.saturating_add(header.data_len() as u64);
        if end != length {
            return Err(refused(format!("its tensors end at byte {end}; the file has {length}")));
        }
        Ok(Self { path: path.to_owned(), reader, header, start })
    }

    /// The tensor of this name, if there is one.
    pub fn optional(&mut self, name: &str) -> Outcome<Option<Array>> {
        let Some(info) = self.header.info(name) else { return Ok(None) };
        let refused = |reason: String| Failure::Request(format!("{}: tensor {name} {reason}", self.path.display()));
        let dtype = match info.dtype {
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            other => return Err(refused(format!("has dtype {other:?}; it must be F32 or F16"))),
        };
        let (first, end) = info.data_offsets;
        let position = SeekFrom::Start(self.start + first as u64);
        self.reader.seek(position).map_err(|error| refused(format!("cannot be read: {error}")))?;
        let values = values(&mut self.reader, (end - first) as u64, dtype);
        let values = values.map_err(|error| refused(format!("cannot be read: {error}")))?;
        Ok(Some(Array { shape: info.shape.iter().map(|&size| size as u64).collect(), values }))
    }

    /// The tensor of this name.
    pub fn required(&mut self, name: &str) -> Outcome<Array> {
        self.optional(name)?.ok_or_else(|| {
            let mut names = self.header.offset_keys();
            names.sort_unstable();
            let more = names.len().saturating_sub(SHOWN_NAMES);
            names.truncate(SHOWN_NAMES);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let (path, names) = (self.path.display(), names.join(", "));
            Failure::Request(format!("{path}: tensor {name} is missing; the file has {names}{more}"))
        })
    }
}

/// How many of a file's names a message shows.
const SHOWN_NAMES: usize = 8;

/// How many names the outermost object of a valid JSON text has, counting a name each time that it stands there. The
/// format forbids a second time; its parser keeps one of the two.
fn outer_names(json: &[u8]) -> usize {
    let (mut depth, mut in_string, mut escaped, mut names) = (0_u32, false, false, 0);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b':' if depth == 1 => names += 1,
            _ => {}
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use safetensors::tensor::TensorView;
    use std::io::Cursor;

    fn parse(bytes: Vec<u8>) -> Outcome<Tensors<Cursor<Vec<u8>>>> {
        let length = bytes.len() as u64;
        Tensors::parse(Path::new("a.safetensors"), Cursor::new(bytes), length)
    }

    #[test]
    fn names_are_counted_where_they_stand() {
        for (json, count) in [
            (r"{}", 0),
            (r#"{"a":{"b":1,"c":[{"d":2}]},"a":3}"#, 2),
            (r#"{"a:\"{":"}:","\\":":"}"#, 2),
            (r#"{"__metadata__":null,"a":{}}"#, 2),
        ] {
            assert_eq!(outer_names(json.as_bytes()), count, "{json}");
        }
    }

    /// A valid file, small enough that changes meet its header.
    fn valid() -> Vec<u8> {
        let view = TensorView::new(Dtype::F32, vec![1, 1, 1, 2], &[0; 8]).unwrap();
        safetensors::serialize([("input", view)], None).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4000) })]

        #[test]
        fn no_bytes_make_the_parser_panic(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            length in any::<prop::sample::Index>(),
            cut in any::<bool>(),
        ) {
            let mut bytes = valid();
            for (index, value) in changes {
                let index = index.index(bytes.len());
                bytes[index] = value;
            }
            if cut {
                bytes.truncate(length.index(bytes.len()));
            }
            if let Ok(mut tensors) = parse(bytes) {
                let _ = tensors.required("input");
            }
        }
    }
}
