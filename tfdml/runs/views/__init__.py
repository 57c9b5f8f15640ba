"""What people look at: a job in a terminal while it runs (`top.py`), and a run as one page (`page.py`).

Both read what `tfdml.callbacks.Monitoring` and recipes leave in MODEL_DIR, and need no TensorFlow.
"""
