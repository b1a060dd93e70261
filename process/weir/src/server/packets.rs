//! The packet path in the life of the process: started while it is root, changed by a reload,
//! left to another process by an upgrade. What it is made of is in `packet`.

use super::Control;
use crate::packet::PacketPath;
use anyhow::Context;
use core_model::Config;
use core_model::Fault;
use process_runtime::accounts::ServiceUser;
use process_runtime::config_file::Loaded;
use process_runtime::packets::PacketSource;
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
    if config.packet_name.is_none() {
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
    config.load_balancers = Default::default();
    config.pools = Default::default();
    config.monitors = Default::default();
    Ok(loaded)
}

/// Puts the packet path in force, where there is one; one that is not published yet is made ready
/// for.
pub(super) fn start(config: &Config) -> anyhow::Result<Option<Arc<PacketPath>>> {
    let path = match (&config.packet, &config.packet_name) {
        (Some(packet), _) => PacketPath::start(packet)?,
        (None, Some(name)) => PacketPath::awaited(name),
        (None, None) => return Ok(None),
    };
    Ok(Some(Arc::new(path)))
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
    config: &Config,
    status: &StatusSource,
) -> Option<Ended> {
    let packets = packets?.clone();
    tell_of(Some(&packets), config, status);
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

/// Lets the status tell of the packet path, where one is in force.
fn tell_of(packets: Option<&Arc<PacketPath>>, config: &Config, status: &StatusSource) {
    let source = packets.filter(|_| config.packet.is_some()).cloned();
    status.set_packets(source.map(|source| source as Arc<dyn PacketSource>));
}

/// What the process keeps when it gives up being root.
pub(super) fn rights(config: &Config) -> privileges::Rights {
    match config.packet_name {
        Some(_) => privileges::SERVING | privileges::PACKETS,
        None => privileges::SERVING,
    }
}

/// Makes the pins the service user's own, so that this process and its successors can go on with
/// them. Before root is given up.
pub(super) fn give_pins(config: &Config, user: &ServiceUser) -> anyhow::Result<()> {
    let Some(name) = config.packet_name.as_ref().filter(|_| rustix::process::geteuid().is_root())
    else {
        return Ok(());
    };
    let home = PacketPath::home(name)?;
    let path = home.path();
    if !path.exists() {
        // It could not be made, which was told.
        return Ok(());
    }
    let failed = || format!("giving {} to user {}", path.display(), user.name);
    for folder in path.ancestors().skip(1).take(2) {
        // Others may go through it; who may look into it stays as it is. Service managers mount
        // the file system for root alone.
        let mode = Mode::from_raw_mode(rustix::fs::stat(folder).with_context(failed)?.st_mode);
        chmod(folder, mode | Mode::XGRP | Mode::XOTH).with_context(failed)?;
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

/// Leaves as it is what only a restart changes: whether there may be a packet path, under which
/// name, and that there is one.
pub(super) fn keep_what_stays(old: &Config, new: &mut Config) {
    match (&old.packet, &mut new.packet, &old.packet_name) {
        (_, Some(new), Some(name)) => new.name = name.clone(),
        (old, new, _) => new.clone_from(old),
    }
    new.packet_name.clone_from(&old.packet_name);
}

impl Control {
    /// Puts the packet path of another configuration in force, and starts it where it was awaited.
    /// Loading programs takes a while, and others are heard meanwhile.
    pub(super) async fn apply_packets(&self, config: &Config) -> anyhow::Result<()> {
        let (Some(packets), Some(packet)) = (&self.packets, &config.packet) else { return Ok(()) };
        let (work, packet) = (packets.clone(), packet.clone());
        tokio::task::spawn_blocking(move || work.apply(&packet)).await??;
        tell_of(Some(packets), config, &self.status);
        Ok(())
    }

    /// Takes back what [`Self::apply_packets`] did, for the configuration in force.
    pub(super) fn withdraw_packets(&self) {
        let current = self.current.load();
        if current.config.packet.is_some() {
            return self.resume_packets();
        }
        if let Some(packets) = &self.packets {
            packets.withdraw();
            tell_of(Some(packets), &current.config, &self.status);
        }
    }

    /// Looks after the packet path in force again, where nobody waits for an answer.
    pub(super) fn resume_packets(&self) {
        let current = self.current.load();
        let (Some(packets), Some(packet)) = (&self.packets, &current.config.packet) else { return };
        if let Err(error) = packets.apply(packet) {
            operator_log::error(
                "packet_left",
                "nobody looks after the packet path; its packets are handled as they were",
                &[("error", &format_args!("{error:#}"))],
            );
        }
    }

    /// Tells of a packet path that stays though nothing publishes or declares it any more.
    pub(super) fn tell_of_kept_packets(&self, wanted: bool) {
        if !wanted && self.current.load().config.packet.is_some() {
            let what = "there is no packet path any more but the one in force, which stays as it \
                        is: end this process and `weir packet detach`";
            operator_log::warn("packet_kept", what, &[]);
            self.status.note("packet_kept", what.to_owned());
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
        let awaited = Config { packet: None, ..with.clone() };
        for (old, new, name, mtu) in [
            (&with, &other, Some("NAME"), Some(1_500)),
            (&with, &without, Some("NAME"), Some(1_600)),
            (&without, &with, None, None),
            (&awaited, &other, Some("NAME"), Some(1_500)),
            (&awaited, &without, None, None),
        ] {
            let mut new = new.clone();
            keep_what_stays(old, &mut new);
            let packet = new.packet.as_ref();
            assert_eq!(packet.map(|packet| packet.name.as_ref()), name);
            assert_eq!(packet.map(|packet| packet.mtu), mtu);
            assert_eq!(new.packet_name, old.packet_name);
        }
    }

    #[test]
    fn rights_for_packets_are_kept_where_there_are_packets() {
        assert_eq!(rights(&config("")), privileges::SERVING);
        let with = config(PACKET);
        let awaited = Config { packet: None, ..with.clone() };
        for config in [with, awaited] {
            assert_eq!(rights(&config), privileges::SERVING | privileges::PACKETS);
        }
    }
}
