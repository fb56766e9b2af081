//! How far Winograd's method may be off, by the matrices of its transforms: what its kernels' headers say, and what they keep
//! to on a device.

mod common;

use common::winograd::{METHODS, Method, absolute};
use common::{Data, assert_close_of, context};
use sepconv::{Activation, Conv2d, PaddingMode, Residual, kernels, verify};

/// Of one value and one tap along one axis, each output has their product if the tap is as far from it as the value is.
#[test]
fn the_matrices_make_a_convolution() {
    for Method { kernel, matrices: [a, g, b], .. } in &METHODS {
        for (place, tap) in (0..b.len()).flat_map(|place| (0..3).map(move |tap| (place, tap))) {
            for (output, row) in a.iter().enumerate() {
                let sum: f64 = (0..b.len()).map(|index| row[index] * g[index][tap] * b[index][place]).sum();
                let expected = f64::from(output + tap == place);
                assert!((sum - expected).abs() < 1e-15, "{kernel}: {sum} of {place} and {tap} at {output}");
            }
        }
    }
}

#[test]
fn the_headers_say_how_errors_grow() {
    for Method { kernel, matrices, roundings } in &METHODS {
        let rows = matrices.map(|matrix| absolute(matrix).iter().map(|row| row.iter().sum()).fold(0.0, f64::max));
        let growth = rows.iter().product::<f64>().powi(2).round();
        let [a, g, b] = rows;
        let text = kernels::by_name(kernel).unwrap().wgsl();
        let header: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("//")).map(str::trim).collect();
        let header = header.join(" ").replace(',', "");
        for words in [
            format!("(C + {roundings} + 3) * 2^-24"),
            format!("|G| and |B^T| are {a} {g} and {b}"),
            format!("{growth} times the sum over c of max |w| max |x|"),
        ] {
            assert!(header.contains(&words), "{kernel}'s header has no \"{words}\": {header}");
        }
    }
}

/// Makes something else of random data.
type Change = fn(&mut Data);

const CHANGES: [(&str, Change); 3] = [
    ("values and weights of like sizes", |_| {}),
    ("filters of one tap", |data| {
        data.weight.iter_mut().enumerate().filter(|(index, _)| index % 9 != 5).for_each(|(_, tap)| *tap = 0.0);
    }),
    ("values beside large ones", |data| data.input.iter_mut().step_by(7).for_each(|value| *value *= 1000.0)),
];

#[test]
fn errors_keep_to_the_bound_of_the_method() {
    let Some(context) = context() else { return };
    let half = common::half(context);
    let layer = |channels: u32| Conv2d::new(channels, channels + 1, 3).padding(1);
    let cases = [
        (layer(16).residual(true), [2, 16, 9, 11]),
        (layer(16).residual(Residual::AfterActivation).activation(Activation::Relu), [2, 16, 9, 11]),
        (Conv2d::new(48, 51, 3).groups(3).padding([2, 0, 1, 3]), [1, 48, 6, 7]),
        (layer(17).padding_mode(PaddingMode::Reflect), [1, 17, 6, 5]),
        (layer(96).bias(false), [1, 96, 8, 5]),
    ];
    for (method, (layer, shape)) in METHODS.iter().flat_map(|method| cases.map(|case| (method, case))) {
        let geometry = layer.geometry(shape).unwrap();
        for context in [Some(context), half.as_ref()].into_iter().flatten() {
            let plan = layer.plan_with_kernel(context, shape, method.kernel).unwrap();
            for (what, change) in CHANGES {
                let mut data = Data::random(&geometry, 1);
                change(&mut data);
                let data = data.rounded(context.dtype());
                let (expected, terms) = method.expected(&data);
                let what = format!("{}, {layer:?}, {what}", method.kernel);
                for actual in data.run(context, &plan) {
                    assert_close_of(context.dtype(), &expected, geometry.activation, terms, &actual, &what);
                }
            }
        }
    }
}

/// What docs/PERFORMANCE.md says: `cargo test --test winograd -- --nocapture measured`.
#[test]
fn errors_are_measured() {
    let Some(context) = context() else { return };
    for (channels, size) in [(16, 56), (64, 56), (256, 14)] {
        let (layer, shape) = (Conv2d::new(channels, channels, 3).padding(1).bias(false), [1, channels, size, size]);
        let geometry = layer.geometry(shape).unwrap();
        let data = Data::random(&geometry, 1);
        let largest = data.reference().values.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
        for method in &METHODS {
            let plan = layer.plan_with_kernel(context, shape, method.kernel).unwrap();
            let [actual, ..] = data.run(context, &plan);
            let (expected, terms) = method.expected(&data);
            let differences = expected.values.iter().zip(&actual).map(|(a, b)| (a - f64::from(*b)).abs());
            let difference = differences.fold(0.0, f64::max) / largest;
            let own = verify::largest_error(&expected, geometry.activation, terms, &actual);
            let of_a_sum = verify::largest_error(&data.reference(), geometry.activation, geometry.terms(), &actual);
            println!(
                "{channels} channels at {size} x {size}, {}: largest error {difference:.1e} of the largest output, \
                 {own:.1e} of its own bound, {of_a_sum:.1e} of a sum's bound",
                method.kernel,
            );
            // Values and weights are of like sizes, so that it keeps to both.
            assert!(own <= 1.0 && of_a_sum <= 1.0);
        }
    }
}
