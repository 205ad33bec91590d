//! What packages may come to depend on. Called by `tiers` and by hand.

use crate::run::{Result, cargo, output};

/// Who must not depend on what, and why.
const FORBIDDEN: [(&str, &[&str], &str); 2] = [
    (
        "livestore-sync-protocol",
        &["tokio", "worker", "http", "rusqlite", "getrandom", "uuid", "time", "futures-util"],
        "it holds the wire format and nothing else",
    ),
    // An app with routes of its own that embeds the server.
    (
        "example-native",
        &[
            "clap",
            "rustls",
            "tokio-rustls",
            "ring",
            "webpki-roots",
            "livestore-sync-client",
            "livestore-sync",
            "tracing-subscriber",
        ],
        "an app that embeds the server builds no program, client or TLS",
    ),
];

pub(crate) fn trees() -> Result {
    for (package, forbidden, reason) in FORBIDDEN {
        let tree = output(&mut cargo(&["tree", "-p", package, "-e", "normal", "--prefix", "none", "--locked"]))?;
        let crates = names(&tree);
        if let Some(found) = crates.iter().find(|name| forbidden.contains(name)) {
            return Err(format!("{package} depends on {found}; {reason}"));
        }
        println!("{package} builds {} crates", crates.len());
    }
    Ok(())
}

/// The names of the crates of a tree, each version once.
fn names(tree: &str) -> Vec<&str> {
    let mut lines: Vec<_> =
        tree.lines().map(|line| line.trim_end_matches(" (*)")).filter(|line| !line.is_empty()).collect();
    lines.sort_unstable();
    lines.dedup();
    lines.into_iter().filter_map(|line| line.split(' ').next()).collect()
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn repetitions_count_once() {
        let tree = "a v1.0.0 (/a)\nb v1.0.0\nb v2.0.0\nc v1.0.0\nb v1.0.0\nc v1.0.0 (*)\n";
        assert_eq!(names(tree), ["a", "b", "b", "c"]);
    }
}
