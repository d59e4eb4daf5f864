//! A file stream that says before each write what will be where.

use super::super::intent::{FileId, Intent, fingerprint};
use super::super::sink::{BatchId, ExactSink, Input, Prepared, Progress};
use super::log_file::LogFile;
use super::stream::{FileStream, Segment};
use std::io;

impl ExactSink for FileStream {
    fn take_in(&mut self, input: Vec<Input>, gone: &[BatchId]) {
        let is_gone = |segment: &Segment| segment.batch.is_some_and(|(id, _)| gone.contains(&id));
        self.waiting.retain(|segment| !is_gone(segment));
        for Input { chunks, finish, batch } in input {
            match batch {
                Some(batch) => {
                    let idle = self.take_batch(batch, &chunks, finish);
                    self.settled.extend(idle.map(|done| Progress { batch, done, complete: true }));
                }
                None => self.take(&chunks, finish),
            }
        }
    }

    fn prepare(&mut self) -> io::Result<Prepared> {
        let settled = std::mem::take(&mut self.settled);
        self.planned = 0;
        let ready = match self.begin() {
            Ok(ready) => ready,
            Err(error) => {
                self.settled = settled;
                return Err(error);
            }
        };
        let planned = self.plan(&self.file.lock());
        Ok(Prepared { settled, ready, planned })
    }

    fn commit(&mut self) -> (Vec<Progress>, io::Result<()>) {
        self.write_stretch()
    }
}

impl FileStream {
    /// What each batch will have where in the file, once what is planned is written.
    fn plan(&self, file: &LogFile) -> Vec<(BatchId, Intent)> {
        // What cannot be read again cannot be looked for after our death.
        let Some(id) = file.identity() else { return Vec::new() };
        let mut planned = Vec::new();
        let mut before = 0;
        for segment in &self.waiting {
            let part = segment.len().min(self.planned - before);
            if part == 0 {
                break;
            }
            if let Some((batch, _)) = segment.batch {
                planned.push((batch, intent(file, id, file.size() + before as u64, segment, part)));
            }
            before += part;
        }
        planned
    }
}

fn intent(file: &LogFile, id: FileId, offset: u64, segment: &Segment, part: usize) -> Intent {
    let bytes = segment.text.bytes.get(segment.written..segment.written + part);
    Intent {
        path: file.path().to_owned(),
        file: id,
        offset,
        length: part as u64,
        fingerprint: fingerprint(bytes.unwrap_or_default()),
        mark: segment.mark_after(part),
    }
}
