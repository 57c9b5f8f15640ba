"""Train on a table, CSV or Parquet: a class or a number from numbers, categories and missing values.

    python recipes/train_tabular.py --config=configs/tabular/default.yaml
    tfdml launch --workers=2 recipes/train_tabular.py --config=configs/tabular/multi_worker.yaml
    python recipes/train_tabular.py --set data.dataset=people.csv --set data.target=bought

It learns scikit-learn's breast cancer table, or yours; what its columns hold is found out, and can be said in the
settings of `data`. With --config=configs/tabular/predictive_maintenance.yaml it learns from windows over the log of
machines which of them fail soon. Copy it, and change what you like: a model is a function in tabular_models.py, a
setting is a line in a class below.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

import tfdml
from tfdml.config import (
    Arguments,
    BackupConfig,
    Config,
    MonitoringConfig,
    OptimizerConfig,
    StrategyConfig,
    TrainConfig,
)

Positive = Annotated[float, Field(gt=0)]


class WindowsConfig(Config):
    length: int | None = Field(
        default=None,
        ge=1,
        description="rows of a window; null: no windows, a row stands for itself",
    )
    horizon: Positive = Field(
        default=24.0, description="a window is positive if its machine fails within this time"
    )
    stride: int = Field(default=1, ge=1, description="rows from one window to the next")
    machine: str = Field(default="machine", description="the column of the machine's name")
    time: str = Field(
        default="time", description="the column of the time: numbers, or timestamps in hours"
    )
    max_gap: float = Field(
        default=0.0, ge=0, description="a longer time between two rows ends a window; 0 is none"
    )
    split_by: Literal["machine", "time"] = Field(
        default="machine", description="tested are other machines, or the same ones later on"
    )


class TableDataConfig(Config):
    dataset: str = Field(
        default="breast_cancer",
        min_length=1,
        description="breast_cancer, machines, or CSV or Parquet: a file, a pattern, a directory, a URL",
    )
    test_dataset: str | None = Field(
        default=None, min_length=1, description="other files for testing; null is a part of dataset"
    )
    data_dir: str = Field(default="runs/data", min_length=1, description="where shards are kept")
    test_fraction: float = Field(
        default=0.2, gt=0, lt=1, description="part of the rows that is for testing"
    )
    target: str | None = Field(
        default=None, description="the column to predict; null is for the embedded tables"
    )
    positive: str | None = Field(
        default=None, description="of two classes the one looked for; null: the last by alphabet"
    )
    task: Literal["auto", "binary", "multiclass", "regression"] = Field(
        default="auto", description="auto: classes are texts and up to 20 different whole numbers"
    )
    categorical: list[str] = Field(
        default=[], description="columns of numbers that are categories; texts are anyway"
    )
    ignore: list[str] = Field(default=[], description="columns that are not used")
    group: str | None = Field(
        default=None, description="rows of the same value in this column are never split"
    )
    missing_values: list[str] = Field(
        default=[], description="texts that stand for no value, beside the empty one, NA, null, ..."
    )
    delimiter: str = Field(default="", description="of CSV; empty: a comma, or a tab in .tsv")
    max_categories: int = Field(
        default=1000, ge=1, description="of a column: the most frequent ones are told apart"
    )
    min_category_count: int = Field(
        default=2, ge=1, description="rarer ones are not told apart, either"
    )
    licence: str = Field(default="", description="of your files, for the model card")
    windows: WindowsConfig = WindowsConfig()


class ImbalanceConfig(Config):
    sampling: Literal["natural", "balanced"] = Field(
        default="natural", description="balanced: batches have as many rows of each class"
    )
    class_weights: Literal["none", "balanced"] | dict[str, Positive] = Field(
        default="none",
        description="of the loss; balanced: by inverse frequency; or {class: weight}",
    )
    loss: Literal["crossentropy", "focal"] = Field(
        default="crossentropy", description="focal: what is easy counts less"
    )
    focal_gamma: float = Field(default=2.0, ge=0, description="of focal: how much less")

    @model_validator(mode="after")
    def _evens_out_once(self) -> ImbalanceConfig:
        if self.sampling == "balanced" and self.class_weights == "balanced":
            raise ValueError(
                "sampling and class_weights are both balanced, which evens out the classes twice. "
                "Leave one of them at its default."
            )
        return self


class ModelConfig(Config):
    name: Literal["mlp", "wide_and_deep", "convolution"] = Field(
        default="mlp", description="see tabular_models.py; convolution is for windows"
    )
    hidden: list[Annotated[int, Field(ge=1)]] = Field(
        default=[32, 16], description="units of the hidden layers"
    )
    dropout: float = Field(
        default=0.0, ge=0, lt=1, description="part of the hidden units dropped in training"
    )
    embedding_width: int = Field(default=8, ge=1, description="of a category")
    crosses: list[list[str]] = Field(
        default=[], description="pairs of categorical columns, for wide_and_deep"
    )
    cross_buckets: int = Field(default=1000, ge=1, description="that a cross is hashed into")

    @model_validator(mode="after")
    def _crosses_are_used(self) -> ModelConfig:
        if self.crosses and self.name != "wide_and_deep":
            raise ValueError(f"crosses are for wide_and_deep, got {self.crosses} with {self.name}.")
        return self


class TabularOptimizerConfig(OptimizerConfig):
    learning_rate: float = Field(default=3e-3, gt=0, description="step size; its peak")
    weight_decay: float = Field(
        default=0.01, ge=0, description="fraction of each weight removed per unit of learning rate"
    )


class TabularTrainConfig(TrainConfig):
    epochs: int = Field(default=30, ge=1, description="passes over the training data")
    global_batch_size: int = Field(
        default=32, ge=1, description="examples per step, over all replicas"
    )


class EvaluationConfig(Config):
    threshold: float = Field(
        default=0.5, gt=0, lt=1, description="probability from which on the positive class is named"
    )
    slice_by: str | None = Field(
        default=None, description="a categorical column: metrics for each of its values, too"
    )


class TabularConfig(Config):
    strategy: StrategyConfig = StrategyConfig()
    data: TableDataConfig = TableDataConfig()
    imbalance: ImbalanceConfig = ImbalanceConfig()
    model: ModelConfig = ModelConfig()
    optimizer: TabularOptimizerConfig = TabularOptimizerConfig()
    train: TabularTrainConfig = TabularTrainConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    backup: BackupConfig = BackupConfig()
    monitoring: MonitoringConfig = MonitoringConfig()


def main(config: TabularConfig, arguments: Arguments) -> None:
    run = tfdml.runs.start(config, arguments)
    if run is None:  # this task served the others, and they are done
        return

    # These load TensorFlow: only now, so that --help and a misspelt setting answer at once.
    import tabular_outputs as outputs
    from tabular_models import NETWORKS, Shapes, input_names, preprocessing, with_raw_rows

    data, table = open_data(config.data, arguments)
    if arguments.trains and run.is_chief:
        table.write(arguments.model_dir)
    crosses, buckets = config.model.crosses, config.model.cross_buckets
    # Nothing in it is trained, and it runs on the host: no part of the strategy.
    preprocess = preprocessing(table, crosses, buckets)
    names = input_names(table)
    target = outputs.target_of(table, config.imbalance)

    def inputs_and_target(batch: dict[str, Any]) -> tuple[Any, ...]:
        inputs = preprocess({name: batch[column] for column, name in names.items()})
        return (inputs, target(batch)) if data.has_target else (inputs,)

    global_batch_size, epochs = config.train.global_batch_size, config.train.epochs
    steps_per_epoch = -(-table.facts.num_train // global_batch_size)
    if arguments.trains:
        balanced = config.imbalance.sampling == "balanced"
        train_data = data.training(global_batch_size, seed=config.train.seed, balanced=balanced)
        steps_per_epoch = train_data.steps_per_epoch
        train_data = train_data.map_batches(inputs_and_target)
    # What the learning rate follows from.
    sizes = {"global_batch_size": global_batch_size, "total_steps": epochs * steps_per_epoch}
    test_data = data.evaluation(global_batch_size).map_batches(inputs_and_target)

    with run.strategy.scope():
        model = NETWORKS[config.model.name](
            Shapes.of(table, crosses, buckets),
            config.model.hidden,
            config.model.dropout,
            config.model.embedding_width,
        )
        model.compile(
            optimizer=tfdml.optimizers.from_config(config.optimizer, **sizes),
            **outputs.loss_and_metrics(table, config.imbalance),
            steps_per_execution=config.train.steps_per_execution,
        )
    trainer = tfdml.Trainer(model, run.strategy)
    run.describe(model, data=data.origins, **outputs.description(table, config))

    if arguments.trains:
        if run.is_chief:
            print(tfdml.optimizers.learning_rate_plan(config.optimizer, **sizes))
            print(outputs.summary(table))
        weights = outputs.class_weights(table, config.imbalance)
        run.fit(trainer, train_data, validation_data=test_data, class_weight=weights)
    else:
        run.load(model)
    if arguments.evaluates:
        outputs.evaluate(run, trainer, test_data, data, table, config.evaluation)
    if arguments.predicts:
        columns = outputs.predictions(table, data, config.evaluation.threshold)
        run.predict(trainer, test_data, columns)
    if arguments.exports:
        run.export(with_raw_rows(preprocess, model, table))


def open_data(data: TableDataConfig, arguments: Arguments) -> tuple[Any, Any]:
    """The table, and what is known of the one that the model is trained on: another one is refused."""
    windows, dataset = data.windows, data.dataset
    settings = tfdml.data.TableSettings(
        target=data.target or tfdml.data.default_target(dataset),
        positive=data.positive,
        task=data.task,
        categorical=tuple(data.categorical),
        ignore=tuple(data.ignore),
        group=data.group,
        missing_values=tuple(data.missing_values),
        delimiter=data.delimiter,
        max_categories=data.max_categories,
        min_category_count=data.min_category_count,
        test_fraction=data.test_fraction,
        licence=data.licence,
        windows=tfdml.data.WindowSettings(**windows.model_dump()) if windows.length else None,
    )
    if arguments.trains:
        table = tfdml.data.open_table(
            dataset, settings, data_dir=data.data_dir, test_dataset=data.test_dataset
        )
        return table, tfdml.data.TrainedTable(table.schema, table.facts)
    trained = tfdml.data.TrainedTable.read(arguments.model_dir)
    other = arguments.predict_input or data.test_dataset
    table = tfdml.data.open_table_like(
        trained.schema,
        other or dataset,
        settings,
        data_dir=data.data_dir,
        splits=other is None,
        has_target=arguments.predict_input is None,
    )
    return table, trained


if __name__ == "__main__":
    tfdml.config.run(main, TabularConfig)
