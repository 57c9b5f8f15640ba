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
