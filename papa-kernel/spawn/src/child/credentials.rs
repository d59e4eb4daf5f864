//! Users and groups: looked up before the fork, where that is allowed.

use std::ffi::CString;
use std::io;

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};

use super::error::SpawnError;

/// The user and groups that a process runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User number; `None` keeps the caller's.
    pub uid: Option<u32>,
    /// Group number.
    pub gid: u32,
    /// Supplementary groups; `None` where the caller may not set them and need not.
    pub groups: Option<Vec<u32>>,
}

impl Credentials {
    /// Looks up a user and a group, each by name or number. A user alone brings its primary and
    /// supplementary groups; neither is `None`.
    ///
    /// # Errors
    /// When one of them does not exist.
    pub fn resolve(uid: Option<&str>, gid: Option<&str>) -> Result<Option<Self>, SpawnError> {
        let group = gid.map(find_group).transpose()?;
        let Some(name) = uid else {
            return Ok(group.map(|gid| Self {
                uid: None,
                gid,
                groups: may_set_groups().then(|| vec![gid]),
            }));
        };
        let user = find_user(name)?;
        let gid = group.unwrap_or(user.gid.as_raw());
        let groups = if may_set_groups() { Some(groups_of(&user, gid)?) } else { None };
        Ok(Some(Self { uid: Some(user.uid.as_raw()), gid, groups }))
    }
}

fn may_set_groups() -> bool {
    nix::unistd::geteuid().is_root()
}

fn find_user(name: &str) -> Result<User, SpawnError> {
    let failed =
        |errno: nix::Error| SpawnError::Lookup { name: name.to_owned(), source: errno.into() };
    if name.bytes().all(|byte| byte.is_ascii_digit()) {
        let unknown = || SpawnError::UnknownUserId(name.to_owned());
        let id = name.parse().map_err(|_| unknown())?;
        return User::from_uid(Uid::from_raw(id)).map_err(failed)?.ok_or_else(unknown);
    }
    let unknown = || SpawnError::UnknownUserName(name.to_owned());
    User::from_name(name).map_err(failed)?.ok_or_else(unknown)
}

fn find_group(name: &str) -> Result<u32, SpawnError> {
    let failed =
        |errno: nix::Error| SpawnError::Lookup { name: name.to_owned(), source: errno.into() };
    let unknown = || SpawnError::UnknownGroup(name.to_owned());
    let group = if name.bytes().all(|byte| byte.is_ascii_digit()) {
        let id = name.parse().map_err(|_| unknown())?;
        Group::from_gid(Gid::from_raw(id))
    } else {
        Group::from_name(name)
    };
    Ok(group.map_err(failed)?.ok_or_else(unknown)?.gid.as_raw())
}

fn groups_of(user: &User, gid: u32) -> Result<Vec<u32>, SpawnError> {
    let failed = |source: io::Error| SpawnError::Lookup { name: user.name.clone(), source };
    let name = CString::new(user.name.as_str()).map_err(|error| failed(error.into()))?;
    let groups = getgrouplist(&name, Gid::from_raw(gid)).map_err(|errno| failed(errno.into()))?;
    Ok(groups.into_iter().map(Gid::as_raw).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_mean_the_same_user() {
        let by_name = Credentials::resolve(Some("root"), None).unwrap().unwrap();
        let by_number = Credentials::resolve(Some("0"), None).unwrap().unwrap();
        assert_eq!(by_name, by_number);
        assert_eq!((by_name.uid, by_name.gid), (Some(0), 0));
        assert_eq!(Credentials::resolve(None, None).unwrap(), None);
    }

    #[test]
    fn unknown_users_and_groups_are_named() {
        let text = |uid, gid| Credentials::resolve(uid, gid).unwrap_err().to_string();
        assert_eq!(text(Some("no-such-user"), None), "'no-such-user' is not a valid user name");
        assert_eq!(text(Some("99999999999"), None), "'99999999999' is not a valid user id");
        assert_eq!(text(None, Some("no-such-group")), "No such group: 'no-such-group'");
    }
}
