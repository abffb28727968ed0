//! Servers that speak TLS and demand a certificate of the user `tls_user`.

mod mariadb;
mod postgres;

pub(crate) use mariadb::Mariadb;
pub(crate) use postgres::Postgres;
