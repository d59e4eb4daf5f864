//! Who may give commands: the kernel's own user, root, and whom its flags name.
//!
//! Judges users and groups; who is at the other end of a connection is `peer`'s business.

use std::collections::BTreeSet;
use std::io;

use nix::unistd::Uid;
use papa_handover::Refusal;
use papa_spawn::peer::Peer;
use papa_spawn::users::{group_number, members, user_number};
use protocol::papa::PROMPT;

/// Whom the flags `--allow-user` and `--allow-group` name, beside the kernel's own user and root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Access {
    own: u32,
    users: BTreeSet<u32>,
    groups: BTreeSet<u32>,
    /// The users of `groups` as the system's files had them at the start. Over TCP only the user
    /// of a client is known, and asking the user database later could block the loop.
    members: BTreeSet<u32>,
}

impl Access {
    /// The kernel's own user, root, and those named.
    pub(crate) fn new(users: &[String], groups: &[String]) -> Result<Self, Refusal> {
        let mut access = Self { own: Uid::effective().as_raw(), ..Self::default() };
        for name in users {
            let uid = user_number(name).ok_or_else(|| unknown("user", name))?;
            access.users.insert(uid);
        }
        for name in groups {
            let gid = group_number(name).ok_or_else(|| unknown("group", name))?;
            access.groups.insert(gid);
            access.members.extend(members(gid));
        }
        Ok(access)
    }

    /// Whether a client of this user and these groups may give commands. `None` for the groups:
    /// they are not known.
    fn admits(&self, peer: &Peer) -> bool {
        peer.uid == 0
            || peer.uid == self.own
            || self.users.contains(&peer.uid)
            || match &peer.groups {
                Some(groups) => groups.iter().any(|gid| self.groups.contains(gid)),
                None => self.members.contains(&peer.uid),
            }
    }

    /// Mode and group of the path of a unix socket, so that all who are allowed can connect. Each client's
    /// credentials are checked in any case.
    pub(crate) fn of_path(&self) -> (u32, Option<u32>) {
        match (self.users.is_empty(), self.groups.len(), self.groups.first()) {
            (true, 0, _) => (0o600, None),
            (true, 1, group) => (0o660, group.copied()),
            _ => (0o666, None),
        }
    }

    /// Whether who has connected may give commands; otherwise what the client reads.
    pub(crate) fn judge(&self, peer: io::Result<Peer>) -> Result<(), String> {
        match peer {
            Ok(peer) if self.admits(&peer) => Ok(()),
            Ok(Peer { uid, .. }) => {
                tracing::warn!(uid, "turned a client away");
                Err(format!(
                    "Error: User {uid} may not give commands to this kernel; see --allow-user\n{PROMPT}"
                ))
            }
            Err(error) => {
                // Most have only looked whether somebody listens.
                tracing::debug!(%error, "could not tell who connected");
                Err(format!("Error: Could not tell which user is connecting\n{PROMPT}"))
            }
        }
    }
}

fn unknown(kind: &str, name: &str) -> Refusal {
    Refusal::new(format!("unknown {kind} `{name}`; give a name or a number to --allow-{kind}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> Access {
        Access {
            own: 1000,
            users: BTreeSet::from([1001]),
            groups: BTreeSet::from([50]),
            members: BTreeSet::from([1002]),
        }
    }

    fn admitted(uid: u32, groups: Option<&[u32]>) -> bool {
        access().admits(&Peer { uid, groups: groups.map(<[u32]>::to_vec) })
    }

    #[test]
    fn only_the_owner_root_and_the_named_are_admitted() {
        assert!(admitted(0, None) && admitted(1000, None) && admitted(1001, Some(&[])));
        assert!(!admitted(65534, None) && !admitted(65534, Some(&[65534])));
        assert!(admitted(65534, Some(&[7, 50])));
    }

    #[test]
    fn membership_is_the_connections_where_it_is_known() {
        assert!(admitted(1002, None));
        // Left the group since the kernel started, or dropped it before connecting.
        assert!(!admitted(1002, Some(&[1002])));
    }

    #[test]
    fn roots_own_kernel_serves_root_only() {
        let access = Access { own: 0, ..Access::default() };
        assert!(access.admits(&Peer { uid: 0, groups: None }));
        assert!(!access.admits(&Peer { uid: 1, groups: Some(vec![0]) }));
    }

    #[test]
    fn a_path_is_opened_as_far_as_it_must_be() {
        let open = |users: &[u32], groups: &[u32]| {
            let (users, groups) =
                (users.iter().copied().collect(), groups.iter().copied().collect());
            Access { users, groups, ..Access::default() }.of_path()
        };
        assert_eq!(open(&[], &[]), (0o600, None));
        assert_eq!(open(&[], &[50]), (0o660, Some(50)));
        assert_eq!(open(&[], &[50, 51]), (0o666, None));
        assert_eq!(open(&[1], &[50]), (0o666, None));
    }

    #[test]
    fn names_and_numbers_are_understood() {
        let one = |text: &str| [text.to_owned()];
        assert!(Access::new(&one("4711"), &[]).unwrap().users.contains(&4711));
        assert!(Access::new(&one("root"), &one("0")).unwrap().members.contains(&0));
        let text = Access::new(&one("no-such-user"), &[]).unwrap_err().to_string();
        assert_eq!(text, "unknown user `no-such-user`; give a name or a number to --allow-user");
        assert!(Access::new(&[], &one("no-such-group")).is_err());
    }
}
