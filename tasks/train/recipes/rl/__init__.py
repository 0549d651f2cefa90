"""Reinforcement learning: answers are drawn from the model, rewarded, and made likelier or less likely."""
