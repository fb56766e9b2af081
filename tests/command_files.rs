//! Files that lie, places that cannot be written, streams that fail: what a hostile user gives the command.

#[path = "common/command.rs"]
mod command;
mod common;

use command::{files, folder, npy, safetensors, sepconv};

/// Names, shapes and values of the tensors of a file.
type Tensors<'a> = &'a [(&'a str, &'a [u32], &'a [f32])];

#[test]
fn tensors_of_another_kind_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let values = [0.0; 16];
    let cases: [(Tensors, &str, &str); 7] = [
        (&[("input", &[1, 4, 4], &values)], "conv", "weight is missing"),
        (&[("weight", &[1, 1, 4, 4], &values)], "conv", "input is missing"),
        (&[("input", &[1, 4, 4], &values), ("weight", &[1, 1, 4, 4], &values)], "conv", "input has 3 axes"),
        (
            &[("input", &[1, 1, 4, 4], &values), ("weight", &[1, 1, 4, 4], &values), ("bias", &[1, 1], &[0.0])],
            "conv",
            "bias has 2 axes",
        ),
        (&[("input", &[1, 1, 4, 4], &values)], "separable", "depthwise.weight is missing"),
        (
            &[
                ("input", &[1, 1, 4, 4], &values),
                ("depthwise.weight", &[1, 4, 2, 2], &values),
                ("pointwise.weight", &[1, 1, 1, 1], &[0.0]),
            ],
            "separable",
            "depthwise.weight has shape",
        ),
        (
            &[
                ("input", &[1, 1, 4, 4], &values),
                ("depthwise.weight", &[1, 1, 1, 1], &[0.0]),
                ("pointwise.weight", &[1, 2, 1, 1], &[0.0; 2]),
            ],
            "separable",
            "pointwise.weight has shape",
        ),
    ];
    for (tensors, subcommand, message) in cases {
        std::fs::write(&path, safetensors(tensors)).unwrap();
        sepconv(folder.path(), &format!("{subcommand} a.safetensors --out out.npy")).assert_refused(message);
    }
}

/// Files that are cut off, or whose header says what is not so.
#[test]
fn hostile_files_are_refused() {
    let folder = folder();
    let whole = std::fs::read(folder.path().join("layer.safetensors")).unwrap();
    let header = |length: u64, json: &str| [length.to_le_bytes().as_slice(), json.as_bytes()].concat();
    let tensor = |shape: &str, offsets: &str| {
        let json = format!(r#"{{"input":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}}}"#);
        header(json.len() as u64, &json)
    };
    let mut cases: Vec<Vec<u8>> = [0, 1, 7, 8, 9, 100, whole.len() - 1].map(|end| whole[..end].to_vec()).into();
    cases.extend([
        header(u64::MAX, "{}"),
        header(1 << 40, "{}"),
        header(2, "{}"),
        header(4, "NaN "),
        header(100_000, &"[".repeat(100_000)),
        tensor("[1,1,1000000,1000000]", "[0,4000000000000]"),
        tensor("[18446744073709551615,18446744073709551615]", "[0,4]"),
        tensor("[1,1,1,1]", "[4,0]"),
        tensor("[1,1,1,1]", "[18446744073709551612,0]"),
        tensor("[-1]", "[0,4]"),
        tensor("[1,1,1,1]", "[0,8]"),
    ]);
    let two = |first: &str, second: (&str, &str)| {
        let entry = |name: &str, offsets: &str| {
            format!(r#""{name}":{{"dtype":"F32","shape":[1,1,1,1],"data_offsets":{offsets}}}"#)
        };
        let json = format!("{{{},{}}}", entry(first, "[0,4]"), entry(second.0, second.1));
        [header(json.len() as u64, &json), vec![0; 4]].concat()
    };
    // One tensor over another, one outside the file, and a name that stands there twice, once with an escape.
    cases.extend(
        [("weight", "[0,4]"), ("weight", "[2,6]"), ("weight", "[4,8]"), ("weight", "[8,12]")].map(|w| two("input", w)),
    );
    cases.extend([two("input", ("input", "[0,4]")), two("input", (r"\u0069nput", "[0,4]"))]);
    for (index, bytes) in cases.iter().enumerate() {
        std::fs::write(folder.path().join("bad.safetensors"), bytes).unwrap();
        let run = sepconv(folder.path(), "conv bad.safetensors --out out.npy");
        run.assert_refused("bad.safetensors");
        assert!(!folder.path().join("out.npy").exists(), "case {index}");
    }

    let nested = "(".repeat(1000);
    for bytes in [
        Vec::new(),
        b"\x93NUMPY".to_vec(),
        b"\x93NUMPY\x02\x00\xff\xff\xff\x7f{".to_vec(),
        b"\x93NUMPY\x03\x00\xff\xff\xff\xff{".to_vec(),
        b"\x93NUMPY\x04\x00\x01\x00\x00\x00{".to_vec(),
        npy("<f4", "(1, 1, 100000, 100000)", &[0.0]),
        npy("<f4", "(4294967296, 4294967296, 4, 4)", &[0.0]),
        npy("<f8", "(1, 1, 1, 1)", &[0.0; 2]),
        npy("<f4", &nested, &[0.0]),
    ] {
        std::fs::write(folder.path().join("bad.npy"), bytes).unwrap();
        sepconv(folder.path(), "conv bad.npy --weight weight.npy --out out.npy").assert_refused("bad.npy");
    }

    let png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\x7f\xff\xff\xff\x7f\xff\xff\xff\x08\x02\0\0\0\0\0\0\0".to_vec();
    for bytes in [Vec::new(), png, b"\xff\xd8\xff\xe0".to_vec()] {
        std::fs::write(folder.path().join("bad.png"), bytes).unwrap();
        sepconv(folder.path(), "conv bad.png --filter blur --out out.png").assert_refused("bad.png");
        sepconv(folder.path(), "compare --image bad.png --out maps").assert_refused("bad.png");
    }
    assert!(!folder.path().join("maps").exists());
}

/// A length that takes no room on its disk, behind headers that say so and headers that do not.
#[cfg(target_os = "linux")]
#[test]
fn a_long_file_is_not_read_into_memory() {
    use std::io::Write;
    let folder = folder();
    let length = 1_u64 << 40;
    let json = format!(r#"{{"input":{{"dtype":"F32","shape":[1,1,1,{}],"data_offsets":[0,{length}]}}}}"#, length / 4);
    let claims = [(json.len() as u64).to_le_bytes().as_slice(), json.as_bytes()].concat();
    let cases = [
        ("zeros.safetensors", Vec::new(), "conv zeros.safetensors --out out.npy"),
        ("claims.safetensors", claims, "conv claims.safetensors --out out.npy"),
        ("zeros.npy", Vec::new(), "conv zeros.npy --weight weight.npy --out out.npy"),
        (
            "claims.npy",
            npy("<f4", &format!("(1, 1, 1, {})", length / 4), &[]),
            "conv claims.npy --weight weight.npy --out out.npy",
        ),
        ("zeros.png", Vec::new(), "conv zeros.png --filter blur --out out.png"),
    ];
    for (name, start, arguments) in cases {
        let mut file = std::fs::File::create(folder.path().join(name)).unwrap();
        file.write_all(&start).unwrap();
        file.set_len(start.len() as u64 + length).unwrap();
        // Under a limit, so that a mistake here does not take the memory of everything else.
        let limited = std::process::Command::new("sh")
            .args(["-c", "ulimit -v 4000000 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_sepconv")])
            .args(arguments.split(' '))
            .current_dir(folder.path())
            .output()
            .unwrap();
        let message = String::from_utf8(limited.stderr).unwrap();
        assert_eq!(limited.status.code(), Some(2), "{arguments}: {message}");
        assert!(message.contains(name), "{arguments}: {message}");
    }
}

#[cfg(unix)]
#[test]
fn an_output_has_ordinary_permissions_and_links_stay() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("ordinary"), "").unwrap();
    let before = files(folder.path()).len();
    symlink("out.npy", path("link.npy")).unwrap();
    std::fs::write(path("out.npy"), "to be replaced").unwrap();
    sepconv(folder.path(), "conv layer.safetensors --out link.npy").assert_done();
    let mode = |name: &str| std::fs::metadata(path(name)).unwrap().permissions().mode();
    assert_eq!(mode("out.npy"), mode("ordinary"));
    assert!(std::fs::symlink_metadata(path("link.npy")).unwrap().is_symlink());
    assert!(std::fs::read(path("out.npy")).unwrap().starts_with(b"\x93NUMPY"));
    assert_eq!(files(folder.path()).len(), before + 2, "no temporary file stays");
}

/// A reader that has seen enough, and a full disk behind standard error.
#[cfg(target_os = "linux")]
#[test]
fn streams_that_fail_are_no_panic() {
    use std::process::{Command, Stdio};
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let closed = Command::new(env!("CARGO_BIN_EXE_sepconv")).arg("kernels").stdout(writer).output().unwrap();
    assert_eq!(closed.status.code(), Some(0), "{closed:?}");
    for arguments in [&["plan"][..], &["conv", "missing.npy", "--out", "out.npy"]] {
        let full = Stdio::from(std::fs::File::options().write(true).open("/dev/full").unwrap());
        let status = Command::new(env!("CARGO_BIN_EXE_sepconv")).args(arguments).stderr(full).status().unwrap();
        assert_eq!(status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn names_in_a_file_do_not_reach_the_terminal_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..100).map(|index| format!("\x1b[31m{index}")).collect();
    let tensors: Vec<(&str, &[u32], &[f32])> = names.iter().map(|name| (name.as_str(), &[1][..], &[0.0][..])).collect();
    std::fs::write(folder.path().join("a.safetensors"), safetensors(&tensors)).unwrap();
    let run = sepconv(folder.path(), "conv a.safetensors --out out.npy");
    let line = run.assert_refused("and 92 more");
    assert!(!line.contains('\x1b') && line.len() < 300, "{line}");
}

#[cfg(unix)]
#[test]
fn what_never_ends_is_not_read() {
    let folder = folder();
    std::os::unix::fs::symlink("/dev/zero", folder.path().join("zero.npy")).unwrap();
    sepconv(folder.path(), "conv zero.npy --weight weight.npy --out out.npy").assert_refused("zero.npy");
    let made = std::process::Command::new("mkfifo").arg(folder.path().join("pipe.npy")).status();
    assert!(made.unwrap().success());
    sepconv(folder.path(), "conv pipe.npy --weight weight.npy --out out.npy").assert_refused("pipe.npy");
}

#[test]
fn an_output_that_is_no_file_is_left_alone() {
    let folder = folder();
    std::fs::create_dir(folder.path().join("out.npy")).unwrap();
    sepconv(folder.path(), "conv layer.safetensors --out out.npy").assert_refused("--out out.npy");
    assert!(folder.path().join("out.npy").is_dir());
}

/// A file that is replaced is still its owner's, and still as open to others as it was.
#[cfg(unix)]
#[test]
fn a_replaced_file_keeps_its_mode_and_its_owner() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    let folder = folder();
    let out = folder.path().join("out.npy");
    std::fs::write(&out, "to be replaced").unwrap();
    std::fs::set_permissions(&out, PermissionsExt::from_mode(0o640)).unwrap();
    // Only who may do everything can give a file away.
    let _ = chown(&out, Some(12345), Some(23456));
    let before = std::fs::metadata(&out).unwrap();
    sepconv(folder.path(), "conv layer.safetensors --out out.npy --device cpu").assert_done();
    let after = std::fs::metadata(&out).unwrap();
    assert!(std::fs::read(&out).unwrap().starts_with(b"\x93NUMPY"));
    assert_eq!((after.mode(), after.uid(), after.gid()), (before.mode(), before.uid(), before.gid()));
}

#[cfg(unix)]
#[test]
fn a_read_only_file_is_refused_and_a_dangling_link_followed() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("kept.npy"), "kept").unwrap();
    std::fs::set_permissions(path("kept.npy"), PermissionsExt::from_mode(0o444)).unwrap();
    let run = sepconv(folder.path(), "conv layer.safetensors --out kept.npy --device cpu");
    run.assert_refused("--out kept.npy: it is there and is read-only");
    assert_eq!(std::fs::read(path("kept.npy")).unwrap(), b"kept");

    std::fs::create_dir(path("inner")).unwrap();
    symlink("inner/second.npy", path("first.npy")).unwrap();
    symlink("third.npy", path("inner/second.npy")).unwrap();
    sepconv(folder.path(), "conv layer.safetensors --out first.npy --device cpu").assert_done();
    assert!(std::fs::symlink_metadata(path("first.npy")).unwrap().is_symlink());
    assert!(std::fs::symlink_metadata(path("inner/second.npy")).unwrap().is_symlink());
    assert!(std::fs::read(path("inner/third.npy")).unwrap().starts_with(b"\x93NUMPY"));
    symlink("round.npy", path("round.npy")).unwrap();
    sepconv(folder.path(), "conv layer.safetensors --out round.npy --device cpu").assert_refused("--out round.npy");
}

/// A place where no file can be made is refused before anything is computed, by the name that the user gave.
#[cfg(target_os = "linux")]
#[test]
fn a_place_that_cannot_be_written_is_found_first() {
    use std::os::unix::fs::symlink;
    let folder = folder();
    std::fs::write(folder.path().join("a.json"), "not JSON").unwrap();
    symlink("missing", folder.path().join("dangling")).unwrap();
    symlink("/dev/stdout", folder.path().join("stdout.npy")).unwrap();
    let pipe = std::process::Command::new("mkfifo").arg(folder.path().join("pipe")).status();
    assert!(pipe.unwrap().success());
    let long = "long".repeat(100);
    let before = files(folder.path());
    for (arguments, named) in [
        ("conv layer.safetensors --out /proc/out.npy --device cpu", "--out /proc/out.npy"),
        // These would be refused later for their inputs.
        ("separable missing.safetensors --out /proc/out.npy", "--out /proc/out.npy"),
        ("bench --shapes a.json --json /proc/out.json", "--json /proc/out.json"),
        ("bench --shapes a.json --svg /proc/out.svg", "--svg /proc/out.svg"),
        ("tune --shapes a.json --export /proc/out.txt", "--export /proc/out.txt"),
        ("compare --out /proc/maps --device nothing-of-this-name", "--out /proc/maps"),
        ("compare --out a.json/maps --device nothing-of-this-name", "--out a.json/maps"),
        ("compare --out dangling --device nothing-of-this-name", "--out dangling: there is no folder"),
        ("compare --out dangling/maps --device nothing-of-this-name", "--out dangling/maps: there is no folder"),
        (&format!("compare --out {long} --device nothing-of-this-name"), "File name too long"),
        (&format!("bench --shapes a.json --json {long}"), "File name too long"),
        ("bench --shapes a.json --json missing/out.json", "--json missing/out.json: there is no folder missing"),
        ("bench --shapes a.json --json dangling/out.json", "--json dangling/out.json: there is no folder dangling"),
        ("bench --shapes a.json --json out.json/", "--json out.json/: it names no file"),
        ("bench --shapes a.json --json out.json/.", "--json out.json/.: it names no file"),
        ("bench --shapes a.json --json ..", "--json ..: it names no file"),
        ("conv layer.safetensors --out out.npy/ --device cpu", "--out out.npy/: it names no file"),
        // What is no file stays what it is, and is not waited for.
        ("bench --shapes a.json --json /dev/null", "--json /dev/null: it is there and is not a regular file"),
        ("bench --shapes a.json --svg /dev/full", "--svg /dev/full: it is there and is not a regular file"),
        ("bench --shapes a.json --json pipe", "--json pipe: it is there and is not a regular file"),
        ("bench --shapes a.json --json /dev/stdout", "--json /dev/stdout: it leads into /proc"),
        ("bench --json dangling --svg ./missing", "--json and --svg name the same file"),
        ("tune --shapes a.json --export /dev/fd/1", "--export /dev/fd/1: it leads into /proc"),
        ("conv layer.safetensors --out stdout.npy --device cpu", "--out stdout.npy: it leads into /proc"),
    ] {
        let run = sepconv(folder.path(), arguments);
        let line = run.assert_refused(named);
        assert!(!line.contains(".tmp"), "{line}");
    }
    assert_eq!(files(folder.path()), before);
}

/// A file that standard output goes to is open: another one in its place would leave the text without a name.
#[cfg(target_os = "linux")]
#[test]
fn a_redirected_standard_output_is_not_replaced() {
    let folder = folder();
    std::fs::write(folder.path().join("a.json"), "not JSON").unwrap();
    let redirected = std::process::Command::new(env!("CARGO_BIN_EXE_sepconv"))
        .args("bench --shapes a.json --json /dev/stdout".split(' '))
        .current_dir(folder.path())
        .stdout(std::fs::File::create(folder.path().join("out.json")).unwrap())
        .output()
        .unwrap();
    let message = String::from_utf8(redirected.stderr).unwrap();
    assert!(redirected.status.code() == Some(2) && message.contains("--json /dev/stdout: it leads into"), "{message}");
}

/// An input by another name is still an input.
#[cfg(unix)]
#[test]
fn an_input_is_not_written_through_links() {
    use std::os::unix::fs::symlink;
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let input = std::fs::read(path("input.npy")).unwrap();
    std::fs::create_dir(path("inner")).unwrap();
    symlink("../input.npy", path("inner/first.npy")).unwrap();
    symlink("inner/first.npy", path("second.npy")).unwrap();
    symlink("inner", path("other")).unwrap();
    for (read, written) in [
        ("input.npy", "second.npy"),
        ("second.npy", "input.npy"),
        ("second.npy", "inner/first.npy"),
        ("input.npy", "other/../input.npy"),
        ("other/first.npy", "./input.npy"),
    ] {
        let arguments = format!("conv {read} --weight weight.npy --out {written} --device cpu");
        sepconv(folder.path(), &arguments).assert_refused(&format!("--out {written}: this file is also read"));
        assert_eq!(std::fs::read(path("input.npy")).unwrap(), input, "{read} to {written}");
    }
}

/// A disk that is full while the output is written: here a limit on the length of a file.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_no_mistake_of_the_request() {
    let folder = folder();
    let before = files(folder.path());
    let full = std::process::Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_sepconv")])
        .args("conv layer.safetensors --out out.npy --padding 64 --device cpu".split(' '))
        .current_dir(folder.path())
        .output()
        .unwrap();
    let message = String::from_utf8(full.stderr).unwrap();
    assert_eq!(full.status.code(), Some(1), "{message}");
    assert!(message.starts_with("error: --out out.npy: ") && !message.contains(".tmp"), "{message}");
    assert_eq!(files(folder.path()), before);
}

/// Ctrl-C while the output is written.
#[cfg(target_os = "linux")]
#[test]
fn an_interrupted_write_leaves_nothing() {
    // SIGHUP, SIGINT and SIGTERM: who ignores one of them has no handler for the others either.
    const HANDLED: u64 = 1 | 1 << 1 | 1 << 14;
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    if u64::from_str_radix(ignored.trim(), 16).unwrap() & HANDLED != 0 {
        eprintln!("not run: started in the background or by nohup, where such a signal is ignored");
        return;
    }
    let folder = folder();
    let before = files(folder.path());
    for _ in 0..20 {
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_sepconv"))
            .args("conv layer.safetensors --out out.npy --padding 1500 --device cpu".split(' '))
            .current_dir(folder.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // The file that is being written has no name that anybody gave.
        while files(folder.path()) == before && child.try_wait().unwrap().is_none() {}
        let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).output().unwrap();
        let status = child.wait().unwrap();
        if kill.status.success() && !status.success() {
            assert_eq!(status.code(), Some(130), "{status}");
            if files(folder.path()) == before {
                return;
            }
        }
        // It came too late: the whole file has its name, and there is no other one.
        std::fs::remove_file(folder.path().join("out.npy")).unwrap();
        assert_eq!(files(folder.path()), before);
    }
    panic!("the command was never stopped while it wrote");
}

/// Who ignores a signal, as `nohup` does for a terminal that closes, goes on ignoring it while a file is written.
#[cfg(target_os = "linux")]
#[test]
fn an_ignored_signal_stays_ignored() {
    let folder = folder();
    let before = files(folder.path());
    for _ in 0..20 {
        let mut child = std::process::Command::new("sh")
            .args(["-c", "trap '' HUP; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_sepconv")])
            .args("conv layer.safetensors --out out.npy --padding 1500 --device cpu".split(' '))
            .current_dir(folder.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        while files(folder.path()) == before && child.try_wait().unwrap().is_none() {}
        let kill = std::process::Command::new("kill").args(["-HUP", &child.id().to_string()]).output().unwrap();
        let was_in_time = kill.status.success() && !folder.path().join("out.npy").exists();
        assert!(child.wait().unwrap().success());
        std::fs::remove_file(folder.path().join("out.npy")).unwrap();
        assert_eq!(files(folder.path()), before);
        if was_in_time {
            return;
        }
    }
    panic!("the command was never sent a signal while it wrote");
}

/// A tensor without values, wherever one is read.
#[test]
fn a_batch_of_nothing_gives_nothing() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("empty.npy"), npy("<f4", "(0, 2, 3, 3)", &[])).unwrap();
    sepconv(folder.path(), "conv empty.npy --weight weight.npy --out out.npy").assert_done();
    let written = std::fs::read(path("out.npy")).unwrap();
    assert!(String::from_utf8_lossy(&written).contains("(0, 2, 3, 3"), "{written:?}");
    std::fs::write(
        path("empty.safetensors"),
        safetensors(&[
            ("input", &[0, 2, 3, 3], &[]),
            ("depthwise.weight", &[2, 1, 1, 1], &[2.0, 3.0]),
            ("pointwise.weight", &[1, 2, 1, 1], &[1.0, 1.0]),
        ]),
    )
    .unwrap();
    sepconv(folder.path(), "separable empty.safetensors --out out.safetensors").assert_done();
    sepconv(folder.path(), "plan --input 0,2,3,3 --weight 2,2,1,1").assert_done();
    // No other size may be 0, and a weight or a bias without values is named.
    std::fs::write(path("flat.npy"), npy("<f4", "(1, 2, 0, 3)", &[])).unwrap();
    sepconv(folder.path(), "conv flat.npy --weight weight.npy --out out.npy").assert_refused("input height");
    sepconv(folder.path(), "conv input.npy --weight empty.npy --out out.npy").assert_refused("out_channels");
    std::fs::write(path("none.npy"), npy("<f4", "(0,)", &[])).unwrap();
    sepconv(folder.path(), "conv input.npy --weight weight.npy --bias none.npy --out out.npy").assert_refused("bias");
}
