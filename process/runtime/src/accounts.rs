//! Users and groups of this machine, from /etc/passwd and /etc/group alone.
//!
//! Name services beyond the files (LDAP, systemd's dynamic users) are not asked: who uses those
//! lets the service manager choose the user, or writes numbers.

use std::collections::BTreeSet;
use std::fs;
use std::io;

/// The user that the process becomes, with its groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceUser {
    /// Its name, or the number it was given by.
    pub name: String,
    /// Its user id; never 0.
    pub uid: u32,
    /// Its first group.
    pub gid: u32,
    /// The name of the first group, or its number.
    pub group: String,
    /// Further groups that list the user.
    pub groups: Vec<u32>,
}

/// Why a configured user or group cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// No line of /etc/passwd has it.
    #[error(
        "user {0:?} is not in /etc/passwd: create it \
         (`useradd --system --no-create-home --shell /usr/sbin/nologin {0}`), \
         or write its number and set the group"
    )]
    NoUser(String),
    /// No line of /etc/group has it.
    #[error("group {0:?} is not in /etc/group: create it (`groupadd --system {0}`)")]
    NoGroup(String),
    /// A number without a line in /etc/passwd says nothing about groups.
    #[error("user {0} has no line in /etc/passwd, so its group must be set too")]
    GroupNeeded(u32),
    /// The user is root.
    #[error("user {0:?} is root: name a user without rights, or leave the setting out")]
    Root(String),
    /// A file cannot be read.
    #[error("{file} cannot be read")]
    File {
        /// Its path.
        file: &'static str,
        /// The reason.
        #[source]
        cause: io::Error,
    },
}

impl ServiceUser {
    /// The user of that name or number; `group` replaces the group that /etc/passwd gives it.
    ///
    /// # Errors
    /// The user or group does not exist, or is root.
    pub fn find(user: &str, group: Option<&str>) -> Result<Self, AccountError> {
        let read = |file: &'static str| {
            fs::read_to_string(file).map_err(|cause| AccountError::File { file, cause })
        };
        Self::find_in(&read("/etc/passwd")?, &read("/etc/group")?, user, group)
    }

    fn find_in(
        passwd: &str,
        groups: &str,
        user: &str,
        group: Option<&str>,
    ) -> Result<Self, AccountError> {
        let account =
            accounts(passwd).find(|(name, uid, _)| *name == user || user.parse() == Ok(*uid));
        let (name, uid, own_gid) = match (account, user.parse()) {
            (Some((name, uid, gid)), _) => (name, uid, Some(gid)),
            (None, Ok(uid)) => (user, uid, None),
            (None, Err(_)) => return Err(AccountError::NoUser(user.to_owned())),
        };
        if uid == 0 {
            return Err(AccountError::Root(user.to_owned()));
        }
        let gid = match group {
            Some(group) => group_id(groups, group)?,
            None => own_gid.ok_or(AccountError::GroupNeeded(uid))?,
        };
        let group = entries(groups).find(|entry| entry.1 == gid).map(|entry| entry.0);
        let listed = entries(groups).filter(|entry| entry.2.split(',').any(|user| user == name));
        let more: BTreeSet<u32> = listed.map(|entry| entry.1).filter(|id| *id != gid).collect();
        Ok(Self {
            name: name.to_owned(),
            uid,
            gid,
            group: group.map_or_else(|| gid.to_string(), str::to_owned),
            groups: more.into_iter().collect(),
        })
    }

    /// Whether the user belongs to the group.
    pub fn is_in(&self, gid: u32) -> bool {
        self.gid == gid || self.groups.contains(&gid)
    }
}

fn group_id(groups: &str, wanted: &str) -> Result<u32, AccountError> {
    let named = entries(groups).find(|entry| entry.0 == wanted).map(|entry| entry.1);
    let number = || wanted.parse().ok();
    named.or_else(number).ok_or_else(|| AccountError::NoGroup(wanted.to_owned()))
}

/// Name, user id and group id of each line `name:password:uid:gid:…` (passwd(5)).
fn accounts(passwd: &str) -> impl Iterator<Item = (&str, u32, u32)> {
    passwd.lines().filter_map(|line| {
        let mut columns = line.split(':');
        let name = columns.next().filter(|name| !name.is_empty() && !name.starts_with('#'))?;
        let uid = columns.nth(1)?.parse().ok()?;
        Some((name, uid, columns.next()?.parse().ok()?))
    })
}

/// Name, id and members of each line `name:password:gid:members` (group(5)).
fn entries(groups: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    groups.lines().filter_map(|line| {
        let mut columns = line.split(':');
        let name = columns.next().filter(|name| !name.is_empty() && !name.starts_with('#'))?;
        let gid = columns.nth(1)?.parse().ok()?;
        Some((name, gid, columns.next().unwrap_or_default()))
    })
}

/// The name of a user id, or the number itself: for messages.
pub(crate) fn user_name(uid: u32) -> String {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = accounts(&passwd).find(|account| account.1 == uid).map(|a| a.0.to_owned());
    name.unwrap_or_else(|| uid.to_string())
}

/// The name of a group id, or the number itself: for messages.
pub(crate) fn group_name(gid: u32) -> String {
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    let name = entries(&groups).find(|entry| entry.1 == gid).map(|e| e.0.to_owned());
    name.unwrap_or_else(|| gid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n\
        broken line\n#weir:x:1:1::/:/bin/sh\n\
        weir:x:990:985:Weir:/:/usr/sbin/nologin\n";
    const GROUP: &str = "root:x:0:\nssl-cert:x:101:postgres,weir\nweir:x:985:\nadm:x:4:weirdo\n\
        logs:x:900:weir\n";

    #[test]
    fn names_and_numbers_are_found_with_their_groups() {
        let check = |user: &str, group: Option<&str>, uid, gid, name: &str, groups: &[u32]| {
            let found = ServiceUser::find_in(PASSWD, GROUP, user, group).unwrap();
            let (group, groups) = (name.to_owned(), groups.to_vec());
            let user = if uid == 990 { "weir" } else { user }.to_owned();
            assert_eq!(found, ServiceUser { name: user, uid, gid, group, groups });
        };
        check("weir", None, 990, 985, "weir", &[101, 900]);
        check("990", None, 990, 985, "weir", &[101, 900]);
        check("weir", Some("ssl-cert"), 990, 101, "ssl-cert", &[900]);
        check("weir", Some("12345"), 990, 12345, "12345", &[101, 900]);
        check("5000", Some("weir"), 5000, 985, "weir", &[]);
    }

    #[test]
    fn what_cannot_be_taken_says_what_would_help() {
        let check = |user, group, expect: &str| {
            let error = ServiceUser::find_in(PASSWD, GROUP, user, group).unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
        };
        check("wier", None, "useradd --system");
        check("weir", Some("wier"), "groupadd --system wier");
        check("5000", None, "group must be set");
        check("root", None, "is root");
        check("0", Some("weir"), "is root");
        check("-1", None, "not in /etc/passwd");
    }

    #[test]
    fn names_for_messages_fall_back_to_numbers() {
        assert_eq!(user_name(0), "root");
        assert_eq!(group_name(0), "root");
        assert_eq!(user_name(4_000_000_001), "4000000001");
        assert_eq!(group_name(4_000_000_001), "4000000001");
    }
}
