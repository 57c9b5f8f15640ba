"""The converter: rows of any input to balanced shards, the same bytes for any number of processes.

    map      fragment of the input -> rows -> stages -> split -> framed Examples -> spill file   mapping.py, spill.py
    gather   shard -> its records out of all spill files, shuffled in memory -> shard and index  gather.py

Both are pure functions of the input and the settings; `run.py` puts them in order, `state.py` remembers
what is finished, `pool.py` runs them in processes. No TensorFlow.
"""
