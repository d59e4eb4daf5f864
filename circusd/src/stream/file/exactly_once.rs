//! A model of the whole way of output from a kernel that keeps it to files, with a circusd that dies at any
//! step of it: in the end every line stands in the files once, and those of each process in their order.

use super::super::batch::Chunk;
use super::super::ledger::{Channel, Ledger};
use super::super::sink::{ExactSink, Input};
use super::recovery;
use super::stream::FileStream;
use fastrand::Rng;
use indexmap::IndexMap;
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A process in the kernel.
#[derive(Default)]
struct Process {
    /// What it printed: which output, and the bytes.
    records: Vec<(Channel, Vec<u8>)>,
    /// Lines so far.
    lines: u64,
    /// What is left of the line that it is printing.
    rest: Vec<u8>,
    /// Records that were released, and bytes in them.
    released: (usize, u64),
    note: Vec<u8>,
}

/// The life of circusd ends here.
struct Died;

/// One of the files' arrangements.
#[derive(Clone, Copy)]
struct Plan {
    time_format: bool,
    /// Both outputs go to one file.
    one_file: bool,
    rotates: bool,
    /// All processes print the same line again and again.
    all_alike: bool,
}

impl Process {
    /// Prints a piece: whole lines, or in parts if that is told apart later.
    fn print(&mut self, number: usize, plan: Plan, rng: &mut Rng) {
        for _ in 0..rng.usize(1..4) {
            if self.rest.is_empty() {
                self.lines += 1;
                let filler = "x".repeat(rng.usize(0..30));
                self.rest = match plan.all_alike {
                    true => b"tick\n".to_vec(),
                    false => format!("{number} {} {filler}\n", self.lines).into_bytes(),
                };
            }
            let part =
                if plan.time_format { rng.usize(1..=self.rest.len()) } else { self.rest.len() };
            let data: Vec<u8> = self.rest.drain(..part).collect();
            // A line stays on one output.
            let channel = Channel::BOTH[(self.lines % 2) as usize];
            self.records.push((channel, data));
        }
    }

    fn acknowledge(&mut self, offset: u64, note: Vec<u8>) {
        while let Some((_, data)) = self.records.get(self.released.0) {
            let end = self.released.1 + data.len() as u64;
            if end > offset {
                break;
            }
            self.released = (self.released.0 + 1, end);
        }
        self.note = note;
    }
}

/// One circusd from its start to its death.
struct Life<'a> {
    rng: &'a mut Rng,
    plan: Plan,
    streams: [FileStream; 2],
    ledgers: Vec<Ledger>,
    /// Records that were sent to this circusd.
    sent: Vec<(usize, u64)>,
    again: Vec<[bool; 2]>,
    mortal: bool,
}

fn paths(directory: &Path, plan: Plan) -> [PathBuf; 2] {
    [directory.join("out.log"), directory.join(if plan.one_file { "out.log" } else { "err.log" })]
}

fn stream(path: &Path, plan: Plan) -> FileStream {
    let mut options = IndexMap::new();
    let mut set = |key: &str, value: &str| options.insert(key.to_owned(), value.to_owned());
    set("filename", path.to_str().unwrap());
    if plan.time_format {
        set("time_format", "T");
    }
    if plan.rotates {
        set("max_bytes", "300");
        set("backup_count", "10000");
    }
    FileStream::from_options(&options).unwrap()
}

impl<'a> Life<'a> {
    fn begin(kernel: &mut [Process], directory: &Path, plan: Plan, rng: &'a mut Rng) -> Self {
        let mut ledgers = Vec::new();
        for process in kernel.iter_mut() {
            let mut ledger = Ledger::from_note(&process.note).unwrap_or_default();
            if let Some((channel, intent)) = ledger.take_intent() {
                let outcome = recovery::settle(&intent).unwrap();
                assert_ne!(outcome, recovery::Outcome::Unknown);
                if outcome == recovery::Outcome::Written {
                    ledger.advance(channel, intent.mark, None);
                }
            }
            process.note = ledger.to_note();
            ledger.begin_at(process.released.1);
            ledgers.push(ledger);
        }
        let sent = kernel.iter().map(|process| process.released).collect();
        let streams = paths(directory, plan).map(|path| stream(&path, plan));
        let again = vec![[true; 2]; kernel.len()];
        Self { rng, plan, streams, ledgers, sent, again, mortal: true }
    }

    /// Dies, now and then.
    fn risk(&mut self) -> Result<(), Died> {
        if self.mortal && self.rng.u32(..40) == 0 { Err(Died) } else { Ok(()) }
    }

    /// The unsent records of a process, as pieces that are not dealt with yet.
    fn block(&mut self, kernel: &[Process], number: usize) -> ([Vec<Chunk>; 2], u64) {
        let mut chunks = [Vec::new(), Vec::new()];
        let (first, mut offset) = self.sent[number];
        let records = &kernel[number].records[first..];
        for (channel, data) in records {
            let written = self.ledgers[number].done(*channel).saturating_sub(offset);
            let written = (written as usize).min(data.len());
            if written < data.len() {
                let again = std::mem::take(&mut self.again[number][*channel as usize]);
                chunks[*channel as usize].push(Chunk {
                    pid: number as i32,
                    offset: offset + written as u64,
                    data: data[written..].to_vec(),
                    again,
                    ..Chunk::default()
                });
            }
            offset += data.len() as u64;
        }
        self.sent[number] = (first + records.len(), offset);
        (chunks, offset)
    }

    /// Takes a block of each of these processes, writes it and acknowledges it.
    fn turn(&mut self, kernel: &mut [Process], numbers: &[usize], ended: bool) -> Result<(), Died> {
        let mut blocks = Vec::new();
        for number in numbers {
            blocks.push((*number, self.block(kernel, *number)));
        }
        for channel in Channel::BOTH {
            let mut input = Vec::new();
            let mut ends = BTreeMap::new();
            for (number, (chunks, end)) in &mut blocks {
                let mut chunks = std::mem::take(&mut chunks[channel as usize]);
                if ended {
                    chunks.push(Chunk::end(*number as i32, *end));
                }
                if !chunks.is_empty() {
                    ends.insert(*number, (chunks.last().unwrap().end_offset(), *end));
                    input.push(Input { chunks, finish: false, batch: Some(*number as u64) });
                }
            }
            self.risk()?;
            self.streams[channel as usize].take_in(input, &[]);
            self.write(kernel, channel)?;
            for (number, (last, end)) in ends {
                // Nothing is held back, so nothing of this output lies before the end of the block.
                if self.ledgers[number].done(channel) >= last {
                    self.ledgers[number].advance(channel, end, None);
                }
            }
        }
        for (number, _) in blocks {
            self.risk()?;
            kernel[number]
                .acknowledge(self.ledgers[number].settled(), self.ledgers[number].to_note());
        }
        Ok(())
    }

    fn write(&mut self, kernel: &mut [Process], channel: Channel) -> Result<(), Died> {
        loop {
            let prepared = self.streams[channel as usize].prepare().unwrap();
            for progress in prepared.settled {
                self.ledgers[progress.batch as usize].advance(channel, progress.done, None);
            }
            if !prepared.ready {
                return Ok(());
            }
            for (batch, intent) in prepared.planned {
                self.risk()?;
                let ledger = &mut self.ledgers[batch as usize];
                let done = ledger.done(channel);
                ledger.advance(channel, done, Some(intent));
                kernel[batch as usize].note = ledger.to_note();
            }
            if self.risk().is_err() {
                // In the middle of the write.
                let stream = &mut self.streams[channel as usize];
                let length = stream.planned;
                let segments = stream.waiting.iter();
                let bytes: Vec<u8> = segments
                    .flat_map(|segment| &segment.text.bytes[segment.written..])
                    .copied()
                    .collect();
                let torn = &bytes[..self.rng.usize(..=length)];
                let path = stream.file.lock().path().to_owned();
                OpenOptions::new().append(true).open(path).unwrap().write_all(torn).unwrap();
                return Err(Died);
            }
            let (progress, result) = self.streams[channel as usize].commit();
            result.unwrap();
            self.risk()?;
            for progress in progress {
                self.ledgers[progress.batch as usize].advance(channel, progress.done, None);
            }
        }
    }

    fn live(mut self, kernel: &mut [Process]) -> Result<(), Died> {
        for _ in 0..self.rng.usize(1..60) {
            for (number, process) in kernel.iter_mut().enumerate() {
                if self.rng.bool() {
                    process.print(number, self.plan, self.rng);
                }
            }
            let mut numbers: Vec<usize> = (0..kernel.len()).collect();
            self.rng.shuffle(&mut numbers);
            numbers.truncate(self.rng.usize(1..=kernel.len()));
            self.turn(kernel, &numbers, false)?;
        }
        Ok(())
    }
}

/// The lines of a file and of what it was rotated to, the oldest first.
fn lines(path: &Path) -> Vec<String> {
    let mut files: Vec<(u32, PathBuf)> = Vec::new();
    let name = path.file_name().unwrap().to_str().unwrap();
    for entry in fs::read_dir(path.parent().unwrap()).unwrap() {
        let entry = entry.unwrap();
        let found = entry.file_name().into_string().unwrap();
        let number = match found.strip_prefix(name).map(|rest| rest.trim_start_matches('.')) {
            Some("") => 0,
            Some(number) => number.parse().unwrap(),
            None => continue,
        };
        files.push((number, entry.path()));
    }
    files.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    let text: String = files.iter().map(|(_, path)| fs::read_to_string(path).unwrap()).collect();
    text.lines()
        .map(|line| line.rsplit_once("| ").map_or(line, |(_, line)| line).to_owned())
        .collect()
}

fn run(seed: u64, plan: Plan) {
    let mut rng = Rng::with_seed(seed);
    let directory = tempfile::tempdir().unwrap();
    let mut kernel: Vec<Process> = (0..3).map(|_| Process::default()).collect();
    for _ in 0..12 {
        let life = Life::begin(&mut kernel, directory.path(), plan, &mut rng);
        let _: Result<(), Died> = life.live(&mut kernel);
    }
    // The last one lives to see the end of all.
    for process in &mut kernel {
        let rest = std::mem::take(&mut process.rest);
        let channel = Channel::BOTH[(process.lines % 2) as usize];
        process.records.push((channel, rest));
    }
    let mut last = Life::begin(&mut kernel, directory.path(), plan, &mut rng);
    last.mortal = false;
    assert!(last.turn(&mut kernel, &[0, 1, 2], true).is_ok());

    let [out, err] = paths(directory.path(), plan);
    let mut found = lines(&out);
    if !plan.one_file {
        found.extend(lines(&err));
    }
    let printed: u64 = kernel.iter().map(|process| process.lines).sum();
    assert_eq!(found.len() as u64, printed, "seed {seed}: {found:#?}");
    if plan.all_alike {
        assert!(found.iter().all(|line| line == "tick"), "seed {seed}");
        return;
    }
    for (number, process) in kernel.iter().enumerate() {
        // Odd lines go to the one output, even ones to the other; the order holds within each.
        for parity in [0, 1] {
            let of_process = |line: &&String| line.starts_with(&format!("{number} "));
            let number_of = |line: &String| line.split(' ').nth(1).unwrap().parse::<u64>().unwrap();
            let all = found.iter().filter(of_process).map(number_of);
            let own: Vec<u64> = all.filter(|line| line % 2 == parity).collect();
            let expected: Vec<u64> =
                (1..=process.lines).filter(|line| line % 2 == parity).collect();
            assert_eq!(own, expected, "seed {seed}, process {number}");
        }
    }
}

fn run_all(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        for bits in 0..16u32 {
            let bit = |number: u32| bits >> number & 1 == 1;
            let plan =
                Plan { time_format: bit(0), one_file: bit(1), rotates: bit(2), all_alike: bit(3) };
            run(seed, plan);
        }
    }
}

#[test]
fn every_line_stands_in_the_files_once_whenever_circusd_dies() {
    run_all(0..8);
}

#[test]
#[ignore = "takes minutes"]
fn every_line_stands_in_the_files_once_whenever_circusd_dies_many_times() {
    run_all(100..1100);
}
