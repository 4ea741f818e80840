//! The index of an image: made once, trusted only when nobody else can write it, and made anew when the image is another one.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use crate::support::{Caller, Output, Project, callers_by_roads, fixture, skipped};

const TOOL: &str = "{name: tool, version: '1.0', platform: multi, env: {T: '{{mount_point}}'}}";
const FOLDER: &str = "cache/.gonto/index";
const INDEX: &str = "cache/.gonto/index/tool_v1.0_multi.vhd.erofs";
const WORKS: &str = "bin\ncompiler\nlibrary\n";

fn project(caller: Caller) -> Project {
    Project::of(caller, &format!("build: {{requires: [{TOOL}], script: ls $T}}"))
}

/// A run whose image is mounted, by the road of the caller.
fn run(project: &Project) -> Output {
    let backend =
        if project.caller == Caller::Current && project.caller.is_root() { "erofs" } else { "fuse" };
    project.gonto(&["run", "build", "--backend", backend]).env("GONTO_DEBUG", "1").run().ends_with(0)
}

/// What lies beside the indexes and among them.
#[track_caller]
fn assert_indexes(project: &Project, names: &[&str]) {
    let entries = fs::read_dir(project.path(FOLDER)).into_iter().flatten();
    let mut found: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    found.sort();
    assert_eq!(found, names, "{:?}", project.caller);
}

const ONE: &[&str] = &["tool_v1.0_multi.vhd.erofs"];

/// Whether a run has made an index.
fn indexed(output: &Output) -> bool {
    output.stderr.contains(" indexed image=")
}

#[test]
fn an_index_is_made_once_whatever_the_umask() {
    for caller in callers_by_roads() {
        for mask in ["022", "002", "077"] {
            let project = project(caller);
            project.configure(&format!(
                "build: {{requires: [{TOOL}], script: ls $T}}\nouter: {{script: 'umask {mask}; unset GONTO_DEBUG; {0} pull build; GONTO_DEBUG=1 {0} run build; GONTO_DEBUG=1 {0} run build'}}",
                env!("CARGO_BIN_EXE_gonto")
            ));
            let output =
                project.gonto(&["run", "outer"]).run().ends_with(0).prints(&(WORKS.to_owned() + WORKS));
            let made = output.stderr.matches(" indexed image=").count();
            // Root believes in no folder into which a group can write.
            let expected = if caller.is_root() && mask == "002" { 2 } else { 1 };
            assert_eq!(made, expected, "{caller:?}, {mask}:\n{}", output.stderr);
            assert_indexes(&project, if expected == 2 { &[] } else { ONE });
        }
    }
}

#[test]
fn what_is_no_index_of_this_image_is_replaced() {
    for caller in callers_by_roads() {
        let project = project(caller);
        assert!(indexed(&run(&project).prints(WORKS)));
        assert!(!indexed(&run(&project).prints(WORKS)));
        let whole = fs::read(project.path(INDEX)).unwrap();
        let mut other_version = whole.clone();
        other_version[8] ^= 0x40;
        let mut other_super_block = whole.clone();
        other_super_block[1024] ^= 1;
        let damaged: [(&str, Vec<u8>); 8] = [
            ("empty", vec![]),
            ("short", whole[..1000].to_vec()),
            ("half", whole[..whole.len() / 2].to_vec()),
            ("without its end", whole[..whole.len() - 1].to_vec()),
            ("garbage", vec![0xa5; whole.len()]),
            ("zeros", vec![0; whole.len()]),
            ("of another version", other_version),
            ("with another super block", other_super_block),
        ];
        for (what, content) in damaged {
            // Another file, as whoever makes an index replaces it.
            project.write(&format!("{FOLDER}/other"), &content);
            fs::rename(project.path(&format!("{FOLDER}/other")), project.path(INDEX)).unwrap();
            project.give_away();
            assert!(indexed(&run(&project).prints(WORKS)), "{caller:?}: {what}");
            assert_indexes(&project, ONE);
            assert!(fs::read(project.path(INDEX)).unwrap() == whole, "{caller:?}: {what}");
            project.assert_clean();
        }
        // A folder in its place is in nobody's way but its own.
        fs::remove_file(project.path(INDEX)).unwrap();
        fs::create_dir(project.path(INDEX)).unwrap();
        project.give_away();
        assert!(indexed(&run(&project).prints(WORKS)));
        project.assert_clean();
    }
}

/// Two images of the same size and time, whose files differ.
#[test]
fn another_image_of_the_same_name_size_and_time_is_indexed_anew() {
    for caller in callers_by_roads() {
        let project = project(caller);
        let images = ["first", "other"].map(|name| {
            project.write(&format!("{name}/{name}"), name);
            let image = project.path(&format!("{name}.vhd"));
            let folder = project.path(name);
            fs::File::open(&folder).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
            let arguments = ["create", folder.to_str().unwrap(), image.to_str().unwrap()];
            Project::new("build: {script: x}").gonto(&arguments).run().ends_with(0);
            fs::File::options()
                .write(true)
                .open(&image)
                .unwrap()
                .set_modified(std::time::UNIX_EPOCH)
                .unwrap();
            image
        });
        let facts = images.each_ref().map(|image| {
            let metadata = fs::metadata(image).unwrap();
            (metadata.len(), metadata.modified().unwrap())
        });
        assert_eq!(facts[0], facts[1]);
        fs::create_dir_all(project.path("cache/tool")).unwrap();
        for (image, name) in images.iter().zip(["first", "other"]).cycle().take(3) {
            let cached = project.cached("tool", "1.0");
            let _ = fs::remove_file(&cached);
            fs::hard_link(image, cached).unwrap();
            project.give_away();
            assert!(indexed(&run(&project).prints(&format!("{name}\n"))), "{caller:?}");
            assert!(!indexed(&run(&project).prints(&format!("{name}\n"))), "{caller:?}");
            assert_indexes(&project, ONE);
            // The same holds for unpacked files.
            let unpacked = project.gonto(&["run", "build", "--backend", "extract"]).run();
            unpacked.ends_with(0).prints(&format!("{name}\n"));
        }
    }
}

#[test]
fn the_index_of_an_image_that_is_gone_goes_when_the_next_one_is_made() {
    let project = project(Caller::Current);
    run(&project);
    let image = fs::read(project.cached("tool", "1.0")).unwrap();
    project.publish("tool", "2.0", &image);
    fs::remove_file(project.cached("tool", "1.0")).unwrap();
    project.configure(&format!("build: {{requires: [{}], script: ls $T}}", TOOL.replace("1.0", "2.0")));
    run(&project).prints(WORKS);
    assert_indexes(&project, &["tool_v2.0_multi.vhd.erofs"]);
}

/// The kernel reads what root gives it: nobody else may have written that.
#[test]
fn root_uses_no_index_that_others_can_write() {
    if !Caller::Current.is_root() {
        skipped("only root can give files to others");
        return;
    }
    for caller in [Caller::Current, Caller::RootByFuse] {
        if !caller.is_possible() {
            continue;
        }
        let project = project(caller);
        run(&project);
        let index = project.path(INDEX);
        // The file alone: another one takes its place.
        let to_nobody = |path: &Path| std::os::unix::fs::chown(path, Some(65534), None).unwrap();
        let writable = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
        for open in [&to_nobody as &dyn Fn(&Path), &writable] {
            open(&index);
            assert!(indexed(&run(&project).prints(WORKS)));
            let metadata = fs::metadata(&index).unwrap();
            assert_eq!((metadata.uid(), metadata.mode() & 0o777), (0, 0o644));
            assert!(!indexed(&run(&project).prints(WORKS)));
        }
        // A folder on the way: none is kept there, and none that is there is used if it is not root's.
        fs::remove_file(&index).unwrap();
        for (folder, mode, user) in [
            (FOLDER, 0o777, 0),
            (FOLDER, 0o1777, 0),
            ("cache/.gonto", 0o777, 0),
            (FOLDER, 0o755, 65534),
            ("cache", 0o755, 65534),
        ] {
            let path = project.path(folder);
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            std::os::unix::fs::chown(&path, Some(user), None).unwrap();
            for _ in 0..2 {
                let output = run(&project).prints(WORKS);
                assert!(indexed(&output), "{folder}, {mode:o}, {user}:\n{}", output.stderr);
                assert_indexes(&project, &[]);
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            std::os::unix::fs::chown(&path, Some(0), None).unwrap();
        }
        run(&project);
        assert_indexes(&project, ONE);
        project.assert_clean();
    }
}

/// Other file systems are mounted over the cache by `script`, which only the program sees. What it says in the end.
#[track_caller]
fn run_above(project: &Project, script: &str) -> String {
    let mut command = Command::new("unshare");
    let gone = "for i in $(seq 500); do grep -qs tool_v1.0 /sys/block/loop*/loop/backing_file || exit 0; sleep 0.01; done";
    let line = format!(
        "{script}; \"$0\" run build --backend {}; {gone}; echo 'a loop device stays' >&2; exit 99",
        if project.caller == Caller::RootByFuse { "fuse" } else { "erofs" }
    );
    command.args(["--mount", "sh", "-ec", &line, env!("CARGO_BIN_EXE_gonto")]);
    command.current_dir(project.path("project")).env_clear();
    command
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("GONTO_DEBUG", "1");
    command.env("HOME", project.path("home")).env("GONTO_STATE_DIR", project.path("state"));
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{:?}: {script}\n{stderr}", project.caller);
    assert_eq!(String::from_utf8_lossy(&output.stdout), WORKS, "{stderr}");
    project.assert_nothing_runs();
    stderr
}

/// Root, by both roads, with the image in the cache.
fn above() -> Vec<Project> {
    let mut all = Vec::new();
    for caller in [Caller::Current, Caller::RootByFuse] {
        if Caller::RootByFuse.is_possible() && caller.is_root() {
            let project = project(caller);
            project.gonto(&["pull", "build"]).run().ends_with(0);
            all.push(project);
        }
    }
    all
}

#[test]
fn a_cache_that_cannot_be_written_gets_nothing() {
    for project in above() {
        let before = everything(&project.path("cache"));
        let script = "mount --bind ../cache ../cache; mount -o remount,bind,ro ../cache";
        for _ in 0..2 {
            assert!(run_above(&project, script).contains(" indexed image="));
        }
        assert_eq!(everything(&project.path("cache")), before);
        project.assert_clean();
    }
}

#[test]
fn a_full_cache_keeps_no_index_and_the_run_works() {
    for project in above() {
        let script = "mount -t tmpfs -o size=8M tmpfs /mnt; cp -a ../cache/. /mnt; mount --bind /mnt ../cache; \
                      cat /dev/zero >../cache/full 2>/dev/null || true; trap 'ls -A ../cache/.gonto/index >../left' EXIT";
        assert!(run_above(&project, script).contains(" indexed image="));
        assert_eq!(project.read("left"), "", "{:?}", project.caller);
        project.assert_clean();
    }
}

/// The kernel reads no files of these by itself.
#[test]
fn on_file_systems_without_blocks_loop_devices_help_and_go() {
    let tmpfs = "mount -t tmpfs tmpfs /mnt; cp -a ../cache/. /mnt; mount --bind /mnt ../cache";
    let overlay = "mount -t tmpfs tmpfs /mnt; mkdir /mnt/upper /mnt/work; \
                   mount -t overlay -o lowerdir=../cache,upperdir=/mnt/upper,workdir=/mnt/work overlay ../cache";
    for project in above() {
        for (name, script) in [("tmpfs", tmpfs), ("overlayfs", overlay)] {
            if name == "tmpfs" && project.caller == Caller::Current {
                if !Path::new("/dev/loop-control").exists() {
                    skipped("there are no loop devices here");
                    continue;
                }
                assert!(run_above(&project, script).contains("loop devices stand for them"), "{name}");
            } else {
                run_above(&project, script);
            }
        }
        project.assert_clean();
    }
}

/// With its own mount namespace, and so its own register of mounts: all in one call.
#[test]
fn what_loop_devices_show_to_everybody_is_unmounted_with_them() {
    for project in above().into_iter().filter(|project| project.caller == Caller::Current) {
        if !Path::new("/dev/loop-control").exists() {
            skipped("there are no loop devices here");
            continue;
        }
        let script = "mount -t tmpfs tmpfs /mnt; cp -a ../cache/. /mnt; mount --bind /mnt ../cache; \
                      \"$0\" mount build --backend erofs; \"$0\" mount build 2>&1 | grep ' is mounted tool' >&2; \
                      ls ../state/mnt/tool_v1.0_multi >../seen; \"$0\" umount build; \
                      ! grep -E '(state/lower|state/mnt)' /proc/self/mountinfo >&2";
        run_above(&project, script);
        assert_eq!(project.read("seen"), WORKS);
        project.assert_clean();
    }
}

/// Where no layer can lie, the mount point shows what lies below it, by its name.
#[test]
fn what_is_mounted_for_everybody_from_a_read_only_cache_is_unmounted() {
    for project in above() {
        let backend = if project.caller == Caller::RootByFuse { "fuse" } else { "erofs" };
        let script = format!(
            "mount --bind ../cache ../cache; mount -o remount,bind,ro ../cache; \
             \"$0\" mount build --backend {backend} 2>&1 | grep ' is read-only, because overlayfs cannot be used' >&2; \
             \"$0\" mount build 2>&1 | grep ' is mounted tool' >&2; \
             ls ../state/mnt/tool_v1.0_multi >../seen; \"$0\" umount build; \
             ! grep -E '(state/lower|state/mnt)' /proc/self/mountinfo >&2"
        );
        run_above(&project, &script);
        assert_eq!(project.read("seen"), WORKS);
        project.assert_clean();
    }
}

fn everything(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(everything(&path));
        }
        all.push(path);
    }
    all.sort();
    all
}

#[test]
fn folders_of_any_name_can_be_the_cache() {
    let long = format!("{0}/{0}", "long".repeat(40));
    for caller in callers_by_roads() {
        for name in ["a,b:c", "with a blank#", "tab\tand\\", "ümläut", "erofs,device=/dev/null", &long] {
            let project = project(caller);
            let text = project.read("project/gonto.yaml");
            let quoted = format!("\"../{}\"", name.replace('\\', "\\\\").replace('\t', "\\t"));
            project.write("project/gonto.yaml", text.replace("../cache", &quoted));
            fs::create_dir_all(project.path(name)).unwrap();
            project.give_away();
            run(&project).prints(WORKS);
            run(&project).prints(WORKS);
            assert!(project.path(name).join(".gonto/index/tool_v1.0_multi.vhd.erofs").is_file());
            if caller.is_root() {
                for told in ["    mounted tool", " is mounted tool", " is mounted tool"] {
                    project.gonto(&["mount", "build"]).run().ends_with(0).mentions(told);
                }
                project.gonto(&["umount", "build"]).run().ends_with(0).mentions("  unmounted ");
            }
            project.assert_clean();
        }
    }
}

/// A folder above all that is no Unicode cannot be written in a configuration, but all can lie in there.
#[test]
fn a_folder_that_is_no_unicode_can_hold_the_cache() {
    use std::os::unix::ffi::OsStrExt;
    for caller in callers_by_roads() {
        let project = project(caller);
        let outer = project.root.join(std::ffi::OsStr::from_bytes(b"\xff\xfe outer"));
        fs::create_dir_all(&outer).unwrap();
        std::os::unix::fs::symlink(&outer, project.path("cache")).unwrap();
        project.give_away();
        run(&project).prints(WORKS);
        assert!(!indexed(&run(&project).prints(WORKS)));
        if caller.is_root() {
            for told in ["    mounted tool", " is mounted tool"] {
                project.gonto(&["mount", "build"]).run().ends_with(0).mentions(told);
            }
            project.gonto(&["umount", "build"]).run().ends_with(0).mentions("  unmounted ");
        }
        project.assert_clean();
    }
}

#[test]
fn a_name_too_long_for_erofs_closes_that_road_only() {
    let requirement = "{name: everything, version: '1', platform: multi, env: {E: '{{mount_point}}'}}";
    for caller in callers_by_roads() {
        let project = Project::of(
            caller,
            &format!(
                "build: {{requires: [{requirement}], script: 'cat \"$E\"/resident.txt; ls \"$E\" | grep -c €€€'}}"
            ),
        );
        project.publish("everything", "1", &fixture());
        let roads: &[&str] = if caller.is_root() { &["auto", "fuse"] } else { &["fuse"] };
        for road in roads {
            let output =
                project.gonto(&["run", "build", "--backend", road]).run().ends_with(0).prints("hello\n1\n");
            assert!(!output.stderr.contains("unpacking"), "{}", output.stderr);
            assert_indexes(&project, &[]);
        }
        if caller.is_root() {
            let output = project.gonto(&["run", "build", "--backend", "erofs"]).run().ends_with(1).prints("");
            output
                .mentions("caused by: the backend erofs does not work here")
                .mentions("has a name of 300 bytes, and EROFS takes at most 255");
            let output =
                project.gonto(&["mount", "build", "--backend", "erofs"]).run().ends_with(1).prints("");
            output.mentions("has a name of 300 bytes");
        }
        project.assert_clean();
    }
}

#[test]
fn what_a_killed_indexing_has_left_is_used_up_by_the_next_one() {
    for caller in callers_by_roads() {
        let project = project(caller);
        project.gonto(&["pull", "build"]).run().ends_with(0);
        // So much as no index of this image has.
        project.write(&format!("{FOLDER}/.new-tool_v1.0_multi.vhd.erofs"), vec![7; 3 << 20]);
        project.give_away();
        assert!(indexed(&run(&project).prints(WORKS)));
        assert_indexes(&project, ONE);
        assert!(fs::metadata(project.path(INDEX)).unwrap().len() < 1 << 20);
        for _ in 0..20 {
            fs::remove_file(project.path(INDEX)).unwrap();
            let mut killed = project.gonto(&["run", "build"]).env("GONTO_DEBUG", "1").start();
            killed.wait_for_message("not used index=");
            killed.signal(Signal::KILL);
            killed.end();
            project.assert_nothing_runs();
            let left = fs::read_dir(project.path(FOLDER)).unwrap().count();
            assert!(left <= 1, "{left} files");
            run(&project).prints(WORKS);
            assert_indexes(&project, ONE);
            project.assert_clean();
        }
    }
}

#[test]
fn twenty_runs_that_want_it_at_once_make_one_index() {
    for caller in callers_by_roads() {
        let project = project(caller);
        project.gonto(&["pull", "build"]).run().ends_with(0);
        let running: Vec<_> = (0..20)
            .map(|number| {
                let other = if caller.is_root() { "erofs" } else { "auto" };
                let backend = if number % 2 == 0 { "fuse" } else { other };
                project.gonto(&["run", "build", "--backend", backend]).env("GONTO_DEBUG", "1").start()
            })
            .collect();
        let made = running.into_iter().map(|run| run.end().ends_with(0).prints(WORKS));
        assert_eq!(made.filter(indexed).count(), 1, "{caller:?}");
        assert_indexes(&project, ONE);
        project.assert_clean();
    }
}

#[test]
fn runs_and_mounts_of_all_roads_go_on_beside_each_other() {
    if !Caller::Current.is_root() || !Caller::RootByFuse.is_possible() {
        skipped("only root takes all roads");
        return;
    }
    let project = project(Caller::Current);
    project.gonto(&["pull", "build"]).run().ends_with(0);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let project = &project;
            scope.spawn(move || {
                for round in 0..5 {
                    let backend = ["erofs", "fuse"][(thread + round) % 2];
                    project.gonto(&["run", "build", "--backend", backend]).run().ends_with(0).prints(WORKS);
                }
            });
        }
        for backend in ["erofs", "fuse", "auto", "erofs", "fuse", "erofs"] {
            project.gonto(&["mount", "build", "--backend", backend]).run().ends_with(0);
            let seen = fs::read_dir(project.path("state/mnt/tool_v1.0_multi")).unwrap().count();
            assert_eq!(seen, 3, "{backend}");
            project.gonto(&["umount", "build"]).run().ends_with(0);
        }
    });
    assert_indexes(&project, ONE);
    project.assert_clean();
}

#[test]
fn files_that_are_removed_while_mounted_stay_readable() {
    for caller in callers_by_roads() {
        let project = project(caller);
        let remove = "rm ROOT/cache/tool/*.vhd ROOT/cache/.gonto/index/*";
        project.configure(&format!("build: {{requires: [{TOOL}], script: '{remove}; cp -R \"$T\" seen'}}"));
        project.gonto(&["run", "build"]).run().ends_with(0).prints("");
        let same = |folder: &Path| {
            let image = crate::support::example().join("image");
            let status = Command::new("diff").arg("-r").arg(image).arg(folder).status().unwrap();
            assert!(status.success(), "{caller:?}");
        };
        same(&project.path("project/seen"));
        project.assert_clean();
        if caller.is_root() {
            project.gonto(&["mount", "build"]).run().ends_with(0);
            fs::remove_file(project.cached("tool", "1.0")).unwrap();
            fs::remove_file(project.path(INDEX)).unwrap();
            same(&project.path("state/mnt/tool_v1.0_multi"));
            project.gonto(&["umount", "build"]).run().ends_with(0).mentions("  unmounted ");
            project.assert_clean();
        }
    }
}
