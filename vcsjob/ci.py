"""Which build of a CI system a run belongs to, as the environment says: for the run's start event.

Only the variables named here are ever read, so none that holds a token gets into a record; what looks like one inside
their values is masked by the spool, as everywhere. Names are OpenTelemetry's, https://opentelemetry.io/docs/specs/semconv
(registry, attributes of CI/CD and VCS), where it has any; `system`, `number`, `attempt` and `patchset` are ours.
"""

from __future__ import annotations

from ave.context import parse_traceparent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = ["SYSTEMS", "recognised", "started_by"]

PIPELINE, RUN, RUN_URL = "cicd.pipeline.name", "cicd.pipeline.run.id", "cicd.pipeline.run.url.full"
TASK, TASK_RUN, TASK_URL = "cicd.pipeline.task.name", "cicd.pipeline.task.run.id", "cicd.pipeline.task.run.url.full"
WORKER = "cicd.worker.name"
COMMIT, BRANCH, CHANGE = "vcs.ref.head.revision", "vcs.ref.head.name", "vcs.change.id"
REPOSITORY = "vcs.repository.url.full"
NUMBER = "number"

#: system -> the variables of which it sets at least one, attribute -> where it is found; the first that is set counts.
#: What has a `/` in it is made of several variables, all of which must be set. Zuul may work through Jenkins.
SYSTEMS: dict[str, tuple[tuple[str, ...], dict[str, tuple[str, ...]]]] = {
    "zuul": (
        ("ZUUL_UUID", "ZUUL_BUILD", "ZUUL_PIPELINE", "ZUUL_CHANGE"),
        {
            PIPELINE: ("ZUUL_PIPELINE",),
            RUN: ("ZUUL_BUILD", "ZUUL_UUID"),
            RUN_URL: ("ZUUL_BUILD_URL", "BUILD_URL"),
            NUMBER: ("BUILD_NUMBER",),
            TASK: ("ZUUL_JOB", "JOB_NAME"),
            WORKER: ("NODE_NAME",),
            COMMIT: ("ZUUL_COMMIT", "ZUUL_NEWREV"),
            BRANCH: ("ZUUL_BRANCH",),
            CHANGE: ("ZUUL_CHANGE",),
            "patchset": ("ZUUL_PATCHSET",),
            "vcs.repository.name": ("ZUUL_PROJECT",),
        },
    ),
    "github": (
        ("GITHUB_ACTIONS", "GITHUB_RUN_ID"),
        {
            PIPELINE: ("GITHUB_WORKFLOW",),
            RUN: ("GITHUB_RUN_ID",),
            RUN_URL: ("GITHUB_SERVER_URL/GITHUB_REPOSITORY/actions/runs/GITHUB_RUN_ID",),
            NUMBER: ("GITHUB_RUN_NUMBER",),
            "attempt": ("GITHUB_RUN_ATTEMPT",),
            TASK: ("GITHUB_JOB",),
            WORKER: ("RUNNER_NAME",),
            COMMIT: ("GITHUB_SHA",),
            BRANCH: ("GITHUB_HEAD_REF", "GITHUB_REF_NAME"),
            REPOSITORY: ("GITHUB_SERVER_URL/GITHUB_REPOSITORY",),
        },
    ),
    "gitlab": (
        ("GITLAB_CI", "CI_PIPELINE_ID", "CI_JOB_ID"),
        {
            PIPELINE: ("CI_PIPELINE_NAME", "CI_PROJECT_PATH"),
            RUN: ("CI_PIPELINE_ID",),
            RUN_URL: ("CI_PIPELINE_URL",),
            NUMBER: ("CI_PIPELINE_IID",),
            TASK: ("CI_JOB_NAME",),
            TASK_RUN: ("CI_JOB_ID",),
            TASK_URL: ("CI_JOB_URL",),
            WORKER: ("CI_RUNNER_DESCRIPTION",),
            COMMIT: ("CI_COMMIT_SHA",),
            BRANCH: ("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", "CI_COMMIT_REF_NAME", "CI_COMMIT_BRANCH"),
            CHANGE: ("CI_MERGE_REQUEST_IID",),
            REPOSITORY: ("CI_PROJECT_URL",),
        },
    ),
    "jenkins": (
        ("JENKINS_URL", "JENKINS_HOME", "BUILD_TAG", "BUILD_URL"),
        {
            PIPELINE: ("JOB_NAME",),
            RUN: ("BUILD_ID", "BUILD_NUMBER"),
            RUN_URL: ("BUILD_URL",),
            NUMBER: ("BUILD_NUMBER",),
            WORKER: ("NODE_NAME",),
            COMMIT: ("GIT_COMMIT", "SVN_REVISION", "MERCURIAL_REVISION"),
            BRANCH: ("CHANGE_BRANCH", "BRANCH_NAME", "GIT_LOCAL_BRANCH", "GIT_BRANCH"),
            CHANGE: ("CHANGE_ID", "GERRIT_CHANGE_NUMBER"),
            REPOSITORY: ("GIT_URL",),
        },
    ),
}


def recognised(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what an environment says of the CI build it is part of; empty outside any.

    Returns:
        `system` (`zuul`, `github`, `gitlab` or `jenkins`), and those attributes of it that are set, all as text.
    """
    for system, (marks, attributes) in SYSTEMS.items():
        if any(map(environ.get, marks)):
            facts = {name: _first(environ, places) for name, places in attributes.items()}
            if any(facts.values()):
                return {"system": system, **{name: value for name, value in facts.items() if value}}
    return {}


def started_by(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return what goes into a start event: `ci` and `traceparent` (W3C, of the trace that goes on), where they are."""
    facts: dict[str, Any] = {}
    if ci := recognised(environ):
        facts["ci"] = ci
    traceparent = environ.get("TRACEPARENT")
    if any(parse_traceparent(traceparent)):
        facts["traceparent"] = traceparent
    return facts


def _first(environ: Mapping[str, str], places: tuple[str, ...]) -> str:
    for place in places:
        parts = [environ.get(part, "") if part.isupper() else part for part in place.split("/")]
        if all(parts):
            return "/".join(parts)
    return ""
