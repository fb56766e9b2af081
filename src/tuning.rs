//! `Tuning`: for each layer that was tuned on a device, which kernel and which of its variants was the fastest, and for
//! each separable layer whether one dispatch was.
//!
//! As text it is a few lines that say which device and which version of this crate it is of, an empty line, and a line
//! per layer: its sizes, a colon, the kernel and its constants, or `chained`. Whatever in it does not match what this
//! version of the crate would try on this device is ignored, so that an old or a damaged table can cost time but no
//! result.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::geometry::{Geometry, Sides, Size};
use crate::kernels::{Target, Variant, descriptions};
use crate::pipeline::hash;
use crate::schedule::{Choice, Schedule};
use crate::separable_choice::SeparableChoice;

/// The tuned layers of one device.
///
/// [`tune`](crate::tune::tune) measures them; [`Context::with_tuning`](crate::Context::with_tuning) makes plans use
/// them. `to_string` and `parse` write and read it, so that a program can ship a table as a text file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tuning {
    /// What it holds for: the lines up to the empty one.
    head: String,
    /// From a layer's sizes to its kernel with the constants.
    entries: BTreeMap<String, String>,
}

/// The line that every table starts with.
const TITLE: &str = "sepconv tuning table";

impl Tuning {
    /// An empty table for an adapter, its driver, and the shaders of this version of the crate.
    #[must_use]
    pub fn new(adapter: &wgpu::AdapterInfo) -> Self {
        let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let shaders = hash(descriptions().flat_map(|kernel| kernel.wgsl.bytes()));
        let lines = [
            TITLE.to_owned(),
            format!("version: {}, shaders {shaders:016x}", env!("CARGO_PKG_VERSION")),
            format!("adapter: {}, {:x}:{:x}", one_line(&adapter.name), adapter.vendor, adapter.device),
            format!("driver: {} {}", one_line(&adapter.driver), one_line(&adapter.driver_info)),
            format!("backend: {:?}", adapter.backend),
        ];
        Self { head: lines.join("\n"), entries: BTreeMap::new() }
    }

    /// Whether this table holds for an adapter, its driver and this version of the crate.
    #[must_use]
    pub fn is_for(&self, adapter: &wgpu::AdapterInfo) -> bool {
        self.head == Self::new(adapter).head
    }

    /// A name for the table's file, different for each device and version.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("tuning-{:016x}.txt", hash(self.head.bytes()))
    }

    /// How many layers it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it has no layer.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Keeps a choice for a layer, in the place of an earlier one. One that this target does not have is not kept.
    pub fn insert<Layer: Tunable>(&mut self, layer: &Layer, target: &Target, choice: Layer::Choice) {
        if let Some((_, text)) = layer.ways(target).into_iter().find(|(way, _)| *way == choice) {
            self.entries.insert(layer.text(), text);
        }
    }

    /// The choice that was kept for a layer; none if there is none, or none that this target has.
    #[must_use]
    pub fn choice<Layer: Tunable>(&self, layer: &Layer, target: &Target) -> Option<Layer::Choice> {
        let kept = self.entries.get(&layer.text())?;
        layer.ways(target).into_iter().find_map(|(way, text)| (text == *kept).then_some(way))
    }

    /// Plans a layer in the way that was kept for it, or else in the one that seems best.
    ///
    /// # Errors
    /// [`Error::Limit`] or [`Error::TooManyDispatches`].
    pub fn schedule(&self, geometry: &Geometry, target: &Target) -> Result<Schedule> {
        let kept = self.choice(geometry, target).map(|choice| Schedule::with_choice(geometry, target, choice));
        // What takes too many dispatches that way may still do in the other.
        kept.and_then(Result::ok).map_or_else(|| Schedule::new(geometry, target, None), Ok)
    }
}

/// What a choice is made for: a convolution's sizes, or those of a separable layer's depthwise and pointwise part.
pub trait Tunable {
    /// One way to compute it.
    type Choice: Copy + PartialEq + fmt::Display;

    /// Everything of it that constants and grids are made of, in one line.
    fn text(&self) -> String;

    /// Every way to compute it on a target, with the kernel and its constants in one line; the planner's own first.
    fn ways(&self, target: &Target) -> Vec<(Self::Choice, String)>;
}

impl Tunable for Geometry {
    type Choice = Choice;

    fn text(&self) -> String {
        let shape = |shape: [u32; 4]| shape.map(|size| size.to_string()).join("x");
        let size = |size: Size| format!("{}x{}", size.height, size.width);
        let Sides { top, left, bottom, right } = self.padding;
        let activation = format!("{:?}", self.activation);
        // The numbers of an activation are not compiled in.
        let activation = activation.split('(').next().unwrap_or_default();
        format!(
            "input {} weight {} groups {} stride {} dilation {} padding {top},{left},{bottom},{right} {:?}{}{} {activation}",
            shape(self.input_shape()),
            shape(self.weight_shape()),
            self.groups,
            size(self.stride),
            size(self.dilation),
            self.padding_mode,
            if self.bias { " bias" } else { "" },
            if self.residual { " residual" } else { "" },
        )
    }

    fn ways(&self, target: &Target) -> Vec<(Choice, String)> {
        let ways = Choice::all(self, target).into_iter();
        ways.map(|(choice, variant)| (choice, choice_text(choice.kernel.name, &variant))).collect()
    }
}

impl Tunable for (Geometry, Geometry) {
    type Choice = SeparableChoice;

    fn text(&self) -> String {
        format!("depthwise {}, pointwise {}", self.0.text(), self.1.text())
    }

    fn ways(&self, target: &Target) -> Vec<(SeparableChoice, String)> {
        let text = |choice, variant: Option<Variant>| match (choice, variant) {
            (SeparableChoice::Fused { kernel, .. }, Some(variant)) => choice_text(kernel.name, &variant),
            _ => choice.to_string(),
        };
        let ways = SeparableChoice::all(self, target).into_iter();
        ways.map(|(choice, variant)| (choice, text(choice, variant))).collect()
    }
}

/// A kernel and the constants of one of its variants, in one line.
fn choice_text(kernel: &str, variant: &Variant) -> String {
    let constants = variant.constants.iter().map(|(name, value)| format!(" {name}={value}"));
    std::iter::once(kernel.to_owned()).chain(constants).collect()
}

impl fmt::Display for Tuning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.head)?;
        self.entries.iter().try_for_each(|(layer, choice)| writeln!(f, "{layer}: {choice}"))
    }
}

impl FromStr for Tuning {
    type Err = Error;

    /// Reads a table.
    ///
    /// # Errors
    /// [`Error::NoTable`] with the first line that cannot be one of a table's.
    fn from_str(text: &str) -> Result<Self> {
        let refused = |line: usize| Error::NoTable { line };
        let mut lines = text.lines().zip(1..);
        let head: Vec<&str> = lines.by_ref().map(|(line, _)| line).take_while(|line| !line.is_empty()).collect();
        if head.first() != Some(&TITLE) {
            return Err(refused(1));
        }
        let entries = lines.map(|(line, number)| {
            let (layer, choice) = line.split_once(": ").ok_or(refused(number))?;
            Ok((layer.to_owned(), choice.to_owned()))
        });
        Ok(Self { head: head.join("\n"), entries: entries.collect::<Result<_>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Activation, Conv2d, SeparableConv2d};

    fn adapter(driver: &str) -> wgpu::AdapterInfo {
        let mut info = wgpu::AdapterInfo::new(wgpu::DeviceType::DiscreteGpu, wgpu::Backend::Vulkan);
        (info.name, info.driver, info.driver_info) = ("A GPU".to_owned(), driver.to_owned(), "1.2\n3".to_owned());
        info
    }

    fn target() -> Target {
        wgpu::Limits::default().into()
    }

    fn geometry() -> Geometry {
        Conv2d::new(4, 8, 3).padding(1).geometry([2, 4, 9, 9]).unwrap()
    }

    /// A way that is not the planner's own.
    fn other(geometry: &Geometry) -> Choice {
        Choice::all(geometry, &target()).last().unwrap().0
    }

    fn table() -> Tuning {
        let mut tuning = Tuning::new(&adapter("d"));
        tuning.insert(&geometry(), &target(), other(&geometry()));
        tuning
    }

    #[test]
    fn a_choice_is_kept_through_text() {
        let tuning: Tuning = table().to_string().replace('\n', "\r\n").parse().unwrap();
        assert_eq!(tuning, table());
        assert!(tuning.is_for(&adapter("d")));
        let chosen = other(&geometry());
        assert_eq!(tuning.choice(&geometry(), &target()), Some(chosen));
        let schedule = tuning.schedule(&geometry(), &target()).unwrap();
        assert_eq!(schedule.kernel.name, chosen.kernel.name);
        assert_ne!(schedule.kernel.name, Schedule::new(&geometry(), &target(), None).unwrap().kernel.name);
    }

    fn separable() -> SeparableConv2d {
        SeparableConv2d::new(4, 160, 3).padding(1)
    }

    const SEPARABLE_SHAPE: [u32; 4] = [1, 4, 9, 9];

    /// Every way to compute that layer.
    fn separable_ways() -> Vec<SeparableChoice> {
        let ways = SeparableChoice::all(&separable().geometry(SEPARABLE_SHAPE).unwrap(), &target());
        ways.into_iter().map(|(choice, _)| choice).collect()
    }

    fn separable_table(choice: SeparableChoice) -> Tuning {
        let mut tuning = table();
        tuning.insert(&separable().geometry(SEPARABLE_SHAPE).unwrap(), &target(), choice);
        tuning
    }

    #[test]
    fn a_separable_choice_is_kept_through_text() {
        let geometries = separable().geometry(SEPARABLE_SHAPE).unwrap();
        assert_eq!(separable_ways().len(), 4, "chained, and three tilings");
        for chosen in separable_ways() {
            let text = separable_table(chosen).to_string();
            assert_eq!(text.lines().count(), table().to_string().lines().count() + 1, "{text}");
            let tuning: Tuning = text.parse().unwrap();
            assert_eq!(tuning.choice(&geometries, &target()), Some(chosen));
            assert_eq!(tuning.choice(&geometry(), &target()), Some(other(&geometry())), "the other layer's stays");
            for part in [geometries.0, geometries.1] {
                assert_eq!(tuning.choice(&part, &target()), None, "the parts are layers of their own");
            }
        }
    }

    #[test]
    fn both_parts_are_part_of_a_separable_layers_key() {
        let tuning = separable_table(SeparableChoice::Chained);
        let base = separable();
        for (layer, shape) in [
            (base, [2, 4, 9, 9]),
            (base.stride(2), SEPARABLE_SHAPE),
            (base.depth_multiplier(2), SEPARABLE_SHAPE),
            (base.depthwise_bias(false), SEPARABLE_SHAPE),
            (base.depthwise_activation(Activation::Relu), SEPARABLE_SHAPE),
            (base.pointwise_bias(false), SEPARABLE_SHAPE),
            (base.activation(Activation::Relu), SEPARABLE_SHAPE),
            (base.residual(true), SEPARABLE_SHAPE),
            (SeparableConv2d::new(4, 161, 3).padding(1), SEPARABLE_SHAPE),
        ] {
            let choice = tuning.choice(&layer.geometry(shape).unwrap(), &target());
            assert!(choice.is_none(), "{layer:?} on {shape:?} has {choice:?}");
        }
    }

    #[test]
    fn a_separable_choice_that_no_way_matches_is_none() {
        let geometries = separable().geometry(SEPARABLE_SHAPE).unwrap();
        for (chosen, old, new) in [
            (SeparableChoice::Chained, ": chained", ": chain"),
            (SeparableChoice::by_name("separable", 0).unwrap(), ": separable", ": direct"),
            (SeparableChoice::by_name("separable", 1).unwrap(), "CHANNEL_TILES=8", "CHANNEL_TILES=9"),
        ] {
            let text = separable_table(chosen).to_string();
            let changed = text.replace(old, new);
            assert_ne!(changed, text);
            assert_eq!(changed.parse::<Tuning>().unwrap().choice(&geometries, &target()), None, "{changed}");
        }
        // Nor is one kept that this target does not have.
        let without = separable_table(SeparableChoice::by_name("subgroup_separable", 0).unwrap());
        assert_eq!(without, table());
    }

    #[test]
    fn every_size_is_part_of_the_key() {
        let tuning = table();
        let base = Conv2d::new(4, 8, 3).padding(1);
        for (layer, shape) in [
            (base, [1, 4, 9, 9]),
            (base, [2, 4, 10, 9]),
            (base, [2, 4, 9, 10]),
            (Conv2d::new(4, 16, 3).padding(1), [2, 4, 9, 9]),
            (Conv2d::new(4, 8, [3, 1]).padding(1), [2, 4, 9, 9]),
            (base.groups(2), [2, 4, 9, 9]),
            (base.stride([1, 2]), [2, 4, 9, 9]),
            (base.dilation([2, 1]), [2, 4, 9, 9]),
            (base.padding([1, 1, 1, 0]), [2, 4, 9, 9]),
            (base.padding_mode(crate::PaddingMode::Reflect), [2, 4, 9, 9]),
            (base.bias(false), [2, 4, 9, 9]),
            (base.residual(true), [2, 4, 9, 9]),
            (base.activation(Activation::Silu), [2, 4, 9, 9]),
        ] {
            let choice = tuning.choice(&layer.geometry(shape).unwrap(), &target());
            assert!(choice.is_none(), "{layer:?} on {shape:?} has {choice:?}");
        }
    }

    #[test]
    fn another_driver_shader_or_version_is_another_table() {
        assert!(!table().is_for(&adapter("e")));
        assert_ne!(table().file_name(), Tuning::new(&adapter("e")).file_name());
        let version = concat!("version: ", env!("CARGO_PKG_VERSION"));
        for (old, new) in [(version, "version: 0.0.0"), ("shaders ", "shaders f")] {
            let text = table().to_string().replace(old, new);
            assert_ne!(text, table().to_string());
            assert!(!text.parse::<Tuning>().unwrap().is_for(&adapter("d")), "{text}");
        }
    }

    #[test]
    fn what_is_no_table_is_refused_by_line() {
        let text = table().to_string();
        for (text, line) in [
            (String::new(), 1),
            ("{}".to_owned(), 1),
            (text.replace(TITLE, "sepconv tuning tabel"), 1),
            (text.replace("None: ", "None "), 7),
            (format!("{text}\n"), 8),
        ] {
            assert_eq!(text.parse::<Tuning>(), Err(Error::NoTable { line }), "{text}");
        }
    }

    #[test]
    fn a_table_that_was_cut_or_changed_gives_a_choice_that_exists_or_none() {
        let text = table().to_string();
        for end in 0..text.len() {
            let Ok(tuning) = text[..end].parse::<Tuning>() else { continue };
            assert!(end + 1 == text.len() || tuning.choice(&geometry(), &target()).is_none(), "{:?}", &text[..end]);
        }
        let kernel = other(&geometry()).kernel.name;
        for changed in [text.replace(kernel, "fastest"), text.replace("STRIDE_WIDTH=1", "STRIDE_WIDTH=2")] {
            assert_ne!(changed, text);
            let tuning: Tuning = changed.parse().unwrap();
            assert!(tuning.choice(&geometry(), &target()).is_none(), "{changed}");
            assert!(tuning.schedule(&geometry(), &target()).is_ok());
        }
    }
}
