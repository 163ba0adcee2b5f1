"""A fake of `comfy_execution`."""
