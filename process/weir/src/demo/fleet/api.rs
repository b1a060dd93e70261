//! Calls of the API, as any client makes them, and the objects that the demo makes by them.

use super::HOST;
use crate::demo::client::{Ask, Connection, Door};
use crate::demo::origins::Origin;
use anyhow::{Context, bail};
use serde_json::{Value, json};
use std::sync::Arc;

/// The zone.
pub(super) const ZONE: &str = "example.test";
/// The pools, and the indices of their origins.
pub(super) const POOLS: [(&str, &[usize]); 2] = [("blue", &[0, 1]), ("green", &[2])];

/// The API of one control plane.
#[derive(Clone, Debug)]
pub(super) struct Api {
    pub(super) door: Door,
    pub(super) token: String,
}

/// What is there once the demo has begun.
#[derive(Clone, Debug)]
pub(super) struct Objects {
    pub(super) account: String,
    pub(super) zone: String,
    /// Ids, in the order of [`POOLS`].
    pub(super) pools: Vec<String>,
}

impl Api {
    /// What `CLOUDFLARE_BASE_URL` is.
    pub(super) fn base_url(&self) -> String {
        let scheme = if self.door.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}/client/v4", self.door.address)
    }

    /// One call; gives its `result`.
    ///
    /// # Errors
    /// It cannot be reached, or it refuses: with its own words.
    pub(super) fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let target = format!("/client/v4{path}");
        let fields =
            format!("Authorization: Bearer {}\r\nContent-Type: application/json\r\n", self.token);
        let body = body.map(Value::to_string);
        let body = body.as_ref().map(String::as_bytes);
        let ask = Ask { method, target: &target, body, fields: &fields, close: true };
        let what = || format!("{method} {path}");
        let reply = Connection::open(&self.door).and_then(|mut open| open.ask(ask));
        let reply = reply.with_context(what)?;
        let mut answer: Value = serde_json::from_slice(&reply.body).with_context(what)?;
        match answer.get_mut("result") {
            Some(result) if reply.status == 200 => Ok(result.take()),
            _ => bail!("{method} {path}: {} {}", reply.status, answer["errors"]),
        }
    }

    /// As [`Api::call`]; gives the id of the result.
    fn make(&self, path: &str, body: &Value) -> anyhow::Result<String> {
        id(&self.call("POST", path, Some(body))?)
    }

    /// Makes a zone, a monitor, two pools and a load balancer.
    pub(super) fn objects(&self, origins: &[Arc<Origin>]) -> anyhow::Result<Objects> {
        let accounts = self.call("GET", "/accounts", None)?;
        let account = id(accounts.get(0).unwrap_or(&Value::Null))?;
        let zone = json!({"name": ZONE, "account": {"id": account}});
        let zone = self.make("/zones", &zone)?;
        let folder = format!("/accounts/{account}/load_balancers");
        let monitor = json!({
            "type": "http", "path": "/health", "interval": 10, "timeout": 1, "retries": 1,
            "expected_codes": "200", "description": "the demo's origins",
        });
        let monitor = self.make(&format!("{folder}/monitors"), &monitor)?;
        let mut pools = Vec::new();
        for (name, members) in POOLS {
            let members = members.iter().filter_map(|index| origins.get(*index));
            let members: Vec<_> = members.map(|origin| origin_body(origin)).collect();
            let body = json!({"name": name, "origins": members, "monitor": monitor});
            pools.push(self.make(&format!("{folder}/pools"), &body)?);
        }
        let balancer = json!({"name": HOST, "default_pools": pools, "fallback_pool": pools.last()});
        self.make(&format!("/zones/{zone}/load_balancers"), &balancer)?;
        Ok(Objects { account, zone, pools })
    }
}

fn origin_body(origin: &Origin) -> Value {
    let address = origin.address;
    json!({"name": origin.name, "address": address.ip().to_string(), "port": address.port()})
}

fn id(object: &Value) -> anyhow::Result<String> {
    let id = object["id"].as_str().map(str::to_owned);
    id.with_context(|| format!("an object without an id: {object}"))
}
