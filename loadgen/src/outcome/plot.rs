//! Lines over an axis, as SVG text. It knows no numbers' meaning.

use std::fmt::Write;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 34.0;
/// Points of one line; more cannot be told apart.
const MAX_POINTS: usize = 800;

/// A picture of some lines.
pub(super) struct Plot {
    pub(super) title: String,
    /// What the vertical axis counts.
    pub(super) unit: &'static str,
    /// Place and text of the marks on the horizontal axis.
    pub(super) marks: Vec<(f64, String)>,
    pub(super) lines: Vec<Line>,
}

/// One line.
pub(super) struct Line {
    pub(super) name: &'static str,
    /// Class of its colour.
    pub(super) class: &'static str,
    pub(super) points: Vec<(f64, f64)>,
}

impl Plot {
    /// The picture with its title and legend.
    pub(super) fn figure(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let right = points().map(|point| point.0).chain(self.marks.iter().map(|mark| mark.0)).fold(1e-9, f64::max);
        let top = points().map(|point| point.1).fold(1e-9, f64::max);
        let step = step(top);
        let top = (top / step).ceil() * step;
        let x = |at: f64| LEFT + at / right * (WIDTH - LEFT - RIGHT);
        let y = |value: f64| HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM);
        let mut svg = format!("<figure><figcaption>{} <small>{}</small></figcaption>", self.title, self.unit);
        // Writing to a String cannot fail.
        let _ = write!(svg, "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">", self.title);
        for number in 0..=(top / step).round() as u32 {
            let value = f64::from(number) * step;
            let (at, text) = (y(value), number_text(value, step));
            let _ = write!(svg, "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{}\"/>", WIDTH - RIGHT);
            let _ = write!(svg, "<text class=\"y\" x=\"{}\" y=\"{:.1}\">{text}</text>", LEFT - 8.0, at + 4.0);
        }
        for (at, text) in &self.marks {
            let _ = write!(svg, "<text class=\"x\" x=\"{:.1}\" y=\"{}\">{text}</text>", x(*at), HEIGHT - 12.0);
        }
        for line in &self.lines {
            let points = thin(&line.points);
            let points: Vec<String> =
                points.iter().map(|(at, value)| format!("{:.1},{:.1}", x(*at), y(*value))).collect();
            let _ = write!(svg, "<polyline class=\"{}\" points=\"{}\"/>", line.class, points.join(" "));
        }
        svg.push_str("</svg><p class=\"legend\">");
        for line in &self.lines {
            let _ = write!(svg, "<span class=\"{}\">{}</span>", line.class, line.name);
        }
        svg.push_str("</p></figure>");
        svg
    }
}

/// The greatest of each group of neighbours that fall together: a peak must not vanish.
fn thin(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let size = points.len().div_ceil(MAX_POINTS).max(1);
    let greatest = |group: &[(f64, f64)]| group.iter().copied().max_by(|one, other| one.1.total_cmp(&other.1));
    points.chunks(size).filter_map(greatest).collect()
}

/// A round step of which a handful reach `top`.
fn step(top: f64) -> f64 {
    let magnitude = 10_f64.powf((top / 5.0).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * magnitude);
    steps.into_iter().find(|step| top / step <= 5.0).unwrap_or(magnitude * 10.0)
}

fn number_text(value: f64, step: f64) -> String {
    let decimals = if step >= 1.0 { 0 } else { (-step.log10().floor()) as usize };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round_and_few() {
        for (top, expected) in [(1.0, 0.2), (4.9, 1.0), (73.0, 20.0), (20_000.0, 5_000.0), (0.03, 0.01)] {
            assert!((step(top) - expected).abs() < expected / 1e6, "{top}: {}", step(top));
        }
    }

    #[test]
    fn a_peak_stays_when_points_are_thinned() {
        let points: Vec<(f64, f64)> =
            (0..86_400).map(|at| (f64::from(at), if at == 50_000 { 9.0 } else { 1.0 })).collect();
        let thinned = thin(&points);
        assert!(thinned.len() <= MAX_POINTS && thinned.contains(&(50_000.0, 9.0)));
    }
}
