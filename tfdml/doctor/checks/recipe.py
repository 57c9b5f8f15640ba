"""The model and the settings of a training script, looked at where its training would begin."""

from __future__ import annotations

from collections.abc import Iterable

from tfdml.doctor.checks.importing import last_line
from tfdml.doctor.finding import Finding
from tfdml.doctor.subject import Subject

NAME = "recipe"
_USER_ERROR = "error: "  # As `tfdml.errors.exit_on_user_error` prints it.
LIMIT_SECONDS = 180.0  # It prepares its data, which the first time may take long.


def check(subject: Subject) -> Iterable[Finding]:
    script = subject.recipe
    if script is None:
        return
    if "keras" not in subject.tensorflow.values:
        yield Finding(NAME, "note", "not looked at, because TensorFlow cannot be imported")
        return
    source = script.read_text(encoding="utf-8", errors="replace")
    order = {
        "script": str(script),
        "config_files": list(subject.config_files),
        "overrides": list(subject.overrides),
        "is_recipe": "tfdml.config" in source,
        "num_workers": subject.place.cluster.num_workers,
    }
    answer = subject.start_child("tfdml.doctor.recipe_run", order).answer(LIMIT_SECONDS)
    said = answer.values
    for each in said.get("findings", []):
        yield Finding(**each)
    if answer.failure:
        error = last_line(answer)
        if error.startswith(_USER_ERROR):  # One sentence, which has the remedy in it.
            yield Finding(NAME, "error", f"{script.name}: {error.removeprefix(_USER_ERROR)}")
        else:
            remedy = f"Run {script} by itself to see all that it prints."
            yield Finding(NAME, "error", f"{script.name} {answer.failure}: {error}", remedy)
    elif "findings" not in said:
        yield Finding(
            NAME,
            "warning",
            f"{script.name} ended without a tfdml.Trainer, so its model was not looked at",
            "Call tfdml.doctor.preflight(model, strategy, global_batch_size) in it.",
        )
    elif "reached" in said and not any(each["level"] == "error" for each in said["findings"]):
        workers = order["num_workers"]
        size = said.get("global_batch_size")
        batches = f", global batches of {size}" if size else ""
        text = f"{script.name} gets to its training with these settings, on {workers} worker(s){batches}"
        yield Finding(NAME, "ok", text)
