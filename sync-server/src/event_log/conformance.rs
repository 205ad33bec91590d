//! The contract of [`EventLog`], executable. Each function takes a fresh, empty log and panics where
//! the log breaks the contract. Differences between backends are parameters; nothing is skipped.
//!
//! It needs no runtime of its own, so that it also runs where there is only the platform's.

mod append;
mod read;
mod sample;

pub use self::append::{
    a_commits_worth_of_events_is_stored, a_new_log_is_empty, a_repeated_number_stores_nothing,
    a_stale_head_changes_nothing, batches_are_stored_together, each_batch_keeps_its_time, every_byte_comes_back,
    gaps_are_counted, numbers_reach_the_largest_safe_integer, racing_appends_have_one_winner,
};
pub use self::read::{
    a_page_has_an_event_larger_than_itself, chunks_keep_the_limits_of_the_wire, counts_what_is_above,
    events_keep_to_their_range, pages_add_up_to_the_log, pages_end_by_bytes, reads_during_an_append_see_all_or_nothing,
    reads_start_above_the_cursor,
};
use super::EventLog;

/// Runs every function of this module, each on a log from `fresh`, which gets the function's name.
/// `event_bytes_max` is the size of the largest event that the backend can hold.
///
/// # Panics
///
/// Where a log breaks the contract.
pub async fn all<L: EventLog>(mut fresh: impl AsyncFnMut(&'static str) -> L, event_bytes_max: usize) {
    macro_rules! each {
        ($($name:ident),+ $(,)?) => {
            $($name(&fresh(stringify!($name)).await).await;)+
        };
    }
    each![
        a_new_log_is_empty,
        every_byte_comes_back,
        each_batch_keeps_its_time,
        batches_are_stored_together,
        a_stale_head_changes_nothing,
        a_repeated_number_stores_nothing,
        a_commits_worth_of_events_is_stored,
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
    let log = fresh("racing_appends_have_one_winner").await;
    racing_appends_have_one_winner(&log, &log).await;
    let log = fresh("a_page_has_an_event_larger_than_itself").await;
    a_page_has_an_event_larger_than_itself(&log, event_bytes_max).await;
}
