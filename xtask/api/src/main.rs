//! Prints the public API of a library, a line per item, from the JSON that rustdoc has written. Called by
//! `cargo xtask api`; a package of its own so that xtask itself has no dependencies.

use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(json) = std::env::args_os().nth(1) else {
        eprintln!("usage: xtask-api FILE.json");
        return ExitCode::FAILURE;
    };
    // Without what types have by themselves: `Send`, blanket and derived implementations.
    let api = public_api::Builder::from_rustdoc_json(json)
        .omit_auto_trait_impls(true)
        .omit_blanket_impls(true)
        .omit_auto_derived_impls(true)
        .build();
    match api {
        Ok(api) => {
            println!("{api}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("xtask-api: {error}");
            ExitCode::FAILURE
        }
    }
}
