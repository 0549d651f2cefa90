"""nano's second checkpoint, which knows Spanish, and evolves, invents and labels instructions."""
