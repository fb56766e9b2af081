//! What the command keeps from one run to the next, in the user's cache folder: for each device its tuned layers.

use std::fs;
use std::path::PathBuf;

use etcetera::BaseStrategy;
use sepconv::Tuning;

use crate::failure::{Failure, Outcome};
use crate::files;
use crate::output::complain;

/// The folder: `SEPCONV_CACHE`, or `sepconv` in the one that the system has for caches, if it has one.
fn folder() -> Option<PathBuf> {
    let named = std::env::var_os("SEPCONV_CACHE").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let own = || Some(etcetera::base_strategy::choose_native_strategy().ok()?.cache_dir().join("sepconv"));
    named.or_else(own)
}

/// The table that is kept for an adapter, or an empty one. A file that is no such table is ignored, which is said.
pub fn tuning(adapter: &wgpu::AdapterInfo) -> Tuning {
    let empty = Tuning::new(adapter);
    let Some(path) = folder().map(|folder| folder.join(empty.file_name())).filter(|path| path.exists()) else {
        return empty;
    };
    let ignored = |reason: String| complain(&format!("note: {} is ignored: {reason}", path.display()));
    let bytes = match files::read(&path) {
        Ok(bytes) => bytes,
        Err(failure) => {
            ignored(failure.to_string());
            return empty;
        }
    };
    match String::from_utf8_lossy(&bytes).parse::<Tuning>() {
        Ok(table) if table.is_for(adapter) => table,
        Ok(_) => {
            ignored("it is of another device".to_owned());
            empty
        }
        Err(error) => {
            ignored(error.to_string());
            empty
        }
    }
}

/// Keeps a table, and says where.
pub fn keep(table: &Tuning) -> Outcome<PathBuf> {
    let none = || Failure::Request("SEPCONV_CACHE is not set, and this system has no folder for caches".to_owned());
    let folder = folder().ok_or_else(none)?;
    let failed = |error| Failure::Request(format!("the cache folder {}: {error}", folder.display()));
    fs::create_dir_all(&folder).map_err(failed)?;
    let path = folder.join(table.file_name());
    files::write_whole("the tuning table", &path, table.to_string().as_bytes())?;
    Ok(path)
}
