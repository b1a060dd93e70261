//! The side of the new process: what it gets from the one that serves, and what both say to each
//! other while that one finishes its connections.

use super::channel::{AsyncChannel, Channel, ChannelError};
use super::{FROM_VARIABLE, HELLO_WITHIN, Message, PROTOCOL, SOCKETS_MAX, SocketUse, TicketKeys};
use crate::service;
use core_model::ListenAddress;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// How long the old process may take for a step: all of them are answers out of its memory.
const STEP_WITHIN: Duration = Duration::from_secs(10);

/// How long closing sockets may take there.
const GONE_WITHIN: Duration = Duration::from_secs(2);

/// Faults that are told to the old process; the log has all.
const FAULTS_MAX: usize = 50;

/// Bytes of one fault there.
const FAULT_BYTES_MAX: usize = 1000;

/// Why nothing is taken over; this process must end, and the old one serves on.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// The old one said so.
    #[error("the running process refused: {}", .0.join("; "))]
    Refused(Vec<String>),
    /// It cannot be understood, or is gone.
    #[error("taking over from the running process: {0}")]
    Channel(#[from] ChannelError),
    /// What was handed in is not what was announced.
    #[error("a socket handed over {0}: the running process is no weir, or has a bug")]
    Socket(&'static str),
    /// The kernel refused.
    #[error("taking over from the running process")]
    Io(#[from] io::Error),
}

/// The connection to the process that serves, before anything was taken from it.
#[derive(Debug)]
pub struct Takeover {
    channel: Channel,
}

/// A way to tell the old process why there will be no successor.
#[derive(Debug)]
pub struct Refusal(Channel);

impl Refusal {
    /// Tells it. It may be gone, and has then nothing to hear.
    pub fn tell(&self, why: impl IntoIterator<Item = String>) {
        let why = why.into_iter().take(FAULTS_MAX);
        let why = why.map(|mut why| {
            why.truncate(why.floor_char_boundary(FAULT_BYTES_MAX));
            why
        });
        let _ = self.0.send(&Message::Refused { why: why.collect() }, STEP_WITHIN);
    }
}

/// What the process that serves gave.
#[derive(Debug)]
pub struct Inherited {
    channel: Channel,
    listeners: Vec<(SocketUse, TcpListener)>,
    admin: Option<(String, OwnedFd)>,
    /// The keys of session tickets.
    pub tickets: Vec<TicketKeys>,
    taken: Vec<SocketUse>,
}

impl Takeover {
    /// The process that started this one to take its place, if one did. Says hello to it.
    ///
    /// # Errors
    /// It speaks no version that this program speaks, or says nothing.
    pub fn from_env(program: &str) -> Result<Option<Self>, TakeError> {
        let parent = rustix::process::getppid().map(rustix::process::Pid::as_raw_pid);
        let from = std::env::var(FROM_VARIABLE).ok().and_then(|pid| pid.parse().ok());
        if from.is_none() || from != parent {
            return Ok(None);
        }
        let Some(channel) = Channel::at(io::stdin().as_fd())? else { return Ok(None) };
        // The standard input is a name that anything could read from.
        let nothing = std::fs::File::open("/dev/null")?;
        rustix::stdio::dup2_stdin(&nothing).map_err(io::Error::from)?;
        Self::greet(channel, program, vec![PROTOCOL]).map(Some)
    }

    pub(super) fn greet(
        channel: Channel,
        program: &str,
        protocols: Vec<u32>,
    ) -> Result<Self, TakeError> {
        let hello = Message::Hello { protocols, program: program.to_owned() };
        channel.send(&hello, STEP_WITHIN)?;
        match channel.receive(HELLO_WITHIN)?.0 {
            Message::Welcome { protocol: PROTOCOL } => Ok(Self { channel }),
            other => Err(refused_or(other)),
        }
    }

    /// For telling the old process what went wrong, at any time until this one serves.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn refusal(&self) -> io::Result<Refusal> {
        self.channel.again().map(Refusal)
    }

    /// Takes the sockets and keys. To be called once the configuration is known to be valid.
    ///
    /// # Errors
    /// See [`TakeError`].
    pub fn take(self) -> Result<Inherited, TakeError> {
        let channel = self.channel;
        channel.send(&Message::Give, STEP_WITHIN)?;
        let mut taken = Inherited {
            channel,
            listeners: Vec::new(),
            admin: None,
            tickets: Vec::new(),
            taken: Vec::new(),
        };
        loop {
            let (message, descriptors) = taken.channel.receive(STEP_WITHIN)?;
            match message {
                Message::Sockets { sockets, .. } => taken.sockets(sockets, descriptors)?,
                Message::Tickets { keys, left } => {
                    taken.tickets.extend(keys);
                    if left == 0 {
                        return Ok(taken);
                    }
                }
                other => return Err(refused_or(other)),
            }
        }
    }
}

fn refused_or(message: Message) -> TakeError {
    match message {
        Message::Refused { why } => TakeError::Refused(why),
        other => {
            let mut told = format!("{other:?}");
            told.truncate(told.floor_char_boundary(100));
            ChannelError::Malformed(format!("{told} out of its turn")).into()
        }
    }
}

impl Inherited {
    fn sockets(
        &mut self,
        sockets: Vec<SocketUse>,
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), TakeError> {
        let count = sockets.len();
        if count != descriptors.len() {
            return Err(TakeError::Socket("is missing"));
        }
        if self.listeners.len() + count > SOCKETS_MAX {
            return Err(TakeError::Socket("is one too many"));
        }
        for (what, descriptor) in sockets.into_iter().zip(descriptors) {
            match what {
                SocketUse::Listener { .. } => match service::adopt(descriptor)? {
                    Some(listener) => self.listeners.push((what, listener)),
                    None => return Err(TakeError::Socket("is no listening TCP socket")),
                },
                SocketUse::Admin { address } => self.admin = Some((address, descriptor)),
            }
        }
        self.channel.send(&Message::Took { sockets: count }, STEP_WITHIN)?;
        Ok(())
    }

    /// The sockets of a listener: those of the same address, and of the same name where the port
    /// is 0 and the address another one each time. None where the old process does not listen
    /// there.
    pub fn listener(&mut self, name: &str, address: SocketAddr) -> Vec<TcpListener> {
        let wanted = |what: &SocketUse| match what {
            SocketUse::Listener { name: theirs, address: at } => {
                *at == address && (address.port() != 0 || theirs == name)
            }
            SocketUse::Admin { .. } => false,
        };
        let (found, rest) = std::mem::take(&mut self.listeners)
            .into_iter()
            .partition::<Vec<_>, _>(|(what, _)| wanted(what));
        self.listeners = rest;
        self.taken.extend(found.first().map(|(what, _)| what.clone()));
        found.into_iter().map(|(_, listener)| listener).collect()
    }

    /// The admin server's socket, where the old process has it at that address.
    pub fn admin(&mut self, address: &ListenAddress) -> Option<OwnedFd> {
        let (_, socket) = self.admin.take_if(|(at, _)| *at == address.to_string())?;
        Some(socket)
    }

    /// Closes what no listener took, which the old process gives up in its own way, and keeps the
    /// connection to it.
    ///
    /// # Errors
    /// There is no runtime with IO.
    pub fn settle(self) -> io::Result<Predecessor> {
        let channel = Some(self.channel.into_async()?);
        Ok(Predecessor { channel, taken: self.taken })
    }
}

/// The process that served before, as long as it is there.
#[derive(Debug)]
pub struct Predecessor {
    channel: Option<AsyncChannel>,
    taken: Vec<SocketUse>,
}

impl Predecessor {
    /// Tells it that this process serves, and waits until it has stopped accepting. Says whether
    /// it has; otherwise it has ended, and nobody else serves.
    pub async fn ready(&mut self) -> bool {
        let listeners = std::mem::take(&mut self.taken);
        let yours = |message: &Message| matches!(message, Message::Yours);
        self.ask(&Message::Ready { listeners }, STEP_WITHIN, yours).await
    }

    /// Makes it close its copies of the sockets, so that this process can give an address up. It
    /// will not take the service back after that.
    pub async fn let_go(&mut self) {
        let gone = |message: &Message| matches!(message, Message::Gone);
        self.ask(&Message::LetGo, GONE_WITHIN, gone).await;
    }

    /// Tells it that the service ends.
    pub async fn ending(&mut self, quick: bool) {
        if let Some(channel) = &self.channel
            && channel.send(&Message::Ending { quick }, &[]).await.is_err()
        {
            self.channel = None;
        }
    }

    /// Waits for its end. May be dropped and called again.
    pub async fn ended(&mut self) {
        while let Some(channel) = &self.channel {
            if matches!(channel.receive().await, Err(ChannelError::Closed | ChannelError::Io(_))) {
                self.channel = None;
            }
        }
    }

    /// Whether the answer came.
    async fn ask(
        &mut self,
        message: &Message,
        within: Duration,
        answers: impl Fn(&Message) -> bool,
    ) -> bool {
        let Some(channel) = &self.channel else { return false };
        let asked = async {
            channel.send(message, &[]).await?;
            while !answers(&channel.receive().await?) {}
            Ok::<_, ChannelError>(())
        };
        match tokio::time::timeout(within, asked).await {
            Ok(Ok(())) => true,
            // What it said is nothing that this version knows, or it is slow: it is there.
            Ok(Err(ChannelError::Malformed(_) | ChannelError::Late)) | Err(_) => false,
            Ok(Err(_)) => {
                self.channel = None;
                false
            }
        }
    }
}
