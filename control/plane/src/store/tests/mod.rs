//! Tests of the store: the contract on each backend, and what each backend promises beyond.

pub(in crate::store) mod contract;
mod keys;
mod moves;
pub(in crate::store) mod support;
mod vault;

use support::{Place, embedded};

/// One test per line of the contract, on the file.
macro_rules! on_a_file {
    ($($name:ident)+) => {
        mod on_a_file {
            $(#[test]
            fn $name() {
                super::run(super::embedded(), super::contract::$name);
            })+
        }
    };
}

/// One test of all lines, on etcd, which is started once.
macro_rules! on_etcd {
    ($($name:ident)+) => {
        /// Runs every line in a folder of its own of one etcd.
        pub(in crate::store) fn contract_on(options: &crate::store::EtcdOptions) {
            $(
                println!("{}", stringify!($name));
                let prefix = format!("/{}", stringify!($name));
                let own = crate::store::EtcdOptions { prefix, ..options.clone() };
                run(Place::Etcd(own), contract::$name);
            )+
        }
    };
}

/// The lines of the contract.
macro_rules! contract {
    ($with:ident) => {
        $with! {
            an_empty_store_is_at_revision_0
            a_commit_is_there_after_opening_again
            a_commit_on_an_old_revision_conflicts_and_writes_nothing
            history_has_who_when_what_and_both_values
            history_comes_in_pages
            large_records_come_in_smaller_pages
            a_change_that_changes_nothing_commits_nothing
            a_failed_edit_leaves_no_trace
            an_invalid_state_is_refused_with_its_faults
            objects_come_in_the_order_of_creation
            created_stays_and_modified_grows
            a_caller_who_goes_away_leaves_a_whole_commit
            revisions_are_told
            many_changes_at_once_all_get_through
            an_object_too_large_is_refused
            compaction_keeps_the_newest_record
            rollback_is_a_commit_that_brings_old_objects_back
            rollback_leaves_credentials_alone
            rollback_past_the_history_or_the_head_is_refused
            a_backup_restores_objects_and_history
            a_restore_into_a_store_that_holds_something_is_refused
            an_import_makes_one_commit_of_many_files
            a_commit_of_thousands_of_objects_is_whole
        }
    };
}

contract!(on_a_file);
contract!(on_etcd);

/// Runs one line of the contract on a place of its own.
fn run<F: Future<Output = ()>>(place: Place, line: impl FnOnce(Place) -> F) {
    support::block_on(line(place));
}
