"""GPT-1's pretrained embeddings: from a file of its release to the two tables that a run takes in, frozen."""
