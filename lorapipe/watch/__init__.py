"""The inbox: a watched folder, in which each dropped folder of pictures becomes a job of the queue, and then a LoRA.

    settling           finds folders that have not changed for a while, by `folder_state`; `fs_events` wakes it sooner
    inbox              one watched folder: adds settled folders to the queue, and reports on them in a `status_file`
    job_hooks          around the run of a job: `unpack` and `pipeline_writer` before it, `results` and `notify` after it
    pipeline_writer    the pipeline of a folder: `folder_settings` are what it brings, `pipeline_text` how it is written
    starting_pipeline  what `lorapipe new` writes for a folder; its job's pipeline extends it
    isolated_scan      reads untrusted pictures in a separate process
    isolated_check     reads untrusted settings in a separate process, within `resource_limits` and `allowed_paths`

Dropped files are only read, and not trusted: links that lead out of a folder, zips that unpack to more than is allowed, and
settings that write elsewhere are refused. Nothing here imports torch.
"""
