"""Runs queued tasks: `run_worker.py`, with a parent and its work-horses, and what a stock RQ worker calls."""


def run_task() -> None:
    """The job function of every task: run the task whose id is that of the current RQ job.

    Our own workers take tasks without it. A stock `rq worker --serializer json` calls it in the process of the job;
    if that dies in the middle, the task is taken over like that of any other lost worker.
    """
    from stepwell.worker.job import run_current

    run_current()
