//! How the user looks at the model: order, filter, what is open, what is selected. Pure.

use super::model::{Model, Process};
use super::rows::{self, Place};
use std::cmp::Ordering;

/// By what processes are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum SortKey {
    /// CPU, the busiest first.
    #[default]
    Cpu,
    /// Memory, the largest first.
    Mem,
    /// Age, the oldest first.
    Age,
    /// Pid, the lowest first.
    Pid,
}

impl SortKey {
    const ALL: [Self; 4] = [Self::Cpu, Self::Mem, Self::Age, Self::Pid];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "CPU",
            Self::Mem => "memory",
            Self::Age => "age",
            Self::Pid => "pid",
        }
    }

    fn next(self) -> Self {
        let at = Self::ALL.iter().position(|key| *key == self).unwrap_or(0);
        Self::ALL[(at + 1) % Self::ALL.len()]
    }
}

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// End.
    Quit,
    /// Stop until the shell brings us back.
    Suspend,
    /// Draw everything again.
    Redraw,
    /// Open or close the help.
    Help,
    /// Order by the next key.
    NextSort,
    /// Order by this.
    Sort(SortKey),
    /// Turn the order round.
    Reverse,
    /// Show or hide children.
    Tree,
    /// Show all processes of a watcher, or the first ten.
    All,
    /// Open or close the detail pane.
    Detail,
    /// Begin to type a filter.
    EditFilter,
    /// A character of the filter.
    Type(char),
    /// Take the last one back.
    Erase,
    /// The filter is complete.
    KeepFilter,
    /// Close what is open, else forget the filter.
    Escape,
    /// Move the selection by so many lines.
    Move(i32),
    /// To the first line.
    First,
    /// To the last.
    Last,
}

/// What the loop must do after an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Draw.
    Draw,
    /// Draw everything again.
    Redraw,
    /// Stop until the shell brings us back.
    Suspend,
    /// End.
    Quit,
}

/// The view.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// By what processes are ordered.
    pub sort: SortKey,
    /// The other way round.
    pub reverse: bool,
    /// Only watchers, processes and sockets in whose name, pid, program or address this stands.
    pub filter: String,
    /// The filter is being typed.
    pub editing: bool,
    /// Children are shown.
    pub tree: bool,
    /// All processes of a watcher are shown.
    pub all: bool,
    /// The help is open.
    pub help: bool,
    /// The detail pane is open.
    pub detail: bool,
    /// What is selected; none before the first move.
    pub selected: Option<Place>,
    /// The first line on the screen.
    pub offset: usize,
}

impl View {
    /// Takes an action; `height` is the number of lines for the list.
    pub fn take(&mut self, action: Action, model: &Model, height: usize) -> Outcome {
        match action {
            Action::Quit => return Outcome::Quit,
            Action::Suspend => return Outcome::Suspend,
            Action::Redraw => return Outcome::Redraw,
            Action::Help => self.help = !self.help,
            Action::NextSort => self.sort = self.sort.next(),
            Action::Sort(key) => self.sort = key,
            Action::Reverse => self.reverse = !self.reverse,
            Action::Tree => self.tree = !self.tree,
            Action::All => self.all = !self.all,
            Action::Detail => {
                self.detail = !self.detail;
                if self.selected.is_none() {
                    self.go(model, 0);
                }
            }
            Action::EditFilter => self.editing = true,
            Action::Type(character) => self.filter.push(character),
            Action::Erase => drop(self.filter.pop()),
            Action::KeepFilter => self.editing = false,
            Action::Escape => self.escape(),
            Action::Move(lines) => self.step(model, lines),
            Action::First => self.go(model, 0),
            Action::Last => self.go(model, usize::MAX),
        }
        self.keep_in_sight(model, height);
        Outcome::Draw
    }

    fn escape(&mut self) {
        if self.editing {
            self.editing = false;
            self.filter.clear();
        } else if self.help {
            self.help = false;
        } else if self.detail {
            self.detail = false;
        } else if self.filter.is_empty() {
            self.selected = None;
        } else {
            self.filter.clear();
        }
    }

    /// Sees to it that the selection is on the screen, and that the screen is not past the end.
    pub fn keep_in_sight(&mut self, model: &Model, height: usize) {
        let rows = rows::of(model, self);
        let height = height.max(1);
        let at = rows.iter().position(|row| row.place.is_some() && row.place == self.selected);
        if let Some(at) = at {
            // A watcher's first line is shown with its first process.
            let top = if at <= 2 { 0 } else { at };
            self.offset = self.offset.min(top).max((at + 1).saturating_sub(height));
        }
        self.offset = self.offset.min(rows.len().saturating_sub(height));
    }

    /// The name of the selected watcher.
    pub fn selected_watcher(&self) -> Option<&str> {
        match &self.selected {
            Some(Place::Watcher(name) | Place::Process(name, _)) => Some(name),
            Some(Place::Socket(_)) | None => None,
        }
    }

    fn step(&mut self, model: &Model, lines: i32) {
        let places = self.places(model);
        let at = places.iter().position(|place| Some(place) == self.selected.as_ref());
        let to = match at {
            None => 0,
            Some(at) => at.saturating_add_signed(isize::try_from(lines).unwrap_or(0)),
        };
        self.selected = places.get(to.min(places.len().saturating_sub(1))).cloned();
    }

    fn go(&mut self, model: &Model, to: usize) {
        let places = self.places(model);
        self.selected = places.get(to.min(places.len().saturating_sub(1))).cloned();
    }

    fn places(&self, model: &Model) -> Vec<Place> {
        rows::of(model, self).into_iter().filter_map(|row| row.place).collect()
    }

    /// The order of two processes.
    pub fn order(&self, a: &Process, b: &Process) -> Ordering {
        let figure = |x: Option<f64>, y: Option<f64>| {
            let unknown_last = f64::NEG_INFINITY;
            y.unwrap_or(unknown_last).total_cmp(&x.unwrap_or(unknown_last))
        };
        let by_key = match self.sort {
            SortKey::Cpu => figure(a.cpu, b.cpu).then(figure(a.mem, b.mem)),
            SortKey::Mem => figure(a.mem, b.mem).then(figure(a.cpu, b.cpu)),
            SortKey::Age => figure(a.age, b.age),
            SortKey::Pid => Ordering::Equal,
        };
        let order = by_key.then(a.pid.cmp(&b.pid));
        if self.reverse { order.reverse() } else { order }
    }

    /// The filter lets a text through.
    pub fn lets_through(&self, text: &str) -> bool {
        self.filter.is_empty() || text.to_lowercase().contains(&self.filter.to_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::tests::sample;
    use super::*;

    fn pids(model: &Model, view: &View) -> Vec<i32> {
        let mut processes: Vec<_> = model.watchers["burner"].processes.values().collect();
        processes.sort_by(|a, b| view.order(a, b));
        processes.into_iter().map(|process| process.pid).collect()
    }

    #[test]
    fn numbers_are_ordered_as_numbers() {
        let model = sample();
        let mut view = View::default();
        assert_eq!(pids(&model, &view), [14_924, 14_926], "13.00 stands above 9.00");
        view.take(Action::Reverse, &model, 10);
        assert_eq!(pids(&model, &view), [14_926, 14_924]);
        view.take(Action::Reverse, &model, 10);
        view.take(Action::Sort(SortKey::Pid), &model, 10);
        assert_eq!(pids(&model, &view), [14_924, 14_926]);
        view.take(Action::NextSort, &model, 10);
        assert_eq!(view.sort, SortKey::Cpu, "the keys go round");
    }

    #[test]
    fn the_selection_moves_over_what_is_shown_and_stays_on_the_screen() {
        let model = sample();
        let mut view = View::default();
        view.take(Action::Move(1), &model, 5);
        assert_eq!(view.selected, Some(Place::Watcher("burner".into())));
        view.take(Action::Move(1), &model, 5);
        assert_eq!(view.selected, Some(Place::Process("burner".into(), 14_924)));
        view.take(Action::Last, &model, 5);
        assert_eq!(view.selected, Some(Place::Socket(6)));
        let rows = rows::of(&model, &view);
        let at = rows.iter().position(|row| row.place == view.selected).unwrap();
        assert!((view.offset..view.offset + 5).contains(&at), "{} {at}", view.offset);
        view.take(Action::Move(-100), &model, 5);
        assert_eq!((view.offset, view.selected_watcher()), (0, Some("burner")));
    }

    #[test]
    fn escape_closes_one_thing_after_the_other() {
        let model = sample();
        let mut view = View::default();
        for action in [Action::EditFilter, Action::Type('b'), Action::Type('x'), Action::Erase] {
            view.take(action, &model, 10);
        }
        view.take(Action::KeepFilter, &model, 10);
        view.take(Action::Help, &model, 10);
        assert_eq!((view.filter.as_str(), view.editing, view.help), ("b", false, true));
        view.take(Action::Escape, &model, 10);
        assert_eq!((view.filter.as_str(), view.help), ("b", false));
        view.take(Action::Escape, &model, 10);
        assert_eq!(view, View { offset: view.offset, ..View::default() });
    }

    #[test]
    fn a_model_without_anything_can_be_looked_at() {
        let mut view = View::default();
        for action in [Action::Move(1), Action::Last, Action::Detail, Action::First, Action::Tree] {
            assert_eq!(view.take(action, &Model::default(), 0), Outcome::Draw);
        }
    }
}
