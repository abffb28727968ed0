//! For how long a subscriber without a connection hands out what is in the spool.

use std::time::Duration;

use postroad_tls::bare_host;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// No shorter and no longer in any case.
const SHORTEST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(10);
/// Between two looks whether a broker is there, and for one of them.
const LOOK: Duration = Duration::from_secs(1);

/// Ends when it is time to try for a connection again, or when it is dropped.
pub(crate) struct Drain(JoinHandle<()>);

impl Drain {
    /// Until one of the hosts takes connections, but for two seconds and for as long as the attempt took that failed: otherwise a
    /// broker that gets no further, or what takes connections in its place, would leave no time for the spool.
    pub(crate) fn until_back(hosts: Vec<(String, u16)>, took: Duration) -> Self {
        Self::lasting(async move {
            sleep(took.max(SHORTEST)).await;
            while !any_answers(&hosts).await {
                sleep(LOOK).await;
            }
        })
    }

    /// For as long as that may take: a connection would be of no use sooner.
    pub(crate) fn whole() -> Self {
        Self::lasting(std::future::pending())
    }

    fn lasting(time: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(async {
            // Either way it is over.
            timeout(LONGEST, time).await.ok();
        }))
    }

    pub(crate) async fn over(&mut self) {
        // It cannot fail, and nobody aborts it before it is dropped.
        (&mut self.0).await.ok();
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn any_answers(hosts: &[(String, u16)]) -> bool {
    for (host, port) in hosts {
        let connect = TcpStream::connect((bare_host(host), *port));
        if matches!(timeout(LOOK, connect).await, Ok(Ok(_))) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test]
    async fn it_ends_when_a_host_answers_and_there_was_time_enough() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let hosts = vec![("127.0.0.1".to_owned(), 1), ("127.0.0.1".to_owned(), port)];
        let began = Instant::now();
        Drain::until_back(hosts, Duration::ZERO).over().await;
        let time = began.elapsed();
        assert!(time >= SHORTEST && time < LONGEST / 2, "{time:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_in_any_case() {
        let began = Instant::now();
        Drain::whole().over().await;
        assert_eq!(began.elapsed(), LONGEST);
    }
}
