"""Train a recommender: on one device, on many, or asynchronously on parameter servers.

    python recipes/train_recommender.py --config=configs/recommender/default.yaml
    tfdml launch --workers=2 --ps=2 recipes/train_recommender.py \\
        --config=configs/recommender/parameter_server.yaml

It learns from interactions that are drawn from known factors, so that the best reachable error is known too; or
from MovieLens: --set data.dataset=ml-100k/u.data, or ml-25m/ratings.csv, or tfds:movielens/100k-ratings. Models that
predict ratings are told by their RMSE, --set model.name=two_tower by what it finds again. Copy it, and change what
you like: a model is a function in recommender_models.py, a setting is a line in a class below.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

import tfdml
from tfdml.config import (
    Arguments,
    BackupConfig,
    Config,
    InteractionDataConfig,
    MonitoringConfig,
    OptimizerConfig,
    OptimizerName,
    ParameterServerConfig,
    StrategyConfig,
    TrainConfig,
)


class ModelConfig(Config):
    name: Literal["matrix_factorization", "dlrm", "two_tower"] = Field(
        default="matrix_factorization", description="see recommender_models.py"
    )
    factors: int = Field(default=4, ge=1, description="width of the embeddings")
    hidden: list[Annotated[int, Field(ge=1)]] = Field(
        default=[32], description="units of the hidden layers (dlrm, two_tower)"
    )
    l2: float = Field(default=0.02, ge=0, description="penalty on the rows of a batch")
    max_shard_bytes: int = Field(
        default=64 * 2**20, ge=1, description="largest variable; a larger table becomes several"
    )


class RecommenderOptimizerConfig(OptimizerConfig):
    name: OptimizerName = Field(default="adam", description="the optimizer")
    learning_rate: float = Field(default=5e-3, gt=0, description="step size; its peak")


class RecommenderTrainConfig(TrainConfig):
    epochs: int = Field(default=15, ge=1, description="passes over the training data")
    global_batch_size: int = Field(
        default=512, ge=1, description="examples per step, over all replicas"
    )


class EvaluationConfig(Config):
    top_k: int = Field(default=10, ge=1, description="how many items two_tower recommends")
    slice_by: Literal["user_activity"] | None = Field(
        default="user_activity",
        description="metrics of groups of users, by how many interactions they have; null is none",
    )


class RecommenderConfig(Config):
    strategy: StrategyConfig = StrategyConfig()
    parameter_server: ParameterServerConfig = ParameterServerConfig()
    data: InteractionDataConfig = InteractionDataConfig()
    model: ModelConfig = ModelConfig()
    optimizer: RecommenderOptimizerConfig = RecommenderOptimizerConfig()
    train: RecommenderTrainConfig = RecommenderTrainConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    backup: BackupConfig = BackupConfig()
    monitoring: MonitoringConfig = MonitoringConfig()


def main(config: RecommenderConfig, arguments: Arguments) -> None:
    run = tfdml.runs.start(config, arguments)
    if run is None:  # this task served the others, and they are done
        return

    # These load TensorFlow: only now, so that --help and a misspelt setting answer at once.
    import keras
    import tensorflow as tf
    from recommender_models import (
        RATING_MODELS,
        RETRIEVAL_MODELS,
        Sizes,
        Tables,
        in_batch_softmax,
    )
    from recommender_outputs import (
        best_items,
        by_activity,
        endpoints,
        pairs_to_predict,
        serving_model,
        users_to_predict,
    )

    global_batch_size = config.train.global_batch_size
    data = tfdml.data.open_interactions(
        config.data.dataset,
        data_dir=config.data.data_dir,
        test_fraction=config.data.test_fraction,
    )
    sizes = Sizes(data.num_users, data.num_items, data.facts.num_train, data.facts.mean_rating)
    tables = Tables(config.model.factors, config.model.l2, config.model.max_shard_bytes)
    retrieves = config.model.name in RETRIEVAL_MODELS

    ratings = data.training(global_batch_size, seed=config.train.seed)
    # What the learning rate follows from.
    sizes_of_training = {
        "global_batch_size": global_batch_size,
        "total_steps": config.train.epochs * ratings.steps_per_epoch,
    }
    with run.strategy.scope():
        build_model = (RATING_MODELS | RETRIEVAL_MODELS)[config.model.name]
        model = build_model(sizes, tables, config.model.hidden)
        model.compile(
            optimizer=tfdml.optimizers.from_config(
                config.optimizer,
                **sizes_of_training,
                staleness_damping=config.parameter_server.staleness_damping,
            ),
            loss=in_batch_softmax if retrieves else "mse",
            metrics=[] if retrieves else [keras.metrics.RootMeanSquaredError(name="rmse")],
            steps_per_execution=config.train.steps_per_execution,
        )
    trainer = tfdml.Trainer(
        model,
        run.strategy,
        max_pending_steps=config.parameter_server.max_pending_steps,
        pull_dtype=config.parameter_server.pull_dtype,
    )

    def inputs_and_rating(batch: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        return {name: batch[name] for name in model.input}, batch["rating"]

    train_data = ratings.map_batches(inputs_and_rating)
    test_data = data.evaluation(global_batch_size).map_batches(inputs_and_rating)

    run.describe(
        model,
        data=[data.origin],
        inputs="numbers of users and items, int64 [n], and numbers about them (recommender_models.py)",
        outputs="logits of each user with each item of a batch" if retrieves else "a rating [n, 1]",
        limits=[
            "Users and items that were not in the training data cannot be asked for.",
            "It learns what was chosen and rated, which is not what people would choose if they saw all.",
        ],
    )

    if arguments.trains:
        if run.is_chief:
            print(tfdml.optimizers.learning_rate_plan(config.optimizer, **sizes_of_training))
            print(
                f"{sizes.num_users:,} users, {sizes.num_items:,} items, {sizes.num_train:,} interactions "
                f"for training and {data.facts.num_test:,} for testing"
            )
        run.fit(trainer, train_data, validation_data=test_data)
    else:
        run.load(model)
    if arguments.evaluates:
        slices = config.evaluation.slice_by == "user_activity"
        groups = [by_activity(data.facts.user_counts)] if slices and not retrieves else []
        results = run.evaluate(trainer, test_data, slices=groups)
        if run.is_chief and retrieves:
            report_ranking(run, model, data, config.evaluation.top_k, slices)
        elif run.is_chief:
            report_ratings(run, results["rmse"], data)
    if arguments.predicts and retrieves:
        users = users_to_predict(arguments.predict_input, data)
        if run.is_chief:
            run.write_predictions(best_items(model, data, users, config.evaluation.top_k))
    elif arguments.predicts:
        pairs = pairs_to_predict(arguments.predict_input, data)
        inputs = {name: pairs[name] for name in model.input}
        run.predict(
            trainer,
            tf.data.Dataset.from_tensor_slices(inputs).batch(global_batch_size),
            lambda ratings: {
                "user": data.facts.user_ids[pairs["user"]],
                "item": data.facts.item_ids[pairs["item"]],
                "rating": ratings[:, 0],
            },
        )
    if arguments.exports:
        run.export(
            serving_model(model, retrieves),
            endpoints=endpoints(data, retrieves, config.evaluation.top_k),
        )


def report_ratings(run: Any, rmse: float, data: Any) -> None:
    """Report the error, that of predicting the means of users and items, and the smallest possible one."""
    import recommender_metrics as metrics

    test = data.arrays("test")
    means = metrics.means_rmse(data.arrays("train"), test, data.num_users, data.num_items)
    line = f"test RMSE: {rmse:.4f} (user and item means: {means:.4f}"
    others = {"means of users and items": {"rmse": means}}
    expected = data.true_ratings(test["user"], test["item"])
    if expected is not None:
        best = metrics.rmse(expected, test["rating"])
        line += f", best reachable: {best:.4f}"
        others["best reachable"] = {"rmse": best}
    print(line + ")")
    run.report({"rmse": rmse}, compared_with=others)


def report_ranking(run: Any, model: Any, data: Any, top_k: int, slices: bool) -> None:
    """Report what the model finds again, what the most popular items would, and what the true preferences would."""
    import numpy as np
    import recommender_metrics as metrics
    from recommender_outputs import activity_groups

    user_tower, item_tower = model.get_layer("user_tower"), model.get_layer("item_tower")
    items = np.asarray(item_tower(np.arange(data.num_items)))
    train, test = data.arrays("train"), data.arrays("test")
    popularity = data.facts.item_counts
    truth = data.true_preferences()
    rankings = {
        "": lambda users: np.asarray(user_tower(users)) @ items.T,
        "most popular items": lambda users: np.tile(popularity, [len(users), 1]),
    }
    if truth is not None:
        rankings["true preferences"] = lambda users: truth[users]
    found = {
        name: metrics.rank_each(scores_of, train, test, top_k)
        for name, scores_of in rankings.items()
    }

    def means(each: Any) -> dict[str, float]:
        return {f"recall@{top_k}": each["recall"].mean(), f"NDCG@{top_k}": each["ndcg"].mean()}

    figures = {name: means(each) for name, each in found.items()}
    parts = {}
    if slices:
        names, groups = activity_groups(data.facts.user_counts)
        each = found[""]
        for number, name in enumerate(names):
            there = groups[each["user"]] == number
            if there.any():
                part = {column: values[there] for column, values in each.items()}
                parts[name] = {"examples": int(there.sum()), **means(part)}
    own = figures.pop("")
    run.report(own, compared_with=figures, slices={"user_activity": parts} if parts else {})
    told = lambda values: ", ".join(f"{name}: {value:.4f}" for name, value in values.items())
    others = "; ".join(f"{name}: {told(values)}" for name, values in figures.items())
    print(f"test {told(own)} ({others})")


if __name__ == "__main__":
    tfdml.config.run(main, RecommenderConfig)
