//! Whether events are one chain. Pure: takes rows one by one.

use super::json;
use super::rows::Row;

/// Faults of a store that are reported one by one; more are counted.
pub(super) const FAULTS_SHOWN_MAX: usize = 20;

/// Something wrong, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The event, if it is about one.
    pub(super) seq_num: Option<i64>,
    pub(super) problem: Problem,
}

/// What is wrong.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    #[error("it comes after event {previous}, but numbers must ascend")]
    Order { previous: i64 },
    #[error("numbers begin at 1")]
    Number,
    #[error("its parent is {found}, the event before is {expected}")]
    Parent { expected: i64, found: i64 },
    #[error("its parent is {found}, but it is the first event: that should be 0")]
    FirstParent { found: i64 },
    #[error("its args are no JSON: {0}")]
    Args(String),
    #[error("its column {0} is not UTF-8")]
    Utf8(&'static str),
    #[error("its createdAt is no time: {0:?}")]
    CreatedAt(String),
    #[error("the registry says that {recorded} sequence numbers have no event, but it is {found}")]
    Gaps { recorded: i64, found: i64 },
    #[error("{0}")]
    Table(String),
    #[error("SQLite finds the file damaged: {0}")]
    Damaged(String),
}

impl Problem {
    /// A name for programs.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Order { .. } => "order",
            Self::Number => "number",
            Self::Parent { .. } | Self::FirstParent { .. } => "parent",
            Self::Args(_) => "args",
            Self::Utf8(_) => "utf8",
            Self::CreatedAt(_) => "createdAt",
            Self::Gaps { .. } => "gaps",
            Self::Table(_) => "table",
            Self::Damaged(_) => "damaged",
        }
    }
}

/// What was found of a store so far.
#[derive(Debug, Default)]
pub(super) struct Chain {
    previous: Option<i64>,
    pub(super) events: u64,
    pub(super) faults: Vec<Fault>,
    /// Faults beyond those.
    pub(super) faults_more: u64,
}

impl Chain {
    pub(super) fn is_whole(&self) -> bool {
        self.faults.is_empty()
    }

    pub(super) fn head(&self) -> i64 {
        self.previous.unwrap_or(0)
    }

    pub(super) fn fault(&mut self, seq_num: Option<i64>, problem: Problem) {
        if self.faults.len() < FAULTS_SHOWN_MAX {
            self.faults.push(Fault { seq_num, problem });
        } else {
            self.faults_more += 1;
        }
    }

    /// The next event, in the order of the table.
    pub(super) fn event(&mut self, row: &Row) {
        let mut fault = |problem| self.fault(Some(row.seq_num), problem);
        if row.seq_num < 1 {
            fault(Problem::Number);
        }
        let found = row.parent_seq_num;
        match self.previous {
            Some(previous) if row.seq_num <= previous => self.fault(Some(row.seq_num), Problem::Order { previous }),
            Some(expected) if found != expected => self.fault(Some(row.seq_num), Problem::Parent { expected, found }),
            None if found != 0 => self.fault(Some(row.seq_num), Problem::FirstParent { found }),
            _ => {}
        }
        for column in &row.lossy {
            self.fault(Some(row.seq_num), Problem::Utf8(column));
        }
        if !row.lossy.contains(&"args")
            && let Some(error) = json::args_error(row)
        {
            self.fault(Some(row.seq_num), Problem::Args(error));
        }
        if !is_time(&row.created_at) {
            self.fault(Some(row.seq_num), Problem::CreatedAt(row.created_at.clone()));
        }
        self.previous = Some(row.seq_num);
        self.events += 1;
    }

    /// How many numbers have no event: as recorded, and as it is.
    pub(super) fn gaps(&mut self, recorded: i64, found: i64) {
        if recorded != found {
            self.fault(None, Problem::Gaps { recorded, found });
        }
    }
}

/// Whether a text is a time as JavaScript's `toISOString` writes it: `2026-11-21T00:14:31.259Z`.
fn is_time(text: &str) -> bool {
    const SHAPE: &[u8] = b"0000-00-00T00:00:00.000Z";
    let has_shape = text.len() == SHAPE.len()
        && text.bytes().zip(SHAPE).all(|(byte, shape)| match shape {
            b'0' => byte.is_ascii_digit(),
            _ => byte == *shape,
        });
    let number = |from: usize, to: usize| text.get(from..to).and_then(|digits| digits.parse::<u32>().ok());
    let (Some(year), Some(month), Some(day)) = (number(0, 4), number(5, 7), number(8, 10)) else { return false };
    let (Some(hour), Some(minute), Some(second)) = (number(11, 13), number(14, 16), number(17, 19)) else {
        return false;
    };
    let days = match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    has_shape && (1..=12).contains(&month) && (1..=days).contains(&day) && hour < 24 && minute < 60 && second < 60
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(seq_num: i64, parent_seq_num: i64) -> Row {
        Row { seq_num, parent_seq_num, created_at: "2026-11-21T00:14:31.259Z".into(), ..Row::default() }
    }

    fn faults(rows: &[Row]) -> Vec<(i64, Problem)> {
        let mut chain = Chain::default();
        rows.iter().for_each(|row| chain.event(row));
        chain.faults.into_iter().map(|fault| (fault.seq_num.expect("an event"), fault.problem)).collect()
    }

    #[test]
    fn a_chain_may_have_gaps() {
        assert_eq!(faults(&[]), []);
        assert_eq!(faults(&[row(1, 0), row(2, 1), row(3, 2)]), []);
        assert_eq!(faults(&[row(5, 0), row(100, 5), row(101, 100)]), []);
    }

    #[test]
    fn breaks_are_found_where_they_are() {
        assert_eq!(faults(&[row(1, 0), row(3, 2), row(4, 3)]), [(3, Problem::Parent { expected: 1, found: 2 })]);
        assert_eq!(faults(&[row(2, 1), row(3, 2)]), [(2, Problem::FirstParent { found: 1 })]);
        assert_eq!(faults(&[row(0, 0), row(1, 0)]), [(0, Problem::Number)]);
        assert_eq!(faults(&[row(2, 0), row(2, 2)]), [(2, Problem::Order { previous: 2 })]);
        assert_eq!(faults(&[row(2, 0), row(1, 0)]), [(1, Problem::Order { previous: 2 })]);
    }

    #[test]
    fn contents_are_checked() {
        let with_args = |args: &str| Row { args: Some(args.into()), ..row(1, 0) };
        for args in ["{}", "null", "1e400", r#""\ud800""#] {
            assert_eq!(faults(&[with_args(args)]), [], "{args}");
        }
        for args in ["", "{", "undefined", "{} {}", "'a'", "NaN"] {
            assert!(matches!(faults(&[with_args(args)])[..], [(1, Problem::Args(_))]), "{args}");
        }
        let lossy = Row { lossy: vec!["name", "args"], args: Some("\u{fffd}".into()), ..row(1, 0) };
        assert_eq!(faults(&[lossy]), [(1, Problem::Utf8("name")), (1, Problem::Utf8("args"))]);
        let at = |created_at: &str| Row { created_at: created_at.into(), ..row(1, 0) };
        assert_eq!(faults(&[at("yesterday")]), [(1, Problem::CreatedAt("yesterday".into()))]);
    }

    #[test]
    fn times_are_those_that_javascript_writes() {
        for time in [
            "1970-01-01T00:00:00.000Z",
            "2026-12-31T23:59:59.999Z",
            "2024-02-29T00:00:00.000Z",
            "2000-02-29T00:00:00.000Z",
        ] {
            assert!(is_time(time), "{time}");
        }
        for time in [
            "",
            "2026-11-21",
            "2026-11-21T00:14:31Z",
            "2026-11-21 00:14:31.259Z",
            "2026-11-21T00:14:31.259+00:00",
            "2026-13-21T00:14:31.259Z",
            "2026-00-21T00:14:31.259Z",
            "2026-11-31T00:14:31.259Z",
            "2026-11-00T00:14:31.259Z",
            "2026-02-29T00:00:00.000Z",
            "1900-02-29T00:00:00.000Z",
            "2026-11-21T24:14:31.259Z",
            "2026-11-21T00:60:31.259Z",
            "2026-11-21T00:14:60.259Z",
            "2026-11-21T00:14:31.+59Z",
            "1795220071259",
            "ü26-11-21T00:14:31.259Z",
        ] {
            assert!(!is_time(time), "{time}");
        }
    }

    #[test]
    fn many_faults_are_counted() {
        let chain = |faults: usize| {
            let mut chain = Chain::default();
            (0..faults).for_each(|_| chain.gaps(1, 2));
            chain.gaps(2, 2);
            (chain.faults.len(), chain.faults_more)
        };
        assert_eq!(chain(FAULTS_SHOWN_MAX), (FAULTS_SHOWN_MAX, 0));
        assert_eq!(chain(FAULTS_SHOWN_MAX + 1), (FAULTS_SHOWN_MAX, 1));
    }
}
