//! Small line charts beside each other, as SVG: how something grows.

use std::fmt::Write as _;

const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 250.0;
/// Panels beside each other.
const COLUMNS: usize = 2;
/// Around the area of a panel: room for what stands above, below, on the left and on the right.
const ABOVE: f64 = 46.0;
const BELOW: f64 = 44.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 24.0;
/// For the names of the lines, above all panels.
const HEADER: f64 = 30.0;
/// Of a line each; blue and orange are told apart by everybody.
const COLOURS: [&str; 2] = ["#1f5fa8", "#c2570c"];

/// One quantity.
pub struct Panel {
    /// What it is, with its unit.
    pub title: String,
    /// Under a name each: what was found at which size.
    pub lines: Vec<(String, Vec<(f64, f64)>)>,
}

/// All panels, over the same sizes, of which each is ten times another or so.
pub fn figure(sizes: &str, panels: &[Panel]) -> String {
    let names = panels.first().map_or(&[][..], |panel| &panel.lines);
    let header = if names.len() > 1 { HEADER } else { 0.0 };
    let rows = panels.len().div_ceil(COLUMNS);
    let (width, height) = (WIDTH * COLUMNS as f64, header + HEIGHT * rows as f64);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\" fill=\"#222\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    if names.len() > 1 {
        for (index, (name, _)) in names.iter().enumerate() {
            let x = LEFT + 140.0 * index as f64;
            put(&mut svg, &mark(index, x, 18.0));
            text(&mut svg, "", x + 10.0, 22.0, name);
        }
    }
    for (index, panel) in panels.iter().enumerate() {
        let x = WIDTH * (index % COLUMNS) as f64;
        let y = header + HEIGHT * (index / COLUMNS) as f64;
        put(&mut svg, &format!("<g transform=\"translate({x} {y})\">\n"));
        draw(&mut svg, panel, sizes);
        put(&mut svg, "</g>\n");
    }
    svg + "</svg>\n"
}

fn draw(svg: &mut String, panel: &Panel, sizes: &str) {
    let points = || panel.lines.iter().flat_map(|(_, points)| points);
    let least = points().map(|point| point.0).fold(f64::MAX, f64::min);
    let most = points().map(|point| point.0).fold(0.0, f64::max);
    let step = step(points().map(|point| point.1).fold(0.0, f64::max));
    let top = step * 4.0;
    let decades = (most / least).log10().max(1e-9);
    let x = |size: f64| LEFT + (size / least).log10() / decades * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BELOW - value / top * (HEIGHT - ABOVE - BELOW);
    text(svg, "font-weight=\"600\"", LEFT, ABOVE - 16.0, &panel.title);
    for tick in 0..=4 {
        let value = step * f64::from(tick);
        let at = y(value);
        let right = WIDTH - RIGHT;
        put(
            svg,
            &format!(
                "<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"{}\"/>\n",
                if tick == 0 { "#666" } else { "#ddd" }
            ),
        );
        let end = "text-anchor=\"end\" fill=\"#555\"";
        text(svg, end, LEFT - 8.0, at + 4.0, &short(value));
    }
    let mut all: Vec<f64> = points().map(|point| point.0).collect();
    all.sort_by(f64::total_cmp);
    all.dedup();
    for size in all {
        let middle = "text-anchor=\"middle\" fill=\"#555\"";
        text(svg, middle, x(size), HEIGHT - BELOW + 18.0, &short(size));
    }
    let middle = "text-anchor=\"middle\" fill=\"#555\"";
    let centre = (LEFT + WIDTH - RIGHT) / 2.0;
    text(svg, middle, centre, HEIGHT - BELOW + 34.0, sizes);
    for (index, (_, points)) in panel.lines.iter().enumerate() {
        let path: Vec<String> = points
            .iter()
            .map(|(size, value)| format!("{:.1} {:.1}", x(*size), y(*value)))
            .collect();
        put(
            svg,
            &format!(
                "<path d=\"M{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"/>\n",
                path.join("L"),
                COLOURS[index % COLOURS.len()]
            ),
        );
        for (size, value) in points {
            put(svg, &mark(index, x(*size), y(*value)));
        }
    }
}

/// What a point of this line is marked with: the shape tells it apart, too.
fn mark(line: usize, x: f64, y: f64) -> String {
    let colour = COLOURS[line % COLOURS.len()];
    match line {
        0 => format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\"/>\n"),
        _ => {
            let (left, top) = (x - 4.0, y - 4.0);
            format!(
                "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"8\" height=\"8\" fill=\"{colour}\"/>\n"
            )
        }
    }
}

/// A round number of which four are at least so much.
fn step(most: f64) -> f64 {
    let least = (most / 4.0).max(1e-3);
    let decade = 10f64.powf(least.log10().floor());
    let round = [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * decade);
    round
        .into_iter()
        .find(|step| *step >= least * 0.999)
        .unwrap_or(10.0 * decade)
}

fn short(value: f64) -> String {
    let (value, unit) = match value {
        _ if value >= 1e6 => (value / 1e6, " M"),
        _ if value >= 1e4 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    // Up to three digits behind the point, and none that says nothing.
    let digits = format!("{value:.3}");
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    format!("{digits}{unit}")
}

fn text(svg: &mut String, attributes: &str, x: f64, y: f64, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    put(
        svg,
        &format!("<text x=\"{x:.1}\" y=\"{y:.1}\" {attributes}>{text}</text>\n"),
    );
}

fn put(svg: &mut String, part: &str) {
    // Writing into memory does not fail.
    _ = svg.write_str(part);
}
