//! Three RabbitMQ nodes of a test's own, in one cluster.

use std::fmt::Write;
use std::fs::{self, File, Permissions};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::ports::free_address;
use super::rabbit::Url;
use super::wait::{until, until_in};

/// Debian's programs on the PATH are wrappers that change user and folder; the real ones are here.
const PROGRAMS: &str = "/usr/lib/rabbitmq/bin";
const NODES: usize = 3;
const USER: &str = "postroad";
const PASSWORD: &str = "postroad";
/// Three Erlang machines start at once.
const START: Duration = Duration::from_mins(2);
/// They share the machine with everything else of a test, so none waits for work by turning in circles.
const ERLANG: &str =
    "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none";

/// Every process of it is killed when this is dropped.
pub(crate) struct Cluster {
    folder: TempDir,
    epmd: Child,
    mapper: SocketAddr,
    nodes: Vec<Node>,
}

struct Node {
    name: String,
    address: SocketAddr,
    child: Child,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let cookie = folder.path().join(".erlang.cookie");
        fs::write(&cookie, "postroad").unwrap();
        fs::set_permissions(&cookie, Permissions::from_mode(0o400)).unwrap();
        let mapper = free_address();
        let mut epmd = Command::new("epmd");
        epmd.args(["-port", &mapper.port().to_string(), "-address", "127.0.0.1"]);
        let epmd = epmd.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut cluster = Self { folder, epmd, mapper, nodes: Vec::new() };
        until("epmd answers", async || TcpStream::connect(mapper).is_ok()).await;
        let addresses: Vec<_> = (0..NODES).map(|_| free_address()).collect();
        let names: Vec<_> = addresses.iter().map(|address| name(*address)).collect();
        for (address, name) in addresses.into_iter().zip(&names) {
            let child = cluster.spawn(name, address, &names);
            cluster.nodes.push(Node { name: name.clone(), address, child });
        }
        until_in(START, "the nodes have found each other", async || cluster.is_whole()).await;
        cluster
    }

    /// How to reach one of them.
    pub(crate) fn url(&self, node: usize) -> Url {
        let address = self.nodes[node].address;
        Url {
            host: address.ip().to_string(),
            port: address.port(),
            username: USER.to_owned(),
            password: PASSWORD.to_owned(),
            virtual_host: "/".to_owned(),
        }
    }

    /// All of them, as `host` of a config has it.
    pub(crate) fn hosts(&self) -> String {
        let hosts: Vec<_> = self.nodes.iter().map(|node| node.address.to_string()).collect();
        hosts.join(",")
    }

    /// Which node leads a quorum queue.
    pub(crate) fn leader(&self, queue: &str, ask: usize) -> Option<usize> {
        let queues = self.control(ask, &["--quiet", "list_queues", "name", "leader"])?;
        let (_, leader) = queues.lines().find_map(|line| {
            let (name, leader) = line.split_once('\t')?;
            (name == queue).then_some((name, leader.to_owned()))
        })?;
        self.nodes.iter().position(|node| node.name == leader)
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, node: usize) {
        let child = &mut self.nodes[node].child;
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn is_whole(&mut self) -> bool {
        for node in &mut self.nodes {
            let ended = node.child.try_wait().unwrap();
            assert!(
                ended.is_none(),
                "{} ended by itself: {}",
                node.name,
                log(&self.folder, &node.name)
            );
        }
        if !self.nodes.iter().all(|node| TcpStream::connect(node.address).is_ok()) {
            return false;
        }
        let running = self.control(0, &["eval", "length(rabbit_nodes:all_running())."]);
        running.is_some_and(|running| running.trim() == NODES.to_string())
    }

    fn spawn(&self, name: &str, address: SocketAddr, names: &[String]) -> Child {
        let home = self.folder.path().join(name);
        fs::create_dir(&home).unwrap();
        let mut config = format!(
            "listeners.tcp.1 = {address}\ndefault_user = {USER}\ndefault_pass = {PASSWORD}\n\
             log.console = true\ndisk_free_limit.absolute = 50MB\n\
             cluster_formation.peer_discovery_backend = classic_config\n\
             cluster_partition_handling = pause_minority\n"
        );
        for (number, name) in names.iter().enumerate() {
            writeln!(config, "cluster_formation.classic_config.nodes.{number} = {name}").unwrap();
        }
        fs::write(home.join("rabbitmq.conf"), config).unwrap();
        fs::write(home.join("nothing"), "").unwrap();
        fs::write(home.join("plugins"), "[].\n").unwrap();
        fs::create_dir(home.join("conf.d")).unwrap();
        let log = File::create(home.join("log")).unwrap();
        let mut server = self.command("rabbitmq-server", name);
        server
            .env("RABBITMQ_DIST_PORT", free_address().port().to_string())
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", ERLANG)
            .env("RABBITMQ_CONFIG_FILE", home.join("rabbitmq.conf"))
            .env("RABBITMQ_MNESIA_BASE", home.join("mnesia"))
            .env("RABBITMQ_LOG_BASE", home.join("logs"))
            .env("RABBITMQ_LOGS", "-")
            // Nothing of the machine's own RabbitMQ.
            .env("RABBITMQ_CONFIG_FILES", home.join("conf.d"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", home.join("advanced.config"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", home.join("plugins"))
            // The script replaces itself with the server, so that the process is the server.
            .env("RUNNING_UNDER_SYSTEMD", "true")
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        server.spawn().unwrap()
    }

    /// What `rabbitmqctl` says, asked at this node; `None` where it fails.
    fn control(&self, node: usize, arguments: &[&str]) -> Option<String> {
        let name = &self.nodes[node].name;
        let mut control = self.command("rabbitmqctl", name);
        let output = control.args(["-n", name]).args(arguments).output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    fn command(&self, program: &str, node: &str) -> Command {
        let packaged = Path::new(PROGRAMS).join(program);
        let program = if packaged.is_file() { packaged } else { PathBuf::from(program) };
        let mut command = Command::new(program);
        command
            .current_dir(&self.folder)
            .env("HOME", self.folder.path())
            .env("ERL_EPMD_PORT", self.mapper.port().to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODENAME", node)
            .env("RABBITMQ_CONF_ENV_FILE", self.folder.path().join(node).join("nothing"))
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            // It may have been killed before.
            node.child.kill().ok();
            node.child.wait().ok();
        }
        self.epmd.kill().ok();
        self.epmd.wait().ok();
    }
}

/// By its port, so that no two on the machine are named alike.
fn name(address: SocketAddr) -> String {
    format!("postroad-{}@localhost", address.port())
}

fn log(folder: &TempDir, node: &str) -> String {
    fs::read_to_string(folder.path().join(node).join("log")).unwrap_or_default()
}
