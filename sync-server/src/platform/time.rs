//! Times as the wire writes them.

/// A time as JavaScript's `toISOString` writes it: `2026-11-21T00:14:31.259Z`.
#[cfg(not(all(feature = "worker", target_family = "wasm")))]
#[must_use]
pub fn iso_timestamp(ms: u64) -> String {
    use time::OffsetDateTime;
    use time::macros::format_description;

    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000)
        .ok()
        .and_then(|time| time.format(format).ok())
        .expect("clocks are before the year 9999")
}

/// A time as JavaScript's `toISOString` writes it: `2026-11-21T00:14:31.259Z`. Where there is JavaScript,
/// it does so itself.
#[cfg(all(feature = "worker", target_family = "wasm"))]
#[must_use]
pub fn iso_timestamp(ms: u64) -> String {
    use worker::js_sys::Date;

    Date::new(&(ms as f64).into()).to_iso_string().into()
}

#[cfg(test)]
mod tests {
    use super::iso_timestamp;

    #[test]
    fn writes_times_like_javascript() {
        assert_eq!(iso_timestamp(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(iso_timestamp(1_795_220_071_259), "2026-11-21T00:14:31.259Z");
    }
}
