//! A run's waiting times as a picture: which part of the messages waited no longer than so many seconds.

use plotters::coord::Shift;
use plotters::prelude::*;

const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 140, 80), RGBColor(30, 90, 200), RGBColor(210, 70, 30), RGBColor(170, 120, 0)];
/// The first is the broadest, so that what lies on it leaves it visible.
const WIDTHS: [u32; 4] = [9, 6, 4, 2];
/// Less is shown as this: the axis is logarithmic.
const SHORTEST: f64 = 0.01;

/// One of the pictures: what is counted in it, and of each discipline the waiting times.
pub struct Panel<'n> {
    pub title: String,
    pub curves: Vec<(&'n str, Vec<f64>)>,
}

/// An SVG with the panels side by side, on the same axes.
pub fn waits(title: &str, panels: &[Panel]) -> String {
    let waits = panels.iter().flat_map(|panel| &panel.curves).flat_map(|(_, waits)| waits);
    let longest = waits.fold(1.0, |a: f64, &b| a.max(b));
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (1100, 480)).into_drawing_area();
        area.fill(&WHITE).expect("it is text");
        let area = area.titled(title, ("sans-serif", 18)).expect("it fits");
        let (area, below) = area.split_vertically(400);
        for (area, panel) in area.split_evenly((1, panels.len())).iter().zip(panels) {
            draw(area, panel, longest);
        }
        // What is what stands beside the curves, not on them.
        for (at, (name, _)) in (0..).zip(&panels[0].curves) {
            let (x, colour) = (80 + 240 * at, COLOURS[at as usize]);
            let style = colour.stroke_width(WIDTHS[at as usize]);
            below.draw(&PathElement::new([(x, 22), (x + 30, 22)], style)).expect("it is text");
            below.draw(&Text::new(*name, (x + 38, 15), ("sans-serif", 14))).expect("it is text");
        }
        area.present().expect("it is text");
    }
    // One element a line, so that runs can be compared.
    svg.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn draw(area: &DrawingArea<SVGBackend, Shift>, panel: &Panel, longest: f64) {
    let mut chart = ChartBuilder::on(area)
        .caption(&panel.title, ("sans-serif", 15))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(50)
        .build_cartesian_2d((SHORTEST..longest * 1.3).log_scale(), 0.0..1.0)
        .expect("it fits");
    chart
        .configure_mesh()
        .x_desc(format!("waited for the first transaction, s ({SHORTEST}: or less)"))
        .y_desc("part of the messages")
        .x_label_formatter(&|seconds| format!("{seconds}"))
        .y_label_formatter(&|part| format!("{:.0} %", part * 100.0))
        .light_line_style(WHITE)
        .bold_line_style(RGBColor(210, 210, 210))
        .draw()
        .expect("it is text");
    for (((_, waits), colour), width) in panel.curves.iter().zip(COLOURS).zip(WIDTHS) {
        let mut waits = waits.clone();
        waits.sort_by(f64::total_cmp);
        // Five hundred points are as fine as the picture.
        let step = waits.len().div_ceil(500).max(1);
        let part = |n: usize| (n + 1) as f64 / waits.len() as f64;
        let ends = [0].into_iter().filter(|_| !waits.is_empty()).map(|n: usize| (waits[n].max(SHORTEST), 0.0));
        let shown = (0..waits.len()).step_by(step).chain(waits.len().checked_sub(1));
        let line = ends.chain(shown.map(|n| (waits[n].max(SHORTEST), part(n))));
        chart.draw_series(LineSeries::new(line, colour.stroke_width(width))).expect("it is text");
    }
}
