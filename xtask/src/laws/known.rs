//! Violations that are known and wait to be mended: a list that may only become shorter. Called by `laws`.

use std::collections::BTreeSet;
use std::fs;

use super::judge::Violation;
use crate::run::{Result, root};

/// A line per violation, as it is printed, with no line numbers. No file: none is known.
const FILE: &str = "xtask/laws-known.txt";

/// Fails on violations that are new, and on known ones that are no more.
pub(super) fn compare(violations: Vec<Violation>) -> Result {
    let known = fs::read_to_string(root().join(FILE)).unwrap_or_default();
    judge(&violations, &known).map(|known| {
        if known > 0 {
            println!("laws: {known} known violations");
        }
    })
}

fn judge(violations: &[Violation], known: &str) -> Result<usize> {
    let known: BTreeSet<_> = known.lines().filter(|line| !line.is_empty()).collect();
    let keys: Vec<_> = violations.iter().map(|violation| without_lines(&violation.to_string())).collect();
    let new = violations.iter().zip(&keys).filter(|(_, key)| !known.contains(key.as_str()));
    let new = new.map(|(violation, _)| violation.to_string());
    let mended = known.iter().filter(|line| !keys.iter().any(|key| key == *line));
    let mended = mended.map(|line| format!("no more, so remove it from {FILE}: {line}"));
    let messages: Vec<_> = new.chain(mended).collect();
    if messages.is_empty() { Ok(known.len()) } else { Err(format!("laws:\n{}", messages.join("\n"))) }
}

/// `:12` taken out, so that a known violation stays known when lines move.
fn without_lines(text: &str) -> String {
    let mut parts = text.split(':');
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|character: char| character.is_ascii_digit());
        if rest.len() == part.len() {
            kept.push(':');
        }
        kept += rest;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::{Violation, judge, without_lines};

    fn violations() -> Vec<Violation> {
        let violation = |line| Violation {
            file: "a/src/b.rs".into(),
            line,
            message: "a circle: b (b.rs:3) -> c (c.rs:41) -> b".into(),
        };
        vec![violation(3), violation(7)]
    }

    #[test]
    fn known_ones_pass_wherever_they_stand() {
        let known = "a/src/b.rs: a circle: b (b.rs) -> c (c.rs) -> b\n";
        assert_eq!(judge(&violations(), known), Ok(1));
    }

    #[test]
    fn new_ones_and_mended_ones_fail() {
        assert!(judge(&violations(), "").unwrap_err().contains("a/src/b.rs:7: a circle"));
        assert!(judge(&[], "a/src/b.rs: anything\n").unwrap_err().contains("no more"));
        assert_eq!(judge(&[], ""), Ok(0));
    }

    #[test]
    fn paths_keep_their_colons() {
        assert_eq!(without_lines("a.rs:12: x may not use y::z"), "a.rs: x may not use y::z");
    }
}
