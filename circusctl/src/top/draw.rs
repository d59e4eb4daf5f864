//! Puts the list, the details and the help on the screen. Only reads; what is shown, `rows` has decided.

use super::circusd::Details;
use super::history::Symbols;
use super::input::HELP;
use super::model::{Link, Model};
use super::rows::{self, Cell, Columns, Content, Row};
use super::view::View;
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use std::time::Duration;

/// Lines above the list.
const HEAD: u16 = 2;

/// How long the screen waits for the first data before it shows an empty list.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// Everything that is on the screen.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// What was received.
    pub model: &'a Model,
    /// How it is looked at.
    pub view: &'a View,
    /// What the detail pane tells.
    pub detail: &'a Details,
    /// Where the data comes from.
    pub endpoint: &'a str,
    /// What lines are drawn with.
    pub symbols: Symbols,
    /// Since the start.
    pub now: Duration,
}

/// The areas of a screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Areas {
    /// The list.
    pub list: Rect,
    /// The details; empty when they are closed.
    pub detail: Rect,
    status: Rect,
}

impl Areas {
    /// Divides a screen.
    pub fn of(screen: Rect, view: &View) -> Self {
        let below = |y: u16| Rect { y: screen.y + y, ..screen };
        let status = screen.height.saturating_sub(1).max(HEAD);
        let room = status - HEAD;
        // The details get a third, and never so much that no list is left.
        let detail = if view.detail { (room / 3).max(room.min(6)).min(room / 2) } else { 0 };
        Self {
            list: Rect { height: room - detail, ..below(HEAD) },
            detail: Rect { height: detail, ..below(HEAD + room - detail) },
            status: Rect { height: 1, ..below(status) }.intersection(screen),
        }
    }
}

/// Draws the scene.
pub fn draw(frame: &mut Frame<'_>, scene: &Scene<'_>) {
    let screen = frame.area();
    let areas = Areas::of(screen, scene.view);
    let buffer = frame.buffer_mut();
    line(buffer, screen, 0, &[(0, "Circus Top".to_owned())], Style::new());
    if !scene.model.begun && scene.now < FIRST_WAIT {
        line(buffer, screen, 1, &[(0, "*** Waiting for data ***".to_owned())], Style::new());
    } else {
        rule(buffer, screen, 1);
        list(buffer, areas.list, scene);
    }
    if scene.view.detail {
        detail(buffer, areas.detail, scene);
    }
    status(buffer, areas.status, scene);
    if scene.view.help {
        help(buffer, screen);
    }
}

fn list(buffer: &mut Buffer, area: Rect, scene: &Scene<'_>) {
    let rows = rows::of(scene.model, scene.view);
    let columns = Columns::for_width(area.width);
    let shown = rows.iter().skip(scene.view.offset).take(area.height.into());
    let mut used = 0;
    for (row, y) in shown.zip(0..) {
        let cells = columns.cells(&row.content, scene.symbols);
        line(buffer, area, y, &cells, style(row, scene.view));
        used = y + 1;
    }
    // The end of the list, as the original marks it.
    if !rows.is_empty() && scene.view.offset + usize::from(used) == rows.len() && used < area.height
    {
        rule(buffer, area, used);
    }
}

fn style(row: &Row<'_>, view: &View) -> Style {
    let style = match &row.content {
        Content::Title(..) | Content::SocketTitle => Style::new().add_modifier(Modifier::BOLD),
        Content::Process(_, depth) if *depth > 0 => Style::new().add_modifier(Modifier::DIM),
        Content::More(_) => Style::new().add_modifier(Modifier::DIM),
        _ => Style::new(),
    };
    let selected = row.place.is_some() && row.place == view.selected;
    if selected { style.add_modifier(Modifier::REVERSED) } else { style }
}

fn detail(buffer: &mut Buffer, area: Rect, scene: &Scene<'_>) {
    if area.height == 0 {
        return;
    }
    rule(buffer, area, 0);
    let name = scene.view.selected_watcher().unwrap_or("nothing is selected");
    line(buffer, area, 0, &[(2, format!(" {name} "))], Style::new().add_modifier(Modifier::BOLD));
    let room = usize::from(area.height - 1);
    let Details { facts, output } = scene.detail;
    // The output gets what the facts leave, and at least half; its newest lines stand last.
    let shown = facts.len().min(room - output.len().min(room / 2));
    let skipped = output.len().saturating_sub(room - shown);
    let lines = facts.iter().take(shown).chain(output.iter().skip(skipped));
    for (text, y) in lines.zip(1..) {
        line(buffer, area, y, &[(0, text.clone())], Style::new());
    }
}

fn status(buffer: &mut Buffer, area: Rect, scene: &Scene<'_>) {
    let Scene { model, view, endpoint, .. } = scene;
    let reversed = Style::new().add_modifier(Modifier::REVERSED);
    if view.editing {
        line(buffer, area, 0, &[(0, format!("filter: {}_", view.filter))], reversed);
        return;
    }
    if model.link == Link::Away && scene.now >= FIRST_WAIT {
        let text = format!("no circusd-stats at {endpoint}; waiting for it");
        line(buffer, area, 0, &[(0, text)], reversed);
        return;
    }
    let order = if view.reverse { ", reversed" } else { "" };
    let mut text = format!("h help  q quit  s sort: {}{order}", view.sort.name());
    match view.filter.as_str() {
        "" => text.push_str("  / filter"),
        filter => text.push_str(&format!("  / filter: {filter}")),
    }
    for (is_on, word) in [(view.tree, "t tree"), (view.all, "a all")] {
        text.push_str(if is_on { "  [" } else { "  " });
        text.push_str(word);
        text.push_str(if is_on { "]" } else { "" });
    }
    text.push_str("  Enter details");
    line(buffer, area, 0, &[(0, text)], Style::new().add_modifier(Modifier::DIM));
}

fn help(buffer: &mut Buffer, screen: Rect) {
    let keys = HELP.iter().map(|(keys, _)| keys.len()).max().unwrap_or(0);
    let words = HELP.iter().map(|(_, words)| words.len()).max().unwrap_or(0);
    let (width, height) = (keys + words + 6, HELP.len() + 2);
    let size = |number: usize| u16::try_from(number).unwrap_or(u16::MAX);
    let area = Rect {
        x: screen.width.saturating_sub(size(width)) / 2,
        y: screen.height.saturating_sub(size(height)) / 2,
        width: size(width).min(screen.width),
        height: size(height).min(screen.height),
    };
    let reversed = Style::new().add_modifier(Modifier::REVERSED);
    for y in 0..area.height {
        line(buffer, area, y, &[(0, " ".repeat(width))], reversed);
    }
    for ((key, words), y) in HELP.iter().zip(1..) {
        line(buffer, area, y, &[(2, format!("{key:<keys$}  {words}"))], reversed);
    }
}

/// A line of dashes, one shorter than the area.
fn rule(buffer: &mut Buffer, area: Rect, y: u16) {
    let dashes = "-".repeat(usize::from(area.width.saturating_sub(1)));
    line(buffer, area, y, &[(0, dashes)], Style::new());
}

/// Writes cells on a line of the area, cut at its right edge. A style covers the whole line.
fn line(buffer: &mut Buffer, area: Rect, y: u16, cells: &[Cell], style: Style) {
    let row = Rect { y: area.y + y, height: 1, ..area }.intersection(buffer.area);
    if y >= area.height || row.is_empty() {
        return;
    }
    for (x, text) in cells.iter().filter(|(x, _)| *x < row.width) {
        buffer.set_stringn(row.x + x, row.y, text, usize::from(row.width - x), Style::new());
    }
    buffer.set_style(row, style);
}

#[cfg(test)]
mod tests {
    use super::super::model::tests::sample;
    use super::super::rows::Place;
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    /// The text of a screen, without blanks at the ends of lines.
    fn screen(width: u16, height: u16, model: &Model, view: &View, detail: &Details) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let now = Duration::from_secs(5);
        let endpoint = "tcp://127.0.0.1:5557";
        let scene = Scene { model, view, detail, endpoint, symbols: Symbols::Blocks, now };
        terminal.draw(|frame| draw(frame, &scene)).unwrap();
        let buffer = terminal.backend().buffer();
        let line = |y: u16| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        (0..height).map(|y| line(y).trim_end().to_owned() + "\n").collect()
    }

    /// Compares with a file of this folder; with UPDATE_SCREENS set it is written instead.
    fn compare(name: &str, screen: &str) {
        let path =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/top/screens").join(name);
        if std::env::var_os("UPDATE_SCREENS").is_some() {
            std::fs::write(&path, screen).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(screen, expected, "{}", path.display());
    }

    #[test]
    fn the_list_looks_as_recorded() {
        let view = View::default();
        compare("list-80x24.txt", &screen(80, 24, &sample(), &view, &Details::default()));
        let tree =
            View { tree: true, selected: Some(Place::Process("burner".into(), 14_926)), ..view };
        compare("tree-160x30.txt", &screen(160, 30, &sample(), &tree, &Details::default()));
    }

    #[test]
    fn a_narrow_screen_and_a_low_one_look_as_recorded() {
        compare(
            "list-30x12.txt",
            &screen(30, 12, &sample(), &View::default(), &Details::default()),
        );
    }

    #[test]
    fn details_and_help_look_as_recorded() {
        let view = View {
            detail: true,
            selected: Some(Place::Watcher("burner".into())),
            ..View::default()
        };
        let lines = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let lines = Details {
            facts: lines(&["burner: active, 2 of 2 running", "last exits:"]),
            output: lines(&["12:00:01 burner:1 out hello", "12:00:02 burner:1 err oh"]),
        };
        compare("detail-80x24.txt", &screen(80, 24, &sample(), &view, &lines));
        let help = View { help: true, ..View::default() };
        compare("help-80x24.txt", &screen(80, 24, &sample(), &help, &Details::default()));
    }

    #[test]
    fn a_lost_daemon_is_shown_and_the_last_figures_stay() {
        let mut model = sample();
        model.link = Link::Away;
        let text = screen(80, 24, &model, &View::default(), &Details::default());
        assert!(text.contains("no circusd-stats at tcp://127.0.0.1:5557; waiting"), "{text}");
        assert!(text.contains("14924"), "{text}");
    }

    #[test]
    fn before_the_first_data_the_original_words_are_shown() {
        let mut terminal = Terminal::new(TestBackend::new(40, 5)).unwrap();
        let (model, view) = (Model::default(), View::default());
        let scene = Scene {
            model: &model,
            view: &view,
            detail: &Details::default(),
            endpoint: "e",
            symbols: Symbols::Ascii,
            now: Duration::ZERO,
        };
        terminal.draw(|frame| draw(frame, &scene)).unwrap();
        let buffer = terminal.backend().buffer();
        let second = (0..40).map(|x| buffer[(x, 1)].symbol()).collect::<String>();
        assert_eq!(second.trim_end(), "*** Waiting for data ***");
    }

    #[test]
    fn no_size_of_screen_is_too_small() {
        let lines = vec!["a line".to_owned(); 50];
        let detail = Details { facts: lines.clone(), output: lines };
        for (width, height) in [(1, 1), (2, 3), (5, 2), (30, 5), (79, 7), (300, 100), (20, 4)] {
            for mask in 0..16 {
                let view = View {
                    tree: mask & 1 != 0,
                    detail: mask & 2 != 0,
                    help: mask & 4 != 0,
                    editing: mask & 8 != 0,
                    offset: mask,
                    ..View::default()
                };
                screen(width, height, &sample(), &view, &detail);
            }
        }
    }
}
