"""Reinforcement learning from rewards: rollouts, rewards, advantages, losses, and the iterations that use them."""
