use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Why a step failed, for people.
pub(crate) type Result<T = ()> = std::result::Result<T, String>;

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().map_or(manifest.clone(), PathBuf::from)
}

/// The folder for what is built.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |target| root().join(target))
}

/// A command in the workspace's root.
pub(crate) fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    command
}

/// The cargo that runs this task.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    command(&std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()), arguments)
}

/// Runs a command to its end, its output shown.
pub(crate) fn run(command: &mut Command) -> Result {
    let shown = show(command);
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{shown}: {status}")),
        Err(error) => Err(format!("cannot run {shown}: {error}")),
    }
}

/// Runs a command in the place of this process, so that signals reach it and nothing else.
pub(crate) fn replace(command: &mut Command) -> Result {
    #[cfg(unix)]
    {
        let shown = show(command);
        let error = std::os::unix::process::CommandExt::exec(command);
        Err(format!("cannot run {shown}: {error}"))
    }
    #[cfg(not(unix))]
    run(command)
}

fn show(command: &Command) -> String {
    let shown = format!("{command:?}").replace('"', "");
    eprintln!("\n> {shown}");
    shown
}

/// What a command prints.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output =
        command.stderr(Stdio::inherit()).output().map_err(|error| format!("cannot run {command:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", output.status));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("{command:?}: {error}"))
}
