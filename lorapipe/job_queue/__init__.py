"""The queue: pipelines that wait for a device, in a database of this user and this machine.

    queue    the durable list: add, cancel, retry, move, pause; `job_claims` is for those that run them, `job_table` is read
    runner   takes jobs one at a time for each device and runs them, with `hooks` around each
    views    what a page or a program shows of the queue
    journal  a second record of every change, should the database be damaged
    home     the folder that holds it

A job that runs is owned by whoever holds its kernel lock, so that after a kill or a power cut anyone sees that its owner is
gone: it goes back to the head of the queue, and the engine resumes it from its checkpoint. Nothing here imports torch.
"""
