"""A model small enough to ship, the micro-world it lives in, and the exact oracle that scores it.

The world is `world` (its things) and `grammar` (its sentences); `roles` says what each role of the factory
replies there, `corpus` turns that into training documents through the prompt files, `train` makes the
checkpoint from nothing, `oracle` scores answers, `measure` and `card` write down what the checkpoint can do.
"""
