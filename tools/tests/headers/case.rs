//! `Case`: what a kernel did for a layer, and the sizes that headers speak of.

use std::collections::BTreeMap;

use sepconv::unstable::{Given, Planner};
use sepconv::{Choice, Layer, Target};
use sepconv_tools::traffic::{self, Counts};

/// A layer by one variant of a kernel.
pub struct Case {
    pub layer: Layer,
    pub constants: BTreeMap<&'static str, u64>,
    /// Of each step.
    pub steps: Vec<Counts>,
}

impl Case {
    /// One of the variant's constants.
    pub fn the(&self, constant: &str) -> u64 {
        self.constants[constant]
    }

    pub fn outputs(&self) -> u64 {
        self.layer.output_shape().iter().copied().map(u64::from).product()
    }

    pub fn inputs(&self) -> u64 {
        self.layer.input_shape().iter().copied().map(u64::from).product()
    }

    pub fn channels(&self) -> u64 {
        self.layer.output_shape()[1].into()
    }

    /// Of the first step, which most layers' only one is.
    pub fn counts(&self) -> &Counts {
        &self.steps[0]
    }

    /// How many values of a buffer invocations loaded.
    pub fn loaded(&self, buffer: &str) -> u64 {
        self.counts().of(buffer).loads.values
    }

    /// How many values of the output they stored.
    pub fn stored(&self) -> u64 {
        self.counts().of("output").stores.values
    }

    /// Of all images.
    pub fn pixels(&self) -> u64 {
        self.outputs() / self.channels()
    }

    pub fn terms(&self) -> u64 {
        self.layer.describe().terms()
    }

    /// The channels and the pixels of a workgroup that multiplies from workgroup memory.
    pub fn workgroup_tile(&self) -> [u64; 2] {
        [self.the("CHANNEL_TILE") * self.the("CHANNEL_TILES"), 4 * self.the("PIXEL_FOURS") * self.the("PIXEL_TILES")]
    }

    /// How often all of the output's pixels, and all of its channels, are gone through in such workgroups.
    pub fn workgroups(&self) -> [u64; 2] {
        let [channels, pixels] = self.workgroup_tile();
        [self.channels() / channels, self.pixels() / pixels]
    }
}

/// A layer by each variant for GPUs of a kernel.
pub fn run(kernel: &str, layer: Layer) -> Vec<Case> {
    let planner = Planner::new(Target::from(sepconv::wgpu::Limits::default()));
    let cases = Choice::all(&layer, planner.target()).into_iter().filter(|(choice, _)| choice.kernel.name == kernel);
    let cases = cases.map(|(choice, variant)| {
        let program = planner.plan_with(&layer, choice).unwrap();
        let given = layer.describe().given().into_iter();
        let values = |given: &Given| vec![0.5; given.shape.iter().product::<u32>() as usize];
        let given: Vec<_> = given.map(|given| (given, values(&given))).collect();
        let steps = traffic::run(&program, &given).unwrap().steps;
        let constants = variant.constants.into_iter().map(|(name, value)| (name, value.into())).collect();
        Case { layer, constants, steps }
    });
    cases.collect()
}
