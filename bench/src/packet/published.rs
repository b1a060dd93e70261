//! What others have published of theirs, on other machines, to read beside what is measured here.

/// Name, figure, and where it stands.
const FIGURES: [(&str, &str, &str); 4] = [
    (
        "Katran",
        "5.2 Mpps on a core",
        "Høiland-Jørgensen et al., The eXpress Data Path, CoNEXT 2018, on load balancers",
    ),
    ("IPVS", "1.2 Mpps on a core", "measured beside it by the same authors"),
    (
        "Cilium's XDP balancer",
        "14.8 Mpps, as many as the card took",
        "cilium.io, XDP standalone load balancer, 2022-07-13",
    ),
    ("IPVS", "near the limit of its CPU at 1 Mpps", "measured beside it by the same authors"),
];

/// Prints them, as what they are.
pub(super) fn print() {
    println!("published by others, of other machines and frames; not measured here:");
    for (name, figure, source) in FIGURES {
        println!("  {name}: {figure} ({source})");
    }
}
