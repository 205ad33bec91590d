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

/// Runs commands beside each other; shows what each has printed once it has ended.
pub(crate) fn run_together(commands: &mut [Command]) -> Result {
    let run = |command: &mut Command| {
        let shown = show(command);
        let output = command.output().map_err(|error| format!("cannot run {shown}: {error}"))?;
        eprintln!("\n> {shown}\n{}", String::from_utf8_lossy(&output.stderr));
        println!("{}", String::from_utf8_lossy(&output.stdout));
        if output.status.success() { Ok(()) } else { Err(format!("{shown}: {}", output.status)) }
    };
    together(commands.iter_mut().map(|command| move || run(command)))
}

/// Does things beside each other. The first that fails says why, once all have ended.
pub(crate) fn together(tasks: impl IntoIterator<Item = impl FnOnce() -> Result + Send>) -> Result {
    std::thread::scope(|scope| {
        let running: Vec<_> = tasks.into_iter().map(|task| scope.spawn(task)).collect();
        let ended = running.into_iter().map(|task| task.join().unwrap_or_else(|_| Err("a step panicked".into())));
        ended.collect::<Vec<_>>().into_iter().collect()
    })
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
