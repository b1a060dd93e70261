//! Objects made of items, a thread for each part of them where there are many. Whatever is wrong
//! with an item is told by the long way (`super`), so that nobody writes down paths here.

use super::super::build::{Builder, Known};
use super::super::check::Checker;
use super::super::report::{At, Report};
use super::super::table::Table;
use super::super::{World, raw};
use super::section;
use control_api::publish::Item;
use core_model::Fault;
use std::thread::{available_parallelism, scope};

/// Items that are not worth a thread: it takes some tens of microseconds to start one.
const FEW: usize = 64;
/// Threads that make objects at most; the others of a machine have traffic to serve.
const THREADS_MAX: usize = 4;

/// An object, and what is likely not meant in it.
pub(super) struct Made<T> {
    pub(super) object: T,
    pub(super) warnings: Vec<Fault>,
}

/// Makes one object of a checked table.
pub(super) type Make<T> = fn(&mut Builder<'_>, &Table) -> Option<T>;

/// Makes all of them in their order; none where something is wrong with one. `usual` has keys that
/// hold where an item does not have them.
pub(super) fn all<T: Send>(
    items: &[&Item],
    known: &Known,
    usual: Option<&Table>,
    make: Make<T>,
) -> Option<Vec<Made<T>>> {
    if items.len() < FEW {
        return some(items, known, usual, make);
    }
    let threads = available_parallelism().map_or(1, |cores| cores.get().min(THREADS_MAX));
    let parts = items.chunks(items.len().div_ceil(threads));
    scope(|scope| {
        let made = parts.map(|part| scope.spawn(|| some(part, known, usual, make)));
        let made: Vec<_> = made.collect();
        let mut all = Vec::with_capacity(items.len());
        for part in made {
            // A thread that panics has met something that the long way meets as well.
            all.extend(part.join().ok()??);
        }
        Some(all)
    })
}

fn some<T>(
    items: &[&Item],
    known: &Known,
    usual: Option<&Table>,
    make: Make<T>,
) -> Option<Vec<Made<T>>> {
    let world = World { env: &|_| None, files: false, now: 0, root: false };
    let mut builder = Builder::of_items(&world, known.clone());
    let mut all = Vec::with_capacity(items.len());
    for item in items {
        let object = one(&mut builder, item, usual, make, false)?;
        let mut warnings = Vec::new();
        if builder.report.warns() {
            builder.report = Report::default();
            one(&mut builder, item, usual, make, true)?;
            warnings = std::mem::take(&mut builder.report).finish().1;
        }
        all.push(Made { object, warnings });
    }
    Some(all)
}

fn one<T>(
    builder: &mut Builder<'_>,
    item: &Item,
    usual: Option<&Table>,
    make: Make<T>,
    told: bool,
) -> Option<T> {
    let source = if told { builder.report.add_item(super::place(&item.key)) } else { 0 };
    let raw = raw::of_json(item.body.get()).ok()?;
    let mut checker = Checker { report: &mut builder.report, source, env: None, part: false, told };
    let at = At { source, offset: 0 };
    let mut table = checker.table(section(item.key.kind)?, &raw, at, String::new());
    usual.into_iter().for_each(|usual| table.fill(usual));
    let object = make(builder, &table)?;
    builder.report.is_empty().then_some(object)
}
