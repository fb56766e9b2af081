//! What a network is run on to see what it loses: pictures, tensors, or random values.

use std::path::{Path, PathBuf};

use image::imageops::FilterType;
use sepconv::Network;
use sepconv::unstable::separation::Sample;

use crate::failure::{Failure, Outcome};
use crate::networks::{self, InputShape, PictureOptions};
use crate::picture::{self, Picture};

/// Reads files that a network is run on. `argument` is what named them. For an upscaler, which makes pictures so many times
/// as large, each picture is first made smaller by as much.
pub fn read(
    argument: &str,
    network: &Network,
    paths: &[PathBuf],
    options: &PictureOptions,
    upscaler: Option<u32>,
) -> Outcome<Vec<Sample>> {
    let read = |path: &PathBuf| {
        let within = |failure: Failure| failure.within(argument);
        let Some(times) = upscaler else {
            let given = networks::read_inputs(network, path, options).map_err(within)?;
            return Ok(Sample { given, truth: None });
        };
        if !networks::is_picture(path) {
            let message = format!("--upscaler goes with pictures; {} is none", path.display());
            return Err(Failure::Request(message).within(argument));
        }
        enlarged(network, path, options, times).map_err(within)
    };
    let samples = paths.iter().map(read).collect::<Outcome<Vec<_>>>()?;
    if let Some((path, _)) = paths.iter().zip(&samples).find(|(_, sample)| has_none(sample)) {
        let message = format!("{}: it has values that are not numbers", path.display());
        return Err(Failure::Request(message).within(argument));
    }
    Ok(samples)
}

fn has_none(sample: &Sample) -> bool {
    sample.given.iter().any(|given| given.values.iter().any(|value| !value.is_finite()))
}

/// A picture made smaller as an upscaler's input, and the picture itself.
fn enlarged(network: &Network, path: &Path, options: &PictureOptions, times: u32) -> Outcome<Sample> {
    let picture = picture::load(path)?;
    let own = [picture.height, picture.width];
    let size = options.wanted_size(network).unwrap_or(own.map(|size| size / times));
    let larger = size.map(|size| size.saturating_mul(times));
    if size.contains(&0) || larger[0] > own[0] || larger[1] > own[1] {
        let [height, width] = own;
        let [wanted_height, wanted_width] = larger.map(|size| size.max(times));
        let message = format!(
            "{}: it is {width} x {height}; the upscaler's output is {wanted_width} x {wanted_height} or more",
            path.display()
        );
        return Err(Failure::Request(message));
    }
    let truth = picture.middle(larger);
    let values: Vec<f32> = truth.values.iter().map(|value| value * options.largest()).collect();
    let is_deep = truth.is_deep;
    let small = Picture { is_deep, ..truth }.resized(size, FilterType::CatmullRom);
    Ok(Sample { given: vec![options.given(small, network)?], truth: Some(values) })
}

/// Random values for all inputs. A batch that is not known is 1.
pub fn random(network: &Network, shapes: &[InputShape]) -> Outcome<Sample> {
    Ok(Sample { given: networks::made_up(network, shapes, Some(1), ", or --calibrate an input")?, truth: None })
}
