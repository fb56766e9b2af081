//! `sepconv bench --svg`: the layers as points under the device's two limits.

use std::error::Error;
use std::ops::Range;

use plotters::coord::Shift;
use plotters::prelude::*;
use sepconv::Layer;
use sepconv::roofline::Roofline;

use super::row::Row;
use crate::failure::{Failure, Outcome};

/// Colours that can be told apart without seeing colours well (Okabe and Ito 2008).
const NORMAL: RGBColor = RGBColor(0x00, 0x72, 0xB2);
const SEPARABLE: RGBColor = RGBColor(0xD5, 0x5E, 0x00);
const POOL: RGBColor = RGBColor(0x00, 0x9E, 0x73);

/// Sizes in pixels.
const CHART_WIDTH: u32 = 820;
const LIST_WIDTH: u32 = 400;
const LEAST_HEIGHT: u32 = 640;
const TITLE_HEIGHT: u32 = 48;
const LINE_HEIGHT: u32 = 18;
const LEGEND_HEIGHT: u32 = 6 * LINE_HEIGHT;

const LIMITS: ShapeStyle = ShapeStyle { color: RGBAColor(0, 0, 0, 1.0), filled: false, stroke_width: 2 };
const PAIR: ShapeStyle = ShapeStyle { color: RGBAColor(0, 0, 0, 0.4), filled: false, stroke_width: 1 };

const FONT: &str = "sans-serif";

/// A layer as it is drawn.
struct Point<'a> {
    row: &'a Row<'a>,
    /// What it is called in the chart; the list has its whole name.
    number: String,
    /// Operations per byte, and GFLOP/s by the clock that knows the kernels best.
    place: (f64, f64),
}

impl<'a> Point<'a> {
    fn new(number: usize, row: &'a Row) -> Self {
        let place = (2.0 * row.shape.multiply_adds() as f64 / row.bytes as f64, row.gflop_s());
        Self { row, number: number.to_string(), place }
    }

    fn colour(&self) -> RGBColor {
        match self.row.shape.layer {
            Layer::SeparableConv2d(_) => SEPARABLE,
            Layer::Pool2d(_) => POOL,
            _ => NORMAL,
        }
    }
}

/// The plot of the planner's choices.
pub fn svg(device: &str, roofline: &Roofline, rows: &[Row]) -> Outcome<String> {
    let chosen = rows.iter().filter(|row| row.is_chosen);
    let points: Vec<Point> = (1..).zip(chosen).map(|(number, row)| Point::new(number, row)).collect();
    let lines = u32::try_from(points.len()).unwrap_or(u32::MAX);
    let height = LEAST_HEIGHT.max(lines.saturating_mul(LINE_HEIGHT).saturating_add(2 * TITLE_HEIGHT + LEGEND_HEIGHT));
    let mut svg = String::new();
    let backend = SVGBackend::with_string(&mut svg, (CHART_WIDTH + LIST_WIDTH, height));
    draw(&backend.into_drawing_area(), device, roofline, &points)
        .map_err(|error| Failure::Computation(format!("--svg: {error}")))?;
    Ok(svg)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn draw(area: &Area, device: &str, roofline: &Roofline, points: &[Point]) -> Result<(), Box<dyn Error>> {
    let limits = [roofline.bytes_per_second / 1e9, roofline.operations_per_second / 1e9];
    area.fill(&WHITE)?;
    let (title, below) = area.split_vertically(TITLE_HEIGHT);
    title.draw(&Text::new(device.to_owned(), (16, 16), (FONT, 17)))?;
    let (left, right) = below.split_horizontally(CHART_WIDTH);
    draw_chart(&left, limits, points)?;
    let (legend, list) = right.split_vertically(LEGEND_HEIGHT);
    draw_legend(&legend, limits, points)?;
    draw_list(&list, points)?;
    area.present()?;
    Ok(())
}

/// The limits are GB/s and GFLOP/s.
fn draw_chart(area: &Area, [bandwidth, rate]: [f64; 2], points: &[Point]) -> Result<(), Box<dyn Error>> {
    let ridge = rate / bandwidth;
    let x = decades(points.iter().map(|point| point.place.0).chain([ridge]));
    let y = decades(points.iter().map(|point| point.place.1).chain([rate, bandwidth * x.start]));
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(x.clone().log_scale(), y.log_scale())?;
    chart
        .configure_mesh()
        .x_desc("operations per byte that must move, FLOP/B")
        .y_desc("operations per second, GFLOP/s")
        .axis_desc_style((FONT, 16))
        .label_style((FONT, 14))
        .light_line_style(BLACK.mix(0.04))
        .draw()?;
    let roof = [(x.start, bandwidth * x.start), (ridge, rate), (x.end, rate)];
    chart.draw_series([PathElement::new(roof, LIMITS)])?;
    let pairs = points.iter().flat_map(|separable| {
        let normal = points.iter().filter(|normal| separable.row.shape.is_separable_form_of(normal.row.shape));
        normal.map(|normal| PathElement::new([normal.place, separable.place], PAIR))
    });
    chart.draw_series(pairs)?;
    chart.draw_series(points.iter().map(|point| {
        let colour = point.colour();
        // The two forms' numbers do not meet: both forms of a layer are often close to each other.
        let top = if colour == SEPARABLE { 3 } else { -14 };
        EmptyElement::at(point.place)
            + Circle::new((0, 0), 4, colour.filled())
            + Text::new(point.number.clone(), (6, top), (FONT, 14).into_font().color(&colour))
    }))?;
    Ok(())
}

fn draw_legend(area: &Area, [bandwidth, rate]: [f64; 2], points: &[Point]) -> Result<(), Box<dyn Error>> {
    let at = |line: u32| (8, 12 + (line * LINE_HEIGHT).cast_signed());
    let text = |line, text: &str| Text::new(text.to_owned(), (at(line).0 + 28, at(line).1), (FONT, 14));
    let middle = |line| at(line).1 + 6;
    for (line, style, meaning) in [
        (0, LIMITS, format!("the device's limits: {bandwidth:.1} GB/s, {rate:.1} GFLOP/s")),
        (1, PAIR, "the two forms of one layer".to_owned()),
    ] {
        area.draw(&PathElement::new([(8, middle(line)), (28, middle(line))], style))?;
        area.draw(&text(line, &meaning))?;
    }
    let mut kinds = vec![(2, NORMAL, "a normal layer"), (3, SEPARABLE, "a separable layer")];
    if points.iter().any(|point| point.colour() == POOL) {
        kinds.push((4, POOL, "a pool"));
    }
    for (line, colour, meaning) in kinds {
        area.draw(&Circle::new((18, middle(line)), 4, colour.filled()))?;
        area.draw(&text(line, meaning))?;
    }
    Ok(())
}

/// Each layer's number, name and time.
fn draw_list(area: &Area, points: &[Point]) -> Result<(), Box<dyn Error>> {
    for (line, point) in (0..).zip(points) {
        let text = format!("{}  {}  {:.3} ms", point.number, point.row.shape.id, 1e3 * point.row.seconds());
        let place = (8, (line * LINE_HEIGHT).cast_signed());
        area.draw(&Text::new(text, place, (FONT, 14).into_font().color(&point.colour())))?;
    }
    Ok(())
}

/// The whole powers of ten around numbers above 0.
fn decades(numbers: impl Iterator<Item = f64>) -> Range<f64> {
    let (low, high) = numbers.fold((f64::INFINITY, 0.0_f64), |(low, high), n| (low.min(n), high.max(n)));
    10_f64.powf(low.log10().floor())..10_f64.powf(high.log10().ceil())
}
