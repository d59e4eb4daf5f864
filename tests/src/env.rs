//! One test's own world: a directory, endpoints, a kernel, and a mark on every process.

use crate::daemon::Daemon;
use crate::process;
use crate::program;
use crate::{KernelClient, PATIENCE, Python};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// Everything that one test starts lives here, and dies with it.
///
/// Nothing is shared with other tests, so tests run in parallel.
pub struct TestEnv {
    directory: TempDir,
    id: String,
    program: PathBuf,
    /// The program is the original, whose kernel cannot be moved away from the default port.
    original: bool,
    kernel: KernelAddress,
    circus: String,
}

/// Where the kernel of a test listens.
enum KernelAddress {
    Path(PathBuf),
    Port(u16),
}

impl TestEnv {
    /// A world for the circusd under test.
    #[expect(clippy::new_without_default, reason = "it makes a directory")]
    pub fn new() -> Self {
        Self::with(program::circusd(), program::another_circusd().is_some())
    }

    /// A world for circus 0.17.2 from PyPI, to compare with.
    pub fn of_the_original(python: &Python) -> Self {
        Self::with(python.program("circusd"), true)
    }

    fn with(program: PathBuf, original: bool) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let time = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}-{number}-{time}", std::process::id());
        // The id marks processes that run here with an environment that the ini file does not make.
        let prefix = format!("circus-{id}-");
        let directory = tempfile::Builder::new().prefix(&prefix).tempdir().expect("a directory");
        let kernel = KernelAddress::Path(directory.path().join("kernel"));
        Self { directory, id, program, original, kernel, circus: String::new() }
    }

    /// Lets the kernel listen on a port of its own, for clients that know nothing else.
    #[must_use]
    pub fn kernel_on_a_port(mut self) -> Self {
        self.kernel = KernelAddress::Port(free_port());
        self
    }

    /// Lets the original use a kernel of ours, which is started here on a port of its own.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn on_our_kernel(mut self, python: &Python) -> Self {
        let kernel = |port: u16| {
            let mut kernel = Command::new(program::built("papa-kernel"));
            kernel.args(["--daemonize", "-p", &port.to_string()]).env_clear();
            kernel.env(process::MARK, &self.id).output().expect("the kernel runs")
        };
        // Tests of another run may take the port in between.
        let ports = std::iter::repeat_with(free_port).take(20);
        let port = ports.map(|port| (port, kernel(port))).find(|(_, run)| run.status.success());
        let port = port.expect("one of the ports is free").0;
        self.kernel = KernelAddress::Port(port);
        self.program = self.original_circusd(python);
        self
    }

    /// Lets circusd, ours or the original, use the kernel of papa 1.0.6, which is started here on a port of
    /// its own.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn on_the_original_kernel(self, python: &Python) -> Self {
        let mut env = self.kernel_on_a_port();
        let port = env.kernel_port().expect("it was just chosen");
        // The client starts one when none answers.
        let script = format!("import papa\npapa.set_default_port({port})\npapa.Papa()\n");
        let mut client = Command::new(python.program("python"));
        client.args(["-c", &script]).env_clear().env(process::MARK, &env.id);
        client.stdin(Stdio::null()).stdout(Stdio::null());
        let started = client.stderr(Stdio::null()).status().expect("Python runs");
        assert!(started.success(), "papa 1.0.6 does not start");
        if env.original {
            env.program = env.original_circusd(python);
        }
        env
    }

    /// The same world under the other circusd: the original one where ours was, and the other way round.
    #[must_use]
    pub fn under_the_other_circusd(mut self, python: &Python) -> Self {
        self.original = !self.original;
        self.program =
            if self.original { self.original_circusd(python) } else { program::circusd() };
        self
    }

    /// A circusd 0.17.2 that uses the kernel at our port. It knows the default port only: this is where its
    /// client library keeps it.
    fn original_circusd(&self, python: &Python) -> PathBuf {
        let port = self.kernel_port().expect("a kernel on a port");
        let script = format!(
            "#!{}\nimport papa\npapa.set_default_port({port})\n\
             from circus.circusd import main\nmain()\n",
            python.program("python").display()
        );
        let program = self.path("circusd");
        std::fs::write(&program, script).expect("the directory is writable");
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("it is ours");
        program
    }

    /// Adds lines to the `[circus]` section.
    #[must_use]
    pub fn circus(mut self, lines: &str) -> Self {
        self.circus.push_str(lines);
        self.circus.push('\n');
        self
    }

    /// The original cannot be given a kernel of its own; a test that hosts workers says so and ends.
    pub fn has_no_kernel(&self) -> bool {
        if self.original {
            crate::python::say_skipped("hosted workers: circus 0.17.2 ignores papa_endpoint");
        }
        self.original
    }

    /// A path in the directory of this test.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The directory of this test, which is the working directory of circusd.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What marks the processes of this test.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// circusd's endpoint.
    pub fn endpoint(&self) -> String {
        format!("ipc://{}", self.path("endpoint").display())
    }

    /// circusd's event endpoint.
    pub fn pubsub_endpoint(&self) -> String {
        format!("ipc://{}", self.path("pubsub").display())
    }

    /// The kernel's port, if it has one.
    pub fn kernel_port(&self) -> Option<u16> {
        match self.kernel {
            KernelAddress::Port(port) => Some(port),
            KernelAddress::Path(_) => None,
        }
    }

    /// The kernel's unix socket, if it has one.
    pub fn kernel_path(&self) -> Option<&Path> {
        match &self.kernel {
            KernelAddress::Path(path) => Some(path),
            KernelAddress::Port(_) => None,
        }
    }

    /// Connects to the kernel.
    pub fn kernel(&self) -> KernelClient {
        match &self.kernel {
            KernelAddress::Path(path) => KernelClient::unix(path),
            KernelAddress::Port(port) => KernelClient::tcp(*port),
        }
    }

    /// Writes `circus.ini`: the endpoints of this test, the mark for workers, and these sections.
    pub fn write_ini(&self, sections: &str) -> PathBuf {
        let papa = match &self.kernel {
            _ if self.original => String::new(),
            KernelAddress::Path(path) => format!("papa_endpoint = ipc://{}\n", path.display()),
            KernelAddress::Port(port) => format!("papa_endpoint = tcp://127.0.0.1:{port}\n"),
        };
        let text = format!(
            "[circus]\nendpoint = {}\npubsub_endpoint = {}\nmulticast_endpoint =\n{papa}{}\n\
             [env]\n{} = {}\nPATH = $PATH\n\n{sections}\n",
            self.endpoint(),
            self.pubsub_endpoint(),
            self.circus,
            process::MARK,
            self.id
        );
        let path = self.path("circus.ini");
        std::fs::write(&path, text).expect("the directory is writable");
        path
    }

    /// Starts circusd with these sections and waits until it answers.
    pub fn start(&self, sections: &str) -> Daemon {
        self.write_ini(sections);
        self.start_again()
    }

    /// Starts circusd with the ini file as it is and waits until it answers.
    pub fn start_again(&self) -> Daemon {
        let daemon = self.spawn();
        daemon.wait_for_answer();
        daemon
    }

    /// The command that runs circusd with the ini file, in a clean environment with the mark.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg(self.path("circus.ini"))
            .current_dir(self.directory())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env(process::MARK, &self.id)
            .stdin(Stdio::null());
        command
    }

    /// Starts circusd with the ini file as it is.
    pub fn spawn(&self) -> Daemon {
        self.spawn_as(self.command())
    }

    /// The same with more in its environment.
    pub fn spawn_with(&self, variables: &[(&str, &str)]) -> Daemon {
        let mut command = self.command();
        command.envs(variables.iter().copied());
        self.spawn_as(command)
    }

    /// Starts circusd by a changed [`TestEnv::command`].
    pub fn spawn_as(&self, command: Command) -> Daemon {
        Daemon::spawn(command, self.endpoint(), self.pubsub_endpoint(), self.path("circusd.log"))
    }

    /// The pids of all processes that this test has started and that still run.
    pub fn processes(&self) -> Vec<i32> {
        process::marked(&self.id)
    }
}

impl Drop for TestEnv {
    fn drop(&mut self) {
        let left = process::kill_marked(&self.id, PATIENCE);
        // A second panic would abort and hide the first.
        if let (Err(pids), false) = (left, std::thread::panicking()) {
            panic!("these processes survive SIGKILL: {pids:?}");
        }
    }
}

/// A port that nobody used a moment ago, below those that the system gives to clients: one of them could be
/// taken by a connection of some other test before the daemon listens.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Tests of several processes begin at different places.
    let start = std::process::id().wrapping_mul(977);
    loop {
        let number = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        let port = 20_000 + u16::try_from(number).expect("a port");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
