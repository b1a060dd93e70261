//! The compiled programs: an ELF object with instructions, map definitions and constants. Here it
//! is read, its constants are set, its maps are given descriptors; the verifier gets the result.

use crate::features::{self, FeatureError};
use crate::layout::{self, Layout};
use crate::settings::{Capacities, Settings};
use crate::sys::bpf::{self, Code, READ_ONLY_PROG, Shape, kind, place, program};
use aya_obj::generated::{
    BPF_DW, BPF_IMM, BPF_LD, BPF_PSEUDO_MAP_FD, BPF_PSEUDO_MAP_VALUE, bpf_insn,
};
use aya_obj::{EbpfSectionKind, Object, ProgramSection};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::collections::{BTreeMap, HashMap};
use std::io;

/// The programs of this build, as an ELF object at an address that its structures allow.
pub static EMBEDDED: &[u8] = {
    #[repr(C, align(8))]
    struct Aligned<T: ?Sized>(T);
    static OBJECT: &Aligned<[u8]> = &Aligned(*include_bytes!("../../ebpf/object/weir.bpf.o"));
    &OBJECT.0
};

/// What kernels lack that cannot run the programs of SYN cookies.
const COOKIE_HELPERS: &str = "SYN cookies for programs (bpf_tcp_gen_syncookie, bpf_xdp_load_bytes)";
/// Lines at the end of a verifier's log that are told: what it was looking at, and why it stopped.
const LOG_LINES_MAX: usize = 12;

/// The operation that loads 64 bits which two instructions hold.
const LOAD_WIDE: u8 = (BPF_LD | BPF_IMM | BPF_DW) as u8;

/// Why the programs did not get into the kernel.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The object cannot be read, which no configuration brings about.
    #[error("the compiled programs of this build are broken ({0}): install another build of Weir")]
    Broken(String),
    /// The kernel lacks something.
    #[error(transparent)]
    Feature(#[from] FeatureError),
    /// The kernel made no map.
    #[error(
        "the kernel did not make the map {name} ({octets} octets): lower its capacity in [packet], \
         or give the host more memory"
    )]
    Map {
        /// Its name.
        name: String,
        /// Octets of its values.
        octets: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The verifier refused a program.
    #[error(
        "the kernel's verifier refused the program {name}; please report this with the kernel's \
         version ({running}). It says:\n{log}"
    )]
    Verifier {
        /// The program.
        name: String,
        /// What the kernel calls itself.
        running: String,
        /// The end of the log.
        log: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The programs of the object, loaded.
#[derive(Debug)]
pub struct Programs {
    /// XDP: starts the chain.
    pub root: OwnedFd,
    /// XDP: the director.
    pub director: OwnedFd,
    /// XDP: answers packets that the director cannot send on.
    pub too_big: OwnedFd,
    /// TC: the redirector.
    pub redirector: OwnedFd,
    /// XDP: captures.
    pub tap_xdp: OwnedFd,
    /// TC: captures.
    pub tap_tc: OwnedFd,
}

impl Programs {
    /// Names and descriptors.
    pub(crate) fn all(&self) -> [(&'static str, BorrowedFd<'_>); 6] {
        [
            ("root", self.root.as_fd()),
            ("director", self.director.as_fd()),
            ("too_big", self.too_big.as_fd()),
            ("redirector", self.redirector.as_fd()),
            ("tap_xdp", self.tap_xdp.as_fd()),
            ("tap_tc", self.tap_tc.as_fd()),
        ]
    }
}

/// The programs of SYN cookies: a third of what the verifier has to look at, for few.
#[derive(Debug)]
pub struct Cookies {
    /// XDP: decides about SYNs that are to be answered by cookie.
    pub decide: OwnedFd,
    /// XDP: answers them.
    pub answer: OwnedFd,
}

impl Cookies {
    /// Names and descriptors.
    pub(crate) fn all(&self) -> [(&'static str, BorrowedFd<'_>); 2] {
        [("cookie", self.decide.as_fd()), ("cookie_answer", self.answer.as_fd())]
    }
}

/// An object whose constants are set.
#[derive(Debug)]
pub struct Parsed {
    object: Object,
    shapes: BTreeMap<String, Shape>,
    layout: Layout,
}

impl Parsed {
    /// Reads an object and sets its constants and the sizes of its maps.
    ///
    /// # Errors
    /// [`ObjectError::Broken`].
    pub fn new(
        octets: &[u8],
        settings: &Settings,
        capacities: &Capacities,
    ) -> Result<Self, ObjectError> {
        let mut object = Object::parse(octets).map_err(broken)?;
        let constants = [settings.constants(), capacities.constants()].concat();
        let globals: HashMap<&str, (&[u8], bool)> =
            constants.iter().map(|(name, value)| (*name, (value.as_slice(), true))).collect();
        object.patch_map_data(globals).map_err(broken)?;
        let cpus = layout::possible_cpus().map_err(broken)?.last().map_or(1, |last| last + 1);
        let shapes = object
            .maps
            .iter()
            .filter(|(_, map)| is_shared(map))
            .map(|(name, map)| {
                let mut shape = shape_of(map);
                if let Some((elements, octets)) = capacities.table(name) {
                    shape.value = elements.saturating_mul(octets);
                }
                if shape.kind == kind::PERF_EVENT_ARRAY && shape.entries == 0 {
                    shape.entries = cpus;
                }
                if shape.kind == kind::RINGBUF {
                    (shape.key, shape.value) = (0, 0);
                }
                (name.clone(), shape)
            })
            .collect();
        Ok(Self { object, shapes, layout: Layout::of(octets, settings) })
    }

    /// The maps that outlive a loading, by name.
    pub(crate) const fn shapes(&self) -> &BTreeMap<String, Shape> {
        &self.shapes
    }

    /// What is remembered beside the pins.
    pub(crate) const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Loads the programs with these maps, but for those of SYN cookies; maps that are missing are
    /// made and added.
    ///
    /// # Errors
    /// All of [`ObjectError`].
    pub fn load(&self, maps: &mut BTreeMap<String, OwnedFd>) -> Result<Programs, ObjectError> {
        for (name, shape) in &self.shapes {
            if !maps.contains_key(name) {
                maps.insert(name.clone(), create(name, *shape)?);
            }
        }
        let linked = self.link(maps)?;
        Ok(Programs {
            root: linked.load("root")?,
            director: linked.load("director")?,
            too_big: linked.load("too_big")?,
            redirector: linked.load("redirector")?,
            tap_xdp: linked.load("tap_xdp")?,
            tap_tc: linked.load("tap_tc")?,
        })
    }

    /// Loads the programs of SYN cookies, with the maps of the others.
    ///
    /// # Errors
    /// All of [`ObjectError`]; [`ObjectError::Feature`] before Linux 5.18.
    pub fn load_cookies(&self, maps: &BTreeMap<String, OwnedFd>) -> Result<Cookies, ObjectError> {
        let linked = self.link(maps)?;
        let lacks = |error| match error {
            ObjectError::Feature(_) => features::missing(COOKIE_HELPERS, "5.18").into(),
            other => other,
        };
        Ok(Cookies {
            decide: linked.load("cookie").map_err(lacks)?,
            answer: linked.load("cookie_answer").map_err(lacks)?,
        })
    }

    /// Loads the redirector alone, with the maps of the others.
    ///
    /// # Errors
    /// All of [`ObjectError`].
    pub(crate) fn load_redirector(
        &self,
        maps: &BTreeMap<String, OwnedFd>,
    ) -> Result<OwnedFd, ObjectError> {
        self.link(maps)?.load("redirector")
    }

    /// Gives the instructions their maps.
    fn link(&self, maps: &BTreeMap<String, OwnedFd>) -> Result<Linked, ObjectError> {
        let mut linked = Linked::of(self.object.clone(), maps)?;
        let tables = self.shapes.iter().filter(|(_, shape)| is_table(shape));
        let tables: Vec<i32> =
            tables.filter_map(|(name, _)| Some(maps.get(name)?.as_raw_fd())).collect();
        for function in linked.object.functions.values_mut() {
            name_values(&mut function.instructions, &tables);
        }
        Ok(linked)
    }

    /// Loads programs by name, of an object without settings of its own.
    ///
    /// # Errors
    /// All of [`ObjectError`].
    pub(crate) fn load_named(
        octets: &[u8],
        names: &[&'static str],
        maps: &mut BTreeMap<String, OwnedFd>,
    ) -> Result<BTreeMap<&'static str, OwnedFd>, ObjectError> {
        let object = Object::parse(octets).map_err(broken)?;
        for (name, map) in object.maps.iter().filter(|(_, map)| is_shared(map)) {
            if !maps.contains_key(name) {
                maps.insert(name.clone(), create(name, shape_of(map))?);
            }
        }
        let linked = Linked::of(object, maps)?;
        names.iter().map(|name| Ok((*name, linked.load(name)?))).collect()
    }
}

/// An object whose instructions name maps by descriptor.
struct Linked {
    object: Object,
    /// Stay open until the verifier ran, as those of the other maps do.
    _constants: BTreeMap<String, OwnedFd>,
}

impl Linked {
    fn of(mut object: Object, maps: &BTreeMap<String, OwnedFd>) -> Result<Self, ObjectError> {
        let constants = make_constants(&object)?;
        let object_maps = std::mem::take(&mut object.maps);
        let references = object_maps.iter().filter_map(|(name, map)| {
            let fd = maps.get(name).or_else(|| constants.get(name))?;
            Some((name.as_str(), fd.as_raw_fd(), map))
        });
        let text = object.functions.keys().map(|(section, _)| *section).collect();
        object.relocate_maps(references, &text).map_err(broken)?;
        object.relocate_calls(&text).map_err(broken)?;
        Ok(Self { object, _constants: constants })
    }

    fn load(&self, name: &'static str) -> Result<OwnedFd, ObjectError> {
        load_one(&self.object, name)
    }
}

/// Makes the maps of constants, which belong to one loading alone.
fn make_constants(object: &Object) -> Result<BTreeMap<String, OwnedFd>, ObjectError> {
    let mut made = BTreeMap::new();
    for (name, map) in object.maps.iter().filter(|(_, map)| !is_shared(map)) {
        let mut shape = shape_of(map);
        let constant = map.section_kind() == EbpfSectionKind::Rodata;
        if constant {
            shape.flags |= READ_ONLY_PROG;
        }
        let fd = create(name, shape)?;
        let filled = bpf::update(fd.as_fd(), 0, map.data());
        let filled = if constant { filled.and_then(|()| bpf::freeze(fd.as_fd())) } else { filled };
        filled.map_err(|source| failed(name, shape, source))?;
        made.insert(name.clone(), fd);
    }
    Ok(made)
}

fn load_one(object: &Object, name: &'static str) -> Result<OwnedFd, ObjectError> {
    let missing = || ObjectError::Broken(format!("it has no program {name}"));
    let program = object.programs.get(name).ok_or_else(missing)?;
    let function = object.functions.get(&program.function_key()).ok_or_else(missing)?;
    let (kind, place, flags) = match program.section {
        ProgramSection::Xdp { frags, .. } => {
            (program::XDP, place::XDP, if frags { bpf::XDP_HAS_FRAGS } else { 0 })
        }
        ProgramSection::SchedClassifier => (program::CLASSIFIER, 0, 0),
        _ => return Err(missing()),
    };
    let instructions = octets_of(&function.instructions);
    let instructions = &instructions;
    let code = Code { name, kind, place, flags, license: &program.license, instructions };
    bpf::load(code).map_err(|refusal| match features::missing_helper(&refusal.log) {
        Some(feature) => feature.into(),
        None => ObjectError::Verifier {
            name: name.to_owned(),
            running: features::running(),
            log: end_of(&refusal.log),
            source: refusal.error,
        },
    })
}

fn broken(error: impl std::error::Error) -> ObjectError {
    ObjectError::Broken(error.to_string())
}

fn failed(name: &str, shape: Shape, source: io::Error) -> ObjectError {
    let octets = u64::from(shape.value.max(1)) * u64::from(shape.entries);
    ObjectError::Map { name: name.to_owned(), octets, source }
}

fn create(name: &str, shape: Shape) -> Result<OwnedFd, ObjectError> {
    bpf::create_map(name, shape, None).map_err(|source| failed(name, shape, source))
}

/// Whether a map is one of the object's own, and not a section of constants.
fn is_shared(map: &aya_obj::Map) -> bool {
    !matches!(
        map.section_kind(),
        EbpfSectionKind::Bss | EbpfSectionKind::Data | EbpfSectionKind::Rodata
    )
}

fn shape_of(map: &aya_obj::Map) -> Shape {
    Shape {
        kind: map.map_type(),
        key: map.key_size(),
        value: map.value_size(),
        entries: map.max_entries(),
        flags: map.map_flags(),
    }
}

/// Whether a map is a table: one value, which programs reach by its address.
const fn is_table(shape: &Shape) -> bool {
    shape.kind == kind::ARRAY && shape.entries == 1 && shape.flags & bpf::MMAPABLE != 0
}

/// Makes the address of its value of what names a map, where it is one of `tables`.
fn name_values(instructions: &mut [bpf_insn], tables: &[i32]) {
    for one in instructions {
        let names = one.code == LOAD_WIDE && u32::from(one.src_reg()) == BPF_PSEUDO_MAP_FD;
        if names && tables.contains(&one.imm) {
            // The other half of the instruction is the offset in the value: zero, as it came.
            one.set_src_reg(BPF_PSEUDO_MAP_VALUE as u8);
        }
    }
}

/// Instructions as the eight octets each that the kernel reads (little-endian hosts).
fn octets_of(instructions: &[bpf_insn]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(instructions.len() * 8);
    for one in instructions {
        octets.push(one.code);
        octets.push(one.dst_reg() | one.src_reg() << 4);
        octets.extend(one.off.to_ne_bytes());
        octets.extend(one.imm.to_ne_bytes());
    }
    octets
}

/// The last lines of a log that say something; the statistics below them do not.
fn end_of(log: &str) -> String {
    let telling = |line: &&str| !line.is_empty() && !line.starts_with("processed ");
    let lines: Vec<&str> = log.lines().filter(telling).collect();
    lines.get(lines.len().saturating_sub(LOG_LINES_MAX)..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log_is_what_it_says_last() {
        let log: String = (0..40).map(|line| format!("{line}: (bf) r1 = r2\n")).collect();
        let log = format!("{log}R1 invalid mem access 'scalar'\nprocessed 40 insns\n");
        let end = end_of(&log);
        assert_eq!(end.lines().count(), LOG_LINES_MAX);
        assert!(end.starts_with("29: "), "{end}");
        assert!(end.ends_with("R1 invalid mem access 'scalar'"), "{end}");
    }
}
