"""Building blocks of adapters: layers that wrap a base's modules, and the knobs that such adapters share.

Each algorithm subclasses `layer.AdapterLayer`; `lora_knobs.LoraKnobs` attaches and detaches such layers through `host`.
Adapters of other packages may use all of this. The adapters themselves are files in `lorapipe.training.adapters`.
"""
