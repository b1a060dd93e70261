//! The packet path in a frame of `weir top`.

use super::{Look, clean, count, cut, fit, rate};
use process_runtime::packets::{PacketStatus, ReasonCount, RuleCount};

/// Reasons, servers and rules shown, each.
const SHOWN_MAX: usize = 10;

/// Its lines.
pub(super) fn lines(packet: &PacketStatus, look: &Look) -> Vec<String> {
    let mut out = vec![title(packet, look)];
    out.push(look.soft(&line("  reason", "verdict", &["packets/s", "packets"], look)));
    out.extend(busiest(&packet.reasons).into_iter().map(|one| reason(one, look)));
    out.extend(servers(packet, look));
    if !packet.syn_cookies.is_empty() {
        let sets = packet.syn_cookies.iter();
        let sets: Vec<_> =
            sets.map(|one| format!("{} {}", clean(&one.trafficset), clean(&one.mode))).collect();
        out.push(cut(&format!("  SYN cookies  {}", sets.join(", ")), look.columns));
    }
    out.extend(rules(&packet.rules, look));
    out
}

fn title(packet: &PacketStatus, look: &Look) -> String {
    let attached: Vec<_> = packet
        .interfaces
        .iter()
        .map(|one| format!("{} {}", clean(&one.name), clean(&one.mode)))
        .collect();
    let gone = packet.interfaces.iter().any(|one| one.mode == "none");
    let (colour, word) = if gone { ("31", "detached") } else { ("32", "attached") };
    let rest = format!(
        "{} packets/s   {} drops/s   {}   generation {}   table {}",
        rate(packet.packets_per_s),
        rate(packet.drops_per_s),
        attached.join(", "),
        packet.generation,
        clean(&packet.table_hash),
    );
    let name = cut(&format!("PACKETS {}", clean(&packet.name)), look.columns.saturating_sub(12));
    let room = look.columns.saturating_sub(name.chars().count() + word.len() + 6);
    format!("{}   {}   {}", look.strong(&name), look.paint(colour, word), cut(&rest, room))
}

/// Reasons of which packets were seen: first those with most of them at this moment.
fn busiest(reasons: &[ReasonCount]) -> Vec<&ReasonCount> {
    let mut seen: Vec<_> = reasons.iter().filter(|one| one.amount.packets > 0).collect();
    let per_s = |one: &ReasonCount| one.packets_per_s.unwrap_or_default();
    seen.sort_by(|one, other| {
        let by_rate = per_s(other).total_cmp(&per_s(one));
        by_rate.then(other.amount.packets.cmp(&one.amount.packets))
    });
    seen.truncate(SHOWN_MAX);
    seen
}

fn reason(one: &ReasonCount, look: &Look) -> String {
    let cells = [rate(one.packets_per_s.unwrap_or_default()), count(one.amount.packets)];
    let name = format!("  {}", clean(&one.reason));
    let line = line(&name, &clean(&one.verdict), &cells.each_ref().map(String::as_str), look);
    if one.is_drop() { look.paint("31", &line) } else { line }
}

/// How many servers are in which state, and which of them get no new flows.
fn servers(packet: &PacketStatus, look: &Look) -> Vec<String> {
    let PacketStatus { servers_active, servers_draining, servers_dead, server, .. } = packet;
    let sums = format!(
        "  servers      {servers_active} active, {servers_draining} draining, {servers_dead} dead; \
         this one is {server}"
    );
    let mut out = vec![cut(&sums, look.columns)];
    let unusual = packet.servers.iter().filter(|one| one.state != "active");
    out.extend(unusual.take(SHOWN_MAX).map(|one| {
        let told = format!("    {:<10} {} at {}", clean(&one.state), one.id, clean(&one.address));
        look.paint("33", &cut(&told, look.columns))
    }));
    out
}

fn rules(rules: &[RuleCount], look: &Look) -> Vec<String> {
    if rules.is_empty() {
        return Vec::new();
    }
    let mut hit: Vec<_> = rules.iter().collect();
    hit.sort_by_key(|rule| std::cmp::Reverse(rule.matched.packets));
    let head = ["matched", "dropped", "over rate"];
    let mut out = vec![look.soft(&line("  shield rule", "", &head, look))];
    out.extend(hit.iter().take(SHOWN_MAX).map(|rule| {
        let cells = rule.results().map(|(_, amount)| count(amount.packets));
        let cells = cells.each_ref().map(String::as_str);
        line(&format!("  {}", clean(&rule.rule)), "", &cells, look)
    }));
    let more = hit.len().saturating_sub(SHOWN_MAX);
    if more > 0 {
        out.push(look.soft(&cut(&format!("  and {more} more"), look.columns)));
    }
    out
}

/// A name, a word and numbers to the right.
fn line(name: &str, word: &str, cells: &[&str], look: &Look) -> String {
    let mut line = format!("{} {}", fit(name, 26), fit(word, 8));
    for cell in cells {
        line.push_str(&format!(" {:>10}", cut(cell, 10)));
    }
    cut(&line, look.columns)
}
