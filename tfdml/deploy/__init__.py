"""Files that start a job on a platform: one module per kind of file, all from one description, `Job`.

Each has `generate(job: Job) -> str`, the text of one complete file with comments for whoever edits it
next. Inside the platform the file runs `tfdml launch SCRIPT ...` without cluster flags, which finds the
cluster by itself (`tfdml.cluster`). Nothing here imports TensorFlow, reads the environment or writes.
"""

from tfdml.deploy.job import Job

__all__ = ["Job"]
