//! Programs that cargo has built, by package and name: for steps that run them without a cargo in between, which would
//! wait for the lock of another one.

use std::path::PathBuf;

use crate::run::{Result, cargo, output};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Program {
    pub(crate) package: String,
    pub(crate) name: String,
    /// Whether it is a test, of this name or of the library or program of this name.
    pub(crate) is_test: bool,
    pub(crate) path: PathBuf,
}

/// Runs a build of cargo and gives every program of it, also those that were there already.
pub(crate) fn build(arguments: &[&str]) -> Result<Vec<Program>> {
    let mut build = cargo(arguments);
    build.args(["--locked", "--message-format", "json-render-diagnostics"]);
    eprintln!("\n> {}", format!("{build:?}").replace('"', ""));
    Ok(output(&mut build)?.lines().filter_map(program).collect())
}

/// The program that a line of cargo's messages tells of.
fn program(line: &str) -> Option<Program> {
    let path = string(line, "\"executable\":\"")?.replace("\\\\", "\\").into();
    let id = string(line, "\"package_id\":\"")?;
    // `path+file:///folder#name@1.0.0`, or `…/name#1.0.0`.
    let (folder, version) = id.split_once('#')?;
    let package =
        version.split_once('@').map_or_else(|| folder.rsplit('/').next().unwrap_or_default(), |(name, _)| name);
    let (_, target) = line.split_once("\"target\":{")?;
    let (_, profile) = line.split_once("\"profile\":{")?;
    let is_test = profile.split('}').next().is_some_and(|profile| profile.contains("\"test\":true"));
    Some(Program { package: package.into(), name: string(target, "\"name\":\"")?.into(), is_test, path })
}

/// What stands between this and the next quote.
fn string<'a>(text: &'a str, before: &str) -> Option<&'a str> {
    text.split_once(before)?.1.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::{Program, program};

    fn line(id: &str, name: &str, test: bool, executable: &str) -> String {
        format!(
            "{{\"reason\":\"compiler-artifact\",\"package_id\":\"{id}\",\"manifest_path\":\"/w/t/Cargo.toml\",\
             \"target\":{{\"kind\":[\"test\"],\"crate_types\":[\"bin\"],\"name\":\"{name}\",\"test\":true}},\
             \"profile\":{{\"opt_level\":\"0\",\"test\":{test}}},\"features\":[],\"executable\":{executable},\"fresh\":true}}"
        )
    }

    #[test]
    fn programs_are_taken_from_messages() {
        let found = program(&line("path+file:///w/t#sync-tests@0.1.0", "kill", true, "\"/w/target/kill-01\""));
        let path = "/w/target/kill-01".into();
        assert_eq!(found, Some(Program { package: "sync-tests".into(), name: "kill".into(), is_test: true, path }));
        let found = program(&line("path+file:///w/driver#0.1.0", "driver", false, "\"C:\\\\driver.exe\"")).unwrap();
        assert_eq!(
            (found.package.as_str(), found.is_test, found.path.to_str()),
            ("driver", false, Some("C:\\driver.exe"))
        );
    }

    #[test]
    fn libraries_are_no_programs() {
        assert_eq!(program(&line("path+file:///w/t#a@0.1.0", "a", false, "null")), None);
    }
}
