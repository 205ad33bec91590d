//! The tables of modules in ARCHITECTURE.md, as data. Called by `laws`, which describes the format.

use crate::run::Result;

/// The table of one package.
#[derive(Debug)]
pub(super) struct Table {
    /// The folder that it is about, like `sync-server/src`.
    pub(super) folder: String,
    pub(super) rows: Vec<Row>,
    /// Whether it says who may use which crates.
    pub(super) has_crates: bool,
    /// Whether it says who may ask for the target.
    pub(super) has_switches: bool,
}

#[derive(Debug)]
pub(super) struct Row {
    /// Its segments below `crate`; none for `lib`.
    pub(super) module: Vec<String>,
    pub(super) may_use: Vec<Vec<String>>,
    pub(super) crates: Vec<Vec<String>>,
    /// Why it may ask for the target; empty: it may not.
    pub(super) switches: String,
    /// In ARCHITECTURE.md, counted from 1.
    pub(super) line: usize,
}

impl Table {
    /// What every module may use.
    pub(super) fn for_all(&self) -> Option<&Row> {
        self.rows.iter().find(|row| row.module == ["*"])
    }

    /// The row that a module falls under: that of its nearest ancestor that has one.
    pub(super) fn row_of(&self, module: &[String]) -> Option<&Row> {
        self.rows.iter().filter(|row| covers(&row.module, module)).max_by_key(|row| row.module.len())
    }
}

/// Whether a module is another one or lies in it. Nothing lies in the root: `lib.rs` is a file like any other.
pub(super) fn covers(outer: &[String], inner: &[String]) -> bool {
    if outer.is_empty() { inner.is_empty() } else { inner.starts_with(outer) }
}

pub(super) fn read(markdown: &str) -> Result<Vec<Table>> {
    let mut tables: Vec<Table> = Vec::new();
    let mut folder = None;
    let mut columns: Option<Columns> = None;
    for (line, number) in markdown.lines().zip(1..) {
        match (cells(line), &columns) {
            (None, _) => {
                columns = None;
                folder = folder_in(line).or(folder);
            }
            (Some(cells), None) => {
                let Some(found) = Columns::of(&cells) else { continue };
                let folder = folder
                    .take()
                    .ok_or_else(|| format!("ARCHITECTURE.md:{number}: no `folder/src` stands above this table"))?;
                let (has_crates, has_switches) = (found.crates.is_some(), found.switches.is_some());
                tables.push(Table { folder, rows: Vec::new(), has_crates, has_switches });
                columns = Some(found);
            }
            (Some(cells), Some(columns)) => {
                let rule = cells.iter().all(|cell| cell.chars().all(|character| "-:".contains(character)));
                if let (false, Some(table)) = (rule, tables.last_mut()) {
                    let row = columns.row(&cells, number);
                    if table.rows.iter().any(|other| other.module == row.module) {
                        return Err(format!("ARCHITECTURE.md:{number}: a second row for {}", row.module.join("::")));
                    }
                    table.rows.push(row);
                }
            }
        }
    }
    Ok(tables)
}

/// Which column is which.
struct Columns {
    module: usize,
    may_use: usize,
    crates: Option<usize>,
    switches: Option<usize>,
}

impl Columns {
    fn of(header: &[&str]) -> Option<Self> {
        let find = |name| header.iter().position(|cell| *cell == name);
        let (module, may_use) = (find("module")?, find("may use")?);
        Some(Self { module, may_use, crates: find("crates"), switches: find("target switches") })
    }

    fn row(&self, cells: &[&str], line: usize) -> Row {
        let cell = |column: Option<usize>| column.and_then(|column| cells.get(column)).copied().unwrap_or_default();
        let mut module = names(cell(Some(self.module))).into_iter().next().unwrap_or_default();
        if module == ["lib"] {
            module.clear();
        }
        let switches = Some(cell(self.switches)).filter(|reason| !is_none(reason)).unwrap_or_default().into();
        Row { module, may_use: names(cell(Some(self.may_use))), crates: names(cell(self.crates)), switches, line }
    }
}

fn cells(line: &str) -> Option<Vec<&str>> {
    let line = line.trim().strip_prefix('|')?;
    Some(line.strip_suffix('|').unwrap_or(line).split('|').map(str::trim).collect())
}

/// The last path in backticks that ends in `/src`.
fn folder_in(line: &str) -> Option<String> {
    line.split('`').skip(1).step_by(2).filter(|code| code.ends_with("/src")).last().map(str::to_owned)
}

fn is_none(cell: &str) -> bool {
    ["", "-", "—", "none"].contains(&cell)
}

/// Names with commas between them, each in its segments.
fn names(cell: &str) -> Vec<Vec<String>> {
    let names = cell.split(',').map(|name| name.trim().trim_matches('`')).filter(|name| !is_none(name));
    names.map(|name| name.replace('-', "_").split("::").map(str::to_owned).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::read;

    const MARKDOWN: &str = "\
# Any

The layout of `a/src` and then of `b/src`:

| module | what it is | may use | crates | target switches |
| --- | :-- | --- | --- | --- |
| `lib` | the face | — | | has `worker` on wasm32 |
| `*` | | `error` | serde, `serde-json` | |
| `store::push` | pushes | `event`, `session::rpc` | tokio::sync | — |

| other | table |
| --- | --- |
| x | y |
";

    #[test]
    fn a_table_is_read_by_the_names_of_its_columns() {
        let tables = read(MARKDOWN).unwrap();
        assert_eq!(tables.len(), 1);
        let table = &tables[0];
        assert_eq!((table.folder.as_str(), table.rows.len()), ("b/src", 3));
        let joined = |names: &[Vec<String>]| names.iter().map(|name| name.join("::")).collect::<Vec<_>>();
        assert_eq!(joined(&table.for_all().unwrap().crates), ["serde", "serde_json"]);
        let push = table.row_of(&["store".into(), "push".into(), "deep".into()]).unwrap();
        assert_eq!(joined(&push.may_use), ["event", "session::rpc"]);
        assert_eq!(joined(&push.crates), ["tokio::sync"]);
        assert_eq!((push.switches.as_str(), push.line), ("", 9));
        assert_eq!(table.row_of(&[]).unwrap().switches, "has `worker` on wasm32");
        assert!(table.row_of(&["store".into()]).is_none());
    }

    #[test]
    fn a_table_without_a_folder_and_a_second_row_are_refused() {
        assert!(read("| module | may use |\n| --- | --- |\n").is_err());
        assert!(read("`a/src`\n\n| module | may use |\n| --- | --- |\n| `a` | |\n| `a` | `b` |\n").is_err());
    }
}
