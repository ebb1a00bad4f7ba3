//! Lines over one pair of axes, each of which may be logarithmic, and the limits they are held against.

use std::fmt::Write;

use crate::statistics::whole;
use crate::svg::{WIDTH, colour, end, nice_scale, open, outlined_text, text};

const LEFT: f64 = 76.0;
const RIGHT: f64 = 40.0;
const PLOT_HEIGHT: f64 = 270.0;
const BOTTOM: f64 = 52.0;
/// From the top to the first line of the legend, and from one to the next.
const LEGEND_TOP: f64 = 44.0;
const LEGEND_STEP: f64 = 18.0;
/// Up to so many points of a line get a dot each.
const DOTS_MAX: usize = 24;

/// Lines over one pair of axes.
#[derive(Clone, Debug)]
pub struct Lines<'a> {
    /// What is shown.
    pub title: &'a str,
    /// To the right.
    pub x: Axis<'a>,
    /// Upwards.
    pub y: Axis<'a>,
    /// In the order of the legend.
    pub lines: Vec<Line>,
    /// Drawn across, for what must not be exceeded.
    pub limits: Vec<Limit>,
}

/// An axis.
#[derive(Clone, Copy, Debug)]
pub struct Axis<'a> {
    /// What it counts, with the unit.
    pub name: &'a str,
    /// How it counts.
    pub scale: Scale,
}

/// How an axis counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// From 0 in equal steps.
    Linear,
    /// From one power of ten to another; points at or below 0 are left out.
    Logarithmic,
}

/// A line.
#[derive(Clone, Debug)]
pub struct Line {
    /// In the legend.
    pub name: String,
    /// The number of its colour.
    pub colour: usize,
    /// Whether it is dashed.
    pub dashed: bool,
    /// From left to right.
    pub points: Vec<(f64, f64)>,
}

/// A line across.
#[derive(Clone, Debug)]
pub struct Limit {
    /// What it is, written above it.
    pub name: String,
    /// Where it lies on the axis upwards.
    pub at: f64,
}

/// Where values lie on an axis: 0 to 1.
struct Range {
    scale: Scale,
    low: f64,
    high: f64,
    ticks: Vec<f64>,
}

impl Range {
    fn of(scale: Scale, values: impl Iterator<Item = f64> + Clone) -> Self {
        let usable = |value: &f64| value.is_finite() && (scale == Scale::Linear || *value > 0.0);
        let values = values.filter(usable);
        let high = values.clone().fold(0.0, f64::max);
        match scale {
            Scale::Linear => {
                let (step, high) = nice_scale(high);
                let count = (high / step).round() as u32;
                Self { scale, low: 0.0, high, ticks: (0..=count).map(|n| f64::from(n) * step).collect() }
            }
            Scale::Logarithmic => {
                let low = values.fold(f64::INFINITY, f64::min).min(high);
                let (from, to) = match high > 0.0 {
                    true => (low.log10().floor() as i32, high.log10().ceil() as i32),
                    false => (0, 1),
                };
                let to = to.max(from + 1);
                let ticks = (from..=to).map(|power| 10f64.powi(power)).collect();
                Self { scale, low: 10f64.powi(from), high: 10f64.powi(to), ticks }
            }
        }
    }

    fn along(&self, value: f64) -> Option<f64> {
        let share = match self.scale {
            Scale::Linear => value / self.high,
            Scale::Logarithmic if value > 0.0 => (value / self.low).ln() / (self.high / self.low).ln(),
            Scale::Logarithmic => return None,
        };
        share.is_finite().then_some(share)
    }
}

impl Lines<'_> {
    /// The whole document.
    #[must_use]
    pub fn draw(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let x = Range::of(self.x.scale, points().map(|point| point.0));
        let limits = self.limits.iter().map(|limit| limit.at);
        let y = Range::of(self.y.scale, points().map(|point| point.1).chain(limits));

        let legend = self.legend();
        let top = LEGEND_TOP + LEGEND_STEP * (legend.len() as f64) + 20.0;
        let (right, bottom) = (WIDTH - RIGHT, top + PLOT_HEIGHT);
        let along = |value: f64| x.along(value).map(|share| LEFT + (right - LEFT) * share);
        let up = |value: f64| y.along(value).map(|share| bottom - PLOT_HEIGHT * share);

        let mut svg = open(self.title, bottom + BOTTOM);
        text(&mut svg, 16.0, 22.0, "start", 15, self.title);
        for (row, entries) in legend.iter().enumerate() {
            self.draw_legend(&mut svg, entries, LEGEND_TOP + LEGEND_STEP * row as f64);
        }
        text(&mut svg, 16.0, top - 12.0, "start", 12, self.y.name);
        for tick in &y.ticks {
            let Some(at) = up(*tick) else { continue };
            let _ = writeln!(svg, r##"<line x1="{LEFT}" y1="{at:.1}" x2="{right}" y2="{at:.1}" stroke="#ddd"/>"##);
            text(&mut svg, LEFT - 6.0, at + 4.0, "end", 11, &number(*tick));
        }
        for tick in &x.ticks {
            let Some(at) = along(*tick) else { continue };
            let end = bottom + 5.0;
            let _ = writeln!(svg, r##"<line x1="{at:.1}" y1="{top}" x2="{at:.1}" y2="{end}" stroke="#ddd"/>"##);
            text(&mut svg, at, bottom + 18.0, "middle", 11, &number(*tick));
        }
        text(&mut svg, f64::midpoint(LEFT, right), bottom + 40.0, "middle", 12, self.x.name);
        for line in &self.lines {
            let points: Vec<_> = line.points.iter().filter_map(|point| Some((along(point.0)?, up(point.1)?))).collect();
            line.draw(&mut svg, &points);
        }
        for limit in &self.limits {
            let Some(at) = up(limit.at) else { continue };
            let _ = writeln!(
                svg,
                r##"<line x1="{LEFT}" y1="{at:.1}" x2="{right}" y2="{at:.1}" stroke="#a00" stroke-dasharray="2 3" stroke-width="1.5"/>"##
            );
            // Below a line that lies at the top, where the axis has its name.
            let y = if at - top < 16.0 { at + 14.0 } else { at - 5.0 };
            outlined_text(&mut svg, LEFT + 6.0, y, 11, &limit.name);
        }
        end(svg)
    }

    /// The lines in rows of the legend, each with where it begins.
    fn legend(&self) -> Vec<Vec<(f64, &Line)>> {
        let mut rows: Vec<Vec<(f64, &Line)>> = Vec::new();
        let mut x = f64::INFINITY;
        for line in &self.lines {
            // Wide enough for any letters at this size.
            let width = 44.0 + 6.4 * line.name.chars().count() as f64;
            if x + width > WIDTH {
                rows.push(Vec::new());
                x = 16.0;
            }
            if let Some(row) = rows.last_mut() {
                row.push((x, line));
            }
            x += width;
        }
        rows
    }

    fn draw_legend(&self, svg: &mut String, entries: &[(f64, &Line)], y: f64) {
        for (x, line) in entries {
            let (from, to, at) = (x, x + 22.0, y - 4.0);
            let _ = writeln!(
                svg,
                r#"<line x1="{from:.1}" y1="{at:.1}" x2="{to:.1}" y2="{at:.1}" stroke="{}" stroke-width="2.5"{}/>"#,
                colour(line.colour),
                line.dashes()
            );
            text(svg, x + 27.0, y, "start", 12, &line.name);
        }
    }
}

impl Line {
    fn dashes(&self) -> &'static str {
        if self.dashed { r#" stroke-dasharray="6 4""# } else { "" }
    }

    fn draw(&self, svg: &mut String, points: &[(f64, f64)]) {
        let ends = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect::<Vec<_>>().join(" ");
        let (colour, dashes) = (colour(self.colour), self.dashes());
        let _ = writeln!(svg, r#"<polyline points="{ends}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>"#);
        if points.len() <= DOTS_MAX {
            for (x, y) in points {
                let _ = writeln!(svg, r#"<circle cx="{x:.1}" cy="{y:.1}" r="3" fill="{colour}"/>"#);
            }
        }
    }
}

/// For an axis: with commas between thousands.
fn number(value: f64) -> String {
    if value != 0.0 && value.abs() < 1.0 {
        return format!("{value}");
    }
    if value != value.round() {
        return format!("{value:.1}");
    }
    whole(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(x: Scale, y: Scale, points: Vec<(f64, f64)>) -> String {
        let line = Line { name: "a & b".to_owned(), colour: 0, dashed: false, points };
        let limits = vec![Limit { name: "limit".to_owned(), at: 100.0 }];
        Lines {
            title: "<t>",
            x: Axis { name: "x", scale: x },
            y: Axis { name: "y", scale: y },
            lines: vec![line],
            limits,
        }
        .draw()
    }

    /// The points of the only line.
    fn points(svg: &str) -> Vec<(f64, f64)> {
        let list = svg.lines().find_map(|line| line.strip_prefix("<polyline points=\"")).unwrap();
        let pair = |point: &str| {
            let (x, y) = point.split_once(',').unwrap();
            (x.parse().unwrap(), y.parse().unwrap())
        };
        list.split('"').next().unwrap().split(' ').filter(|point| !point.is_empty()).map(pair).collect()
    }

    #[test]
    fn equal_factors_are_equal_steps_on_logarithmic_axes() {
        let drawn =
            points(&chart(Scale::Logarithmic, Scale::Logarithmic, vec![(1.0, 1.0), (10.0, 10.0), (100.0, 100.0)]));
        let (right, up) = (drawn[1].0 - drawn[0].0, drawn[0].1 - drawn[1].1);
        assert!(right > 100.0 && up > 100.0, "{drawn:?}");
        assert!((drawn[2].0 - drawn[1].0 - right).abs() < 0.2 && (drawn[1].1 - drawn[2].1 - up).abs() < 0.2);
    }

    #[test]
    fn linear_axes_begin_at_0() {
        let drawn = points(&chart(Scale::Linear, Scale::Linear, vec![(0.0, 0.0), (5.0, 50.0), (10.0, 100.0)]));
        assert_eq!(drawn[0].0, LEFT);
        assert!((drawn[1].1 - f64::midpoint(drawn[0].1, drawn[2].1)).abs() < 0.2, "{drawn:?}");
    }

    #[test]
    fn what_a_logarithm_does_not_know_is_left_out() {
        let svg = chart(Scale::Logarithmic, Scale::Logarithmic, vec![(0.0, 5.0), (1.0, 5.0), (10.0, 0.0)]);
        assert_eq!(points(&svg).len(), 1);
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        assert!(svg.contains("&lt;t&gt;") && svg.contains("a &amp; b"));
    }

    #[test]
    fn nothing_still_draws() {
        for scale in [Scale::Linear, Scale::Logarithmic] {
            let svg = chart(scale, scale, Vec::new());
            assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n") && !svg.contains("NaN"), "{svg}");
        }
    }

    #[test]
    fn a_long_legend_takes_several_rows() {
        let line = |n: usize| Line {
            name: format!("a rather long name, number {n}"),
            colour: n,
            dashed: false,
            points: Vec::new(),
        };
        let axis = Axis { name: "", scale: Scale::Linear };
        let chart = Lines { title: "", x: axis, y: axis, lines: (0..6).map(line).collect(), limits: Vec::new() };
        let rows = chart.legend();
        assert!(rows.len() > 1 && rows.iter().map(Vec::len).sum::<usize>() == 6);
        assert!(rows.iter().flatten().all(|(x, line)| x + 27.0 + 6.4 * line.name.len() as f64 <= WIDTH));
    }

    #[test]
    fn thousands_have_commas() {
        assert_eq!(
            ["1", "999", "1,000", "100,000", "1,000,000"],
            [1.0, 999.0, 1e3, 1e5, 1e6].map(number).each_ref().map(String::as_str)
        );
        assert_eq!((number(0.01), number(2.5), number(0.0)), ("0.01".into(), "2.5".into(), "0".into()));
    }
}
