//! circusd-stats: measures what watchers use and publishes it while somebody listens.
//!
//! [`service`] is the program; it asks circusd through [`directory`], keeps who is measured in [`roster`],
//! reads /proc through [`process_table`] and [`socket_table`] and sends what [`message`] makes of it through
//! [`publisher`]. [`info`] and [`process_table`] also serve circusd's own `stats`.

pub mod cli;
pub mod directory;
pub mod info;
pub mod message;
pub mod process_table;
pub mod publisher;
pub mod roster;
pub mod service;
pub mod socket_table;
