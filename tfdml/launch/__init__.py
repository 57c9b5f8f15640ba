"""Starts, watches and ends the tasks of a job on this host. Never imports TensorFlow.

plan       which tasks run here, with which TF_CONFIG, GPUs and environment (pure)
start      a task as a fork of a process that has imported TensorFlow, or as a process of its own
standby    processes that have imported TensorFlow and become a task when one is needed
output     every line of every task, whole and with its task's name
job        one start of the tasks: wait, find the root cause of a failure or a hang, end the others
outcome    how they ended, all together
replacements  which lost task of a parameter-server job starts again alone (pure but for a look at a port)
heartbeats what tasks say of how far they are, and when all are silent
diagnosis  which task the others wait for (pure)
supervisor one start after another: what outlives a start, and the launcher's signals
restarts   whether there is another start, after how long, with which workers (pure)
guard      a process that outlives a killed launcher just long enough to end its tasks
place      the task that a platform has given to this process
ssh        launchers on other hosts, and `control`, their end of the connection
exposure   which ports are open to whom
report     what the launcher says, and why a job failed
settings   what the flags say of how tasks run
run        all of it together: on this host, on several, or in a platform's place
"""
