//! What an edge of the demo tells of itself, and who answers by it.

use super::HOST;
use super::api::POOLS;
use super::place::EdgeAt;
use crate::client;
use crate::demo::client::{Ask, Connection, Door};
use crate::demo::load::judge;
use crate::demo::tally::Second;
use core_model::ListenAddress;
use std::fmt::Write as _;

/// What an edge tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// The published generation in force.
    pub(super) generation: u64,
    /// Whether it follows a control plane.
    pub(super) connected: bool,
}

impl EdgeAt {
    /// Where its requests go.
    pub(super) fn door(&self) -> Door {
        Door { address: self.http, tls: None, host: HOST }
    }

    /// What it tells; none where it does not answer.
    pub(super) fn told(&self) -> Option<Told> {
        let reply = client::get(&ListenAddress::Tcp(self.admin), "/metrics").ok()?;
        Told::parse(std::str::from_utf8(&reply.body).ok()?)
    }

    /// The index of the origin that answers a request.
    ///
    /// # Errors
    /// What is wrong with the answer.
    pub(super) fn asked(&self) -> Result<usize, String> {
        let ask = Ask { method: "GET", target: "/who", body: None, fields: "", close: true };
        let reply = Connection::open(&self.door()).and_then(|mut open| open.ask(ask));
        judge(ask, &reply.map_err(|error| error.to_string())?)
    }
}

impl Told {
    fn parse(metrics: &str) -> Option<Self> {
        let value = |name: &str| {
            let found = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            found?.parse::<u64>().ok()
        };
        let generation = value("weir_control_generation")?;
        Some(Self { generation, connected: value("weir_control_connected")? == 1 })
    }
}

/// The line of progress: the share of each edge and its generation, and the share of each pool.
pub(super) fn line(second: &Second, edges: &[(&EdgeAt, Option<Told>)]) -> String {
    let mut middle = String::new();
    for (index, (edge, told)) in edges.iter().enumerate() {
        let count = second.by_door.get(index).copied().unwrap_or(0);
        let at = match told {
            None => "away".to_owned(),
            Some(Told { generation, connected: true }) => format!("g{generation}"),
            Some(Told { generation, connected: false }) => format!("g{generation} alone"),
        };
        // A string takes everything.
        let _ = write!(middle, " {} {:3}% {at:9}", edge.name, second.share(count));
    }
    for (name, origins) in POOLS {
        let count = origins.iter().filter_map(|index| second.by_origin.get(*index)).sum();
        let _ = write!(middle, " {name} {:3}%", second.share(count));
    }
    second.line(&middle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_tells_its_generation_and_whether_it_is_alone() {
        for (metrics, expect) in [
            (
                "# TYPE weir_control_generation gauge\nweir_control_generation 12\n\
                 weir_control_generation_of_something 3\nweir_control_connected 1\n",
                Some(Told { generation: 12, connected: true }),
            ),
            (
                "weir_control_connected 0\nweir_control_generation 0\n",
                Some(Told { generation: 0, connected: false }),
            ),
            ("weir_requests_total 1\n", None),
        ] {
            assert_eq!(Told::parse(metrics), expect, "{metrics}");
        }
    }
}
