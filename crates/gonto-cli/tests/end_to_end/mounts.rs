//! What scripts see in an image, and what becomes of what they write there.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::{Caller, Project, callers_by_roads, example, skipped};

const TOOL: &str = "{name: tool, version: '1.0', platform: multi, env: {T: '{{mount_point}}'}}";

#[test]
fn scripts_see_the_files_of_the_image() {
    for caller in Caller::all() {
        let project =
            Project::of(caller, &format!("build: {{requires: [{TOOL}], script: 'cp -R \"$T\" seen'}}"));
        project.gonto(&["run", "build"]).run().ends_with(0).prints("");
        assert_eq!(files(&project.path("project/seen")), files(&example().join("image")), "{caller:?}");
        project.assert_clean();
    }
}

#[test]
fn programs_of_the_image_can_be_executed() {
    for caller in Caller::all() {
        let project = Project::of(
            caller,
            &format!(
                "build: {{requires: [{TOOL}], script: '${{T}}bin/pebble -o program source.peb', after_script: ./program}}"
            ),
        );
        let source = fs::read_to_string(example().join("src/language.peb")).unwrap();
        project.write("project/source.peb", source);
        project.give_away();
        let expected = fs::read_to_string(example().join("src/language.expected")).unwrap();
        project.gonto(&["run", "build"]).run().ends_with(0).prints(&expected);
        project.assert_clean();
    }
}

/// Links, modes and names of which the example has none.
#[test]
fn links_modes_and_names_are_those_of_the_image() {
    let cases = [
        (
            "cat links/relative links/linux 'links/other case' links/volume/Entry-001",
            "hello\none file, three names\n71",
        ),
        ("ls links/junction/c; readlink links/linux", "d\ndeep.txt\n../hard-1\n"),
        ("ls -l wsl-mode.sh resident.txt | cut -c 1-10", "-rwxr-xr-x\n-rw-r-----\n"),
        ("wc -c < sparse.bin; tail -c +200001 sparse.bin | head -c 15", "300000\nbehind the hole"),
        ("ls many | wc -l; cat Grüße*", "301\nnames\n"),
        ("stat -c %.Y empty.txt", "1600000000.987654300\n"),
        ("test $(stat -c %i hard-1) = $(stat -c %i many/hard-3) && echo one file", "one file\n"),
    ];
    let fixture =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../gonto-image/tests/fixtures/everything.vhd.zst");
    let image = zstd::decode_all(fs::File::open(fixture).unwrap()).unwrap();
    let lines: String = cases.iter().map(|(line, _)| format!("    cd \"$E\" && {{ {line}; }}\n")).collect();
    let expected: String = cases.iter().map(|(_, printed)| *printed).collect();
    for caller in mounting() {
        let requirement = "{name: everything, version: '1', platform: multi, env: {E: '{{mount_point}}'}}";
        let project =
            Project::of(caller, &format!("build:\n  requires: [{requirement}]\n  script: |\n{lines}"));
        project.publish("everything", "1", &image);
        project.gonto(&["run", "build"]).run().ends_with(0).prints(&expected);
        project.assert_clean();
    }
}

#[test]
fn a_file_that_cannot_be_read_yet_gives_an_error_and_one_warning() {
    let fixture =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../gonto-image/tests/fixtures/everything.vhd.zst");
    let image = zstd::decode_all(fs::File::open(fixture).unwrap()).unwrap();
    for caller in callers_by_roads() {
        let project = Project::of(
            caller,
            "build:
  requires: [{name: everything, version: '1', platform: multi, env: {E: '{{mount_point}}'}}]
  script: |
    for i in 1 2 3; do cat ${E}unknown-tag.bin && echo read; done; cat ${E}resident.txt
",
        );
        project.publish("everything", "1", &image);
        let output = project.gonto(&["run", "build"]).run().ends_with(0).prints("hello\n");
        assert_eq!(output.stderr.matches("warning: unknown-tag.bin: ").count(), 1, "{}", output.stderr);
        assert_eq!(output.stderr.matches("cat: ").count(), 3, "{}", output.stderr);
        project.assert_clean();
    }
}

#[test]
fn writes_are_seen_by_the_run_and_gone_after_it() {
    for caller in namespaced() {
        let project = Project::of(
            caller,
            &format!(
                "build:
  requires: [{TOOL}]
  script: |
    ls $T $T/bin
    echo new >$T/new
    echo more >>${{T}}bin/pebble
    rm -r ${{T}}library
    mkdir ${{T}}folder && echo deep >${{T}}folder/file && chmod 600 ${{T}}folder/file
    mv ${{T}}compiler/main.awk ${{T}}compiler/renamed.awk
    mv ${{T}}compiler ${{T}}renamed
    ln -s new ${{T}}link
    ls $T ${{T}}renamed; cat ${{T}}link ${{T}}folder/file; tail -n 1 ${{T}}bin/pebble; stat -c '%a %u' ${{T}}folder/file
"
            ),
        );
        let published = fs::read(project.path("repository/tool/tool_v1.0_multi.vhd")).unwrap();
        let listing = format!(
            "{0}:\nbin\ncompiler\nlibrary\n\n{0}/bin:\npebble\n\
             {0}:\nbin\nfolder\nlink\nnew\nrenamed\n\n\
             {0}renamed:\naarch64.awk\nelf.awk\ngrammar.awk\nrenamed.awk\nwords.awk\nx86_64.awk\n\
             new\ndeep\nmore\n600 {1}\n",
            "ROOT/state/mnt/tool_v1.0_multi/",
            caller.ids().0
        )
        .replace("multi//bin", "multi//bin");
        for _ in 0..2 {
            let output = project.gonto(&["run", "build"]).run().ends_with(0);
            output.prints(&listing);
            assert!(
                fs::read(project.cached("tool", "1.0")).unwrap() == published,
                "the run changed the image"
            );
            project.assert_clean();
        }
    }
}

/// Root can do it; overlayfs does not let an ordinary user, and tools such as `mv` copy then.
#[test]
fn root_renames_folders_of_the_image_in_place() {
    if !Caller::Current.is_root() {
        skipped("only root can rename folders of an image in place");
        return;
    }
    for caller in [Caller::Current, Caller::RootByFuse, Caller::RootUnpacking] {
        if !caller.is_possible() {
            continue;
        }
        let rename = "perl -e 'rename(\"$ENV{T}bin\", \"$ENV{T}tools\") or die $!' && ls ${T}tools";
        let project =
            Project::of(caller, &format!("build:\n  requires: [{TOOL}]\n  script: |\n    {rename}\n"));
        project.gonto(&["run", "build"]).run().ends_with(0).prints("pebble\n");
        project.assert_clean();
    }
}

#[test]
fn two_runs_at_once_see_their_own_writes_only() {
    for caller in namespaced() {
        let project = Project::of(
            caller,
            &format!(
                "build:
  requires: [{TOOL}]
  script: |
    echo $NAME >${{T}}name; rm ${{T}}library/$NAME.peb; echo ready; read x
    cat ${{T}}name; ls ${{T}}library; echo written >>${{T}}name; echo again; read x
    cat ${{T}}name
"
            ),
        );
        project.gonto(&["pull", "build"]).run().ends_with(0);
        let mut first = project.gonto(&["run", "build"]).env("NAME", "fixed").start();
        first.wait_for("ready");
        let mut second = project.gonto(&["run", "build"]).env("NAME", "text").start();
        second.wait_for("ready");
        first.tell("go");
        first.wait_for("again");
        second.tell("go");
        second.wait_for("again");
        // The end of one takes nothing away from the other.
        first.tell("go");
        first.end().ends_with(0).prints("ready\nfixed\ntext.peb\nagain\nfixed\nwritten\n");
        second.tell("go");
        second.end().ends_with(0).prints("ready\ntext\nfixed.peb\nagain\ntext\nwritten\n");
        project.assert_clean();
    }
}

#[test]
fn nobody_outside_sees_the_mount() {
    for caller in namespaced() {
        let project = Project::of(
            caller,
            &format!("build: {{requires: [{TOOL}], script: 'ls $T; echo ready; read x'}}"),
        );
        let mut run = project.gonto(&["run", "build"]).start();
        run.wait_for("ready");
        let folder = project.automatic("tool", "1.0");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "{folder}");
        let table = String::from_utf8_lossy(&fs::read("/proc/self/mountinfo").unwrap()).into_owned();
        assert!(!table.contains(&*project.root.to_string_lossy()), "{table}");
        run.tell("go");
        run.end().ends_with(0);
        project.assert_clean();
    }
}

#[test]
fn what_a_script_leaves_running_ends_with_the_run() {
    for caller in Caller::all() {
        let project = Project::of(
            caller,
            &format!(
                "build:
  requires: [{TOOL}]
  script: |
    sleep 1000 &
    setsid sh -c 'cd $T; trap \"\" TERM HUP; sleep 1000 & wait' >/dev/null 2>&1 </dev/null & (setsid sleep 1000 &)
    echo done
"
            ),
        );
        project.gonto(&["run", "build"]).run().ends_with(0).prints("done\n");
        project.assert_clean();
    }
}

#[test]
fn scripts_have_the_ids_of_the_caller() {
    for caller in Caller::all() {
        let project = Project::of(
            caller,
            &format!(
                "build: {{requires: [{TOOL}], before_script: 'id -u; id -g', script: 'id -u; id -g; stat -c %u:%g $T; touch made'}}"
            ),
        );
        let (uid, gid) = caller.ids();
        let expected = format!("{uid}\n{gid}\n{uid}\n{gid}\n{uid}:{gid}\n");
        project.gonto(&["run", "build"]).run().ends_with(0).prints(&expected);
        let made = fs::metadata(project.path("project/made")).unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&made), uid);
    }
}

/// Those who need not unpack images.
fn mounting() -> Vec<Caller> {
    let mut all = Caller::all();
    all.retain(|caller| {
        matches!(caller, Caller::Current | Caller::RootByFuse | Caller::Ordinary | Caller::OrdinaryInChroot)
    });
    all
}

/// Those who have namespaces, and with them writes of their own.
fn namespaced() -> Vec<Caller> {
    let mut all = Caller::all();
    all.retain(|caller| !matches!(caller, Caller::OrdinaryInChroot | Caller::WithoutNamespaces));
    all
}

/// Path, content and permissions of each file below a folder; folders have no content.
fn files(folder: &Path) -> BTreeMap<String, Option<(Vec<u8>, bool)>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            found.extend(files(&path).into_iter().map(|(below, file)| (format!("{name}/{below}"), file)));
            found.insert(name, None);
        } else {
            // Without WSL's metadata, every file of an image is executable.
            let executable = fs::metadata(&path).unwrap().permissions().mode() & 0o111 != 0;
            let in_source = path.starts_with(example());
            found.insert(name, Some((fs::read(&path).unwrap(), executable || in_source)));
        }
    }
    found
}

/// The images go while they are read.
#[test]
fn what_reads_an_image_all_the_time_ends_with_the_run() {
    for caller in Caller::all() {
        let readers = "for i in 1 2 3; do setsid sh -c 'trap \"\" TERM HUP; while :; do cat $T/*/*; done' >/dev/null 2>&1 </dev/null & done; find $T -type f | wc -l";
        let project =
            Project::of(caller, &format!("build:\n  requires: [{TOOL}]\n  script: |\n    {readers}\n"));
        project.gonto(&["run", "build"]).run().ends_with(0).prints("9\n");
        project.assert_clean();
    }
}
