//! Databases by TLS: who is trusted, who is not, and what is said then.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod tls_servers;

use std::path::Path;
use std::time::{Duration, Instant};

use postroad_store::{Database, connect};
use postroad_tls::testing::{Flaw, Identity, Pki, replace};

use tls_servers::{Mariadb, Postgres};

/// A server whose certificate can be exchanged while it runs.
trait Server {
    /// The URL of the only user there is, whom a certificate is demanded of.
    fn url(&self) -> String;
    /// From the next connection on it appears by this certificate, and trusts the clients of this authority.
    async fn appear(&self, pki: &Pki, identity: &Identity);
    /// Ends the connections of that user.
    async fn disconnect(&self);
}

fn with_tls(server: &impl Server, ca: &Path, identity: Option<&Identity>) -> String {
    let url = format!("{}?ssl-ca={}", server.url(), ca.display());
    match identity {
        Some(Identity { cert, key }) => {
            format!("{url}&ssl-cert={}&ssl-key={}", cert.display(), key.display())
        }
        None => url,
    }
}

/// Why a new connection fails, with all its causes.
async fn failure(url: &str) -> String {
    let database = connect(url).await.unwrap();
    let error = database.ping().await.expect_err("it should not work");
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    assert!(!text.contains('\n'), "{text}");
    text
}

async fn fails(url: &str, part: &str) {
    let text = failure(url).await;
    assert!(text.contains(part), "no `{part}` in: {text}");
}

async fn until_it_answers(database: &Database) {
    let began = Instant::now();
    while let Err(error) = database.ping().await {
        assert!(began.elapsed() < Duration::from_secs(20), "{error:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn check(server: &impl Server) {
    let pki = Pki::new();
    let identity = pki.client("tls_user");
    let url = with_tls(server, &pki.ca(), Some(&identity));
    server.appear(&pki, &pki.server(Flaw::None)).await;
    let database = connect(&url).await.unwrap();
    database.ping().await.unwrap();

    fails(&with_tls(server, &pki.ca(), None), "certificate").await;
    let stranger = pki.stranger("tls_user");
    let refused = failure(&with_tls(server, &pki.ca(), Some(&stranger))).await;
    assert!(refused.contains("certificate") || refused.contains("TLS"), "{refused}");
    // Only who is verified is trusted, on this machine too once TLS is asked for.
    let (place, _) = url.split_once('?').unwrap();
    let unverified =
        format!("{place}?ssl-cert={}&ssl-key={}", identity.cert.display(), identity.key.display());
    fails(&unverified, "unknown authority").await;

    for (flaw, words) in Flaw::ALL {
        server.appear(&pki, &pki.server(flaw)).await;
        fails(&url, words).await;
    }

    // A new authority for both, while the URL stays what it is.
    let new = Pki::new();
    server.appear(&new, &new.server(Flaw::None)).await;
    fails(&url, "unknown authority").await;
    replace(&new.ca(), &pki.ca());
    new.client("tls_user").replace(&identity);
    server.disconnect().await;
    until_it_answers(&database).await;
    database.close().await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run `cargo xtask itest`"]
async fn postgres_is_trusted_by_its_authority_and_its_name_and_by_nothing_less() {
    let server = Postgres::prepare().await;
    check(&server).await;
    server.restore().await;
}

#[tokio::test]
#[ignore = "needs MariaDB: run `cargo xtask itest`"]
async fn mariadb_is_trusted_by_its_authority_and_its_name_and_by_nothing_less() {
    let server = Mariadb::start().await;
    check(&server).await;
}

#[tokio::test]
#[ignore = "needs MariaDB: run `cargo xtask itest`"]
async fn a_database_without_tls_is_told_apart() {
    let url = std::env::var("POSTROAD_TEST_MARIADB_URL").expect("POSTROAD_TEST_MARIADB_URL is set");
    let pki = Pki::new();
    fails(&format!("{url}?ssl-ca={}", pki.ca().display()), "does not speak TLS").await;
}
