"""The page: the queue in a browser on this machine, `lorapipe watch INBOX --ui`.

    server      HTTP on the loopback interface: access control and headers
    routes      the responses to paths, and changes of the queue
    answers     responses: bodies, kinds, policies
    event_tail  reads a run's events incrementally
    static      the page itself: HTML, CSS and JavaScript, without a build step

It shows `lorapipe.job_queue.views` and calls the public operations of a `Queue`; queue and watcher do not depend on it.
Nothing here imports torch.
"""
