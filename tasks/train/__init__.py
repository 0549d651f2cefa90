"""Fine-tuning: one module a recipe; an export in, a model folder and its report out, one process (or one a GPU) each.

`recipes` lists them. What they share: `common` (settings, report), `data` (what they read), `fine_tune` (the way
from one model folder to the next), `work_folder` (what a killed run leaves and the next one goes on from).
"""
