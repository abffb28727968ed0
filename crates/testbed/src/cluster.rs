//! Three RabbitMQ nodes of a test's own, in one cluster.

use std::fmt::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::amqp_url::Url;
use crate::ports::free_address;
use crate::rabbitmq::{Home, Rabbitmq, name};

const NODES: usize = 3;
/// Three Erlang machines start from nothing at once.
const START: Duration = Duration::from_mins(4);
/// So often are they started before a test gives up, as nodes that begin together may miss each other.
const STARTS: u32 = 3;
/// Between two looks, each of which is an Erlang machine of its own.
const LOOK: Duration = Duration::from_secs(1);

/// Every process of it is killed when this is dropped.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Rabbitmq>,
}

impl Cluster {
    /// Waits until they have found each other.
    #[expect(clippy::print_stderr, reason = "whoever reads the test has to know")]
    pub async fn start() -> Self {
        for start in 1..=STARTS {
            let mut cluster = Self::prepare().await;
            cluster.nodes.iter_mut().for_each(Rabbitmq::spawn);
            let began = Instant::now();
            while began.elapsed() < START {
                if cluster.is_whole() {
                    return cluster;
                }
                tokio::time::sleep(LOOK).await;
            }
            eprintln!("the nodes have not found each other after start {start}");
        }
        panic!("the nodes did not find each other in {STARTS} starts");
    }

    /// Everything but the nodes' processes.
    async fn prepare() -> Self {
        let home = Home::open().await;
        let addresses: Vec<_> = (0..NODES).map(|_| free_address()).collect();
        let mut lines = "cluster_formation.peer_discovery_backend = classic_config\n\
             cluster_partition_handling = pause_minority\n"
            .to_owned();
        for (number, address) in addresses.iter().enumerate() {
            let name = name(*address);
            writeln!(lines, "cluster_formation.classic_config.nodes.{number} = {name}").unwrap();
        }
        let prepare = |address| Rabbitmq::prepare(home.clone(), address, &lines);
        Self { nodes: addresses.into_iter().map(prepare).collect() }
    }

    /// How to reach one of them.
    pub fn url(&self, node: usize) -> Url {
        self.nodes[node].url()
    }

    /// All of them, as `host` of a config has it.
    pub fn hosts(&self) -> String {
        let hosts: Vec<_> = self.nodes.iter().map(|node| node.address.to_string()).collect();
        hosts.join(",")
    }

    /// Which node leads a quorum queue.
    pub fn leader(&self, queue: &str, ask: usize) -> Option<usize> {
        let queues = self.nodes[ask].control(&["--quiet", "list_queues", "name", "leader"])?;
        let (_, leader) = queues.lines().find_map(|line| {
            let (name, leader) = line.split_once('\t')?;
            (name == queue).then_some((name, leader.to_owned()))
        })?;
        self.nodes.iter().position(|node| node.name == leader)
    }

    /// SIGKILL.
    pub fn kill(&mut self, node: usize) {
        self.nodes[node].kill();
    }

    fn is_whole(&mut self) -> bool {
        self.nodes.iter_mut().for_each(Rabbitmq::check);
        if !self.nodes.iter().all(|node| TcpStream::connect(node.address).is_ok()) {
            return false;
        }
        let running = self.nodes[0].control(&["eval", "length(rabbit_nodes:all_running())."]);
        running.is_some_and(|running| running.trim() == NODES.to_string())
    }
}
