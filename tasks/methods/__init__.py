"""The methods: one module each, named as its prompts are; every step function returns a `tasks.step.Step`."""
