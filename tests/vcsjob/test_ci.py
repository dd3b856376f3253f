"""Builds of CI systems are recognised by what those set, nothing else of the environment gets out, and no secret."""

import pytest

from vcsjob import ci

GUID = "guid-0123456789"
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

#: What each system sets, as its manual gives examples of it, and what is made of that.
BUILDS = {
    "jenkins": (
        {
            "BUILD_NUMBER": "153",
            "BUILD_ID": "153",
            "BUILD_TAG": "jenkins-nightly-radio-153",
            "BUILD_URL": "http://jenkins.lab/job/nightly/job/radio/153/",
            "CHANGE_ID": "",
            "GIT_BRANCH": "origin/main",
            "GIT_COMMIT": "ce9a3c1404e8c91be604088670e93434c4253f03",
            "GIT_URL": "ssh://git.lab/radio",
            "JENKINS_URL": "http://jenkins.lab/",
            "JOB_NAME": "nightly/radio",
            "NODE_NAME": "bench-3",
        },
        {
            "system": "jenkins",
            "cicd.pipeline.name": "nightly/radio",
            "cicd.pipeline.run.id": "153",
            "cicd.pipeline.run.url.full": "http://jenkins.lab/job/nightly/job/radio/153/",
            "number": "153",
            "cicd.worker.name": "bench-3",
            "vcs.ref.head.revision": "ce9a3c1404e8c91be604088670e93434c4253f03",
            "vcs.ref.head.name": "origin/main",
            "vcs.repository.url.full": "ssh://git.lab/radio",
        },
    ),
    "gitlab": (
        {
            "GITLAB_CI": "true",
            "CI_PIPELINE_ID": "1212",
            "CI_PIPELINE_IID": "17",
            "CI_PIPELINE_URL": "https://gitlab.lab/radio/app/-/pipelines/1212",
            "CI_PROJECT_PATH": "radio/app",
            "CI_PROJECT_URL": "https://gitlab.lab/radio/app",
            "CI_JOB_ID": "50",
            "CI_JOB_NAME": "test on bench",
            "CI_JOB_URL": "https://gitlab.lab/radio/app/-/jobs/50",
            "CI_RUNNER_DESCRIPTION": "bench-3",
            "CI_COMMIT_SHA": "1ecfd275763eff1d6b4844ea3168962458c9f27a",
            "CI_COMMIT_REF_NAME": "main",
            "CI_MERGE_REQUEST_IID": "7",
            "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "louder",
        },
        {
            "system": "gitlab",
            "cicd.pipeline.name": "radio/app",
            "cicd.pipeline.run.id": "1212",
            "cicd.pipeline.run.url.full": "https://gitlab.lab/radio/app/-/pipelines/1212",
            "number": "17",
            "cicd.pipeline.task.name": "test on bench",
            "cicd.pipeline.task.run.id": "50",
            "cicd.pipeline.task.run.url.full": "https://gitlab.lab/radio/app/-/jobs/50",
            "cicd.worker.name": "bench-3",
            "vcs.ref.head.revision": "1ecfd275763eff1d6b4844ea3168962458c9f27a",
            "vcs.ref.head.name": "louder",
            "vcs.change.id": "7",
            "vcs.repository.url.full": "https://gitlab.lab/radio/app",
        },
    ),
    "github": (
        {
            "GITHUB_ACTIONS": "true",
            "GITHUB_WORKFLOW": "Nightly",
            "GITHUB_RUN_ID": "1658821493",
            "GITHUB_RUN_NUMBER": "3",
            "GITHUB_RUN_ATTEMPT": "2",
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_REPOSITORY": "lab/radio",
            "GITHUB_JOB": "bench",
            "GITHUB_HEAD_REF": "",
            "GITHUB_REF_NAME": "main",
            "GITHUB_SHA": "ffac537e6cbbf934b08745a378932722df287a53",
            "RUNNER_NAME": "Hosted Agent",
        },
        {
            "system": "github",
            "cicd.pipeline.name": "Nightly",
            "cicd.pipeline.run.id": "1658821493",
            "cicd.pipeline.run.url.full": "https://github.com/lab/radio/actions/runs/1658821493",
            "number": "3",
            "attempt": "2",
            "cicd.pipeline.task.name": "bench",
            "cicd.worker.name": "Hosted Agent",
            "vcs.ref.head.revision": "ffac537e6cbbf934b08745a378932722df287a53",
            "vcs.ref.head.name": "main",
            "vcs.repository.url.full": "https://github.com/lab/radio",
        },
    ),
    "zuul": (
        {
            "ZUUL_PIPELINE": "check",
            "ZUUL_UUID": "a3fe6d1ff4664cc2b5e1d4d5ad2cb0b7",
            "ZUUL_PROJECT": "openstack/nova",
            "ZUUL_BRANCH": "master",
            "ZUUL_CHANGE": "123456",
            "ZUUL_PATCHSET": "4",
            "ZUUL_COMMIT": "8d3f4a6cbbf934b08745a378932722df287a53aa",
            "ZUUL_URL": "http://zuul.lab/p",
            # Zuul 2 lets Jenkins do the work
            "JOB_NAME": "gate-nova-tempest",
            "BUILD_NUMBER": "88",
            "BUILD_URL": "http://jenkins.lab/job/gate-nova-tempest/88/",
        },
        {
            "system": "zuul",
            "cicd.pipeline.name": "check",
            "cicd.pipeline.run.id": "a3fe6d1ff4664cc2b5e1d4d5ad2cb0b7",
            "cicd.pipeline.run.url.full": "http://jenkins.lab/job/gate-nova-tempest/88/",
            "number": "88",
            "cicd.pipeline.task.name": "gate-nova-tempest",
            "vcs.ref.head.revision": "8d3f4a6cbbf934b08745a378932722df287a53aa",
            "vcs.ref.head.name": "master",
            "vcs.change.id": "123456",
            "patchset": "4",
            "vcs.repository.name": "openstack/nova",
        },
    ),
}


SECRETS = {
    "CI_JOB_TOKEN": "s3cret",
    "CI_REPOSITORY_URL": "https://gitlab-ci-token:s3cret@gitlab.lab/radio/app.git",
    "GITHUB_TOKEN": "s3cret",
    "ACTIONS_RUNTIME_TOKEN": "s3cret",
    "JENKINS_API_TOKEN": "s3cret",
}


@pytest.mark.parametrize("system", BUILDS)
def test_a_build_is_recognised_and_of_its_environment_only_what_is_allowed(system):
    environ, told = BUILDS[system]
    assert ci.recognised({**environ, **SECRETS, "HOME": "/root", "CI": "true"}) == told


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"CI": "true", "BUILD_NUMBER": "5", "JOB_NAME": "mine"},
        {"JENKINS_URL": "http://jenkins.lab/"},
        {"GITHUB_ACTIONS": "", "GITHUB_SHA": "ffac537e"},
    ],
)
def test_what_is_no_build_is_not_taken_for_one(environ):
    assert ci.recognised(environ) == {}


def test_a_url_of_which_a_part_is_missing_is_left_out():
    assert ci.recognised({"GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "7", "GITHUB_REPOSITORY": "a/b"}) == {
        "system": "github",
        "cicd.pipeline.run.id": "7",
    }


def test_the_start_event_has_the_build_and_the_trace_that_goes_on(tree, events, monkeypatch):
    environ, told = BUILDS["jenkins"]
    for name, value in {**environ, "TRACEPARENT": TRACEPARENT}.items():
        monkeypatch.setenv(name, value)
    tree.run('test "$TRACEPARENT" = ' + TRACEPARENT + ' && test -z "$BUILD_URL"', guid=GUID)
    start, end = [body for *_, body in events()]
    assert (start["ci"], start["traceparent"]) == (told, TRACEPARENT)
    assert end["status"] == 0, "the job goes on with the trace, and sees nothing of the build unasked"
    assert not {"ci", "traceparent"} & set(end)


def test_outside_a_build_the_start_event_says_nothing_of_one(tree, events, monkeypatch):
    monkeypatch.setenv("TRACEPARENT", "nonsense")
    tree.run("true", guid=GUID)
    assert not {"ci", "traceparent"} & set(events()[0][2])


def test_secrets_in_urls_of_a_build_are_masked(tree, events, monkeypatch):
    for name, value in {
        "JENKINS_URL": "http://jenkins.lab/",
        "BUILD_URL": "https://robot:s3cret-value@jenkins.lab/job/radio/1/?access_token=s3cret-value",
        "GIT_URL": "https://oauth2:glpat-s3cretvalues3cretva@git.lab/radio",
    }.items():
        monkeypatch.setenv(name, value)
    tree.run("true", guid=GUID)
    start = events()[0][2]
    assert start["ci"]["cicd.pipeline.run.url.full"].endswith("@jenkins.lab/job/radio/1/?access_token=[redacted]")
    assert "s3cret" not in str(start)
    assert "s3cret" not in str(start["ci"]["vcs.repository.url.full"])
