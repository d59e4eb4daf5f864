//! What ends up in the files.

use super::*;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

fn stream(path: &Path, more: &[(&str, &str)]) -> FileStream {
    let mut options = options(more);
    options.insert("filename".to_owned(), path.to_str().unwrap().to_owned());
    FileStream::from_options(&options).unwrap()
}

fn options(pairs: &[(&str, &str)]) -> IndexMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn chunk(data: &[u8]) -> Chunk {
    Chunk { pid: 1, data: data.to_vec(), ..Chunk::default() }
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    backups::with_suffix(path, &number.to_string())
}

#[test]
fn bytes_are_kept_exactly_without_a_time_format() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.log");
    let mut stream = stream(&path, &[]);
    stream.write(&[chunk(b"a\xff\0"), chunk(b"b\r\n")], true).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"a\xff\0b\r\n");
}

#[test]
fn rotation_keeps_the_newest_backups() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.log");
    let mut stream = stream(&path, &[("max_bytes", "10"), ("backup_count", "2")]);
    for piece in ["aaaaa\n", "bbbbb\n", "ccccc\n", "ddddd\n", "a line over the limit\n"] {
        stream.write(&[chunk(piece.as_bytes())], true).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), "a line over the limit\n");
    assert_eq!(fs::read_to_string(numbered(&path, 1)).unwrap(), "ddddd\n");
    assert_eq!(fs::read_to_string(numbered(&path, 2)).unwrap(), "ccccc\n");
    assert!(!numbered(&path, 3).exists());
}

#[test]
fn a_burst_of_lines_is_spread_over_files_and_no_line_is_torn() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.log");
    for format in [None, Some(("time_format", "T"))] {
        let mut more = vec![("max_bytes", "100"), ("backup_count", "50")];
        more.extend(format);
        let mut stream = stream(&path, &more);
        let burst: String = (0..100).map(|n| format!("line {n}\n")).collect();
        // A line that comes in parts.
        let (one, two) = burst.split_at(503);
        stream.write(&[chunk(one.as_bytes())], false).unwrap();
        stream.write(&[chunk(two.as_bytes())], false).unwrap();
        let mut all = String::new();
        for number in (0..50).rev() {
            let path = if number == 0 { path.clone() } else { numbered(&path, number) };
            let Ok(text) = fs::read_to_string(&path) else { continue };
            assert!(text.len() < 100, "{text:?}");
            assert!(text.ends_with('\n'), "{text:?}");
            all.push_str(&text.replace("T [1] | ", ""));
            fs::remove_file(&path).unwrap();
        }
        assert_eq!(all, burst);
    }
}

#[test]
fn what_could_not_be_written_is_written_when_the_directory_is_there_again() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("logs");
    let path = folder.join("x.log");
    fs::create_dir(&folder).unwrap();
    let mut stream = stream(&path, &[]);
    stream.write(&[chunk(b"gone\n")], true).unwrap();
    // The stream still has the file open.
    fs::remove_dir_all(&folder).unwrap();
    assert!(stream.write(&[chunk(b"one\n")], true).is_err());
    assert!(stream.write(&[chunk(b"two\n")], true).is_err());
    fs::create_dir(&folder).unwrap();
    stream.write(&[], true).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"one\ntwo\n");
}

#[test]
fn what_finds_no_room_is_counted_and_marked_in_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("logs");
    let path = folder.join("x.log");
    let mut stream = stream(&path, &[]);
    let much = vec![b'x'; MAX_WAITING + 1];
    assert!(stream.write(&[chunk(&much), chunk(b"beyond\n")], true).is_err());
    assert!(stream.write(&[chunk(b"and more\n")], true).is_err());
    fs::create_dir(&folder).unwrap();
    stream.write(&[chunk(b"after\n")], true).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let (_, tail) = text.split_at(much.len());
    assert_eq!(tail, "\ncircusd: 22 bytes of output are missing here\n");
    stream.write(&[chunk(b"later\n")], true).unwrap();
    assert!(fs::read_to_string(&path).unwrap().ends_with("here\nlater\n"));
}

#[test]
fn a_deleted_file_is_made_again_and_a_moved_one_is_followed_only_when_watched() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.log");
    let old = dir.path().join("x.old");
    let mut plain = stream(&path, &[]);
    plain.write(&[chunk(b"1\n")], true).unwrap();
    fs::rename(&path, &old).unwrap();
    plain.write(&[chunk(b"2\n")], true).unwrap();
    assert_eq!(fs::read(&old).unwrap(), b"1\n2\n");
    fs::remove_file(&old).unwrap();
    plain.write(&[chunk(b"3\n")], true).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"3\n");
    drop(plain);

    let options = options(&[("filename", path.to_str().unwrap())]);
    let mut watched = FileStream::watched(&options).unwrap();
    watched.write(&[chunk(b"4\n")], true).unwrap();
    fs::rename(&path, &old).unwrap();
    watched.write(&[chunk(b"5\n")], true).unwrap();
    assert_eq!(fs::read(&old).unwrap(), b"3\n4\n");
    assert_eq!(fs::read(&path).unwrap(), b"5\n");
}

#[test]
fn a_file_that_was_cut_to_nothing_goes_on_from_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.log");
    let mut stream = stream(&path, &[("max_bytes", "10"), ("backup_count", "2")]);
    stream.write(&[chunk(b"12345678\n")], true).unwrap();
    // logrotate with copytruncate.
    File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    stream.write(&[chunk(b"abcdefgh\n")], true).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"abcdefgh\n");
    assert!(!numbered(&path, 1).exists());
}

#[test]
fn two_streams_on_one_file_rotate_it_together() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("both.log");
    let more = [("max_bytes", "25"), ("backup_count", "5")];
    let (mut out, mut err) = (stream(&path, &more), stream(&path, &more));
    for n in 0..3 {
        out.write(&[chunk(format!("out {n:04}\n").as_bytes())], false).unwrap();
        err.write(&[chunk(format!("err {n:04}\n").as_bytes())], false).unwrap();
    }
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    assert_eq!(read(&numbered(&path, 2)), "out 0000\nerr 0000\n");
    assert_eq!(read(&numbered(&path, 1)), "out 0001\nerr 0001\n");
    assert_eq!(read(&path), "out 0002\nerr 0002\n");
}

#[test]
fn a_full_device_keeps_what_it_did_not_take() {
    let mut stream = stream(Path::new("/dev/full"), &[("max_bytes", "1"), ("backup_count", "1")]);
    let error = stream.write(&[chunk(b"x\n")], true).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(stream.waiting.len(), 1);
    assert!(!Path::new("/dev/full.1").exists());
}

#[test]
fn a_pipe_that_nobody_reads_is_an_error_and_not_a_wait() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut stream = stream(&path, &[]);
    assert!(stream.write(&[chunk(b"one\n")], true).is_err());
    let reader = File::options().read(true).write(true).open(&path).unwrap();
    stream.write(&[], true).unwrap();
    let mut text = [0; 4];
    (&reader).read_exact(&mut text).unwrap();
    assert_eq!(&text, b"one\n");
}

#[test]
fn a_file_that_cannot_be_renamed_grows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.log");
    // A directory that is not empty is in the way.
    fs::create_dir_all(numbered(&path, 1).join("in the way")).unwrap();
    let mut stream = stream(&path, &[("max_bytes", "10"), ("backup_count", "1")]);
    for _ in 0..3 {
        stream.write(&[chunk(b"1234567\n")], true).unwrap();
    }
    assert_eq!(fs::read(&path).unwrap().len(), 24);
}

#[test]
fn a_missing_directory_is_named() {
    let mut stream = stream(Path::new("/nowhere/at/all.log"), &[]);
    let error = stream.open().expect_err("no such directory");
    assert!(error.to_string().contains("/nowhere/at/all.log"), "{error}");
}

#[test]
fn a_bad_number_is_named() {
    let options = options(&[("filename", "x"), ("max_bytes", "1k")]);
    let error = FileStream::from_options(&options).err().expect("1k is no number");
    assert_eq!(
        error.to_string(),
        "`max_bytes = 1k` cannot be used; give a whole number, 0 or more"
    );
}
