"""Scripts that several of these test files launch."""

# One all-reduce whose result says that both of two workers took part: 1 + 10. With "forever DIR" it
# goes on; with "clash DIR" worker 1 finds its port taken at its first start.
ALL_REDUCE = """
    import json, os, pathlib, socket, sys, time
    import tensorflow as tf

    config = json.loads(os.environ["TF_CONFIG"])
    task = config["task"]["index"]
    mode, directory = sys.argv[1:] if len(sys.argv) > 1 else ("once", "")
    if mode == "clash" and task == 1 and not os.path.exists(directory + "/clashed"):
        pathlib.Path(directory, "clashed").touch()
        squatter = socket.socket()
        squatter.bind(("", int(config["cluster"]["worker"][1].rpartition(":")[2])))
        squatter.listen()

    strategy = tf.distribute.MultiWorkerMirroredStrategy()

    @tf.function
    def total(x):
        return strategy.run(
            lambda: tf.distribute.get_replica_context().all_reduce("sum", tf.identity(x))
        )

    print("sum", total(tf.constant(float(10**task))).numpy())
    if mode == "forever":
        pathlib.Path(directory, f"pid-{task}").write_text(str(os.getpid()))
    while mode == "forever":
        total(tf.constant(1.0))
        time.sleep(0.01)
"""

# A few steps of a small model on two workers, or, with "forever DIR", for ever; both print what they learnt.
TRAIN = """
    import pathlib, sys
    import keras, numpy as np, tensorflow as tf, tfdml

    cluster = tfdml.cluster.resolve()
    strategy = tfdml.strategies.create("multi_worker", cluster)
    with strategy.scope():
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, kernel_initializer="zeros")])
        model.compile(keras.optimizers.SGD(0.1), "mse")
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    data = tf.data.Dataset.from_tensor_slices((x, x.sum(axis=1, keepdims=True))).batch(16)
    callbacks = []
    if len(sys.argv) > 1:
        mark = pathlib.Path(sys.argv[2], f"{cluster.task_type}-{cluster.task_index}")
        callbacks.append(keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: mark.touch()))
    epochs = 10**9 if callbacks else 20
    tfdml.Trainer(model, strategy).fit(data, epochs=epochs, verbose=False, callbacks=callbacks)
    print("replicas", strategy.num_replicas_in_sync)
    print("learnt", model.trainable_variables[0].numpy().ravel().tolist())
"""
