"""Fine-tuning: one module a recipe; an export in, a model folder and its report out, one process each."""
