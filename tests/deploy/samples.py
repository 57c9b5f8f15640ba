"""Jobs that the tests of all generators use."""

from __future__ import annotations

from tfdml.deploy.job import Job

# All that somebody might want to hand to a script, and that a file could take for its own.
ODD_ARGUMENTS = (
    "--note=two words",
    "",
    'it\'s "quoted" `twice` \\ and \\n',
    "$HOME ${HOME} $(HOME) $$ $(hostname) $",
    "two\nlines\n",
    "\ttab, \x07 bell, \x7f, \x85, \u2028",
    "# no remark",
    "key: [value, {a: b}] &anchor *alias !tag % @",
    "--- \n...",
    "grüße 😀 ﷽",
    "yes",
    "0o17",
    "~",
    "*",
    "a;b|c&d>e<f",
    "-n",
    "'",
    '"""',
    "{{ template }} %s {name}",
    "\r\n",
)

JOBS = {
    "workers": Job(("train.py", "--model_dir=/shared/a")),
    "one worker": Job(("train.py",), workers=1),
    "a chief": Job(("train.py",), workers=3, chief=True, port=4567),
    "parameter servers": Job(("train.py",), name="recommend", workers=2, ps=2, max_restarts=3),
    "every type": Job(
        ("recipes/train.py", "--set", "train.epochs=5"),
        name="all-types",
        workers=11,
        ps=2,
        evaluator=True,
        gpus_per_worker=2,
        namespace="team-a",
        image="registry.example:5000/team/train@sha256:" + "0" * 64,
        volume="claim-1",
        mount_path="/mnt/all of it",
        time_limit_minutes=90,
        save_seconds=300,
    ),
    "an evaluator": Job(("train.py",), workers=2, evaluator=True, gpus_per_worker=1),
    "odd arguments": Job(("a b/it's train.py", *ODD_ARGUMENTS), max_restarts=0, save_seconds=0),
    "the longest name": Job(("train.py",), name="n" * 40, ps=1, evaluator=True),
}
