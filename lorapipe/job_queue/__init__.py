"""The queue: pipelines that wait for a device, in a per-user database on this machine.

    queue    the durable list: add, cancel, retry, move, pause; `job_claims` is for runners, `job_table` has the queries
    runner   runs jobs, one at a time on each device, with `hooks` around each
    views    the queue as JSON for the page and for programs
    journal  a second record of every change, in case the database is damaged
    home     the folder with the queue's files

A running job belongs to the process that holds its kernel lock, so after a kill or a power cut any process can see that the
owner is gone: the job returns to the head of the queue and resumes from its checkpoint. Nothing here imports torch.
"""
