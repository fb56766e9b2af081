//! One function of a photograph, computed as two layers, as one separable layer, and as one normal convolution.

use std::path::Path;

use image::{GrayImage, Luma, RgbImage, imageops};
use sepconv::{
    Activation, Context, Conv2d, Geometry, Operands, SeparableConv2d, SeparableOperands, Tensor, reference, verify,
};

use crate::device::Device;
use crate::failure::{Failure, Outcome};
use crate::picture::Picture;

/// The filters that each colour channel goes through, 5 × 5, in rows. All but the blur are 3 × 3 with a rim of zeros.
const FILTERS: [(&str, [f32; 25], f32); 4] = [
    ("blur", binomial(), 0.0),
    ("vertical edges", centred([-1.0, 0.0, 1.0, -2.0, 0.0, 2.0, -1.0, 0.0, 1.0], 0.25), 0.5),
    ("horizontal edges", centred([-1.0, -2.0, -1.0, 0.0, 0.0, 0.0, 1.0, 2.0, 1.0], 0.25), 0.5),
    ("sharpen", centred([0.0, -1.0, 0.0, -1.0, 5.0, -1.0, 0.0, -1.0, 0.0], 1.0), 0.0),
];

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

/// A 3 × 3 filter in the middle of a 5 × 5 one.
const fn centred(filter: [f32; 9], scale: f32) -> [f32; 25] {
    let mut wide = [0.0; 25];
    let mut tap = 0;
    while tap < 9 {
        wide[(tap / 3 + 1) * 5 + tap % 3 + 1] = filter[tap] * scale;
        tap += 1;
    }
    wide
}

/// The outer product of (1 4 6 4 1) / 16 with itself, which is close to a Gaussian of standard deviation 1.
const fn binomial() -> [f32; 25] {
    let row = [1.0, 4.0, 6.0, 4.0, 1.0];
    let mut filter = [0.0; 25];
    let mut tap = 0;
    while tap < 25 {
        filter[tap] = row[tap / 5] * row[tap % 5] / 256.0;
        tap += 1;
    }
    filter
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

/// The weights and biases of both parts.
struct Weights {
    depthwise: Vec<f32>,
    depthwise_bias: Vec<f32>,
    pointwise: Vec<f32>,
    pointwise_bias: Vec<f32>,
}

fn weights() -> Weights {
    let channels = || 0..3;
    let mixes = MIXES.iter().flat_map(|(_, mix, _)| channels().flat_map(move |channel| mix.map(|f| f[channel])));
    Weights {
        depthwise: channels().flat_map(|_| FILTERS.iter().flat_map(|(_, filter, _)| *filter)).collect(),
        depthwise_bias: channels().flat_map(|_| FILTERS.iter().map(|(_, _, bias)| *bias)).collect(),
        pointwise: mixes.collect(),
        pointwise_bias: MIXES.iter().map(|(_, _, bias)| *bias).collect(),
    }
}

/// Computes the function all three ways.
pub fn compute(device: &Device, picture: &Picture) -> Outcome<Result> {
    let layer = SeparableConv2d::new(3, 6, 5).depth_multiplier(4).padding(2);
    let input_shape = [1, 3, picture.height, picture.width];
    let (depthwise, pointwise) = layer.geometry(input_shape)?;
    let normal = layer.equivalent().ok_or_else(|| Failure::Computation("the layer is not linear".to_owned()))?;
    let w = weights();
    let (folded, folded_bias) =
        layer.fold_weights(&w.depthwise, Some(&w.depthwise_bias), &w.pointwise, Some(&w.pointwise_bias))?;

    let expected = verify::separable_reference(
        (&depthwise, &pointwise),
        &picture.values,
        (&w.depthwise, Some(&w.depthwise_bias)),
        (&w.pointwise, Some(&w.pointwise_bias)),
    );
    let terms = depthwise.terms() + pointwise.terms();
    let error = |actual: &[f32]| verify::largest_error(&expected, Activation::None, terms, actual);

    let (depthwise_layer, pointwise_layer) = layer.layers()?;
    let between = conv2d(device, &depthwise_layer, input_shape, &picture.values, &w.depthwise, &w.depthwise_bias)?;
    let two = conv2d(device, &pointwise_layer, depthwise.output_shape(), &between, &w.pointwise, &w.pointwise_bias)?;
    let one = separable(device, &layer, (&depthwise, &pointwise), &picture.values, &w)?;
    let folded = conv2d(device, &normal, input_shape, &picture.values, &folded, &folded_bias)?;
    Ok(Result {
        errors: [
            ("depthwise, then pointwise", error(&two)),
            ("one separable layer", error(&one)),
            ("the equivalent normal convolution", error(&folded)),
        ],
        between,
        output: one,
    })
}

/// Runs one layer with a bias and reads its output back.
fn conv2d(
    device: &Device,
    layer: &Conv2d,
    input_shape: [u32; 4],
    input: &[f32],
    weight: &[f32],
    bias: &[f32],
) -> Outcome<Vec<f32>> {
    let geometry = layer.geometry(input_shape)?;
    let Device::Adapter(context) = device else {
        return Ok(rounded(&reference::conv2d(&geometry, input, weight, Some(bias), None).values));
    };
    let plan = layer.plan(context, input_shape)?;
    let input = Tensor::from_slice(context, input_shape, input)?;
    let weight = Tensor::from_slice(context, geometry.weight_shape(), weight)?;
    let bias = Tensor::from_slice(context, geometry.bias_shape(), bias)?;
    let output = Tensor::zeros(context, plan.output_shape())?;
    plan.bind(Operands::new(&input, &weight, &output).bias(&bias))?.run()?;
    Ok(output.read_blocking(context)?)
}

/// Runs the separable layer as one and reads its output back.
fn separable(
    device: &Device,
    layer: &SeparableConv2d,
    (depthwise, pointwise): (&Geometry, &Geometry),
    input: &[f32],
    w: &Weights,
) -> Outcome<Vec<f32>> {
    let context: &Context = match device {
        Device::Adapter(context) => context,
        Device::Reference => {
            let values = verify::separable_reference(
                (depthwise, pointwise),
                input,
                (&w.depthwise, Some(&w.depthwise_bias)),
                (&w.pointwise, Some(&w.pointwise_bias)),
            );
            return Ok(rounded(&values.values));
        }
    };
    let plan = layer.plan(context, depthwise.input_shape())?;
    let input = Tensor::from_slice(context, depthwise.input_shape(), input)?;
    let depthwise_weight = Tensor::from_slice(context, depthwise.weight_shape(), &w.depthwise)?;
    let depthwise_bias = Tensor::from_slice(context, depthwise.bias_shape(), &w.depthwise_bias)?;
    let pointwise_weight = Tensor::from_slice(context, pointwise.weight_shape(), &w.pointwise)?;
    let pointwise_bias = Tensor::from_slice(context, pointwise.bias_shape(), &w.pointwise_bias)?;
    let output = Tensor::zeros(context, plan.output_shape())?;
    let operands = SeparableOperands {
        input: &input,
        depthwise_weight: &depthwise_weight,
        depthwise_bias: Some(&depthwise_bias),
        pointwise_weight: &pointwise_weight,
        pointwise_bias: Some(&pointwise_bias),
        residual: None,
        output: &output,
    };
    plan.bind(operands)?.run()?;
    Ok(output.read_blocking(context)?)
}

#[expect(clippy::cast_possible_truncation, reason = "the reference's values, as an f32 result would hold them")]
fn rounded(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&value| value as f32).collect()
}

/// The width of one map on the sheet, in pixels.
const CELL: u32 = 192;

impl Result {
    /// Writes one picture per mix, and a sheet of everything; returns their names.
    pub fn write(&self, picture: &Picture, directory: &Path) -> Outcome<Vec<String>> {
        let failed =
            |error: &dyn std::fmt::Display| Failure::Request(format!("--out {}: {error}", directory.display()));
        std::fs::create_dir_all(directory).map_err(|error| failed(&error))?;
        let mut names = Vec::new();
        for (index, (name, ..)) in MIXES.iter().enumerate() {
            let name = format!("{name}.png");
            plane(&self.output, index, picture).save(directory.join(&name)).map_err(|error| failed(&error))?;
            names.push(name);
        }
        self.sheet(picture).save(directory.join("sheet.png")).map_err(|error| failed(&error))?;
        names.push("sheet.png".to_owned());
        Ok(names)
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
        for channel in 0..3 {
            let top = channel as u32 * height(CELL);
            let tint = [0, 1, 2].map(|shown| shown == channel);
            paste(&plane(&picture.values, channel, picture), tint, 0, top, CELL);
            for filter in 0..FILTERS.len() {
                let map = plane(&self.between, channel * FILTERS.len() + filter, picture);
                paste(&map, tint, filter as u32 + 1, top, CELL);
            }
        }
        for index in 0..MIXES.len() {
            paste(&plane(&self.output, index, picture), [true; 3], index as u32, 3 * height(CELL), mix_width);
        }
        sheet
    }
}

/// One channel as a grey picture: 0 is black, 1 is white.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what a byte holds")]
fn plane(values: &[f32], channel: usize, picture: &Picture) -> GrayImage {
    let size = (picture.height * picture.width) as usize;
    let bytes = values[channel * size..][..size].iter().map(|value| (value.clamp(0.0, 1.0) * 255.0).round() as u8);
    let bytes = bytes.collect();
    GrayImage::from_raw(picture.width, picture.height, bytes).expect("as many values as pixels")
}
