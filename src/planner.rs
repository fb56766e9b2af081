//! `Planner`: from a layer to a program, by the kernels' rules and a table of measurements. It needs no device.

use std::cell::RefCell;
use std::sync::Arc;

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::kernels::{self, Lowering, Rank, Variant};
use crate::layer::Layer;
use crate::model::{Work, seconds};
use crate::program::Program;
use crate::target::Target;
use crate::tuning::{Choice, Tuning};

/// Plans layers for one target.
#[derive(Debug, Clone)]
pub struct Planner {
    target: Target,
    tuning: Option<Arc<Tuning>>,
    loops_written_out: Option<bool>,
}

impl Planner {
    /// A planner that goes by the kernels' rules alone.
    #[must_use]
    pub fn new(target: Target) -> Self {
        Self { target, tuning: None, loops_written_out: None }
    }

    /// The same planner, going by this table first.
    #[must_use]
    pub fn with_tuning(self, tuning: Arc<Tuning>) -> Self {
        Self { tuning: Some(tuning), ..self }
    }

    /// The same planner for another target.
    #[must_use]
    pub fn with_target(self, target: Target) -> Self {
        Self { target, ..self }
    }

    /// The same planner, with loops over constants written out in every shader, or not. Default: but for drivers in software
    /// that unroll what they need to themselves, and take longer to compile a longer text.
    #[cfg(feature = "unstable")]
    #[must_use]
    pub fn with_loops_written_out(self, written_out: bool) -> Self {
        Self { loops_written_out: Some(written_out), ..self }
    }

    /// What it plans for.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// What its table has for a layer.
    #[must_use]
    pub fn kept(&self, layer: &Layer) -> Option<Choice> {
        self.tuning.as_ref()?.choice(layer, &self.target)
    }

    /// The choice that was measured to be the fastest, or else the one that seems best.
    ///
    /// # Errors
    /// [`Error::Altered`] for sizes that do not belong together, [`Error::Unsupported`] for those that no kernel takes.
    pub fn choice(&self, layer: &Layer) -> Result<Choice> {
        self.kept(layer).map_or_else(|| self.own(layer), Ok)
    }

    /// Plans a layer with the choice that was measured to be the fastest, or else with the one that seems best.
    ///
    /// # Errors
    /// [`Error::Limit`](crate::Error::Limit) or [`Error::TooManyDispatches`](crate::Error::TooManyDispatches).
    pub fn plan(&self, layer: &Layer) -> Result<Program> {
        self.planned(layer).map(|(_, program)| program)
    }

    /// [`plan`](Self::plan), with the choice that was planned: [`choice`](Self::choice), unless that cannot be planned and another
    /// can.
    ///
    /// # Errors
    /// Those of [`plan`](Self::plan).
    pub fn planned(&self, layer: &Layer) -> Result<(Choice, Program)> {
        self.target.check()?;
        let with = |choice| Ok((choice, self.plan_with(layer, choice)?));
        if let Some(planned) = self.kept(layer).and_then(|choice| with(choice).ok()) {
            return Ok(planned);
        }
        with(self.own(layer)?).or_else(|error| {
            let mut others = self.ranked(layer).into_iter().skip(1);
            others.find_map(|choice| with(choice).ok()).ok_or(error)
        })
    }

    /// Plans a layer with this choice.
    ///
    /// # Errors
    /// Those of [`plan`](Self::plan), and [`Error::Unsupported`](crate::Error::Unsupported) if that kernel cannot
    /// compute it.
    pub fn plan_with(&self, layer: &Layer, Choice { kernel, variant, .. }: Choice) -> Result<Program> {
        self.target.check()?;
        let mut program = self.with_lowering(|lowering| kernel.lower(layer, variant, lowering))?;
        let written_out = self.loops_written_out.unwrap_or(!self.target.keeps_loops());
        for step in program.prepare.iter_mut().chain(&mut program.steps) {
            step.loops_written_out = written_out;
        }
        Ok(program)
    }

    fn with_lowering<T>(&self, lower: impl FnOnce(&Lowering<'_>) -> T) -> T {
        let work = |layer: &Layer| self.work(layer, self.choice(layer).ok()?);
        lower(&Lowering { target: &self.target, planner: &|layer, dtype| self.plan_as(layer, dtype), work: &work })
    }

    /// What the steps of a layer should take on a GPU, by this choice: a prediction. None for a device in software, and where
    /// the kernel does not say.
    #[must_use]
    pub fn work(&self, layer: &Layer, Choice { kernel, variant, .. }: Choice) -> Option<Vec<Work>> {
        if self.target.software {
            return None;
        }
        let made = kernel.variants(layer, &self.target).into_iter().nth(variant)?;
        self.with_lowering(|lowering| kernel.work(layer, &made, lowering))
    }

    /// How many seconds a layer should take by a choice, on a GPU; none if nobody knows.
    #[must_use]
    pub fn predicted(&self, layer: &Layer, choice: Choice) -> Option<f64> {
        Some(seconds(self.target.gpu, &self.work(layer, choice)?))
    }

    /// The constants in which a choice's kernel has others for the layer too, such as `row_tile=8`.
    #[cfg(feature = "unstable")]
    #[must_use]
    pub fn variant_text(&self, layer: &Layer, choice: Choice) -> String {
        let variants = choice.kernel.variants(layer, &self.target);
        let of_choice = variants.get(choice.variant).map(|variant| &variant.constants[..]).unwrap_or_default();
        let differ = |constant: &&(&str, u32)| {
            kernels::is_chosen(constant.0) && variants.iter().any(|variant| !variant.constants.contains(constant))
        };
        let texts = of_choice.iter().filter(differ).map(|(name, value)| format!("{}={value}", name.to_lowercase()));
        texts.collect::<Vec<_>>().join(" ")
    }

    /// Every candidate for a layer that nobody has to ask for: the planner's own choice first, then the others, from the one
    /// that should take the least time, or cost the least.
    pub(crate) fn ranked(&self, layer: &Layer) -> Vec<Choice> {
        let ways = Choice::unasked(layer, &self.target);
        let cost = |way: Choice, made: &Variant| self.with_lowering(|lowering| way.kernel.cost(layer, made, lowering));
        let costs = ways.map(|(way, made)| (way, self.predicted(layer, way).unwrap_or_else(|| cost(way, &made))));
        let own = self.own(layer);
        let (mut first, mut others): (Vec<_>, Vec<_>) = costs.partition(|(way, _)| own.as_ref() == Ok(way));
        others.sort_by(|(_, a), (_, b)| a.total_cmp(b));
        first.append(&mut others);
        first.into_iter().map(|(way, _)| way).collect()
    }

    /// The layers that a layer's candidates plan in their turn, each once.
    pub(crate) fn inner_layers(&self, layer: &Layer) -> Vec<Layer> {
        let inner = RefCell::new(Vec::new());
        let plan = |layer: &Layer, dtype: DType| {
            // One of another type is for another table's planner.
            let is_new = dtype == self.target.dtype && !inner.borrow().contains(layer);
            if is_new {
                inner.borrow_mut().push(*layer);
            }
            self.plan_as(layer, dtype)
        };
        let lowering = Lowering { target: &self.target, planner: &plan, work: &|_| None };
        for (Choice { kernel, variant, .. }, _) in Choice::unasked(layer, &self.target) {
            // What cannot be lowered has no layers to tune.
            let _ = kernel.lower(layer, variant, &lowering);
        }
        inner.into_inner()
    }

    /// Plans a layer of such tensors.
    fn plan_as(&self, layer: &Layer, dtype: DType) -> Result<Program> {
        if dtype == self.target.dtype {
            return self.plan(layer);
        }
        self.clone().with_target(self.target.of(dtype)).plan(layer)
    }

    /// The choice that seems best: on a GPU, of the kernels that suit the layer, the one that should take the least time; where
    /// nobody knows, the kernel of the least rank.
    fn own(&self, layer: &Layer) -> Result<Choice> {
        let kernels = kernels::supporting(layer, &self.target);
        let suiting = kernels.iter().filter(|kernel| kernel.suits(layer, &self.target));
        let ways = suiting.map(|kernel| Choice::new(kernel, 0));
        let predicted = ways.filter_map(|way| Some((way, self.predicted(layer, way)?)));
        if let Some((way, _)) = predicted.min_by(|(_, a), (_, b)| a.total_cmp(b)) {
            return Ok(way);
        }
        kernels.first().map(|kernel| Choice::new(kernel, 0)).ok_or_else(|| self.refusal(layer))
    }

    /// Why no kernel takes a layer: what the one for every layer of its kind needs.
    fn refusal(&self, layer: &Layer) -> Error {
        if layer.check().is_err() {
            return Error::Altered;
        }
        let fallback = kernels::ALL.iter().find(|kernel| kernel.rank == Rank::Fallback && kernel.computes(layer));
        let refused = fallback.and_then(|kernel| Some((kernel.name, kernel.supports(layer, &self.target).err()?)));
        refused.map_or(Error::Altered, |(kernel, reason)| Error::Unsupported { kernel, reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conv::Conv2d;
    use crate::separable::SeparableConv2d;

    #[test]
    fn candidates_start_with_the_planners_own() {
        let planner = Planner::new(wgpu::Limits::default().into());
        for (layer, channels) in [(Conv2d::new(8, 8, 1), 8), (Conv2d::new(8, 16, 3).groups(8), 8)] {
            let layer = layer.geometry([1, channels, 9, 9]).unwrap().into();
            let candidates = planner.ranked(&layer);
            assert!(candidates.len() >= 2, "{candidates:?}");
            assert_eq!(candidates[0], planner.own(&layer).unwrap());
        }
    }

    /// The tensor between the parts of a chained layer may be past a limit, where one dispatch needs none.
    #[test]
    fn what_cannot_be_planned_leaves_another() {
        let limits =
            wgpu::Limits { max_buffer_size: 8 << 20, max_storage_buffer_binding_size: 8 << 20, ..Default::default() };
        let layer =
            SeparableConv2d::new(1, 64, 3).padding(1).depth_multiplier(600).geometry([1, 1, 64, 64]).unwrap().into();
        let roomy = Planner::new(wgpu::Limits::default().into());
        let (own, _) = roomy.planned(&layer).unwrap();
        assert_eq!((own, own.kernel.name), (roomy.choice(&layer).unwrap(), "chained"));
        let planner = Planner::new(limits.into());
        assert!(matches!(planner.plan_with(&layer, planner.choice(&layer).unwrap()), Err(Error::Within { .. })));
        let (other, program) = planner.planned(&layer).unwrap();
        assert_eq!((other.kernel.name, program.kernel.as_ref()), ("separable", "separable"));
    }

    #[test]
    fn what_has_to_be_asked_for_is_no_candidate() {
        for software in [false, true] {
            let planner = Planner::new(Target { software, ..wgpu::Limits::default().into() });
            for (channels, size) in [(16, 224), (64, 56), (512, 14), (512, 7)] {
                let layer = Conv2d::new(channels, channels, 3).padding(1).geometry([8, channels, size, size]).unwrap();
                let asked = Choice::new(kernels::by_name("winograd_4x4").unwrap(), 0);
                let layer = layer.into();
                assert_eq!(planner.plan_with(&layer, asked).unwrap().kernel, "winograd_4x4");
                let ranked = planner.ranked(&layer);
                assert!(ranked.len() > 2 && !ranked.contains(&asked), "{ranked:?}");
                // Each place of its tiles would have a group of its own.
                let groups = |layer: &Layer| if let Layer::Conv2d(geometry) = layer { geometry.groups } else { 1 };
                let inner: Vec<u32> = planner.inner_layers(&layer).iter().map(groups).collect();
                assert!(inner.contains(&16) && !inner.contains(&36), "{inner:?}");
            }
        }
    }

    #[test]
    fn subgroups_of_eight_are_for_software() {
        let layer = Conv2d::new(64, 64, 3).geometry([1, 64, 20, 20]).unwrap().into();
        let chosen = |software| {
            let target = Target { software, subgroup_size: Some(8), ..wgpu::Limits::default().into() };
            Planner::new(target).own(&layer).unwrap().kernel.name
        };
        assert_eq!(chosen(true), "subgroup_gemm");
        assert_ne!(chosen(false), "subgroup_gemm");
    }

    #[test]
    fn winograd_is_for_fewer_channels_where_its_product_reads_them_in_pairs() {
        let chosen = |channels, shader_int64| {
            let geometry = Conv2d::new(channels, channels, 3).padding(1).geometry([1, channels, 28, 28]).unwrap();
            let limits = wgpu::Limits::default().into();
            let target = Target { software: true, subgroup_size: Some(8), shader_int64, ..limits };
            kernels::supporting(&geometry.into(), &target)[0].name
        };
        assert_eq!([94, 96, 97].map(|channels| chosen(channels, true)), ["subgroup_gemm", "winograd", "subgroup_gemm"]);
        assert_eq!([254, 256].map(|channels| chosen(channels, false)), ["subgroup_gemm", "winograd"]);
    }
}
