"""Starts, watches and ends the tasks of a job on this host. Never imports TensorFlow.

plan     which tasks run here, with which TF_CONFIG, GPUs and environment (pure)
start    a task as a fork of a process that has imported TensorFlow, or as a process of its own
output   every line of every task, whole and with its task's name
job      start the tasks, wait, find the root cause of a failure, end the others
guard    a process that outlives a killed launcher just long enough to end its tasks
place    the task that a platform has given to this process
ssh      launchers on other hosts, and `control`, their end of the connection
exposure which ports are open to whom
report   what the launcher says, and why a job failed
run      all of it together, with a new start on other ports after a clash
"""
