//! What the command keeps from one run to the next, in the user's cache folder: for each device the layers that
//! `sepconv tune` measured, and what its driver remembers of the pipelines that it compiled.

use std::fs;
use std::path::PathBuf;

use etcetera::BaseStrategy;
use sepconv::{Context, Tuning};

use crate::failure::{Failure, Outcome};
use crate::files;
use crate::output::complain;

/// The folder: `SEPCONV_CACHE`, or `sepconv` in the one that the system has for caches, if it has one.
fn folder() -> Option<PathBuf> {
    let named = std::env::var_os("SEPCONV_CACHE").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let own = || Some(etcetera::base_strategy::choose_native_strategy().ok()?.cache_dir().join("sepconv"));
    named.or_else(own)
}

/// Writes a file of the folder, and returns where it is.
fn keep(name: &str, bytes: &[u8]) -> Outcome<PathBuf> {
    let none = || Failure::Request("SEPCONV_CACHE is not set, and this system has no folder for caches".to_owned());
    let folder = folder().ok_or_else(none)?;
    let failed = |error| Failure::Request(format!("the cache folder {}: {error}", folder.display()));
    fs::create_dir_all(&folder).map_err(failed)?;
    let path = folder.join(name);
    files::write_whole("the cache file", &path, bytes)?;
    Ok(path)
}

/// The table that is kept for an adapter, or an empty one. A file that is no such table is ignored, which is said.
pub fn tuning(adapter: &wgpu::AdapterInfo) -> Tuning {
    let empty = Tuning::new(adapter);
    let Some(path) = folder().map(|folder| folder.join(empty.file_name())).filter(|path| path.exists()) else {
        return empty;
    };
    let read = files::read(&path).map_err(|failure| failure.to_string());
    let parsed = read.and_then(|bytes| {
        let table: Tuning =
            String::from_utf8_lossy(&bytes).parse().map_err(|error: sepconv::Error| error.to_string())?;
        if table.is_for(adapter) { Ok(table) } else { Err("it is of another device".to_owned()) }
    });
    parsed.unwrap_or_else(|reason| {
        complain(&format!("note: {} is ignored: {reason}", path.display()));
        empty
    })
}

/// Keeps a table, and returns where.
pub fn keep_tuning(table: &Tuning) -> Outcome<PathBuf> {
    keep(&table.file_name(), table.to_string().as_bytes())
}

/// The same device, compiling with what its driver remembers.
pub fn with_pipelines(context: &Context) -> Context {
    let path = || Some(folder()?.join(wgpu::util::pipeline_cache_key(&context.adapter_info())?));
    context.with_pipeline_cache(path().and_then(|path| files::read(&path).ok()).as_deref())
}

/// Keeps what the driver remembers, if that is more than it was. Not to be able to costs the next run some time only.
pub fn keep_pipelines(context: &Context) {
    let Some(name) = wgpu::util::pipeline_cache_key(&context.adapter_info()) else { return };
    let Some(data) = context.pipeline_cache_data() else { return };
    let kept = folder().and_then(|folder| files::read(&folder.join(&name)).ok());
    if kept.as_ref() != Some(&data) {
        let _ = keep(&name, &data);
    }
}
