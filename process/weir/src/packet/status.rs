//! `weir packet status`, from the kernel alone, and `weir packet rules`, from the running weir.

use super::path::{interface, reasons};
use crate::client;
use anyhow::{Context, bail};
use core_model::ListenAddress;
use packet_loader::{Counters, Home, Tables};
use process_runtime::packets::{Amount, PacketInterface, ReasonCount, RuleCount};
use process_runtime::status::Status;
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;

/// What the kernel has under a name.
#[derive(Debug, Serialize)]
struct InKernel {
    name: String,
    generation: u64,
    /// Hash of the tables as they were published.
    table_hash: String,
    /// Hash of the tables as they are in memory.
    table_hash_found: String,
    interfaces: Vec<PacketInterface>,
    trafficsets: u32,
    buckets: u32,
    reasons: Vec<ReasonCount>,
}

/// `weir packet status`.
///
/// # Errors
/// Nothing is loaded under this name, or it cannot be read.
pub(super) fn status(name: &str, json: bool, all: bool) -> anyhow::Result<ExitCode> {
    let found = look(name)?;
    if json {
        println!("{}", serde_json::to_string_pretty(&found)?);
    } else {
        print(&found, all);
    }
    Ok(ExitCode::SUCCESS)
}

fn look(name: &str) -> anyhow::Result<InKernel> {
    let home = Home::at(Path::new(packet_loader::pins::ROOT), name)?;
    let tables = Tables::open(&home)?;
    let descriptor = tables.descriptor();
    let counts = Counters::open(&home)?.read()?;
    let attached = packet_loader::attached(&home)?;
    Ok(InKernel {
        name: name.to_owned(),
        generation: descriptor.generation,
        table_hash: format!("{:016x}", descriptor.checksum),
        table_hash_found: format!("{:016x}", tables.checksum()),
        interfaces: attached.iter().map(|one| interface(&one.interface.name)).collect(),
        trafficsets: descriptor.sets_len,
        buckets: descriptor.buckets_len,
        reasons: reasons(counts),
    })
}

fn print(found: &InKernel, all: bool) {
    println!("name         {}", found.name);
    println!("generation   {}", found.generation);
    println!("table hash   {}", found.table_hash);
    if found.table_hash != found.table_hash_found {
        println!("             {} in memory: buckets were moved since", found.table_hash_found);
    }
    let interfaces: Vec<String> =
        found.interfaces.iter().map(|one| format!("{} ({})", one.name, one.mode)).collect();
    println!("interfaces   {}", interfaces.join(", "));
    println!("trafficsets  {}", found.trafficsets);
    println!("buckets      {}", found.buckets);
    println!("\n{:<8} {:<24} {:>16} {:>20}", "verdict", "reason", "packets", "bytes");
    for one in found.reasons.iter().filter(|one| all || one.amount.packets > 0) {
        let Amount { packets, bytes } = one.amount;
        println!("{:<8} {:<24} {packets:>16} {bytes:>20}", one.verdict, one.reason);
    }
}

/// `weir packet rules`.
///
/// # Errors
/// No weir answers at the address, or it has no packet path.
pub(super) fn rules(admin: &ListenAddress, json: bool) -> anyhow::Result<ExitCode> {
    let reply = client::get(admin, "/status")?;
    let status: Status =
        serde_json::from_slice(&reply.body).with_context(|| format!("the answer of {admin}"))?;
    let Some(packet) = status.packet else {
        bail!("the weir at {admin} has no packet path, or cannot read it: see its operator log");
    };
    if json {
        println!("{}", serde_json::to_string_pretty(&packet.rules)?);
        return Ok(ExitCode::SUCCESS);
    }
    let head = ["rule", "matched", "dropped", "over the rate"];
    println!("{:<32} {:>16} {:>16} {:>16}", head[0], head[1], head[2], head[3]);
    for RuleCount { rule, matched, dropped, limited } in &packet.rules {
        let (matched, dropped, limited) = (matched.packets, dropped.packets, limited.packets);
        println!("{rule:<32} {matched:>16} {dropped:>16} {limited:>16}");
    }
    Ok(ExitCode::SUCCESS)
}
