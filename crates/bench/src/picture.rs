//! Throughput against backlog and against workers, as SVG.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

use crate::report::Report;
use crate::stats::as_f64;

const SIZE: (u32, u32) = (1000, 420);
const COLOURS: [RGBColor; 3] =
    [RGBColor(0x1f, 0x77, 0xb4), RGBColor(0xd6, 0x5f, 0x0e), RGBColor(0x2c, 0x8c, 0x3c)];

/// A line of a chart: what it is called, and its points.
type Lines = BTreeMap<String, Vec<(f64, f64)>>;

/// `None` where there is nothing to draw.
pub(crate) fn svg(report: &Report) -> Result<Option<String>> {
    let mut backlog = Lines::new();
    for row in &report.backlog {
        let point = (as_f64(row.waiting), row.out);
        backlog.entry(format!("{} out", row.database)).or_default().push(point);
    }
    let mut workers = Lines::new();
    for row in &report.workers {
        let number = as_f64(row.number);
        workers.entry(format!("{} out", row.database)).or_default().push((number, row.out));
        workers.entry(format!("{} in", row.database)).or_default().push((number, row.into));
    }
    if backlog.is_empty() && workers.is_empty() {
        return Ok(None);
    }
    let mut picture = String::new();
    draw(&mut picture, &backlog, &workers).map_err(|error| anyhow!("cannot draw: {error}"))?;
    Ok(Some(picture))
}

fn draw(
    picture: &mut String,
    backlog: &Lines,
    workers: &Lines,
) -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
    let area = SVGBackend::with_string(picture, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let (left, right) = area.split_horizontally(SIZE.0 / 2);
    let extent = |lines: &Lines| {
        let most = lines.values().flatten().map(|point| point.0).fold(1.0, f64::max);
        let least = lines.values().flatten().map(|point| point.0).fold(most, f64::min);
        (least, most)
    };
    if !backlog.is_empty() {
        let (least, most) = extent(backlog);
        let axis = (least..(most * 1.01)).log_scale();
        chart(&left, "Messages a second by rows waiting", backlog, axis)?;
    }
    if !workers.is_empty() {
        let (_, most) = extent(workers);
        chart(&right, "Messages a second by workers", workers, 0.0..most * 1.05)?;
    }
    area.present()
}

fn chart<X>(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    title: &str,
    lines: &Lines,
    axis: X,
) -> Result<(), DrawingAreaErrorKind<std::io::Error>>
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
{
    let most = lines.values().flatten().map(|point| point.1).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(32)
        .y_label_area_size(64)
        .build_cartesian_2d(axis, 0.0..most * 1.15)?;
    let whole = |value: &f64| format!("{value:.0}");
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_label_formatter(&whole)
        .y_label_formatter(&whole)
        .draw()?;
    for (number, (name, points)) in lines.iter().enumerate() {
        let colour =
            COLOURS[number % COLOURS.len()].mix(if name.ends_with("in") { 0.5 } else { 1.0 });
        let style = colour.stroke_width(2);
        chart
            .draw_series(LineSeries::new(points.iter().copied(), style).point_size(3))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.2))
        .draw()
}
