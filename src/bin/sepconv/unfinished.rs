//! The file that is being written: who stops the command meanwhile finds nothing of it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use tempfile::NamedTempFile;

/// Where it is, if there is one.
static UNFINISHED: Mutex<Option<PathBuf>> = Mutex::new(None);

fn unfinished() -> MutexGuard<'static, Option<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a shell calls a program that Ctrl-C stopped.
const INTERRUPTED: i32 = 130;

/// Makes a file in a folder, which Ctrl-C and a request to end take away.
pub fn create(folder: &Path) -> io::Result<NamedTempFile> {
    static HANDLER: Once = Once::new();
    // Who ignores one of the signals, as `nohup` does, goes on ignoring it: there is no handler, and the file may stay.
    HANDLER.call_once(|| drop(ctrlc::try_set_handler(stop)));
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    // Locked until the name is known.
    let mut unfinished = unfinished();
    let file = builder.tempfile_in(folder)?;
    *unfinished = Some(file.path().to_owned());
    Ok(file)
}

/// Nothing is unfinished any more.
pub fn finished() {
    *unfinished() = None;
}

fn stop() {
    // Locked to the end, so that no other file is made.
    let unfinished = unfinished();
    if let Some(path) = &*unfinished {
        let _ = fs::remove_file(path);
    }
    std::process::exit(INTERRUPTED);
}
