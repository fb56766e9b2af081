//! Every case whose output is known from elsewhere: PyTorch's in `tests/torch`, and the Web Platform Tests' for `WebNN`
//! where they lie beside the project.

mod common;

use std::path::Path;

use common::golden::{Golden, load};
use common::{Data, SeparableData, context, narrow};
use sepconv::{Choice, Conv2d, DType, Tensor, kernels};

fn torch() -> Vec<Golden> {
    load(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/torch")))
}

fn wpt() -> Vec<Golden> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/conformance/wpt"));
    if folder.exists() {
        load(folder)
    } else {
        eprintln!("{} is not there: its cases are not run", folder.display());
        Vec::new()
    }
}

fn data(case: &Golden) -> Data {
    Data {
        geometry: case.layer().geometry(case.shape("input")).unwrap(),
        input: case.values("input").to_vec(),
        weight: case.values("weight").to_vec(),
        bias: case.optional("bias"),
        residual: None,
        input_scale: None,
    }
}

fn separable_data(case: &Golden) -> SeparableData {
    SeparableData {
        input: case.values("input").to_vec(),
        depthwise_weight: case.values("dw_weight").to_vec(),
        depthwise_bias: case.optional("dw_bias"),
        pointwise_weight: case.values("pw_weight").to_vec(),
        pointwise_bias: case.optional("pw_bias"),
        residual: None,
    }
}

/// A separable case's depthwise half, as a case of its own.
fn depthwise_half(case: &Golden) -> (Conv2d, Data) {
    let data = separable_data(case);
    let (layer, _) = case.separable_layer().layers().unwrap();
    let depthwise = Data {
        geometry: layer.geometry(case.shape("input")).unwrap(),
        input: data.input,
        weight: data.depthwise_weight,
        bias: data.depthwise_bias,
        residual: None,
        input_scale: None,
    };
    (layer, depthwise)
}

/// Whether a case is given to one of so many kernels: to all of them if the sweep is to be whole, else to the planner's own,
/// which comes first, or to one of the others, in turn.
fn takes(case: &Golden, index: usize, count: usize) -> bool {
    let turn = case.name.bytes().map(usize::from).sum::<usize>() % count;
    common::sweeps_whole() || index == turn
}

/// Runs one layer with the kernels that support it.
fn check_kernels(case: &Golden, layer: &Conv2d, data: &Data, tensor: &str) {
    let Some(context) = context() else { return };
    let shape = case.shape("input");
    let geometry = layer.geometry(shape).unwrap().into();
    let kernels = kernels::supporting(&geometry, context.target());
    let count = kernels.len();
    for (_, kernel) in kernels.into_iter().enumerate().filter(|(index, _)| takes(case, *index, count)) {
        let plan = layer.plan_with_kernel(context, shape, kernel.name).unwrap();
        assert_eq!(plan.kernel(), kernel.name);
        assert_eq!(plan.output_shape(), case.shape(tensor), "{}", case.name);
        for actual in data.run(context, &plan) {
            case.assert_close(tensor, &actual, kernel.name);
        }
    }
}

fn check(case: &Golden) {
    if case.is_separable() {
        let (depthwise, data) = depthwise_half(case);
        check_kernels(case, &depthwise, &data, "intermediate");
        let Some(context) = context() else { return };
        let (layer, shape) = (case.separable_layer(), case.shape("input"));
        let (depthwise, pointwise) = layer.geometry(shape).unwrap();
        let choices = Choice::all(&(depthwise, pointwise).into(), context.target());
        let count = choices.len();
        for (_, (choice, _)) in choices.into_iter().enumerate().filter(|(index, _)| takes(case, *index, count)) {
            let plan = layer.plan_with_choice(context, shape, choice).unwrap();
            for actual in separable_data(case).run(context, (&depthwise, &pointwise), &plan) {
                case.assert_close("output", &actual, plan.kernel());
            }
        }
    } else {
        check_kernels(case, &case.layer(), &data(case), "output");
    }
}

#[test]
fn torch_cases_with_every_kernel() {
    let cases = torch();
    assert_eq!(cases.len(), 130);
    // The reference computes them all.
    let cases: Vec<&Golden> = cases.iter().step_by(common::every(4)).collect();
    // On two threads, since a software driver compiles the shaders of one device one after the other.
    let (some, others) = cases.split_at(cases.len() / 2);
    std::thread::scope(|scope| {
        scope.spawn(|| some.iter().copied().for_each(check));
        others.iter().copied().for_each(check);
    });
}

#[test]
fn wpt_cases_with_every_kernel() {
    wpt().iter().step_by(common::every(3)).for_each(check);
}

#[test]
fn padding_in_words_resolves_to_the_same_numbers() {
    let mut words = 0;
    for case in torch().iter().chain(&wpt()) {
        let Some(padding) = case.named_padding() else { continue };
        let explicit = case.layer().geometry(case.shape("input")).unwrap();
        let named = case.layer().padding(padding).geometry(case.shape("input")).unwrap();
        assert_eq!(named, explicit, "{}", case.name);
        words += 1;
    }
    assert!(words >= 17, "only {words} cases have their padding in words");
}

/// The reference against outputs that it had no part in: without this the kernels could be wrong together with it.
#[test]
fn the_reference_itself() {
    for case in torch().iter().chain(&wpt()) {
        let shape = case.shape("input");
        if case.is_separable() {
            let (depthwise, pointwise) = case.separable_layer().geometry(shape).unwrap();
            let (_, data) = depthwise_half(case);
            case.assert_close("intermediate", &narrow(&data.reference().values), "reference");
            let expected = separable_data(case).reference((&depthwise, &pointwise));
            case.assert_close("output", &narrow(&expected.values), "reference");
        } else {
            let expected = data(case).reference();
            case.assert_close("output", &narrow(&expected.values), "reference");
        }
    }
}

/// The comparator must be able to fail.
#[test]
fn a_wrong_output_is_noticed() {
    let is_noticed = |case: &Golden, actual: &[f32]| case.compare("output", actual).is_err();
    for case in &torch() {
        let right = case.values("output");
        assert!(!is_noticed(case, right), "{}", case.name);
        assert!(is_noticed(case, &right[1..]), "{}: too short", case.name);
        let last = right.len() - 1;
        for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e38] {
            let mut actual = right.to_vec();
            if actual[last].to_bits() != wrong.to_bits() && !(actual[last].is_nan() && wrong.is_nan()) {
                actual[last] = wrong;
                assert!(is_noticed(case, &actual), "{}: {wrong} for {}", case.name, right[last]);
            }
        }
    }
}

#[test]
fn a_tensor_comes_back_as_it_was() {
    let Some(context) = context() else { return };
    for case in torch() {
        let tensor = Tensor::from_slice(context, case.shape("input"), case.values("input")).unwrap();
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&tensor.read_blocking().unwrap()), bits(case.values("input")), "{}", case.name);
    }
}

/// The same cases with tensors of f16, by the planner's own kernels. The known outputs are of inputs that are not rounded: each
/// input, each weight and each output is off by 2⁻¹¹ of its size, or by 2⁻²⁵ near 0. Cases of values past 65,504 are left out.
#[test]
fn cases_of_f16() {
    let Some(half) = context().and_then(common::half) else { return };
    let cases: Vec<Golden> = torch().into_iter().chain(wpt()).collect();
    let cases = cases.iter().filter(|case| !case.is_separable() && !case.flag("ftz_sensitive"));
    let mut compared = 0;
    for case in cases.step_by(common::every(24)) {
        let (layer, data) = (case.layer(), data(case));
        let is_past = |value: &f32| value.is_finite() && DType::F16.round(*value).is_infinite();
        if data.input.iter().chain(&data.weight).chain(data.bias.iter().flatten()).any(is_past) {
            continue;
        }
        let expected = data.reference();
        let largest = data.input.iter().chain(&data.weight).map(|value| f64::from(value.abs()));
        let near_0 = data.geometry.terms() as f64 * largest.fold(1.0, f64::max) * 2.0_f64.powi(-24);
        let plan = layer.plan(&half, case.shape("input")).unwrap();
        for actual in data.rounded(DType::F16).run(&half, &plan) {
            assert_eq!(actual.len(), case.values("output").len(), "{}", case.name);
            let magnitudes = expected.magnitudes.iter();
            for ((&known, &actual), magnitude) in case.values("output").iter().zip(&actual).zip(magnitudes) {
                let is_right = if known.is_finite() {
                    let allowed = 3.01 * magnitude / 2048.0 + near_0 + case.tolerance("output");
                    (f64::from(actual) - f64::from(known)).abs() <= allowed || known.abs() + 1.0 > 65_504.0
                } else {
                    actual.total_cmp(&known).is_eq() || (actual.is_nan() && known.is_nan())
                };
                assert!(is_right, "{}, {}: {actual} for {known}", case.name, plan.kernel());
                compared += 1;
            }
        }
    }
    assert!(compared > 1000, "{compared}");
}
