"""What is made of a recommender's numbers: groups of users, tables of predictions, answers to ids."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tfdml.errors import DataError
from tfdml.export import Endpoint, plain
from tfdml.training import Slices

_GROUPS = 4


def activity_groups(user_counts: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Users in four groups of about one size, by how many interactions they have for training.

    Returns:
        Names such as "1 to 90 ratings", and int64 [users]: the group of each.
    """
    inner = np.quantile(user_counts, np.arange(1, _GROUPS) / _GROUPS, method="lower")
    groups = np.searchsorted(np.unique(inner), user_counts, side="left")
    names = []
    for group in range(int(groups.max()) + 1):
        counts = user_counts[groups == group]
        names.append(f"{counts.min():,} to {counts.max():,} ratings" if len(counts) else "none")
    return names, groups


def by_activity(user_counts: np.ndarray) -> Slices:
    """The error of ratings for each group of users."""
    names, groups = activity_groups(user_counts)
    return Slices(
        feature="user_activity",
        names=names,
        number_of=lambda x, y: tf.gather(tf.constant(groups), x["user"]),
        values={"rmse": lambda rating, outputs: tf.square(rating - outputs[:, 0])},
        finish={"rmse": math.sqrt},
    )


# -- predictions


def pairs_to_predict(file: str | None, data: Any) -> dict[str, np.ndarray]:
    """Columns of numbers as batches of the data have them: of a CSV with user and item, or of the test data.

    Raises:
        DataError: the file, or a user or an item in it, is not there; names the row.
    """
    if file is None:
        test = data.arrays("test")
        users, items = test["user"], test["item"]
    else:
        rows = _read(file, ("user", "item"))
        users = _numbers(file, "user", rows["user"], data.facts.user_ids)
        items = _numbers(file, "item", rows["item"], data.facts.item_ids)
    return {
        "user": users,
        "item": items,
        "time": np.ones(len(users), np.float32),  # the latest that there is
        "user_count": data.facts.user_counts[users].astype(np.float32),
        "item_count": data.facts.item_counts[items].astype(np.float32),
    }


def users_to_predict(file: str | None, data: Any) -> np.ndarray:
    """Numbers of the users in the column `user` of a CSV, or of all users."""
    if file is None:
        return np.arange(data.num_users)
    return _numbers(file, "user", _read(file, ("user",))["user"], data.facts.user_ids)


def best_items(model: Any, data: Any, users: np.ndarray, top_k: int) -> Mapping[str, Sequence[Any]]:
    """Columns user, rank, item, score: the items with the largest scores that a user has not had, as ids."""
    items = np.asarray(model.get_layer("item_tower")(np.arange(data.num_items)))
    seen: dict[int, list[int]] = {}
    train = data.arrays("train")
    for user, item in zip(train["user"].tolist(), train["item"].tolist(), strict=True):
        seen.setdefault(user, []).append(item)
    columns: dict[str, list[Any]] = {"user": [], "rank": [], "item": [], "score": []}
    for some in np.array_split(users, -(-len(users) // 1024)):
        scores = np.asarray(model.get_layer("user_tower")(some)) @ items.T
        for user, row in zip(some.tolist(), scores, strict=True):
            row[seen.get(user, [])] = -np.inf
            best = np.argsort(-row, kind="stable")[:top_k]
            best = best[np.isfinite(row[best])]
            columns["user"] += [int(data.facts.user_ids[user])] * len(best)
            columns["rank"] += range(1, len(best) + 1)
            columns["item"] += data.facts.item_ids[best].tolist()
            columns["score"] += row[best].tolist()
    return columns


def _read(file: str, needed: tuple[str, ...]) -> dict[str, list[str]]:
    path = Path(file).expanduser()
    try:
        with path.open(newline="", encoding="utf-8") as text:
            rows = csv.DictReader(text)
            missing = [name for name in needed if name not in (rows.fieldnames or ())]
            if missing:
                raise DataError(
                    f"--predict_input={file} has the columns {', '.join(rows.fieldnames or ())}, and "
                    f"{', '.join(needed)} are needed."
                )
            values = [[row[name] for name in needed] for row in rows]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"--predict_input={file}: cannot be read: {error}.") from None
    if not values:
        raise DataError(f"--predict_input={file} has no rows.")
    return dict(zip(needed, map(list, zip(*values, strict=True)), strict=True))


def _numbers(file: str, name: str, texts: list[str], known: np.ndarray) -> np.ndarray:
    """Ids -> their places among the known ones."""
    numbers = np.zeros(len(texts), np.int64)
    for row, text in enumerate(texts):
        try:
            place = int(np.searchsorted(known, int(text)))
        except (TypeError, ValueError):
            raise DataError(f"{file}, row {row + 2}: column {name!r}: {text!r} is no id.") from None
        if place == len(known) or known[place] != int(text):
            raise DataError(
                f"{file}, row {row + 2}: {name} {text} is not in the training data, so nothing is known of it."
            )
        numbers[row] = place
    return numbers


# -- the exported model


def serving_model(model: keras.Model, retrieves: bool) -> keras.Model:
    """The trained model in Keras's own layers; of two towers, their product for each pair of user and item."""
    if not retrieves:
        return plain(model)
    user, item = (keras.Input((), dtype="int64", name=name) for name in ("user", "item"))
    towers = [plain(model.get_layer(f"{name}_tower")) for name in ("user", "item")]
    vectors = [tower(number) for tower, number in zip(towers, (user, item), strict=True)]
    score = layers.Dot(axes=1, dtype="float32")(vectors)
    return keras.Model({"user": user, "item": item}, score)


def endpoints(data: Any, retrieves: bool, top_k: int) -> dict[str, Endpoint]:
    """Answers to ids as the data have them: `rate` for pairs; `recommend` for users, from two towers."""
    user_ids, item_ids = data.facts.user_ids, data.facts.item_ids
    users, items = (
        tf.TensorSpec([None], tf.int64, name="user"),
        tf.TensorSpec([None], tf.int64, name="item"),
    )

    def rate(model: keras.Model, user: tf.Tensor, item: tf.Tensor) -> dict[str, tf.Tensor]:
        user, knows_user = _places(user, user_ids)
        item, knows_item = _places(item, item_ids)
        columns = {
            "user": user,
            "item": item,
            "time": tf.ones_like(user, tf.float32),
            "user_count": tf.gather(tf.constant(data.facts.user_counts, tf.float32), user),
            "item_count": tf.gather(tf.constant(data.facts.item_counts, tf.float32), item),
        }
        rating = model({name: columns[name] for name in model.input}, training=False)[:, 0]
        return {"rating": tf.where(knows_user & knows_item, rating, math.nan)}

    def recommend(model: keras.Model, user: tf.Tensor) -> dict[str, tf.Tensor]:
        user, known = _places(user, user_ids)
        all_items = model.get_layer("item_tower")(tf.range(len(item_ids), dtype=tf.int64))
        scores = tf.matmul(model.get_layer("user_tower")(user), all_items, transpose_b=True)
        scores = tf.where(known[:, None], scores, math.nan)
        best = tf.math.top_k(scores, min(top_k, len(item_ids)))
        return {"item": tf.gather(tf.constant(item_ids), best.indices), "score": best.values}

    if retrieves:
        return {"recommend": Endpoint(recommend, [users])}
    return {"rate": Endpoint(rate, [users, items])}


def _places(ids: tf.Tensor, known: np.ndarray) -> tuple[tf.Tensor, tf.Tensor]:
    """Ids [n] -> their places among the known ones, which ascend, and whether they are there."""
    table = tf.constant(known, tf.int64)
    places = tf.minimum(tf.searchsorted(table, ids), len(known) - 1)
    return tf.cast(places, tf.int64), tf.equal(tf.gather(table, places), ids)
