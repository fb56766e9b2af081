//! One function of a photograph, computed as two layers, as one separable layer, and as one normal convolution.

use std::path::Path;

use image::{DynamicImage, GrayImage, Luma, RgbImage, imageops};
use sepconv::{Activation, DType, SeparableConv2d, reference, verify};

use super::person;
use crate::compute::Values;
use crate::device::Device;
use crate::failure::{Failure, Outcome};
use crate::files;
use crate::picture::{self, Filter, Picture, byte};

/// Blur, both Sobel filters, sharpen: what each colour channel goes through.
const FILTERS: [Filter; 4] = {
    let [blur, sobel, sobel_horizontal, sharpen, ..] = picture::FILTERS;
    [blur, sobel, sobel_horizontal, sharpen]
};

/// How the twelve filtered channels are mixed: an output's name, its factors for red, green and blue of each filter,
/// and its bias. Luminance has the factors of ITU-R BT.709.
const MIXES: [(&str, [[f32; 3]; 4], f32); 6] = [
    ("blurred", [LUMINANCE, NOTHING, NOTHING, NOTHING], 0.0),
    ("vertical-edges", [NOTHING, LUMINANCE, NOTHING, NOTHING], 0.0),
    ("horizontal-edges", [NOTHING, NOTHING, LUMINANCE, NOTHING], 0.0),
    ("sharpened", [NOTHING, NOTHING, NOTHING, LUMINANCE], 0.0),
    ("red-against-blue", [[0.5, 0.0, -0.5], NOTHING, NOTHING, NOTHING], 0.5),
    ("detail", [[-0.85, -2.86, -0.29], NOTHING, NOTHING, [0.85, 2.86, 0.29]], 0.5),
];
const LUMINANCE: [f32; 3] = [0.2126, 0.7152, 0.0722];
const NOTHING: [f32; 3] = [0.0; 3];

/// The picture, scaled down if its longer side has more than `side` pixels.
pub fn at_most(picture: Picture, side: u32) -> Picture {
    let longest = picture.height.max(picture.width);
    if longest <= side {
        return picture;
    }
    let scaled =
        |size: u32| u32::try_from(u64::from(size) * u64::from(side) / u64::from(longest)).unwrap_or(side).max(1);
    let (height, width) = (scaled(picture.height), scaled(picture.width));
    let values = picture.planes_at([height, width]);
    Picture { height, width, values, alpha: None, is_deep: picture.is_deep }
}

/// The three ways, and how far each is from the reference.
pub struct Result {
    /// A way's name and its largest error as a multiple of the bound.
    pub errors: [(&'static str, f64); 3],
    /// The filtered channels, `[1, 12, height, width]`.
    between: Vec<f32>,
    /// The mixes, `[1, 6, height, width]`.
    output: Vec<f32>,
}

/// Weight and bias of the depthwise and of the pointwise part.
fn weights() -> [[Vec<f32>; 2]; 2] {
    let channels = || 0..3;
    let filters = channels().flat_map(|_| FILTERS.iter().flat_map(|filter| filter.taps));
    let filter_biases = channels().flat_map(|_| FILTERS.iter().map(|filter| filter.bias));
    let mixes = MIXES.iter().flat_map(|(_, mix, _)| channels().flat_map(move |channel| mix.map(|f| f[channel])));
    let mix_biases = MIXES.iter().map(|(_, _, bias)| *bias);
    [[filters.collect(), filter_biases.collect()], [mixes.collect(), mix_biases.collect()]]
}

/// Computes the function all three ways.
pub fn compute(device: &Device, picture: &Picture) -> Outcome<Result> {
    let layer = SeparableConv2d::new(3, 6, 5).depth_multiplier(4).padding(2);
    let input_shape = [1, 3, picture.height, picture.width];
    let (depthwise, pointwise) = layer.geometry(input_shape)?;
    let normal = layer.equivalent().ok_or_else(|| Failure::Computation("the layer is not linear".to_owned()))?;
    let dtype = device.dtype();
    let rounded = |values: &[f32]| values.iter().map(|&value| dtype.round(value)).collect::<Vec<_>>();
    let weights = weights().map(|part| part.map(|values| rounded(&values)));
    let parameters: [Values; 2] = weights.each_ref().map(|[weight, bias]| (weight.as_slice(), Some(bias.as_slice())));
    let [filters, mixes] = parameters;
    let (folded, folded_bias) = layer.fold_weights(filters.0, filters.1, mixes.0, mixes.1)?;

    let input = &rounded(&picture.values);
    let expected = verify::separable_reference((&depthwise, &pointwise), input, filters, mixes, None);
    let terms = depthwise.terms() + pointwise.terms();
    let error = |expected, actual: &[f32]| verify::largest_error_of(dtype, expected, Activation::None, terms, actual);

    let between = device.compute(depthwise, None, input, &[filters])?;
    let two = device.compute(pointwise, None, &between.values, &[mixes])?;
    let one = device.compute((depthwise, pointwise), None, input, &parameters)?;
    let normal = normal.geometry(input_shape)?;
    // Its weights are products, which tensors of f16 round once more: then it is another function, if by little.
    let (folded, folded_bias) = (rounded(&folded), rounded(&folded_bias));
    let of_folded = match dtype {
        DType::F32 => &expected,
        _ => &reference::conv2d(&normal, input, &folded, Some(&folded_bias), None),
    };
    let folded = device.compute(normal, None, input, &[(&folded, Some(&folded_bias))])?;
    Ok(Result {
        errors: [
            ("depthwise, then pointwise", error(&expected, &two.values)),
            ("one separable layer", error(&expected, &one.values)),
            ("the equivalent normal convolution", error(of_folded, &folded.values)),
        ],
        between: between.values,
        output: one.values,
    })
}

/// The names of the pictures that are written: one of each mix, and a sheet of everything.
fn file_names() -> impl Iterator<Item = String> {
    MIXES.iter().map(|(name, ..)| *name).chain(["sheet"]).map(|name| format!("{name}.png"))
}

/// Refuses a folder that the pictures cannot be written to, before anything is computed.
pub fn check_folder(folder: &Path, image: Option<&Path>) -> Outcome {
    let image: Vec<&Path> = image.into_iter().collect();
    if files::metadata("--out", folder)?.is_some() {
        let mut all = file_names().chain([person::FILE.to_owned()]);
        return all.try_for_each(|name| files::check_place("--out", &folder.join(name), &image));
    }
    // It is made in the nearest one that is there.
    let is_there = |folder: &&Path| folder.symlink_metadata().is_ok();
    let there = folder.ancestors().find(is_there).unwrap_or(Path::new("."));
    files::trial("--out", folder, there).map(drop)
}

/// The width of one map on the sheet, in pixels.
const CELL: u32 = 192;

impl Result {
    /// Writes one picture per mix, and a sheet of everything; returns their names.
    pub fn write(&self, picture: &Picture, directory: &Path) -> Outcome<Vec<String>> {
        let failed = |error| Failure::Request(format!("--out {}: {error}", directory.display()));
        std::fs::create_dir_all(directory).map_err(failed)?;
        let maps = (0..MIXES.len()).map(|index| DynamicImage::from(plane(&self.output, index, picture)));
        let sheet = DynamicImage::from(self.sheet(picture));
        file_names()
            .zip(maps.chain([sheet]))
            .map(|(name, map)| {
                picture::save(&directory.join(&name), &map)?;
                Ok(name)
            })
            .collect()
    }

    /// Each colour channel in its colour, the four filtered maps of it beside it, and below them the six mixes.
    fn sheet(&self, picture: &Picture) -> RgbImage {
        let mix_width = CELL * 5 / 6;
        let height = |width: u32| (width * picture.height / picture.width).clamp(1, 4 * width);
        let mut sheet = RgbImage::new(CELL * 5, height(CELL) * 3 + height(mix_width));
        let mut paste = |map: &GrayImage, tint: [bool; 3], column: u32, top: u32, width: u32| {
            let map = imageops::resize(map, width, height(width), imageops::FilterType::Triangle);
            let tinted = RgbImage::from_fn(width, height(width), |x, y| {
                let Luma([value]) = *map.get_pixel(x, y);
                image::Rgb(tint.map(|shown| if shown { value } else { value / 4 }))
            });
            imageops::replace(&mut sheet, &tinted, i64::from(column * width), i64::from(top));
        };
        let mut filtered = 0..;
        for (channel, top) in (0..3).zip((0..).step_by(height(CELL) as usize)) {
            let tint = [0, 1, 2].map(|shown| shown == channel);
            paste(&plane(&picture.values, channel, picture), tint, 0, top, CELL);
            for ((column, _), index) in (1..).zip(&FILTERS).zip(&mut filtered) {
                paste(&plane(&self.between, index, picture), tint, column, top, CELL);
            }
        }
        for (column, index) in (0..).zip(0..MIXES.len()) {
            paste(&plane(&self.output, index, picture), [true; 3], column, 3 * height(CELL), mix_width);
        }
        sheet
    }
}

/// One channel as a grey picture: 0 is black, 1 is white.
fn plane(values: &[f32], channel: usize, picture: &Picture) -> GrayImage {
    let size = (picture.height * picture.width) as usize;
    let bytes = values[channel * size..][..size].iter().map(|&value| byte(value)).collect();
    GrayImage::from_raw(picture.width, picture.height, bytes).expect("as many values as pixels")
}
