//! The servers of a test run, wherever they come from, as the environment that the tests read.

use std::env;
use std::process::Command;

use anyhow::{Context, bail};

use crate::args::Brokers;
use crate::docker::{self, Compose};
use crate::servers::{Kind, Servers};

/// Servers that take clients. Those that were started for this are stopped when it is dropped.
#[derive(Debug)]
pub(crate) enum Running {
    Docker(Compose),
    Local(Servers),
    Given,
}

impl Running {
    pub(crate) fn start(brokers: Brokers, kinds: &[Kind]) -> anyhow::Result<Self> {
        match brokers {
            Brokers::Docker => Compose::start(kinds).map(Self::Docker),
            Brokers::Local => Servers::start(kinds).map(Self::Local),
            Brokers::Given => Ok(Self::Given),
        }
    }

    /// Hands the servers' URLs to a program.
    pub(crate) fn tell<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        match self {
            Self::Docker(compose) => command.envs(compose.urls()),
            Self::Local(servers) => command.envs(servers.urls()),
            Self::Given => command,
        }
    }
}

impl Brokers {
    /// The user's choice; else Docker where it can be used, else what is installed.
    pub(crate) fn or_detected(choice: Option<Self>) -> Self {
        choice
            .unwrap_or_else(|| if docker::compose().is_some() { Self::Docker } else { Self::Local })
    }

    /// `Err` where these servers cannot come from there, which is better said before minutes of compiling.
    pub(crate) fn check(self, kinds: &[Kind]) -> anyhow::Result<()> {
        match self {
            Self::Docker => docker::compose()
                .map(drop)
                .context("no Docker engine with Compose answers; try `--brokers local`"),
            Self::Local => kinds.iter().try_for_each(|kind| kind.check_installed()),
            Self::Given => check_given(kinds, |name| env::var_os(name).is_some()),
        }
    }
}

fn check_given(kinds: &[Kind], is_set: impl Fn(&str) -> bool) -> anyhow::Result<()> {
    let missing: Vec<_> = kinds
        .iter()
        .flat_map(|kind| kind.variables())
        .filter(|name| !is_set(name))
        .copied()
        .collect();
    if !missing.is_empty() {
        bail!(
            "`--brokers given` takes the servers' URLs from the environment; not set: {}",
            missing.join(", ")
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_missing_url_is_named() {
        let kinds = [Kind::Rabbitmq, Kind::Postgres, Kind::Mosquitto];
        let error =
            check_given(&kinds, |name| name == "POSTROAD_TEST_AMQP_URL").unwrap_err().to_string();
        assert!(
            error.ends_with(
                "not set: POSTROAD_TEST_RABBITMQ_MQTT_URL, POSTROAD_TEST_POSTGRES_URL, \
                 POSTROAD_TEST_MQTT_URL"
            ),
            "{error}"
        );
    }

    #[test]
    fn given_servers_with_their_urls_are_taken() {
        assert!(check_given(&[Kind::Rabbitmq], |_| true).is_ok());
    }
}
