//! A small plot of a value over time, from zero up.

/// Columns.
const WIDTH: usize = 64;

/// Rows.
const HEIGHT: u32 = 8;

/// From an empty to a full cell.
const CELLS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The mean of each of [`WIDTH`] parts.
fn columns(values: &[f64]) -> Vec<f64> {
    let width = values.len().min(WIDTH);
    let at = |column: usize| column * values.len() / width.max(1);
    let part = |column| values.get(at(column)..at(column + 1)).unwrap_or_default();
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len().max(1) as f64;
    (0..width).map(part).map(mean).collect()
}

/// The cell at `row` of a column with this level, 0 to 1.
fn cell(level: f64, row: u32) -> char {
    let eighths = (level * f64::from(HEIGHT) - f64::from(row)).clamp(0.0, 1.0) * 8.0;
    let full = (1..=8).filter(|eighth| f64::from(*eighth) <= eighths.round()).count();
    CELLS.get(full).copied().unwrap_or(' ')
}

/// Prints the plot; the x axis is the time.
pub(super) fn plot(values: impl Iterator<Item = f64>) {
    let columns = columns(&values.collect::<Vec<_>>());
    let max = columns.iter().copied().fold(0.0, f64::max).max(1.0);
    for row in (0..HEIGHT).rev() {
        let scale = if row + 1 == HEIGHT {
            format!("{max:.1}")
        } else if row == 0 {
            "0".to_owned()
        } else {
            String::new()
        };
        let line: String = columns.iter().map(|value| cell(value / max, row)).collect();
        println!("{scale:>8} |{line}");
    }
}
