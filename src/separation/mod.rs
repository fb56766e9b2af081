//! A trained network with separable layers in the place of normal ones: which layers, and with how many filters.

mod choose;
mod layers;
mod sample;
mod whole;

pub use choose::{Candidate, Goal, Setting, Way};
pub use layers::{Form, Measured, Unchanged, measure};
pub use sample::Sample;
pub use whole::{Fidelity, Point, Whole};

use crate::context::Context;
use crate::decouple::Separated;
use crate::error::Result;
use crate::network::Network;
use crate::network::onnx::separate::{self, Replacement};
use crate::on_device::Progress;
use choose::{milliseconds, settings, spread};

/// Error against time.
#[derive(Debug)]
pub struct Curve {
    /// The layers that may change, and their ways.
    pub candidates: Vec<Candidate>,
    /// The original first.
    pub points: Vec<Point>,
    /// Which point fits the goal; none if none that does is faster than the original.
    pub chosen: Option<usize>,
}

/// How many settings of the curve are measured as whole networks.
const POINTS: usize = 8;

/// What the settings are made of, and measured with.
#[derive(Debug)]
pub struct Run<'a> {
    /// The device.
    pub context: &'a Context,
    /// The original network.
    pub network: &'a Network,
    /// The original's file.
    pub bytes: &'a [u8],
    /// The layers that may change.
    pub measured: &'a [Measured<'a>],
    /// The original and what it makes.
    pub whole: &'a Whole<'a>,
    /// What decides which setting is chosen.
    pub goal: Goal,
    /// What layers are fitted to, if they are.
    pub fit: Option<&'a [Sample]>,
}

impl Run<'_> {
    /// The bytes of the file with these layers changed, each by itself.
    fn file(&self, setting: &Setting) -> Result<Vec<u8>> {
        let chosen = self.measured.iter().zip(setting);
        let replacements: Vec<Replacement<'_>> =
            chosen.filter_map(|(measured, form)| Some(measured.replacement((*form)?))).collect();
        separate::separated(self.bytes, &replacements)
    }

    /// The bytes of the file with these layers changed. Where layers are fitted, each is fitted to what those before it make.
    fn fitted_file(&self, setting: &Setting) -> Result<Vec<u8>> {
        let Some(samples) = self.fit else { return self.file(setting) };
        let chosen = self.measured.iter().zip(setting).filter_map(|(measured, form)| Some((measured, (*form)?)));
        let mut bytes = self.bytes.to_vec();
        let mut fitted: Vec<(&Measured<'_>, Separated)> = Vec::new();
        for (measured, form) in chosen {
            let own = &measured.forms[form].separated;
            let changed = Network::from_onnx(&bytes)?;
            let networks = [&changed, self.network];
            let anew = layers::fitted_anew(self.context, networks, measured.layer, own.depth_multiplier, samples)?;
            fitted.push((measured, anew.unwrap_or_else(|| own.clone())));
            let replacements = fitted
                .iter()
                .map(|(measured, separated)| layers::replacement(measured.layer, separated, measured.is_fitted));
            bytes = separate::separated(self.bytes, &replacements.collect::<Vec<_>>())?;
        }
        Ok(bytes)
    }

    /// A setting as a whole network.
    fn point(&self, candidates: &[Candidate], setting: &Setting) -> Result<Point> {
        let file = self.fitted_file(setting)?;
        let fidelity = self.whole.fidelity(&Network::from_onnx(&file)?)?;
        let estimate = milliseconds(candidates, setting);
        Ok(Point { setting: setting.clone(), estimate, milliseconds: 0.0, fidelity, file })
    }

    /// What a form of a layer loses, and its time. With calibration that is the share of the outputs' energy, for which one
    /// form of each layer is put into the network: what is small grows in proportion.
    fn candidates(&self, progress: Progress<'_>) -> Result<Vec<Candidate>> {
        let mut candidates = Vec::new();
        for (index, measured) in self.measured.iter().enumerate() {
            progress(&measured.layer.name, index, self.measured.len());
            let energy = |form: usize| measured.forms[form].separated.error.powi(2);
            let mut factor = 1.0;
            if self.fit.is_some() {
                // One that is not so wrong that the layers behind it do something else altogether.
                let small = (0..measured.forms.len()).find(|&form| energy(form) < SMALL);
                let tried = small.unwrap_or(measured.forms.len() - 1);
                if energy(tried) > 0.0 {
                    let mut setting = vec![None; self.measured.len()];
                    setting[index] = Some(tried);
                    factor =
                        self.whole.fidelity(&Network::from_onnx(&self.file(&setting)?)?)?.error.powi(2) / energy(tried);
                }
            }
            let allowed = match self.goal {
                Goal::MaxError(error) if self.fit.is_none() => error.powi(2),
                _ => f64::INFINITY,
            };
            let way = |form: usize| Way {
                multiplier: measured.forms[form].separated.depth_multiplier,
                milliseconds: if energy(form) <= allowed { measured.forms[form].milliseconds } else { f64::INFINITY },
                loss: factor * energy(form),
            };
            let ways = (0..measured.forms.len()).map(way).collect();
            candidates.push(Candidate { milliseconds: measured.milliseconds, ways });
        }
        Ok(candidates)
    }

    /// Measures settings as whole networks and chooses one.
    ///
    /// # Errors
    /// Those of [`measure`].
    pub fn curve(&self, progress: Progress<'_>) -> Result<Curve> {
        let candidates = self.candidates(progress)?;
        let settings = settings(&candidates);
        let places = spread(settings.len(), POINTS);
        let mut points: Vec<(usize, Point)> = Vec::new();
        for &place in &places {
            progress("whole networks", points.len(), places.len());
            points.push((place, self.point(&candidates, &settings[place])?));
        }
        if let (Goal::MaxError(most), Some(_)) = (self.goal, self.fit) {
            self.find_limit(&candidates, &settings, most, &mut points)?;
        }
        let mut points: Vec<Point> = points.into_iter().map(|(_, point)| point).collect();
        let networks = points.iter().map(|point| Network::from_onnx(&point.file)).collect::<Result<Vec<_>>>()?;
        for (point, time) in points.iter_mut().zip(self.whole.times(&networks)?) {
            point.milliseconds = time;
        }
        let chosen = self.choose(&points);
        Ok(Curve { candidates, points, chosen })
    }

    /// Adds points where the error passes this, until there is no setting between the last within it and the first beyond.
    fn find_limit(
        &self,
        candidates: &[Candidate],
        settings: &[Setting],
        most: f64,
        points: &mut Vec<(usize, Point)>,
    ) -> Result<()> {
        while let Some(beyond) = points.iter().position(|(_, point)| point.fidelity.error > most) {
            let within = beyond.checked_sub(1).map_or(0, |before| points[before].0);
            let middle = usize::midpoint(within, points[beyond].0);
            if middle == within {
                break;
            }
            points.insert(beyond, (middle, self.point(candidates, &settings[middle])?));
        }
        Ok(())
    }

    /// The point that is written; none if none is faster than the original, or as fast as it must be.
    fn choose(&self, points: &[Point]) -> Option<usize> {
        let original = points[0].milliseconds;
        let fastest = |fits: &dyn Fn(&Point) -> bool| {
            let fitting = points.iter().enumerate().skip(1).filter(|(_, point)| fits(point));
            fitting.min_by(|(_, a), (_, b)| a.milliseconds.total_cmp(&b.milliseconds)).map(|(index, _)| index)
        };
        match self.goal {
            Goal::MaxError(most) => {
                fastest(&|point| point.milliseconds < original && (self.fit.is_none() || point.fidelity.error <= most))
            }
            Goal::SpeedUp(times) => {
                let fitting = points.iter().enumerate().skip(1);
                let fitting = fitting.filter(|(_, point)| point.milliseconds * times <= original);
                let least = fitting.min_by(|(_, a), (_, b)| a.fidelity.error.total_cmp(&b.fidelity.error));
                least.map(|(index, _)| index)
            }
        }
    }
}

/// The share of a layer's energy below which what is lost of the outputs grows in proportion.
const SMALL: f64 = 0.01;
