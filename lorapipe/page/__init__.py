"""The page: the queue in a browser on this machine, `lorapipe watch INBOX --ui`.

    server      HTTP on the loopback interface: who may ask, and with which headers it is answered
    routes      which path gives what, and what changes the queue
    event_tail  a run's events, of which only the new ones are read
    static      the page itself: HTML, CSS and JavaScript as they are, without a build

It reads what `lorapipe.job_queue.views` shows and calls what users may do to a `Queue`; nothing in the queue or the watcher
knows of it. Nothing here imports torch.
"""
