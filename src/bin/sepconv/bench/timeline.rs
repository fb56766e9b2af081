//! `sepconv bench MODEL.onnx --svg`: a network's layers one after the other, each as long as it takes.

use std::error::Error;

use plotters::prelude::*;

use crate::failure::{Failure, Outcome};
use sepconv::unstable::LayerProfile;

/// Sizes in pixels.
const WIDTH: u32 = 1000;
const LINE_HEIGHT: u32 = 16;
const EDGES: u32 = 90;
const NAMES: u32 = 220;

/// The colour of a bar (Okabe and Ito 2008).
const BAR: RGBColor = RGBColor(0x00, 0x72, 0xB2);

/// The timeline as an SVG file.
pub fn svg(title: &str, layers: &[LayerProfile]) -> Outcome<String> {
    let mut text = String::new();
    draw(&mut text, title, layers).map_err(|error| Failure::Computation(format!("--svg: {error}")))?;
    Ok(text)
}

fn draw(text: &mut String, title: &str, layers: &[LayerProfile]) -> Result<(), Box<dyn Error>> {
    let lines = u32::try_from(layers.len())?.max(1);
    let height = EDGES + lines * LINE_HEIGHT;
    let whole: f64 = layers.iter().map(|layer| layer.median_ms).sum();
    let area = SVGBackend::with_string(text, (WIDTH, height)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 16))
        .margin(10)
        .x_label_area_size(36)
        .y_label_area_size(NAMES)
        .build_cartesian_2d(0.0..whole.max(f64::MIN_POSITIVE), f64::from(lines)..0.0)?;
    chart.configure_mesh().disable_y_mesh().disable_y_axis().x_desc("milliseconds").draw()?;
    let mut start = 0.0;
    for (line, layer) in layers.iter().enumerate() {
        let (top, end) = (line as f64, start + layer.median_ms);
        chart.draw_series([Rectangle::new([(start, top + 0.1), (end, top + 0.9)], BAR.filled())])?;
        let (x, y) = chart.backend_coord(&(0.0, top + 0.5));
        let style = TextStyle::from(("sans-serif", 11)).pos(plotters::style::text_anchor::Pos::new(
            plotters::style::text_anchor::HPos::Right,
            plotters::style::text_anchor::VPos::Center,
        ));
        area.draw(&Text::new(layer.name.clone(), (x - 6, y), style))?;
        start = end;
    }
    area.present()?;
    Ok(())
}
