//! Tables.

use edge_outbox_benches::Spread;

/// A table whose figures come in over the rounds.
#[derive(Default)]
pub struct Sheet {
    title: String,
    rows: Vec<(String, Vec<(String, Cell)>)>,
    columns: Vec<String>,
}

/// One place in it.
#[derive(Default)]
struct Cell {
    figures: Vec<f64>,
    digits: usize,
    /// Figures are added up instead of spread.
    sum: bool,
    note: Option<String>,
}

impl Sheet {
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            rows: Vec::new(),
            columns: Vec::new(),
        }
    }

    /// One more figure for a place, which is shown with so many digits behind the point.
    pub fn add(&mut self, row: &str, column: &str, figure: f64, digits: usize) {
        let cell = self.cell(row, column);
        cell.figures.push(figure);
        cell.digits = digits;
    }

    /// One more figure for a place that shows their sum.
    pub fn count(&mut self, row: &str, column: &str, figure: u64) {
        let cell = self.cell(row, column);
        cell.figures.push(figure as f64);
        cell.sum = true;
    }

    /// Takes the figures of another one.
    pub fn merge(&mut self, other: Self) {
        for (row, cells) in other.rows {
            for (column, other) in cells {
                let cell = self.cell(&row, &column);
                cell.figures.extend(other.figures);
                cell.digits = other.digits;
                cell.sum = other.sum;
                cell.note = other.note.or(cell.note.take());
            }
        }
    }

    /// What stands behind the figures of a place.
    pub fn note(&mut self, row: &str, column: &str, note: impl Into<String>) {
        self.cell(row, column).note = Some(note.into());
    }

    /// The median of a place, where it has one.
    pub fn median(&self, row: &str, column: &str) -> Option<f64> {
        let (_, cells) = self.rows.iter().find(|(name, _)| name == row)?;
        let (_, cell) = cells.iter().find(|(name, _)| name == column)?;
        let figures: Vec<f64> = cell
            .figures
            .iter()
            .copied()
            .filter(|f| f.is_finite())
            .collect();
        (!figures.is_empty()).then(|| Spread::of(figures).median)
    }

    /// The sum of a row's places in these columns, where it has any.
    pub fn sum(&self, row: &str, columns: impl Fn(&str) -> bool) -> Option<f64> {
        let (_, cells) = self.rows.iter().find(|(name, _)| name == row)?;
        let cells = cells.iter().filter(|(column, _)| columns(column));
        Some(cells.flat_map(|(_, cell)| &cell.figures).sum())
    }

    /// Prints it, where there is anything in it.
    pub fn print(&self) {
        if self.rows.is_empty() {
            return;
        }
        println!("| {} | {} |", self.title, self.columns.join(" | "));
        println!("| --- |{}", " --- |".repeat(self.columns.len()));
        for (row, cells) in &self.rows {
            let texts = self.columns.iter().map(|column| {
                let cell = cells.iter().find(|(name, _)| name == column);
                cell.map_or_else(|| "–".into(), |(_, cell)| cell.text())
            });
            println!("| {row} | {} |", texts.collect::<Vec<_>>().join(" | "));
        }
        println!();
    }

    fn cell(&mut self, row: &str, column: &str) -> &mut Cell {
        if !self.columns.iter().any(|name| name == column) {
            self.columns.push(column.into());
        }
        let at = place(&mut self.rows, row);
        let (_, cells) = &mut self.rows[at];
        let at = place(cells, column);
        &mut cells[at].1
    }
}

impl Cell {
    fn text(&self) -> String {
        let figures: Vec<f64> = self
            .figures
            .iter()
            .copied()
            .filter(|f| f.is_finite())
            .collect();
        let figures = match figures.as_slice() {
            [] => None,
            figures if self.sum => Some(format!("{:.0}", figures.iter().sum::<f64>())),
            [figure] => Some(format!("{figure:.*}", self.digits)),
            figures => Some(format!("{:.*}", self.digits, Spread::of(figures.to_vec()))),
        };
        let texts = figures.into_iter().chain(self.note.clone());
        let text = texts.collect::<Vec<_>>().join(" ");
        if text.is_empty() { "–".into() } else { text }
    }
}

/// Where a name stands, at the end if it is new.
fn place<T: Default>(named: &mut Vec<(String, T)>, name: &str) -> usize {
    let at = named.iter().position(|(known, _)| known == name);
    at.unwrap_or_else(|| {
        named.push((name.into(), T::default()));
        named.len() - 1
    })
}
