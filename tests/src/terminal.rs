//! A program at a terminal: what it shows, as a person would see it, and in what state it leaves the terminal.

use crate::PATIENCE;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command, ExitStatus};
use std::time::Instant;

/// A program that runs at a pseudo-terminal. Dropping it kills it.
pub struct Terminal {
    keyboard: File,
    /// Our own handle on the far side, so that its state can be read after the end of the program.
    far: File,
    screen: vt100::Parser,
    /// What came from the program, as it came, that nobody has waited for yet.
    printed: String,
    child: Child,
}

impl Terminal {
    /// Starts a program at a terminal of this size, in a session of its own as a shell would.
    pub fn start(program: Command, columns: u16, lines: u16) -> Self {
        let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC);
        let near: OwnedFd = near.expect("a pseudo-terminal");
        grantpt(&near).expect("it is ours");
        unlockpt(&near).expect("it is ours");
        let name = ptsname(&near, Vec::new()).expect("it has a name");
        let path = std::path::Path::new(std::ffi::OsStr::from_bytes(name.as_bytes()));
        let far = File::options().read(true).write(true).open(path).expect("the far side");
        let size = Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&far, size).expect("a size");
        // A terminal that we were started at ourselves must not come in between.
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(program.get_program()).args(program.get_args());
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let side = || far.try_clone().expect("a second handle");
        let child = command
            .env("TERM", "xterm-256color")
            .stdin(side())
            .stdout(side())
            .stderr(side())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let screen = vt100::Parser::new(lines, columns, 0);
        Self { keyboard: File::from(near), far, screen, printed: String::new(), child }
    }

    /// Gives the terminal another size, as a person does who pulls at the window.
    pub fn resize(&mut self, columns: u16, lines: u16) {
        let size = Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        self.screen.screen_mut().set_size(lines, columns);
        tcsetwinsize(&self.far, size).expect("a size");
    }

    /// What the screen shows now.
    pub fn shown(&self) -> String {
        self.screen.screen().contents()
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// Waits until the screen shows what is wanted.
    pub fn wait_for(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let shown = self.shown();
            if wanted(&shown) {
                return shown;
            }
            assert!(Instant::now() < deadline, "never shown: {what}; but:\n{shown}");
            self.read(deadline);
        }
    }

    /// Waits until this comes from the program, colours and all, and forgets everything up to it: for programs
    /// that print line after line.
    pub fn wait_for_print(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.printed.find(text) {
                self.printed.drain(..at + text.len());
                return;
            }
            assert!(Instant::now() < deadline, "{text:?} is not printed: {:?}", self.printed);
            self.read(deadline);
        }
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        let pid = i32::try_from(self.child.id()).expect("pids fit");
        crate::process::Handle::open(pid).expect("it runs").terminate();
    }

    /// Waits for the end of the program, reading what it still has to say.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        let pid = i32::try_from(self.child.id()).expect("pids fit");
        let handle =
            crate::process::Handle::open(pid).expect("a child stays until it is waited for");
        while !handle.wait(std::time::Duration::from_millis(20)) {
            assert!(Instant::now() < deadline, "it does not end:\n{}", self.shown());
            self.drain();
        }
        self.drain();
        self.child.wait().expect("it is our child")
    }

    /// The terminal is as a shell wants it: lines and echo, no second screen, a cursor.
    pub fn is_sane(&self) -> bool {
        let modes = tcgetattr(&self.far).expect("a terminal").local_modes;
        let screen = self.screen.screen();
        modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
            && !screen.alternate_screen()
            && !screen.hide_cursor()
    }

    fn read(&mut self, deadline: Instant) {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).expect("seconds fit");
        let ready = poll(&mut [PollFd::new(&self.keyboard, PollFlags::IN)], Some(&timeout));
        if ready.expect("poll") > 0 {
            let mut piece = [0; 65_536];
            let count = self.keyboard.read(&mut piece).expect("the far side is open");
            self.screen.process(&piece[..count]);
            self.printed.push_str(&String::from_utf8_lossy(&piece[..count]));
        }
    }

    fn drain(&mut self) {
        let now = Some(&Timespec { tv_sec: 0, tv_nsec: 0 });
        while poll(&mut [PollFd::new(&self.keyboard, PollFlags::IN)], now).expect("poll") > 0 {
            self.read(Instant::now());
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Both fail only when it was waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
