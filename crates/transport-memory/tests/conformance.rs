//! The embedded broker keeps the promises of a transport.

use postroad_transport::testing::{BINDINGS, PREFETCH, Rig};
use postroad_transport_memory::{Broker, MemorySettings, MemoryTransport};

const QUEUE: &str = "suite";

struct MemoryRig {
    broker: Broker,
    transport: MemoryTransport,
}

async fn rig() -> MemoryRig {
    let broker = Broker::new();
    let settings = MemorySettings {
        queue: QUEUE.to_owned(),
        bindings: BINDINGS.map(str::to_owned).to_vec(),
        prefetch: PREFETCH,
        ..MemorySettings::default()
    };
    MemoryRig { transport: MemoryTransport::new(broker.clone(), settings), broker }
}

impl Rig for MemoryRig {
    type Transport = MemoryTransport;

    fn transport(&self) -> &MemoryTransport {
        &self.transport
    }

    async fn sever(&self) {
        self.broker.disconnect_all();
    }

    async fn depth(&self) -> usize {
        self.broker.depth(QUEUE)
    }

    async fn clean_up(self) {}
}

postroad_transport::conformance! { rig }
