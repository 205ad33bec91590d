//! The contract of [`EventLog`], executable. Each function takes a fresh, empty log and panics where
//! the log breaks the contract. Differences between backends are parameters; nothing is skipped.
//!
//! Called by the tests of each log of this crate, inside workerd for those of Workers, and by apps that bring a
//! log of their own. It may look at a log through [`EventLog`] alone. It needs no runtime of its own, so that it
//! also runs where there is only the platform's.

mod append;
mod read;
mod sample;

pub use self::append::{
    a_commit_of_megabytes_is_stored_with_its_gaps, a_commits_worth_of_events_is_stored, a_new_log_is_empty,
    a_repeated_number_stores_nothing, a_stale_head_changes_nothing, a_stale_head_changes_nothing_of_a_large_commit,
    batches_are_stored_together, each_batch_keeps_its_time, every_byte_comes_back, gaps_are_counted,
    numbers_reach_the_largest_safe_integer, racing_appends_have_one_winner,
};
pub use self::read::{
    a_page_has_an_event_larger_than_itself, chunks_keep_the_limits_of_the_wire, counts_what_is_above,
    events_keep_to_their_range, pages_add_up_to_the_log, pages_end_by_bytes, reads_during_an_append_see_all_or_nothing,
    reads_start_above_the_cursor,
};
use super::EventLog;

macro_rules! suite {
    ($($name:ident),+ $(,)?) => {
        /// The functions of this module, by name.
        pub const NAMES: &[&str] = &[
            $(stringify!($name),)+
            "racing_appends_have_one_winner",
            "a_page_has_an_event_larger_than_itself",
        ];

        /// Runs a function of this module on a fresh log. `event_bytes_max` is the size of the largest event
        /// that the backend can hold.
        ///
        /// # Panics
        ///
        /// Where the log breaks the contract, and for a name that is none of [`NAMES`].
        pub async fn run<L: EventLog>(name: &str, log: &L, event_bytes_max: usize) {
            match name {
                $(stringify!($name) => $name(log).await,)+
                "racing_appends_have_one_winner" => racing_appends_have_one_winner(log, log).await,
                "a_page_has_an_event_larger_than_itself" => {
                    a_page_has_an_event_larger_than_itself(log, event_bytes_max).await;
                }
                unknown => panic!("there is no {unknown}"),
            }
        }
    };
}

suite![
    a_new_log_is_empty,
    every_byte_comes_back,
    each_batch_keeps_its_time,
    batches_are_stored_together,
    a_stale_head_changes_nothing,
    a_stale_head_changes_nothing_of_a_large_commit,
    a_repeated_number_stores_nothing,
    a_commits_worth_of_events_is_stored,
    a_commit_of_megabytes_is_stored_with_its_gaps,
    gaps_are_counted,
    numbers_reach_the_largest_safe_integer,
    reads_start_above_the_cursor,
    pages_add_up_to_the_log,
    pages_end_by_bytes,
    chunks_keep_the_limits_of_the_wire,
    events_keep_to_their_range,
    counts_what_is_above,
    reads_during_an_append_see_all_or_nothing,
];

/// Runs every function of this module, each on a log from `fresh`, which gets the function's name.
///
/// # Panics
///
/// As [`run`].
pub async fn all<L: EventLog>(mut fresh: impl AsyncFnMut(&'static str) -> L, event_bytes_max: usize) {
    for name in NAMES {
        run(name, &fresh(name).await, event_bytes_max).await;
    }
}
