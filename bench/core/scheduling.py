"""Spare Snakemake's scheduler what a study on one machine does not need."""


def lighten(scheduler) -> None:
    """Let a `JobScheduler` of Snakemake look for jobs when one has ended, and choose greedily.

    Because of its limit of jobs a second, it looks again a second after each look, so that its CPU
    time grows with the square of the number of jobs. For its usual choice it starts a solver at
    each look, to find jobs that free temporary files: a study has none. Both cannot be set from a
    Snakefile before the scheduler is there.
    """
    scheduler.job_rate_limiter = None
    scheduler._job_selector = scheduler.job_selector_greedy
