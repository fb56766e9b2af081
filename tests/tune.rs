//! Tuning on the device under test, and what the command keeps of it.

#[path = "common/command.rs"]
mod command;
mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use command::{files, read_output, run_in, safetensors};
use common::{check_plan, check_separable_as_planned, context, foreign_device, noop_context};
use sepconv::tune::{inner_layers, tune_blocking};
use sepconv::unstable::Planner;
use sepconv::{
    Activation, Choice, Context, Conv2d, Error, Layer, MaxPool2d, PaddingMode, SeparableConv2d, Target, Tuning, kernels,
};
use tempfile::TempDir;

/// A layer for each kind, small enough for every kernel.
fn layers() -> [(Conv2d, [u32; 4]); 4] {
    [
        (Conv2d::new(6, 8, 3).padding(1), [1, 6, 17, 19]),
        (Conv2d::new(6, 12, 3).groups(6).padding_mode(PaddingMode::Reflect).padding(1), [2, 6, 9, 9]),
        (Conv2d::new(16, 8, 1).bias(false).residual(true), [1, 16, 11, 13]),
        (Conv2d::new(2, 3, 5), [1, 2, 8, 8]),
    ]
}

fn conv2d(layer: &Conv2d, shape: [u32; 4]) -> Layer {
    layer.geometry(shape).unwrap().into()
}

fn separable(layer: &SeparableConv2d, shape: [u32; 4]) -> Layer {
    layer.geometry(shape).unwrap().into()
}

/// A kernel's first variant.
fn first_of(kernel: &str) -> Choice {
    Choice::new(kernels::by_name(kernel).unwrap(), 0)
}

/// A way to compute a layer that the planner would not choose.
fn last_choice(context: &Context, layer: &Conv2d, shape: [u32; 4]) -> Choice {
    Choice::all(&conv2d(layer, shape), context.target()).last().unwrap().0
}

/// The kernel of a layer's plan.
fn kernel_of(context: &Context, layer: &Conv2d, shape: [u32; 4]) -> String {
    layer.plan(context, shape).unwrap().kernel().to_owned()
}

#[test]
fn the_best_of_the_trials_is_right_and_in_the_plan() {
    let Some(context) = context() else { return };
    let mut table = context.tuning().clone();
    for (layer, shape) in layers() {
        let tuned = tune_blocking(context, conv2d(&layer, shape)).unwrap();
        assert!(tuned.trials.iter().all(|trial| trial.is_right() && trial.milliseconds > 0.0), "{tuned:?}");
        assert_eq!(tuned.trials[0].choice.kernel.name, layer.plan(context, shape).unwrap().kernel());
        assert!(tuned.best.milliseconds <= tuned.trials[0].milliseconds, "{tuned:?}");
        table.insert(&tuned.layer, context.target(), tuned.best.choice);
    }
    assert_eq!(table.len(), 4);
    let table: Tuning = table.to_string().parse().unwrap();
    let tuned = context.with_tuning(table.clone());
    for ((layer, shape), seed) in layers().into_iter().zip(1..) {
        let choice = table.choice(&conv2d(&layer, shape), context.target()).unwrap();
        let expected = layer.plan_with_choice(context, shape, choice).unwrap();
        let plan = layer.plan(&tuned, shape).unwrap();
        assert_eq!(plan.kernel(), expected.kernel());
        assert_eq!(plan.program().steps, expected.program().steps);
        check_plan(&tuned, &layer.geometry(shape).unwrap(), &plan, seed);
    }
}

#[test]
fn a_plan_goes_by_the_table() {
    let Some(context) = context() else { return };
    let mut table = context.tuning().clone();
    for (layer, shape) in layers() {
        table.insert(&conv2d(&layer, shape), context.target(), last_choice(context, &layer, shape));
    }
    let tuned = context.with_tuning(table.clone());
    for (layer, shape) in layers() {
        let choice = last_choice(context, &layer, shape);
        assert_eq!(layer.plan(&tuned, shape).unwrap().kernel(), choice.kernel.name);
        // Another size is not in it.
        let [n, c, h, w] = shape;
        let other = [n, c, h + 1, w];
        assert_eq!(kernel_of(&tuned, &layer, other), kernel_of(context, &layer, other));
    }
    let text = table.to_string().replace("backend: ", "backend: another than ");
    let foreign = context.with_tuning(text.parse().unwrap());
    assert!(foreign.tuning().is_empty());
    for (layer, shape) in layers() {
        assert_eq!(kernel_of(&foreign, &layer, shape), kernel_of(context, &layer, shape));
    }
}

fn separable_layers() -> [(SeparableConv2d, [u32; 4]); 3] {
    let layer = SeparableConv2d::new(6, 8, 3).padding(1);
    [
        (layer.residual(true).depthwise_activation(Activation::Relu6).activation(Activation::Silu), [2, 6, 9, 11]),
        (layer.depth_multiplier(2).stride(2).depthwise_bias(false), [1, 6, 17, 9]),
        (SeparableConv2d::new(32, 32, 3).padding(1), [1, 32, 14, 14]),
    ]
}

/// Every way to compute a layer, the planner's own first.
fn separable_ways(context: &Context, layer: &SeparableConv2d, shape: [u32; 4]) -> Vec<Choice> {
    let ways = Choice::all(&separable(layer, shape), context.target());
    ways.into_iter().map(|(choice, _)| choice).collect()
}

/// Asserts that a layer is planned in this way.
fn assert_planned(context: &Context, layer: &SeparableConv2d, shape: [u32; 4], choice: Choice) {
    let (plan, expected) =
        (layer.plan(context, shape).unwrap(), layer.plan_with_choice(context, shape, choice).unwrap());
    assert_eq!(plan.kernel(), expected.kernel());
    assert_eq!(plan.program().steps, expected.program().steps, "{choice}");
}

#[test]
fn the_best_way_to_compute_a_separable_layer_is_right_and_in_the_plan() {
    let Some(context) = context() else { return };
    let mut table = context.tuning().clone();
    for (layer, shape) in separable_layers() {
        let tuned = tune_blocking(context, separable(&layer, shape)).unwrap();
        assert!(tuned.trials.iter().all(|trial| trial.is_right() && trial.milliseconds > 0.0), "{tuned:?}");
        let tried: Vec<_> = tuned.trials.iter().map(|trial| trial.choice).collect();
        let ways = separable_ways(context, &layer, shape);
        assert!(tried.len() == ways.len() && ways.iter().all(|way| tried.contains(way)), "{tried:?} of {ways:?}");
        assert!(tried.len() > 1 && tuned.best.milliseconds <= tuned.trials[0].milliseconds, "{tuned:?}");
        table.insert(&tuned.layer, context.target(), tuned.best.choice);
    }
    assert_eq!(table.len(), 3);
    let table: Tuning = table.to_string().parse().unwrap();
    let tuned = context.with_tuning(table.clone());
    for ((layer, shape), seed) in separable_layers().into_iter().zip(1..) {
        let choice = table.choice(&separable(&layer, shape), context.target()).unwrap();
        assert_planned(&tuned, &layer, shape, choice);
        check_separable_as_planned(&tuned, &layer, shape, seed);
    }
}

#[test]
fn a_separable_plan_goes_by_the_table() {
    let Some(context) = context() else { return };
    for (layer, shape) in separable_layers() {
        let ways = separable_ways(context, &layer, shape);
        for choice in &ways {
            let mut table = context.tuning().clone();
            table.insert(&separable(&layer, shape), context.target(), *choice);
            let tuned = context.with_tuning(table.clone());
            assert_planned(&tuned, &layer, shape, *choice);
            // Another size is not in it.
            let [n, c, h, w] = shape;
            assert_planned(&tuned, &layer, [n, c, h + 1, w], separable_ways(context, &layer, [n, c, h + 1, w])[0]);
            // Nor is what no way matches.
            let text = table.to_string().replace("Zeros: ", "Zeros: not ");
            assert_ne!(text, table.to_string());
            assert_planned(&context.with_tuning(text.parse().unwrap()), &layer, shape, ways[0]);
        }
    }
}

/// A layer with so much in between that no buffer holds it, on a device that is planned for as a GPU.
fn much_in_between() -> (wgpu::Limits, SeparableConv2d, [u32; 4]) {
    let limits = wgpu::Limits {
        max_buffer_size: 8 << 20,
        max_storage_buffer_binding_size: 8 << 20,
        max_uniform_buffer_binding_size: 1 << 14,
        ..Default::default()
    };
    (limits, SeparableConv2d::new(1, 1, 1).depth_multiplier(1000), [1, 1, 64, 64])
}

/// What was kept may need a larger tensor in between than there may be, where the planner's own way needs none.
#[test]
fn a_kept_separable_choice_that_cannot_be_planned_is_passed_over() {
    let (limits, layer, shape) = much_in_between();
    let context = noop_context(limits).with_software(false);
    let chained = layer.plan_with_kernel(&context, shape, "chained").unwrap_err();
    assert!(matches!(&chained, Error::Within { error, .. } if matches!(**error, Error::Limit { .. })), "{chained}");
    let mut table = context.tuning().clone();
    table.insert(&separable(&layer, shape), context.target(), first_of("chained"));
    assert_eq!(table.len(), 1);
    assert_eq!(layer.plan(&context.with_tuning(table), shape).unwrap().kernel(), "separable");
}

#[test]
fn a_way_that_cannot_be_planned_never_wins() {
    let (limits, layer, shape) = much_in_between();
    let Some((device, queue)) = foreign_device(|own| own.max_buffer_size = limits.max_buffer_size) else { return };
    let context = Context::from_wgpu(device, queue).unwrap().with_software(false);
    let tuned = tune_blocking(&context, separable(&layer, shape)).unwrap();
    let chained = first_of("chained");
    for trial in &tuned.trials {
        assert_eq!(trial.is_right(), trial.choice != chained, "{trial:?}");
    }
    assert!(tuned.trials.iter().any(|trial| trial.choice == chained), "{tuned:?}");
    assert_ne!(tuned.best.choice, chained);
}

#[test]
fn both_parts_of_a_chained_layer_go_by_the_table() {
    let Some(context) = context() else { return };
    let (layer, shape) = (SeparableConv2d::new(64, 64, 3).padding(1), [1, 64, 32, 32]);
    let (depthwise, pointwise) = layer.layers().unwrap();
    let mut table = context.tuning().clone();
    for part in [depthwise, pointwise] {
        table.insert(&conv2d(&part, shape), context.target(), last_choice(context, &part, shape));
    }
    let chained = |context: &Context| {
        let plan = layer.plan_with_kernel(context, shape, "chained").unwrap();
        plan.kernel().to_owned()
    };
    assert_ne!(chained(context), "direct + direct");
    assert_eq!(chained(&context.with_tuning(table)), "direct + direct");
}

/// What was kept may take more dispatches than there may be, where the planner's own way does not.
#[test]
fn a_kept_choice_that_cannot_be_planned_is_passed_over() {
    let limits = wgpu::Limits { max_compute_workgroups_per_dimension: 1, ..Default::default() };
    let mut target = Target::from(limits);
    target.software = true;
    let layer = conv2d(&Conv2d::new(1, 31, 3).padding(1), [1, 1, 1024, 1024]);
    let (planner, direct) = (Planner::new(target.clone()), first_of("direct"));
    assert!(matches!(planner.plan_with(&layer, direct), Err(Error::TooManyDispatches { .. })));
    let mut table = Tuning::new(&wgpu::AdapterInfo::new(wgpu::DeviceType::Cpu, wgpu::Backend::Noop));
    table.insert(&layer, &target, direct);
    let tuned = planner.clone().with_tuning(Arc::new(table));
    assert_eq!(tuned.kept(&layer).unwrap().kernel.name, "direct");
    assert_eq!(tuned.plan(&layer).unwrap().kernel, planner.plan(&layer).unwrap().kernel);
}

#[test]
fn what_is_too_large_is_refused_before_it_fills_memory() {
    let Some(context) = context() else { return };
    let shape = [1, 1, 1_000_000, 1_000_000];
    let refused = tune_blocking(context, conv2d(&Conv2d::new(1, 1, 1), shape));
    assert!(matches!(refused, Err(Error::Limit { argument: "input", .. })), "{refused:?}");
    let refused = tune_blocking(context, separable(&SeparableConv2d::new(1, 1, 1), shape));
    let Err(Error::Within { part: "depthwise", error }) = refused else { panic!("{refused:?}") };
    assert!(matches!(*error, Error::Limit { argument: "input", .. }), "{error}");
}

/// What a layer is computed by may itself be planned, and so is best tuned before it.
#[test]
fn the_layers_within_a_layer_are_listed_once() {
    let Some(context) = context() else { return };
    let (layer, shape) = separable_layers()[0];
    let (depthwise, pointwise) = layer.geometry(shape).unwrap();
    assert_eq!(inner_layers(context, (depthwise, pointwise)), [depthwise.into(), pointwise.into()]);
    let winograd = Conv2d::new(16, 20, 3).padding(1).geometry([2, 16, 5, 6]).unwrap();
    let tiles: u32 = 2 * 3 * 3;
    let places = if context.target().software { tiles } else { tiles.next_multiple_of(4) };
    let product = Conv2d::new(16 * 16, 16 * 20, 1).groups(16).bias(false).geometry([1, 16 * 16, 1, places]).unwrap();
    assert_eq!(inner_layers(context, winograd), [product.into()]);
    for layer in [conv2d(&Conv2d::new(2, 3, 5), [1, 2, 8, 8]), MaxPool2d::new(2).geometry(shape).unwrap().into()] {
        assert_eq!(inner_layers(context, layer), []);
    }
}

#[test]
fn a_max_pool_and_an_empty_batch_are_tuned_too() {
    let Some(context) = context() else { return };
    let (layer, [_, channels, height, width]) = separable_layers()[0];
    let empty = [0, channels, height, width];
    for layer in [
        MaxPool2d::new(3).stride(2).padding(1).geometry([2, 3, 9, 11]).unwrap().into(),
        MaxPool2d::new(3).geometry(empty).unwrap().into(),
        conv2d(&Conv2d::new(channels, 8, 3), empty),
        conv2d(&Conv2d::new(32, 32, 3), [0, 32, 9, 9]),
        separable(&layer, empty),
    ] {
        let tuned = tune_blocking(context, layer).unwrap();
        assert!(tuned.trials.iter().all(sepconv::tune::Trial::is_right), "{tuned:?}");
    }
}

#[test]
fn pipelines_come_from_a_cache_or_from_bytes_that_are_none() {
    let Some(context) = context() else { return };
    let (layer, shape) = layers()[0];
    assert_eq!(context.pipeline_cache_data(), None, "nobody asked for it");
    let first = context.with_pipeline_cache(None);
    let check = |context: &Context, seed| {
        check_plan(context, &layer.geometry(shape).unwrap(), &layer.plan(context, shape).unwrap(), seed);
    };
    check(&first, 1);
    let Some(data) = first.pipeline_cache_data() else {
        assert!(!context.device().features().contains(wgpu::Features::PIPELINE_CACHE));
        return;
    };
    // Whatever else is asked of the context, and in whichever order.
    for other in [
        first.with_runtime_checks(true),
        first.with_zeroed_workgroup_memory(true),
        first.with_software(false),
        first.with_tuning(context.tuning().clone()),
        context.with_runtime_checks(true).with_zeroed_workgroup_memory(true).with_pipeline_cache(None),
    ] {
        assert!(other.pipeline_cache_data().is_some(), "{other:?}");
    }
    let cut = data[..data.len() / 2].to_vec();
    let mut changed = data.clone();
    *changed.last_mut().unwrap() ^= 1;
    for data in [data, cut, changed, Vec::new(), b"not a cache at all".to_vec()] {
        let second = context.with_pipeline_cache(Some(&data));
        check(&second, 2);
        assert!(second.pipeline_cache_data().is_some(), "there is a cache all the same");
    }
}

#[test]
fn a_callers_device_is_asked_for_no_pipeline_cache() {
    let Some((device, queue)) = foreign_device(|_| {}) else { return };
    let context = Context::from_wgpu(device, queue).unwrap().with_pipeline_cache(None);
    let (layer, shape) = layers()[0];
    check_plan(&context, &layer.geometry(shape).unwrap(), &layer.plan(&context, shape).unwrap(), 1);
    assert_eq!(context.pipeline_cache_data(), None);
}

/// A folder with a layer in it, and a cache of its own.
struct Folder(TempDir);

const SHAPES: &str = r#"[{"id": "a", "kind": "conv", "c": 4, "h": 8, "w": 8, "oc": 4, "k": 3},
                         {"id": "b", "kind": "sep", "c": 4, "h": 8, "w": 8, "oc": 6, "k": 3, "s": 2, "p": 1}]"#;

fn separable_in_the_file() -> SeparableConv2d {
    SeparableConv2d::new(4, 6, 3).stride(2).padding(1)
}

/// Another kernel for it than the planner's: in one dispatch or in two.
fn another_separable(context: &Context, shape: [u32; 4]) -> Choice {
    let own = separable_in_the_file().plan(context, shape).unwrap();
    first_of(if own.kernel() == "separable" { "chained" } else { "separable" })
}

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [input, weight, depthwise, pointwise] =
            [4 * 8 * 8, 4 * 4 * 3 * 3, 4 * 3 * 3, 6 * 4].map(|count| common::Random(1).floats(count));
        let tensors: [(&str, &[u32], &[f32]); 7] = [
            ("input", &[1, 4, 8, 8], &input),
            ("weight", &[4, 4, 3, 3], &weight),
            ("bias", &[4], &[1.0, 2.0, 3.0, 4.0]),
            ("depthwise.weight", &[4, 1, 3, 3], &depthwise),
            ("depthwise.bias", &[4], &[1.0, 2.0, 3.0, 4.0]),
            ("pointwise.weight", &[6, 4, 1, 1], &pointwise),
            ("pointwise.bias", &[6], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        ];
        std::fs::write(folder.path().join("layer.safetensors"), safetensors(&tensors)).unwrap();
        std::fs::write(folder.path().join("shapes.json"), SHAPES).unwrap();
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn sepconv(&self, arguments: &str) -> command::Run {
        let arguments: Vec<_> = arguments.split_whitespace().collect();
        run_in(&self.path().join("cache"), self.path(), &arguments)
    }

    /// The one table in the cache.
    fn table(&self) -> PathBuf {
        let names = files(&self.path().join("cache")).into_keys();
        let tables: Vec<_> = names.filter(|name| name.starts_with("tuning-")).collect();
        assert_eq!(tables.len(), 1, "{tables:?}");
        self.path().join("cache").join(&tables[0])
    }

    /// Makes `direct` the choice for the layer in the file, and `separable` for the separable one.
    fn prefer_others(&self, context: &Context) {
        let mut table: Tuning = std::fs::read_to_string(self.table()).unwrap().parse().unwrap();
        let (layer, shape) = (Conv2d::new(4, 4, 3), [1, 4, 8, 8]);
        table.insert(&conv2d(&layer, shape), context.target(), last_choice(context, &layer, shape));
        table.insert(&separable(&separable_in_the_file(), shape), context.target(), another_separable(context, shape));
        std::fs::write(self.table(), table.to_string()).unwrap();
    }
}

#[test]
fn the_command_tunes_once_and_exports() {
    let Some(context) = context() else { return };
    let folder = Folder::new();
    let first = folder.sepconv("tune --shapes shapes.json --export table.txt");
    for name in ["| a ", "| b depthwise ", "| b pointwise ", "| b  ", "The default takes at most "] {
        assert!(first.assert_done().contains(name), "{name}: {first:?}");
    }
    assert!(!first.stdout.contains("kept"), "{first:?}");
    let table = std::fs::read_to_string(folder.table()).unwrap();
    let exported = std::fs::read_to_string(folder.path().join("table.txt")).unwrap();
    assert_eq!(table, exported);
    let parsed: Tuning = exported.parse().unwrap();
    assert!(parsed.is_for(&context.adapter_info()) && parsed.len() == 4, "{exported}");

    let second = folder.sepconv("tune --shapes shapes.json");
    assert_eq!(second.assert_done().matches(" kept ").count(), 4, "{second:?}");
    assert_eq!(std::fs::read_to_string(folder.table()).unwrap(), table);
    let again = folder.sepconv("tune --shapes shapes.json --again");
    assert!(!again.assert_done().contains(" kept "), "{again:?}");
}

#[test]
fn the_other_subcommands_go_by_the_table_unless_told_not_to() {
    let Some(context) = context() else { return };
    let folder = Folder::new();
    folder.sepconv("tune --shapes shapes.json").assert_done();
    folder.prefer_others(context);
    let own = kernel_of(context, &Conv2d::new(4, 4, 3), [1, 4, 8, 8]);
    assert_ne!(own, "direct");
    let (layer, shape) = (separable_in_the_file(), [1, 4, 8, 8]);
    let own_separable = layer.plan(context, shape).unwrap();
    let other_separable = layer.plan_with_choice(context, shape, another_separable(context, shape)).unwrap();
    let [own_separable, other_separable] = [own_separable.kernel(), other_separable.kernel()];
    assert_ne!(own_separable, other_separable);
    let separable = "separable layer.safetensors --stride 2 --padding 1 --out";
    let plan = "plan --input 1,4,8,8 --weight 4,4,3,3 --bias 4";
    for (arguments, kernel) in [
        ("conv layer.safetensors --out a.safetensors".to_owned(), "kernel direct".to_owned()),
        ("conv layer.safetensors --out b.safetensors --no-tune".to_owned(), format!("kernel {own}")),
        (format!("conv layer.safetensors --out e.safetensors --kernel {own}"), format!("kernel {own}")),
        (plan.to_owned(), "\nkernel direct (for being the fastest".to_owned()),
        (format!("{plan} --no-tune"), format!("\nkernel {own} (")),
        (format!("{plan} --kernel {own}"), format!("\nkernel {own} (")),
        ("bench --shapes shapes.json".to_owned(), "| direct ".to_owned()),
        ("bench --shapes shapes.json --no-tune".to_owned(), format!("| {own} ")),
        ("bench --shapes shapes.json".to_owned(), format!("| {other_separable} ")),
        ("bench --shapes shapes.json --no-tune".to_owned(), format!("| {own_separable} ")),
        (format!("{separable} c.safetensors"), format!("kernel {other_separable},")),
        (format!("{separable} d.safetensors --no-tune"), format!("kernel {own_separable},")),
    ] {
        let run = folder.sepconv(&arguments);
        assert!(run.words().contains(&kernel), "{arguments} has no {kernel:?}: {run:?}");
    }
    let result = |name: &str| read_output(&folder.path().join(format!("{name}.safetensors"))).1;
    for (a, b) in [("a", "b"), ("c", "d")] {
        let (a, b) = (result(a), result(b));
        assert!(!a.is_empty() && a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-4), "two kernels, one layer");
    }
}

#[test]
fn a_table_that_is_none_is_ignored_and_replaced() {
    let Some(context) = context() else { return };
    let folder = Folder::new();
    folder.sepconv("tune --shapes shapes.json").assert_done();
    folder.prefer_others(context);
    let good = std::fs::read_to_string(folder.table()).unwrap();
    let own = format!("kernel {}", kernel_of(context, &Conv2d::new(4, 4, 3), [1, 4, 8, 8]));
    for (bad, note) in [
        (b"\x00\xff\xfe".to_vec(), "ignored: line 1"),
        (Vec::new(), "ignored: line 1"),
        (good.replace(": direct", " direct").into_bytes(), "ignored: line"),
        (good.replace("adapter: ", "adapter: not ").into_bytes(), "ignored: it is of another device"),
        (good.replace(": direct", ": fastest").into_bytes(), ""),
    ] {
        std::fs::write(folder.table(), bad).unwrap();
        let run = folder.sepconv("conv layer.safetensors --out out.npy");
        assert!(run.assert_done().contains(&own), "{note}: {run:?}");
        assert!(run.stderr.contains(note), "{note}: {run:?}");
    }
    std::fs::write(folder.table(), "not a table").unwrap();
    folder.sepconv("tune --shapes shapes.json").assert_done();
    assert_eq!(std::fs::read_to_string(folder.table()).unwrap().parse::<Tuning>().unwrap().len(), 4);
}

#[test]
fn tune_refuses_by_name_and_measures_nothing() {
    if context().is_none() {
        return;
    }
    let folder = Folder::new();
    std::fs::write(folder.path().join("bad.json"), SHAPES.replace(r#""k": 3}"#, r#""k": 30}"#)).unwrap();
    for (arguments, argument) in [
        ("tune --device cpu", "--device"),
        ("tune --shapes missing.json", "missing.json"),
        ("tune --shapes bad.json", "shape a: kernel_size"),
        ("tune --shapes shapes.json --export nowhere/table.txt", "--export nowhere/table.txt"),
        ("tune --shapes shapes.json --batch many", "--batch"),
        ("tune --no-tune", "--no-tune"),
    ] {
        folder.sepconv(arguments).assert_refused(argument);
        assert!(!folder.path().join("cache").exists(), "{arguments}");
    }
    // What no device can hold is found when its turn comes.
    let huge = Folder::new();
    let shapes = SHAPES.replace(r#""h": 8, "w": 8"#, r#""h": 1000000, "w": 1000000"#);
    std::fs::write(huge.path().join("huge.json"), shapes).unwrap();
    huge.sepconv("tune --shapes huge.json").assert_refused("shape a: input needs");
    std::fs::write(folder.path().join("cache"), "a file where the folder would be").unwrap();
    folder.sepconv("tune --shapes shapes.json").assert_refused("the cache folder");
    // The others do without.
    folder.sepconv("conv layer.safetensors --out out.npy").assert_done();
}
