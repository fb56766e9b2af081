//! `sepconv separate --svg`: error against time.

use std::error::Error;

use plotters::coord::Shift;
use plotters::prelude::*;
use sepconv::unstable::separation::Point;

use super::report::Report;
use crate::failure::{Failure, Outcome};

/// Colours that can be told apart without seeing colours well (Okabe and Ito 2008).
const CURVE: RGBColor = RGBColor(0x00, 0x72, 0xB2);
const CHOSEN: RGBColor = RGBColor(0xD5, 0x5E, 0x00);

/// Sizes in pixels.
const SIZE: (u32, u32) = (820, 560);
const TITLE_HEIGHT: u32 = 48;

const FONT: &str = "sans-serif";

/// The plot of all points.
pub fn svg(report: &Report<'_>) -> Outcome<String> {
    let mut svg = String::new();
    draw(&SVGBackend::with_string(&mut svg, SIZE).into_drawing_area(), report)
        .map_err(|error| Failure::Computation(format!("--svg: {error}")))?;
    Ok(svg)
}

fn draw(area: &DrawingArea<SVGBackend<'_>, Shift>, report: &Report<'_>) -> Result<(), Box<dyn Error>> {
    // Errors differ by powers of ten. The original, which has none, stands at the bottom.
    let errors = report.curve.points.iter().map(|point| 100.0 * point.fidelity.error);
    let (least, largest) = errors
        .filter(|&error| error > 0.0)
        .fold((1.0, 1.0), |(low, high): (f64, f64), error| (low.min(error), high.max(error)));
    let bottom = 0.5 * least.max(1e-4);
    let place = |point: &Point| (point.milliseconds, (100.0 * point.fidelity.error).max(bottom));
    let places: Vec<(f64, f64)> = report.curve.points.iter().map(place).collect();
    let right = 1.25 * places.iter().map(|place| place.0).fold(1e-6, f64::max);
    let top = 2.0 * largest.max(bottom);
    area.fill(&WHITE)?;
    let (title, below) = area.split_vertically(TITLE_HEIGHT);
    title.draw(&Text::new(report.device.clone(), (16, 16), (FONT, 17)))?;
    let mut chart = ChartBuilder::on(&below)
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..right, (bottom..top).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("time of the network, ms")
        .y_desc("error of its outputs, %")
        .axis_desc_style((FONT, 16))
        .label_style((FONT, 14))
        .light_line_style(BLACK.mix(0.04))
        .draw()?;
    chart.draw_series([PathElement::new(places.clone(), CURVE.mix(0.5))])?;
    chart.draw_series(report.curve.points.iter().zip(&places).enumerate().map(|(index, (point, &place))| {
        let (colour, radius) = if report.curve.chosen == Some(index) { (CHOSEN, 6) } else { (CURVE, 4) };
        let lost = report.decibels_lost(point).map_or(String::new(), |lost| format!(", {lost:.2} dB lost"));
        let label = match index {
            0 => "the original, without error".to_owned(),
            _ => format!("{:.2} times as fast{lost}", report.speed_up(point)),
        };
        EmptyElement::at(place)
            + Circle::new((0, 0), radius, colour.filled())
            + Text::new(label, (8, -16), (FONT, 13).into_font().color(&colour))
    }))?;
    area.present()?;
    Ok(())
}
