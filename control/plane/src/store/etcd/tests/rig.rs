//! Debian's etcd, started for a test: one member or three, each on a loopback address of its own.

use super::super::EtcdOptions;
use super::super::client::{Client, number};
use crate::store::tests::support::Folder;
use serde_json::{Value, json};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How long a cluster may take until it serves, on a busy machine.
const START_MAX: Duration = Duration::from_secs(40);

/// Members of a cluster that ends with the value.
pub(super) struct Cluster {
    members: Vec<Member>,
    scheme: &'static str,
    extra: Vec<String>,
    folder: Folder,
    initial: String,
}

struct Member {
    address: String,
    child: Option<Child>,
}

/// An address of its own for a member, which has the usual ports there: the whole of 127.0.0.0/8
/// is this machine.
pub(super) fn address() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let (pid, number) = (std::process::id(), NEXT.fetch_add(1, Relaxed) % 250 + 2);
    format!("127.{}.{}.{number}", pid / 250 % 250 + 2, pid % 250 + 2)
}

impl Cluster {
    /// Starts members that serve in the clear.
    pub(super) async fn start(count: usize, extra: &[&str]) -> Self {
        let addresses = (0..count).map(|_| address()).collect();
        let cluster = Self::launch(addresses, "http", extra);
        cluster.ready(&cluster.options()).await;
        cluster
    }

    /// Starts members with certificates; whoever calls waits until they are ready.
    pub(super) fn launch(addresses: Vec<String>, scheme: &'static str, extra: &[&str]) -> Self {
        let member = |address| Member { address, child: None };
        let members: Vec<_> = addresses.into_iter().map(member).collect();
        let name = |(at, member): (usize, &Member)| format!("m{at}=http://{}:2380", member.address);
        let initial = members.iter().enumerate().map(name).collect::<Vec<_>>().join(",");
        let extra = extra.iter().map(|text| (*text).to_owned()).collect();
        let count = members.len();
        let mut cluster = Self { members, scheme, extra, folder: Folder::new(), initial };
        (0..count).for_each(|at| cluster.run(at));
        cluster
    }

    /// Starts a member, or starts it again on what it kept.
    pub(super) fn run(&mut self, at: usize) {
        let address = self.members[at].address.clone();
        let (client, peer) =
            (format!("{}://{address}:2379", self.scheme), format!("http://{address}:2380"));
        // The member ends with this thread, even where that is killed.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "etcd", "--name", &format!("m{at}"), "--data-dir"])
            .arg(self.folder.file(&format!("m{at}")))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &self.initial, "--logger", "zap"])
            .args(["--heartbeat-interval", "100", "--election-timeout", "1000"])
            .args(&self.extra)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd: apt-get install etcd-server");
        self.members[at].child = Some(child);
    }

    /// Kills a member as a power cut would.
    pub(super) fn kill(&mut self, at: usize) {
        if let Some(mut child) = self.members[at].child.take() {
            child.kill().expect("killed");
            child.wait().expect("ended");
        }
    }

    /// How the store reaches it.
    pub(super) fn options(&self) -> EtcdOptions {
        let endpoint = |member: &Member| format!("{}://{}:2379", self.scheme, member.address);
        let endpoints = self.members.iter().map(endpoint).collect();
        EtcdOptions { endpoints, prefix: "/weir".to_owned(), ..EtcdOptions::default() }
    }

    /// Waits until every member that runs answers reads of the whole cluster.
    pub(super) async fn ready(&self, options: &EtcdOptions) {
        let begun = Instant::now();
        for (member, endpoint) in self.members.iter().zip(&options.endpoints) {
            if member.child.is_none() {
                continue;
            }
            let one = EtcdOptions { endpoints: vec![endpoint.clone()], ..options.clone() };
            let client = Client::new(&one).expect("options");
            let request = json!({"key": "AA=="});
            while client.call("test", "/v3/kv/range", &request).await.is_err() {
                assert!(begun.elapsed() < START_MAX, "{endpoint} does not serve");
            }
        }
    }

    /// Which member leads.
    pub(super) async fn leader(&self) -> usize {
        for at in 0..self.members.len() {
            let status = self.ask(at, "/v3/maintenance/status", &json!({})).await;
            let Some(header) = status.get("header") else { continue };
            if number(&status, "leader") == number(header, "member_id") {
                return at;
            }
        }
        panic!("no leader");
    }

    /// Asks one member.
    pub(super) async fn ask(&self, at: usize, path: &str, request: &Value) -> Value {
        let all = self.options();
        let one = EtcdOptions { endpoints: vec![all.endpoints[at].clone()], ..all };
        let client = Client::new(&one).expect("options");
        client.call("test", path, request).await.expect("an answer")
    }

    pub(super) fn members(&self) -> usize {
        self.members.len()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        (0..self.members.len()).for_each(|at| self.kill(at));
    }
}
