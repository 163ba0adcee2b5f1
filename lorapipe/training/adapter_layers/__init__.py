"""What adapters are made of: layers in place of a base's modules, and the knobs of adapters that have such layers.

`layer.AdapterLayer` is what an algorithm writes for itself; `lora_knobs.LoraKnobs` is the adapter that puts such layers
into a model and takes them out, through `host`. Adapters of other packages may use all of it. The adapters themselves are
files in `lorapipe.training.adapters`.
"""
