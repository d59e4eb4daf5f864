//! The loop of circus-top: what comes from the feed, from circusd, from the keyboard and from signals, one
//! after the other, and a screen drawn when something has changed.
//!
//! Threads only wait: each turns its source into [`Input`] on one bounded channel. All state is here.

use super::circusd::{Details, Question};
use super::draw::{Areas, Scene};
use super::fault;
use super::feed::{Feed, Received};
use super::history::Symbols;
use super::input;
use super::model::{Counters, Link, Model};
use super::screen::Screen;
use super::view::{Outcome, View};
use super::waiter;
use crate::client::CallError;
use crate::report::CommandError;
use ratatui::crossterm::event::{self, Event};
use rustix::process::{Signal, getpid, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// Inputs that may wait. A full channel holds the threads back, and ZeroMQ then drops what is too much.
const WAITING: usize = 64;

/// The time between two looks at what has become silent.
const TICK: Duration = Duration::from_secs(1);

/// Messages of one round come in pieces; the screen is drawn once for them.
const SETTLE: Duration = Duration::from_millis(40);

/// Something to take in.
pub enum Input {
    /// From the feed.
    Feed(Received),
    /// What circusd counts, by the name of the watcher.
    Counters(BTreeMap<String, Counters>),
    /// The details of a watcher.
    Detail(String, Details),
    /// From the keyboard, or a new size.
    Terminal(Event),
    /// SIGTERM and the like.
    Signal(i32),
    /// A source has failed for good.
    Failed(CommandError),
}

/// What the loop is run with.
pub struct Settings {
    /// How it looks at the start.
    pub view: View,
    /// After so long without a message a process is not shown any more.
    pub patience: Duration,
    /// Where the feed is, for the user.
    pub endpoint: String,
    /// What lines are drawn with.
    pub symbols: Symbols,
}

/// The channel on which everything comes in.
pub fn inputs() -> (SyncSender<Input>, Receiver<Input>) {
    sync_channel(WAITING)
}

/// Starts the thread that receives the feed.
pub fn follow(feed: Feed, inputs: SyncSender<Input>) {
    waiter::start(&inputs.clone(), move || {
        loop {
            fault::at("feed");
            let input = match feed.receive(TICK) {
                Ok(Received::Nothing) => continue,
                Ok(received) => Input::Feed(received),
                Err(error) => Input::Failed(error.into()),
            };
            let over = matches!(input, Input::Failed(_));
            if inputs.send(input).is_err() || over {
                return;
            }
        }
    });
}

/// Starts the threads for keyboard and signals.
fn listen(inputs: &SyncSender<Input>) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGHUP, SIGINT])?;
    let to_loop = inputs.clone();
    waiter::start(inputs, move || {
        for signal in signals.forever() {
            if to_loop.send(Input::Signal(signal)).is_err() {
                return;
            }
        }
    });
    let to_loop = inputs.clone();
    waiter::start(inputs, move || {
        loop {
            let input = match event::read() {
                Ok(event) => Input::Terminal(event),
                Err(error) => Input::Failed(gone(&error)),
            };
            let over = matches!(input, Input::Failed(_));
            if to_loop.send(input).is_err() || over {
                return;
            }
        }
    });
    Ok(())
}

/// Why the loop ended.
pub enum Ended {
    /// The user wanted it.
    Quit,
    /// A signal.
    Signal(i32),
}

/// Runs until the user quits. `questions` goes to the thread that asks circusd about the selected watcher.
///
/// # Errors
/// There is no terminal, or it has gone; the feed failed.
pub fn run(
    settings: Settings,
    inputs: &SyncSender<Input>,
    inbox: &Receiver<Input>,
    questions: Sender<Question>,
) -> Result<Ended, CommandError> {
    let screen = Screen::take()?;
    listen(inputs).map_err(|error| gone(&error))?;
    let mut top = Top {
        view: settings.view,
        patience: settings.patience,
        endpoint: settings.endpoint,
        symbols: settings.symbols,
        model: Model::default(),
        detail: Default::default(),
        screen,
        begin: Instant::now(),
        questions,
        asked: Question::default(),
    };
    top.run(inbox)
}

struct Top {
    view: View,
    patience: Duration,
    endpoint: String,
    symbols: Symbols,
    model: Model,
    /// Of which watcher, and what.
    detail: (String, Details),
    screen: Screen,
    begin: Instant,
    questions: Sender<Question>,
    asked: Question,
}

impl Top {
    fn run(&mut self, inbox: &Receiver<Input>) -> Result<Ended, CommandError> {
        self.draw()?;
        let mut due = Instant::now() + TICK;
        loop {
            match inbox.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(input) => {
                    let soon = Instant::now() + SETTLE;
                    match self.take(input)? {
                        Next::Draw => due = Instant::now(),
                        Next::DrawSoon => due = due.min(soon),
                        Next::End(ended) => return Ok(ended),
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.model.expire(self.begin.elapsed(), self.patience);
                    self.draw()?;
                    due = Instant::now() + TICK;
                }
                // The sender is held by `run`'s caller, so this does not happen.
                Err(RecvTimeoutError::Disconnected) => return Ok(Ended::Quit),
            }
        }
    }

    fn take(&mut self, input: Input) -> Result<Next, CommandError> {
        let now = self.begin.elapsed();
        match input {
            Input::Feed(Received::Messages(messages)) => {
                for (topic, payload) in messages {
                    self.model.take(&topic, &payload, now);
                }
                Ok(Next::DrawSoon)
            }
            Input::Feed(Received::Link(link)) => {
                if link == Link::Up {
                    // What was there before gets the time to be heard again.
                    self.model.heard_again(now);
                }
                self.model.link = link;
                Ok(Next::DrawSoon)
            }
            Input::Feed(Received::Nothing) => Ok(Next::DrawSoon),
            Input::Counters(counters) => {
                self.model.counters = counters;
                Ok(Next::DrawSoon)
            }
            Input::Detail(watcher, details) => {
                self.detail = (watcher, details);
                Ok(Next::DrawSoon)
            }
            Input::Terminal(event) => self.react(&event),
            Input::Signal(SIGINT) => Ok(Next::End(Ended::Quit)),
            Input::Signal(signal) => Ok(Next::End(Ended::Signal(signal))),
            Input::Failed(error) => Err(error),
        }
    }

    fn react(&mut self, event: &Event) -> Result<Next, CommandError> {
        let Some(action) = input::action(event, &self.view) else { return Ok(Next::DrawSoon) };
        let height = self.list_height()?;
        match self.view.take(action, &self.model, height) {
            Outcome::Draw => {}
            Outcome::Redraw => self.screen.clear().map_err(|error| gone(&error))?,
            Outcome::Suspend => self.suspend()?,
            Outcome::Quit => return Ok(Next::End(Ended::Quit)),
        }
        self.ask();
        Ok(Next::Draw)
    }

    /// Tells the thread that asks circusd what the details are about.
    fn ask(&mut self) {
        let watcher = self.view.selected_watcher().filter(|_| self.view.detail);
        let question = Question { watcher: watcher.map(str::to_owned) };
        if question != self.asked {
            self.asked = question.clone();
            // The thread lives as long as the channel.
            let _ = self.questions.send(question);
        }
    }

    fn list_height(&self) -> Result<usize, CommandError> {
        let area = self.screen.area().map_err(|error| gone(&error))?;
        Ok(Areas::of(area, &self.view).list.height.into())
    }

    fn draw(&mut self) -> Result<(), CommandError> {
        let height = self.list_height()?;
        self.view.keep_in_sight(&self.model, height);
        let (watcher, details) = &self.detail;
        let nothing = Details::default();
        let matches = self.view.selected_watcher() == Some(watcher.as_str());
        let scene = Scene {
            model: &self.model,
            view: &self.view,
            detail: if matches { details } else { &nothing },
            endpoint: &self.endpoint,
            symbols: self.symbols,
            now: self.begin.elapsed(),
        };
        fault::at("draw");
        self.screen.draw(&scene).map_err(|error| gone(&error))
    }

    /// Gives the terminal back, stops, and takes it over again when the shell lets us go on.
    fn suspend(&mut self) -> Result<(), CommandError> {
        // The old screen is dropped, which gives the terminal back a second time; that does no harm.
        let _ = ratatui::try_restore();
        let _ = kill_process(getpid(), Signal::STOP);
        self.screen = Screen::take()?;
        self.screen.clear().map_err(|error| gone(&error))
    }
}

/// What the loop does after an input.
enum Next {
    /// Draw at once: somebody has pressed a key.
    Draw,
    /// Draw when no more comes.
    DrawSoon,
    End(Ended),
}

fn gone(error: &io::Error) -> CommandError {
    CommandError::local("the terminal cannot be used any more").cause(error.to_string())
}

impl From<CallError> for Input {
    fn from(error: CallError) -> Self {
        Self::Failed(error.into())
    }
}
