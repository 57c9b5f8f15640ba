"""See what a job is doing: TensorBoard, Prometheus, MLflow, JSON lines; the anatomy of a step, stragglers, desync.

`json_lines.py` has the file format; readers of it need no TensorFlow.
"""
