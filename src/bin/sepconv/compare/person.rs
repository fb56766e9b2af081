//! A small real network run on the photograph: `MediaPipe`'s selfie segmentation, which finds the person.

use std::path::Path;
use std::time::Duration;

use image::{DynamicImage, GrayImage, ImageBuffer, Luma, Rgb, RgbImage, imageops};
use sepconv::network::ReferenceLayer;
use sepconv::timing::Spread;
use sepconv::unstable::{inputs, layer_on, timed};
use sepconv::{Context, Network};

use crate::device::Device;
use crate::failure::{Failure, Outcome};
use crate::networks::Given;
use crate::on_device;
use crate::picture::{self, Picture, byte};

/// The network: where it is from and its licence are in assets/README.md.
const MODEL: &[u8] = include_bytes!("../../../../assets/selfie_segmentation.onnx");

/// The side of the network's input and of its mask.
const SIDE: u32 = 256;

/// For how long it is timed.
const BUDGET: Duration = Duration::from_millis(500);

/// The name of the picture that is written.
pub const FILE: &str = "person.png";

/// What came of it.
pub struct Person {
    /// How likely each pixel is the person's, `SIDE` by `SIDE`.
    mask: Vec<f32>,
    pub layers: usize,
    /// None for the reference.
    pub steps: Option<usize>,
    pub weight_bytes: u64,
    pub workspace_bytes: u64,
    /// With planning and compiling, in milliseconds.
    pub first_ms: f64,
    /// Upload, one submission, read-back, in milliseconds; none for the reference.
    pub times: Option<Spread>,
    /// The largest error of a layer as a multiple of its bound; none for the reference.
    pub error: Option<f64>,
}

/// Runs the network on a picture.
pub fn compute(device: &Device, picture: &Picture) -> Outcome<Person> {
    let network = Network::from_onnx(MODEL)?;
    let name = network.input_names()[0].to_owned();
    let given = [Given { name, shape: vec![1, 3, SIDE, SIDE], values: picture.planes_at([SIDE, SIDE]) }];
    match device {
        Device::Adapter(context) => on_adapter(context, &network, &given),
        Device::Reference => by_reference(&network, &given),
    }
}

fn on_adapter(context: &Context, network: &Network, given: &[Given]) -> Outcome<Person> {
    let (on_device, outputs, first_ms) = on_device::first_run(context, network, given)?;
    let mut largest = 0.0_f64;
    network.reference_of(context.dtype(), &inputs(given), |layer| {
        let (.., error) = layer_on(context, layer)?;
        largest = if error.is_nan() { f64::INFINITY } else { largest.max(error) };
        Ok(())
    })?;
    let plan = on_device.plan();
    Ok(Person {
        layers: plan.layers().len(),
        steps: Some(plan.steps()),
        weight_bytes: plan.weight_bytes(),
        workspace_bytes: plan.workspace_bytes(),
        first_ms,
        times: Some(on_device.times(BUDGET)?),
        error: Some(largest),
        mask: outputs.into_iter().next().unwrap_or_default(),
    })
}

fn by_reference(network: &Network, given: &[Given]) -> Outcome<Person> {
    let mut layers = 0;
    let count = |_: &ReferenceLayer<'_>| {
        layers += 1;
        Ok(())
    };
    let (outputs, first_ms) = timed(|| network.reference(&inputs(given), count))?;
    let mask = outputs.into_iter().next().map(|output| output.values).unwrap_or_default();
    let (weight_bytes, workspace_bytes) = (0, 0);
    Ok(Person { mask, layers, steps: None, weight_bytes, workspace_bytes, first_ms, times: None, error: None })
}

impl Person {
    /// Writes the person before a background of light, with the mask beside it.
    pub fn write(&self, picture: &Picture, directory: &Path) -> Outcome {
        picture::save(&directory.join(FILE), &DynamicImage::from(self.draw(picture)?))
    }

    fn draw(&self, picture: &Picture) -> Outcome<RgbImage> {
        let wrong = || Failure::Computation("the network's mask has another size than its input".to_owned());
        let mask: ImageBuffer<Luma<f32>, Vec<f32>> =
            ImageBuffer::from_raw(SIDE, SIDE, self.mask.clone()).ok_or_else(wrong)?;
        let (width, height) = (picture.width, picture.height);
        let mask = imageops::resize(&mask, width, height, imageops::FilterType::Triangle);
        let grey = GrayImage::from_fn(width, height, |x, y| Luma([byte(mask.get_pixel(x, y).0[0])]));
        let plane = width as usize * height as usize;
        let mut both = RgbImage::new(2 * width, height);
        for (x, y, Luma([likely])) in mask.enumerate_pixels() {
            let pixel = y as usize * width as usize + x as usize;
            // From warm to cool light, from top to bottom.
            let down = y as f32 / height as f32;
            let light = [0.98 - 0.45 * down, 0.80 - 0.25 * down, 0.55 + 0.25 * down];
            let likely = likely.clamp(0.0, 1.0);
            let shown = [0, 1, 2].map(|channel| {
                byte(likely * picture.values[channel * plane + pixel] + (1.0 - likely) * light[channel])
            });
            both.put_pixel(x, y, Rgb(shown));
            both.put_pixel(width + x, y, Rgb([grey.get_pixel(x, y).0[0]; 3]));
        }
        Ok(both)
    }
}
