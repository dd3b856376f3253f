"""What a hostile URL, version, repository or environment cannot make of a fetch; and that nobody is ever asked."""

import http.server
import os
import threading

import pytest
from repository import Fetched, Repository
from vcsjob_program import Terminal

import vcsjob
from ave.exceptions import AveException, RunError, UsageError


@pytest.fixture(autouse=True)
def gitconfig(tmp_path, monkeypatch):
    """The settings of a user who has none yet."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return tmp_path / ".gitconfig"


@pytest.fixture
def src(tmp_path):
    return Repository(tmp_path / "src")


@pytest.fixture
def dst(tmp_path):
    return Fetched(tmp_path / "dst")


@pytest.fixture
def ssh(tmp_path, monkeypatch):
    """The command of an ssh that notes its arguments and goes nowhere: what it should run there, it runs here."""
    path = tmp_path / "ssh"
    path.write_text(f'#!/bin/sh\necho "$@" >> {path}.calls\nfor last; do :; done\nexec sh -c "$last"\n')
    path.chmod(0o755)
    monkeypatch.delenv("GIT_SSH_COMMAND", raising=False)
    return path


@pytest.fixture
def locked_web():
    """The address of a web server that wants a password for everything."""

    class Locked(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Locked) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def refusal(src, dst, refspec="master", kind=UsageError):
    with pytest.raises(kind) as caught:
        vcsjob.fetch(str(getattr(src, "path", src)), str(dst.path), refspec, timeout=30)
    assert not dst.path.exists()
    return str(caught.value)


@pytest.mark.parametrize(
    "refspec",
    [
        "--upload-pack=touch evil", "-x", "+master", "master:refs/heads/evil", ":master", "a b", "a\nb", "a\0b",
        "a\x7f", "master~1", "master^", "v1^{commit}", "a..b", "@{-1}", "refs/heads/*", "a?", "[a]", "a\\b", "/a", "a/",
    ],
)  # fmt: skip
def test_a_refspec_is_one_name_and_no_more(src, dst, refspec):
    told = refusal(src, dst, refspec)
    assert told == f"refspec is not the name of a branch or tag nor the id of a commit: {refspec!r}"


@pytest.mark.parametrize("url", ["ext::sh -c touch% evil", "fd::7", "ext::x", "git::x", "--upload-pack=touch evil"])
def test_what_is_no_path_to_a_repository_is_refused(dst, url):
    assert refusal(url, dst) == "supported protocols: git"


@pytest.mark.parametrize("scheme", ["ext", "ftp", "rsync", "git::ssh", "ext::sh -c touch% evil #", "SSH", "x", "-x"])
def test_no_other_protocol_than_gits_own_is_spoken(dst, scheme):
    told = refusal(f"{scheme}://host/x", dst)
    assert told == f"supported protocols: git (over file, git, ssh, http, https; not {scheme!r})"


@pytest.mark.parametrize(
    "url",
    [
        "ssh://-oProxyCommand=touch%20evil/x", "ssh://me@-oProxyCommand=x/x", "ssh:///x", "git://h/x\nevil",
        "git://h/a b", "https://h/\x1b[31m", "git://-h/x",
    ],
)  # fmt: skip
def test_a_url_that_could_mean_something_else_is_refused(dst, url):
    assert refusal(url, dst) == f"source is not a URL that git may be given: {url!r}"


def test_an_address_as_of_scp_gets_its_cure(dst):
    told = refusal("git@host:path/jobs", dst)
    assert told == "supported protocols: git (write git@host:path/jobs as ssh://git@host/path/jobs)"


@pytest.mark.parametrize("value", [5, b"x", ["x"], "a\0b"])
def test_what_is_no_text_is_refused(src, dst, value):
    for arguments in ((value, str(dst.path), "master"), (str(src.path), value, "master"), (str(src.path), "d", value)):
        with pytest.raises(UsageError):
            vcsjob.fetch(*arguments)


def test_a_url_rewritten_to_a_program_runs_nothing(dst, gitconfig, tmp_path):
    program = f"ext::sh -c touch% {tmp_path}/evil"
    gitconfig.write_text(f'[protocol "ext"]\n allow = always\n[url "{program}"]\n insteadOf = git://host/\n')
    assert "transport 'ext' not allowed" in refusal("git://host/x", dst, kind=RunError)
    assert not (tmp_path / "evil").exists()


def test_hooks_are_not_run(src, dst, gitconfig, tmp_path):
    def plant(folder):
        folder.mkdir(parents=True)
        for name in ("post-checkout", "reference-transaction", "post-merge"):
            (folder / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/evil\n")
            (folder / name).chmod(0o755)

    plant(tmp_path / "template" / "hooks")
    plant(tmp_path / "hooks")
    gitconfig.write_text(f"[init]\n templateDir = {tmp_path}/template\n[core]\n hooksPath = {tmp_path}/hooks\n")
    vcsjob.fetch(str(src.path), str(dst.path), "master")
    assert not (dst.path / ".git" / "hooks").exists()
    plant(dst.path / ".git" / "hooks")
    src.commit(foo="more")  # this runs hooks
    (tmp_path / "evil").unlink()
    vcsjob.fetch(str(src.path), str(dst.path), "master")
    assert dst.head == src.head
    assert not (tmp_path / "evil").exists()


def test_gits_own_variables_of_the_caller_lead_nowhere_else(src, dst, monkeypatch, tmp_path):
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.sshCommand")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "touch evil")
    monkeypatch.setenv("GIT_TRACE", str(tmp_path / "trace"))
    assert vcsjob.fetch(str(src.path), str(dst.path), "master") == vcsjob.OK
    assert not (tmp_path / "elsewhere").exists()
    assert not (tmp_path / "trace").exists()


def test_nobody_is_asked_for_a_password(dst, locked_web, monkeypatch, tmp_path, gitconfig):
    asking = tmp_path / "ask"
    asking.write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\necho secret\n")
    asking.chmod(0o755)
    gitconfig.write_text(f"[core]\n askPass = {asking}\n")
    for name in ("GIT_ASKPASS", "SSH_ASKPASS"):
        monkeypatch.setenv(name, str(asking))
    monkeypatch.setenv("DISPLAY", ":0")
    told = refusal(f"http://{locked_web}/x", dst, kind=RunError)
    assert "could not read Username" in told
    assert not (tmp_path / "asked").exists()


def test_a_password_in_a_url_is_not_told(dst, locked_web):
    told = refusal(f"http://me:hunter2secret@{locked_web}/x", dst, kind=RunError)
    assert told.startswith("failed to clone from http://")
    assert "hunter2secret" not in told


def test_a_password_in_a_url_is_not_kept(src, dst, ssh, monkeypatch):
    monkeypatch.setenv("GIT_SSH_COMMAND", str(ssh))
    vcsjob.fetch(f"ssh://me:hunter2secret@host{src.path}", str(dst.path), "master")
    assert "hunter2secret" not in (dst.path / ".git" / "config").read_text()
    assert "hunter2secret" not in (dst.path / ".git" / "logs" / "HEAD").read_text()


@pytest.mark.parametrize("way", ["variable", "setting", "path"])
def test_ssh_is_the_users_own_and_never_asks(src, dst, ssh, monkeypatch, gitconfig, way):
    if way == "variable":
        monkeypatch.setenv("GIT_SSH_COMMAND", f"{ssh} -i key")
    elif way == "setting":
        gitconfig.write_text(f"[core]\n sshCommand = {ssh} -i key\n")
    else:
        monkeypatch.setenv("PATH", f"{ssh.parent}:{os.environ['PATH']}")
    vcsjob.fetch(f"ssh://me@host:22{src.path}", str(dst.path), "master")
    calls = (ssh.parent / "ssh.calls").read_text().splitlines()
    assert calls
    assert all("-oBatchMode=yes" in call.split() for call in calls)
    assert all(("-i key" in call) == (way != "path") for call in calls)


def test_git_gets_no_terminal_to_ask_on(src, dst, ssh):
    ssh.write_text(ssh.read_text().replace("exec", f"(: < /dev/tty) 2> {ssh}.tty\nexec"))
    url = f"ssh://host{src.path}"
    terminal = Terminal("fetch", "-s", url, "-d", dst.path, "-r", "master", GIT_SSH_COMMAND=str(ssh))
    assert terminal.finish() == 0
    assert "No such device" in (ssh.parent / "ssh.tty").read_text()


def test_a_repository_of_somebody_else_is_not_trusted(src, dst, tmp_path):
    if os.geteuid():
        pytest.skip("only root can make files that are somebody else's")
    vcsjob.fetch(str(src.path), str(dst.path), "master")
    dst("config", "core.fsmonitor", f"touch {tmp_path}/evil")
    for path in (dst.path, *dst.path.rglob("*")):
        os.chown(path, 12345, 12345)
    with pytest.raises(AveException, match="dubious ownership"):
        vcsjob.fetch(str(src.path), str(dst.path), "master")
    assert not (tmp_path / "evil").exists()


def test_a_link_in_a_fetched_tree_leads_no_job_out_of_it(src, dst):
    (src.path / "link").symlink_to("/bin/echo")
    src.commit(**{".vcsjob": '{"executables": [{"path": "link"}]}'})
    vcsjob.fetch(str(src.path), str(dst.path), "master")
    with pytest.raises(UsageError, match="job path is not inside the job tree: "):
        vcsjob.execute_tags(str(dst.path))
