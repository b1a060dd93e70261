//! The packet path in the life of the process: started while it is root, changed by a reload,
//! left to another process by an upgrade. What it is made of is in `packet`.

use super::Control;
use crate::packet::PacketPath;
use anyhow::Context;
use core_model::Config;
use core_model::Fault;
use process_runtime::accounts::ServiceUser;
use process_runtime::config_file::Loaded;
use process_runtime::status::StatusSource;
use process_runtime::{operator_log, privileges};
use rustix::fs::{AtFlags, CWD, Gid, Mode, Uid, chmod, chownat};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// What of a file a process serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// The packet path alone.
    Packets,
}

/// What is served of what a file says.
pub(super) fn part_of(mut loaded: Loaded, file: &Path, part: Part) -> Result<Loaded, Vec<Fault>> {
    if part == Part::Whole {
        return Ok(loaded);
    }
    let config = &mut loaded.config;
    if config.packet.is_none() {
        let file = file.display().to_string();
        return Err(vec![Fault {
            place: core_model::Place { file, ..Default::default() },
            what: "there is no [packet]".into(),
            valid: "a [packet], a [[server]] for each server, and a [[trafficset]]".into(),
            nearest: None,
        }]);
    }
    // One thread has nothing to do; the packets are the kernel's.
    config.runtime.workers = 1;
    config.logging.access = None;
    config.listeners.clear();
    config.load_balancers.clear();
    config.pools.clear();
    config.monitors.clear();
    Ok(loaded)
}

/// Puts the packet path in force, where there is one.
pub(super) fn start(config: &Config) -> anyhow::Result<Option<Arc<PacketPath>>> {
    config.packet.as_ref().map(|packet| PacketPath::start(packet).map(Arc::new)).transpose()
}

/// From one look at what captures left to the next: it takes a few calls of the kernel, and taps
/// that are left cost packets some time and lose none.
const SWEEP_PERIOD: Duration = Duration::from_secs(5);

/// Ends a task with it.
pub(super) struct Ended(JoinHandle<()>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Tells of the packet path in the status, and sweeps up behind captures while it is held.
pub(super) fn look_after(
    packets: Option<&Arc<PacketPath>>,
    status: &StatusSource,
) -> Option<Ended> {
    let packets = packets?.clone();
    status.set_packets(Some(packets.clone()));
    let sweep = async move {
        let mut period = tokio::time::interval(SWEEP_PERIOD);
        loop {
            period.tick().await;
            let packets = packets.clone();
            // Emptying a slot waits for packets under way.
            let swept = tokio::task::spawn_blocking(move || packets.sweep()).await;
            if let Ok(Err(error)) = swept {
                operator_log::warn(
                    "capture_left",
                    "what a capture left in the way of packets cannot be looked for",
                    &[("error", &format_args!("{error:#}"))],
                );
            }
        }
    };
    Some(Ended(tokio::spawn(sweep)))
}

/// What the process keeps when it gives up being root.
pub(super) fn rights(config: &Config) -> privileges::Rights {
    match config.packet {
        Some(_) => privileges::SERVING | privileges::PACKETS,
        None => privileges::SERVING,
    }
}

/// Makes the pins the service user's own, so that this process and its successors can go on with
/// them. Before root is given up.
pub(super) fn give_pins(config: &Config, user: &ServiceUser) -> anyhow::Result<()> {
    let Some(packet) = config.packet.as_ref().filter(|_| rustix::process::geteuid().is_root())
    else {
        return Ok(());
    };
    let home = PacketPath::home(packet)?;
    let path = home.path();
    let failed = || format!("giving {} to user {}", path.display(), user.name);
    if let Some(all) = path.parent() {
        // Others may go through it and not look into it.
        chmod(all, Mode::from_raw_mode(0o711)).with_context(failed)?;
    }
    give(path, Uid::from_raw(user.uid), Gid::from_raw(user.gid)).with_context(failed)
}

fn give(path: &Path, user: Uid, group: Gid) -> anyhow::Result<()> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    chownat(CWD, path, Some(user), Some(group), flags)?;
    if path.symlink_metadata()?.is_dir() {
        for entry in std::fs::read_dir(path)? {
            give(&entry?.path(), user, group)?;
        }
    }
    Ok(())
}

/// Leaves as it is what only a restart changes: whether there is a packet path, and under which
/// name.
pub(super) fn keep_what_stays(old: &Config, new: &mut Config) {
    match (&old.packet, &mut new.packet) {
        (Some(old), Some(new)) => new.name = old.name.clone(),
        (old, new) => new.clone_from(old),
    }
}

impl Control {
    /// Puts the packet path of another configuration in force.
    pub(super) fn apply_packets(&self, config: &Config) -> anyhow::Result<()> {
        match (&self.packets, &config.packet) {
            (Some(packets), Some(config)) => packets.apply(config),
            _ => Ok(()),
        }
    }

    /// As [`Self::apply_packets`] with the configuration in force, where nobody waits for an
    /// answer.
    pub(super) fn resume_packets(&self) {
        if let Err(error) = self.apply_packets(&self.current.load().config) {
            operator_log::error(
                "packet_left",
                "nobody looks after the packet path; its packets are handled as they were",
                &[("error", &format_args!("{error:#}"))],
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use process_runtime::config_file::load_text;

    fn config(text: &str) -> Config {
        load_text("t.toml", text).unwrap_or_else(|faults| panic!("{faults:?}")).config
    }

    const PACKET: &str = "[packet]\nname = \"NAME\"\ninterfaces = [\"eth0\"]\nmtu = 1600\n\
                          address = \"192.0.2.1\"\n\
                          hash_key = \"000102030405060708090a0b0c0d0e0f\"\n\
                          [[server]]\nid = 1\naddress = \"192.0.2.1\"\n";

    #[test]
    fn a_reload_keeps_the_packet_path_and_its_name() {
        let (with, without) = (config(PACKET), config(""));
        let other = config(&PACKET.replace("NAME", "other").replace("1600", "1500"));
        for (old, new, name, mtu) in [
            (&with, &other, Some("NAME"), Some(1_500)),
            (&with, &without, Some("NAME"), Some(1_600)),
            (&without, &with, None, None),
        ] {
            let mut new = new.clone();
            keep_what_stays(old, &mut new);
            let packet = new.packet.as_ref();
            assert_eq!(packet.map(|packet| packet.name.as_ref()), name);
            assert_eq!(packet.map(|packet| packet.mtu), mtu);
        }
    }

    #[test]
    fn rights_for_packets_are_kept_where_there_are_packets() {
        assert_eq!(rights(&config("")), privileges::SERVING);
        assert_eq!(rights(&config(PACKET)), privileges::SERVING | privileges::PACKETS);
    }
}
