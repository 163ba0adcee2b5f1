"""The inbox: a folder of pictures that is dropped into it becomes a job of the queue, and then a LoRA.

    settle     which folders have been quiet for long enough; `look` says what quiet means, `events` only wakes it sooner
    inbox      one watched folder: what has settled goes into the queue, and a status file says what became of it
    care       what a job from an inbox needs around its run: `unpack`, `recipe` before it, `deliver`, `notify` after it
    pipelines  the pipeline that is used where the user gives none, one for each kind of base

What lies in the inbox is only ever read. It comes from anywhere, so it is not trusted: links that lead out of a folder, zips
that unpack to more than is allowed, and settings that write elsewhere are refused. Nothing here imports torch.
"""
