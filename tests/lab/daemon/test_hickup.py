"""A hickup: what a process and its AVE children are doing, without disturbing them, without secrets."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from ave.lab.daemon import command, hickup
from ave.network import Control, RemoteControl, find_free_port
from ave.testing import wait_until
from tests.lab.daemon.ovens import Oven, OvenService, end, is_running


def test_it_shows_threads_tasks_descriptors_and_queues(tmp_path):
    leave = threading.Event()

    def waits_for_flour():
        leave.wait(10)

    thread = threading.Thread(target=waits_for_flour, name="baker")
    thread.start()

    async def kneads():
        await asyncio.Event().wait()

    async def both():
        task = asyncio.ensure_future(kneads())
        task.set_name("dough")
        await asyncio.sleep(0)
        try:
            return hickup.write(str(tmp_path), "ave-oven", lambda: {"waiting": 3})
        finally:
            task.cancel()

    path = asyncio.run(both())
    leave.set()
    thread.join()
    text = Path(path).read_text()
    assert re.fullmatch(rf"\d{{8}}-\d{{6}}-ave-oven-{os.getpid()}", os.path.basename(path))
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert re.findall(r"^(\w+):$", text, re.MULTILINE) == ["stack", "descriptors", "queues"]
    for shown in ("thread baker", "in waits_for_flour", "task dough", "in kneads", "await asyncio.Event()", "0 "):
        assert shown in text
    assert "  waiting 3\n" in text


def test_secrets_do_not_get_into_it(tmp_path):
    secret = tmp_path / "password=hunter2secret"
    with secret.open("w"):
        path = hickup.write(str(tmp_path), "ave-oven", dict)
    assert "hunter2secret" not in Path(path).read_text()


def test_a_gauge_that_fails_does_not_prevent_it(tmp_path):
    text = Path(hickup.write(str(tmp_path), "ave-oven", lambda: 1 / 0)).read_text()
    assert "stack:" in text
    assert "division by zero" in text


# A service


class Kitchen(Oven):
    """Has a child of AVE's, which serves, too, and one that is none."""

    def initialize(self):
        super().initialize()
        self.child = Oven(find_free_port(), proc_name="ave-small-oven")
        self.child.start(synchronize=True)
        self.other = subprocess.Popen(["sleep", "1000"])

    @Control.rpc
    def children(self):
        return [self.child.pid, self.child.port, self.other.pid]

    def run(self):
        try:
            return super().run()
        finally:
            self.other.kill()
            self.child.terminate()


@pytest.fixture
def kitchen(tmp_path):
    service = OvenService(str(tmp_path))
    service.kind = Kitchen
    service.port = find_free_port()
    service.start()
    yield service
    end(service)


def written(home, name):
    return [path for path in Path(home, ".ave", "hickup").glob(f"*-{name}-*") if ".new" not in path.name]


@pytest.mark.parametrize("way", ["command", "signal"])
def test_the_service_and_its_children_write_one_and_go_on(kitchen, way, tmp_path):
    with RemoteControl(("", kitchen.port), None, 20) as remote:
        child, port, other = remote.children()
        results = []
        baking = threading.Thread(target=lambda: results.append(remote.bake(1)))
        baking.start()
        wait_until(lambda: "it bakes" in Path(kitchen.log_path).read_text())
        if way == "command":
            path = command.hickup(kitchen)
            assert "in bake" in Path(path).read_text(), "the call that is under way"
            assert f"{os.sep}run{os.sep}ave-oven.pid" in Path(path).read_text()
        else:
            os.kill(int(Path(kitchen.path("pid")).read_text().split()[0]), signal.SIGUSR1)
        wait_until(lambda: written(tmp_path, "ave-oven"))
        wait_until(lambda: written(tmp_path, "ave-small-oven"))
        [of_child] = written(tmp_path, "ave-small-oven")
        assert of_child.name.endswith(f"-{child}")
        assert "epoll" in of_child.read_text()
        baking.join()
        assert results == ["baked"]
        assert is_running(other), "who is not ours does not get the signal, which would end it"
        with RemoteControl(("", port), None, 20) as small:
            assert small.pid() == child
