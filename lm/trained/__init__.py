"""What is done with a trained model: it is opened, asked for text, made to score text, and shared."""
