//! A plugin of one's own: keeps a list of processes that have ended, with the state that their watcher was in.

use circusctl::plugin::circus::Circus;
use circusctl::plugin::event::Event;
use circusctl::plugin::interface::{Plugin, PluginError};
use circusctl::plugin::options::{OptionError, Options};
use circusctl::plugin::program;
use serde_json::json;
use std::fs::File;
use std::io::Write;
use std::process::ExitCode;

struct Obituary {
    path: String,
    file: Option<File>,
}

impl Obituary {
    fn new(options: &Options) -> Result<Self, OptionError> {
        let path = options.required("path", "name the file")?;
        Ok(Self { path, file: None })
    }
}

impl Plugin for Obituary {
    fn start(&mut self, _circus: &mut Circus) -> Result<(), PluginError> {
        let file = File::options().append(true).create(true).open(&self.path);
        let file = file.map_err(|error| PluginError::new(format!("{}: {error}", self.path)))?;
        self.file = Some(file);
        Ok(())
    }

    fn event(&mut self, circus: &mut Circus, event: &Event) {
        let (Some(file), "reap", Some(pid)) = (&mut self.file, &*event.action, event.pid()) else {
            return;
        };
        let status = match circus.call("status", json!({"name": event.watcher})) {
            Ok(reply) => reply["status"].as_str().unwrap_or_default().to_owned(),
            Err(error) => error.to_string(),
        };
        if let Err(error) = writeln!(file, "{} {pid} {status}", event.watcher) {
            tracing::error!("{}: {error}", self.path);
        }
    }
}

fn main() -> ExitCode {
    program::run("obituary", "1.0", |options| Ok(Box::new(Obituary::new(options)?)))
}
