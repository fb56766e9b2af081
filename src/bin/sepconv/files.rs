//! Files: opening what is safe to read, and writing a file whole or not at all.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use npyz::WriterBuilder;
use safetensors::tensor::{Dtype, TensorView};

use crate::failure::{Failure, Outcome};

/// A regular file and its length: not a folder, a pipe or a device, which might never end.
pub fn open(path: &Path) -> Outcome<(File, u64)> {
    let refused = |reason: String| Failure::Request(format!("{}: {reason}", path.display()));
    // Asked before it is opened, because opening a pipe waits for its other end.
    let metadata = fs::metadata(path).map_err(|error| refused(error.to_string()))?;
    if !metadata.is_file() {
        return Err(refused("it is not a regular file".to_owned()));
    }
    let file = File::open(path).map_err(|error| refused(error.to_string()))?;
    Ok((file, metadata.len()))
}

/// The longest file that is read into memory as it is: no picture that is decoded, and no list, is longer.
const MAXIMUM_WHOLE: u64 = 1 << 29;

/// The bytes of a picture or a list. A file can claim a length that takes no room on its disk.
pub fn read(path: &Path) -> Outcome<Vec<u8>> {
    let (file, length) = open(path)?;
    let refused = |reason: String| Failure::Request(format!("{}: {reason}", path.display()));
    if length > MAXIMUM_WHOLE {
        return Err(refused(format!("it has {length} bytes; at most {MAXIMUM_WHOLE} are read")));
    }
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes).map_err(|error| refused(error.to_string()))?;
    Ok(bytes)
}

/// The text of a list.
pub fn read_text(path: &Path) -> Outcome<String> {
    String::from_utf8(read(path)?).map_err(|_| Failure::Request(format!("{}: not UTF-8 text", path.display())))
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

/// Refuses a name that ends in none of these formats, or where no file can be, before anything is computed.
pub fn check_out(path: &Path, formats: &[Format]) -> Outcome {
    if Format::of(path).is_some_and(|format| formats.contains(&format)) {
        return check_place("--out", path);
    }
    let endings = formats.iter().map(|format| format!(".{}", format!("{format:?}").to_lowercase()));
    let endings = endings.collect::<Vec<_>>().join(" or ");
    Err(Failure::Request(format!("--out is {}; its name must end in {endings}", path.display())))
}

/// Refuses a place where no file can be, before anything is computed. `argument` is the option that names it.
pub fn check_place(argument: &str, path: &Path) -> Outcome {
    place(argument, path).map(|_| ())
}

/// Where a file of this name goes, and the folder that it is in. A link stays, and what it points to is written.
/// `argument` is what gave the name, for messages.
pub fn place(argument: &str, path: &Path) -> Outcome<(PathBuf, PathBuf)> {
    let failed = |reason: String| Failure::Request(format!("{argument} {}: {reason}", path.display()));
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    // A rename would put a file in the place of a folder, a pipe or a device.
    if fs::metadata(&target).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(failed("it is there and is not a regular file".to_owned()));
    }
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
    if !folder.is_dir() {
        return Err(failed(format!("there is no folder {}", folder.display())));
    }
    Ok((target, folder))
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
    write_whole("--out", path, &encoded)
}

/// Writes beside the file and renames, so that it is there whole or not at all. `argument` is the option that names it.
pub fn write_whole(argument: &str, path: &Path, bytes: &[u8]) -> Outcome {
    let (target, folder) = place(argument, path)?;
    let failed = |reason: String| Failure::Request(format!("{argument} {}: {reason}", path.display()));
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder).map_err(|error| failed(error.to_string()))?;
    file.write_all(bytes).map_err(|error| failed(error.to_string()))?;
    file.persist(target).map_err(|error| failed(error.to_string()))?;
    Ok(())
}
