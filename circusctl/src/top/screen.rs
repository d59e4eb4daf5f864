//! The terminal: taken over at the start, given back in whatever way the program ends.

use super::draw::{self, Scene};
use crate::report::CommandError;
use ratatui::DefaultTerminal;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::execute;
use ratatui::layout::Rect;
use std::io;

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
        let terminal = ratatui::try_init().map_err(|error| {
            restore();
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
        self.terminal.clear()
    }
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
