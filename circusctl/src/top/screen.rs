//! The terminal: taken over at the start, given back in whatever way the program ends.

use super::draw::{self, Scene};
use crate::report::CommandError;
use ratatui::DefaultTerminal;
use ratatui::backend::{Backend, ClearType, CrosstermBackend};
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, enable_raw_mode};
use ratatui::layout::Rect;
use std::sync::{Mutex, Once, PoisonError};
use std::{io, panic, thread};

/// The screen while the program draws on it. Dropping it gives the terminal back; a panic does, too.
pub struct Screen {
    terminal: DefaultTerminal,
}

impl Screen {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// Standard output is no terminal.
    pub fn take() -> Result<Self, CommandError> {
        report_panics();
        // Before that there is nothing to give back, and perhaps a file in place of a terminal.
        let taken = enable_raw_mode().and_then(|()| take_over().inspect_err(|_| restore()));
        let terminal = taken.map_err(|error| {
            CommandError::local("circus-top needs a terminal")
                .cause(error.to_string())
                .hint("--once prints one look, --json the same for programs")
        })?;
        Ok(Self { terminal })
    }

    /// Its size.
    ///
    /// # Errors
    /// The terminal has gone.
    pub fn area(&self) -> io::Result<Rect> {
        Ok(Rect::from((ratatui::layout::Position::ORIGIN, self.terminal.size()?)))
    }

    /// Draws the scene; only what has changed is sent.
    ///
    /// # Errors
    /// The terminal has gone.
    pub fn draw(&mut self, scene: &Scene<'_>) -> io::Result<()> {
        self.terminal.draw(|frame| draw::draw(frame, scene)).map(drop)
    }

    /// Everything is drawn anew the next time.
    ///
    /// # Errors
    /// The terminal has gone.
    pub fn clear(&mut self) -> io::Result<()> {
        // Not `Terminal::clear`: it asks the terminal where the cursor is, and the answer goes to the thread that
        // reads the keys. The screen is empty, and so are both buffers after the swap.
        self.terminal.backend_mut().clear_region(ClearType::All)?;
        self.terminal.swap_buffers();
        Ok(())
    }
}

fn take_over() -> io::Result<DefaultTerminal> {
    execute!(io::stdout(), EnterAlternateScreen)?;
    DefaultTerminal::new(CrosstermBackend::new(io::stdout()))
}

/// What a thread that does not draw has panicked with.
static LAST_PANIC: Mutex<String> = Mutex::new(String::new());

/// Lets a panic of the thread that draws, which is this one, give the terminal back before it is told. That of
/// another thread is kept for [`last_panic`]: it would be drawn over.
fn report_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let (usual, drawing) = (panic::take_hook(), thread::current().id());
        panic::set_hook(Box::new(move |what| {
            if thread::current().id() == drawing {
                restore();
                usual(what);
            } else {
                let text = what.to_string().replace('\n', " ");
                *LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner) = text;
            }
        }));
    });
}

/// What another thread has panicked with.
pub(super) fn last_panic() -> String {
    LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back; what fails is beyond repair.
fn restore() {
    let _ = ratatui::try_restore();
    let _ = execute!(io::stdout(), Show);
}
