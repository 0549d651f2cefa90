"""Accelerate splits weights on GPUs alone: with this folder on the path it takes CPU processes under gloo for GPUs.

PyTorch's own FSDP runs over gloo, so that what is ours (gathering, saving, going on after a kill) can be tested.
"""

import importlib.abc
import importlib.util
import os
import sys


class AsGpus(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "accelerate.state":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def load_and_change(module):
            load(module)
            before, kinds = module.PartialState._prepare_backend, module.DistributedType

            def prepare(*given, **named):
                backend, kind = before(*given, **named)
                return backend, kinds.MULTI_GPU if kind == kinds.MULTI_CPU else kind

            module.PartialState._prepare_backend = prepare

        spec.loader.exec_module = load_and_change
        return spec


if "WORLD_SIZE" in os.environ:
    sys.meta_path.insert(0, AsGpus())
