//! A RabbitMQ node of a test's own.

use std::fs::{self, OpenOptions, Permissions};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::amqp_url::Url;
use crate::ports::free_address;
use crate::process::Process;
use crate::wait::{POLL, until};

/// Debian's programs on the PATH are wrappers that change user and folder; the real ones are here.
const PROGRAMS: &str = "/usr/lib/rabbitmq/bin";
const USER: &str = "postroad";
const PASSWORD: &str = "postroad";
/// Lines of its log.
const SHOWN: usize = 15;
/// An Erlang machine starts from nothing, maybe beside others.
const START: Duration = Duration::from_mins(2);
/// So often is it started before a test gives up: one in many hundred starts after SIGKILL never answers.
const STARTS: u32 = 3;
/// It shares the machine with everything else of a test, so it does not wait for work by turning in circles.
const ERLANG: &str =
    "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none";

/// Where nodes that may know each other live: one folder, one port mapper.
#[derive(Debug)]
pub(crate) struct Home {
    folder: PathBuf,
    temporary: Option<TempDir>,
    mapper: SocketAddr,
    _epmd: Process,
}

impl Home {
    pub(crate) async fn open() -> Arc<Self> {
        let folder = TempDir::new().unwrap();
        let mut home = Self::open_in(folder.path()).await;
        home.temporary = Some(folder);
        Arc::new(home)
    }

    async fn open_in(folder: &Path) -> Self {
        let cookie = folder.join(".erlang.cookie");
        fs::write(&cookie, "postroad").unwrap();
        fs::set_permissions(&cookie, Permissions::from_mode(0o400)).unwrap();
        let mapper = free_address();
        let mut epmd = Command::new("epmd");
        epmd.args(["-port", &mapper.port().to_string(), "-address", "127.0.0.1"]);
        epmd.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let epmd = Process::spawn(epmd);
        until("epmd answers", async || TcpStream::connect(mapper).is_ok()).await;
        Self { folder: folder.to_owned(), temporary: None, mapper, _epmd: epmd }
    }
}

/// One node. It is killed when this is dropped.
#[derive(Debug)]
pub struct Rabbitmq {
    /// As Erlang knows it.
    pub name: String,
    /// Where it speaks AMQP.
    pub address: SocketAddr,
    distribution: SocketAddr,
    process: Option<Process>,
    home: Arc<Home>,
}

impl Rabbitmq {
    /// Starts a node that stands alone.
    pub async fn start() -> Self {
        Self::start_with("").await
    }

    /// Starts a node that stands alone, in a folder that is there and empty, as on a small disk.
    pub async fn start_in(folder: &Path) -> Self {
        let mut node = Self::prepare(Arc::new(Home::open_in(folder).await), free_address(), "");
        node.run().await;
        node
    }

    /// With these lines more in its configuration.
    pub async fn start_with(lines: &str) -> Self {
        let address = free_address();
        let mut node = Self::prepare(Home::open().await, address, lines);
        node.run().await;
        node
    }

    /// Everything but the process.
    pub(crate) fn prepare(home: Arc<Home>, address: SocketAddr, lines: &str) -> Self {
        let node = Self {
            name: name(address),
            address,
            distribution: free_address(),
            process: None,
            home,
        };
        let folder = node.folder();
        fs::create_dir(&folder).unwrap();
        let config = format!(
            "listeners.tcp.1 = {address}\ndefault_user = {USER}\ndefault_pass = {PASSWORD}\n\
             log.console = true\ndisk_free_limit.absolute = 50MB\n{lines}"
        );
        fs::write(folder.join("rabbitmq.conf"), config).unwrap();
        fs::write(folder.join("nothing"), "").unwrap();
        fs::write(folder.join("plugins"), "[].\n").unwrap();
        fs::create_dir(folder.join("conf.d")).unwrap();
        node
    }

    /// Starts it, again where it was killed or stopped or ended by itself, at the same address and with what it had written.
    #[expect(clippy::print_stderr, reason = "whoever reads the test has to know")]
    pub async fn run(&mut self) {
        for start in 1..=STARTS {
            self.spawn();
            if self.answers().await {
                return;
            }
            eprintln!("RabbitMQ does not answer after start {start}: {}", tail(&self.log()));
            self.kill();
        }
        panic!("RabbitMQ did not answer after {STARTS} starts: {}", self.log());
    }

    /// Whether it takes connections before it ends or the time is over.
    async fn answers(&mut self) -> bool {
        let began = Instant::now();
        while began.elapsed() < START && self.runs() {
            if TcpStream::connect(self.address).is_ok() {
                return true;
            }
            tokio::time::sleep(POLL).await;
        }
        false
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder().join("log")).unwrap_or_default()
    }

    /// Starts it and waits for nothing.
    pub fn spawn(&mut self) {
        let folder = self.folder();
        let log = OpenOptions::new().create(true).append(true).open(folder.join("log")).unwrap();
        let mut server = self.command("rabbitmq-server");
        server
            .env("RABBITMQ_DIST_PORT", self.distribution.port().to_string())
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", ERLANG)
            .env("RABBITMQ_CONFIG_FILE", folder.join("rabbitmq.conf"))
            .env("RABBITMQ_MNESIA_BASE", folder.join("mnesia"))
            .env("RABBITMQ_LOG_BASE", folder.join("logs"))
            .env("RABBITMQ_LOGS", "-")
            // No dump where it ends by itself.
            .env("ERL_CRASH_DUMP_SECONDS", "0")
            // Nothing of the machine's own RabbitMQ.
            .env("RABBITMQ_CONFIG_FILES", folder.join("conf.d"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", folder.join("advanced.config"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join("plugins"))
            // The script replaces itself with the server, so that the process is the server.
            .env("RUNNING_UNDER_SYSTEMD", "true")
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.process = Some(Process::spawn(server));
    }

    /// Panics where it has ended by itself.
    pub fn check(&mut self) {
        let process = self.process.as_mut().expect("it was started");
        let runs = process.runs();
        assert!(runs, "{} ended by itself: {}", self.name, self.log());
    }

    /// Whether it was started and has not ended.
    pub fn runs(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::runs)
    }

    /// SIGKILL: it writes nothing any more.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// SIGTERM, and waits until it has ended in good order.
    pub async fn stop(&mut self) {
        self.process.take().expect("it runs").end("TERM").await;
    }

    /// SIGSTOP: its sockets stay open and nobody reads them.
    pub fn freeze(&self) {
        self.process.as_ref().expect("it runs").signal("STOP");
    }

    /// SIGCONT.
    pub fn go_on(&self) {
        self.process.as_ref().expect("it runs").signal("CONT");
    }

    /// How to reach it.
    pub fn url(&self) -> Url {
        Url {
            host: self.address.ip().to_string(),
            port: self.address.port(),
            username: USER.to_owned(),
            password: PASSWORD.to_owned(),
            virtual_host: "/".to_owned(),
        }
    }

    /// What `rabbitmqctl` says, asked at this node; `None` where it fails.
    pub fn control(&self, arguments: &[&str]) -> Option<String> {
        let mut control = self.command("rabbitmqctl");
        let output = control.args(["-n", &self.name]).args(arguments).output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    fn folder(&self) -> PathBuf {
        self.home.folder.join(&self.name)
    }

    fn command(&self, program: &str) -> Command {
        let packaged = Path::new(PROGRAMS).join(program);
        let program = if packaged.is_file() { packaged } else { PathBuf::from(program) };
        let mut command = Command::new(program);
        command
            .current_dir(&self.home.folder)
            .env("HOME", &self.home.folder)
            .env("ERL_EPMD_PORT", self.home.mapper.port().to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODENAME", &self.name)
            .env("RABBITMQ_CONF_ENV_FILE", self.folder().join("nothing"))
            .stdin(Stdio::null());
        command
    }
}

/// The last lines, on one.
fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(SHOWN)..].join(" | ")
}

/// By its port, so that no two on the machine are named alike.
pub(crate) fn name(address: SocketAddr) -> String {
    format!("postroad-{}@localhost", address.port())
}
