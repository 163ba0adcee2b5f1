"""The queue: pipelines that wait for a device, in a database of this user and this machine.

    jobs    the durable list: add, claim, finish, cancel, retry, move, pause; of what is in `job`, kept in `database`
    work    takes jobs one at a time for each device and runs them
    board   what a page or a program shows of it
    journal a second record of every change, should the database be damaged
    home    where it lies

A job that runs is owned by whoever holds its kernel lock, so that after a kill or a power cut anyone sees that its owner is
gone: it goes back to the head of the queue, and the engine resumes it from its checkpoint. Nothing here imports torch.
"""
