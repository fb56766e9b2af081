//! What the subcommands for whole networks share: reading a model, and what it is to be run on.

use std::path::{Path, PathBuf};

use image::imageops::FilterType;
use sepconv::Network;
pub use sepconv::unstable::Array as Given;
use sepconv::unstable::text::{numbers, word};

use crate::failure::{Failure, Outcome};
use crate::files::{self, Format};
use crate::npy;
use crate::picture::{self, Picture};
use crate::tensors::{Array, Tensors};

/// Whether a file's name is that of a model.
pub fn is_model(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx"))
}

/// Reads a model.
pub fn load(path: &Path) -> Outcome<Network> {
    if !is_model(path) {
        return Err(Failure::Request(format!("MODEL is {}; its name must end in .onnx", path.display())));
    }
    let bytes = files::read(path)?;
    Network::from_onnx(&bytes).map_err(|error| Failure::from(error).within(&path.display().to_string()))
}

/// An input's shape as the command line gives it: `NAME=1,3,224,224`, or without a name where there is one input.
#[derive(Debug, Clone)]
pub struct InputShape {
    pub name: Option<String>,
    pub shape: Vec<u32>,
}

/// Reads `NAME=N,C,H,W`.
pub fn input_shape(text: &str) -> Result<InputShape, String> {
    let (name, shape) = text.rsplit_once('=').map_or((None, text), |(name, shape)| (Some(name.to_owned()), shape));
    Ok(InputShape { name, shape: numbers(shape)? })
}

/// The shapes by the names of a network's inputs.
pub fn named(network: &Network, shapes: &[InputShape]) -> Outcome<Vec<(String, Vec<u32>)>> {
    let names = network.input_names();
    let mut result: Vec<(String, Vec<u32>)> = Vec::new();
    for InputShape { name, shape } in shapes {
        let name = match (name, &names[..]) {
            (Some(name), _) => name.clone(),
            (None, [only]) => (*only).to_owned(),
            (None, _) => {
                let message =
                    format!("--input is {shape:?} without a name; the model has the inputs {}", names.join(", "));
                return Err(Failure::Request(message));
            }
        };
        if !names.contains(&name.as_str()) {
            let known = names.join(", ");
            return Err(Failure::Request(format!("--input names {name:?}; the model's inputs are {known}")));
        }
        if result.iter().any(|(other, _)| *other == name) {
            return Err(Failure::Request(format!("--input gives {name:?} twice")));
        }
        result.push((name, shape.clone()));
    }
    Ok(result)
}

/// [`named`], where every input must have a shape, by this or by the model.
pub fn complete(network: &Network, shapes: &[InputShape]) -> Outcome<Vec<(String, Vec<u32>)>> {
    let given = named(network, shapes)?;
    let is_open = |name: &&str| {
        !given.iter().any(|(other, _)| other == name)
            && network.input_shape(name).is_some_and(|shape| shape.contains(&None))
    };
    match network.input_names().into_iter().find(is_open) {
        Some(name) => Err(without_shape(name, "")),
        None => Ok(given),
    }
}

/// For an input whose shape neither the model nor the user says; `or` is what else the user may give.
fn without_shape(name: &str, or: &str) -> Failure {
    Failure::Request(format!("--input must give the shape of {name:?}{or}: the model does not say it"))
}

/// Whether a file is a picture.
pub fn is_picture(path: &Path) -> bool {
    matches!(Format::of(path), Some(Format::Png | Format::Jpeg))
}

/// How a picture becomes an input.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct PictureOptions {
    /// Resize a picture to this height and width [default: the model's own, or the picture's].
    #[arg(long, value_name = "H,W", value_parser = picture_size)]
    size: Option<[u32; 2]>,
    /// Subtracted from a picture's red, green and blue, which are from 0 to RANGE [default: 0,0,0].
    #[arg(long, value_name = "R,G,B", value_parser = triple, allow_hyphen_values = true)]
    mean: Option<[f32; 3]>,
    /// What they are divided by after that [default: 1,1,1].
    #[arg(long, value_name = "R,G,B", value_parser = triple, allow_hyphen_values = true)]
    std: Option<[f32; 3]>,
    /// The largest value of a picture's pixels: 1, or 255 for models that take bytes [default: 1].
    #[arg(long, value_name = "RANGE", value_parser = range)]
    range: Option<f32>,
    /// The order of a picture's channels: `rgb` or `bgr` [default: rgb].
    #[arg(long, value_name = "ORDER", value_parser = layout)]
    layout: Option<Layout>,
}

/// The order of a picture's channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    Rgb,
    Bgr,
}

fn layout(text: &str) -> Result<Layout, String> {
    match word(text).as_str() {
        "rgb" => Ok(Layout::Rgb),
        "bgr" => Ok(Layout::Bgr),
        _ => Err("it must be rgb or bgr".to_owned()),
    }
}

fn picture_size(text: &str) -> Result<[u32; 2], String> {
    match numbers(text)?[..] {
        [height, width] if height > 0 && width > 0 => Ok([height, width]),
        ref list => Err(format!("it has {} numbers; it must have 2 above 0, height,width", list.len())),
    }
}

fn float(text: &str) -> Result<f32, String> {
    text.trim().parse().ok().filter(|value: &f32| value.is_finite()).ok_or_else(|| format!("{text:?} is not a number"))
}

fn range(text: &str) -> Result<f32, String> {
    float(text).and_then(|value| if value > 0.0 { Ok(value) } else { Err("it must be a number above 0".to_owned()) })
}

fn triple(text: &str) -> Result<[f32; 3], String> {
    let values = text.split(',').map(float).collect::<Result<Vec<_>, _>>()?;
    match values[..] {
        [all] => Ok([all; 3]),
        [red, green, blue] => Ok([red, green, blue]),
        _ => Err(format!("it has {} numbers; it must have 3, for red, green and blue", values.len())),
    }
}

impl PictureOptions {
    /// The first option that was given, if one was.
    pub fn first(&self) -> Option<&'static str> {
        let given = [
            ("--size", self.size.is_some()),
            ("--mean", self.mean.is_some()),
            ("--std", self.std.is_some()),
            ("--range", self.range.is_some()),
            ("--layout", self.layout.is_some()),
        ];
        given.iter().find(|(_, given)| *given).map(|(name, _)| *name)
    }

    /// A picture as the input of a network that has one.
    fn read(&self, path: &Path, network: &Network) -> Outcome<Given> {
        self.given(picture::load(path)?, network)
    }

    /// The height and width that a picture becomes, if that does not depend on it.
    pub fn wanted_size(&self, network: &Network) -> Option<[u32; 2]> {
        let declared = network.input_names().first().and_then(|name| network.input_shape(name)).unwrap_or_default();
        let own = match *declared {
            [_, _, Some(height), Some(width)] => Some([height, width]),
            _ => None,
        };
        self.size.or(own)
    }

    /// The largest value that a pixel has.
    pub fn largest(&self) -> f32 {
        self.range.unwrap_or(1.0)
    }

    /// A picture as the input of a network that has one.
    pub fn given(&self, picture: Picture, network: &Network) -> Outcome<Given> {
        let names = network.input_names();
        let [name] = names[..] else {
            let message =
                format!("INPUT is a picture; the model has the inputs {}, and must have one", names.join(", "));
            return Err(Failure::Request(message));
        };
        let size = self.wanted_size(network).unwrap_or([picture.height, picture.width]);
        let [height, width] = size;
        if u64::from(height) * u64::from(width) > MOST_PIXELS {
            let by = if self.size.is_some() { "--size" } else { "the model" };
            let message =
                format!("{by} makes the picture {width} x {height}; it may have at most {MOST_PIXELS} pixels");
            return Err(Failure::Request(message));
        }
        let picture = picture.resized(size, FilterType::Triangle);
        let (mean, std) = (self.mean.unwrap_or([0.0; 3]), self.std.unwrap_or([1.0; 3]));
        if std.contains(&0.0) {
            return Err(Failure::Request("--std has a 0; a picture is divided by it".to_owned()));
        }
        let range = self.largest();
        let plane = picture.values.len() / 3;
        let order = if self.layout == Some(Layout::Bgr) { [2, 1, 0] } else { [0, 1, 2] };
        let channel = |channel: usize| {
            let pixels = &picture.values[channel * plane..][..plane];
            pixels.iter().map(move |&pixel| (pixel * range - mean[channel]) / std[channel])
        };
        let values = order.into_iter().flat_map(channel).collect();
        Ok(Given { name: name.to_owned(), shape: vec![1, 3, size[0], size[1]], values })
    }
}

/// The most pixels that a picture may become.
const MOST_PIXELS: u64 = 1 << 26;

/// Reads what a network is to be run on: a safetensors file with a tensor for each input, an npy file or a picture for the
/// only one.
pub fn read_inputs(network: &Network, path: &Path, options: &PictureOptions) -> Outcome<Vec<Given>> {
    let format = Format::of(path);
    if !is_picture(path)
        && let Some(option) = options.first()
    {
        return Err(Failure::Request(format!("{option} goes with a picture; INPUT is {}", path.display())));
    }
    let names = network.input_names();
    match format {
        Some(Format::Png | Format::Jpeg) => Ok(vec![options.read(path, network)?]),
        Some(Format::Npy) => {
            let [name] = names[..] else {
                let inputs = names.join(", ");
                let message =
                    format!("INPUT is one tensor; the model has the inputs {inputs}: use a .safetensors file");
                return Err(Failure::Request(message));
            };
            Ok(vec![given(name, npy::read(path)?)?])
        }
        Some(Format::Safetensors) => {
            let mut tensors = Tensors::open(path)?;
            let read = |name: &&str| {
                // Files with results beside their inputs say which is which.
                let array = match tensors.optional(name)? {
                    Some(array) => Some(array),
                    None => tensors.optional(&format!("input:{name}"))?,
                };
                given(name, array.map_or_else(|| tensors.required(name), Ok)?)
            };
            names.iter().map(read).collect()
        }
        None => {
            let path = path.display();
            Err(Failure::Request(format!("INPUT is {path}; its name must end in .safetensors, .npy, .png or .jpg")))
        }
    }
}

/// Numbers without a pattern, from 0 to 1, for each input, of the shapes that are given or the model's own. `batch` stands for
/// a batch that neither says, and `or` is what else the user may give.
pub fn made_up(network: &Network, shapes: &[InputShape], batch: Option<u32>, or: &str) -> Outcome<Vec<Given>> {
    let given = named(network, shapes)?;
    let mut random = fastrand::Rng::with_seed(1);
    let input = |name: &str| {
        let own = || {
            let sizes = network.input_shape(name)?.iter().enumerate();
            sizes.map(|(axis, size)| size.or(batch.filter(|_| axis == 0))).collect::<Option<Vec<u32>>>()
        };
        let wanted = given.iter().find(|(other, _)| other == name).map(|(_, shape)| shape.clone());
        let shape = wanted.or_else(own).ok_or_else(|| without_shape(name, or))?;
        let count = shape.iter().fold(1, |count: u64, &size| count.saturating_mul(size.into()));
        if !(1..=MOST_MADE_UP).contains(&count) {
            let message = format!("--input {name}={shape:?} has {count} values; it may have from 1 to {MOST_MADE_UP}");
            return Err(Failure::Request(message));
        }
        let values = (0..count).map(|_| random.f32()).collect();
        Ok(Given { name: name.to_owned(), shape, values })
    };
    network.input_names().into_iter().map(input).collect()
}

/// The most values that are made up for an input.
const MOST_MADE_UP: u64 = 1 << 28;

fn given(name: &str, array: Array) -> Outcome<Given> {
    let shape = array.shape.iter().map(|&size| u32::try_from(size)).collect::<Result<Vec<_>, _>>();
    let shape = shape
        .map_err(|_| Failure::Request(format!("tensor {name} has shape {:?}, which is too large", array.shape)))?;
    Ok(Given { name: name.to_owned(), shape, values: array.values })
}

/// The model that a subcommand is about.
#[derive(Debug, Clone, clap::Args)]
pub struct ModelArgument {
    /// The model: an .onnx file.
    #[arg(value_name = "MODEL.onnx")]
    pub model: PathBuf,
}
