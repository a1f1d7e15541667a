"""What the controlled study will run: its protocol, the plan of its stages, where their files are, rates and texts."""
