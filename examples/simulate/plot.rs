//! The plot: panels side by side, each of one measurement over the logarithm of the number of
//! nodes.

use std::fmt::Write;

use crate::{
    measure::{Data, Size},
    table::grouped,
};

const WIDTH: f64 = 280.0;
const HEIGHT: f64 = 130.0;
const LEFT: f64 = 62.0;
const TOP: f64 = 62.0;
const COLUMN: f64 = 390.0;
const ROW: f64 = 230.0;
const COLUMNS: usize = 3;

/// The minimum distance of the labels at the ends of two lines.
const LABEL_DISTANCE: f64 = 15.0;

const COLOURS: [&str; 2] = ["#2a78d6", "#c2410c"];

type Value = fn(&Size) -> f64;

struct Panel {
    title: &'static str,
    lines: [(&'static str, Value); 2],
}

const PANELS: [Panel; 6] = [
    Panel {
        title: "Rounds until the target has answered",
        lines: [("mean", |size| size.lookups.rounds.mean), ("max", |size| size.lookups.rounds.max)],
    },
    Panel {
        title: "Questions per look-up",
        lines: [
            ("mean", |size| size.lookups.questions.mean),
            ("max", |size| size.lookups.questions.max),
        ],
    },
    Panel {
        title: "Nodes in a table",
        lines: [("mean", |size| size.known.mean), ("max", |size| size.known.max)],
    },
    Panel {
        title: "Messages per node and hour",
        lines: [
            ("before loss", |size| size.hour.messages),
            ("after loss", |size| size.hour_after.messages),
        ],
    },
    Panel {
        title: "kB per node and hour",
        lines: [
            ("before loss", |size| size.hour.bytes / 1_000.0),
            ("after loss", |size| size.hour_after.bytes / 1_000.0),
        ],
    },
    Panel {
        title: "Memory of a table, kB",
        lines: [
            ("mean", |size| size.memory.mean / 1_000.0),
            ("max", |size| size.memory.max / 1_000.0),
        ],
    },
];

/// The next of 1, 2, 4, 5 and 8 times a power of ten, so that its half is round, too.
fn nice(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1.0).log10().floor());
    let steps = [1.0, 2.0, 4.0, 5.0, 8.0, 10.0];
    steps.into_iter().map(|step| step * power).find(|step| *step >= value).unwrap_or(value)
}

struct Scale {
    first: f64,
    decades: f64,
    top: f64,
}

impl Scale {
    fn x(&self, nodes: f64) -> f64 {
        (nodes.max(1.0).log10() - self.first) / self.decades * WIDTH
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - value / self.top * HEIGHT
    }
}

fn panel(text: &mut String, panel: &Panel, sizes: &[Size]) -> std::fmt::Result {
    let nodes = || sizes.iter().map(|size| size.nodes.max(1) as f64);
    let (first, last) =
        (nodes().fold(f64::MAX, f64::min).log10(), nodes().fold(1.0, f64::max).log10());
    let values = panel.lines.iter().flat_map(|(_, value)| sizes.iter().map(value));
    let top = nice(values.fold(0.0, f64::max));
    let scale = Scale { first, decades: (last - first).max(0.1), top };
    writeln!(text, "<text class=\"title\" x=\"0\" y=\"-16\">{}</text>", panel.title)?;
    for part in [0.0, 0.5, 1.0] {
        let y = scale.y(top * part);
        let label = if top >= 10.0 { grouped(top * part) } else { format!("{}", top * part) };
        writeln!(text, "<path class=\"grid\" d=\"M0 {y:.1}H{WIDTH}\"/>")?;
        writeln!(
            text,
            "<text class=\"tick\" x=\"-8\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            y + 4.0
        )?;
    }
    for mark in [10.0, 100.0, 1_000.0, 10_000.0, 100_000.0_f64] {
        if mark.log10() >= first - 1e-9 && mark.log10() <= last + 1e-9 {
            let (x, label) = (scale.x(mark), grouped(mark));
            writeln!(text, "<path class=\"grid\" d=\"M{x:.1} {HEIGHT}v5\"/>")?;
            writeln!(
                text,
                "<text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
                HEIGHT + 19.0
            )?;
        }
    }
    let ends = panel.lines.map(|(_, value)| sizes.last().map_or(0.0, |size| scale.y(value(size))));
    let [lower, upper] = ends;
    let middle = f64::midpoint(lower, upper);
    let half = (lower - upper).abs().max(LABEL_DISTANCE) / 2.0;
    let labels = if lower >= upper {
        [middle + half, middle - half]
    } else {
        [middle - half, middle + half]
    };
    for (((name, value), colour), label) in panel.lines.iter().zip(COLOURS).zip(labels) {
        let point = |size: &Size| (scale.x(size.nodes as f64), scale.y(value(size)));
        let points: Vec<_> = sizes
            .iter()
            .map(|size| {
                let (x, y) = point(size);
                format!("{x:.1} {y:.1}")
            })
            .collect();
        writeln!(text, "<path class=\"line\" stroke=\"{colour}\" d=\"M{}\"/>", points.join("L"))?;
        for (x, y) in sizes.iter().map(point) {
            writeln!(text, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"/>")?;
        }
        writeln!(
            text,
            "<text class=\"name\" fill=\"{colour}\" x=\"{:.1}\" y=\"{:.1}\">{name}</text>",
            WIDTH + 9.0,
            label + 4.0
        )?;
    }
    Ok(())
}

/// The plot of a run as SVG, with a white background and its data in the metadata.
pub(crate) fn svg(data: &Data) -> Result<String, Box<dyn std::error::Error>> {
    let rows = PANELS.len().div_ceil(COLUMNS);
    let (width, height) = (COLUMN * COLUMNS as f64 + 30.0, ROW * rows as f64 + 46.0);
    let mut sizes = data.sizes.clone();
    sizes.sort_by_key(|size| size.nodes);
    let json = serde_json::to_string(data)?.replace('&', "&amp;").replace('<', "&lt;");
    let mut text = format!(
        "<svg id=\"kademlia\" xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"Kademlia over the number of nodes\">\n\
         <metadata>{json}</metadata>\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"12\" style=\"fill:#fff;stroke:none\"/>\n\
         <style>#kademlia{{font-family:Arial,Helvetica,sans-serif;font-size:13px;fill:#1b2733}}\
         #kademlia .title{{font-size:15px;font-weight:bold}}#kademlia .tick{{fill:#55606b;font-size:12px}}\
         #kademlia .grid{{stroke:#d8dee4;fill:none}}\
         #kademlia .line{{fill:none;stroke-width:2;stroke-linejoin:round}}</style>\n"
    );
    for (at, of) in PANELS.iter().enumerate() {
        let (x, y) = (LEFT + COLUMN * (at % COLUMNS) as f64, TOP + ROW * (at / COLUMNS) as f64);
        writeln!(text, "<g transform=\"translate({x} {y})\">")?;
        panel(&mut text, of, &sizes)?;
        writeln!(text, "</g>")?;
    }
    let (x, y) = (width / 2.0, height - 16.0);
    writeln!(
        text,
        "<text class=\"tick\" x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">nodes in the network (logarithmic); \
         a loss: {:.0} % killed at once</text>\n</svg>",
        data.plan.kill * 100.0
    )?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::table;

    fn read(path: &str) -> String {
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
    }

    fn data() -> Data {
        serde_json::from_str(&read("diagrams/kademlia.json")).unwrap()
    }

    #[test]
    fn the_plot_in_the_repository_matches_its_data() {
        let again = "run `simulate --from diagrams/kademlia.json --plot diagrams/kademlia.svg`";
        assert!(svg(&data()).unwrap() == read("diagrams/kademlia.svg"), "it is stale: {again}");
    }

    #[test]
    fn the_table_in_the_documentation_matches_the_data() {
        let page = read("src/reference/measurements.md");
        let section = page.split_once("## Kademlia at scale").unwrap().1;
        let section = section.split("\n## ").next().unwrap();
        let shown: Vec<_> = section.lines().filter(|line| line.starts_with('|')).collect();
        let rows: Vec<_> = data().sizes.iter().map(table::row).collect();
        let all = format!("{}\n{}", table::head(), rows.join("\n"));
        assert_eq!(shown, all.lines().collect::<Vec<_>>());
    }

    #[test]
    fn the_data_in_the_repository_is_of_seven_sizes_that_keep_their_promises() {
        let data = data();
        let sizes: Vec<_> = data.sizes.iter().map(|size| size.nodes).collect();
        assert_eq!(sizes, [50, 200, 500, 1_000, 2_000, 5_000, 10_000]);
        assert!(data.sizes.iter().all(|size| size.lookups.made == 300 && size.broken().is_empty()));
    }

    #[test]
    fn a_scale_ends_at_a_round_number_above_all_values() {
        for (value, top) in [(0.0, 1.0), (3.0, 4.0), (8.0, 8.0), (8.1, 10.0), (170.0, 200.0)] {
            assert!((nice(value) - top).abs() < 1e-9, "{value}");
        }
    }
}
