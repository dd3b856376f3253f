"""What may run: the entry's attributes and the path jail."""

import os

import pytest

import vcsjob
from ave.exceptions import UsageError

HELLO = "#!/bin/sh\necho hello\n"


def refusal(tree, job, jobs_dir=None):
    with pytest.raises(UsageError) as caught:
        vcsjob.execute_job(str(tree.dir) if jobs_dir is None else jobs_dir, job, log_path=str(tree.log_path))
    assert not tree.log_path.exists()  # nothing ran
    return str(caught.value)


@pytest.mark.parametrize("jobs_dir", ["", "no/such", "/dev/null", "nul\0"])
def test_a_tree_that_is_no_directory_is_refused_as_it_was_given(tree, jobs_dir):
    assert refusal(tree, {"path": "job"}, jobs_dir) == f"not a jobs directory: {jobs_dir}"


def test_no_tree_at_all_is_refused():
    with pytest.raises(UsageError, match=r"^not a jobs directory: None$"):
        vcsjob.execute_job(None, {"path": "job"})


@pytest.mark.parametrize(
    ("job", "message"),
    [
        ({}, 'job does not have the "path" attribute: {}'),
        ({"PATH": "x"}, "job does not have the \"path\" attribute: {'PATH': 'x'}"),
        (None, 'job does not have the "path" attribute: None'),
        ({"path": 1}, "\"path\" attribute is not a string: {'path': 1}"),
        ({"path": "/bin/echo"}, "job path is not relative: /bin/echo"),
        ({"path": "nul\0"}, "no such file: 'nul\\x00'"),
        ({"path": "\ud800"}, "no such file: '\\ud800'"),
    ],
)
def test_an_entry_without_a_usable_path_is_refused(tree, job, message):
    assert refusal(tree, job) == message


def test_a_missing_file_is_refused_by_its_path(tree):
    assert refusal(tree, {"path": "nope"}) == f"no such file: {tree.dir}/nope"


@pytest.mark.parametrize("path", [".", "", "sub"])
def test_a_directory_is_no_job(tree, path):
    (tree.dir / "sub").mkdir()
    assert refusal(tree, {"path": path}).startswith("no such file: ")


def test_a_file_that_is_not_executable_is_refused(tree):
    tree.add("job", HELLO, mode=0o644)
    assert refusal(tree, {"path": "job"}) == f"file is not executable: {tree.dir}/job"


def test_a_sibling_whose_name_begins_alike_is_outside(tree):
    sibling = tree.root / "jobsX"
    sibling.mkdir()
    tree.add("../jobsX/esc", HELLO)
    assert refusal(tree, {"path": "../jobsX/esc"}) == f"job path is not inside the job tree: {sibling}/esc"


def test_the_parent_directory_is_outside(tree):
    tree.add("../esc", HELLO)
    assert refusal(tree, {"path": "../esc"}).startswith("job path is not inside the job tree: ")


def test_a_link_that_leads_out_is_outside(tree):
    (tree.dir / "link").symlink_to("/bin/echo")
    (tree.dir / "through").symlink_to("/bin")
    for path in ("link", "through/echo"):
        assert refusal(tree, {"path": path}).startswith("job path is not inside the job tree: /")


def test_a_link_to_itself_is_no_file(tree):
    (tree.dir / "loop").symlink_to("loop")
    assert refusal(tree, {"path": "loop"}).startswith("no such file: ")


def test_a_link_that_stays_inside_runs_and_the_log_names_the_real_file(tree):
    tree.add("real", HELLO)
    (tree.dir / "link").symlink_to("real")
    assert vcsjob.execute_job(str(tree.dir), {"path": "link"}, log_path=str(tree.log_path)) == vcsjob.OK
    assert tree.header["exe"] == f"{tree.dir}/real"


@pytest.mark.parametrize("jobs_dir", ["jobs", "./jobs", "jobs/", "jobs/../jobs", "linked"])
def test_every_way_to_name_the_tree_works(tree, jobs_dir, monkeypatch):
    tree.add("job", HELLO)
    (tree.root / "linked").symlink_to("jobs")
    monkeypatch.chdir(tree.root)
    assert vcsjob.execute_job(jobs_dir, {"path": "./job"}, log_path=str(tree.log_path)) == vcsjob.OK
    assert tree.header["exe"] == f"{tree.dir}/job"


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"tags": "T"}, '"tags" attribute is not a list: T'),
        ({"tags": ["T", 1]}, "tag #2 is not a string: {"),
        ({"banner": ["a"]}, 'job\'s "banner" attribute must be a string: {'),
        ({"profiles": "str"}, '"profiles" attribute is not a list: {'),
        ({"profiles": [{"type": "w"}, 1]}, "profile #2 is not a dictionary or dict list: {"),
        ({"profiles": [{1: "w"}]}, "profile #1 contains non-string keys: {"),
        ({"profiles": [[{"type": "w"}, {1: "w"}]]}, "profile #1 contains non-string keys: {"),
        ({"coverage": "a"}, 'job\'s "coverage" attribute is not a list of strings: {'),
        ({"coverage": ["a", 1]}, 'job\'s "coverage" attribute is not a list of strings: {'),
        ({"dirty": "yes"}, 'job\'s "dirty" attribute is not a boolean value: {'),
        ({"virgin": 1}, 'job\'s "virgin" attribute is not a boolean value: {'),
        ({"duration": True}, 'job\'s "duration" attribute is not an integer: {'),
        ({"duration": "2"}, 'job\'s "duration" attribute is not an integer: {'),
        ({"duration": None}, 'job\'s "duration" attribute is not an integer: {'),
    ],
)
def test_an_attribute_of_another_type_is_refused(tree, attributes, message):
    tree.add("job", HELLO)
    assert refusal(tree, {"path": "job", **attributes}).startswith(message)


def test_the_path_is_judged_before_the_other_attributes(tree):
    assert refusal(tree, {"path": "nope", "tags": "T"}).startswith("no such file: ")


def test_missing_attributes_get_their_defaults_and_the_others_stay(tree):
    tree.add("job", HELLO)
    job = {"path": "job", "coverage": "", "dirty": 0, "mine": 1}
    vcsjob.execute_job(str(tree.dir), job, log_path=str(tree.log_path))
    assert job == {
        "path": "job", "tags": [], "banner": "", "profiles": None,
        "coverage": "", "dirty": 0, "virgin": False, "mine": 1,
    }  # fmt: skip


def test_a_refused_call_leaves_the_environment_as_it_was(tree):
    before = dict(os.environ)
    refusal(tree, {"path": "nope"})
    assert dict(os.environ) == before
