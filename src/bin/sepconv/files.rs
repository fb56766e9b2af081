//! Files: opening what is safe to read, and writing a file whole or not at all.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use npyz::WriterBuilder;
use safetensors::tensor::{Dtype, TensorView};

use crate::arguments::OverwriteOption;
use crate::failure::{Failure, Outcome};
use crate::unfinished;

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

/// The kinds of file that the command reads; it writes no JPEG.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Safetensors,
    Npy,
    Png,
    Jpeg,
}

impl Format {
    /// The format that a file's name ends in.
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "safetensors" => Some(Self::Safetensors),
            "npy" => Some(Self::Npy),
            "png" => Some(Self::Png),
            "jpg" | "jpeg" => Some(Self::Jpeg),
            _ => None,
        }
    }
}

/// Refuses a name that ends in none of these formats, a place where no file can be, and an input unless the user said
/// so, before anything is computed.
pub fn check_out(path: &Path, formats: &[Format], inputs: &[&Path], overwrite: OverwriteOption) -> Outcome {
    if !Format::of(path).is_some_and(|format| formats.contains(&format)) {
        let endings = formats.iter().map(|format| format!(".{}", format!("{format:?}").to_lowercase()));
        let endings = endings.collect::<Vec<_>>().join(" or ");
        return Err(Failure::Request(format!("--out is {}; its name must end in {endings}", path.display())));
    }
    let hint = "; --overwrite-input allows that";
    check_target("--out", path, if overwrite.overwrite_input { &[] } else { inputs }, hint)
}

/// Refuses a place where no file can be, or one of these inputs is, before anything is computed. `argument` is the
/// option that names it.
pub fn check_place(argument: &str, path: &Path, inputs: &[&Path]) -> Outcome {
    check_target(argument, path, inputs, "")
}

/// [`check_place`], with a hint of what to do where an input is.
fn check_target(argument: &str, path: &Path, inputs: &[&Path], hint: &str) -> Outcome {
    place(argument, path)?;
    if inputs.iter().any(|input| is_same(path, input)) {
        return Err(Failure::Request(format!("{argument} {}: this file is also read{hint}", path.display())));
    }
    Ok(())
}

/// The most links that lead from one to the next: as many as Linux follows.
const MAXIMUM_LINKS: usize = 40;

/// What a link leads to in the end, whether or not it is there. Links in `/proc` stay: what they lead to is open and
/// need not have a name.
fn followed(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    for _ in 0..MAXIMUM_LINKS {
        let Ok(next) = fs::read_link(&path) else { break };
        if is_in_proc(folder_of(&path)) {
            break;
        }
        path = path.parent().unwrap_or(Path::new("")).join(next);
    }
    path
}

fn is_in_proc(folder: &Path) -> bool {
    fs::canonicalize(folder).is_ok_and(|folder| folder.starts_with("/proc"))
}

/// The folder that a file of this name is in.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether two names are of one file, which need not be there.
pub fn is_same(one: &Path, other: &Path) -> bool {
    let whole = |path: &Path| {
        let path = followed(path);
        Some(fs::canonicalize(folder_of(&path)).ok()?.join(path.file_name()?))
    };
    whole(one).is_some_and(|one| whole(other) == Some(one))
}

/// What is there, if anything is, or else why nothing of this name can be.
pub fn metadata(argument: &str, path: &Path) -> Outcome<Option<fs::Metadata>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::Request(format!("{argument} {}: {}", path.display(), reason(&error)))),
    }
}

/// A file without a name in a folder, or else why none can be made there. `argument` and `path` are for the message.
pub fn trial(argument: &str, path: &Path, folder: &Path) -> Outcome<File> {
    let failed = |reason: String| Failure::Request(format!("{argument} {}: {reason}", path.display()));
    if !folder.is_dir() {
        return Err(failed(format!("there is no folder {}", folder.display())));
    }
    tempfile::tempfile_in(folder)
        .map_err(|error| failed(format!("no file can be made in the folder {}: {}", folder.display(), reason(&error))))
}

/// Where a file of this name goes, and the folder that it is in. A link stays, and what it points to is written.
/// Refused is what cannot be written. `argument` is what gave the name, for messages.
fn place(argument: &str, path: &Path) -> Outcome<(PathBuf, PathBuf)> {
    let failed = |reason: String| Failure::Request(format!("{argument} {}: {reason}", path.display()));
    let target = followed(path);
    let folder = folder_of(&target).to_owned();
    if is_in_proc(&folder) {
        return Err(failed("it leads into /proc, where no file can be made".to_owned()));
    }
    if fs::symlink_metadata(&target).is_ok_and(|metadata| metadata.is_symlink()) {
        return Err(failed("it is a link that leads to other links without end".to_owned()));
    }
    // Of `a/` and `a/.` the name is `a`, and it is a folder's.
    let bytes = target.as_os_str().as_encoded_bytes();
    if !target.file_name().is_some_and(|name| bytes.ends_with(name.as_encoded_bytes())) {
        return Err(failed("it names no file".to_owned()));
    }
    let there = metadata(argument, &target)?;
    // A rename would put a file in the place of a folder, a pipe or a device.
    if there.as_ref().is_some_and(|metadata| !metadata.is_file()) {
        return Err(failed("it is there and is not a regular file".to_owned()));
    }
    let trial = trial(argument, path, &folder)?;
    if let Some(metadata) = there {
        if metadata.permissions().readonly() {
            return Err(failed("it is there and is read-only".to_owned()));
        }
        File::options().write(true).open(&target).map_err(|error| failed(reason(&error)))?;
        keep_owner(&trial, &metadata).map_err(|error| failed(format!("its owner cannot stay: {}", reason(&error))))?;
    }
    Ok((target, folder))
}

/// Gives a file the owner and the group that another one has.
#[cfg(unix)]
fn keep_owner(file: &File, of: &fs::Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};
    let own = file.metadata()?;
    if (own.uid(), own.gid()) == (of.uid(), of.gid()) { Ok(()) } else { fchown(file, Some(of.uid()), Some(of.gid())) }
}

#[cfg(not(unix))]
fn keep_owner(_: &File, _: &fs::Metadata) -> io::Result<()> {
    Ok(())
}

/// What the system says, without the name of a temporary file.
fn reason(error: &io::Error) -> String {
    if error.raw_os_error().is_some() { error.to_string() } else { error.kind().to_string() }
}

/// Writes a tensor as `output` of a safetensors file, or as an npy file.
pub fn write(path: &Path, shape: [u32; 4], values: &[f32]) -> Outcome {
    write_arrays(path, &[("output", &shape, values)])
}

/// A tensor to write: its name, its sizes, its values.
pub type Named<'a> = (&'a str, &'a [u32], &'a [f32]);

/// Writes tensors by name to a safetensors file, or the only one to an npy file.
pub fn write_arrays(path: &Path, arrays: &[Named<'_>]) -> Outcome {
    let failed = |reason: String| Failure::Request(format!("--out {}: {reason}", path.display()));
    let encoded = match (Format::of(path), arrays) {
        (Some(Format::Safetensors), _) => {
            let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
            let encoded: Vec<_> = arrays.iter().map(|(name, shape, values)| (*name, *shape, bytes(values))).collect();
            let views = encoded.iter().map(|(name, shape, bytes)| {
                let shape = shape.iter().map(|&size| size as usize).collect();
                TensorView::new(Dtype::F32, shape, bytes).map(|view| (*name, view))
            });
            let views = views.collect::<Result<Vec<_>, _>>().map_err(|error| failed(error.to_string()))?;
            safetensors::serialize(views, None).map_err(|error| failed(error.to_string()))?
        }
        (Some(Format::Npy), [(_, shape, values)]) => {
            let mut encoded = Vec::new();
            let shape: Vec<u64> = shape.iter().map(|&size| size.into()).collect();
            let options = npyz::WriteOptions::new().default_dtype().shape(&shape).writer(&mut encoded);
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

/// Writes beside the file and renames, so that it is there whole or not at all. A file that was there leaves its mode and
/// its owner. `argument` is the option that names it.
pub fn write_whole(argument: &str, path: &Path, bytes: &[u8]) -> Outcome {
    let (target, folder) = place(argument, path)?;
    let written = unfinished::create(&folder).and_then(|mut file| {
        // Before anything is in it, so that nobody reads in between what is to be private.
        if let Ok(metadata) = fs::metadata(&target) {
            // A new owner takes bits of the mode away.
            keep_owner(file.as_file(), &metadata)?;
            file.as_file().set_permissions(metadata.permissions())?;
        }
        file.as_file_mut().write_all(bytes)?;
        file.persist(&target).map(drop).map_err(|error| error.error)
    });
    unfinished::finished();
    written.map_err(|error| Failure::Computation(format!("{argument} {}: {}", path.display(), reason(&error))))
}
