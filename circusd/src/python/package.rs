//! The Python package `circus` that we bring along, as files that a Python can import.
//!
//! Its sources are in `circusd/python` and in this program; [`unpack`] puts them into a directory that only
//! our own user can change, and looks at what is there already before anybody is sent to it. A `circus` that
//! is installed for an interpreter goes first: see `circus/__init__.py`.

use nix::unistd::geteuid;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use tokio::task;
use tracing::warn;

/// Names below the directory, and what is in the files.
const FILES: &[(&str, &str)] = &[
    ("circus/__init__.py", include_str!("../../python/circus/__init__.py")),
    ("circus/_async_client.py", include_str!("../../python/circus/_async_client.py")),
    ("circus/_daemon.py", include_str!("../../python/circus/_daemon.py")),
    ("circus/_definition.py", include_str!("../../python/circus/_definition.py")),
    ("circus/_remote.py", include_str!("../../python/circus/_remote.py")),
    ("circus/arbiter.py", include_str!("../../python/circus/arbiter.py")),
    ("circus/circusd.py", include_str!("../../python/circus/circusd.py")),
    ("circus/client.py", include_str!("../../python/circus/client.py")),
    ("circus/consumer.py", include_str!("../../python/circus/consumer.py")),
    ("circus/exc.py", include_str!("../../python/circus/exc.py")),
    ("circus/pidfile.py", include_str!("../../python/circus/pidfile.py")),
    ("circus/plugins/__init__.py", include_str!("../../python/circus/plugins/__init__.py")),
    (
        "circus/plugins/_asyncio_loop.py",
        include_str!("../../python/circus/plugins/_asyncio_loop.py"),
    ),
    ("circus/plugins/_loop.py", include_str!("../../python/circus/plugins/_loop.py")),
    ("circus/plugins/statsd.py", include_str!("../../python/circus/plugins/statsd.py")),
    ("circus/sockets.py", include_str!("../../python/circus/sockets.py")),
    ("circus/stats/__init__.py", include_str!("../../python/circus/stats/__init__.py")),
    ("circus/stats/client.py", include_str!("../../python/circus/stats/client.py")),
    ("circus/util.py", include_str!("../../python/circus/util.py")),
    ("circus/watcher.py", include_str!("../../python/circus/watcher.py")),
];

/// What others may do to a file or directory without anybody being harmed: read it.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Others can make files in such a directory, but not take away ours.
const STICKY: u32 = 0o1000;

/// The package cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// Something that is not ours is in the way.
    #[error("{path} does not belong to our user alone", path = .0.display())]
    Foreign(PathBuf),
    /// The system refused.
    #[error("cannot write to {path}: {source}", path = .path.display())]
    Io {
        /// What was to be written.
        path: PathBuf,
        /// Why it was not.
        #[source]
        source: io::Error,
    },
}

/// The directory with the package, complete and unchanged. Reads and writes files.
///
/// It is below `/run` for root, else below XDG_RUNTIME_DIR, else in the directory for temporary files. Its name has
/// version and user, and a fingerprint, so that builds of one version with other sources have their own.
///
/// # Errors
/// [`PackageError`].
pub fn unpack() -> Result<PathBuf, PackageError> {
    /// Where it went when others were in the way.
    static ELSEWHERE: Mutex<Option<PathBuf>> = Mutex::new(None);
    let name = format!("circus-python-{}-{:016x}-{}", crate::VERSION, fingerprint(), geteuid());
    let parents = parents();
    let mut failure = None;
    for parent in &parents {
        match unpack_as(parent, &parent.join(&name)) {
            Ok(path) => return Ok(path),
            Err(error) => failure = Some(error),
        }
    }
    // Somebody has made a directory of that name before us; there they shall not hold us up.
    let mut elsewhere = ELSEWHERE.lock().unwrap_or_else(PoisonError::into_inner);
    let temporary = std::env::temp_dir();
    let path = elsewhere.get_or_insert_with(|| temporary.join(format!("{name}-{}", unused())));
    unpack_as(&temporary, path).map_err(|error| failure.unwrap_or(error))
}

/// FNV-1a over all sources: names them, and is no protection.
fn fingerprint() -> u64 {
    let texts = FILES.iter().flat_map(|(name, text)| [name, text]);
    let bytes = texts.flat_map(|text| text.bytes().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The same beside the event loop. If it cannot be had there is none, and a warning with what follows from that.
pub async fn directory(without: &str) -> Option<String> {
    let reason = match task::spawn_blocking(unpack).await {
        Ok(Ok(path)) => return Some(path.display().to_string()),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    warn!("{without}, for our package cannot be unpacked: {reason}");
    None
}

/// Directories for things that do not outlive the machine, the best first.
fn parents() -> Vec<PathBuf> {
    let session = if geteuid().is_root() {
        Some(PathBuf::from("/run"))
    } else {
        std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute())
    };
    session.into_iter().chain([std::env::temp_dir()]).collect()
}

fn unpack_as(parent: &Path, directory: &Path) -> Result<PathBuf, PackageError> {
    let meta = fs::metadata(parent).map_err(failed(parent))?;
    let trusted = meta.uid() == 0 || meta.uid() == geteuid().as_raw();
    if !trusted || (meta.mode() & WRITABLE_BY_OTHERS != 0 && meta.mode() & STICKY == 0) {
        return Err(PackageError::Foreign(parent.to_owned()));
    }
    private_directory(directory)?;
    for (name, text) in FILES {
        let path = directory.join(name);
        let own = path.ancestors().skip(1).take_while(|folder| *folder != directory);
        for folder in own.collect::<Vec<_>>().into_iter().rev() {
            private_directory(folder)?;
        }
        if !is_intact(&path, text) {
            write(&path, text).map_err(failed(&path))?;
        }
    }
    Ok(directory.to_owned())
}

/// Workers and plugins of root may run as somebody else, who has to be able to read it.
fn mode(private: u32) -> u32 {
    if geteuid().is_root() {
        private | (private & 0o500) >> 3 | (private & 0o500) >> 6
    } else {
        private
    }
}

/// Makes the directory, unless it is there and only we can change it.
fn private_directory(path: &Path) -> Result<(), PackageError> {
    match DirBuilder::new().mode(0o700).create(path) {
        // The mode that was asked for is subject to the umask.
        Ok(()) => {
            fs::set_permissions(path, Permissions::from_mode(mode(0o700))).map_err(failed(path))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let meta = fs::symlink_metadata(path).map_err(failed(path))?;
            if meta.is_dir() && is_ours(&meta) {
                Ok(())
            } else {
                Err(PackageError::Foreign(path.to_owned()))
            }
        }
        Err(error) => Err(failed(path)(error)),
    }
}

fn is_ours(meta: &fs::Metadata) -> bool {
    meta.uid() == geteuid().as_raw() && meta.mode() & WRITABLE_BY_OTHERS == 0
}

/// Whether the file is ours and has this text.
fn is_intact(path: &Path, text: &str) -> bool {
    let Ok(file) =
        OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)
    else {
        return false;
    };
    let expected = text.len() as u64;
    let mut found = Vec::new();
    file.metadata().is_ok_and(|meta| meta.is_file() && is_ours(&meta) && meta.len() == expected)
        && file.take(expected + 1).read_to_end(&mut found).is_ok()
        && found == text.as_bytes()
}

/// Writes it beside and puts it into its place whole, because another circusd may do the same and somebody may
/// be reading.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let beside = path.with_extension(format!("{}.new", unused()));
    let written = File::options().write(true).create_new(true).mode(0o600).open(&beside).and_then(
        |mut file| {
            file.write_all(text.as_bytes())?;
            file.set_permissions(Permissions::from_mode(mode(0o600)))
        },
    );
    let placed = written.and_then(|()| fs::rename(&beside, path));
    if placed.is_err() {
        // What is said is why it was not written.
        let _ = fs::remove_file(&beside);
    }
    placed
}

/// A part of a name that nobody else uses.
fn unused() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{}-{count}-{:08x}", std::process::id(), fastrand::u32(..))
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> PackageError {
    let path = path.to_owned();
    |source| PackageError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::os::unix::fs::symlink;

    /// Every file below it, by its name.
    fn files(folder: &Path) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(next) = folders.pop() {
            for entry in fs::read_dir(next).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.extend((!path.ends_with("__pycache__")).then_some(path));
                } else {
                    let name = path.strip_prefix(folder).unwrap().display().to_string();
                    found.insert(name, fs::read_to_string(&path).unwrap());
                }
            }
        }
        found
    }

    #[test]
    fn every_source_is_unpacked() {
        let sources = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("python"));
        let parent = tempfile::tempdir().unwrap();
        let unpacked = unpack_as(parent.path(), &parent.path().join("p")).unwrap();
        assert_eq!(files(&unpacked), sources);
    }

    #[test]
    fn what_was_changed_or_lost_is_put_right() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("p");
        unpack_as(parent.path(), &directory).unwrap();
        let whole = files(&directory);
        let path = |name: &str| directory.join("circus").join(name);
        fs::write(path("client.py"), "raise SystemExit").unwrap();
        fs::remove_file(path("util.py")).unwrap();
        fs::set_permissions(path("exc.py"), Permissions::from_mode(0o666)).unwrap();
        fs::remove_file(path("consumer.py")).unwrap();
        symlink("/etc/passwd", path("consumer.py")).unwrap();
        unpack_as(parent.path(), &directory).unwrap();
        assert_eq!(files(&directory), whole);
        assert!(path("consumer.py").symlink_metadata().unwrap().is_file());
        assert_eq!(path("exc.py").metadata().unwrap().mode() & WRITABLE_BY_OTHERS, 0);
    }

    #[test]
    fn nobody_is_sent_where_others_can_write() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("p");
        let refused =
            |parent: &Path| matches!(unpack_as(parent, &directory), Err(PackageError::Foreign(_)));
        let open =
            |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        open(parent.path(), 0o777);
        assert!(refused(parent.path()));
        open(parent.path(), 0o1777);
        assert!(!refused(parent.path()));
        open(&directory, 0o777);
        assert!(refused(parent.path()));
        fs::remove_dir_all(&directory).unwrap();
        symlink(parent.path(), &directory).unwrap();
        assert!(refused(parent.path()));
    }
}
