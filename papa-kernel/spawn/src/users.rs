//! Users and groups by name. Asks the system's user database, which may take long.

use nix::unistd::{Gid, Group, User};

/// The number of a user: the text itself where it is one.
pub fn user_number(name: &str) -> Option<u32> {
    let by_name = || Some(User::from_name(name).ok()??.uid.as_raw());
    name.parse().ok().or_else(by_name)
}

/// The number of a group: the text itself where it is one.
pub fn group_number(name: &str) -> Option<u32> {
    let by_name = || Some(Group::from_name(name).ok()??.gid.as_raw());
    name.parse().ok().or_else(by_name)
}

/// The users of a group: those that it names, and those in /etc/passwd whose first group it is.
pub fn members(gid: u32) -> Vec<u32> {
    let group = Group::from_gid(Gid::from_raw(gid)).ok().flatten();
    let named = group.map(|group| group.mem).unwrap_or_default();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = named.iter().filter_map(|name| Some(User::from_name(name).ok()??.uid.as_raw()));
    named.chain(users_of_group(&passwd, gid)).collect()
}

fn users_of_group(passwd: &str, gid: u32) -> impl Iterator<Item = u32> + '_ {
    passwd.lines().filter_map(move |line| {
        let mut fields = line.split(':').skip(2);
        let uid = fields.next()?.parse().ok()?;
        (fields.next()?.parse() == Ok(gid)).then_some(uid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_understood() {
        assert_eq!((user_number("root"), user_number("4711")), (Some(0), Some(4711)));
        assert_eq!((group_number("root"), group_number("no-such-group")), (Some(0), None));
        assert!(members(0).contains(&0));
        assert_eq!(users_of_group("a:x:1:50::/:\nb:x:2:51::\nbroken", 50).collect::<Vec<_>>(), [1]);
    }
}
