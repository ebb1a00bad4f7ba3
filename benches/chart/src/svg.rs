//! What charts are drawn with in SVG, and groups of bars.

use std::fmt::Write;

use crate::statistics::{Summary, digits};

pub(crate) const WIDTH: f64 = 760.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 64.0;
const PLOT_HEIGHT: f64 = 240.0;
const BOTTOM: f64 = 44.0;

/// Told apart also by people who see no red or green (Okabe and Ito).
const COLOURS: [&str; 7] = ["#0072b2", "#e69f00", "#f0c674", "#009e73", "#888888", "#cc79a7", "#d55e00"];

/// Bars in groups.
pub struct Bars<'a> {
    /// What is shown.
    pub title: &'a str,
    /// Of the values.
    pub unit: &'a str,
    /// Below each group.
    pub groups: Vec<String>,
    /// One bar in each group.
    pub series: Vec<Series>,
}

/// The bars of one kind.
pub struct Series {
    /// In the legend.
    pub name: String,
    /// The same in every chart.
    pub colour: usize,
    /// For each group.
    pub values: Vec<Option<Summary>>,
}

impl Bars<'_> {
    /// The whole document.
    pub fn draw(&self) -> String {
        let highest =
            self.series.iter().flat_map(|series| &series.values).flatten().map(|value| value.max).fold(0.0, f64::max);
        let (step, top) = nice_scale(highest);
        let legend: Vec<_> = self.series.iter().map(|series| (series.name.as_str(), series.colour)).collect();
        let spread = self.series.iter().flat_map(|series| &series.values).flatten().any(|value| value.n > 1);
        let head = match spread {
            true => format!("{} ({}; median, line from least to most)", self.title, self.unit),
            false => format!("{} ({})", self.title, self.unit),
        };
        let mut svg = open(self.title, TOP + PLOT_HEIGHT + BOTTOM);
        head_and_legend(&mut svg, &head, &legend);
        let y = |value: f64| TOP + PLOT_HEIGHT * (1.0 - value / top);
        let mut tick = 0.0;
        while tick <= top * 1.001 {
            horizontal_line(&mut svg, y(tick), &number(tick));
            tick += step;
        }
        let group_width = (WIDTH - LEFT - RIGHT) / self.groups.len().max(1) as f64;
        let bar = group_width * 0.84 / self.series.len().max(1) as f64;
        for (g, group) in self.groups.iter().enumerate() {
            let from = LEFT + group_width * (g as f64 + 0.08);
            for (s, series) in self.series.iter().enumerate() {
                let Some(value) = series.values.get(g).copied().flatten() else { continue };
                let (x, middle) = (from + bar * s as f64, from + bar * (s as f64 + 0.46));
                let (top, least, most) = (y(value.median), y(value.min), y(value.max));
                let height = TOP + PLOT_HEIGHT - top;
                let _ = writeln!(
                    svg,
                    r#"<rect x="{x:.1}" y="{top:.1}" width="{:.1}" height="{height:.1}" fill="{}"/>"#,
                    bar * 0.92,
                    colour(series.colour),
                );
                if value.n > 1 {
                    let _ = writeln!(
                        svg,
                        r##"<line x1="{middle:.1}" y1="{least:.1}" x2="{middle:.1}" y2="{most:.1}" stroke="#222"/>"##
                    );
                }
                text(&mut svg, middle, most - 4.0, "middle", 10, &digits(value.median));
            }
            text(&mut svg, LEFT + group_width * (g as f64 + 0.5), TOP + PLOT_HEIGHT + 18.0, "middle", 12, group);
        }
        end(svg)
    }
}

/// The beginning of a document, up to its white ground.
pub(crate) fn open(title: &str, height: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" font-family=\"sans-serif\" role=\"img\">\n<title>{}</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
        escaped(title)
    )
}

/// A chart's head, and a legend of names with their colours below it.
pub(crate) fn head_and_legend(svg: &mut String, head: &str, legend: &[(&str, usize)]) {
    text(svg, LEFT, 22.0, "start", 15, head);
    let mut x = LEFT;
    for (name, colour_of) in legend {
        let _ = writeln!(svg, r#"<rect x="{x:.1}" y="34" width="11" height="11" fill="{}"/>"#, colour(*colour_of));
        text(svg, x + 16.0, 44.0, "start", 12, name);
        // Wide enough for any letters at this size.
        x += 30.0 + 6.6 * name.chars().count() as f64;
    }
}

pub(crate) fn end(mut svg: String) -> String {
    svg.push_str("</svg>\n");
    svg
}

fn horizontal_line(svg: &mut String, y: f64, label: &str) {
    let right = WIDTH - RIGHT;
    let _ = writeln!(svg, r##"<line x1="{LEFT}" y1="{y:.1}" x2="{right}" y2="{y:.1}" stroke="#ddd"/>"##);
    text(svg, LEFT - 6.0, y + 4.0, "end", 11, label);
}

pub(crate) fn text(svg: &mut String, x: f64, y: f64, anchor: &str, size: u32, text: &str) {
    let text = escaped(text);
    let _ = writeln!(
        svg,
        r##"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" font-size="{size}" fill="#222">{text}</text>"##
    );
}

/// Text that can be read where it lies over lines.
pub(crate) fn outlined_text(svg: &mut String, x: f64, y: f64, size: u32, text: &str) {
    let text = escaped(text);
    let _ = writeln!(
        svg,
        r##"<text x="{x:.1}" y="{y:.1}" font-size="{size}" fill="#222" stroke="#fff" stroke-width="3" paint-order="stroke">{text}</text>"##
    );
}

pub(crate) fn colour(number: usize) -> &'static str {
    COLOURS.get(number % COLOURS.len()).copied().unwrap_or("#000")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Steps of 1, 2 or 5 times a power of ten, and the first at or above `highest`.
pub(crate) fn nice_scale(highest: f64) -> (f64, f64) {
    if highest <= 0.0 {
        return (1.0, 1.0);
    }
    let raw = highest / 5.0;
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|n| n * power).find(|step| *step >= raw).unwrap_or(raw);
    (step, (highest / step).ceil() * step)
}

/// For the axis.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || value == value.round() => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_high_as_their_values() {
        let median = |values: [f64; 3]| Summary::of(&values);
        let series = |name: &str, colour, values| Series { name: name.to_owned(), colour, values };
        let series = vec![
            series("a & b", 0, vec![median([80.0, 90.0, 100.0]), None]),
            series("c", 3, vec![Summary::of(&[50.0]), Summary::of(&[25.0])]),
        ];
        let svg = Bars { title: "<T>", unit: "MiB/s", groups: vec!["x".into(), "y".into()], series }.draw();
        let heights: Vec<f64> = svg
            .lines()
            .filter(|line| line.starts_with("<rect x") && !line.contains("y=\"34\""))
            .filter_map(|line| line.split("height=\"").nth(1)?.split('"').next()?.parse().ok())
            .collect();
        assert_eq!(heights, [216.0, 120.0, 60.0]);
        let whiskers: Vec<_> = svg.lines().filter(|line| line.contains("stroke=\"#222\"")).collect();
        assert!(whiskers.len() == 1 && whiskers[0].contains("y1=\"112.0\"") && whiskers[0].contains("y2=\"64.0\""));
        assert!(svg.contains("a &amp; b") && svg.contains("&lt;T&gt; (MiB/s;") && !svg.contains("<T>"));
    }

    #[test]
    fn scales_end_at_round_numbers() {
        assert_eq!(nice_scale(100.0), (20.0, 100.0));
        assert_eq!(nice_scale(431.0), (100.0, 500.0));
        assert_eq!(nice_scale(0.0), (1.0, 1.0));
        let (step, top) = nice_scale(0.07);
        assert!((step - 0.02).abs() < 1e-12 && (top - 0.08).abs() < 1e-12);
    }

    #[test]
    fn nothing_measured_still_draws() {
        let svg = Bars { title: "t", unit: "s", groups: Vec::new(), series: Vec::new() }.draw();
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n") && !svg.contains("NaN"));
    }
}
