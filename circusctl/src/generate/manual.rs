//! What the pages say beside what is in the trees of arguments.

use crate::arguments::CommandLine;
use clap::{Command, CommandFactory};

/// A heading and its paragraphs, each with a tag, which may be empty.
pub(super) type Section = (&'static str, &'static [(&'static str, &'static str)]);

/// A program that has a page.
pub(super) struct Manual {
    /// What reads its command line.
    pub(super) tree: Command,
    /// What follows its name in the synopsis.
    pub(super) synopsis: &'static str,
    /// What comes after options and commands.
    pub(super) sections: &'static [Section],
}

/// All of them, as far as they are built.
pub(super) fn all() -> Vec<Manual> {
    vec![
        Manual {
            tree: CommandLine::command(),
            synopsis: "[OPTIONS] [COMMAND [ARGUMENTS]]",
            sections: CIRCUSCTL,
        },
        #[cfg(feature = "top")]
        Manual {
            tree: crate::top::cli::Arguments::command(),
            synopsis: "[OPTIONS]",
            sections: CIRCUS_TOP,
        },
        #[cfg(feature = "stats")]
        Manual {
            tree: crate::stats::cli::Arguments::command(),
            synopsis: "[OPTIONS]",
            sections: CIRCUSD_STATS,
        },
        #[cfg(feature = "plugins")]
        Manual {
            tree: crate::plugin::cli::Arguments::command(),
            synopsis: "[OPTIONS] [PLUGIN]",
            sections: CIRCUS_PLUGIN,
        },
    ]
}

const CIRCUSCTL: &[Section] = &[
    (
        "EXIT STATUS",
        &[
            ("0", "Done. Also when nobody reads the output any more, and when the shell was left."),
            (
                "1",
                "Nothing came of it on this side: an argument cannot be right, nobody answered in time, \
                 the answer made no sense, ssh failed, or a file could not be read or written.",
            ),
            ("2", "There is no such command or option."),
            ("3", "circusd refused; with --json, too."),
        ],
    ),
    (
        "ENVIRONMENT",
        &[
            ("CIRCUSCTL_ENDPOINT", "Where circusd answers, if --endpoint does not say it."),
            ("NO_COLOR", "If it is set there are no colours on a terminal, either."),
        ],
    ),
    (
        "FILES",
        &[
            (
                "/etc/circus/circus.ini, /etc/circus/circusd.ini, /etc/circus.ini",
                "The first of these that is there tells the endpoint, if nothing else does.",
            ),
            (
                "$XDG_STATE_HOME/circusctl/history",
                "What was typed in the interactive shell; ~/.local/state stands in for the variable. \
                 A line that begins with a blank is not kept.",
            ),
        ],
    ),
    (
        "EXAMPLES",
        &[
            ("circusctl status", "The state of every watcher."),
            ("circusctl incr web 2", "Two processes more."),
            ("circusctl why web", "What it does, what it waits for, and how its processes ended."),
            ("circusctl --ssh ops@host restart web", "The same on another machine."),
            ("circusctl --json list | jq -r '.watchers[]'", "For scripts."),
        ],
    ),
    ("SEE ALSO", &[("", "circus-top(1), circus-plugin(1), circusd(1), papa-kernel(1)")]),
];

#[cfg(feature = "top")]
const CIRCUS_TOP: &[Section] = &[
    ("KEYS", crate::top::input::HELP),
    (
        "EXIT STATUS",
        &[
            ("0", "The user has quit, or the look was printed."),
            ("1", "There is no terminal, no endpoint of that form, or nothing is published there."),
            ("2", "There is no such option."),
            ("128 + N", "Signal N has ended it. The terminal is given back in any case."),
        ],
    ),
    (
        "ENVIRONMENT",
        &[("CIRCUSCTL_ENDPOINT", "Where circusd answers, if --circusd does not say it.")],
    ),
    (
        "EXAMPLES",
        &[
            ("circus-top", "What the watchers of the circusd on this machine use."),
            ("circus-top --ssh ops@host --tree", "The same on another machine, with children."),
            ("circus-top --json | jq '.watchers.web.summary.cpu'", "For scripts."),
        ],
    ),
    (
        "NOTES",
        &[("", "circusd publishes statistics when [circus] in its ini file has statsd = True.")],
    ),
    ("SEE ALSO", &[("", "circusctl(1), circusd-stats(1), circusd(1)")]),
];

#[cfg(feature = "stats")]
const CIRCUSD_STATS: &[Section] = &[
    (
        "EXIT STATUS",
        &[
            ("0", "The circusd that has started it has ended."),
            ("1", "An endpoint cannot be used, ssh failed, or the log cannot be opened."),
            ("2", "There is no such option."),
        ],
    ),
    (
        "NOTES",
        &[(
            "",
            "circusd runs it by itself, as the watcher circusd-stats, when [circus] in its ini file has \
             statsd = True. It measures only while somebody subscribes.",
        )],
    ),
    ("SEE ALSO", &[("", "circus-top(1), circusd(1)")]),
];

#[cfg(feature = "plugins")]
const CIRCUS_PLUGIN: &[Section] = &[
    (
        "EXIT STATUS",
        &[
            ("0", "It was told to end, or the circusd that has started it has ended."),
            ("1", "An option of the plugin is wrong, it cannot start, or ssh failed."),
            ("2", "There is no such option."),
        ],
    ),
    (
        "ENVIRONMENT",
        &[("CIRCUS_PYTHON", "The Python for classes in Python, in place of python3 or python.")],
    ),
    (
        "EXAMPLES",
        &[(
            "circus-plugin --config 'loop_rate:5:::port:8125' circus.plugins.statsd.FullStats",
            "The built-in plugin FullStats beside the circusd on this machine.",
        )],
    ),
    ("NOTES", &[("", "circusd runs it by itself for each [plugin:NAME] in its ini file.")]),
    ("SEE ALSO", &[("", "circusctl(1), circusd(1)")]),
];
