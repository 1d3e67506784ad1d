"""A sweep on a Slurm cluster: copy this file, change what is in capitals, and start it in a
terminal that stays (tmux) on a machine from which jobs are submitted:

    pip install dask-jobqueue
    python slurm_sweep.py FILE        # or: resume NAME, as after `python -m ngf sweep`

It keeps as many jobs in the queue of Slurm as the sweep has work for. Ctrl-C ends it in order.
"""

import signal
import subprocess
import sys

from dask_jobqueue import SLURMCluster

JOBS = 20  # at most at a time
OPTIONS = {
    "queue": "gpu",  # partition
    "cores": 4,  # of a job
    "processes": 1,  # workers of a job, each of which executes one run at a time: one per GPU
    "memory": "16GB",
    "walltime": "04:00:00",
    "job_extra_directives": ["--gres=gpu:1"],  # [] for jobs without a GPU
    # Before its time is over, a worker ends by itself: the run saves a checkpoint and goes on in
    # another job. The second number is for the time that a job takes to start.
    "worker_extra_args": ["--lifetime", "225m", "--lifetime-stagger", "10m"],
}

if __name__ == "__main__":
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is for the sweep; then this ends, too
    with SLURMCluster(**OPTIONS) as cluster:
        cluster.adapt(minimum=0, maximum=JOBS)
        sweep = [sys.executable, "-m", "ngf", "sweep", *sys.argv[1:], "--executor", "dask"]
        code = subprocess.run([*sweep, "--scheduler", cluster.scheduler_address]).returncode
    sys.exit(code)
