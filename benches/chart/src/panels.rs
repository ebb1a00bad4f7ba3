//! Small charts side by side, each with a line on logarithmic axes: cost by work.

use std::fmt::Write;

use super::svg::{WIDTH, colour, end, open, text};
use crate::statistics::{Summary, digits};

const COLUMNS: usize = 4;
const PANEL_WIDTH: f64 = WIDTH / COLUMNS as f64;
const PANEL_HEIGHT: f64 = 190.0;
const TOP: f64 = 56.0;
/// Around the lines of a panel: above for its title, below for the axis.
const ABOVE: f64 = 36.0;
const BELOW: f64 = 26.0;
const ASIDE: f64 = 28.0;

/// Small charts side by side.
pub struct Panels<'a> {
    /// What is shown.
    pub title: &'a str,
    /// Each with its own axes.
    pub panels: Vec<Panel>,
}

/// One of them.
pub struct Panel {
    /// What is done.
    pub title: &'static str,
    /// What its cost is counted in.
    pub unit: &'static str,
    /// Times the work, ascending, and the cost: above 0 both.
    pub points: Vec<(f64, Summary)>,
}

impl Panels<'_> {
    /// The whole document.
    pub fn draw(&self) -> String {
        let lines = self.panels.len().div_ceil(COLUMNS);
        let mut svg = open(self.title, TOP + PANEL_HEIGHT * lines as f64);
        text(&mut svg, 16.0, 22.0, "start", 15, self.title);
        let legend = "median, line from least to most; dashed: as much more as the work, from the first point";
        text(&mut svg, 16.0, 42.0, "start", 12, legend);
        for (n, panel) in self.panels.iter().enumerate() {
            let (column, line) = (n % COLUMNS, n / COLUMNS);
            panel.draw(&mut svg, PANEL_WIDTH * column as f64, TOP + PANEL_HEIGHT * line as f64);
        }
        end(svg)
    }
}

impl Panel {
    fn draw(&self, svg: &mut String, left: f64, top: f64) {
        let (Some((first_work, first)), Some((last_work, last))) = (self.points.first(), self.points.last()) else {
            return;
        };
        text(svg, left + 14.0, top + 14.0, "start", 12, &format!("{} ({})", self.title, self.unit));
        let linear = first.median * last_work / first_work;
        let low = self.points.iter().map(|(_, cost)| cost.min).fold(linear.min(last.min), f64::min);
        let high = self.points.iter().map(|(_, cost)| cost.max).fold(linear, f64::max);
        let along =
            |value: f64, low: f64, high: f64| if high > low { (value / low).ln() / (high / low).ln() } else { 0.5 };
        let (width, height) = (PANEL_WIDTH - 2.0 * ASIDE, PANEL_HEIGHT - ABOVE - BELOW);
        let x = |work: f64| left + ASIDE + width * along(work, *first_work, *last_work);
        let y = |cost: f64| top + ABOVE + height * (1.0 - along(cost, low, high));

        let bottom = top + ABOVE + height + 6.0;
        let (from, to) = (left + 12.0, left + PANEL_WIDTH - 12.0);
        let _ =
            writeln!(svg, r##"<line x1="{from:.1}" y1="{bottom:.1}" x2="{to:.1}" y2="{bottom:.1}" stroke="#bbb"/>"##);
        let line = |ends: &[(f64, f64)]| {
            ends.iter().map(|(work, cost)| format!("{:.1},{:.1}", x(*work), y(*cost))).collect::<Vec<_>>().join(" ")
        };
        let ideal = line(&[(*first_work, first.median), (*last_work, linear)]);
        let _ = writeln!(svg, r##"<polyline points="{ideal}" fill="none" stroke="#999" stroke-dasharray="5 4"/>"##);
        let blue = colour(0);
        let medians: Vec<_> = self.points.iter().map(|(work, cost)| (*work, cost.median)).collect();
        let medians = line(&medians);
        let _ = writeln!(svg, r#"<polyline points="{medians}" fill="none" stroke="{blue}" stroke-width="2"/>"#);
        for (work, cost) in &self.points {
            let (at, middle, least, most) = (x(*work), y(cost.median), y(cost.min), y(cost.max));
            let _ = writeln!(
                svg,
                r##"<line x1="{at:.1}" y1="{least:.1}" x2="{at:.1}" y2="{most:.1}" stroke="#222"/>
<circle cx="{at:.1}" cy="{middle:.1}" r="3.5" fill="{blue}"/>"##
            );
            text(svg, at, most - 8.0, "middle", 10, &digits(cost.median));
            text(svg, at, bottom + 13.0, "middle", 10, &format!("{work:.0}x"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ends of the lines of the median and of linear growth.
    fn ends(costs: [f64; 3]) -> (String, String) {
        let points = [1.0, 4.0, 16.0].into_iter().zip(costs.map(|cost| Summary::of(&[cost]).unwrap())).collect();
        let svg = Panels { title: "t", panels: vec![Panel { title: "<a>", unit: "s", points }] }.draw();
        assert!(svg.contains("&lt;a&gt; (s)") && !svg.contains("NaN"), "{svg}");
        let lines: Vec<_> =
            svg.lines().filter_map(|line| line.strip_prefix("<polyline points=\"")?.split('"').next()).collect();
        let last = |n: usize| lines[n].rsplit(' ').next().unwrap().to_owned();
        (last(1), last(0))
    }

    #[test]
    fn linear_growth_lies_on_the_dashed_line() {
        let (median, linear) = ends([0.5, 2.0, 8.0]);
        assert_eq!(median, linear);
        let (median, linear) = ends([0.5, 2.0, 20.0]);
        assert_ne!(median, linear);
    }

    #[test]
    fn what_does_not_grow_is_drawn_too() {
        ends([3.0, 3.0, 3.0]);
    }
}
