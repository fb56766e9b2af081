//! What the model's choices cost on the one GPU that was measured in every variant: an H200, at batch 1.

use std::path::Path;

use sepconv_tools::choices::{Measured, geometric_mean, measured};
use sepconv_tools::plan::ROOT;

/// The layers whose choice was measured, and the measured times over the predictions of all variants.
fn of(shapes: &str, results: &str) -> (Vec<Measured>, Vec<f64>) {
    let root = Path::new(ROOT);
    let all = measured("H200", &root.join(shapes), &root.join("benches/results").join(results)).unwrap();
    let ratios = all.iter().flat_map(|layer| layer.ratios.clone()).collect();
    (all.into_iter().filter(|layer| layer.took.is_finite()).collect(), ratios)
}

/// The model was fitted to these times, so this is no proof for another GPU. It says what a change to the model or to a kernel's
/// closed form loses.
#[test]
fn choices_take_little_longer_than_the_fastest() {
    for (shapes, results) in [
        ("benches/shapes.json", "h200-2026-11-26-shapes-variants-1.json"),
        ("benches/ort-web/shapes.json", "h200-2026-11-26-ort-web-variants-1.json"),
    ] {
        let (layers, ratios) = of(shapes, results);
        assert!(layers.len() >= 12, "{results}: {}", layers.len());
        let longer: Vec<f64> = layers.iter().map(|layer| layer.took / layer.fastest.1).collect();
        let off = ratios.iter().map(|ratio| ratio.ln().abs()).sum::<f64>() / ratios.len() as f64;
        println!(
            "{results}: {} layers take {:.3} times as long as their fastest variant; measured over predicted {:.2}, off by {:.2} on average",
            layers.len(),
            geometric_mean(&longer),
            geometric_mean(&ratios),
            off.exp()
        );
        for (layer, longer) in layers.iter().zip(&longer) {
            assert!(*longer < 1.35, "{layer:?}");
        }
        assert!(geometric_mean(&longer) < 1.08, "{layers:#?}");
        assert!((0.8..1.6).contains(&geometric_mean(&ratios)) && off < 0.5, "{off}");
    }
}
