//! A run's waiting times as a picture: which part of the messages waited no longer than so many seconds.

use plotters::prelude::*;

const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 110, 60), RGBColor(30, 90, 200), RGBColor(200, 60, 30), RGBColor(150, 100, 0)];
/// Less is shown as this: the axis is logarithmic.
const SHORTEST: f64 = 0.01;

/// An SVG.
pub fn waits(title: &str, curves: &[(&str, Vec<f64>)]) -> String {
    let longest = curves.iter().flat_map(|(_, waits)| waits).fold(1.0, |a: f64, &b| a.max(b));
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (820, 460)).into_drawing_area();
        area.fill(&WHITE).expect("it is text");
        let mut chart = ChartBuilder::on(&area)
            .caption(title, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(50)
            .build_cartesian_2d((SHORTEST..longest).log_scale(), 0.0..1.0)
            .expect("it fits");
        chart
            .configure_mesh()
            .x_desc("seconds until the first transaction")
            .y_desc("part of the messages")
            .x_label_formatter(&|seconds| format!("{seconds}"))
            .draw()
            .expect("it is text");
        for ((name, waits), colour) in curves.iter().zip(COLOURS) {
            let mut waits = waits.clone();
            waits.sort_by(f64::total_cmp);
            // A thousand points are as fine as the picture.
            let step = waits.len().div_ceil(1000);
            let part = |n: usize| (n + 1) as f64 / waits.len() as f64;
            let line =
                (0..waits.len()).step_by(step).chain([waits.len() - 1]).map(|n| (waits[n].max(SHORTEST), part(n)));
            let drawn = chart.draw_series(LineSeries::new(line, colour.stroke_width(2))).expect("it is text");
            drawn.label(*name).legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
        }
        let labels =
            chart.configure_series_labels().position(SeriesLabelPosition::LowerRight).background_style(WHITE).draw();
        labels.expect("it is text");
        area.present().expect("it is text");
    }
    svg
}
