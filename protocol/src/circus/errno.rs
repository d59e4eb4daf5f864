//! The numeric error codes in circusd's replies (`errno`), as measured on circus 0.17.2.

use serde::{Deserialize, Serialize};

/// Why a request failed, in numbers that existing clients match on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u8", from = "u8")]
pub enum Errno {
    /// 0: no particular reason.
    NotSpecified,
    /// 1: the message is not a JSON object in UTF-8.
    InvalidJson,
    /// 2: there is no such command.
    UnknownCommand,
    /// 3: a property is missing or wrong, or the watcher does not exist.
    Message,
    /// 4: the operating system refused.
    Os,
    /// 5: the command conflicts with one that is running, or cannot be carried out.
    Command,
    /// 6: the work of a waiting command failed after it had begun.
    BadMsgData,
}

impl From<Errno> for u8 {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NotSpecified => 0,
            Errno::InvalidJson => 1,
            Errno::UnknownCommand => 2,
            Errno::Message => 3,
            Errno::Os => 4,
            Errno::Command => 5,
            Errno::BadMsgData => 6,
        }
    }
}

impl From<u8> for Errno {
    fn from(number: u8) -> Self {
        match number {
            1 => Self::InvalidJson,
            2 => Self::UnknownCommand,
            3 => Self::Message,
            4 => Self::Os,
            5 => Self::Command,
            6 => Self::BadMsgData,
            _ => Self::NotSpecified,
        }
    }
}
