//! Who may read a file: the user that Weir becomes has to read certificates on every reload.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// An account as the permission bits see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// How it is named in faults.
    pub(crate) name: String,
    /// User id.
    pub(crate) uid: u32,
    /// Group ids, the primary one first.
    pub(crate) gids: Vec<u32>,
}

impl Account {
    /// The account of this name in the texts of `/etc/passwd` and `/etc/group`.
    pub(crate) fn find(
        user: &str,
        group: Option<&str>,
        passwd: &str,
        groups: &str,
    ) -> Option<Self> {
        let mut line = passwd
            .lines()
            .map(|line| line.split(':'))
            .find_map(|mut fields| (fields.next() == Some(user)).then_some(fields))?;
        let uid = line.nth(1)?.parse().ok()?;
        let mut gids = vec![line.next()?.parse().ok()?];
        for entry in groups.lines() {
            let fields: Vec<&str> = entry.split(':').collect();
            let [name, _, gid, members] = fields.as_slice() else { continue };
            let Ok(gid) = gid.parse() else { continue };
            if group == Some(*name) {
                gids.insert(0, gid);
            } else if members.split(',').any(|member| member == user) {
                gids.push(gid);
            }
        }
        Some(Self { name: user.to_owned(), uid, gids })
    }

    /// Whether permission bits give this account what `want` asks for (4 read, 1 search).
    pub(crate) fn may(&self, want: u32, mode: u32, owner: u32, group: u32) -> bool {
        let bits = if self.uid == 0 {
            return true;
        } else if self.uid == owner {
            mode >> 6
        } else if self.gids.contains(&group) {
            mode >> 3
        } else {
            mode
        };
        bits & want == want
    }

    /// Why this account cannot read the file, if permission bits say so.
    pub(crate) fn denied(&self, path: &Path) -> Option<(PathBuf, String)> {
        let real = fs::canonicalize(path).ok()?;
        for folder in real.ancestors().skip(1) {
            let meta = fs::metadata(folder).ok()?;
            if !self.may(1, meta.mode(), meta.uid(), meta.gid()) {
                return Some((folder.to_owned(), describe(meta.mode(), meta.uid(), meta.gid())));
            }
        }
        let meta = fs::metadata(&real).ok()?;
        (!self.may(4, meta.mode(), meta.uid(), meta.gid()))
            .then(|| (real, describe(meta.mode(), meta.uid(), meta.gid())))
    }
}

/// Mode and owners as `ls -ln` has them.
pub(crate) fn describe(mode: u32, uid: u32, gid: u32) -> String {
    format!("mode {:04o}, uid {uid}, gid {gid}", mode & 0o7777)
}

#[cfg(test)]
mod tests {
    use super::Account;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweir:x:990:980::/:/usr/sbin/nologin\n";
    const GROUP: &str = "root:x:0:\nweir:x:980:\nssl-cert:x:110:postfix,weir\nedge:x:970:\n";

    #[test]
    fn an_account_has_its_groups() {
        let weir = Account::find("weir", None, PASSWD, GROUP).unwrap();
        assert_eq!((weir.uid, weir.gids.as_slice()), (990, [980, 110].as_slice()));
        let edge = Account::find("weir", Some("edge"), PASSWD, GROUP).unwrap();
        assert_eq!(edge.gids, [970, 980, 110]);
        assert_eq!(Account::find("wei", None, PASSWD, GROUP), None);
    }

    #[test]
    fn permission_bits_decide() {
        let weir = Account::find("weir", None, PASSWD, GROUP).unwrap();
        for (mode, owner, group, expect) in [
            (0o600, 0, 0, false),
            (0o640, 0, 110, true),
            (0o640, 0, 0, false),
            (0o644, 0, 0, true),
            (0o600, 990, 0, true),
            (0o044, 990, 980, false),
            (0o604, 0, 980, false),
        ] {
            assert_eq!(weir.may(4, mode, owner, group), expect, "{mode:o} {owner} {group}");
        }
    }
}
