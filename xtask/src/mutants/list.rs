//! The list of faults. Called by `mutants`; pure.
//!
//! ```text
//! What the fault is, in a line
//! sync-server/src/host/conversation.rs
//! -        self.begin_catch_up(&peer);
//! +        // an empty line would do, too
//! ```
//!
//! Lines with `-` are replaced by those with `+`, of which there may be none; what is behind the sign is the whole line.
//! An empty line ends a fault, `#` begins a comment.

use crate::run::Result;

#[derive(Debug, Default, PartialEq)]
pub(super) struct Fault {
    pub(super) name: String,
    /// From the workspace's root.
    pub(super) file: String,
    old: String,
    new: String,
}

pub(super) fn parse(text: &str) -> Result<Vec<Fault>> {
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let faults = lines.split(|line| line.trim().is_empty()).filter(|block| !block.is_empty()).map(fault);
    let faults = faults.collect::<Result<Vec<_>>>()?;
    if faults.is_empty() { Err("there are no faults in the list".into()) } else { Ok(faults) }
}

fn fault(block: &[&str]) -> Result<Fault> {
    let [name, file, change @ ..] = block else { return Err(format!("{block:?} has no file")) };
    let mut fault = Fault { name: (*name).into(), file: (*file).into(), ..Fault::default() };
    for line in change {
        match (line.split_at_checked(1), fault.new.is_empty()) {
            (Some(("-", old)), true) => fault.old += &format!("{old}\n"),
            (Some(("+", new)), _) => fault.new += &format!("{new}\n"),
            _ => return Err(format!("{name:?}: lines with - and then with +, not {line:?}")),
        }
    }
    if fault.old.is_empty() { Err(format!("{name:?} replaces nothing")) } else { Ok(fault) }
}

impl Fault {
    /// The file with the fault in it.
    pub(super) fn plant(&self, source: &str) -> Result<String> {
        let starts = source.match_indices(&self.old).map(|(at, _)| at);
        let starts: Vec<_> = starts.filter(|at| *at == 0 || source[..*at].ends_with('\n')).collect();
        match starts[..] {
            [at] => Ok(format!("{}{}{}", &source[..at], self.new, &source[at + self.old.len()..])),
            _ => Err(format!("its lines are {} times in {}, not once", starts.len(), self.file)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, parse};

    const LIST: &str = "\
# Faults.
Forgets to leave
host/hub.rs
-    self.leave();
-}
+}

Answers twice
host/a.rs
-  answer();
+  answer();
+  answer();
";

    fn fault(index: usize) -> Fault {
        parse(LIST).unwrap().remove(index)
    }

    #[test]
    fn a_list_is_read() {
        let names: Vec<_> = parse(LIST).unwrap().into_iter().map(|fault| fault.name).collect();
        assert_eq!(names, ["Forgets to leave", "Answers twice"]);
        assert_eq!((fault(1).file.as_str(), fault(1).old.as_str()), ("host/a.rs", "  answer();\n"));
    }

    #[test]
    fn a_fault_takes_the_place_of_whole_lines() {
        let planted = fault(0).plant("fn f() {\n    self.leave();\n}\nfn g() {}\n");
        assert_eq!(planted, Ok("fn f() {\n}\nfn g() {}\n".into()));
        assert_eq!(fault(1).plant("  answer();\n"), Ok("  answer();\n  answer();\n".into()));
    }

    #[test]
    fn lines_that_are_not_there_once_are_refused() {
        assert!(fault(1).plant("answer();\n").is_err());
        assert!(fault(1).plant("x  answer();\n").is_err());
        assert!(fault(1).plant("  answer();\n  answer();\n").is_err());
    }

    #[test]
    fn a_list_that_is_not_understood_is_refused() {
        for list in ["", "name only", "name\nfile", "name\nfile\n+new", "name\nfile\n-old\nother", "n\nf\n-a\n+b\n-c"] {
            assert!(parse(list).is_err(), "{list:?}");
        }
    }
}
