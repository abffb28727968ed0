//! A RabbitMQ of a test's own, which speaks TLS and nothing else.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use postroad_testbed::free_address;
use postroad_tls::testing::{Flaw, Identity, Pki, replace};
use tempfile::TempDir;

/// It is an Erlang machine that starts from nothing.
const SOON: Duration = Duration::from_mins(5);
/// It shares the machine with the test, so it does not wait for work by turning in circles.
const ERLANG: &str =
    "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none";

/// Stopped when this is dropped. It demands a client certificate, and knows the user `billing` by the password `secret` as
/// by a certificate of that name.
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    /// Where its certificate is.
    identity: Identity,
    ca: PathBuf,
    environment: Vec<(&'static str, String)>,
    children: Vec<Child>,
    _folder: TempDir,
}

impl Node {
    pub(crate) fn start(pki: &Pki) -> Self {
        let folder = TempDir::new().unwrap();
        let place = |name: &str| folder.path().join(name);
        let identity = Identity { cert: place("server.pem"), key: place("server.key") };
        pki.server(Flaw::None).replace(&identity);
        replace(&pki.ca(), &place("ca.pem"));
        let address = free_address();
        let text = |name: &str| place(name).display().to_string();
        fs::write(place("plugins"), "[rabbitmq_auth_mechanism_ssl].\n").unwrap();
        fs::write(place("nothing"), "").unwrap();
        fs::create_dir(place("conf.d")).unwrap();
        fs::write(place("rabbitmq.conf"), config(address, folder.path())).unwrap();
        let environment = vec![
            ("HOME", folder.path().display().to_string()),
            ("ERL_EPMD_PORT", free_address().port().to_string()),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
            ("RABBITMQ_NODENAME", format!("postroad-{}@localhost", address.port())),
            ("RABBITMQ_DIST_PORT", free_address().port().to_string()),
            ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", ERLANG.to_owned()),
            ("RABBITMQ_CONFIG_FILE", text("rabbitmq.conf")),
            ("RABBITMQ_MNESIA_BASE", text("mnesia")),
            ("RABBITMQ_LOG_BASE", text("log")),
            ("RABBITMQ_CONF_ENV_FILE", text("nothing")),
            ("RABBITMQ_CONFIG_FILES", text("conf.d")),
            ("RABBITMQ_ADVANCED_CONFIG_FILE", text("advanced.config")),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", text("plugins")),
            ("RUNNING_UNDER_SYSTEMD", "true".to_owned()),
        ];
        let ca = place("ca.pem");
        let mut node =
            Self { address, identity, ca, environment, children: Vec::new(), _folder: folder };
        node.run();
        node
    }

    fn run(&mut self) {
        // Ours, as the one that the server would start outlives it.
        let port = &self.environment.iter().find(|(name, _)| *name == "ERL_EPMD_PORT").unwrap().1;
        let mut epmd = Command::new("epmd");
        epmd.args(["-port", port, "-address", "127.0.0.1"]);
        let epmd = self.spawn(epmd);
        self.children.push(epmd);
        let server = self.spawn(Command::new(program("rabbitmq-server")));
        self.children.push(server);
        let deadline = Instant::now() + SOON;
        while TcpStream::connect(self.address).is_err() {
            for child in &mut self.children {
                assert!(child.try_wait().unwrap().is_none(), "RabbitMQ ended by itself");
            }
            assert!(Instant::now() < deadline, "RabbitMQ does not answer");
            std::thread::sleep(Duration::from_millis(100));
        }
        self.control(&["add_user", "billing", "secret"]);
        self.control(&["set_permissions", "billing", ".*", ".*", ".*"]);
    }

    /// From the next connection on it appears by this certificate, and trusts the clients of this authority.
    pub(crate) fn exchange(&self, pki: &Pki, flaw: Flaw) {
        pki.server(flaw).replace(&self.identity);
        replace(&pki.ca(), &self.ca);
        self.control(&["eval", "ssl:clear_pem_cache()."]);
    }

    /// Runs `rabbitmqctl`, which waits for the node where that is still starting.
    pub(crate) fn control(&self, arguments: &[&str]) {
        let mut control = Command::new(program("rabbitmqctl"));
        self.tell(&mut control).args(arguments);
        let output = control.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }

    fn spawn(&self, mut command: Command) -> Child {
        self.tell(&mut command).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn tell<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.envs(self.environment.iter().map(|(name, value)| (name, value)))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            // It may have ended before.
            child.kill().ok();
            child.wait().ok();
        }
    }
}

fn config(address: SocketAddr, folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "listeners.tcp = none\n\
         listeners.ssl.1 = {address}\n\
         ssl_options.cacertfile = {folder}/ca.pem\n\
         ssl_options.certfile = {folder}/server.pem\n\
         ssl_options.keyfile = {folder}/server.key\n\
         ssl_options.verify = verify_peer\n\
         ssl_options.fail_if_no_peer_cert = true\n\
         ssl_cert_login_from = common_name\n\
         auth_mechanisms.1 = PLAIN\n\
         auth_mechanisms.2 = EXTERNAL\n\
         disk_free_limit.absolute = 50MB\n"
    )
}

/// Debian's programs on the PATH are wrappers that change the user.
fn program(name: &str) -> PathBuf {
    let packaged = Path::new("/usr/lib/rabbitmq/bin").join(name);
    if packaged.is_file() { packaged } else { PathBuf::from(name) }
}
