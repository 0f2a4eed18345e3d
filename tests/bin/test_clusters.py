"""Files for clusters: they parse, and the flags and addresses in them exist."""

import json
import re
import subprocess

import pytest
import yaml

from tests.support import ROOT
from tests.support.programs import run

FOLDER = ROOT / "examples" / "cluster"
COMMANDS = {"deblur-train": "train", "deblur-evaluate": "evaluate"}


def documents(name):
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


def container(document):
    return document["spec"]["template"]["spec"]["containers"][0]


def check_flags(text):
    """Each flag of a command that a script gives is one of that program."""
    command = re.search(r"exec (deblur-[a-z]+)((?:.|\\\n)*)", text)
    known = re.findall(r"^  --([a-z_]+)", run(COMMANDS[command[1]], "--help").stdout, re.MULTILINE)
    given = re.findall(r"--([a-z_]+)=", command[2])
    assert given
    assert set(given) <= set(known)


@pytest.mark.parametrize("name", ["train.sbatch", "evaluate.sbatch"])
def test_scripts_parse_and_their_flags_exist(name):
    path = FOLDER / name
    done = subprocess.run(["bash", "-n", path], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    check_flags(path.read_text())


@pytest.mark.parametrize("name", ["train.yaml", "serve.yaml"])
def test_manifests_are_of_kubernetes(name):
    for document in documents(name):
        assert {"apiVersion", "kind", "metadata", "spec"} <= set(document)


def test_processes_of_slurm_know_each_other(tmp_path):
    """The script, with SLURM's two programs replaced by such that say what SLURM would."""
    programs = {
        "scontrol": "printf 'a1\\na2\\n'",
        "srun": 'for SLURM_PROCID in 0 1; do export SLURM_PROCID; "$@"; done',
        "deblur-train": 'echo "$TF_CONFIG" | tr "\\n" " " >> out; echo >> out; echo "$@" > args',
    }
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["bash", FOLDER / "train.sbatch", "gopro.gin", "/data", "/run"],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_JOB_NODELIST": "a[1-2]"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    workers = {"worker": ["a1:2222", "a2:2222"]}
    assert found == [{"cluster": workers, "task": {"type": "worker", "index": i}} for i in range(2)]
    arguments = (tmp_path / "args").read_text().split()
    assert "--gin_file=gopro.gin" in arguments
    assert "--run_dir=/run" in arguments


def test_pods_of_kubernetes_know_each_other():
    service, job = documents("train.yaml")
    assert job["spec"]["template"]["spec"]["subdomain"] == service["metadata"]["name"]
    name, count = job["metadata"]["name"], job["spec"]["completions"]
    script = container(job)["command"][-1]
    check_flags(script)
    done = subprocess.run(
        ["bash", "-c", script.replace("exec deblur-train", 'echo "$TF_CONFIG"; exit 0; #')],
        **{"env": {"JOB_COMPLETION_INDEX": "1"}, "capture_output": True, "check": True},
    )
    found = json.loads(done.stdout)
    assert found["task"] == {"type": "worker", "index": 1}
    port = service["spec"]["ports"][0]["port"]
    assert found["cluster"]["worker"] == [
        f"{name}-{i}.{service['metadata']['name']}:{port}" for i in range(count)
    ]


def test_the_service_is_that_of_the_kit():
    deployment, service = documents("serve.yaml")
    docker = (ROOT / "examples" / "serving" / "Dockerfile").read_text()
    ports = [p["containerPort"] for p in container(deployment)["ports"]]
    assert ports == [p["port"] for p in service["spec"]["ports"]] == [8500, 8501]
    path = container(deployment)["readinessProbe"]["httpGet"]["path"]
    assert f"GET {path} HTTP" in docker
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == labels == deployment["spec"]["selector"]["matchLabels"]
