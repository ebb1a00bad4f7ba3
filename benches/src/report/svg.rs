//! Two kinds of charts as SVG: groups of bars, and lines on logarithmic axes.

use std::fmt::Write;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 64.0;
const PLOT_HEIGHT: f64 = 240.0;
const BOTTOM: f64 = 44.0;

/// Told apart also by people who see no red or green (Okabe and Ito).
const COLOURS: [&str; 7] = ["#0072b2", "#e69f00", "#f0c674", "#009e73", "#888888", "#cc79a7", "#d55e00"];

/// Bars in groups.
pub(super) struct Bars<'a> {
    /// What is shown.
    pub(super) title: &'a str,
    /// Of the values.
    pub(super) unit: &'a str,
    /// Below each group.
    pub(super) groups: Vec<String>,
    /// One bar in each group.
    pub(super) series: Vec<Series>,
}

/// The bars of one kind.
pub(super) struct Series {
    /// In the legend.
    pub(super) name: String,
    /// The same in every chart.
    pub(super) colour: usize,
    /// For each group.
    pub(super) values: Vec<Option<f64>>,
}

/// Lines on logarithmic axes.
pub(super) struct Lines<'a> {
    /// What is shown.
    pub(super) title: &'a str,
    /// Below the horizontal axis.
    pub(super) horizontal: &'a str,
    /// A name, and points with coordinates above 0.
    pub(super) series: Vec<(String, Vec<(f64, f64)>)>,
    /// A line to compare with, drawn dashed.
    pub(super) reference: (String, Vec<(f64, f64)>),
}

impl Bars<'_> {
    /// The whole document.
    pub(super) fn draw(&self) -> String {
        let highest = self.series.iter().flat_map(|series| &series.values).flatten().copied().fold(0.0, f64::max);
        let (step, top) = nice_scale(highest);
        let legend: Vec<_> = self.series.iter().map(|series| (series.name.as_str(), series.colour)).collect();
        let mut svg = begin(self.title, self.unit, &legend);
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
                let (x, y) = (from + bar * s as f64, y(value));
                let height = TOP + PLOT_HEIGHT - y;
                let _ = writeln!(
                    svg,
                    r#"<rect x="{x:.1}" y="{y:.1}" width="{:.1}" height="{height:.1}" fill="{}"/>"#,
                    bar * 0.92,
                    colour(series.colour),
                );
                text(&mut svg, x + bar * 0.46, y - 4.0, "middle", 10, &number(value));
            }
            text(&mut svg, LEFT + group_width * (g as f64 + 0.5), TOP + PLOT_HEIGHT + 18.0, "middle", 12, group);
        }
        end(svg)
    }
}

impl Lines<'_> {
    /// The whole document.
    pub(super) fn draw(&self) -> String {
        let points = || self.series.iter().flat_map(|(_, points)| points).chain(&self.reference.1).copied();
        let range = |pick: fn((f64, f64)) -> f64| {
            let (low, high) = points().map(pick).fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
            if low < high { (low, high) } else { (low.min(1.0) * 0.9, high.max(1.0) * 1.1) }
        };
        let ((x_low, x_high), (y_low, y_high)) = (range(|(x, _)| x), range(|(_, y)| y));
        let (y_low, y_high) = (10f64.powf(y_low.log10().floor()), 10f64.powf(y_high.log10().ceil()));
        let along = |value: f64, low: f64, high: f64| (value / low).ln() / (high / low).ln();
        let inner = WIDTH - LEFT - RIGHT - 24.0;
        let x = |value: f64| LEFT + 12.0 + inner * along(value, x_low, x_high);
        let y = |value: f64| TOP + PLOT_HEIGHT * (1.0 - along(value, y_low, y_high));

        let legend: Vec<_> = self.series.iter().enumerate().map(|(s, (name, _))| (name.as_str(), s)).collect();
        let mut svg = begin(self.title, "", &legend);
        let mut tick = y_low;
        while tick <= y_high * 1.001 {
            horizontal_line(&mut svg, y(tick), &number(tick));
            tick *= 10.0;
        }
        let mut ticks: Vec<f64> = points().map(|(x, _)| x).collect();
        ticks.sort_by(f64::total_cmp);
        ticks.dedup();
        for tick in ticks {
            text(&mut svg, x(tick), TOP + PLOT_HEIGHT + 16.0, "middle", 11, &number(tick));
        }
        text(&mut svg, LEFT + 12.0 + inner / 2.0, TOP + PLOT_HEIGHT + 34.0, "middle", 12, self.horizontal);

        let path = |points: &[(f64, f64)]| {
            points.iter().map(|point| format!("{:.1},{:.1}", x(point.0), y(point.1))).collect::<Vec<_>>().join(" ")
        };
        let (name, line) = &self.reference;
        let _ =
            writeln!(svg, r##"<polyline points="{}" fill="none" stroke="#999" stroke-dasharray="6 4"/>"##, path(line));
        if let Some(last) = line.last() {
            text(&mut svg, x(last.0) - 6.0, y(last.1) - 6.0, "end", 11, name);
        }
        for (s, (_, points)) in self.series.iter().enumerate() {
            let colour = colour(s);
            let _ = writeln!(
                svg,
                r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2"/>"#,
                path(points)
            );
            for point in points {
                let _ =
                    writeln!(svg, r#"<circle cx="{:.1}" cy="{:.1}" r="3.5" fill="{colour}"/>"#, x(point.0), y(point.1));
            }
        }
        end(svg)
    }
}

fn begin(title: &str, unit: &str, legend: &[(&str, usize)]) -> String {
    let height = TOP + PLOT_HEIGHT + BOTTOM;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" font-family=\"sans-serif\" role=\"img\">\n<title>{}</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
        escaped(title)
    );
    let heading = if unit.is_empty() { title.to_owned() } else { format!("{title} ({unit})") };
    text(&mut svg, LEFT, 22.0, "start", 15, &heading);
    let mut x = LEFT;
    for (name, colour_of) in legend {
        let _ = writeln!(svg, r#"<rect x="{x:.1}" y="34" width="11" height="11" fill="{}"/>"#, colour(*colour_of));
        text(&mut svg, x + 16.0, 44.0, "start", 12, name);
        // Wide enough for any letters at this size.
        x += 30.0 + 6.6 * name.chars().count() as f64;
    }
    svg
}

fn end(mut svg: String) -> String {
    svg.push_str("</svg>\n");
    svg
}

fn horizontal_line(svg: &mut String, y: f64, label: &str) {
    let right = WIDTH - RIGHT;
    let _ = writeln!(svg, r##"<line x1="{LEFT}" y1="{y:.1}" x2="{right}" y2="{y:.1}" stroke="#ddd"/>"##);
    text(svg, LEFT - 6.0, y + 4.0, "end", 11, label);
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, size: u32, text: &str) {
    let text = escaped(text);
    let _ = writeln!(
        svg,
        r##"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" font-size="{size}" fill="#222">{text}</text>"##
    );
}

fn colour(number: usize) -> &'static str {
    COLOURS.get(number % COLOURS.len()).copied().unwrap_or("#000")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Steps of 1, 2 or 5 times a power of ten, and the first at or above `highest`.
fn nice_scale(highest: f64) -> (f64, f64) {
    if highest <= 0.0 {
        return (1.0, 1.0);
    }
    let raw = highest / 5.0;
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|n| n * power).find(|step| *step >= raw).unwrap_or(raw);
    (step, (highest / step).ceil() * step)
}

/// Three digits or so.
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
        let series = |name: &str, colour, values| Series { name: name.to_owned(), colour, values };
        let series = vec![series("a & b", 0, vec![Some(100.0), None]), series("c", 3, vec![Some(50.0), Some(25.0)])];
        let svg = Bars { title: "<T>", unit: "MiB/s", groups: vec!["x".into(), "y".into()], series }.draw();
        let heights: Vec<f64> = svg
            .lines()
            .filter(|line| line.starts_with("<rect x") && !line.contains("y=\"34\""))
            .filter_map(|line| line.split("height=\"").nth(1)?.split('"').next()?.parse().ok())
            .collect();
        assert_eq!(heights, [240.0, 120.0, 60.0]);
        assert!(svg.contains("a &amp; b") && svg.contains("&lt;T&gt; (MiB/s)") && !svg.contains("<T>"));
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
    fn lines_of_equal_growth_are_parallel() {
        let line = |from: f64| vec![(1.0, from), (4.0, from * 4.0), (16.0, from * 16.0)];
        let series = vec![("one".to_owned(), line(1.0)), ("two".to_owned(), line(2.0))];
        let svg = Lines { title: "t", horizontal: "work", series, reference: ("linear".to_owned(), line(0.5)) }.draw();
        let slopes: Vec<String> = svg
            .lines()
            .filter_map(|line| line.strip_prefix("<polyline points=\"")?.split('"').next())
            .map(|points| {
                let y = |n: usize| points.split(' ').nth(n).unwrap().split(',').nth(1).unwrap().parse::<f64>().unwrap();
                format!("{:.0}", y(0) - y(2))
            })
            .collect();
        assert_eq!(slopes.len(), 3);
        assert!(slopes.windows(2).all(|pair| pair[0] == pair[1]), "{slopes:?}");
    }

    #[test]
    fn nothing_measured_still_draws() {
        let svg = Bars { title: "t", unit: "s", groups: Vec::new(), series: Vec::new() }.draw();
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n") && !svg.contains("NaN"));
        let lines =
            Lines { title: "t", horizontal: "x", series: Vec::new(), reference: (String::new(), vec![(1.0, 1.0)]) };
        assert!(!lines.draw().contains("NaN"));
    }
}
