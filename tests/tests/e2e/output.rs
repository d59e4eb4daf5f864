//! Output that nobody takes: circusd's own stdout is not read.

use circus_e2e::process::Handle;
use circus_e2e::program::fixture;
use circus_e2e::{PATIENCE, TestEnv};
use std::io::Read;
use std::process::Stdio;

/// Waits for a child with a deadline.
fn end_of(mut child: std::process::Child) -> bool {
    let pid = i32::try_from(child.id()).expect("pids fit");
    let handle = Handle::open(pid).expect("not waited for yet");
    let ended = handle.wait(PATIENCE);
    let _ = child.kill();
    let _ = child.wait();
    ended
}

#[test]
fn a_stdout_that_nobody_reads_does_not_keep_circusd_from_ending() {
    let env = TestEnv::new();
    if env.has_no_kernel() {
        return;
    }
    for papa in ["False", "True"] {
        env.write_ini(&format!(
            "[watcher:printer]\ncmd = {}\nuse_papa = {papa}\n\
             stdout_stream.class = StdoutStream\n",
            fixture("flood")
        ));
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let child = env.command().stdout(writer).stderr(Stdio::null()).spawn().expect("starts");
        let mut one = [0; 1];
        (&reader).read_exact(&mut one).expect("the worker prints");
        let pid = i32::try_from(child.id()).expect("pids fit");
        Handle::open(pid).expect("it runs").terminate();
        assert!(end_of(child), "circusd does not end, use_papa = {papa}");
        drop(reader);
    }
}
