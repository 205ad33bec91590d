//! Tables for people.

use super::text;

/// How cells stand in their column.
#[derive(Clone, Copy)]
pub(super) enum Align {
    Left,
    Right,
}

struct Column {
    title: &'static str,
    align: Align,
    /// Wider cells are cut.
    width_max: usize,
    /// Of the widest cell so far.
    width: usize,
}

/// A table that is printed piece by piece; its columns widen as they need to.
#[derive(Default)]
pub(super) struct Table {
    columns: Vec<Column>,
}

/// Between columns.
const SPACE: &str = "  ";

/// However narrow a terminal is, so much is shown of the last column.
const LAST_WIDTH_MIN: usize = 20;

impl Table {
    pub(super) fn column(self, title: &'static str, align: Align) -> Self {
        self.column_up_to(title, align, usize::MAX)
    }

    pub(super) fn column_up_to(mut self, title: &'static str, align: Align, width_max: usize) -> Self {
        self.columns.push(Column { title, align, width_max, width: title.len() });
        self
    }

    /// A line for each row. The last cell of each is cut to what a line of `width` has left.
    pub(super) fn rows<const N: usize>(&mut self, rows: &[[&str; N]], width: Option<usize>) -> Vec<String> {
        let last = N.saturating_sub(1);
        let mut cells: Vec<Vec<String>> = Vec::new();
        for row in rows {
            let columns = self.columns.iter_mut().zip(row).take(last);
            cells.push(
                columns
                    .map(|(column, cell)| {
                        let cell = text::cut(cell, column.width_max);
                        column.width = column.width.max(cell.chars().count());
                        cell
                    })
                    .collect(),
            );
        }
        let taken: usize = self.columns.iter().take(last).map(|column| column.width + SPACE.len()).sum();
        let left = width.map_or(usize::MAX, |width| width.saturating_sub(taken).max(LAST_WIDTH_MIN));
        for (cells, row) in cells.iter_mut().zip(rows) {
            cells.extend(row.last().map(|cell| text::cut(cell, left)));
        }
        cells.iter().map(|cells| self.line(cells.iter().map(String::as_str))).collect()
    }

    /// The titles, as wide as the rows so far.
    pub(super) fn header(&self) -> String {
        self.line(self.columns.iter().map(|column| column.title))
    }

    fn line<'a>(&self, cells: impl Iterator<Item = &'a str>) -> String {
        let cells: Vec<_> = self
            .columns
            .iter()
            .zip(cells)
            .map(|(Column { align, width, .. }, cell)| match align {
                Align::Left => format!("{cell:<width$}"),
                Align::Right => format!("{cell:>width$}"),
            })
            .collect();
        cells.join(SPACE).trim_end().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        Table::default().column("SEQ", Align::Right).column_up_to("NAME", Align::Left, 6).column("ARGS", Align::Left)
    }

    #[test]
    fn columns_are_aligned_and_cut() {
        let mut table = table();
        let rows = [["9", "a", "{}"], ["1000", "ä\u{1b}", ""], ["7", "longer", "x"], ["8", "toolong", "x"]];
        let lines = table.rows(&rows, None);
        assert_eq!(table.header(), " SEQ  NAME    ARGS");
        assert_eq!(lines, ["   9  a       {}", "1000  ä…", "   7  longer  x", "   8  toolo…  x"]);
    }

    #[test]
    fn the_last_column_has_what_a_line_has_left() {
        let args = "x".repeat(100);
        let line = |width| table().rows(&[["1", "a", &args]], width).remove(0);
        // Three for the number, four for the name and two after each.
        for (width, shown) in [(12, 20), (30, 20), (31, 20), (32, 21), (110, 99), (111, 100), (200, 100)] {
            assert_eq!(line(Some(width)).chars().count(), 11 + shown, "{width}");
        }
        assert!(line(Some(110)).ends_with("x…"));
        assert!(line(Some(111)).ends_with("xx"));
        assert!(line(None).ends_with("xx"));
    }

    #[test]
    fn columns_widen_as_they_need() {
        let mut table = table();
        assert_eq!(table.rows(&[["1", "a", "b"]], None), ["  1  a     b"]);
        assert_eq!(table.rows(&[["10000", "a", "b"]], None), ["10000  a     b"]);
        assert_eq!(table.rows(&[["1", "a", "b"]], None), ["    1  a     b"]);
    }
}
