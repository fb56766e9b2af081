//! `Rounding::Exact`: no kernel whose rounding errors may pass the bound of a sum.

mod common;

use common::{Data, Random, context, count};
use sepconv::unstable::Planner;
use sepconv::verify::largest_error;
use sepconv::{Conv2d, Error, Rounding};

/// A layer of many channels, which `winograd` computes unless it may not.
fn layer(channels: u32) -> Conv2d {
    Conv2d::new(channels, channels, 3).padding(1).bias(false)
}

/// Ones, one of them 1e8, and filters that pass each channel on as it is.
fn a_large_value_among_small_ones(layer: &Conv2d, shape: [u32; 4]) -> Data {
    let geometry = layer.geometry(shape).unwrap();
    let mut data = Data::new(&geometry, |count| vec![0.0; count]);
    data.input.fill(1.0);
    data.input[5 * 14 + 6] = 1e8;
    let channels = layer.in_channels as usize;
    for channel in 0..channels {
        data.weight[(channel * channels + channel) * 9 + 4] = 1.0;
    }
    data
}

/// An input of which half is zero, and weights of which one in a hundred is not.
fn pruned(layer: &Conv2d, shape: [u32; 4]) -> Data {
    let mut random = Random(5);
    let mut data = Data::new(&layer.geometry(shape).unwrap(), |count| random.floats(count));
    data.input.iter_mut().for_each(|value| *value = value.max(0.0));
    data.weight.iter_mut().enumerate().filter(|(index, _)| index % 100 > 0).for_each(|(_, weight)| *weight = 0.0);
    data
}

type MakeData = fn(&Conv2d, [u32; 4]) -> Data;

/// The largest error of a layer as a multiple of a sum's bound.
fn error(layer: &Conv2d, shape: [u32; 4], data: &Data, kernel: Option<&str>) -> f64 {
    let context = context().unwrap();
    let plan = match kernel {
        Some(kernel) => layer.plan_with_kernel(context, shape, kernel).unwrap(),
        None => layer.plan(context, shape).unwrap(),
    };
    let geometry = layer.geometry(shape).unwrap();
    let expected = data.reference();
    let [actual, ..] = data.run(context, &plan);
    assert_eq!(actual.len(), count(geometry.output_shape()));
    largest_error(&expected, geometry.activation, geometry.terms(), &actual)
}

#[test]
fn exact_keeps_the_bound_where_winograd_does_not() {
    if common::skipped() {
        return;
    }
    let cases: [(MakeData, u32); 2] = [(a_large_value_among_small_ones, 96), (pruned, 128)];
    for (data, channels) in cases {
        let (layer, shape) = (layer(channels), [1, channels, 14, 14]);
        let data = data(&layer, shape);
        let fast = error(&layer, shape, &data, Some("winograd"));
        assert!(fast > 1.0, "winograd errs by {fast} of the bound: this case shows nothing");
        let exact = error(&layer.rounding(Rounding::Exact), shape, &data, None);
        assert!(exact <= 1.0, "{exact} of the bound");
    }
}

#[test]
fn exact_is_never_planned_with_winograd() {
    let mut winograd = 0;
    for target in common::targets() {
        let planner = Planner::new(target);
        for channels in [16, 64, 128, 512] {
            for size in [7, 14, 56] {
                let plan = |layer: Conv2d| {
                    planner.plan(&layer.geometry([1, channels, size, size]).unwrap().into()).unwrap().kernel
                };
                winograd += usize::from(plan(layer(channels)) == "winograd");
                assert_ne!(plan(layer(channels).rounding(Rounding::Exact)), "winograd");
            }
        }
    }
    assert!(winograd > 4, "{winograd}");
    let Some(context) = context() else { return };
    let refused = layer(64).rounding(Rounding::Exact).plan_with_kernel(context, [1, 64, 14, 14], "winograd");
    assert!(matches!(refused, Err(Error::Unsupported { kernel: "winograd", .. })), "{refused:?}");
}
