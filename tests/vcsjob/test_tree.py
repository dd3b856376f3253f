"""What a `.vcsjob` may say, which jobs of it are wanted, and how what is wrong in it is told."""

import os

import pytest

import vcsjob
from ave.exceptions import UsageError

TAGGED = {
    "job1": ["NICE", "THIS"], "job2": ["BAD", "THIS"], "job3": ["NICE", "THAT"], "job4": ["THIS"],
    "job-1": ["THAT"], "job-2": ["BAD", "THAT", "NICE", "THIS"], "job-100": ["THAT", "THIS"],
}  # fmt: skip


def refusal(tree, *arguments):
    with pytest.raises(UsageError) as caught:
        vcsjob.load_jobs(str(tree.dir), *arguments)
    return str(caught.value)


@pytest.mark.parametrize("call", [vcsjob.list_jobs, vcsjob.load_jobs])
@pytest.mark.parametrize("jobs_dir", [None, "does_not_exist", "/dev/null"])
def test_what_is_no_directory_is_refused_as_it_was_given(call, jobs_dir):
    with pytest.raises(UsageError) as caught:
        call(jobs_dir)
    assert str(caught.value) == f"not a jobs directory: {jobs_dir}"


def test_entries_come_in_the_order_of_the_file_with_defaults_and_unknown_keys(tree):
    tree.describe({"path": "b", "mine": 1, "duration": 3}, {"path": "a", "tags": ["T"], "dirty": True})
    defaults = {"tags": [], "banner": "", "profiles": None, "coverage": None, "dirty": False, "virgin": False}
    assert vcsjob.load_jobs(str(tree.dir)) == [
        {**defaults, "path": "b", "mine": 1, "duration": 3},
        {**defaults, "path": "a", "tags": ["T"], "dirty": True},
    ]
    assert vcsjob.list_jobs(str(tree.dir)) == ["b", "a"]


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        (["NICE"], 3), (["BAD"], 2), (["NICE", "BAD"], 1), (["THAT"], 4), (["THIS"], 5), (["THIS", "THAT"], 2),
        (["THIS", "BIZ"], 0), (["BAD", "NICE", "THAT"], 1), ([], 8), (None, 8),
    ],
)  # fmt: skip
def test_a_job_is_wanted_if_it_has_every_wanted_tag(tree, wanted, count):
    tree.describe(*({"path": path, "tags": tags} for path, tags in TAGGED.items()), "job0")
    assert len(vcsjob.list_jobs(jobs_dir=str(tree.dir), job_tags=wanted)) == count


def test_wanted_tags_that_are_no_list_are_refused(tree):
    tree.describe("job")
    assert refusal(tree, "NICE") == "not a tags list: NICE"


def test_files_are_not_looked_at_while_loading(tree):
    tree.describe("missing", "/absolute", "../outside")
    assert vcsjob.list_jobs(str(tree.dir)) == ["missing", "/absolute", "../outside"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{ "executables": [ { "path": "printenv.sh"', "Expecting ',' delimiter"),
        ("", "Expecting value"),
        ('{"executables": []} garbage', "Extra data"),
        ("[" * 100_000, "maximum recursion depth"),
        (b"\xff\xfe\xff", "'utf-16-le' codec can't decode"),
        ('{"jobs": []}', 'it is not an object with a list "executables"'),
        ('{"executables": {}}', 'it is not an object with a list "executables"'),
        ("[]", 'it is not an object with a list "executables"'),
    ],
)
def test_a_file_that_is_not_well_formed_is_named(tree, text, reason):
    (tree.dir / ".vcsjob").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert refusal(tree).startswith(f"could not load {tree.dir}/.vcsjob: {reason}")


def test_a_file_that_is_missing_is_named_by_its_real_path(tree, monkeypatch):
    monkeypatch.chdir(tree.root)
    (tree.root / "link").symlink_to("jobs")
    with pytest.raises(UsageError) as caught:
        vcsjob.load_jobs("link")
    assert str(caught.value).startswith(f"could not load {tree.dir}/.vcsjob: [Errno 2]")


def test_a_directory_or_a_pipe_of_that_name_is_refused_at_once(tree):
    (tree.dir / ".vcsjob").mkdir()
    assert refusal(tree).startswith(f"could not load {tree.dir}/.vcsjob: [Errno 21]")
    (tree.dir / ".vcsjob").rmdir()
    os.mkfifo(tree.dir / ".vcsjob")
    assert refusal(tree).startswith(f"could not load {tree.dir}/.vcsjob: Expecting value")


@pytest.mark.parametrize(
    ("entry", "message", "key"),
    [
        ({"PATH": "x"}, "job does not have the \"path\" attribute: {'PATH': 'x'}", "path"),
        (5, 'job does not have the "path" attribute: 5', "path"),
        ({"path": 1}, '"path" attribute is not a string: {', "path"),
        ({"tags": "T"}, '"tags" attribute is not a list: T', "tags"),
        ({"tags": ["T", 1]}, "tag #2 is not a string: {", "tags"),
        ({"banner": ["a"]}, 'job\'s "banner" attribute must be a string: {', "banner"),
        ({"profiles": "str"}, '"profiles" attribute is not a list: {', "profiles"),
        ({"profiles": [1]}, "profile #1 is not a dictionary or dict list: {", "profiles"),
        ({"coverage": "a"}, 'job\'s "coverage" attribute is not a list of strings: {', "coverage"),
        ({"dirty": "yes"}, 'job\'s "dirty" attribute is not a boolean value: {', "dirty"),
        ({"virgin": 1}, 'job\'s "virgin" attribute is not a boolean value: {', "virgin"),
        ({"duration": True}, 'job\'s "duration" attribute is not an integer: {', "duration"),
    ],
)
def test_what_is_wrong_names_file_entry_and_key(tree, entry, message, key):
    if isinstance(entry, dict) and "PATH" not in entry:
        entry = {"path": "job", **entry}
    tree.describe("sound", entry)
    told = refusal(tree, ["NONSENSE"])  # an entry without the wanted tags is checked, too
    assert told.startswith(message)
    assert told.endswith(f'({tree.dir}/.vcsjob, entry #2, key "{key}")')
