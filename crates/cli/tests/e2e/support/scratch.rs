//! A new database in the PostgreSQL of the tests.

use std::net::{SocketAddr, ToSocketAddrs};

use postroad_transport::testing::Proxy;

use super::sql::Sql;

pub(crate) struct Scratch {
    admin: Sql,
    /// `postgres://user:password`
    user: String,
    /// `host:port`
    address: String,
    name: String,
}

impl Scratch {
    pub(crate) async fn create(tag: &str) -> Self {
        let url = std::env::var("POSTROAD_TEST_POSTGRES_URL")
            .expect("POSTROAD_TEST_POSTGRES_URL names a PostgreSQL");
        let (server, _) = url.rsplit_once('/').expect("the URL ends in a database's name");
        let (user, address) = server.rsplit_once('@').expect("the URL names a user");
        let (user, address) = (user.to_owned(), address.to_owned());
        let admin = Sql::connect(&url).await;
        let name = format!("postroad_{tag}");
        admin.execute(&format!("CREATE DATABASE {name}")).await;
        Self { admin, user, address, name }
    }

    /// A connection that nothing disturbs.
    pub(crate) async fn sql(&self) -> Sql {
        Sql::connect(&self.url(&self.address)).await
    }

    /// A network before it that breaks on demand, and the URL that leads through it.
    pub(crate) async fn behind_proxy(&self) -> (Proxy, String) {
        let proxy = Proxy::start(resolve(&self.address)).await.unwrap();
        let url = self.url(&proxy.addr().to_string());
        (proxy, url)
    }

    pub(crate) async fn remove(self, sql: Sql) {
        sql.close().await;
        self.admin.execute(&format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
        self.admin.close().await;
    }

    fn url(&self, address: &str) -> String {
        format!("{}@{address}/{}", self.user, self.name)
    }
}

pub(crate) fn resolve(address: &str) -> SocketAddr {
    address.to_socket_addrs().unwrap().next().expect("it has an address")
}
