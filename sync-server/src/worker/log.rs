//! Writes what the engine logs to the console, which `wrangler dev` and `wrangler tail` show. The Worker and
//! each object install it when they start. It is our own because the usual subscriber of `tracing` would be
//! a twentieth of the bytes that are deployed.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt::{Debug, Write};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use worker::{console_error, console_log, console_warn};

use crate::log_line::one_line;

thread_local! {
    static INSTALLED: Cell<bool> = const { Cell::new(false) };
    static SPANS: RefCell<Spans> = RefCell::default();
}

/// Logs from `INFO` on, unless the app has a subscriber of its own.
pub(super) fn install() {
    if !INSTALLED.replace(true) {
        // An error means that the app has one.
        let _ = tracing::subscriber::set_global_default(Console);
    }
}

/// The spans that are open, each as it is written, and those that are entered.
#[derive(Default)]
struct Spans {
    count: u64,
    open: HashMap<u64, Text>,
    entered: Vec<u64>,
}

/// Fields as they are written: ` name=value`, and the message without its name.
#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}

struct Console;

impl Subscriber for Console {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(tracing::level_filters::LevelFilter::INFO)
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut text = Text(format!(" {}", span.metadata().name()));
        span.record(&mut text);
        SPANS.with_borrow_mut(|spans| {
            spans.count += 1;
            spans.open.insert(spans.count, text);
            Id::from_u64(spans.count)
        })
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        SPANS.with_borrow_mut(|spans| spans.open.get_mut(&span.into_u64()).map(|text| values.record(text)));
    }

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        SPANS.with_borrow(|spans| {
            for span in spans.entered.iter().filter_map(|span| spans.open.get(span)) {
                text.0.push_str(" |");
                text.0.push_str(&span.0);
            }
        });
        let level = *event.metadata().level();
        let line = one_line(&format!("{level}{}", text.0));
        match level {
            Level::ERROR => console_error!("{line}"),
            Level::WARN => console_warn!("{line}"),
            _ => console_log!("{line}"),
        }
    }

    fn enter(&self, span: &Id) {
        SPANS.with_borrow_mut(|spans| spans.entered.push(span.into_u64()));
    }

    fn exit(&self, span: &Id) {
        SPANS.with_borrow_mut(|spans| {
            if let Some(last) = spans.entered.iter().rposition(|entered| *entered == span.into_u64()) {
                spans.entered.remove(last);
            }
        });
    }

    /// A span is never cloned by the engine, so this is its end.
    fn try_close(&self, span: Id) -> bool {
        SPANS.with_borrow_mut(|spans| spans.open.remove(&span.into_u64())).is_some()
    }
}
