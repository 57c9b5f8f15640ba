"""Every recipe trains a few steps with every one of its configuration files that this machine can run."""

from __future__ import annotations

import pytest

from tests.recipes import short
from tests.recipes.starting import ONE_PROCESS, TWO_WORKERS, run
from tests.recipes.test_configs import FILES, name_of
from tfdml.runs.record import RunRecord

LAUNCHERS = {
    "multi_worker": (TWO_WORKERS, 2),
    "parameter_server": ([*TWO_WORKERS, "--ps=2"], 2),
    "mirrored": (ONE_PROCESS, 2),
}
# Written, not run: there is no TPU here.
RUN = [file for file in FILES if file.stem != "tpu"]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("file", RUN, ids=name_of)
def test_it_trains_and_evaluates(file, tmp_path):
    short.prepare(tmp_path)
    recipe = file.parent.name
    launcher, replicas = LAUNCHERS.get(file.stem, (ONE_PROCESS, 1))
    changes = {"strategy.num_virtual_devices": 2} if file.stem == "mirrored" else {}
    done = run(
        launcher,
        tmp_path,
        f"--config={short.config(recipe, 'default')}",
        f"--config={file}",
        *short.words(recipe, "--model_dir=m", **changes),
        script=short.script(recipe),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    record = RunRecord.read(tmp_path / "m")
    assert record.status == "finished"
    assert record.result["loss"] > 0
    assert record.workers["strategy"] == record.config["strategy"]["name"]
    if file.stem != "parameter_server":  # where a replica is no worker
        assert record.workers["replicas"] == replicas
