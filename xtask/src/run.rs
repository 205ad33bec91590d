//! Starts other programs, and does things beside each other. Every step goes through here.

use std::cell::Cell;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

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

/// How the commands of a thread are run.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Manner {
    /// Their output is shown as it comes.
    Front,
    /// Their output is shown once each has ended, so that it does not mix with that of others.
    Beside,
    /// The same, with what the others leave of the processor: for compilers beside tests that measure time.
    Spare,
}

thread_local! {
    static MANNER: Cell<Manner> = const { Cell::new(Manner::Front) };
}

/// Something to do beside others.
pub(crate) type Lane<'a> = (Manner, Box<dyn FnOnce() -> Result + Send + 'a>);

pub(crate) fn lane<'a>(manner: Manner, task: impl FnOnce() -> Result + Send + 'a) -> Lane<'a> {
    (manner, Box::new(task))
}

/// Does things beside each other. The first that fails says why, once all have ended.
pub(crate) fn together<'a>(lanes: impl IntoIterator<Item = Lane<'a>>) -> Result {
    let own = MANNER.get();
    std::thread::scope(|scope| {
        let start = |(manner, lane): Lane<'a>| {
            scope.spawn(move || {
                // What runs in the background stays there, with all that it starts.
                MANNER.set(if own == Manner::Front { manner } else { own });
                lane()
            })
        };
        let running: Vec<_> = lanes.into_iter().map(start).collect();
        let ended = running.into_iter().map(|lane| lane.join().unwrap_or_else(|_| Err("a step panicked".into())));
        ended.collect::<Vec<_>>().into_iter().collect()
    })
}

/// Runs a command to its end, its output shown.
pub(crate) fn run(command: &mut Command) -> Result {
    let shown = show(command);
    let status = match MANNER.get() {
        Manner::Front => command.status(),
        Manner::Beside => command.output().map(|output| print(&shown, output)),
        Manner::Spare => spare(command).output().map(|output| print(&shown, output)),
    };
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{shown}: {status}")),
        Err(error) => Err(format!("cannot run {shown}: {error}")),
    }
}

/// What a command prints, and how it ends; errors are shown.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let started = match MANNER.get() {
        Manner::Front => command.stderr(Stdio::inherit()).output(),
        Manner::Beside => command.output(),
        Manner::Spare => spare(command).output(),
    };
    let output = started.map_err(|error| format!("cannot run {command:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("{command:?}: {error}"))
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

/// The same command, with the priority of this thread's manner: for who starts it alone.
pub(crate) fn prioritised(command: &Command) -> Command {
    match MANNER.get() {
        Manner::Front | Manner::Beside => copy(command, Command::new(command.get_program())),
        Manner::Spare => spare(command),
    }
}

fn show(command: &Command) -> String {
    let shown = format!("{command:?}").replace('"', "");
    eprintln!("\n> {shown}");
    shown
}

fn print(shown: &str, output: Output) -> std::process::ExitStatus {
    let (printed, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    eprintln!("\n>> {shown}\n{errors}{printed}");
    output.status
}

/// The same command with the lowest priority, where the system has one for this.
fn spare(command: &Command) -> Command {
    if !cfg!(unix) {
        return copy(command, Command::new(command.get_program()));
    }
    let mut nice = Command::new("nice");
    nice.args(["-n", "19"]).arg(command.get_program());
    copy(command, nice)
}

fn copy(command: &Command, mut to: Command) -> Command {
    to.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => to.env(name, value),
            None => to.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        to.current_dir(folder);
    }
    to
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::Mutex;

    use super::{MANNER, Manner, command, copy, lane, together};

    #[test]
    fn lanes_all_end_and_the_first_failure_is_told() {
        let ended = Mutex::new(Vec::new());
        let task = |name: &'static str, result: Result<(), String>| {
            let ended = &ended;
            lane(Manner::Beside, move || {
                ended.lock().unwrap().push(name);
                result
            })
        };
        let lanes = [task("a", Ok(())), task("b", Err("why".into())), task("c", Err("too".into()))];
        assert_eq!(together(lanes), Err("why".into()));
        let mut ended = ended.into_inner().unwrap();
        ended.sort_unstable();
        assert_eq!(ended, ["a", "b", "c"]);
    }

    #[test]
    fn what_the_background_starts_is_in_the_background() {
        let inner = || {
            assert!(MANNER.get() == Manner::Spare);
            Ok(())
        };
        let outer = move || together([lane(Manner::Front, inner)]);
        assert_eq!(together([lane(Manner::Spare, outer)]), Ok(()));
    }

    #[test]
    fn a_copy_has_arguments_folder_and_variables() {
        let mut original = command("a", &["b"]);
        original.env("C", "d").env_remove("E");
        let copied = copy(&original, Command::new("a"));
        assert_eq!(format!("{copied:?}"), format!("{original:?}"));
    }
}
