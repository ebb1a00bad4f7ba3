//! Charts as SVG documents, for the reports of the benchmark and of the simulation of clusters.
//!
//! No fonts, scripts or styles besides what every viewer has, and colours that people can tell apart who
//! see no red or green.

mod lines;
mod panels;
mod statistics;
mod svg;

pub use lines::{Axis, Limit, Line, Lines, Scale};
pub use panels::{Panel, Panels};
pub use statistics::{Summary, digits, whole};
pub use svg::{Bars, Series};
