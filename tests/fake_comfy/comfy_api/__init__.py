"""A stand-in for the part of ComfyUI's API that `comfy_nodes.bridge` uses; for tests where there is no ComfyUI.

Written from what ComfyUI 0.3.64 was seen to do; arguments that it does not know are refused here as there. The tests in
tests/comfyui run against the real one.
"""
