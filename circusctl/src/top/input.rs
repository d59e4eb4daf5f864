//! Which key means what. Pure.

use super::view::{Action, SortKey, View};
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// The help, as keys and what they do.
pub const HELP: &[(&str, &str)] = &[
    ("q, Ctrl-C", "quit"),
    ("Up Down PgUp PgDn Home End, k j", "move"),
    ("Enter", "open or close the details of a watcher"),
    ("s", "order by CPU, memory, age, pid in turn"),
    ("C M A P", "order by CPU, memory, age, pid"),
    ("r", "turn the order round"),
    ("/", "filter by watcher, pid, program or address"),
    ("t", "show or hide the children of processes"),
    ("a", "show all processes of a watcher, or ten"),
    ("Esc", "close what is open; forget the filter"),
    ("Ctrl-L", "draw the screen again"),
    ("Ctrl-Z", "stop; fg comes back"),
    ("h, ?", "open or close this help"),
];

/// The lines of a page of movement.
const PAGE: i32 = 10;

/// What an event of the terminal asks for; none for what means nothing here.
pub fn action(event: &Event, view: &View) -> Option<Action> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => of_key(*key, view),
        Event::Resize(..) => Some(Action::Redraw),
        _ => None,
    }
}

fn of_key(key: KeyEvent, view: &View) -> Option<Action> {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c') => Some(Action::Quit),
            KeyCode::Char('z') => Some(Action::Suspend),
            KeyCode::Char('l') => Some(Action::Redraw),
            _ => None,
        };
    }
    if view.editing {
        return match key.code {
            KeyCode::Char(character) => Some(Action::Type(character)),
            KeyCode::Backspace => Some(Action::Erase),
            KeyCode::Enter => Some(Action::KeepFilter),
            KeyCode::Esc => Some(Action::Escape),
            _ => None,
        };
    }
    Some(match key.code {
        KeyCode::Char('q') => Action::Quit,
        KeyCode::Char('h' | '?') | KeyCode::F(1) => Action::Help,
        KeyCode::Char('s') => Action::NextSort,
        KeyCode::Char('C') => Action::Sort(SortKey::Cpu),
        KeyCode::Char('M') => Action::Sort(SortKey::Mem),
        KeyCode::Char('A') => Action::Sort(SortKey::Age),
        KeyCode::Char('P') => Action::Sort(SortKey::Pid),
        KeyCode::Char('r') => Action::Reverse,
        KeyCode::Char('t') => Action::Tree,
        KeyCode::Char('a') => Action::All,
        KeyCode::Char('/') => Action::EditFilter,
        KeyCode::Enter => Action::Detail,
        KeyCode::Esc => Action::Escape,
        KeyCode::Up | KeyCode::Char('k') => Action::Move(-1),
        KeyCode::Down | KeyCode::Char('j') => Action::Move(1),
        KeyCode::PageUp => Action::Move(-PAGE),
        KeyCode::PageDown => Action::Move(PAGE),
        KeyCode::Home => Action::First,
        KeyCode::End => Action::Last,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(code: KeyCode, modifiers: KeyModifiers, view: &View) -> Option<Action> {
        action(&Event::Key(KeyEvent::new(code, modifiers)), view)
    }

    #[test]
    fn letters_are_commands_unless_a_filter_is_typed() {
        let mut view = View::default();
        let none = KeyModifiers::NONE;
        assert_eq!(press(KeyCode::Char('q'), none, &view), Some(Action::Quit));
        view.editing = true;
        assert_eq!(press(KeyCode::Char('q'), none, &view), Some(Action::Type('q')));
        assert_eq!(press(KeyCode::Char('c'), KeyModifiers::CONTROL, &view), Some(Action::Quit));
        assert_eq!(press(KeyCode::F(7), none, &view), None);
    }
}
