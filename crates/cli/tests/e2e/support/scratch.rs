//! A new database in a server of the tests.

use std::net::{SocketAddr, ToSocketAddrs};

use postroad_transport::testing::Proxy;

use super::sql::Sql;

/// A server of databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Server {
    Postgres,
    Mariadb,
}

impl Server {
    const ALL: [Self; 2] = [Self::Postgres, Self::Mariadb];

    /// All, or the one that `POSTROAD_TEST_DATABASE` names.
    pub(crate) fn wanted() -> Vec<Self> {
        let Ok(name) = std::env::var("POSTROAD_TEST_DATABASE") else { return Self::ALL.to_vec() };
        let named: Vec<_> = Self::ALL
            .into_iter()
            .filter(|server| format!("{server:?}").eq_ignore_ascii_case(&name))
            .collect();
        assert!(!named.is_empty(), "POSTROAD_TEST_DATABASE is `{name}`, not postgres or mariadb");
        named
    }

    fn url(self) -> String {
        let variable = match self {
            Self::Postgres => "POSTROAD_TEST_POSTGRES_URL",
            Self::Mariadb => "POSTROAD_TEST_MARIADB_URL",
        };
        std::env::var(variable).unwrap_or_else(|_| panic!("{variable} names a {self:?}"))
    }
}

pub(crate) struct Scratch {
    server: Server,
    admin: Sql,
    /// `postgres://user:password`
    user: String,
    /// `host:port`
    address: String,
    name: String,
}

impl Scratch {
    pub(crate) async fn create(server: Server, tag: &str) -> Self {
        let url = server.url();
        let (place, _) = url.rsplit_once('/').expect("the URL ends in a database's name");
        let (user, address) = place.rsplit_once('@').expect("the URL names a user");
        let (user, address) = (user.to_owned(), address.to_owned());
        let admin = Sql::connect(&url).await;
        let name = format!("postroad_{tag}");
        admin.execute(&format!("CREATE DATABASE {name}")).await;
        Self { server, admin, user, address, name }
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
        self.remove_with(sql, &[]).await;
    }

    /// And these roles with it.
    pub(crate) async fn remove_with(self, sql: Sql, roles: &[String]) {
        sql.close().await;
        let (force, role_is) = match self.server {
            Server::Postgres => (" WITH (FORCE)", "ROLE"),
            Server::Mariadb => ("", "USER"),
        };
        self.admin.execute(&format!("DROP DATABASE {}{force}", self.name)).await;
        for role in roles {
            self.admin.execute(&format!("DROP {role_is} {role}")).await;
        }
        self.admin.close().await;
    }

    /// The URL of the database for somebody else than its owner.
    pub(crate) fn url_of(&self, user: &str, password: &str) -> String {
        let (scheme, _) = self.user.split_once("://").expect("it is a URL");
        format!("{scheme}://{user}:{password}@{}/{}", self.address, self.name)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn url(&self, address: &str) -> String {
        format!("{}@{address}/{}", self.user, self.name)
    }
}

/// Shown where a test fails.
pub(crate) fn tell(server: Server) {
    show(&format!("with {server:?}"));
}

/// A line for whoever looks into the output of the test.
#[expect(clippy::print_stdout, reason = "it goes with the output of the test")]
pub(crate) fn show(line: &str) {
    println!("{line}");
}

pub(crate) fn resolve(address: &str) -> SocketAddr {
    address.to_socket_addrs().unwrap().next().expect("it has an address")
}
