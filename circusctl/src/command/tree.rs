//! All commands as one tree, which the command line, the help and the completions share.

use super::call::Call;
use super::{
    admin, discover, events, generate, inspect, lifecycle, listen, option, scale, signal, stats,
    tail, upgrade, why,
};

/// What circusctl can be asked to do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Add a watcher
    Add(admin::Add),
    /// Lower the number of processes of a watcher
    Decr(scale::Scale),
    /// Find the circusds of the network
    Discover(discover::Discover),
    /// Show the resources that circusd itself uses
    Dstats(stats::DaemonStats),
    /// Show what has happened lately, as sentences
    Events(events::Events),
    /// Write man pages or shell completions into a directory
    #[command(hide = true)]
    Generate(generate::Generate),
    /// Show the values of some options of a watcher
    Get(option::Get),
    /// Show the options of circusd itself
    Globaloptions(option::GlobalOptions),
    /// Raise the number of processes of a watcher
    Incr(scale::Scale),
    /// Stop processes for good: signal, wait, then SIGKILL
    Kill(signal::Kill),
    /// List the watchers, or the pids of one watcher
    List(inspect::List),
    /// Show events as they happen
    Listen(listen::Listen),
    /// List the sockets
    Listsockets(inspect::ListSockets),
    /// Show the number of processes
    Numprocesses(inspect::NumProcesses),
    /// Show the number of watchers
    Numwatchers(inspect::NumWatchers),
    /// Show all options of a watcher
    Options(option::Options),
    /// Stop circusd
    Quit(admin::Quit),
    /// Reload all watchers or one
    Reload(lifecycle::Reload),
    /// Read the configuration file again and apply what has changed
    Reloadconfig(admin::ReloadConfig),
    /// Restart all watchers, or those that match a name
    Restart(lifecycle::Lifecycle),
    /// Remove a watcher
    Rm(admin::Rm),
    /// Set options of a watcher
    Set(option::Set),
    /// Send a signal to the processes of a watcher
    Signal(signal::Signal),
    /// Start all watchers, or those that match a name
    Start(lifecycle::Lifecycle),
    /// Show the resources that processes use
    Stats(stats::Stats),
    /// Show the state of all watchers or of one
    Status(inspect::Status),
    /// Stop all watchers, or those that match a name
    Stop(lifecycle::Lifecycle),
    /// Show what processes have printed lately, with -f also what they print from now on
    Tail(tail::Tail),
    /// Let circusd, or its papa kernel, go on as another program
    Upgrade(upgrade::Upgrade),
    /// Show what a watcher is doing and waits for, and how its processes ended
    Why(why::Why),
}

/// A command, sorted by the way it talks to circusd.
pub enum CommandKind<'a> {
    /// One request under this name, one reply.
    Call(&'static str, &'a dyn Call),
    /// Two requests to two programs.
    Upgrade(&'a upgrade::Upgrade),
    /// A subscription.
    Listen(&'a listen::Listen),
    /// Output, and more of it as it comes.
    Tail(&'a tail::Tail),
    /// Events, and more of them as they come.
    Events(&'a events::Events),
    /// A question to the network.
    Discover(&'a discover::Discover),
    /// Nothing to do with a circusd.
    Generate(&'a generate::Generate),
}

impl Command {
    /// How this command talks to circusd.
    pub fn kind(&self) -> CommandKind<'_> {
        match self {
            Self::Add(args) => CommandKind::Call("add", args),
            Self::Decr(args) => CommandKind::Call("decr", args),
            Self::Discover(args) => CommandKind::Discover(args),
            Self::Dstats(args) => CommandKind::Call("dstats", args),
            Self::Events(args) => CommandKind::Events(args),
            Self::Generate(args) => CommandKind::Generate(args),
            Self::Get(args) => CommandKind::Call("get", args),
            Self::Globaloptions(args) => CommandKind::Call("globaloptions", args),
            Self::Incr(args) => CommandKind::Call("incr", args),
            Self::Kill(args) => CommandKind::Call("kill", args),
            Self::List(args) => CommandKind::Call("list", args),
            Self::Listen(args) => CommandKind::Listen(args),
            Self::Listsockets(args) => CommandKind::Call("listsockets", args),
            Self::Numprocesses(args) => CommandKind::Call("numprocesses", args),
            Self::Numwatchers(args) => CommandKind::Call("numwatchers", args),
            Self::Options(args) => CommandKind::Call("options", args),
            Self::Quit(args) => CommandKind::Call("quit", args),
            Self::Reload(args) => CommandKind::Call("reload", args),
            Self::Reloadconfig(args) => CommandKind::Call("reloadconfig", args),
            Self::Restart(args) => CommandKind::Call("restart", args),
            Self::Rm(args) => CommandKind::Call("rm", args),
            Self::Set(args) => CommandKind::Call("set", args),
            Self::Signal(args) => CommandKind::Call("signal", args),
            Self::Start(args) => CommandKind::Call("start", args),
            Self::Stats(args) => CommandKind::Call("stats", args),
            Self::Status(args) => CommandKind::Call("status", args),
            Self::Stop(args) => CommandKind::Call("stop", args),
            Self::Tail(args) => CommandKind::Tail(args),
            Self::Upgrade(args) => CommandKind::Upgrade(args),
            Self::Why(args) => CommandKind::Call("why", args),
        }
    }
}
