//! `Tuning`: for each layer that was tuned on a device, which kernel and which of its variants was the fastest.
//!
//! As text it begins with a few lines that say which device and which version of this crate it is for. After an empty
//! line comes one line for each layer: its sizes, a colon, the kernel and its constants. A choice that this version of
//! the crate would not try on this device is ignored, so an old or a damaged table can cost time but no result.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::kernels::{self, Kernel, Variant};
use crate::layer::Layer;
use crate::shader::hash;
use crate::target::Target;

/// A candidate for a layer: a kernel in one of its variants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Choice {
    /// The kernel.
    pub kernel: &'static Kernel,
    /// Which of the kernel's variants, from 0, which is the best guess. A part that has no such variant takes variant
    /// 0.
    pub variant: usize,
}

impl Choice {
    /// A kernel in one of its variants.
    #[must_use]
    pub fn new(kernel: &'static Kernel, variant: usize) -> Self {
        Self { kernel, variant }
    }

    /// Every candidate for a layer on a target, each with its constants and its grid: kernel by kernel, one of the least rank that
    /// suits first. Last are those that only who asks for them gets: of [`Rank::Asked`](kernels::Rank::Asked).
    #[must_use]
    pub fn all(layer: &Layer, target: &Target) -> Vec<(Self, Variant)> {
        let of_kernel = |kernel: &'static Kernel| {
            let variants = kernel.variants(layer, target).into_iter().enumerate();
            variants.map(move |(variant, made)| (Self { kernel, variant }, made))
        };
        kernels::supporting(layer, target).into_iter().flat_map(of_kernel).collect()
    }

    /// [`all`](Self::all) but for what is only asked for.
    pub(crate) fn unasked(layer: &Layer, target: &Target) -> impl Iterator<Item = (Self, Variant)> + use<> {
        Self::all(layer, target).into_iter().filter(|(choice, _)| choice.kernel.rank != kernels::Rank::Asked)
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.variant {
            0 => f.write_str(self.kernel.name),
            variant => write!(f, "{}, variant {variant}", self.kernel.name),
        }
    }
}

/// The tuned layers of one device. What was measured for a layer holds for every layer of its sizes, whatever stands
/// around its sums: bias, residual, activation.
///
/// `sepconv::tune` measures them; `Context::with_tuning` makes plans use them. `to_string` and `parse` write and read a
/// table, so a program can ship one as a text file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tuning {
    /// What it is for: the lines up to the empty one.
    head: String,
    /// From what its tensors hold and a layer's sizes to its kernel with the constants.
    entries: BTreeMap<String, String>,
}

/// The line that every table starts with.
const TITLE: &str = "sepconv tuning table";

impl Tuning {
    /// An empty table for an adapter, its driver, and the shaders of this version of the crate.
    #[must_use]
    pub fn new(adapter: &wgpu::AdapterInfo) -> Self {
        let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let shaders = hash(kernels::ALL.iter().flat_map(|kernel| kernel.wgsl().into_bytes()));
        let lines = [
            TITLE.to_owned(),
            format!("version: {}, shaders {shaders:016x}", env!("CARGO_PKG_VERSION")),
            format!("adapter: {}, {:x}:{:x}", one_line(&adapter.name), adapter.vendor, adapter.device),
            format!("driver: {} {}", one_line(&adapter.driver), one_line(&adapter.driver_info)),
            format!("backend: {:?}", adapter.backend),
        ];
        Self { head: lines.join("\n"), entries: BTreeMap::new() }
    }

    /// Whether this table is for this adapter, its driver and this version of the crate.
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

    /// Keeps a choice for a layer, in place of an earlier one. A choice that this target does not have is not kept, nor is one
    /// that has to be asked for each time.
    pub fn insert(&mut self, layer: &Layer, target: &Target, choice: Choice) {
        if let Some((_, variant)) = Choice::unasked(layer, target).find(|(way, _)| *way == choice) {
            self.entries.insert(key(layer, target), choice_text(choice.kernel.name, &variant));
        }
    }

    /// The choice that was kept for a layer; none if nothing was kept, or if this target does not have it.
    #[must_use]
    pub fn choice(&self, layer: &Layer, target: &Target) -> Option<Choice> {
        let kept = self.entries.get(&key(layer, target))?;
        let ways = Choice::unasked(layer, target);
        ways.filter(|(way, variant)| choice_text(way.kernel.name, variant) == *kept).map(|(way, _)| way).next()
    }
}

/// What a table knows a layer by: what its tensors hold, if it is no `f32`, and its sizes.
fn key(layer: &Layer, target: &Target) -> String {
    match target.dtype {
        DType::F32 => layer.text(),
        dtype => format!("{dtype} {}", layer.text()),
    }
}

/// A kernel and the constants of one of its variants that were chosen, in one line.
fn choice_text(kernel: &str, variant: &Variant) -> String {
    let chosen = variant.constants.iter().filter(|(name, _)| kernels::is_chosen(name));
    let constants = chosen.map(|(name, value)| format!(" {name}={value}"));
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
    /// [`Error::NoTable`] with the first line that does not belong in a table.
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
    use crate::activation::Activation;
    use crate::conv::Conv2d;
    use crate::planner::Planner;
    use crate::rounding::Rounding;
    use crate::separable::SeparableConv2d;
    use crate::size::PaddingMode;

    fn adapter(driver: &str) -> wgpu::AdapterInfo {
        let mut info = wgpu::AdapterInfo::new(wgpu::DeviceType::DiscreteGpu, wgpu::Backend::Vulkan);
        (info.name, info.driver, info.driver_info) = ("A GPU".to_owned(), driver.to_owned(), "1.2\n3".to_owned());
        info
    }

    fn target() -> Target {
        wgpu::Limits::default().into()
    }

    fn layer() -> Layer {
        Conv2d::new(4, 8, 3).padding(1).geometry([2, 4, 9, 9]).unwrap().into()
    }

    /// A candidate that is not the planner's own.
    fn other(layer: &Layer) -> Choice {
        let own = Planner::new(target()).choice(layer).unwrap();
        let mut all = Choice::all(layer, &target()).into_iter().map(|(choice, _)| choice);
        all.rfind(|choice| choice.kernel != own.kernel).unwrap()
    }

    fn table() -> Tuning {
        let mut tuning = Tuning::new(&adapter("d"));
        tuning.insert(&layer(), &target(), other(&layer()));
        tuning
    }

    #[test]
    fn a_choice_is_kept_through_text() {
        let tuning: Tuning = table().to_string().replace('\n', "\r\n").parse().unwrap();
        assert_eq!(tuning, table());
        assert!(tuning.is_for(&adapter("d")));
        let chosen = other(&layer());
        assert_eq!(tuning.choice(&layer(), &target()), Some(chosen));
        let planner = Planner::new(target());
        let kept = planner.clone().with_tuning(tuning.into()).plan(&layer()).unwrap();
        assert_eq!(kept.kernel, chosen.kernel.name);
        assert_ne!(kept.kernel, planner.plan(&layer()).unwrap().kernel);
    }

    #[test]
    fn what_has_to_be_asked_for_is_not_kept() {
        let layer = Conv2d::new(64, 64, 3).padding(1).geometry([1, 64, 56, 56]).unwrap().into();
        let text = |kernel| {
            let choice = way(kernel, 0);
            let (_, variant) = Choice::all(&layer, &target()).into_iter().find(|(way, _)| *way == choice).unwrap();
            choice_text(kernel, &variant)
        };
        let mut tuning = table();
        tuning.insert(&layer, &target(), way("winograd_4x4", 0));
        assert_eq!(tuning, table());
        tuning.insert(&layer, &target(), way("winograd", 0));
        assert_eq!(tuning.choice(&layer, &target()), Some(way("winograd", 0)));
        // Nor is it read where somebody wrote it into the text.
        let edited = tuning.to_string().replace(&text("winograd"), &text("winograd_4x4"));
        assert!(edited.contains("winograd_4x4"), "{edited}");
        assert_eq!(edited.parse::<Tuning>().unwrap().choice(&layer, &target()), None);
    }

    fn separable() -> SeparableConv2d {
        SeparableConv2d::new(4, 160, 3).padding(1)
    }

    const SEPARABLE_SHAPE: [u32; 4] = [1, 4, 9, 9];

    fn separable_layer() -> Layer {
        separable().geometry(SEPARABLE_SHAPE).unwrap().into()
    }

    /// A candidate for that layer.
    fn way(kernel: &str, variant: usize) -> Choice {
        Choice::new(kernels::by_name(kernel).unwrap(), variant)
    }

    fn separable_table(choice: Choice) -> Tuning {
        let mut tuning = table();
        tuning.insert(&separable_layer(), &target(), choice);
        tuning
    }

    #[test]
    fn a_separable_choice_is_kept_through_text() {
        let ways = Choice::all(&separable_layer(), &target());
        assert_eq!(ways.len(), 4, "chained, and three tilings");
        for (chosen, _) in ways {
            let text = separable_table(chosen).to_string();
            assert_eq!(text.lines().count(), table().to_string().lines().count() + 1, "{text}");
            let tuning: Tuning = text.parse().unwrap();
            assert_eq!(tuning.choice(&separable_layer(), &target()), Some(chosen));
            assert_eq!(tuning.choice(&layer(), &target()), Some(other(&layer())), "the other layer's stays");
            let (depthwise, pointwise) = separable().geometry(SEPARABLE_SHAPE).unwrap();
            for part in [depthwise, pointwise] {
                assert_eq!(tuning.choice(&part.into(), &target()), None, "the parts are layers of their own");
            }
        }
    }

    #[test]
    fn both_parts_are_part_of_a_separable_layers_key() {
        let tuning = separable_table(way("chained", 0));
        let base = separable();
        for (layer, shape) in [
            (base, [2, 4, 9, 9]),
            (base.stride(2), SEPARABLE_SHAPE),
            (base.depth_multiplier(2), SEPARABLE_SHAPE),
            (SeparableConv2d::new(4, 161, 3).padding(1), SEPARABLE_SHAPE),
        ] {
            let choice = tuning.choice(&layer.geometry(shape).unwrap().into(), &target());
            assert!(choice.is_none(), "{layer:?} on {shape:?} has {choice:?}");
        }
    }

    #[test]
    fn a_separable_choice_that_no_way_matches_is_none() {
        for (chosen, old, new) in [
            (way("chained", 0), ": chained", ": chain"),
            (way("separable", 0), ": separable", ": direct"),
            (way("separable", 1), "CHANNEL_TILES=8", "CHANNEL_TILES=9"),
        ] {
            let text = separable_table(chosen).to_string();
            let changed = text.replace(old, new);
            assert_ne!(changed, text);
            assert_eq!(changed.parse::<Tuning>().unwrap().choice(&separable_layer(), &target()), None, "{changed}");
        }
        // Nor is one kept that this target does not have.
        let without = separable_table(way("subgroup_separable", 0));
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
            (base.padding_mode(PaddingMode::Reflect), [2, 4, 9, 9]),
            (base.rounding(Rounding::Exact), [2, 4, 9, 9]),
        ] {
            let choice = tuning.choice(&layer.geometry(shape).unwrap().into(), &target());
            assert!(choice.is_none(), "{layer:?} on {shape:?} has {choice:?}");
        }
    }

    #[test]
    fn an_entry_holds_whatever_follows_the_sums() {
        let (tuning, base, separable) =
            (separable_table(way("separable", 1)), Conv2d::new(4, 8, 3).padding(1), separable());
        for layer in [
            base.bias(false),
            base.residual(true),
            base.activation(Activation::Silu),
            base.bias(false).residual(true).activation(Activation::Clamp(-1.0, 1.0)),
        ] {
            let layer = layer.geometry([2, 4, 9, 9]).unwrap().into();
            assert_eq!(tuning.choice(&layer, &target()), Some(other(&layer)), "{layer:?}");
        }
        for layer in [
            separable.depthwise_bias(false),
            separable.depthwise_activation(Activation::Relu),
            separable.pointwise_bias(false),
            separable.activation(Activation::Relu).residual(true),
        ] {
            let layer = layer.geometry(SEPARABLE_SHAPE).unwrap().into();
            let chosen = tuning.choice(&layer, &target()).unwrap();
            assert_eq!(
                channel_tiles(&layer, chosen),
                channel_tiles(&separable_layer(), way("separable", 1)),
                "{layer:?}"
            );
        }
    }

    /// A tile, whatever its place among the variants: that depends on what follows the sums too.
    fn channel_tiles(layer: &Layer, Choice { kernel, variant }: Choice) -> Option<u32> {
        let constants = kernel.variants(layer, &target()).swap_remove(variant).constants;
        constants.into_iter().find(|(name, _)| *name == "CHANNEL_TILES").map(|(_, value)| value)
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
            (text.replace("Zeros: ", "Zeros "), 7),
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
            assert!(end + 1 == text.len() || tuning.choice(&layer(), &target()).is_none(), "{:?}", &text[..end]);
        }
        let kernel = other(&layer()).kernel.name;
        for changed in [text.replace(kernel, "fastest"), text.replace("STRIDE_WIDTH=1", "STRIDE_WIDTH=2")] {
            assert_ne!(changed, text);
            let tuning: Tuning = changed.parse().unwrap();
            assert!(tuning.choice(&layer(), &target()).is_none(), "{changed}");
            assert!(Planner::new(target()).with_tuning(tuning.into()).plan(&layer()).is_ok());
        }
    }

    /// The names of every candidate for a layer of 3 x 3 filters.
    fn names(target: &Target, [channels, out_channels, size]: [u32; 3]) -> Vec<String> {
        let layer = SeparableConv2d::new(channels, out_channels, 3).padding(1);
        let layer = layer.geometry([1, channels, size, size]).unwrap().into();
        Choice::all(&layer, target).into_iter().map(|(choice, _)| choice.to_string()).collect()
    }

    #[test]
    fn what_suits_comes_first() {
        let gpu = target();
        let software = Target { software: true, subgroup_size: Some(8), ..gpu.clone() };
        let tiles = ["separable", "separable, variant 1", "separable, variant 2"];
        assert_eq!(names(&gpu, [64, 64, 64]), [&tiles[..], &["chained"]].concat()[..]);
        let small = ["subgroup_separable", "separable", "separable, variant 1", "chained"];
        assert_eq!(names(&software, [32, 32, 14]), small);
        let large = ["chained", "subgroup_separable", "separable", "separable, variant 1", "separable, variant 2"];
        assert_eq!(names(&software, [64, 64, 64]), large);
    }

    #[test]
    fn what_cannot_be_one_dispatch_is_chained() {
        let few = wgpu::Limits { max_storage_buffers_per_shader_stage: 6, ..Default::default() };
        assert_eq!(names(&few.into(), [64, 64, 64]), ["chained"]);
    }
}
