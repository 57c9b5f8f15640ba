"""Run: what all recipes share, from the cluster to the exported model, in the order in which a recipe uses it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tfdml import config as settings
from tfdml import determinism
from tfdml.cluster import ClusterSpec, resolve, serve
from tfdml.config import Arguments, BackupConfig, MonitoringConfig, StrategyConfig, TrainConfig
from tfdml.config.entry import at_end
from tfdml.data.origin import Origin
from tfdml.errors import ConfigError
from tfdml.runs import model_card, record
from tfdml.runs.keeper import RecordKeeper
from tfdml.runs.record import SliceMetrics
from tfdml.runs.table import write_table

if TYPE_CHECKING:  # These load TensorFlow.
    import keras
    import tensorflow as tf

    from tfdml.export import Endpoint
    from tfdml.training import Slices, Trainer


class RecipeConfig(Protocol):
    """The sections that every recipe's configuration has."""

    @property
    def strategy(self) -> StrategyConfig: ...
    @property
    def train(self) -> TrainConfig: ...
    @property
    def backup(self) -> BackupConfig: ...
    @property
    def monitoring(self) -> MonitoringConfig: ...
    def model_dump(self, *, mode: str = "python") -> dict[str, Any]: ...


def start(config: RecipeConfig, arguments: Arguments) -> Run | None:
    """Join the cluster, make the strategy, and set seed and precision: the first line of a recipe's `main`.

    Nothing that loads TensorFlow should come before it: what is missing is said at once.

    Args:
        config: of the recipe.

    Returns:
        None on a task that serves a parameter-server job, once it has ended: `main` returns too.

    Raises:
        ConfigError: there is no model for a --mode that needs one; --export_dir is not empty; a global batch size
            that replicas cannot share.
        ClusterError: the cluster does not suit the strategy.
    """
    model_file = arguments.model_dir / MODEL_FILE
    if not arguments.trains and not model_file.exists():
        raise ConfigError(f"{model_file}: no such model. Train it first, with --mode=train.")
    if arguments.export_dir is not None:
        from tfdml.export.directory import check_empty

        check_empty(arguments.export_dir)

    import keras

    from tfdml import precision, strategies

    cluster = resolve()
    if serve(cluster):
        return None
    if config.train.deterministic:
        determinism.enable(arguments.model_dir)
    strategy = strategies.create(
        config.strategy.name, cluster, num_virtual_devices=config.strategy.num_virtual_devices
    )
    # By the module's name: `tfdml doctor` asks with the number of replicas of the whole job.
    settings.check_global_batch_size(config.train.global_batch_size, strategy.num_replicas_in_sync)
    keras.utils.set_random_seed(config.train.seed)
    precision.set_policy(config.train.precision)
    return Run(config, arguments, cluster, strategy)


MODEL_FILE = "model.keras"


class Run:
    """One start of a recipe on one task; made by `start`.

    Every task calls the same methods in the same order. Files are written, and results printed, by the chief.

    Attributes:
        config, arguments: what `main` was given.
        strategy: in whose scope the model is built and compiled.
        is_chief: whether this task writes and prints.
        model_dir: where all goes.
    """

    def __init__(
        self,
        config: RecipeConfig,
        arguments: Arguments,
        cluster: ClusterSpec,
        strategy: tf.distribute.Strategy,
    ):
        from tfdml import strategies

        self.config = config
        self.arguments = arguments
        self.strategy = strategy
        self.model_dir = arguments.model_dir
        self.is_chief = strategies.is_chief(strategy)
        self._cluster = cluster
        self._keeper = RecordKeeper(config, arguments)
        if self.is_chief:
            at_end(
                self._show_files
            )  # what is registered last hears first: they are written by then
            at_end(self._keeper.end)

    # -- what it is

    def describe(
        self,
        model: keras.Model,
        *,
        data: Sequence[Origin],
        inputs: str,
        outputs: str,
        limits: Sequence[str],
    ) -> None:
        """Say what run.json and the model card are to say; before `fit` and `load`.

        Args:
            data: the data sets, from `origin` of a data set of tfdml, `Origin.of_manifest` or `Origin.of_files`.
            inputs: what the model takes, with shapes, dtypes and units.
            outputs: what it gives.
            limits: sentences: what the model and its figures should not be taken for.
        """
        facts = {
            "name": model.name,
            "parameters": int(model.count_params()),
            "inputs": inputs,
            "outputs": outputs,
        }
        self._keeper.describe(facts, data, limits)

    # -- the modes

    def fit(
        self,
        trainer: Trainer,
        train_data: Any,
        *,
        validation_data: Any = None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        monitoring: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> keras.callbacks.History:
        """Train with backups, monitoring and history.csv, and save MODEL_DIR/model.keras; for `arguments.trains`.

        Args:
            callbacks: more of them; they run before those that write.
            monitoring: of `tfdml.callbacks.Monitoring`, what no setting says: `images`, `tokens_per_example`.
            options: of `Trainer.fit`, such as `class_weight`.
        """
        import keras

        import tfdml

        backup = self.config.backup
        if self.is_chief:
            self._keeper.begin(self._cluster, self.strategy)
        history = trainer.fit(
            train_data,
            epochs=self.config.train.epochs,
            validation_data=validation_data,
            callbacks=[
                *callbacks,
                # A job that was killed goes on from here when it is started again, by hand or by --max_restarts.
                tfdml.callbacks.BackupAndRestore(
                    backup.directory or self.model_dir / "backup",
                    backup.save_freq,
                    keep=backup.keep,
                    keep_every=backup.keep_every,
                ),
                tfdml.callbacks.Monitoring(
                    self.model_dir, **self.config.monitoring.model_dump(), **(monitoring or {})
                ),
                keras.callbacks.CSVLogger(self.model_dir / "history.csv"),
            ],
            **options,
        )
        if self.is_chief:
            self._save(trainer.model)
        self._say_weights(trainer.model)
        if self.is_chief:
            print(f"see the curves: tensorboard --logdir {shlex.quote(str(self.model_dir))}")
        return history

    def load(self, model: keras.Model) -> None:
        """Give `model` the weights of MODEL_DIR/model.keras; for modes that do not train.

        Raises:
            ConfigError: the file is of another model; names the first layer that differs.
        """
        from tfdml.export.weights import load_weights

        load_weights(model, self.model_dir / MODEL_FILE)
        self._say_weights(model)

    def evaluate(
        self, trainer: Trainer, test_data: Any, *, slices: Sequence[Slices] = ()
    ) -> dict[str, float]:
        """Loss and metrics on `test_data`, and on each slice of it; the same on every task.

        All go into run.json and the model card.
        """
        from tfdml.training import metrics_by_slice

        results = {name: float(value) for name, value in trainer.evaluate(test_data).items()}
        self.report(
            results,
            slices={
                each.feature: metrics_by_slice(trainer.model, self.strategy, test_data, each)
                for each in slices
            },
        )
        return results

    def report(
        self,
        results: Mapping[str, float],
        *,
        compared_with: Mapping[str, Mapping[str, float]] | None = None,
        slices: Mapping[str, SliceMetrics] | None = None,
    ) -> None:
        """Add metrics of the test data to run.json and the model card; `evaluate` reports its own.

        Args:
            compared_with: name -> metric -> value: of something simpler, or of the best that can be.
            slices: feature -> slice -> metric -> value; "examples" is how many there are.
        """
        self._keeper.report(results, compared_with or {}, slices or {})

    def predict(
        self,
        trainer: Trainer,
        data: Any,
        columns: Callable[[Any], Mapping[str, Sequence[Any]]],
    ) -> None:
        """Write a row for each example of `data`, in its order, into --predict_output.

        All workers predict; every example comes once, whatever their number.

        Args:
            data: batches of x or (x, y), of `arguments.predict_input` or else the test data.
            columns: outputs of the model for all examples -> column name -> one value for each example.
        """
        outputs = trainer.predict(data)
        if self.is_chief:
            self.write_predictions(columns(outputs))

    def write_predictions(self, columns: Mapping[str, Sequence[Any]]) -> None:
        """What `predict` does with its columns, for predictions that a recipe makes itself; on the chief."""
        file = self.arguments.predict_output or self.model_dir / "predictions.csv"
        try:
            rows = write_table(file, columns)
        except OSError as error:
            raise ConfigError(
                f"--predict_output={file} cannot be written: {error.strerror or error}. Give another one."
            ) from None
        print(f"{rows:,} predictions: {file}")

    def export(
        self,
        model: keras.Model,
        *,
        endpoints: Mapping[str, Endpoint] | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> Path | None:
        """Write `model` as a .keras file and a SavedModel that load without tfdml; the chief's path, else None.

        They go into --export_dir, or into the next MODEL_DIR/versions/N, which `tfdml runs promote` can name the
        current one, and TensorFlow Serving takes MODEL_DIR/versions.

        Args:
            model: made of Keras's own layers; `tfdml.export.plain` replaces those of tfdml.
            endpoints: more signatures of the SavedModel, beside `serve`, which is the model itself.
            files: name -> contents of what a user needs beside it, such as a tokenizer.
        """
        if not self.is_chief:
            return None
        from tfdml.export import export_model
        from tfdml.runs import versions

        directory = self.arguments.export_dir or versions.next_directory(self.model_dir)
        export_model(
            model,
            directory,
            endpoints=endpoints or {},
            files={
                **(files or {}),
                record.FILE_NAME: self._keeper.record.to_bytes(),
                model_card.FILE_NAME: model_card.text(self._keeper.record, exported=True).encode(),
            },
        )
        print(f"exported: {directory}")
        return directory

    # -- parts

    def _show_files(self, error: BaseException | None) -> None:
        """The model card in TensorBoard, and all files of a training in MLflow."""
        if error is not None or not self.arguments.trains:
            return
        from tfdml.callbacks import Monitoring
        from tfdml.monitoring.openings import add
        from tfdml.monitoring.records import Artefact, Text

        card = self.model_dir / model_card.FILE_NAME
        files = [self.model_dir / name for name in (MODEL_FILE, record.FILE_NAME, "config.yaml")]
        settings = Monitoring(self.model_dir, **self.config.monitoring.model_dump())
        add(
            settings,
            [
                Text(0, "model_card", card.read_text(encoding="utf-8")),
                *(Artefact(str(file)) for file in files if file.exists()),
            ],
        )

    def _save(self, model: keras.Model) -> None:
        """Whole or not at all: an evaluator may read it at any time."""
        partial = self.model_dir / f".partial.{MODEL_FILE}"  # Keras wants the ending
        model.save(partial)
        partial.replace(self.model_dir / MODEL_FILE)

    def _say_weights(self, model: keras.Model) -> None:
        from tfdml.testing.weights import weight_hash

        print(f"final weights sha256: {weight_hash(model)}")
