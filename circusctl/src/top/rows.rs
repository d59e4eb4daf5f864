//! The lines of the list, made of model and view: what stands in which column, not how it looks. Pure.
//!
//! The columns are those of the original; a screen that is too narrow for them has closer ones, and a wide
//! one has more.

use super::history::Symbols;
use super::model::{Counters, Model, Process, Socket, Summary, Watcher};
use super::view::View;
use std::cmp::Reverse;

/// Processes of a watcher that are shown unless all are asked for.
pub const FIRST: usize = 10;

/// From this width on the columns are those of the original.
const ROOMY: u16 = 78;

/// From this width on there are more columns.
const WIDE: u16 = 120;

/// What a line is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A watcher.
    Watcher(String),
    /// A process of a watcher.
    Process(String, i32),
    /// A socket.
    Socket(i64),
}

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub struct Row<'a> {
    /// What can be selected there.
    pub place: Option<Place>,
    /// What stands there.
    pub content: Content<'a>,
}

/// What stands on a line.
#[derive(Debug, Clone, PartialEq)]
pub enum Content<'a> {
    /// A watcher with its pictures and counters.
    Title(&'a str, &'a Watcher, Option<&'a Counters>),
    /// The heads of the columns.
    Head,
    /// A process, or a child so many generations below one.
    Process(&'a Process, usize),
    /// So many processes are not shown.
    More(usize),
    /// The figures of all together.
    Total(Option<Summary>),
    /// The name of the block of sockets.
    SocketTitle,
    /// The heads of its columns.
    SocketHead,
    /// A socket.
    Socket(&'a Socket),
    /// The hits on all.
    SocketTotal(u64),
    /// Nothing.
    Blank,
}

/// A piece of text and the column at which it begins.
pub type Cell = (u16, String);

/// All lines that the view shows of the model, in the order of the watchers' names.
pub fn of<'a>(model: &'a Model, view: &View) -> Vec<Row<'a>> {
    let mut names: Vec<&str> = model.watchers.keys().map(String::as_str).collect();
    if model.reads.is_some() || !model.sockets.is_empty() {
        names.push("sockets");
    }
    names.sort_unstable();
    let mut rows = Vec::new();
    for name in names {
        match model.watchers.get(name) {
            Some(watcher) => of_watcher(&mut rows, name, watcher, model.counters.get(name), view),
            None => of_sockets(&mut rows, model, view),
        }
    }
    rows
}

fn of_watcher<'a>(
    rows: &mut Vec<Row<'a>>,
    name: &'a str,
    watcher: &'a Watcher,
    counters: Option<&'a Counters>,
    view: &View,
) {
    let whole = view.lets_through(name);
    let shown = |process: &&Process| {
        whole || view.lets_through(&process.pid.to_string()) || view.lets_through(&process.program)
    };
    let mut processes: Vec<&Process> = watcher.processes.values().filter(shown).collect();
    if !whole && processes.is_empty() {
        return;
    }
    processes.sort_by(|a, b| view.order(a, b));
    let limit = if view.all { usize::MAX } else { FIRST };
    let title = Content::Title(name, watcher, counters);
    rows.push(Row { place: Some(Place::Watcher(name.to_owned())), content: title });
    rows.push(plain(Content::Head));
    for process in processes.iter().take(limit) {
        let place = Place::Process(name.to_owned(), process.pid);
        rows.push(Row { place: Some(place), content: Content::Process(process, 0) });
        if view.tree {
            of_children(rows, process, 1, view);
        }
    }
    if processes.len() > limit {
        rows.push(plain(Content::More(processes.len() - limit)));
    }
    rows.push(plain(Content::Total(watcher.summary)));
    rows.push(plain(Content::Blank));
}

fn of_children<'a>(rows: &mut Vec<Row<'a>>, parent: &'a Process, depth: usize, view: &View) {
    let mut children: Vec<&Process> = parent.children.iter().collect();
    children.sort_by(|a, b| view.order(a, b));
    for child in children {
        rows.push(plain(Content::Process(child, depth)));
        of_children(rows, child, depth + 1, view);
    }
}

fn of_sockets<'a>(rows: &mut Vec<Row<'a>>, model: &'a Model, view: &View) {
    let whole = view.lets_through("sockets");
    let shown = |socket: &&Socket| whole || view.lets_through(&socket.address);
    let mut sockets: Vec<&Socket> = model.sockets.values().filter(shown).collect();
    if !whole && sockets.is_empty() {
        return;
    }
    sockets.sort_by_key(|socket| Reverse((socket.reads, &socket.address)));
    rows.push(plain(Content::SocketTitle));
    rows.push(plain(Content::SocketHead));
    for socket in sockets {
        let place = Some(Place::Socket(socket.fd));
        rows.push(Row { place, content: Content::Socket(socket) });
    }
    rows.push(plain(Content::SocketTotal(model.reads.unwrap_or(0))));
    rows.push(plain(Content::Blank));
}

fn plain(content: Content<'_>) -> Row<'_> {
    Row { place: None, content }
}

/// Where the columns begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Columns {
    cpu: u16,
    mem: u16,
    age: u16,
    /// The words after the figures of a total.
    words: bool,
    wide: bool,
}

impl Columns {
    /// The columns for a screen of this width.
    pub fn for_width(width: u16) -> Self {
        if width >= ROOMY {
            return Self { cpu: 28, mem: 48, age: 68, words: true, wide: width >= WIDE };
        }
        // The figures share what the pid leaves, down to a width at which only some of them fit.
        let step = (width.saturating_sub(10) / 3).clamp(7, 20);
        let cpu = width.saturating_sub(3 * step).clamp(9, 28);
        Self { cpu, mem: cpu + step, age: cpu + 2 * step, words: false, wide: false }
    }

    /// The cells of a line.
    pub fn cells(&self, content: &Content<'_>, symbols: Symbols) -> Vec<Cell> {
        match content {
            Content::Title(name, watcher, counters) => {
                self.title(name, watcher, *counters, symbols)
            }
            Content::Head => self.head(),
            Content::Process(process, depth) => self.process(process, *depth, symbols),
            Content::More(count) => vec![(2, format!("and {count} more (a shows all)"))],
            Content::Total(summary) => self.total(*summary),
            Content::SocketTitle => vec![(0, "sockets".to_owned())],
            Content::SocketHead => self.socket_head(),
            Content::Socket(socket) => self.socket(socket),
            Content::SocketTotal(reads) => vec![(self.cpu + 1, format!("{reads:>3} (sum)"))],
            Content::Blank => Vec::new(),
        }
    }

    fn title(
        &self,
        name: &str,
        watcher: &Watcher,
        counters: Option<&Counters>,
        symbols: Symbols,
    ) -> Vec<Cell> {
        let mut cells = vec![(0, cut(name, self.cpu))];
        let room = usize::from((self.mem - self.cpu).saturating_sub(2)).min(16);
        // Less than a tenth of a core, or a hundredth of the memory, is drawn small.
        cells.push((self.cpu + 1, watcher.cpu.bars(room, 10.0, symbols)));
        cells.push((self.mem + 1, watcher.mem.bars(room, 1.0, symbols)));
        cells.extend(counters.map(|counters| (self.age, self.counted(counters))));
        cells
    }

    /// What is worth a word: at most two in the original's width.
    fn counted(&self, counters: &Counters) -> String {
        let mut words = Vec::new();
        if counters.status != "active" {
            words.push(counters.status.clone());
        } else if let Some((running, wanted)) = counters.running.zip(counters.wanted)
            && (self.wide || running != wanted)
        {
            words.push(format!("{running}/{wanted}"));
        }
        match counters.restarts.values().sum::<u64>() {
            0 => {}
            1 => words.push("1 restart".to_owned()),
            many => words.push(format!("{many} restarts")),
        }
        if counters.dropped > 0 {
            words.push(format!("{} lost", size(counters.dropped)));
        }
        words.join("  ")
    }

    fn head(&self) -> Vec<Cell> {
        let mut cells = vec![(3, "PID".to_owned())];
        let names =
            if self.words { ["CPU (%)", "MEMORY (%)", "AGE (s)"] } else { ["CPU", "MEM", "AGE"] };
        cells.extend([self.cpu, self.mem, self.age].into_iter().zip(names.map(str::to_owned)));
        if self.wide {
            cells.extend(wide(["RSS", "TIME", "USER", "PROGRAM"].map(str::to_owned), 0));
        }
        cells
    }

    fn process(&self, process: &Process, depth: usize, symbols: Symbols) -> Vec<Cell> {
        let indent = u16::try_from(2 * depth).unwrap_or(u16::MAX).min(self.cpu.saturating_sub(10));
        let branch = if depth == 0 { "" } else { symbols.branch() };
        let pid = match &process.role {
            Some(role) => format!("{} ({role})", process.pid),
            None => format!("{branch}{}", process.pid),
        };
        let mut cells = vec![(2 + indent, cut(&pid, self.cpu.saturating_sub(2 + indent)))];
        let figures = [process.cpu, process.mem, process.age].map(decimal);
        cells.extend(
            [self.cpu, self.mem, self.age].map(|column| column + 1).into_iter().zip(figures),
        );
        if self.wide {
            let Process { rss, ctime, user, program, .. } = process.clone();
            cells.extend(wide([rss, ctime, user, program], depth));
        }
        cells
    }

    fn total(&self, summary: Option<Summary>) -> Vec<Cell> {
        let Some(Summary { cpu, mem, age }) = summary else { return Vec::new() };
        let words = if self.words { [" (avg)", " (sum)", " (older)"] } else { [""; 3] };
        let figures = [cpu, mem, age].map(decimal).into_iter().zip(words);
        let columns = [self.cpu, self.mem, self.age].map(|column| column + 1);
        let cells = columns.into_iter().zip(figures.map(|(figure, word)| figure + word));
        cells.collect()
    }

    fn socket_head(&self) -> Vec<Cell> {
        let mut cells = vec![(3, "ADDRESS".to_owned()), (self.cpu, "HITS".to_owned())];
        if self.words {
            cells.push((self.mem, "WAITING".to_owned()));
            cells.push((self.age, "CONNECTED".to_owned()));
        }
        cells
    }

    fn socket(&self, socket: &Socket) -> Vec<Cell> {
        let address = cut(&socket.address, self.cpu.saturating_sub(1));
        let mut cells = vec![(2, address), (self.cpu + 1, format!("{:>3}", socket.reads))];
        if self.words {
            let shown =
                |count: Option<u64>| count.map(|count| count.to_string()).unwrap_or_default();
            cells.push((self.mem + 1, shown(socket.backlog)));
            cells.push((self.age + 1, shown(socket.connections)));
        }
        cells
    }
}

/// The columns beyond those of the original.
fn wide(texts: [String; 4], depth: usize) -> impl Iterator<Item = Cell> {
    const BEGINS: [u16; 4] = [86, 96, 108, 120];
    let indent = "  ".repeat(depth);
    let [rss, time, user, program] = texts;
    let texts = [cut(&rss, 9), cut(&time, 11), cut(&user, 11), indent + &program];
    BEGINS.into_iter().zip(texts)
}

fn decimal(figure: Option<f64>) -> String {
    figure.map_or_else(|| "N/A".to_owned(), |number| format!("{number:.2}"))
}

/// The text, or as much of it as leaves a blank before the next column.
fn cut(text: &str, width: u16) -> String {
    let room = usize::from(width.saturating_sub(1));
    if text.chars().count() <= room {
        return text.to_owned();
    }
    text.chars().take(room.saturating_sub(1)).chain(['~']).collect()
}

/// Bytes for people, short.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "K", "M", "G", "T"];
    let (mut rest, mut unit) = (bytes, 0);
    while rest >= 10_240 && unit + 1 < UNITS.len() {
        rest /= 1024;
        unit += 1;
    }
    format!("{rest}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::super::model::tests::sample;
    use super::*;

    /// The lines as text, for a width.
    fn shown(model: &Model, view: &View, width: u16) -> Vec<String> {
        let columns = Columns::for_width(width);
        of(model, view)
            .iter()
            .map(|row| {
                let mut line = String::new();
                for (at, text) in columns.cells(&row.content, Symbols::Ascii) {
                    let used = line.chars().count();
                    line.push_str(&" ".repeat(usize::from(at).saturating_sub(used)));
                    line.push_str(&text);
                }
                line.trim_end().to_owned()
            })
            .collect()
    }

    #[test]
    fn the_columns_are_those_of_the_original() {
        let lines = shown(&sample(), &View::default(), 100);
        assert_eq!(
            lines[1],
            "   PID                      CPU (%)             MEMORY (%)          AGE (s)"
        );
        assert_eq!(
            lines[2],
            "  14924                      13.00               0.10                37.87"
        );
        assert_eq!(
            lines[4],
            "                             44.00 (avg)         0.20 (sum)          37.87 (older)"
        );
        assert_eq!(
            lines[8],
            "  7 (circusd)                0.00                0.10                N/A"
        );
        assert_eq!(
            lines[9],
            "                             N/A (avg)           0.10 (sum)          N/A (older)"
        );
        assert_eq!(lines[11], "sockets");
        assert_eq!(
            lines[13],
            "  127.0.0.1:8080               3                 1                   12"
        );
        assert_eq!(lines[14], "                               3 (sum)");
    }

    #[test]
    fn a_narrow_screen_keeps_pid_and_figures() {
        let lines = shown(&sample(), &View::default(), 30);
        assert_eq!(lines[1], "   PID   CPU    MEM    AGE");
        assert_eq!(lines[2], "  14924   13.00  0.10   37.87");
        for width in 0..200 {
            shown(&sample(), &View { tree: true, ..View::default() }, width);
        }
    }

    #[test]
    fn children_stand_below_their_parents_when_asked_for() {
        let view = View { tree: true, ..View::default() };
        let lines = shown(&sample(), &view, 80);
        assert!(lines[3].starts_with("    `-15024"), "{}", lines[3]);
        let wide = shown(&sample(), &view, 160);
        assert!(wide[2].ends_with("9.00M     0:03.10     web         python"), "{}", wide[2]);
        assert!(wide[3].ends_with("root          sh?[31m"), "{}", wide[3]);
    }

    #[test]
    fn ten_processes_are_shown_and_the_rest_is_counted() {
        let mut model = sample();
        let watcher = model.watchers.get_mut("burner").unwrap();
        for pid in 1..=14 {
            let mut process = Process::default();
            process.pid = pid;
            watcher.processes.insert(pid, process);
        }
        let lines = shown(&model, &View::default(), 80);
        assert_eq!(lines[12], "  and 6 more (a shows all)");
        let all = shown(&model, &View { all: true, ..View::default() }, 80);
        assert_eq!(all.len(), lines.len() + 6 - 1);
    }

    #[test]
    fn the_filter_finds_watchers_pids_programs_and_addresses() {
        let lines = |filter: &str| {
            let view = View { filter: filter.into(), ..View::default() };
            shown(&sample(), &view, 80).len()
        };
        assert_eq!(lines("BURN"), 6);
        assert_eq!(lines("14926"), 5);
        assert_eq!(lines("circusd"), 5);
        assert_eq!(lines("8080"), 5);
        assert_eq!(lines("nothing"), 0);
    }

    #[test]
    fn counters_say_what_is_not_as_it_should_be() {
        let roomy = Columns::for_width(80);
        let mut counters = Counters {
            status: "active".into(),
            running: Some(3),
            wanted: Some(3),
            ..Counters::default()
        };
        assert_eq!(roomy.counted(&counters), "");
        counters.restarts.extend([("signal".to_owned(), 1), ("exit".to_owned(), 2)]);
        counters.running = Some(2);
        counters.dropped = 3 << 20;
        assert_eq!(roomy.counted(&counters), "2/3  3 restarts  3072K lost");
        counters.status = "stopping".into();
        assert!(roomy.counted(&counters).starts_with("stopping"));
    }
}
