//! Each normal layer: how long it takes, how long its separable forms take, and what each of them loses.

use std::time::Duration;

use crate::context::Context;
use crate::decouple::{Decoupling, LARGEST_WINDOW, Moments, Normal, Separated};
use crate::error::{Error, Result};
use crate::geometry::Geometry;
use crate::gpu::{Bound, Tensor};
use crate::layer::Layer;
use crate::layer_tensors::LayerTensors;
use crate::network::Network;
use crate::network::onnx::separate::{NormalLayer, Replacement};
use crate::on_device::{self, OnDevice, Progress};
use crate::separable::SeparableConv2d;
use crate::timing::{Timing, measure_in_turn};

use super::sample::Sample;

/// A normal layer and its separable forms.
#[derive(Debug)]
pub struct Measured<'a> {
    /// The layer.
    pub layer: &'a NormalLayer,
    /// As the network computes it, on the first input.
    pub geometry: Geometry,
    /// Whether its forms are fitted to the layer's outputs, and their errors are those of the outputs.
    pub is_fitted: bool,
    /// The time of the normal layer.
    pub milliseconds: f64,
    /// Its separable forms, with one filter for each channel and more.
    pub forms: Vec<Form>,
}

/// A separable form of a layer.
#[derive(Debug)]
pub struct Form {
    /// Its numbers, and what it loses.
    pub separated: Separated,
    /// Its time.
    pub milliseconds: f64,
}

impl Measured<'_> {
    /// What is put in the layer's place for this form.
    pub(super) fn replacement(&self, form: usize) -> Replacement<'_> {
        replacement(self.layer, &self.forms[form].separated, self.is_fitted)
    }

    /// The fastest time of its forms.
    #[must_use]
    pub fn least(&self) -> f64 {
        self.forms.iter().map(|form| form.milliseconds).fold(f64::INFINITY, f64::min)
    }
}

/// The name of a layer that stays as it is, and why.
pub type Unchanged = (String, String);

fn in_layer(layer: &NormalLayer) -> impl Fn(Error) -> Error {
    |error| Error::Node { node: layer.name.clone(), reason: error.to_string() }
}

/// Takes every layer apart and times it. What cannot be timed is left out, with the reason.
///
/// # Errors
/// [`Error::Node`], which names the layer; those of [`OnDevice::new`] and of running it.
pub fn measure<'a>(
    context: &Context,
    network: &Network,
    layers: &'a [NormalLayer],
    samples: &[Sample],
    is_calibrated: bool,
    progress: Progress<'_>,
) -> Result<(Vec<Measured<'a>>, Vec<Unchanged>)> {
    let computed = network.layers(&on_device::shapes(&samples[0].given))?;
    let mut clock = Clock { context, times: Vec::new() };
    let (mut measured, mut others) = (Vec::new(), Vec::new());
    for (done, layer) in layers.iter().enumerate() {
        progress(&layer.name, done, layers.len());
        let own = computed.iter().find(|(name, _)| *name == layer.name).map(|(_, layer)| *layer);
        let geometry = match own {
            Some(Layer::Conv2d(geometry)) if geometry.weight_shape() == layer.shape => geometry,
            _ => {
                others.push((layer.name.clone(), "the network computes it as a part of another layer".to_owned()));
                continue;
            }
        };
        let moments = if is_calibrated { moments(context, network, None, layer, samples)? } else { None };
        let normal = Normal { shape: layer.shape, weight: &layer.weight, bias: layer.bias.as_deref() };
        let decoupling = Decoupling::new(&normal, moments.as_ref()).map_err(in_layer(layer))?;
        let forms = (1..=decoupling.most()).map(|multiplier| {
            let bias = geometry.bias || decoupling.is_fitted();
            Ok((multiplier, separable(&geometry, multiplier, bias)?))
        });
        let forms: Vec<(u32, Layer)> = forms.collect::<Result<_>>()?;
        // More multiply-adds than before save nothing on any device.
        let saves = |form: &Layer| form.multiply_adds() < geometry.multiply_adds();
        let forms: Vec<_> = forms.into_iter().filter(|(_, form)| saves(form)).collect();
        if forms.is_empty() {
            let reason = "nothing is gained: every separable form has more multiply-adds";
            others.push((layer.name.clone(), reason.to_owned()));
            continue;
        }
        let mut all = vec![Layer::Conv2d(geometry)];
        all.extend(forms.iter().map(|(_, form)| *form));
        let times = clock.times(&all)?;
        let form = |((multiplier, _), &milliseconds): (&(u32, Layer), &f64)| {
            Ok(Form { separated: decoupling.separated(*multiplier)?, milliseconds })
        };
        let forms = forms.iter().zip(&times[1..]).map(form).collect::<Result<_>>()?;
        let is_fitted = decoupling.is_fitted();
        measured.push(Measured { layer, geometry, is_fitted, milliseconds: times[0], forms });
    }
    side_by_side(&clock, &mut measured)?;
    Ok((measured, others))
}

/// Times all layers as they are in turn, so that a disturbance meets them alike, and makes the times of each one's forms
/// longer or shorter as that of the layer is.
fn side_by_side(clock: &Clock<'_>, measured: &mut [Measured<'_>]) -> Result<()> {
    let mut normal: Vec<Layer> = Vec::new();
    for Measured { geometry, .. } in measured.iter() {
        if !normal.contains(&Layer::Conv2d(*geometry)) {
            normal.push(Layer::Conv2d(*geometry));
        }
    }
    let times = clock.in_turn(&normal)?;
    for Measured { geometry, milliseconds, forms, .. } in measured {
        let together = normal.iter().zip(&times).find(|(layer, _)| **layer == Layer::Conv2d(*geometry));
        let Some((_, &time)) = together else { continue };
        let factor = if *milliseconds > 0.0 { time / *milliseconds } else { 1.0 };
        for form in forms.iter_mut() {
            form.milliseconds *= factor;
        }
        *milliseconds = time;
    }
    Ok(())
}

/// The separable form of a layer with so many filters for each channel.
fn separable(g: &Geometry, multiplier: u32, bias: bool) -> Result<Layer> {
    // Only 1 × 1 layers have one, and those are not separated.
    debug_assert!(!g.input_scale, "a scale of the input");
    let sides = g.padding;
    let layer = SeparableConv2d::new(g.in_channels, g.out_channels, g.kernel_size)
        .stride(g.stride)
        .padding([sides.top, sides.left, sides.bottom, sides.right])
        .padding_mode(g.padding_mode)
        .dilation(g.dilation)
        .depth_multiplier(multiplier)
        .depthwise_bias(false)
        .pointwise_bias(bias)
        .activation(g.activation)
        .residual(g.residual);
    Ok(Layer::SeparableConv2d(layer.geometry(g.input_shape())?))
}

/// As many windows as this for each value of a window, and at least so many, make its moments.
const WINDOWS_PER_VALUE: u64 = 16;
const FEWEST_WINDOWS: u64 = 16_384;

/// What a layer's inputs are like when the network runs on the samples; none for a layer that is too large. Where layers
/// before it were changed, what it should make of them is what it makes in the original.
fn moments(
    context: &Context,
    network: &Network,
    original: Option<&Network>,
    layer: &NormalLayer,
    samples: &[Sample],
) -> Result<Option<Moments>> {
    let [_, channels, height, width] = layer.shape.map(u64::from);
    let terms = channels * height * width;
    if terms > LARGEST_WINDOW {
        return Ok(None);
    }
    let inside = network.with_outputs(&[&layer.input])?;
    let wanted = original.map(|original| original.with_outputs(&[&layer.output])).transpose()?;
    let count = (WINDOWS_PER_VALUE * terms).max(FEWEST_WINDOWS).div_ceil(samples.len() as u64);
    let mut moments: Option<Moments> = None;
    for Sample { given, .. } in samples {
        let running = OnDevice::new(context, &inside, given, &|_, _, _| ())?;
        let outputs = running.outputs(running.once()?);
        let shape = outputs[0].shape[..].try_into().map_err(|_| Error::Node {
            node: layer.name.clone(),
            reason: format!("it reads a tensor of shape {:?}; it must have 4 axes", outputs[0].shape),
        })?;
        let geometry = layer.layer.geometry(shape)?;
        let own = match &mut moments {
            Some(moments) => moments,
            empty => empty.insert(Moments::new(&geometry)?),
        };
        let input = &outputs[0].values;
        let added = match &wanted {
            None => own.add(&geometry, input, count),
            Some(wanted) => {
                let running = OnDevice::new(context, wanted, given, &|_, _, _| ())?;
                own.add_wanted(&geometry, input, &running.once()?[0], count)
            }
        };
        added.map_err(in_layer(layer))?;
    }
    Ok(moments)
}

/// A layer's separable form fitted anew, so that it makes up for what the changed layers before it lose: `network` has those
/// changed, and `original` none.
pub(super) fn fitted_anew(
    context: &Context,
    [network, original]: [&Network; 2],
    layer: &NormalLayer,
    multiplier: u32,
    samples: &[Sample],
) -> Result<Option<Separated>> {
    let Some(moments) = moments(context, network, Some(original), layer, samples)? else { return Ok(None) };
    let normal = Normal { shape: layer.shape, weight: &layer.weight, bias: layer.bias.as_deref() };
    Ok(Some(Decoupling::new(&normal, Some(&moments))?.separated(multiplier)?))
}

/// The numbers that are put into a layer's place. Without a fit the bias is the one that is there.
pub(super) fn replacement<'a>(layer: &'a NormalLayer, separated: &'a Separated, is_fitted: bool) -> Replacement<'a> {
    let Separated { depth_multiplier, ref depthwise, ref pointwise, ref bias, .. } = *separated;
    let bias = bias.as_deref().filter(|_| is_fitted);
    Replacement { layer, depth_multiplier, depthwise, pointwise, bias }
}

/// For how long each layer is timed.
const BUDGET: Duration = Duration::from_millis(200);

/// Times layers. Layers of the same sizes are timed once.
struct Clock<'a> {
    context: &'a Context,
    times: Vec<(Vec<Layer>, Vec<f64>)>,
}

impl Clock<'_> {
    /// The times of layers, taken in turn, in milliseconds.
    fn times(&mut self, layers: &[Layer]) -> Result<Vec<f64>> {
        if let Some((_, times)) = self.times.iter().find(|(known, _)| known == layers) {
            return Ok(times.clone());
        }
        let times = self.in_turn(layers)?;
        self.times.push((layers.to_vec(), times.clone()));
        Ok(times)
    }

    fn in_turn(&self, layers: &[Layer]) -> Result<Vec<f64>> {
        let mut random = fastrand::Rng::with_seed(1);
        let bound = layers.iter().map(|layer| {
            let values = |shape: [u32; 4]| -> Vec<f32> {
                (0..shape.iter().map(|&size| u64::from(size)).product()).map(|_| random.f32() - 0.5).collect()
            };
            let values: Vec<Vec<f32>> = layer.describe().given().iter().map(|given| given.shape).map(values).collect();
            let plan = self.context.plan(*layer)?;
            let output = Tensor::zeros(self.context, layer.output_shape())?;
            LayerTensors::new(self.context, layer, &values)?.bind(&plan, &output)
        });
        let bound: Vec<Bound> = bound.collect::<Result<_>>()?;
        in_turn(self.context, &bound.iter().collect::<Vec<_>>(), BUDGET)
    }
}

/// The times of what is bound, taken in turn, in milliseconds: by one clock, the device's if it has one.
pub(super) fn in_turn(context: &Context, bound: &[&Bound], budget: Duration) -> Result<Vec<f64>> {
    let sets: Vec<&[Bound]> = bound.iter().map(|bound| std::slice::from_ref(*bound)).collect();
    let budget = budget * u32::try_from(bound.len()).unwrap_or(1);
    let timings: Vec<Timing> = pollster::block_on(measure_in_turn(context, &sets, budget))?;
    let device: Option<Vec<f64>> = timings.iter().map(|timing| Some(timing.device?.median)).collect();
    Ok(device.unwrap_or_else(|| timings.iter().map(|timing| timing.wall.median).collect()))
}
