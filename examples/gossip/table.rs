//! The figures as a table in Markdown, with the aim beside each.

use crate::measure::{Figures, Hostile, Kill, Partition, Plan, Senders, Steady, Topic};

/// A figure of one network. `None` if it was not measured.
type Cell = Option<String>;

struct Row {
    name: String,
    aim: &'static str,
    cells: Vec<Cell>,
}

fn time(ms: Option<f64>) -> String {
    ms.map_or_else(|| "more than 60 s".to_owned(), |ms| format!("{:.1} s", ms / 1_000.0))
}

fn delays(of: &Steady) -> String {
    format!("{:.0} / {:.0} / {:.0} ms", of.p50_ms, of.p99_ms, of.max_ms)
}

fn percent(share: f64) -> String {
    format!("{share:.1} %")
}

/// The rows of one network after the other become the columns of one table.
struct Table<'a> {
    measured: &'a [Figures],
    rows: Vec<Row>,
}

impl Table<'_> {
    fn row(&mut self, name: &str, aim: &'static str, cell: impl Fn(&Figures) -> Cell) {
        let cells: Vec<_> = self.measured.iter().map(cell).collect();
        if cells.iter().any(Option::is_some) {
            self.rows.push(Row { name: name.to_owned(), aim, cells });
        }
    }

    fn steady(
        &mut self,
        what: &str,
        aims: [&'static str; 3],
        of: impl Fn(&Figures) -> Option<&Steady>,
    ) {
        let [rmr, ldh, p99] = aims;
        let name = |figure: &str| format!("{what}: {figure}");
        self.row(&name("duplicates for each delivery (RMR)"), rmr, |of_all| {
            of(of_all).map(|of| format!("{:.3}", of.rmr))
        });
        self.row(&name("last delivery hop (LDH), mean / max"), ldh, |of_all| {
            of(of_all).map(|of| format!("{:.1} / {}", of.ldh_mean, of.ldh_max))
        });
        self.row(&name("delay, p50 / p99 / max"), p99, |of_all| of(of_all).map(delays));
        self.row(&name("missed deliveries"), "0", |of_all| {
            of(of_all).map(|of| of.missed.to_string())
        });
        self.row(&name("control messages for each delivery"), "", |of_all| {
            of(of_all).map(|of| format!("{:.1}", of.control))
        });
    }

    fn joined(&mut self) {
        self.row("nodes without a neighbour after joining", "0", |of| {
            Some(of.joined.alone.to_string())
        });
        self.row("components after joining", "1", |of| Some(of.joined.components.to_string()));
        self.row("neighbours, mean", "", |of| Some(format!("{:.1}", of.joined.degree)));
    }

    fn hostile(&mut self) {
        fn of(figures: &Figures) -> Option<&Hostile> {
            figures.hostile.as_ref()
        }
        self.steady("before hostile nodes", ["", "", ""], |figures| Some(&of(figures)?.before));
        let aims = ["", "", "p99 ≤ 225 ms"];
        self.steady("while hostile nodes join", aims, |figures| Some(&of(figures)?.during));
        self.steady("with hostile nodes", aims, |figures| Some(&of(figures)?.after));
        self.row("hostile neighbours of honest nodes", "", |figures| {
            Some(percent(of(figures)?.share))
        });
        self.row("components of the honest nodes", "1", |figures| {
            Some(of(figures)?.components.to_string())
        });
    }

    fn partition(&mut self) {
        fn of(figures: &Figures) -> Option<&Partition> {
            figures.partition.as_ref()
        }
        self.row("after a partition: until one component", "≤ 10 s", |figures| {
            Some(time(of(figures)?.whole_ms))
        });
        self.row("after a partition: until all have the news of both parts", "", |figures| {
            Some(time(of(figures)?.reached_ms))
        });
        self.row("neighbours that came or went, for each node", "bounded", |figures| {
            Some(format!("{:.1}", of(figures)?.changes))
        });
    }

    fn kill(&mut self, share: f64) {
        fn of(figures: &Figures) -> Option<&Kill> {
            figures.kill.as_ref()
        }
        let least = if share > 0.8 { "≥ 90 %" } else { "≥ 99 %" };
        let name = |figure: &str| format!("{:.0} % killed, {figure}", share * 100.0);
        self.row(&name("before repair: largest component, of the survivors"), "", |figures| {
            Some(percent(of(figures)?.largest))
        });
        self.row(&name("before repair: reached of this component"), "100 %", |figures| {
            Some(percent(of(figures)?.reached))
        });
        self.row(&name("reached within 1 s, of the survivors"), least, |figures| {
            Some(percent(of(figures)?.in_one_second))
        });
        self.row(&name("until all survivors have it"), "", |figures| {
            Some(time(of(figures)?.all_ms))
        });
        self.row(&name("until the survivors are one component"), "", |figures| {
            Some(time(of(figures)?.whole_ms))
        });
        self.row(&name("rounds of 1 s until one reaches all in its time"), "≤ 2", |figures| {
            Some(of(figures)?.rounds.map_or_else(|| "none".to_owned(), |n| n.to_string()))
        });
        self.row(&name("missed deliveries of 20 broadcasts"), "0", |figures| {
            Some(of(figures)?.missed.to_string())
        });
    }

    fn topic(&mut self) {
        fn of(figures: &Figures) -> Option<&Topic> {
            figures.topic.as_ref()
        }
        self.row("subscribers of the topic", "", |figures| {
            Some(of(figures)?.subscribers.to_string())
        });
        self.steady("topic", ["", "", ""], |figures| Some(&of(figures)?.steady));
        self.row("topic: payloads at the other nodes", "≤ 5 %", |figures| {
            Some(percent(of(figures)?.others))
        });
    }
}

/// The lines of the table.
pub(crate) fn lines(plan: Plan, measured: &[Figures]) -> Vec<String> {
    let mut table = Table { measured, rows: Vec::new() };
    table.joined();
    let (what, aims) = match plan.senders {
        Senders::One => ("one sender", ["< 0.05", "≤ 12", ""]),
        Senders::Many => ("many senders", ["< 1", "< 18", ""]),
        Senders::All => ("all send at once", ["< 3", "< 30", ""]),
    };
    table.steady(what, aims, |figures| Some(&figures.steady));
    table.hostile();
    table.partition();
    table.kill(plan.kill);
    table.topic();
    let mut header = vec!["figure".to_owned(), "aim".to_owned()];
    header.extend(measured.iter().map(|of| format!("{} nodes", of.nodes)));
    let mut texts = vec![header];
    for row in table.rows {
        let cells = row.cells.into_iter().map(Option::unwrap_or_default);
        texts.push([row.name, row.aim.to_owned()].into_iter().chain(cells).collect());
    }
    aligned(&texts)
}

/// Rows of a table in Markdown, the header first.
pub(crate) fn aligned(texts: &[Vec<String>]) -> Vec<String> {
    let columns = texts.first().map_or(0, Vec::len);
    let widths: Vec<_> = (0..columns)
        .map(|at| texts.iter().map(|row| row[at].chars().count()).max().unwrap_or(0))
        .collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(text, width)| format!("{text:width$}"));
        format!("| {} |", cells.collect::<Vec<_>>().join(" | "))
    };
    let rule: Vec<_> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let mut lines: Vec<_> = texts.iter().map(line).collect();
    lines.insert(1, line(&rule));
    lines
}
