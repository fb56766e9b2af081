//! Pictures as tensors of three channels.

use std::path::Path;

use crate::failure::{Failure, Outcome};

/// A colour picture: red, green and blue planes of values from 0 to 1.
#[derive(Debug)]
pub struct Picture {
    pub height: u32,
    pub width: u32,
    /// `[3, height, width]`
    pub values: Vec<f32>,
}

/// Reads a PNG or JPEG file.
pub fn load(path: &Path) -> Outcome<Picture> {
    let bytes = std::fs::read(path).map_err(|error| Failure::Request(format!("{}: {error}", path.display())))?;
    decode(&bytes, &path.display().to_string())
}

/// Decodes a PNG or JPEG file's bytes; `name` is for messages.
pub fn decode(bytes: &[u8], name: &str) -> Outcome<Picture> {
    let picture = image::load_from_memory(bytes).map_err(|error| Failure::Request(format!("{name}: {error}")))?;
    let picture = picture.to_rgb8();
    let (width, height) = picture.dimensions();
    let plane = |channel: usize| picture.pixels().map(move |pixel| f32::from(pixel.0[channel]) / 255.0);
    Ok(Picture { height, width, values: (0..3).flat_map(plane).collect() })
}
