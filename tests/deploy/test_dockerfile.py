"""The Dockerfile: its order, its user, and the command that it ends with."""

from __future__ import annotations

import json
import re

from tests.deploy.samples import JOBS
from tfdml import deploy
from tfdml.deploy.job import Job


def instructions(text: str) -> list[tuple[str, str]]:
    """As BuildKit reads it: remarks go, a line that ends in a backslash goes on."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in joined.split("\n"))]


def test_what_is_done_in_which_order() -> None:
    found = instructions(deploy.generate("dockerfile", JOBS["workers"]))
    names = [name for name, _ in found]
    assert names[0] == "FROM" and names[-2:] == ["ENTRYPOINT", "CMD"]
    assert set(names) <= {"FROM", "RUN", "COPY", "USER", "WORKDIR", "ENV", "ENTRYPOINT", "CMD"}
    steps = [f"{name} {rest}" for name, rest in found]
    user = steps.index("USER 1000:1000")
    installed = next(i for i, step in enumerate(steps) if "g++" in step)
    built = steps.index("RUN tfdml build-ops")
    # The compiler as root, the library as the user whose home it goes to.
    assert installed < user < built
    # A change of the script must not build anything again.
    assert built < next(i for i, step in enumerate(steps) if step.startswith("COPY --chown"))


def test_the_command_arrives_as_it_was_given() -> None:
    for job in JOBS.values():
        name, rest = instructions(deploy.generate("dockerfile", job))[-1]
        assert name == "CMD" and json.loads(rest) == list(job.launch_command)


def test_gpus() -> None:
    without = deploy.generate("dockerfile", JOBS["workers"])
    assert "[recipes]" in without and "NVIDIA" not in without and "--gpus" not in without
    with_gpus = deploy.generate("dockerfile", JOBS["every type"])
    assert "[recipes,gpu]" in with_gpus and "NVIDIA_VISIBLE_DEVICES" in with_gpus


def test_the_mount_point_belongs_to_the_user() -> None:
    text = deploy.generate("dockerfile", Job(("a.py",), mount_path="/a b's"))
    runs = [rest for name, rest in instructions(text) if name == "RUN" and rest.startswith("[")]
    (command,) = (json.loads(rest) for rest in runs)
    assert command[0] == "install" and command[-2:] == ["/workspace", "/a b's"]
