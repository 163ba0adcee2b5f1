"""The inbox: a folder of pictures that is dropped into it becomes a job of the queue, and then a LoRA.

    settling        which folders have been quiet for long enough, by their `folder_state`; `fs_events` only wakes it sooner
    inbox           one watched folder: what has settled goes into the queue, and a `status_file` says what became of it
    job_hooks       around the run of a job: `unpack` and `pipeline_writer` before it, `results` and `notify` after it
    isolated_check  reads a stranger's settings in a process of its own, within `resource_limits` and `allowed_paths`
    pipelines       the pipeline that is used where the user gives none, one for each kind of base

What lies in the inbox is only ever read. It comes from anywhere, so it is not trusted: links that lead out of a folder, zips
that unpack to more than is allowed, and settings that write elsewhere are refused. Nothing here imports torch.
"""
