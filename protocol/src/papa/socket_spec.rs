//! What `make socket` carries.

use super::line::{Form, Word};
use super::option::{Options, flag, keyword, number, umask};
use super::spec::SpecError;

/// Address family of a managed socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Family {
    /// IPv4.
    #[default]
    Inet,
    /// IPv6.
    Inet6,
    /// A path.
    Unix,
}

/// Type of a managed socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Kind {
    /// SOCK_STREAM.
    #[default]
    Stream,
    /// SOCK_DGRAM.
    Dgram,
    /// SOCK_RAW.
    Raw,
    /// SOCK_RDM.
    Rdm,
    /// SOCK_SEQPACKET.
    Seqpacket,
}

const FAMILIES: [(&str, Family); 3] =
    [("inet", Family::Inet), ("inet6", Family::Inet6), ("unix", Family::Unix)];
const KINDS: [(&str, Kind); 5] = [
    ("stream", Kind::Stream),
    ("dgram", Kind::Dgram),
    ("raw", Kind::Raw),
    ("rdm", Kind::Rdm),
    ("seqpacket", Kind::Seqpacket),
];

impl Family {
    /// The word on the wire.
    pub fn name(self) -> &'static str {
        FAMILIES.iter().find(|(_, family)| *family == self).map_or("inet", |(name, _)| name)
    }

    /// The family of this name, in any case, `AF_` allowed in front.
    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let name = name.strip_prefix("af_").unwrap_or(&name);
        FAMILIES.iter().find(|(known, _)| *known == name).map(|(_, family)| *family)
    }
}

impl Kind {
    /// The word on the wire.
    pub fn name(self) -> &'static str {
        KINDS.iter().find(|(_, kind)| *kind == self).map_or("stream", |(name, _)| name)
    }

    /// The type of this name, in any case, `SOCK_` allowed in front.
    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let name = name.strip_prefix("sock_").unwrap_or(&name);
        KINDS.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
    }
}

/// What `make socket` carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketSpec {
    /// Unique among managed sockets.
    pub name: String,
    /// Unix if only a path is given.
    pub family: Family,
    /// Stream unless said otherwise.
    pub kind: Kind,
    /// Length of the accept queue; 5 unless said otherwise.
    pub backlog: u32,
    /// Address or host name; loopback if absent, any address with an interface.
    pub host: Option<String>,
    /// Absent or 0: any free port.
    pub port: Option<u16>,
    /// Absolute path of a unix socket.
    pub path: Option<Vec<u8>>,
    /// Mask for the path's mode; decimal on the wire.
    pub umask: Option<u32>,
    /// Accept only what arrives over this network interface.
    pub interface: Option<String>,
    /// Each process gets a socket of its own, bound to the same port.
    pub reuseport: bool,
}

impl Default for SocketSpec {
    fn default() -> Self {
        Self {
            name: String::new(),
            family: Family::Inet,
            kind: Kind::Stream,
            backlog: 5,
            host: None,
            port: None,
            path: None,
            umask: None,
            interface: None,
            reuseport: false,
        }
    }
}

impl SocketSpec {
    /// Reads the words after `make socket`. What follows the options is ignored, as in papa.
    ///
    /// # Errors
    /// [`SpecError`] names the option that cannot be used.
    pub fn parse(words: &[Word]) -> Result<Self, SpecError> {
        let (name, words) = words.split_first().ok_or(SpecError::NoSocketName)?;
        let mut spec = Self { name: name.text()?, ..Self::default() };
        if spec.name.contains(char::is_control) {
            return Err(SpecError::BadName(spec.name.escape_debug().to_string()));
        }
        let mut family = None;
        for (name, value) in words.iter().map_while(Word::option) {
            match name.text()?.as_str() {
                "family" => family = Some(keyword("family", &value, Family::from_name)?),
                "type" => spec.kind = keyword("type", &value, Kind::from_name)?,
                "backlog" => spec.backlog = number("backlog", &value, "a number")?,
                "host" => spec.host = Some(value.text()?).filter(|host| !host.is_empty()),
                "port" => spec.port = Some(number("port", &value, "a number up to 65535")?),
                "path" => spec.path = Some(value.bytes()?),
                "umask" => spec.umask = Some(umask(&value)?),
                "interface" => spec.interface = Some(value.text()?),
                "reuseport" => spec.reuseport = flag("reuseport", &value)?,
                other => return Err(SpecError::UnknownOption(other.to_owned())),
            }
        }
        let by_path = if spec.path.is_some() { Family::Unix } else { Family::Inet };
        spec.family = family.unwrap_or(by_path);
        Ok(spec)
    }

    /// The host, or the one that is meant when none is given.
    pub fn host_or_default(&self) -> &str {
        let default = match (self.family, &self.interface) {
            (Family::Inet6, None) => "::1",
            (Family::Inet6, Some(_)) => "::",
            (_, None) => "127.0.0.1",
            (_, Some(_)) => "0.0.0.0",
        };
        self.host.as_deref().unwrap_or(default)
    }

    /// Whether `wanted` describes the socket that was made so and got this port. The port may be left out,
    /// and reuseport takes no part (golden case sockets/inet-differs).
    pub fn describes(&self, wanted: &Self, port: Option<u16>) -> bool {
        let by_path = self.family == Family::Unix;
        self.family == wanted.family
            && self.kind == wanted.kind
            && self.backlog == wanted.backlog
            && self.path == wanted.path
            && self.umask == wanted.umask
            && self.interface == wanted.interface
            && (by_path || self.host_or_default() == wanted.host_or_default())
            && wanted.port.is_none_or(|wanted| wanted == 0 || Some(wanted) == port)
    }

    /// Appends the request line that makes this socket, without its line feed.
    pub fn print(&self, form: Form, out: &mut Vec<u8>) {
        let mut line = Options::begin("make socket", form, &self.name, out);
        line.option("family", Some(self.family.name().as_bytes()));
        line.option("type", Some(self.kind.name().as_bytes()));
        line.number("backlog", Some(self.backlog));
        line.option("host", self.host.as_deref().map(str::as_bytes));
        line.number("port", self.port);
        line.option("path", self.path.as_deref());
        line.number("umask", self.umask);
        line.option("interface", self.interface.as_deref().map(str::as_bytes));
        line.number("reuseport", self.reuseport.then_some(1));
    }
}
