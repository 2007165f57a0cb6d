//! The plot of the reliability over the share of killed nodes.

use std::fmt::Write;

use crate::measure::{Curve, Kill, Point};

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 70.0;

struct Line {
    name: &'static str,
    colour: &'static str,
    dash: &'static str,
    value: fn(&Kill) -> f64,
}

const LINES: [Line; 3] = [
    Line {
        name: "reached one second after the failure",
        colour: "#2a78d6",
        dash: "",
        value: |kill| kill.in_one_second,
    },
    Line {
        name: "largest component before any repair",
        colour: "#c2410c",
        dash: "",
        value: |kill| kill.largest,
    },
    Line {
        name: "reached before any repair, from a node of the largest component",
        colour: "#15803d",
        dash: "5 4",
        value: |kill| kill.largest * kill.reached / 100.0,
    },
];

fn x(share: f64) -> f64 {
    LEFT + share * WIDTH
}

fn y(percent: f64) -> f64 {
    TOP + (1.0 - percent / 100.0) * HEIGHT
}

/// The plot as SVG.
pub(crate) fn svg(Curve { nodes, points, .. }: &Curve) -> String {
    let (width, height) = (LEFT + WIDTH + 40.0, TOP + HEIGHT + 140.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\" \
         fill=\"#1f2937\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"30\" font-size=\"17\" font-weight=\"bold\">Survivors that a \
         broadcast reaches, {nodes} nodes</text>\n\
         <text x=\"{LEFT}\" y=\"52\" fill=\"#4b5563\">in percent, over the share of the nodes that \
         is killed at once</text>\n"
    );
    for percent in [0.0, 25.0, 50.0, 75.0, 100.0] {
        let (y, right) = (y(percent), LEFT + WIDTH);
        text(
            &mut svg,
            format_args!(
                "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y}\" y2=\"{y}\" stroke=\"#e5e7eb\"/>\n\
             <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{percent:.0} %</text>\n",
                LEFT - 8.0,
                y + 4.0
            ),
        );
    }
    for tenth in 0..=10 {
        let share = f64::from(tenth) / 10.0;
        text(
            &mut svg,
            format_args!(
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{} %</text>\n",
                x(share),
                TOP + HEIGHT + 20.0,
                tenth * 10
            ),
        );
    }
    for (at, line) in LINES.iter().enumerate() {
        draw(&mut svg, at, line, points);
    }
    svg + "</svg>\n"
}

fn draw(svg: &mut String, at: usize, line: &Line, points: &[Point]) {
    let Line { name, colour, dash, value } = line;
    let places = points.iter().map(|point| (x(point.share), y(value(&point.kill))));
    let path: Vec<_> = places.clone().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    text(
        svg,
        format_args!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" \
         stroke-dasharray=\"{dash}\"/>\n",
            path.join(" ")
        ),
    );
    if dash.is_empty() {
        for (x, y) in places {
            text(
                svg,
                format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"/>\n"),
            );
        }
    }
    let y = TOP + HEIGHT + 54.0 + 24.0 * f64::from(u8::try_from(at).unwrap_or(0));
    text(
        svg,
        format_args!(
            "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{}\" y2=\"{}\" stroke=\"{colour}\" stroke-width=\"2\" \
         stroke-dasharray=\"{dash}\"/>\n<text x=\"{}\" y=\"{y}\">{name}</text>\n",
            LEFT + 30.0,
            y - 4.0,
            y - 4.0,
            LEFT + 40.0
        ),
    );
}

fn text(svg: &mut String, part: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    svg.write_fmt(part).ok();
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn the_plot_in_the_repository_matches_its_data() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("diagrams");
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        let curve = serde_json::from_str(&read("gossip.json")).unwrap();
        let again = "run `gossip --nodes 1000 --plot diagrams/gossip.svg`";
        assert!(svg(&curve) == read("gossip.svg"), "it is stale: {again}");
    }
}
