//! Why the server ends a WebSocket. The one table of codes and reasons: sessions, hosts and platforms name a
//! variant, and PROTOCOL.md lists the same rows. Pure, and below everything that closes.
//!
//! Published clients come back after any of these. What differs is what they do then: a 0.4 client restarts
//! its pull from its cursor, a 0.3 client goes on with the pull that it once made.

/// A reason to end a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseCode {
    /// The client has closed the connection, or is gone.
    Ended,
    /// Bytes that are no WebSocket frames.
    ProtocolError,
    /// A frame that is not UTF-8.
    InvalidUtf8,
    /// A compressed frame that cannot be read.
    InvalidDeflate,
    /// Pushes came faster than they are answered, and the platform has no way to stop reading.
    TooManyPushes,
    /// A frame above the limit.
    FrameTooLarge,
    /// The database failed in a place where no call can be answered with that.
    LogUnreachable,
    /// A part of the server panicked, or a hook did not return.
    Failed,
    /// The server stops; another one will be there.
    Restart,
    /// The client does not read what it is sent.
    SlowReader,
    /// The budget of the connection, of its store or of the process has no room for a message.
    NoRoom,
    /// A 0.4 client waits for a pull of an earlier connection, which it would do for ever.
    NoPull,
    /// A 0.4 client acknowledges a pull of an earlier connection: likewise.
    UnknownPull,
    /// The object lost its memory while it sent a backlog.
    PullLost,
    /// The object does not know this connection any more.
    SessionLost,
    /// The wasm instance died while it worked for this object.
    Crashed,
    /// The client neither sent anything nor answered pings.
    Silent,
    /// The client has begun a message and does not go on with it.
    Unfinished,
    /// A connection that looks the same was opened, and this one does not answer.
    Superseded,
    /// The client's token has expired, and the grace period is over.
    AccessExpired,
}

impl CloseCode {
    /// The number on the wire: RFC 6455, its registry, or the applications' range.
    pub(crate) const fn number(self) -> u16 {
        match self {
            Self::Ended => 1000,
            Self::ProtocolError => 1002,
            Self::InvalidUtf8 | Self::InvalidDeflate => 1007,
            Self::TooManyPushes => 1008,
            Self::FrameTooLarge => 1009,
            Self::LogUnreachable | Self::Failed => 1011,
            Self::Restart => 1012,
            Self::SlowReader | Self::NoRoom => 1013,
            Self::NoPull
            | Self::UnknownPull
            | Self::PullLost
            | Self::SessionLost
            | Self::Crashed
            | Self::Silent
            | Self::Unfinished => 4408,
            Self::Superseded => 4409,
            Self::AccessExpired => 4401,
        }
    }

    /// For people, in the closing frame, which has room for 123 bytes.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Ended => "the connection has ended",
            Self::ProtocolError => "these bytes are not WebSocket frames",
            Self::InvalidUtf8 => "frames must hold UTF-8 JSON",
            Self::InvalidDeflate => "this compressed frame cannot be inflated",
            Self::TooManyPushes => "too many pushes without waiting for their answers",
            Self::FrameTooLarge => "the frame is larger than this server takes",
            Self::LogUnreachable => "the server could not reach its event log",
            Self::Failed => "the server failed: connect again",
            Self::Restart => "the server restarts",
            Self::SlowReader => "not reading fast enough",
            Self::NoRoom => "no room for this message now",
            Self::NoPull => "no pull on this connection: reconnect and pull",
            Self::UnknownPull => "that pull belongs to an earlier connection: pull again",
            Self::PullLost => "the pull was lost: pull again",
            Self::SessionLost => "the connection is not known any more: reconnect",
            Self::Crashed => "the sync server failed and starts again: connect again",
            Self::Silent => "nothing was heard for too long: reconnect",
            Self::Unfinished => "a message was begun and not finished: reconnect",
            Self::Superseded => "a newer connection of this client has taken over",
            Self::AccessExpired => "the access has expired: connect again with a new token",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::CloseCode::{self, *};

    const ALL: [CloseCode; 20] = [
        Ended,
        ProtocolError,
        InvalidUtf8,
        InvalidDeflate,
        TooManyPushes,
        FrameTooLarge,
        LogUnreachable,
        Failed,
        Restart,
        SlowReader,
        NoRoom,
        NoPull,
        UnknownPull,
        PullLost,
        SessionLost,
        Crashed,
        Silent,
        Unfinished,
        Superseded,
        AccessExpired,
    ];

    #[test]
    fn codes_may_be_sent_and_reasons_fit_into_a_frame() {
        for code in ALL {
            let number = code.number();
            assert!((1000..=1013).contains(&number) || (4000..5000).contains(&number), "{code:?}");
            assert!(!matches!(number, 1004..=1006), "{code:?} must not be on the wire");
            assert!(code.reason().len() <= 123, "{code:?}");
        }
    }

    #[test]
    fn the_documentation_has_every_row() {
        let protocol = include_str!("../../PROTOCOL.md");
        for code in ALL {
            let row = format!("| {} | `{}` |", code.number(), code.reason());
            assert!(protocol.contains(&row), "PROTOCOL.md lacks {row}");
        }
    }
}
