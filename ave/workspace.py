"""A directory of a test job's own, and what the job says through it: its results.

Each job makes one, works in `path`, reports, and deletes it. Which machine settings it gets stands in
`<home>/.ave/config/workspace.json`.
"""

from __future__ import annotations

import os

from ave import home as homes
from ave import report
from ave.exceptions import AveException, ConfigError, UsageError
from ave.report import measurement

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

__all__ = ["Workspace"]

#: Digits of a uid.
UID_DIGITS = 10


class Workspace:
    """A directory below the workspaces' root, made at once, with the settings of this machine.

    Attributes:
        uid: the name of the directory.
        root: where workspaces are; absolute.
        path: `root/uid`.
        config: the checked settings, not to be changed.
        home: the directory that holds `.ave`.

    Args:
        uid: opens the workspace of that name, or makes it; left out, a new one: ten random digits, behind
            `<pretty>-` if `pretty` is configured.
        cfg_path: a configuration file other than `<home>/.ave/config/workspace.json`.
        config: the settings themselves; then no file is read.
        home: as for `ave.home.find`.

    Raises:
        ConfigError: there is no configuration, or something in it is wrong.
        UsageError: `uid` is no name for a directory.
        AveException: the directory cannot be made.
    """

    def __init__(
        self,
        uid: str | None = None,
        cfg_path: str | None = None,
        config: dict[str, Any] | None = None,
        home: str | None = None,
    ) -> None:
        self.home = homes.find(home)
        self.config = _expanded(_load(cfg_path, self.home) if config is None else _check(config), self.home)
        self.root: str = self.config["root"]
        self.uid = _checked_uid(uid or _new_uid(self.config["pretty"]))
        self.path = os.path.join(self.root, self.uid)
        try:
            os.makedirs(self.path, exist_ok=True)
        except OSError as error:
            raise AveException(f"could not create directory at {self.path}: {error}") from error

    def delete(self) -> None:
        """Remove the directory with everything in it; fine if it is gone already."""
        from shutil import rmtree  # noqa: PLC0415 - costs a job 10 ms, and only those that delete need it

        try:
            rmtree(self.path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise AveException(f"could not delete workspace {self.path}: {error}") from error

    def report(self, path: str | os.PathLike[str], guid: str | None = None, format: str | None = None) -> report.Tally:  # noqa: A002
        """Keep the results in a file as verdicts of a run: one record per attempt at each case.

        Args:
            path: from the current directory on.
            guid: the run; left out, the one this job runs under.
            format: one of `ave.report.FORMATS`; left out, the content tells.

        Returns:
            The counts, with `total`, `attempts` and `results` (final verdict -> number of cases).

        Raises:
            UsageError: no such file, or no GUID.
            FormatError: the file is damaged; what came before the damage is kept.
            SpoolError: the results could not be kept.
        """
        return report.verdicts(path, guid or _guid(), self.home, format=format, source="workspace")

    def measure(
        self,
        table: str | measurement.Table | None = None,
        rows: Iterable[Mapping[str, Any]] | Mapping[str, Any] = (),
        guid: str | None = None,
        unit: str | None = None,
        better: str | None = None,
        **figure: Any,
    ) -> int:
        """Keep rows of a table as measurements of a run, or a single figure.

        Args:
            table: a declared one, or the name of one whose columns are inferred, see `ave.report.measurement`.
            rows: dicts, column -> value.
            guid: the run; left out, the one this job runs under.
            unit: of the figure.
            better: whether a `higher` or a `lower` figure is better.
            figure: instead of table and rows, the figure as `name=value`, and behind it the dimensions it was
                measured in. It becomes a row of the table `name`.

        Returns:
            How many rows are kept.

        Raises:
            UsageError: a row, or the call, is wrong; the rows before it are kept. Or no GUID.
            SpoolError: the rows could not be kept.

        Example:
            >>> workspace.measure("boots", [{"device": "yuga", "seconds": 31.5}])
            >>> workspace.measure(boot_time=31.5, unit="s", better="lower", device="yuga")
        """
        if table is None:
            table, rows = measurement.figure(figure, unit, better), figure
        elif figure or unit is not None or better is not None:
            raise UsageError("measure takes a table and rows, or one figure as name=value, unit and dimensions")
        return measurement.measure(table, rows, guid or _guid(), self.home, source="workspace")


def _guid() -> str:
    import vcsjob  # noqa: PLC0415 - a workspace is of use without a scheduler

    try:
        return vcsjob.get_guid()
    except AveException as error:
        raise UsageError(
            f"{error}: there is no run to report for. Start the job with vcsjob and a GUID, set VCSJOB_GUID, "
            f"or give the call guid=..."
        ) from error


def _load(cfg_path: str | None, home: str) -> dict[str, Any]:
    path = cfg_path or homes.config_file("workspace", home)
    try:
        return homes.check("workspace", homes.read(path), path) if cfg_path else homes.load("workspace", home)
    except FileNotFoundError as error:
        raise ConfigError(f"no such configuration file: {path}") from error
    except ConfigError as error:
        if error.__cause__ is None:
            raise
        raise ConfigError(f"could not load workspace configuration file: {error.__cause__} in {path}") from error


def _check(config: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(config, dict):
        raise ConfigError(f"a workspace's config must be a dictionary, found {type(config).__name__}")
    return homes.check("workspace", config, "the given config")


def _expanded(config: dict[str, Any], home: str) -> dict[str, Any]:
    """Return a copy with an absolute `root`, in which every `~` and `$HOME` is the home."""
    if config["root"] is None:
        raise ConfigError("workspace root directory is not configured")
    root = config["root"].replace("$HOME", "~").replace("~", home)
    return {**config, "root": os.path.join(os.getcwd(), root)}


def _new_uid(pretty: str | None) -> str:
    # not the module random: forked processes would share its state, and their workspaces
    digits = f"{int.from_bytes(os.urandom(8)) % 10**UID_DIGITS:0{UID_DIGITS}d}"
    return f"{pretty}-{digits}" if pretty else digits


def _checked_uid(uid: str) -> str:
    """Refuse what would be a directory elsewhere, for `delete` removes it."""
    if not isinstance(uid, str) or not uid or uid in {".", ".."} or "/" in uid or "\0" in uid:
        raise UsageError(f"a workspace's uid must be the name of a directory, found {uid!r}")
    return uid
