"""A fake of the part of ComfyUI's API that `comfy_nodes.bridge` uses, for tests without ComfyUI.

It follows the observed behaviour of ComfyUI 0.3.64 and refuses unknown arguments as it does. The tests in tests/comfyui run
against the real one.
"""
