//! Curves over n as SVG, both axes logarithmic: what grows by a power of n is a straight line, and a grey one beside it says
//! what growing as it should would look like.

use plotters::prelude::*;

/// A plot, and what it shows.
pub struct Curve {
    /// The file's name, without `.svg`.
    pub name: &'static str,
    pub title: &'static str,
    pub scenario: &'static str,
    pub x: &'static str,
    pub y: &'static str,
    pub reference: Reference,
}

/// A line through the first point.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reference {
    None,
    /// Twice n, twice the value.
    Proportional,
    /// n squared, twice the value.
    Logarithm,
}

impl Reference {
    fn label(self) -> &'static str {
        match self {
            Reference::None => "",
            Reference::Proportional => "in proportion",
            Reference::Logarithm => "with the logarithm",
        }
    }

    fn value(self, first: &Point, x: f64) -> f64 {
        match self {
            Reference::None => first.median,
            Reference::Proportional => first.median * x / first.x,
            Reference::Logarithm => first.median * x.ln() / first.x.ln(),
        }
    }
}

pub struct Series {
    pub name: String,
    pub points: Vec<Point>,
}

#[derive(Clone, Copy)]
pub struct Point {
    pub x: f64,
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 90, 160),
    RGBColor(200, 80, 0),
    RGBColor(0, 130, 80),
    RGBColor(150, 50, 140),
    RGBColor(90, 90, 90),
    RGBColor(170, 130, 0),
];

pub fn svg(curve: &Curve, series: &[Series]) -> String {
    let mut text = String::new();
    draw(curve, series, SVGBackend::with_string(&mut text, (960, 480))).expect("a plot in memory");
    // One element a line, so that runs can be compared.
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

type Drawn<'t> = Result<(), Box<dyn std::error::Error + 't>>;

fn draw<'t>(curve: &Curve, series: &[Series], backend: SVGBackend<'t>) -> Drawn<'t> {
    let points = || series.iter().flat_map(|series| &series.points);
    let least = |of: fn(&Point) -> f64| points().map(of).filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
    let most = |of: fn(&Point) -> f64| points().map(of).fold(0.0, f64::max);
    let (left, right) = (least(|point| point.x), most(|point| point.x));
    // Whole powers of ten, so that there is always one to read off.
    let bottom = 10f64.powf(least(|point| point.min).log10().floor());
    let top = 10f64.powf(most(|point| point.max).log10().ceil());

    let area = backend.into_drawing_area();
    area.fill(&WHITE)?;
    // What is what stands beside the curves, not on them.
    let (area, beside) = area.split_horizontally(760);
    let mut chart = ChartBuilder::on(&area)
        .caption(curve.title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(80)
        .build_cartesian_2d((left / 1.1..right * 1.1).log_scale(), (bottom..top).log_scale())?;
    chart
        .configure_mesh()
        .x_desc(curve.x)
        .y_desc(curve.y)
        .x_label_formatter(&|x| short(*x))
        .y_label_formatter(&|y| short(*y))
        .light_line_style(WHITE)
        .draw()?;
    let mut names = Vec::new();
    let first = series.first().and_then(|series| series.points.first());
    if let Some(first) = first.filter(|_| curve.reference != Reference::None) {
        // A hundred pieces, since it may be bent; as far as it stays inside.
        let steps = (0..=100).map(|step| first.x * (right / first.x).powf(f64::from(step) / 100.0));
        let line = steps.map(|x| (x, curve.reference.value(first, x))).take_while(|(_, y)| *y <= top);
        let grey = RGBColor(190, 190, 190);
        chart.draw_series(LineSeries::new(line, grey.stroke_width(2)))?;
        names.push((curve.reference.label(), grey));
    }
    for (series, colour) in series.iter().zip(COLOURS.iter().cycle()) {
        let medians = series.points.iter().map(|point| (point.x, point.median));
        chart.draw_series(LineSeries::new(medians.clone(), colour.stroke_width(2)))?;
        chart.draw_series(medians.map(|at| Circle::new(at, 3, colour.filled())))?;
        let spans = series.points.iter().filter(|point| point.min > 0.0);
        chart.draw_series(spans.map(|point| PathElement::new([(point.x, point.min), (point.x, point.max)], colour)))?;
        names.push((&series.name, *colour));
    }
    for (line, (name, colour)) in (0..).zip(names) {
        let y = 60 + 22 * line;
        beside.draw(&PathElement::new([(0, y), (20, y)], colour.stroke_width(2)))?;
        beside.draw(&Text::new(name, (26, y - 6), ("sans-serif", 13)))?;
    }
    area.present()?;
    Ok(())
}

/// 20,000 as 20 k.
fn short(value: f64) -> String {
    let (value, unit) = match value {
        1e6.. => (value / 1e6, " M"),
        1e3.. => (value / 1e3, " k"),
        _ => (value, ""),
    };
    // As many digits as it takes: 0.05, 1.5, 300.
    let text = format!("{value:.3}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}
