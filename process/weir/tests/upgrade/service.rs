//! What the service manager is told of an upgrade, and by which process: its fake hears the
//! messages together with the ids of their senders, as systemd does.

use super::rights::{program, script};
use super::steps::ready_then_killed;
use crate::support::edge::Edge;
use crate::support::process::{Weir, command};
use crate::support::upstream::Upstream;
use crate::support::wait::{self, SOON};
use rustix::net::sockopt::set_socket_passcred;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::ffi::OsStr;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

/// A service manager that listens.
struct Manager {
    path: PathBuf,
    heard: Arc<Mutex<Vec<(u32, String)>>>,
}

impl Manager {
    fn start(edge: &Edge) -> Self {
        let path = edge.dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("the folder is ours");
        set_socket_passcred(&socket, true).expect("the kernel tells senders");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let inner = heard.clone();
        std::thread::spawn(move || {
            while let Some(message) = hear(&socket) {
                inner.lock().unwrap_or_else(PoisonError::into_inner).push(message);
            }
        });
        Self { path, heard }
    }

    /// Starts it as a unit with a watchdog does: the variable names the first process.
    fn run(&self, edge: &Edge, program: &OsStr) -> Weir {
        let mut command = Command::new("sh");
        command.args(["-c", "export WATCHDOG_PID=$$; exec \"$0\" \"$@\""]).arg(program);
        command.env("NOTIFY_SOCKET", &self.path).env("WATCHDOG_USEC", "300000");
        Weir::start_by(edge.clone(), &mut command)
    }

    fn heard(&self) -> Vec<(u32, String)> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a message of a process, and gives how many came before it.
    #[track_caller]
    fn until(&self, pid: u32, message: &str, after: usize) -> usize {
        wait::value(&format!("{pid} says {message}"), SOON, || {
            let heard = self.heard();
            let found = |(from, text): &(u32, String)| *from == pid && text.starts_with(message);
            heard.iter().skip(after).position(found).map(|at| at + after)
        })
    }
}

fn hear(socket: &UnixDatagram) -> Option<(u32, String)> {
    let mut bytes = [0; 1024];
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
    let mut control = RecvAncillaryBuffer::new(&mut room);
    let parts = &mut [IoSliceMut::new(&mut bytes)];
    let received = recvmsg(socket, parts, &mut control, RecvFlags::empty()).ok()?;
    let sender = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmCredentials(sender) => Some(sender.pid.as_raw_pid()),
        _ => None,
    });
    let text = String::from_utf8_lossy(&bytes[..received.bytes]).into_owned();
    Some((u32::try_from(sender?).ok()?, text))
}

#[test]
fn the_manager_hears_of_the_new_process_in_order_and_nothing_of_the_old_one() {
    let upstream = Upstream::tagged();
    let edge = Edge::simple(upstream.port()).drain("5s");
    let manager = Manager::start(&edge);
    let mut weir = manager.run(&edge, command().get_program());
    let mut serving = weir.pid();
    let mut heard = manager.until(serving, "READY=1", 0);
    // The second one hands over in its turn, and had the first one's environment.
    for _ in 0..2 {
        manager.until(serving, "WATCHDOG=1", heard);
        let new = weir.upgrade().expect("it is taken over");
        let main = manager.until(serving, &format!("MAINPID={new}"), heard);
        heard = manager.until(new, "READY=1\nSTATUS=serving", main);
        manager.until(new, "WATCHDOG=1", heard);
        wait::until("the old one ends", SOON, || !crate::support::process::alive(serving));
        let late: Vec<_> = manager.heard().into_iter().skip(main + 1).collect();
        assert!(late.iter().all(|(from, _)| *from != serving), "the old one spoke: {late:?}");
        let early: Vec<_> = manager.heard().into_iter().take(main).collect();
        assert!(early.iter().all(|(from, _)| *from != new), "too early: {early:?}");
        serving = new;
    }
    weir.hup();
    manager.until(serving, "RELOADING=1", heard);
}

#[test]
fn the_manager_hears_that_the_old_process_is_the_service_again() {
    let upstream = Upstream::tagged();
    let edge = Edge::simple(upstream.port()).drain("30s");
    let program = program(&edge);
    let manager = Manager::start(&edge);
    let weir = manager.run(&edge, program.as_os_str());
    let pid = weir.pid();
    script(&edge, &ready_then_killed(2, weir.web()));
    weir.guard.signal(rustix::process::Signal::USR2);
    let main = manager.until(pid, "MAINPID=", 0);
    let back = manager.until(pid, &format!("MAINPID={pid}"), main + 1);
    manager.until(pid, "READY=1\nSTATUS=serving", back);
    manager.until(pid, "WATCHDOG=1", back);
    assert_eq!(weir.get("/a").map(|r| r.status), Ok(200));
}
