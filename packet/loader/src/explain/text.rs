//! An explanation as text, a stage on each line.

use super::{Answer, Explanation, Service, ShieldSaid, ShieldStage, Slot};
use std::fmt;

impl fmt::Display for Explanation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, source, destination, self_id, generation, .. } = self;
        writeln!(out, "{protocol} {source} -> {destination}")?;
        writeln!(out, "  at server    {self_id}, generation {generation}")?;
        write!(out, "{}", self.shield)?;
        match &self.service {
            Some(service) => write!(out, "{service}")?,
            None => writeln!(out, "  trafficset   none")?,
        }
        self.answers.iter().try_for_each(|answer| write!(out, "{answer}"))
    }
}

impl fmt::Display for ShieldStage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = self.source.as_deref().unwrap_or_default();
        match self.rules {
            Some(1) => write!(out, "  shield       1 rule of {source}")?,
            Some(rules) => write!(out, "  shield       {rules} rules of {source}")?,
            None if self.state == "absent" => write!(out, "  shield       none in force")?,
            None => write!(out, "  shield       in force, but not asked: {source}")?,
        }
        if let Some(interface) = &self.interface {
            write!(out, ", sources checked as coming in by {interface}")?;
        }
        writeln!(out)
    }
}

impl fmt::Display for ShieldSaid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = self.reason.map(|reason| format!(" {reason}")).unwrap_or_default();
        writeln!(out, "    shield     {}{reason}: {}", self.verdict, self.says)?;
        for rule in &self.rules {
            writeln!(out, "      rule     {} {}", rule.rule, rule.says())?;
        }
        Ok(())
    }
}

impl fmt::Display for Service {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trafficset, strategy, encapsulation, dissector, hash, .. } = self;
        writeln!(out, "  trafficset   {trafficset} ({strategy}, {encapsulation})")?;
        writeln!(out, "  dissector    {dissector}, hash {hash}")?;
        if let Some(named) = self.named {
            writeln!(out, "  named        server {named} by the connection id")?;
        }
        writeln!(out, "  bucket       {} of {}", self.bucket, self.buckets)?;
        for (name, slot) in [("first hop", &self.first), ("second hop", &self.second)] {
            match slot {
                Some(slot) => writeln!(out, "  {name:<12} {slot}")?,
                None => writeln!(out, "  {name:<12} none")?,
            }
        }
        writeln!(out, "  fits up to   {} octets", self.largest)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "server {}", self.id)?;
        match self.address {
            Some(address) => write!(out, " at {address}")?,
            None => write!(out, ", which is not there")?,
        }
        if self.dead {
            write!(out, ", dead")?;
        }
        if self.here {
            write!(out, ", this one")?;
        }
        Ok(())
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "  {}", self.packet)?;
        if let Some(said) = &self.shield {
            write!(out, "{said}")?;
        }
        if let Some(said) = &self.director {
            writeln!(out, "    director   {} {}: {}", said.verdict, said.reason, said.says)?;
        }
        if let Some(tunnel) = &self.tunnel {
            write!(out, "    tunnel     {} -> {}", tunnel.source, tunnel.destination)?;
            if let Some(port) = tunnel.source_port {
                write!(out, ", source port {port}")?;
            }
            for hop in &tunnel.hops {
                write!(out, ", then {hop}")?;
            }
            writeln!(out, ", {} of {} octets", tunnel.octets, tunnel.mtu)?;
        }
        if let Some(said) = &self.redirector {
            let there = "if this host were there:";
            writeln!(
                out,
                "    redirector {there} {} {}: {}",
                said.verdict, said.reason, said.says
            )?;
        }
        Ok(())
    }
}
